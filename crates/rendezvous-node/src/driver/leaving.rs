//! Peers that are gone while sessions with them still end.
//!
//! A session may know best why the peer has gone, and a reader of events is to see the end of the sessions ahead of the end
//! of the peer. So the peer's end is told when that of the last session has been.

use core::time::Duration;
use std::{collections::BTreeSet, time::Instant};

use libp2p::PeerId;

use super::Driver;
use crate::{
    DisconnectReason,
    event::{Departure, Event},
    peers::{Connected, Visit},
    sub_protocol::Ended,
};

/// Longest time that is given to sessions whose connection is gone: only one that blocks its thread takes longer.
const LEAVE_MAX: Duration = Duration::from_secs(3);

/// A peer without connections, of which sessions have not ended.
///
/// **Invariant:** of one peer there is at most one, and none once it is connected anew.
#[derive(Debug)]
pub(crate) struct Leaving {
    peer: PeerId,
    visit: Visit,
    departure: Option<Departure>,
    /// What is told where no session knows more.
    otherwise: Departure,
    sessions: BTreeSet<String>,
    until: Instant,
}

impl Driver {
    /// Tells that a peer is gone, now or when its sessions have ended.
    pub(super) fn leave(&mut self, now: Instant, peer: PeerId, connected: Connected, otherwise: Departure) {
        let leaving = Leaving {
            peer,
            visit: connected.visit,
            departure: connected.departure,
            otherwise,
            sessions: connected.running().map(|(name, _)| name.to_owned()).collect(),
            until: now + LEAVE_MAX,
        };
        // The sessions learn of it by this.
        drop(connected);
        if leaving.sessions.is_empty() {
            self.tell_dropped(leaving);
        } else {
            self.leaving.push(leaving);
        }
    }

    /// A session of a peer that is gone has ended.
    pub(super) fn on_left_session_ended(&mut self, visit: Visit, name: &str, ended: &Ended) {
        let Some(place) = self.leaving.iter().position(|leaving| leaving.visit == visit) else { return };
        let leaving = &mut self.leaving[place];
        if !leaving.sessions.remove(name) {
            return;
        }
        if let Some(departure) = departure_by(ended) {
            leaving.departure.get_or_insert(departure);
        }
        let (peer, is_last) = (leaving.peer, leaving.sessions.is_empty());
        self.tell_session_ended(peer, name, ended);
        if is_last {
            let leaving = self.leaving.swap_remove(place);
            self.tell_dropped(leaving);
        }
    }

    /// Tells that a peer is gone, ahead of its coming anew.
    pub(super) fn leave_at_once(&mut self, peer: &PeerId) {
        if let Some(place) = self.leaving.iter().position(|leaving| leaving.peer == *peer) {
            let leaving = self.leaving.swap_remove(place);
            self.tell_dropped(leaving);
        }
    }

    pub(super) fn leave_overdue(&mut self, now: Instant) {
        let is_overdue = |leaving: &mut Leaving| leaving.until <= now;
        for leaving in self.leaving.extract_if(.., is_overdue).collect::<Vec<_>>() {
            self.tell_dropped(leaving);
        }
    }

    /// Tells of the end of everybody: nothing more will be heard of them.
    pub(super) fn leave_all(&mut self) {
        for (peer, connected) in self.peers.take_admitted() {
            self.leave(Instant::now(), peer, connected, Departure::Local(DisconnectReason::Quitting));
        }
        for leaving in std::mem::take(&mut self.leaving) {
            self.tell_dropped(leaving);
        }
    }

    pub(super) fn next_overdue(&self) -> Option<Instant> {
        self.leaving.iter().map(|leaving| leaving.until).min()
    }

    fn tell_dropped(&self, leaving: Leaving) {
        let Leaving { peer, departure, otherwise, sessions, .. } = leaving;
        let departure = departure.unwrap_or(otherwise);
        let reason = match departure {
            Departure::Local(reason) | Departure::Remote(reason) => reason,
            Departure::Lost => DisconnectReason::Network,
        };
        for sub_protocol in sessions {
            self.emit(Event::SessionEnded { peer, sub_protocol, how: "peer is gone".to_owned(), reason });
        }
        tracing::debug!(%peer, %departure, "dropped");
        self.emit(Event::PeerDropped { peer, departure });
    }
}

/// Who has ended the connection to the peer, if the end of a session tells.
pub(super) fn departure_by(ended: &Ended) -> Option<Departure> {
    let reason = ended.disconnects()?;
    Some(if matches!(ended, Ended::ByPeer(_)) { Departure::Remote(reason) } else { Departure::Local(reason) })
}
