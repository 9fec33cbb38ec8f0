//! Who is connected, and who may be: [`Peers`].

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

use libp2p::{Multiaddr, PeerId, StreamProtocol, swarm::ConnectionId};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{DisconnectReason, event::Departure, info::PeerInfo, settings::Addresses, sub_protocol::Direction};

/// The peers of a node: who is connected, and whether there is room for one who comes.
///
/// **Invariant:** of a peer without connections nothing is kept but that it is static or trusted.
#[derive(Debug)]
pub(crate) struct Peers {
    peers_max: usize,
    inbound_max: usize,
    /// Kept connected, with what they are kept for.
    kept: Addresses,
    trusted: BTreeSet<PeerId>,
    connected: HashMap<PeerId, Connected>,
}

/// A peer with connections.
#[derive(Debug)]
pub(crate) struct Connected {
    connections: BTreeMap<ConnectionId, (Direction, Multiaddr)>,
    since: Instant,
    /// Whether it counts as a peer; otherwise it is being told why not.
    pub(crate) is_admitted: bool,
    /// Who opened the first connection.
    pub(crate) direction: Direction,
    pub(crate) name: String,
    pub(crate) protocols: Vec<StreamProtocol>,
    pub(crate) listen_addrs: Vec<Multiaddr>,
    pub(crate) round_trip: Option<Duration>,
    pub(crate) pings_failed: u32,
    /// Sub-protocols of which there is, or has been, a session on these connections.
    pub(crate) sessions: BTreeMap<String, Session>,
    /// Ends those that run, when the peer is gone.
    pub(crate) gone: DropGuard,
    /// Why the connections are about to end.
    pub(crate) departure: Option<Departure>,
}

/// How it stands with a sub-protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    /// A stream is being opened.
    Opening,
    Running {
        version: u32,
    },
    /// Not begun again before the peer connects anew.
    Ended,
}

/// What a new connection comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Another one of a peer that is connected.
    Again,
    Added,
    Refused(DisconnectReason),
}

impl Peers {
    pub(crate) fn new(peers_max: usize, inbound_max: usize) -> Self {
        Self { peers_max, inbound_max, kept: Addresses::new(), trusted: BTreeSet::new(), connected: HashMap::new() }
    }

    /// Keeps a peer connected from now on, for which it is always admitted.
    pub(crate) fn keep(&mut self, peer: PeerId, addresses: &[Multiaddr]) -> &[Multiaddr] {
        let known = self.kept.entry(peer).or_default();
        known.extend(addresses.iter().filter(|address| !known.contains(address)).cloned().collect::<Vec<_>>());
        known
    }

    pub(crate) fn release(&mut self, peer: &PeerId) -> bool {
        self.kept.remove(peer).is_some()
    }

    pub(crate) fn trust(&mut self, peer: PeerId) {
        self.trusted.insert(peer);
    }

    pub(crate) fn distrust(&mut self, peer: &PeerId) -> bool {
        self.trusted.remove(peer)
    }

    pub(crate) fn is_kept(&self, peer: &PeerId) -> bool {
        self.kept.contains_key(peer)
    }

    pub(crate) fn is_trusted(&self, peer: &PeerId) -> bool {
        self.trusted.contains(peer)
    }

    /// Whether a peer may come that is not connected.
    pub(crate) fn has_room(&self, peer: &PeerId, direction: Direction) -> bool {
        if self.is_kept(peer) || self.is_trusted(peer) {
            return true;
        }
        let counted = |it: &(&PeerId, &Connected)| it.1.is_admitted && !self.is_kept(it.0) && !self.is_trusted(it.0);
        let (mut all, mut inbound) = (0, 0);
        for (_, connected) in self.connected.iter().filter(counted) {
            all += 1;
            inbound += usize::from(connected.direction == Direction::Inbound);
        }
        all < self.peers_max && (direction == Direction::Outbound || inbound < self.inbound_max)
    }

    pub(crate) fn handle_connection(
        &mut self,
        now: Instant,
        peer: PeerId,
        id: ConnectionId,
        direction: Direction,
        address: Multiaddr,
    ) -> Arrival {
        if let Some(connected) = self.connected.get_mut(&peer) {
            connected.connections.insert(id, (direction, address));
            return Arrival::Again;
        }
        let is_admitted = self.has_room(&peer, direction);
        let connected = Connected {
            connections: BTreeMap::from([(id, (direction, address))]),
            since: now,
            is_admitted,
            direction,
            name: String::new(),
            protocols: Vec::new(),
            listen_addrs: Vec::new(),
            round_trip: None,
            pings_failed: 0,
            sessions: BTreeMap::new(),
            gone: CancellationToken::new().drop_guard(),
            departure: (!is_admitted).then_some(Departure::Local(DisconnectReason::TooManyPeers)),
        };
        self.connected.insert(peer, connected);
        if is_admitted { Arrival::Added } else { Arrival::Refused(DisconnectReason::TooManyPeers) }
    }

    /// The peer, if that was its last connection.
    pub(crate) fn handle_closed(&mut self, peer: &PeerId, id: ConnectionId) -> Option<Connected> {
        let connected = self.connected.get_mut(peer)?;
        connected.connections.remove(&id);
        if connected.connections.is_empty() { self.connected.remove(peer) } else { None }
    }

    pub(crate) fn get(&self, peer: &PeerId) -> Option<&Connected> {
        self.connected.get(peer)
    }

    pub(crate) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Connected> {
        self.connected.get_mut(peer)
    }

    /// The peers that are admitted.
    pub(crate) fn admitted(&self) -> impl Iterator<Item = PeerId> {
        self.connected.iter().filter(|(_, connected)| connected.is_admitted).map(|(peer, _)| *peer)
    }

    pub(crate) fn info(&self, now: Instant, peer: &PeerId) -> Option<PeerInfo> {
        let connected = self.connected.get(peer).filter(|connected| connected.is_admitted)?;
        let (direction, remote_addr) = connected.connections.values().next()?;
        let running = |(name, session): (&String, &Session)| match session {
            Session::Running { version } => Some((name.clone(), *version)),
            Session::Opening | Session::Ended => None,
        };
        Some(PeerInfo {
            id: *peer,
            name: connected.name.clone(),
            remote_addr: remote_addr.clone(),
            direction: *direction,
            connections: connected.connections.len(),
            connected_for: now.saturating_duration_since(connected.since),
            is_static: self.is_kept(peer),
            is_trusted: self.is_trusted(peer),
            round_trip: connected.round_trip,
            listen_addrs: connected.listen_addrs.clone(),
            protocols: connected.protocols.iter().map(ToString::to_string).collect(),
            sessions: connected.sessions.iter().filter_map(running).collect(),
        })
    }
}

impl Connected {
    /// Where it is, by its first connection.
    pub(crate) fn remote_addr(&self) -> Multiaddr {
        self.connections.values().next().map(|(_, address)| address.clone()).unwrap_or_else(Multiaddr::empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> PeerId {
        libp2p::identity::Keypair::generate_ed25519().public().to_peer_id()
    }

    fn arrive(peers: &mut Peers, peer: PeerId, id: usize, direction: Direction) -> Arrival {
        peers.handle_connection(Instant::now(), peer, ConnectionId::new_unchecked(id), direction, Multiaddr::empty())
    }

    #[test]
    fn the_cap_holds_for_all_but_static_and_trusted_peers() {
        let mut peers = Peers::new(2, 2);
        let [first, second, third, kept, trusted] = [(); 5].map(|()| peer());
        peers.keep(kept, &[]);
        peers.trust(trusted);
        for (id, peer) in [first, second].into_iter().enumerate() {
            assert_eq!(arrive(&mut peers, peer, id, Direction::Inbound), Arrival::Added);
        }
        let refused = Arrival::Refused(DisconnectReason::TooManyPeers);
        assert_eq!(arrive(&mut peers, third, 2, Direction::Outbound), refused);
        assert_eq!(arrive(&mut peers, kept, 3, Direction::Outbound), Arrival::Added);
        assert_eq!(arrive(&mut peers, trusted, 4, Direction::Inbound), Arrival::Added);
        assert_eq!(peers.admitted().count(), 4);
        assert!(peers.info(Instant::now(), &third).is_none());
        peers.handle_closed(&first, ConnectionId::new_unchecked(0));
        peers.handle_closed(&third, ConnectionId::new_unchecked(2));
        assert_eq!(arrive(&mut peers, third, 5, Direction::Outbound), Arrival::Added);
    }

    #[test]
    fn strangers_do_not_take_all_the_room() {
        let mut peers = Peers::new(3, 2);
        let inbound = [(); 3].map(|()| peer());
        let arrivals = inbound.map(|peer| arrive(&mut peers, peer, 0, Direction::Inbound));
        assert_eq!(arrivals[2], Arrival::Refused(DisconnectReason::TooManyPeers));
        assert_eq!(arrive(&mut peers, peer(), 0, Direction::Outbound), Arrival::Added);
    }

    #[test]
    fn a_peer_is_gone_with_its_last_connection_and_leaves_nothing() {
        let mut peers = Peers::new(3, 3);
        let peer = peer();
        assert_eq!(arrive(&mut peers, peer, 1, Direction::Inbound), Arrival::Added);
        assert_eq!(arrive(&mut peers, peer, 2, Direction::Outbound), Arrival::Again);
        assert!(peers.handle_closed(&peer, ConnectionId::new_unchecked(1)).is_none());
        assert_eq!(peers.info(Instant::now(), &peer).map(|info| info.connections), Some(1));
        assert!(peers.handle_closed(&peer, ConnectionId::new_unchecked(2)).is_some());
        assert!(peers.connected.is_empty());
    }
}
