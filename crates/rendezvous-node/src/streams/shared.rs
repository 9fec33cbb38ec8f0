//! What the behaviour, its connections and all controls have in common.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use libp2p::{PeerId, StreamProtocol, swarm::ConnectionId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    acceptors::{Acceptors, NotTaken},
    config::{Config, Stats},
    error::{AlreadyAccepted, OpenError},
    incoming::Incoming,
    link::{Link, Request, Ticket},
    stream::{Places, Stream},
    table::Table,
};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    /// No other lock is taken under a link's, and none but a link's under this one.
    table: Mutex<Table>,
    acceptors: Acceptors,
    /// Places of opens.
    opens: Arc<Semaphore>,
    /// Places of inbound streams.
    inbound: Arc<Semaphore>,
    pub(super) counters: Counters,
}

/// Counted without a lock.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) opened: AtomicU64,
    pub(super) opens_timed_out: AtomicU64,
    opens_per_peer_refused: AtomicU64,
    opens_refused: AtomicU64,
    accepted: AtomicU64,
    queue_refused: AtomicU64,
    queue_per_peer_refused: AtomicU64,
    inbound_per_connection_refused: AtomicU64,
    inbound_refused: AtomicU64,
    unclaimed: AtomicU64,
}

/// The places of an open: at its peer, and in all.
#[derive(Debug)]
pub(super) struct OpenPlaces {
    _of_peer: OwnedSemaphorePermit,
    _in_all: OwnedSemaphorePermit,
}

impl Counters {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Shared {
    pub(super) fn new(config: Config) -> Self {
        Self {
            table: Mutex::default(),
            acceptors: Acceptors::default(),
            opens: Arc::new(Semaphore::new(places(config.opens_max))),
            inbound: Arc::new(Semaphore::new(places(config.inbound_max))),
            counters: Counters::default(),
            config,
        }
    }

    /// There is a connection, or is about to be; its handler takes requests from the link.
    pub(super) fn connected(&self, peer: PeerId, connection: ConnectionId) -> Arc<Link> {
        let link = Arc::new(Link::new(connection));
        let (opens, waiting) = (places(self.config.opens_per_peer_max), places(self.config.queue_per_peer_max.max(1)));
        self.table().insert(peer, link.clone(), opens, waiting);
        link
    }

    /// A connection has closed, or was never made.
    pub(super) fn closed(&self, peer: PeerId, connection: ConnectionId) {
        let removed = self.table().remove(peer, connection);
        if let Some(link) = removed {
            link.end();
        }
    }

    /// The swarm is gone.
    pub(super) fn close(&self) {
        let table = std::mem::take(&mut *self.table());
        table.links().for_each(|link| link.end());
        self.acceptors.close();
    }

    /// Places for an open.
    pub(super) fn open_places(&self, peer: PeerId) -> Result<OpenPlaces, OpenError> {
        let opens = self.table().opens(&peer).cloned().ok_or(OpenError::NotConnected { peer })?;
        let Ok(of_peer) = opens.try_acquire_owned() else {
            Counters::count(&self.counters.opens_per_peer_refused);
            return Err(OpenError::TooManyOfPeer { max: self.config.opens_per_peer_max });
        };
        let Ok(in_all) = self.opens.clone().try_acquire_owned() else {
            Counters::count(&self.counters.opens_refused);
            return Err(OpenError::TooMany { max: self.config.opens_max });
        };
        Ok(OpenPlaces { _of_peer: of_peer, _in_all: in_all })
    }

    /// Hands a request to a connection; `None` if there is none.
    pub(super) fn push(&self, peer: &PeerId, request: Request) -> Option<Ticket> {
        let pushed = self.table().push(peer, request);
        pushed.ok()
    }

    /// Places of inbound streams, of one connection.
    pub(super) fn inbound_of_connection(&self) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(places(self.config.inbound_per_connection_max)))
    }

    /// Places for an inbound stream of a connection that has these; counts it if there are none.
    pub(super) fn inbound_places(&self, of_connection: &Arc<Semaphore>) -> Option<Places> {
        let Ok(of_connection) = of_connection.clone().try_acquire_owned() else {
            Counters::count(&self.counters.inbound_per_connection_refused);
            return None;
        };
        let Ok(in_all) = self.inbound.clone().try_acquire_owned() else {
            Counters::count(&self.counters.inbound_refused);
            return None;
        };
        Some((of_connection, in_all))
    }

    /// Hands an inbound stream to its acceptor, or drops it.
    pub(super) fn give(&self, stream: Stream) {
        let (peer, protocol) = (stream.peer(), stream.protocol().clone());
        let waiting = self.table().waiting(&peer).cloned();
        let place = waiting.and_then(|waiting| waiting.try_acquire_owned().ok());
        let given = place.ok_or(NotTaken::TooManyOfPeer).and_then(|place| self.acceptors.give(stream, place));
        let counter = match given {
            Ok(()) => &self.counters.accepted,
            Err(reason) => {
                tracing::debug!(%peer, %protocol, ?reason, "stream refused");
                match reason {
                    NotTaken::QueueFull => &self.counters.queue_refused,
                    NotTaken::TooManyOfPeer => &self.counters.queue_per_peer_refused,
                    NotTaken::Unclaimed => &self.counters.unclaimed,
                }
            }
        };
        Counters::count(counter);
    }

    /// The protocols that are offered.
    pub(super) fn protocols(&self) -> Arc<[StreamProtocol]> {
        self.acceptors.listed()
    }

    pub(super) fn accept(self: &Arc<Self>, protocols: Vec<StreamProtocol>) -> Result<Incoming, AlreadyAccepted> {
        let receiver = self.acceptors.add(&protocols, self.config.queue_max)?;
        self.wake();
        Ok(Incoming::new(self.clone(), protocols, receiver))
    }

    pub(super) fn accept_no_more(&self, protocols: &[StreamProtocol]) {
        self.acceptors.remove(protocols);
        self.wake();
    }

    pub(super) fn stats(&self) -> Stats {
        let (peers, connections, opens_queued) = {
            let table = self.table();
            (table.peers(), table.links().count(), table.links().map(|link| link.len()).sum())
        };
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        Stats {
            peers,
            connections,
            opens: places(self.config.opens_max) - self.opens.available_permits(),
            opens_queued,
            inbound: places(self.config.inbound_max) - self.inbound.available_permits(),
            protocols: self.acceptors.listed().len(),
            opened: read(&counters.opened),
            accepted: read(&counters.accepted),
            opens_timed_out: read(&counters.opens_timed_out),
            opens_per_peer_refused: read(&counters.opens_per_peer_refused),
            opens_refused: read(&counters.opens_refused),
            queue_refused: read(&counters.queue_refused),
            queue_per_peer_refused: read(&counters.queue_per_peer_refused),
            inbound_per_connection_refused: read(&counters.inbound_per_connection_refused),
            inbound_refused: read(&counters.inbound_refused),
            unclaimed: read(&counters.unclaimed),
        }
    }

    /// Has every connection polled: each compares then what is offered with what it has announced.
    fn wake(&self) {
        self.table().links().for_each(|link| link.wake());
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A setting as a number of permits; a semaphore panics above its own bound.
fn places(max: usize) -> usize {
    max.min(Semaphore::MAX_PERMITS)
}
