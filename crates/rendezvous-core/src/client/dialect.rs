//! Which dialect is spoken with which point.

use libp2p_identity::PeerId;
use rendezvous_wire::Dialect;

use super::{Client, POINT_DIALECTS_MAX};
use crate::Time;

impl Client {
    /// Says which dialect is spoken with a point; without, it is `/rendezvous/1.0.0`. `false`, and nothing is changed, if
    /// [`POINT_DIALECTS_MAX`] points speak another one already.
    ///
    /// What is registered there is registered anew. In the Waku dialect:
    /// - a registration is asked for 20 seconds, or what it wants if that is less, and refreshed as the grant tells;
    /// - records are of the standard flavour, whatever [`ClientConfig::flavour`](super::ClientConfig::flavour) says;
    /// - there is no UNREGISTER: ending a registration ends its refreshes, and the events are those of an UNREGISTER that
    ///   was written; the point may list it for what is left of the 20 seconds;
    /// - there are no cookies: each query is a fresh random choice, and never has `more`.
    pub fn set_point_dialect(&mut self, now: Time, point: PeerId, dialect: Dialect) -> bool {
        self.advance(now);
        if self.dialect_of(&point) == dialect {
            return true;
        }
        match dialect {
            Dialect::Rendezvous => {
                self.dialects.remove(&point);
            }
            _ if self.dialects.len() >= POINT_DIALECTS_MAX => return false,
            _ => {
                self.dialects.insert(point, dialect);
            }
        }
        // To keep a record of each flavour is a matter of `/rendezvous/1.0.0`.
        self.set_dual(point, false);
        let now = self.now;
        for id in self.points.standings(&point) {
            let Some(standing) = self.standings.get_mut(&id) else { continue };
            standing.lanes[0].probe = None;
            if standing.is_wanted() {
                standing.want_now(now, false);
            }
            self.settle(id);
        }
        true
    }

    /// The dialect that is spoken with a point.
    #[must_use]
    pub fn dialect_of(&self, point: &PeerId) -> Dialect {
        self.dialects.get(point).copied().unwrap_or_default()
    }
}
