//! What is connected, counted by what it is bounded by.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
};

use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;
use rendezvous_core::server::IpPrefix;

/// The connections, each by its id: what is given back is what was taken, however a connection ends, and a connection
/// that was never counted is not given back.
#[derive(Debug, Default)]
pub(super) struct Tally {
    connections: HashMap<ConnectionId, Counted>,
    /// None of these numbers is zero, here and below: an entry goes with its last connection.
    pending_of_prefix: HashMap<IpPrefix, usize>,
    established_of_prefix: HashMap<IpPrefix, usize>,
    established_of_peer: HashMap<PeerId, usize>,
    pub(super) pending: usize,
    pub(super) established: usize,
    pub(super) pending_outbound: usize,
    pub(super) established_outbound: usize,
}

/// As what a connection is counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Counted {
    Pending(Option<IpPrefix>),
    Established(PeerId, Option<IpPrefix>),
    PendingOutbound,
    EstablishedOutbound,
}

impl Tally {
    /// Counts a connection, as this and as nothing else any more.
    pub(super) fn put(&mut self, connection: ConnectionId, counted: Counted) {
        self.remove(connection);
        self.connections.insert(connection, counted);
        match counted {
            Counted::Pending(prefix) => {
                self.pending += 1;
                add(&mut self.pending_of_prefix, prefix);
            }
            Counted::Established(peer, prefix) => {
                self.established += 1;
                add(&mut self.established_of_prefix, prefix);
                add(&mut self.established_of_peer, Some(peer));
            }
            Counted::PendingOutbound => self.pending_outbound += 1,
            Counted::EstablishedOutbound => self.established_outbound += 1,
        }
    }

    /// Counts a connection no more, if it was counted.
    pub(super) fn remove(&mut self, connection: ConnectionId) {
        match self.connections.remove(&connection) {
            Some(Counted::Pending(prefix)) => {
                self.pending -= 1;
                subtract(&mut self.pending_of_prefix, prefix);
            }
            Some(Counted::Established(peer, prefix)) => {
                self.established -= 1;
                subtract(&mut self.established_of_prefix, prefix);
                subtract(&mut self.established_of_peer, Some(peer));
            }
            Some(Counted::PendingOutbound) => self.pending_outbound -= 1,
            Some(Counted::EstablishedOutbound) => self.established_outbound -= 1,
            None => {}
        }
    }

    pub(super) fn pending_of(&self, prefix: &IpPrefix) -> usize {
        self.pending_of_prefix.get(prefix).copied().unwrap_or(0)
    }

    pub(super) fn established_of(&self, prefix: &IpPrefix) -> usize {
        self.established_of_prefix.get(prefix).copied().unwrap_or(0)
    }

    pub(super) fn established_of_peer(&self, peer: &PeerId) -> usize {
        self.established_of_peer.get(peer).copied().unwrap_or(0)
    }

    /// Peers with inbound connections.
    pub(super) fn peers(&self) -> usize {
        self.established_of_peer.len()
    }

    /// IP prefixes with inbound connections or handshakes.
    pub(super) fn prefixes(&self) -> usize {
        let pending_alone = self.pending_of_prefix.keys().filter(|prefix| self.established_of(prefix) == 0).count();
        self.established_of_prefix.len() + pending_alone
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let entries = [
            self.connections.len(),
            self.pending_of_prefix.len(),
            self.established_of_prefix.len(),
            self.established_of_peer.len(),
        ];
        entries == [0; 4]
            && [self.pending, self.established, self.pending_outbound, self.established_outbound] == [0; 4]
    }
}

fn add<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: Option<K>) {
    if let Some(key) = key {
        *counts.entry(key).or_default() += 1;
    }
}

fn subtract<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: Option<K>) {
    if let Some(Entry::Occupied(mut entry)) = key.map(|key| counts.entry(key)) {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}
