//! The connections, by peer.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use libp2p::{PeerId, swarm::ConnectionId};
use tokio::sync::Semaphore;

use super::link::{Link, Request, Ticket};

/// The connections that stand. An entry goes with its last connection.
#[derive(Debug, Default)]
pub(super) struct Table {
    peers: HashMap<PeerId, Peer>,
}

#[derive(Debug)]
struct Peer {
    /// Never empty; the newest is last.
    links: Vec<Arc<Link>>,
    /// Places of opens. Those of an entry that has gone are of opens that have ended with it.
    opens: Arc<Semaphore>,
    /// Places of streams that wait at acceptors.
    waiting: Arc<Semaphore>,
}

impl Table {
    /// Adds a connection, with so many places of opens, and of streams that wait, if it is the peer's first.
    pub(super) fn insert(&mut self, peer: PeerId, link: Arc<Link>, opens_max: usize, waiting_max: usize) {
        let semaphore = |places| Arc::new(Semaphore::new(places));
        let new = || Peer { links: Vec::new(), opens: semaphore(opens_max), waiting: semaphore(waiting_max) };
        self.peers.entry(peer).or_insert_with(new).links.push(link);
    }

    /// Takes out a connection, if it is there.
    pub(super) fn remove(&mut self, peer: PeerId, connection: ConnectionId) -> Option<Arc<Link>> {
        let Entry::Occupied(mut entry) = self.peers.entry(peer) else {
            return None;
        };
        let links = &mut entry.get_mut().links;
        let removed = links.iter().position(|link| link.connection() == connection).map(|place| links.remove(place));
        if links.is_empty() {
            entry.remove();
        }
        removed
    }

    /// The places of a peer's opens.
    pub(super) fn opens(&self, peer: &PeerId) -> Option<&Arc<Semaphore>> {
        self.peers.get(peer).map(|peer| &peer.opens)
    }

    /// The places of a peer's streams that wait at acceptors.
    pub(super) fn waiting(&self, peer: &PeerId) -> Option<&Arc<Semaphore>> {
        self.peers.get(peer).map(|peer| &peer.waiting)
    }

    /// Hands a request to the newest of the peer's connections that has not ended; gives it back if there is none.
    pub(super) fn push(&self, peer: &PeerId, mut request: Request) -> Result<Ticket, Request> {
        for link in self.peers.get(peer).into_iter().flat_map(|peer| peer.links.iter().rev()) {
            match link.push(request) {
                Ok(ticket) => return Ok(ticket),
                Err(refused) => request = refused,
            }
        }
        Err(request)
    }

    /// All connections.
    pub(super) fn links(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.peers.values().flat_map(|peer| &peer.links)
    }

    /// How many peers there are.
    pub(super) fn peers(&self) -> usize {
        self.peers.len()
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::oneshot;
    use libp2p::StreamProtocol;
    use tokio::time::Instant;

    use super::*;

    fn link(id: usize) -> Arc<Link> {
        Arc::new(Link::new(ConnectionId::new_unchecked(id)))
    }

    fn request() -> Request {
        Request { protocol: StreamProtocol::new("/a"), deadline: Instant::now(), reply: oneshot::channel().0 }
    }

    #[test]
    fn the_newest_connection_that_has_not_ended_is_asked() {
        let (mut table, peer) = (Table::default(), PeerId::random());
        let [old, middle, new] = [1, 2, 3].map(link);
        for link in [&old, &middle, &new] {
            table.insert(peer, link.clone(), 1, 1);
        }
        let _first = table.push(&peer, request()).expect("it is connected");
        assert_eq!([&old, &middle, &new].map(|link| link.len()), [0, 0, 1]);
        new.end();
        let _second = table.push(&peer, request()).expect("it is connected");
        assert_eq!([&old, &middle, &new].map(|link| link.len()), [0, 1, 0]);
        table.remove(peer, middle.connection());
        let _third = table.push(&peer, request()).expect("it is connected");
        assert_eq!(old.len(), 1);
        old.end();
        assert!(table.push(&peer, request()).is_err());
    }

    #[test]
    fn a_peer_goes_with_its_last_connection() {
        let (mut table, peer) = (Table::default(), PeerId::random());
        table.insert(peer, link(1), 1, 1);
        table.insert(peer, link(2), 1, 1);
        assert!(table.remove(peer, ConnectionId::new_unchecked(3)).is_none());
        assert!(table.remove(PeerId::random(), ConnectionId::new_unchecked(1)).is_none());
        assert!(table.remove(peer, ConnectionId::new_unchecked(1)).is_some());
        assert!(table.remove(peer, ConnectionId::new_unchecked(1)).is_none(), "once only");
        assert_eq!((table.peers(), table.links().count()), (1, 1));
        assert!(table.remove(peer, ConnectionId::new_unchecked(2)).is_some());
        assert_eq!((table.peers(), table.links().count()), (0, 0));
    }
}
