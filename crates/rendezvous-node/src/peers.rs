//! Who is connected, and who may be: [`Peers`].

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

use libp2p::{Multiaddr, PeerId, StreamProtocol, swarm::ConnectionId};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    DisconnectReason,
    event::Departure,
    info::PeerInfo,
    streams,
    sub_protocol::{Direction, End, Negotiated},
};

/// The peers of a node: who is connected, and whether there is room for one who comes.
///
/// **Invariant:** of a peer without connections nothing is kept but that it is static, a point or trusted.
#[derive(Debug)]
pub(crate) struct Peers {
    peers_max: usize,
    inbound_max: usize,
    kept: BTreeMap<PeerId, Kept>,
    trusted: BTreeSet<PeerId>,
    connected: HashMap<PeerId, Connected>,
    visits: u64,
}

/// Why a peer is kept connected, and where it is; for both reasons at once, perhaps.
#[derive(Debug, Default)]
struct Kept {
    addresses: Vec<Multiaddr>,
    is_static: bool,
    is_point: bool,
}

/// What a peer is kept connected for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeptAs {
    Static,
    Point,
}

/// The time from a peer's first connection to its last. What belongs to one does not touch the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visit(u64);

/// A peer with connections.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) visit: Visit,
    connections: BTreeMap<ConnectionId, Connection>,
    since: Instant,
    /// Whether it counts as a peer; otherwise it is being told why not.
    pub(crate) is_admitted: bool,
    /// Who opened the first connection.
    pub(crate) direction: Direction,
    /// Whether it has said what it is, or will not.
    pub(crate) is_identified: bool,
    pub(crate) name: String,
    pub(crate) protocols: Vec<StreamProtocol>,
    pub(crate) listen_addrs: Vec<Multiaddr>,
    pub(crate) round_trip: Option<Duration>,
    /// Sub-protocols of which there is, or has been, a session on these connections.
    pub(crate) sessions: BTreeMap<String, Session>,
    /// Streams whose sessions are to begin, at most one of each sub-protocol.
    pub(crate) waiting: BTreeMap<String, (Negotiated, streams::Stream)>,
    /// Why the connections are about to end.
    pub(crate) departure: Option<Departure>,
    /// How the sessions are to end.
    pub(crate) ending: watch::Sender<Option<End>>,
    /// Ends, when this is dropped, what is done for the visit.
    pub(crate) gone: DropGuard,
}

#[derive(Debug)]
struct Connection {
    direction: Direction,
    address: Multiaddr,
    /// In a row.
    pings_failed: u32,
}

/// How it stands with a sub-protocol.
#[derive(Debug)]
pub(crate) enum Session {
    /// A stream is being opened.
    Opening,
    Running {
        version: u32,
        connection: ConnectionId,
        /// Cancelled when that connection is gone.
        lost: CancellationToken,
    },
    /// Not begun again before the peer connects anew.
    Ended,
}

/// What a new connection comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Another one of a peer that is connected.
    Again {
        is_staying: bool,
    },
    Added,
    Refused(DisconnectReason),
}

/// What the end of a connection comes to.
#[derive(Debug)]
pub(crate) enum Closed {
    Unknown,
    /// There are others; these sessions were on it.
    OneOf(Vec<CancellationToken>),
    Last(Box<Connected>),
}

impl Peers {
    pub(crate) fn new(peers_max: usize, inbound_max: usize) -> Self {
        Self {
            peers_max,
            inbound_max,
            kept: BTreeMap::new(),
            trusted: BTreeSet::new(),
            connected: HashMap::new(),
            visits: 0,
        }
    }

    /// Keeps a peer connected from now on, for which it is always admitted.
    pub(crate) fn keep(&mut self, peer: PeerId, kept_as: KeptAs, addresses: &[Multiaddr]) -> &[Multiaddr] {
        let kept = self.kept.entry(peer).or_default();
        *kept.is(kept_as) = true;
        for address in addresses {
            if !kept.addresses.contains(address) {
                kept.addresses.push(address.clone());
            }
        }
        &kept.addresses
    }

    /// Keeps a peer connected for this no longer; whether it was. It may still be kept for the other.
    pub(crate) fn release(&mut self, peer: &PeerId, kept_as: KeptAs) -> bool {
        let Some(kept) = self.kept.get_mut(peer) else { return false };
        let was_kept = std::mem::take(kept.is(kept_as));
        if !kept.is_static && !kept.is_point {
            self.kept.remove(peer);
        }
        was_kept
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

    /// Whether a peer is admitted whoever else is there.
    pub(crate) fn is_exempt(&self, peer: &PeerId) -> bool {
        self.is_kept(peer) || self.trusted.contains(peer)
    }

    /// Where a peer is that is kept.
    pub(crate) fn addresses(&self, peer: &PeerId) -> &[Multiaddr] {
        self.kept.get(peer).map_or(&[], |kept| &kept.addresses)
    }

    /// Whether a peer may come that is not connected, or is about to go.
    pub(crate) fn has_room(&self, peer: &PeerId, direction: Direction) -> bool {
        if self.is_exempt(peer) {
            return true;
        }
        let (all, inbound) = self.counted(Some(peer));
        all < self.peers_max && (direction == Direction::Outbound || inbound < self.inbound_max)
    }

    /// Whether nobody may come who is not exempt, nor be dialled.
    pub(crate) fn is_full(&self) -> bool {
        self.counted(None).0 >= self.peers_max
    }

    /// Peers that count against the caps, without this one: all, and those that have come by themselves.
    fn counted(&self, without: Option<&PeerId>) -> (usize, usize) {
        let is_counted =
            |it: &(&PeerId, &Connected)| Some(it.0) != without && it.1.is_admitted && !self.is_exempt(it.0);
        let (mut all, mut inbound) = (0, 0);
        for (_, connected) in self.connected.iter().filter(is_counted) {
            all += 1;
            inbound += usize::from(connected.direction == Direction::Inbound);
        }
        (all, inbound)
    }

    /// Takes out a peer that has said goodbye, and whose connections are being closed.
    pub(crate) fn take_left(&mut self, peer: &PeerId) -> Option<Connected> {
        let has_left = matches!(self.connected.get(peer)?.departure, Some(Departure::Remote(_)));
        if has_left { self.connected.remove(peer) } else { None }
    }

    pub(crate) fn handle_connection(
        &mut self,
        now: Instant,
        peer: PeerId,
        id: ConnectionId,
        direction: Direction,
        address: Multiaddr,
    ) -> Arrival {
        let connection = Connection { direction, address, pings_failed: 0 };
        if let Some(connected) = self.connected.get_mut(&peer) {
            connected.connections.insert(id, connection);
            return Arrival::Again { is_staying: connected.is_staying() };
        }
        let is_admitted = self.has_room(&peer, direction);
        self.visits += 1;
        let connected = Connected {
            visit: Visit(self.visits),
            connections: BTreeMap::from([(id, connection)]),
            since: now,
            is_admitted,
            direction,
            is_identified: false,
            name: String::new(),
            protocols: Vec::new(),
            listen_addrs: Vec::new(),
            round_trip: None,
            sessions: BTreeMap::new(),
            waiting: BTreeMap::new(),
            departure: None,
            ending: watch::Sender::new(None),
            gone: CancellationToken::new().drop_guard(),
        };
        self.connected.insert(peer, connected);
        if is_admitted { Arrival::Added } else { Arrival::Refused(DisconnectReason::TooManyPeers) }
    }

    pub(crate) fn handle_closed(&mut self, peer: &PeerId, id: ConnectionId) -> Closed {
        let Some(connected) = self.connected.get_mut(peer) else { return Closed::Unknown };
        connected.connections.remove(&id);
        if !connected.connections.is_empty() {
            return Closed::OneOf(connected.sessions_on(id).collect());
        }
        self.connected.remove(peer).map_or(Closed::Unknown, |connected| Closed::Last(Box::new(connected)))
    }

    pub(crate) fn get(&self, peer: &PeerId) -> Option<&Connected> {
        self.connected.get(peer)
    }

    pub(crate) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Connected> {
        self.connected.get_mut(peer)
    }

    /// The peer, if this is still the visit of which something is told.
    pub(crate) fn on_visit(&mut self, peer: &PeerId, visit: Visit) -> Option<&mut Connected> {
        self.connected.get_mut(peer).filter(|connected| connected.visit == visit)
    }

    /// The peers that are admitted.
    pub(crate) fn admitted(&self) -> impl Iterator<Item = PeerId> {
        self.connected.iter().filter(|(_, connected)| connected.is_admitted).map(|(peer, _)| *peer)
    }

    /// Forgets everybody, and gives those who were admitted.
    pub(crate) fn take_admitted(&mut self) -> impl Iterator<Item = (PeerId, Connected)> + use<> {
        std::mem::take(&mut self.connected).into_iter().filter(|(_, connected)| connected.is_admitted)
    }

    pub(crate) fn info(&self, now: Instant, peer: &PeerId) -> Option<PeerInfo> {
        let connected = self.connected.get(peer).filter(|connected| connected.is_admitted)?;
        let Connection { direction, address, .. } = connected.connections.values().next()?;
        Some(PeerInfo {
            id: *peer,
            name: connected.name.clone(),
            remote_addr: address.clone(),
            direction: *direction,
            connections: connected.connections.len(),
            connected_for: now.saturating_duration_since(connected.since),
            is_static: self.is_kept(peer),
            is_trusted: self.trusted.contains(peer),
            round_trip: connected.round_trip,
            listen_addrs: connected.listen_addrs.clone(),
            protocols: connected.protocols.iter().map(ToString::to_string).collect(),
            sessions: connected.running().map(|(name, version)| (name.to_owned(), version)).collect(),
        })
    }
}

impl Kept {
    fn is(&mut self, kept_as: KeptAs) -> &mut bool {
        match kept_as {
            KeptAs::Static => &mut self.is_static,
            KeptAs::Point => &mut self.is_point,
        }
    }
}

impl Connected {
    /// Where it is, by its first connection.
    pub(crate) fn remote_addr(&self) -> Multiaddr {
        self.connections.values().next().map_or_else(Multiaddr::empty, |connection| connection.address.clone())
    }

    /// Whether it is admitted, and not about to go.
    pub(crate) fn is_staying(&self) -> bool {
        self.is_admitted && self.departure.is_none()
    }

    pub(crate) fn has_connection(&self, id: ConnectionId) -> bool {
        self.connections.contains_key(&id)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Sessions that run, with their versions.
    pub(crate) fn running(&self) -> impl Iterator<Item = (&str, u32)> {
        self.sessions.iter().filter_map(|(name, session)| match session {
            Session::Running { version, .. } => Some((name.as_str(), *version)),
            Session::Opening | Session::Ended => None,
        })
    }

    fn sessions_on(&self, id: ConnectionId) -> impl Iterator<Item = CancellationToken> {
        self.sessions.values().filter_map(move |session| match session {
            Session::Running { connection, lost, .. } if *connection == id => Some(lost.clone()),
            _ => None,
        })
    }

    /// It is about to go: its sessions end so. `false` if it was so before, for what was told then.
    pub(crate) fn depart(&mut self, departure: Departure, end: End) -> bool {
        if self.departure.is_some() {
            return false;
        }
        self.departure = Some(departure);
        self.waiting.clear();
        self.ending.send_if_modified(|ending| ending.is_none() && ending.replace(end).is_none());
        true
    }

    /// How many pings have failed in a row on a connection, this one included, of those that are told.
    pub(crate) fn handle_ping(&mut self, id: ConnectionId, round_trip: Option<Duration>) -> u32 {
        let Some(connection) = self.connections.get_mut(&id) else { return 0 };
        if round_trip.is_some() {
            self.round_trip = round_trip;
            connection.pings_failed = 0;
        } else {
            connection.pings_failed += 1;
        }
        connection.pings_failed
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
        peers.keep(kept, KeptAs::Static, &[]);
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
        assert_eq!(arrive(&mut peers, peer, 2, Direction::Outbound), Arrival::Again { is_staying: true });
        assert!(matches!(peers.handle_closed(&peer, ConnectionId::new_unchecked(1)), Closed::OneOf(_)));
        assert_eq!(peers.info(Instant::now(), &peer).map(|info| info.connections), Some(1));
        assert!(matches!(peers.handle_closed(&peer, ConnectionId::new_unchecked(2)), Closed::Last(_)));
        assert!(matches!(peers.handle_closed(&peer, ConnectionId::new_unchecked(2)), Closed::Unknown));
        assert!(peers.connected.is_empty());
    }

    #[test]
    fn what_a_peer_is_kept_for_is_taken_back_one_by_one() {
        let (mut peers, peer) = (Peers::new(0, 0), peer());
        peers.keep(peer, KeptAs::Static, &[]);
        peers.keep(peer, KeptAs::Point, &[]);
        assert!(peers.release(&peer, KeptAs::Point));
        assert!(!peers.release(&peer, KeptAs::Point));
        assert!(peers.is_kept(&peer));
        assert!(peers.release(&peer, KeptAs::Static));
        assert!(!peers.is_kept(&peer));
    }

    #[test]
    fn the_reason_that_was_told_first_stays() {
        let (mut peers, peer) = (Peers::new(1, 1), peer());
        arrive(&mut peers, peer, 1, Direction::Inbound);
        let connected = peers.get_mut(&peer).expect("it is connected");
        let [first, second] = [DisconnectReason::Timeout, DisconnectReason::Quitting];
        assert!(connected.depart(Departure::Local(first), End::Disconnect(first)));
        assert!(!connected.depart(Departure::Remote(second), End::Session(second)));
        assert_eq!(connected.departure, Some(Departure::Local(first)));
        assert_eq!(*connected.ending.borrow(), Some(End::Disconnect(first)));
    }

    #[test]
    fn the_next_visit_is_another() {
        let (mut peers, peer) = (Peers::new(1, 1), peer());
        let mut visit = || {
            arrive(&mut peers, peer, 1, Direction::Inbound);
            match peers.handle_closed(&peer, ConnectionId::new_unchecked(1)) {
                Closed::Last(connected) => connected.visit,
                other => panic!("{other:?}"),
            }
        };
        assert_ne!(visit(), visit());
    }
}
