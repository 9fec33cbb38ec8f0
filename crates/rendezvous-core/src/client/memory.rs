//! What is learnt of a point, and kept over reconnects.

use libp2p_identity::PeerId;
use rendezvous_record::Flavour;
use rendezvous_wire::Ttl;

use super::Client;
use crate::Time;

/// What is known of a point: of its implementation and its settings, not of its state.
///
/// It outlives connections. Up to [`POINTS_IDLE_MAX`](super::POINTS_IDLE_MAX) points are remembered beyond those in use.
/// An application that wants to keep it over its own restart takes it with
/// [`point_memories`](Client::point_memories) and gives it back with [`remember_point`](Client::remember_point).
/// Whatever it says is a first guess: what turns out wrong is learnt anew. One thing does not turn out, that a point has
/// come to keep streams open; it costs a stream per request.
///
/// ```
/// use rendezvous_core::client::PointMemory;
/// use rendezvous_record::Flavour;
///
/// let mut memory = PointMemory::default();
/// memory.flavour = Some(Flavour::Legacy);
/// assert_eq!(memory.ttl_min, None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PointMemory {
    /// The envelope flavour that it took last.
    pub flavour: Option<Flavour>,
    /// Whether it took none, and a `PeerInfo` without a signature in its place. It counts only with
    /// [`ClientConfig::legacy_peer_info`](super::ClientConfig).
    pub is_unsigned: bool,
    /// Whether it keeps a record of each flavour.
    pub is_dual: bool,
    /// Where it refused a lifetime as too short: one that it took instead. No shorter one is asked for.
    pub ttl_min: Option<Ttl>,
    /// Where it refused a lifetime as too long: one that it took instead. No longer one is asked for.
    pub ttl_max: Option<Ttl>,
    /// What it granted last, where that was less than what was asked for.
    pub ttl_granted: Option<Ttl>,
    /// Whether it reads further requests on a stream.
    pub keeps_streams: Option<bool>,
}

impl PointMemory {
    /// The lifetime to ask for where this one is wanted: within the bounds that are known, and 1 s to 72 h.
    pub(super) fn fitting(&self, wanted: Ttl) -> Ttl {
        let fitting = wanted.max(self.ttl_min.unwrap_or(wanted));
        let fitting = fitting.min(self.ttl_max.unwrap_or(fitting));
        fitting.clamp(Ttl::from_secs(1), Ttl::RECOMMENDED_MAX)
    }

    /// This lifetime was taken where another had been refused.
    pub(super) fn learn_ttl(&mut self, refused: Ttl, taken: Ttl) {
        if taken > refused {
            self.ttl_min = Some(taken);
        } else {
            self.ttl_max = Some(taken);
        }
    }

    pub(super) fn forget_ttl_bounds(&mut self) {
        (self.ttl_min, self.ttl_max) = (None, None);
    }
}

impl Client {
    /// What is known of a point; `None` if nothing is.
    #[must_use]
    pub fn point_memory(&self, point: &PeerId) -> Option<&PointMemory> {
        self.points.memory(point)
    }

    /// The points of which something is known, with what that is.
    pub fn point_memories(&self) -> impl Iterator<Item = (&PeerId, &PointMemory)> {
        self.points.memories()
    }

    /// Takes for known what was learnt in an earlier run; replaces what is known.
    pub fn remember_point(&mut self, now: Time, point: PeerId, memory: PointMemory) {
        self.advance(now);
        self.set_dual(point, memory.is_dual);
        let is_dual = self.points.is_dual(&point);
        self.points.learn(point, |known| *known = PointMemory { is_dual, ..memory });
    }

    /// Forgets what is known of a point, its back-off included. Registrations and lookups there go on.
    pub fn forget_point(&mut self, now: Time, point: PeerId) {
        self.remember_point(now, point, PointMemory::default());
        self.points.succeeded(point);
        self.points.forget_listings(&point);
    }

    /// Whether a point reads further requests on a stream has been seen; `None` if what was known is in doubt.
    pub fn handle_point_keeps_streams(&mut self, now: Time, point: PeerId, keeps_streams: Option<bool>) {
        self.advance(now);
        self.points.learn(point, |memory| memory.keeps_streams = keeps_streams);
    }

    /// Until when a point is in back-off: neither lookups nor registrations that do not stand there ask it before, unless
    /// by a command. `None` if it is not.
    #[must_use]
    pub fn backoff_until(&self, now: Time, point: &PeerId) -> Option<Time> {
        self.points.backoff_until(point, self.now.max(now))
    }

    /// Until when lookups with an interval leave a point alone because its listing reached a [`WalkLimit`](super::WalkLimit),
    /// commands or not. `None` if they do not.
    #[must_use]
    pub fn listing_backoff_until(&self, now: Time, point: &PeerId) -> Option<Time> {
        self.points.listing_backoff_until(point, self.now.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_brought_into_the_known_bounds_and_absurd_ones_do_no_harm() {
        let ttl = Ttl::from_secs;
        let fitting = |min: Option<u64>, max: Option<u64>, wanted| {
            let (ttl_min, ttl_max) = (min.map(ttl), max.map(ttl));
            PointMemory { ttl_min, ttl_max, ..PointMemory::default() }.fitting(ttl(wanted)).as_secs()
        };
        assert_eq!(fitting(None, None, 100), 100);
        assert_eq!(fitting(Some(7_200), None, 100), 7_200);
        assert_eq!(fitting(None, Some(60), 100), 60);
        assert_eq!(fitting(Some(50), Some(200), 100), 100);
        assert_eq!(fitting(Some(u64::MAX), None, 100), 259_200);
        assert_eq!(fitting(Some(500), Some(0), 100), 1);
    }
}
