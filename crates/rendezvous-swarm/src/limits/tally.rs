//! The connections, counted by what bounds them.

use std::{
    collections::{BTreeSet, HashMap, HashSet, hash_map::Entry},
    hash::Hash,
};

use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;
use rendezvous_core::server::Origin;

/// The connections, each by its id: what is given back is what was taken, however a connection ends, and a connection
/// that was never counted is not given back.
#[derive(Debug, Default)]
pub(super) struct Tally {
    connections: HashMap<ConnectionId, Counted>,
    /// Nothing here is empty or zero, here and below: an entry goes with its last connection.
    pending_of_origin: HashMap<Origin, usize>,
    established_of_origin: HashMap<Origin, HashSet<ConnectionId>>,
    /// The origins that have a share, by the number of their established connections.
    by_size: BTreeSet<(usize, Origin)>,
    established_of_peer: HashMap<PeerId, usize>,
    pub(super) pending: usize,
    pub(super) established: usize,
    /// Connections that were told to close and have not done so.
    pub(super) closing: usize,
    pub(super) pending_outbound: usize,
    pub(super) established_outbound: usize,
}

/// What a connection is counted as.
#[derive(Clone, Copy, Debug)]
pub(super) enum Counted {
    Pending(Origin),
    Established {
        peer: PeerId,
        origin: Origin,
        /// Time at which it was established.
        since_millis: u64,
    },
    /// It leaves its place to others.
    Closing,
    PendingOutbound,
    EstablishedOutbound(PeerId),
}

impl Tally {
    /// Counts a connection as this, and as nothing else any more.
    pub(super) fn put(&mut self, connection: ConnectionId, counted: Counted) {
        self.remove(connection);
        self.connections.insert(connection, counted);
        match counted {
            Counted::Pending(origin) => {
                self.pending += 1;
                *self.pending_of_origin.entry(origin).or_default() += 1;
            }
            Counted::Established { peer, origin, .. } => {
                self.established += 1;
                self.change_established(origin, |established| established.insert(connection));
                *self.established_of_peer.entry(peer).or_default() += 1;
            }
            Counted::Closing => self.closing += 1,
            Counted::PendingOutbound => self.pending_outbound += 1,
            Counted::EstablishedOutbound(_) => self.established_outbound += 1,
        }
    }

    /// Counts a connection no more, if it was counted.
    pub(super) fn remove(&mut self, connection: ConnectionId) {
        match self.connections.remove(&connection) {
            Some(Counted::Pending(origin)) => {
                self.pending -= 1;
                subtract(&mut self.pending_of_origin, origin);
            }
            Some(Counted::Established { peer, origin, .. }) => {
                self.established -= 1;
                self.change_established(origin, |established| established.remove(&connection));
                subtract(&mut self.established_of_peer, peer);
            }
            Some(Counted::Closing) => self.closing -= 1,
            Some(Counted::PendingOutbound) => self.pending_outbound -= 1,
            Some(Counted::EstablishedOutbound(_)) => self.established_outbound -= 1,
            None => {}
        }
    }

    fn change_established(&mut self, origin: Origin, change: impl FnOnce(&mut HashSet<ConnectionId>) -> bool) {
        let established = self.established_of_origin.entry(origin).or_default();
        let before = established.len();
        change(established);
        let after = established.len();
        if after == 0 {
            self.established_of_origin.remove(&origin);
        }
        if origin != Origin::Exempt {
            self.by_size.remove(&(before, origin));
            if after > 0 {
                self.by_size.insert((after, origin));
            }
        }
    }

    pub(super) fn get(&self, connection: ConnectionId) -> Option<Counted> {
        self.connections.get(&connection).copied()
    }

    pub(super) fn pending_of(&self, origin: Origin) -> usize {
        self.pending_of_origin.get(&origin).copied().unwrap_or(0)
    }

    pub(super) fn established_of(&self, origin: Origin) -> usize {
        self.established_of_origin.get(&origin).map_or(0, HashSet::len)
    }

    pub(super) fn established_of_peer(&self, peer: &PeerId) -> usize {
        self.established_of_peer.get(peer).copied().unwrap_or(0)
    }

    /// The established connections of an origin.
    pub(super) fn connections_of(&self, origin: Origin) -> impl Iterator<Item = ConnectionId> + '_ {
        self.established_of_origin.get(&origin).into_iter().flatten().copied()
    }

    /// All established inbound connections.
    pub(super) fn all_established(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        self.established_of_origin.values().flatten().copied()
    }

    /// Origins that have a share and hold connections.
    pub(super) fn holders(&self) -> usize {
        self.by_size.len()
    }

    /// The origins above this number of connections, the largest first.
    pub(super) fn above(&self, share: usize) -> impl Iterator<Item = (usize, Origin)> + '_ {
        self.by_size.iter().rev().copied().take_while(move |(size, _)| *size > share)
    }

    /// Peers with inbound connections.
    pub(super) fn peers(&self) -> usize {
        self.established_of_peer.len()
    }

    /// IP prefixes with inbound connections or handshakes.
    pub(super) fn prefixes(&self) -> usize {
        let has_prefix = |origin: &&Origin| origin.prefix().is_some();
        let established = self.established_of_origin.keys().filter(has_prefix).count();
        let is_pending_alone = |origin: &&Origin| self.established_of(**origin) == 0;
        established + self.pending_of_origin.keys().filter(has_prefix).filter(is_pending_alone).count()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let entries = [
            self.connections.len(),
            self.pending_of_origin.len(),
            self.established_of_origin.len(),
            self.by_size.len(),
            self.established_of_peer.len(),
        ];
        let counts = [self.pending, self.established, self.closing, self.pending_outbound, self.established_outbound];
        entries == [0; 5] && counts == [0; 5]
    }
}

fn subtract<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut entry) = counts.entry(key) {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}
