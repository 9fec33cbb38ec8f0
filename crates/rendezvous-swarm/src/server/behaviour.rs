//! The point in a swarm.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque, hash_map::RandomState},
    fmt,
    hash::BuildHasher as _,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt as _;
use futures_timer::Delay;
use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler,
    THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use rendezvous_core::{
    Time,
    server::{Event, Reads, Stats, reads_of_agent},
};
use rendezvous_store::{LoadError, Opened, Store};
use rendezvous_wire::{Dialect, Dialects, Namespace};

use super::{
    budget::{Exceeded, Resource},
    config::Config,
    handler::{Handler, Negotiations, Notice, Told},
    shared::{Counters, Shared, ShellStats},
    writer::Writer,
};
use crate::{activity::Activity, prefix::origin_of};

/// Time between two searches for connections with many streams in negotiation.
const SEARCH_PERIOD: Duration = Duration::from_millis(100);

/// A rendezvous point: serves `/rendezvous/1.0.0` to all who connect, and other dialects from the same registry where they
/// are switched on ([`Config::dialects`], [`Self::serve`]).
///
/// Requests are served in the tasks of their connections; what runs in the swarm's loop is the expiry, and the events if
/// they are wanted ([`ServerConfig::events_max`](super::ServerConfig::events_max)).
///
/// Hand it what identify reports of the peers ([`Self::peer_agent`]): without, a rust-libp2p client that has not registered
/// may have to wait for [`AGENT_PATIENCE`](rendezvous_core::server::AGENT_PATIENCE), and may get records that it cannot
/// read.
///
/// ```
/// use rendezvous_swarm::server;
///
/// let mut config = server::Config::default();
/// config.server.events_max = 1_024;
/// let point = server::Behaviour::new(config);
/// assert_eq!(point.stats().registrations, 0);
/// ```
pub struct Behaviour {
    shared: Arc<Shared>,
    /// Where there is a store. It ends with this behaviour.
    _writer: Option<Writer>,
    /// Connected peers, with their connections and what their agent version tells.
    peers: HashMap<PeerId, Connected>,
    activity: Activity,
    /// Connections that are to be told.
    to_tell: VecDeque<(PeerId, ConnectionId, Told)>,
    to_close: VecDeque<(PeerId, ConnectionId)>,
    /// When connections with many streams in negotiation may be searched for again.
    next_search: Time,
    timer: Option<(Time, Delay)>,
}

#[derive(Debug, Default)]
struct Connected {
    connections: Vec<(ConnectionId, Arc<Negotiations>)>,
    /// The outer `None` while the agent version is not known.
    reads: Option<Option<Reads>>,
}

impl Behaviour {
    /// A point with an empty registry in memory.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::with_seed(config, random_seed())
    }

    /// A point that keeps its registrations in a store, and goes on with those that are there. A REGISTER is answered when it
    /// is durable; DISCOVER never waits for the store.
    ///
    /// This reads the store, which may take seconds: call it where that harms nobody. `progress` is told how many
    /// registrations have been read, now and then. The store is written by a thread of its own; dropping the behaviour
    /// ends it, after what waits has been written.
    ///
    /// # Errors
    /// [`LoadError`] if the store cannot be read, or is not what was written.
    pub fn open(
        config: Config,
        mut store: Box<dyn Store>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(Self, Opened), LoadError> {
        let (shared, opened) = Shared::open(config, random_seed(), store.as_mut(), progress)?;
        let shared = Arc::new(shared);
        let is_durable = store.is_durable();
        let writer = is_durable.then(|| Writer::start(shared.clone(), store)).transpose();
        let writer = writer.map_err(|error| LoadError::Engine(Box::new(error)))?;
        Ok((Self::with(shared, writer), opened))
    }

    /// Like [`Self::new`], with a seed for the hash tables, which peers must not be able to guess.
    #[must_use]
    pub fn with_seed(config: Config, seed: [u8; 16]) -> Self {
        Self::with(Arc::new(Shared::new(config, seed)), None)
    }

    fn with(shared: Arc<Shared>, writer: Option<Writer>) -> Self {
        let activity = Activity::default();
        Self {
            shared,
            _writer: writer,
            peers: HashMap::new(),
            activity,
            to_tell: VecDeque::new(),
            to_close: VecDeque::new(),
            next_search: Time::from_unix_millis(0),
            timer: None,
        }
    }

    /// Tells the agent version of a connected peer, as identify reports it: it shows which flavours of record the peer
    /// reads. Of a peer that is not connected nothing is kept.
    pub fn peer_agent(&mut self, peer: PeerId, agent_version: &str) {
        let Some(connected) = self.peers.get_mut(&peer) else { return };
        let reads = reads_of_agent(agent_version);
        // identify reports again and again.
        if connected.reads.replace(reads) == Some(reads) {
            return;
        }
        let told = connected.connections.iter().map(|(connection, _)| (peer, *connection, Told::Agent(reads)));
        self.to_tell.extend(told);
        self.wake();
    }

    /// Starts or stops serving a dialect; `false` if that changes nothing.
    ///
    /// Connections that are open learn of it as well: their peers are told by identify, where that is running. A stream of a
    /// dialect that is served no longer is closed at its next request, which is not answered. What was registered stays
    /// until its TTL ends, and is served in the other dialects.
    pub fn serve(&mut self, dialect: Dialect, is_served: bool) -> bool {
        if !self.shared.serve(dialect, is_served) {
            return false;
        }
        for (&peer, connected) in &self.peers {
            self.to_tell
                .extend(connected.connections.iter().map(|(connection, _)| (peer, *connection, Told::Dialects)));
        }
        self.wake();
        true
    }

    /// The dialects that are served.
    #[must_use]
    pub fn dialects(&self) -> Dialects {
        self.shared.dialects()
    }

    /// Counters, and what the point holds.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.lock().stats()
    }

    /// When the connections are used: to be handed to [`limits::Behaviour::watch`](crate::limits::Behaviour::watch), so that
    /// idle connections are closed.
    #[must_use]
    pub fn activity(&self) -> Activity {
        self.activity.clone()
    }

    /// What the shell has met, and what it holds.
    #[must_use]
    pub fn shell_stats(&self) -> ShellStats {
        self.shared.shell_stats()
    }

    /// Why the store took no changes the last time, if it did not: registrations are refused with `E_INTERNAL_ERROR` until it
    /// takes some again. `None` without a store.
    #[must_use]
    pub fn store_failure(&self) -> Option<String> {
        self.shared.desk.failure()
    }

    /// The namespaces with registrations and the number of these, the fullest first, at most `max`.
    ///
    /// It looks at all namespaces, some milliseconds for a hundred thousand, while no request is served.
    #[must_use]
    pub fn namespaces(&self, max: usize) -> Vec<(Namespace, u32)> {
        let server = self.shared.lock();
        // The fullest so far, the least of them on top.
        let mut fullest = BinaryHeap::new();
        for (namespace, count) in server.namespaces() {
            fullest.push(Reverse((count, Reverse(namespace))));
            if fullest.len() > max {
                fullest.pop();
            }
        }
        let sorted = fullest.into_sorted_vec();
        sorted.into_iter().map(|Reverse((count, Reverse(namespace)))| (namespace.clone(), count)).collect()
    }

    /// Whether a peer is registered in a namespace.
    #[must_use]
    pub fn is_registered(&self, peer: &PeerId, namespace: &Namespace) -> bool {
        self.shared.lock().is_registered(peer, namespace.as_str())
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Has the swarm poll this behaviour.
    fn wake(&self) {
        self.shared.wake();
    }

    fn connected(&mut self, peer: PeerId, connection: ConnectionId, remote: &Multiaddr) -> Handler {
        let connected = self.peers.entry(peer).or_default();
        let reads = connected.reads;
        let origin = origin_of(&self.shared.config.exempt, remote);
        let handler = Handler::new(peer, origin, self.shared.clone(), self.activity.opened(connection), reads);
        connected.connections.push((connection, handler.negotiations()));
        handler
    }

    /// Closes connections while there are too many streams in negotiation: those with most of them, of the origins above
    /// their share.
    fn close_negotiating(&mut self) {
        let budgets = self.shared.budgets.clone();
        let mut excess = budgets.excess(Resource::Negotiations);
        let now = self.shared.clock.now();
        // The search looks at all connections.
        if excess == 0 || now < self.next_search {
            return;
        }
        self.next_search = now + SEARCH_PERIOD;
        let mut closable = Vec::new();
        for (&peer, connected) in &self.peers {
            for (connection, negotiations) in &connected.connections {
                if negotiations.is_closing() {
                    excess = excess.saturating_sub(negotiations.count());
                    continue;
                }
                let above_share = negotiations.member().above_share(Resource::Negotiations);
                if above_share > 0 && negotiations.count() > 0 {
                    closable.push((above_share, negotiations.count(), peer, *connection, negotiations.clone()));
                }
            }
        }
        closable.sort_unstable_by_key(|(above_share, count, ..)| Reverse((*above_share, *count)));
        for (above_share, count, peer, connection, negotiations) in closable {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(count.min(above_share));
            Counters::count(&self.shared.counters.negotiating_closed);
            let what = "connections are closed that have too many streams in negotiation";
            let origin = negotiations.member().origin();
            self.shared.note_exceeded("streams.negotiating_max", origin, Exceeded::Share, what);
            negotiations.set_closing();
            self.to_close.push_back((peer, connection));
        }
    }

    /// Takes out what has ended, and sets the timer for what ends next.
    fn poll_expiry(&mut self, cx: &mut Context<'_>) {
        let shared = self.shared.clone();
        let now = shared.clock.now();
        let mut server = shared.lock();
        let mut next = server.poll_timeout();
        if next.is_some_and(|next| next <= now) {
            server.handle_timeout(now);
            next = server.poll_timeout();
        }
        shared.set_armed(&server, next);
        drop(server);
        let Some(next) = next else {
            self.timer = None;
            return;
        };
        if next <= now {
            // The work of one turn is bounded; the rest is for the next.
            cx.waker().wake_by_ref();
            return;
        }
        match &mut self.timer {
            Some((at, _)) if *at == next => {}
            timer => *timer = Some((next, Delay::new(shared.clock.until(next)))),
        }
        if let Some((_, delay)) = &mut self.timer
            && delay.poll_unpin(cx).is_ready()
        {
            self.timer = None;
            cx.waker().wake_by_ref();
        }
    }
}

/// `RandomState` is the standard library's source of keys that others cannot guess.
fn random_seed() -> [u8; 16] {
    let [low, high] = [0_u64, 1].map(|half| u128::from(RandomState::new().hash_one(half)));
    (high << 64 | low).to_le_bytes()
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.connected(peer, connection, remote))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.connected(peer, connection, remote))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let (peer, connection) = match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => (peer_id, connection_id),
            // Another behaviour may deny a connection that this one has made a handler for.
            FromSwarm::DialFailure(failure) => match failure.peer_id {
                Some(peer) => (peer, failure.connection_id),
                None => return,
            },
            FromSwarm::ListenFailure(failure) => match failure.peer_id {
                Some(peer) => (peer, failure.connection_id),
                None => return,
            },
            _ => return,
        };
        self.activity.closed(connection);
        if let Some(connected) = self.peers.get_mut(&peer) {
            connected.connections.retain(|(known, _)| *known != connection);
            if connected.connections.is_empty() {
                self.peers.remove(&peer);
            }
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        self.shared.register_waker(cx.waker());
        if let Some((peer_id, connection, told)) = self.to_tell.pop_front() {
            let event = Notice(told);
            return Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(connection), event });
        }
        self.close_negotiating();
        if let Some((peer_id, connection)) = self.to_close.pop_front() {
            let connection = CloseConnection::One(connection);
            return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection });
        }
        self.poll_expiry(cx);
        if self.shared.config.server.events_max > 0
            && let Some(event) = self.shared.lock().poll_event()
        {
            return Poll::Ready(ToSwarm::GenerateEvent(event));
        }
        Poll::Pending
    }
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behaviour").field("stats", &self.stats()).field("peers", &self.peers.len()).finish()
    }
}
