//! The limits in a swarm.

use std::{
    collections::{HashSet, VecDeque},
    convert::Infallible,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::FutureExt as _;
use futures_timer::Delay;
use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, DialFailure, FromSwarm, ListenFailure,
    NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use rendezvous_core::{Time, server::Origin};

use super::{
    config::{Config, Exceeded, Stats},
    tally::{Counted, Tally},
};
use crate::{activity::Activity, clock::Ticks, notices::Notices, prefix::origin_of};

/// Time between two searches for idle connections, in milliseconds; and the shortest such time.
const SEARCH_MILLIS: u64 = 15_000;
const SEARCH_MILLIS_MIN: u64 = 1_000;

/// Denies inbound connections above its [limits](Config), and closes idle ones; see the [module](super) for what is counted
/// and when.
///
/// Of a connection nothing is kept beyond its end, so that what this holds is bounded by the limits, by the outbound
/// connections, and by the peers that bypass.
#[derive(Debug)]
pub struct Behaviour {
    config: Config,
    bypassing: HashSet<PeerId>,
    tally: Tally,
    /// The denials and closes; what is connected is in the tally.
    counts: Stats,
    notices: Notices,
    /// When connections were used last. Without it none is closed.
    activity: Option<Activity>,
    to_close: VecDeque<(PeerId, ConnectionId)>,
    /// When idle connections are searched for, and when they may be because there is little room.
    next_search_millis: u64,
    next_relief_millis: u64,
    timer: Option<Delay>,
    waker: Option<Waker>,
}

impl Behaviour {
    /// These limits, and nobody who bypasses them.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            bypassing: HashSet::new(),
            tally: Tally::default(),
            counts: Stats::default(),
            notices: Notices::default(),
            activity: None,
            to_close: VecDeque::new(),
            next_search_millis: 0,
            next_relief_millis: 0,
            timer: None,
            waker: None,
        }
    }

    /// Closes idle connections, by what a point notes of their use ([`server::Behaviour::activity`]): after
    /// [`Config::idle_timeout`], and earlier where there is little room. Connections that are unknown there count as used
    /// once, when they were established.
    ///
    /// For swarms whose connections serve the point alone; others note their use with [`Activity::note_use`].
    ///
    /// ```
    /// use rendezvous_swarm::{limits, server};
    ///
    /// let point = server::Behaviour::new(server::Config::default());
    /// let mut limits = limits::Behaviour::new(limits::Config::default());
    /// limits.watch(point.activity());
    /// ```
    ///
    /// [`server::Behaviour::activity`]: crate::server::Behaviour::activity
    pub fn watch(&mut self, activity: Activity) {
        self.activity = Some(activity);
        self.wake();
    }

    /// Closes a connection whose peer does not answer: to be called for each failed ping, but not where the peer does not
    /// support ping. Returns `false` if the connection is unknown, or is closing already.
    pub fn peer_unresponsive(&mut self, connection: ConnectionId) -> bool {
        let counted = self.tally.get(connection);
        let Some(Counted::Established { peer, .. } | Counted::EstablishedOutbound(peer)) = counted else {
            return false;
        };
        self.counts.unresponsive_closed += 1;
        self.close(connection, peer);
        true
    }

    /// Admits a trusted peer above [`Config::connections_max`] and [`Config::connections_per_prefix_max`]. Its connections are
    /// not closed for being idle.
    ///
    /// Its connections count all the same. [`Config::connections_per_peer_max`] holds for it too, and so do the limits of
    /// handshakes, since during these its id is not known. While any peer bypasses, no handshake is saved.
    pub fn bypass(&mut self, peer: PeerId) {
        self.bypassing.insert(peer);
    }

    /// Takes [`Self::bypass`] back, for connections to come; those that there are stay.
    pub fn unbypass(&mut self, peer: &PeerId) {
        self.bypassing.remove(peer);
    }

    /// What is connected, and the denials and closes since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            pending: self.tally.pending,
            established: self.tally.established,
            closing: self.tally.closing,
            pending_outbound: self.tally.pending_outbound,
            established_outbound: self.tally.established_outbound,
            peers: self.tally.peers(),
            prefixes: self.tally.prefixes(),
            ..self.counts
        }
    }

    /// Whether there is room for one more handshake. The narrowest limit is named, since it tells most.
    fn check_pending(&self, origin: Origin) -> Result<(), Exceeded> {
        let max = self.config.pending_per_prefix_max;
        if origin != Origin::Exempt && self.tally.pending_of(origin) >= max {
            return Err(Exceeded::PendingPerPrefix { max });
        }
        let max = self.config.pending_max;
        if self.tally.pending >= max {
            return Err(Exceeded::Pending { max });
        }
        // Whoever comes would be denied after the handshake.
        if self.bypassing.is_empty() { self.check_room(origin) } else { Ok(()) }
    }

    fn check_established(&self, peer: &PeerId, origin: Origin) -> Result<(), Exceeded> {
        let max = self.config.connections_per_peer_max;
        if self.tally.established_of_peer(peer) >= max {
            return Err(Exceeded::ConnectionsPerPeer { max });
        }
        if self.bypassing.contains(peer) { Ok(()) } else { self.check_room(origin) }
    }

    /// Whether there is room for one more connection of a peer that does not bypass, or somebody else would have to leave.
    fn check_room(&self, origin: Origin) -> Result<(), Exceeded> {
        let max = self.config.connections_per_prefix_max;
        if origin != Origin::Exempt && self.tally.established_of(origin) >= max {
            return Err(Exceeded::ConnectionsPerPrefix { max });
        }
        let max = self.config.connections_max;
        if self.tally.established >= max && !self.may_displace(origin) {
            return Err(Exceeded::Connections { max });
        }
        Ok(())
    }

    /// Connections that an origin may have when there is little room: the total divided by the origins that have some, this
    /// one included, plus one. So where all are taken somebody has more.
    fn share(&self, origin: Origin) -> usize {
        let is_new = origin != Origin::Exempt && self.tally.established_of(origin) == 0;
        (self.config.connections_max / (self.tally.holders() + usize::from(is_new) + 1)).max(1)
    }

    /// Connections that may be told to close at this time: each keeps its memory until it has closed.
    fn closing_room(&self) -> usize {
        (self.config.connections_max / 8).max(1).saturating_sub(self.tally.closing)
    }

    /// Whether a newcomer of this origin is within its share, and somebody is above it.
    fn may_displace(&self, origin: Origin) -> bool {
        if self.activity.is_none() || self.closing_room() == 0 {
            return false;
        }
        let share = self.share(origin);
        let is_within = origin == Origin::Exempt || self.tally.established_of(origin) < share;
        is_within && (self.tally.above(share).next().is_some() || self.tally.established_of(Origin::Exempt) > 0)
    }

    /// Closes the idlest connection of the largest holder above its share; `false` if there is none.
    fn displace(&mut self, origin: Origin, now_millis: u64) -> bool {
        let share = self.share(origin);
        let pressure_idle = millis(self.config.pressure_idle);
        let of_holders = self.tally.above(share).find_map(|(_, holder)| self.idlest(holder, now_millis, 0));
        // Without a share of their own, the exempt networks pay last, and with idle connections alone.
        let Some((peer, connection)) = of_holders.or_else(|| self.idlest(Origin::Exempt, now_millis, pressure_idle))
        else {
            return false;
        };
        self.counts.displaced_closed += 1;
        let holder = self.origin(connection);
        let what = "connections are closed to make room for others";
        self.notices.share(Time::from_unix_millis(now_millis), "connections.max", holder, what);
        self.close(connection, peer);
        true
    }

    fn origin(&self, connection: ConnectionId) -> Origin {
        match self.tally.get(connection) {
            Some(Counted::Pending(origin) | Counted::Established { origin, .. }) => origin,
            _ => Origin::Unlocated,
        }
    }

    /// The connection of an origin that is idle for longest, and for at least `idle_millis`; those without a stream first.
    fn idlest(&self, origin: Origin, now_millis: u64, idle_millis: u64) -> Option<(PeerId, ConnectionId)> {
        let idle = self.tally.connections_of(origin).filter_map(|connection| {
            let (used_millis, has_stream, peer) = self.last_use(connection)?;
            let is_idle = now_millis.saturating_sub(used_millis) >= idle_millis;
            is_idle.then_some((has_stream, used_millis, connection, peer))
        });
        idle.min_by_key(|(has_stream, used_millis, connection, _)| (*has_stream, *used_millis, *connection))
            .map(|(_, _, connection, peer)| (peer, connection))
    }

    /// When an established connection was used last, and whether a stream is open on it that has carried a request. `None` of
    /// peers that bypass.
    fn last_use(&self, connection: ConnectionId) -> Option<(u64, bool, PeerId)> {
        let Some(Counted::Established { peer, since_millis, .. }) = self.tally.get(connection) else { return None };
        if self.bypassing.contains(&peer) {
            return None;
        }
        let noted = self.activity.as_ref().and_then(|activity| activity.last_use(connection));
        let (used_millis, has_stream) = noted.unwrap_or((since_millis, false));
        Some((used_millis.max(since_millis), has_stream, peer))
    }

    /// Closes connections that are idle for the whole timeout. One with a stream that has carried a request is left to the
    /// timeout of the stream.
    fn close_idle(&mut self, now_millis: u64) {
        let idle_millis = millis(self.config.idle_timeout);
        let idle: Vec<_> = self
            .tally
            .all_established()
            .filter_map(|connection| {
                let (used_millis, has_stream, peer) = self.last_use(connection)?;
                let is_idle = !has_stream && now_millis.saturating_sub(used_millis) >= idle_millis;
                is_idle.then_some((connection, peer))
            })
            .collect();
        let room = self.closing_room();
        if idle.len() > room {
            // The others are next when these have closed.
            self.next_search_millis = now_millis.saturating_add(SEARCH_MILLIS_MIN);
        }
        for (connection, peer) in idle.into_iter().take(room) {
            self.counts.idle_closed += 1;
            tracing::debug!(%peer, "connection closed: it was idle");
            self.close(connection, peer);
        }
    }

    /// Above three quarters of all connections, closes idle ones of the origins above their share, the longest idle ones
    /// of the largest first, and at most once a second.
    fn relieve(&mut self, now_millis: u64) {
        let max = self.config.connections_max;
        let pressure = max - max / 4;
        if self.tally.established < pressure || now_millis < self.next_relief_millis {
            return;
        }
        self.next_relief_millis = now_millis.saturating_add(SEARCH_MILLIS_MIN);
        let share = self.share(Origin::Exempt);
        let idle_millis = millis(self.config.pressure_idle);
        let mut excess = (self.tally.established + 1).saturating_sub(pressure).min(self.closing_room());
        let mut to_close = Vec::new();
        for (size, origin) in self.tally.above(share) {
            let mut idle: Vec<_> = self
                .tally
                .connections_of(origin)
                .filter_map(|connection| {
                    let (used_millis, has_stream, peer) = self.last_use(connection)?;
                    let is_idle = now_millis.saturating_sub(used_millis) >= idle_millis;
                    is_idle.then_some((has_stream, used_millis, connection, peer))
                })
                .collect();
            idle.sort_unstable_by_key(|(has_stream, used_millis, connection, _)| {
                (*has_stream, *used_millis, *connection)
            });
            idle.truncate((size - share).min(excess));
            excess -= idle.len();
            to_close.extend(idle.into_iter().map(|(_, _, connection, peer)| (connection, peer, origin)));
            if excess == 0 {
                break;
            }
        }
        for (connection, peer, origin) in to_close {
            self.counts.displaced_closed += 1;
            let what = "idle connections are closed because there is little room";
            self.notices.share(Time::from_unix_millis(now_millis), "connections.max", origin, what);
            self.close(connection, peer);
        }
    }

    fn close(&mut self, connection: ConnectionId, peer: PeerId) {
        self.tally.put(connection, Counted::Closing);
        self.to_close.push_back((peer, connection));
        self.wake();
    }

    fn now_millis(&self) -> u64 {
        self.activity.as_ref().map_or_else(|| Ticks::default().now_millis(), |activity| activity.ticks().now_millis())
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Searches for idle connections when it is time to, and sets the timer for the next time.
    fn poll_idle(&mut self, cx: &mut Context<'_>) {
        if self.activity.is_none() {
            return;
        }
        let every_millis = (millis(self.config.idle_timeout) / 8).clamp(SEARCH_MILLIS_MIN, SEARCH_MILLIS);
        loop {
            let now_millis = self.now_millis();
            self.relieve(now_millis);
            if now_millis >= self.next_search_millis {
                self.next_search_millis = now_millis.saturating_add(every_millis);
                self.close_idle(now_millis);
            }
            let left_millis = self.next_search_millis.saturating_sub(now_millis);
            let timer = self.timer.get_or_insert_with(|| Delay::new(Duration::from_millis(left_millis)));
            if timer.poll_unpin(cx).is_pending() {
                return;
            }
            self.timer = None;
        }
    }

    fn denied(&mut self, exceeded: Exceeded, origin: Origin) -> ConnectionDenied {
        let now = Time::from_unix_millis(self.now_millis());
        let (counts, notices) = (&mut self.counts, &self.notices);
        let (connections, handshakes) = ("connections are denied", "handshakes are denied");
        match exceeded {
            Exceeded::Connections { .. } => {
                counts.connections_denied += 1;
                notices.limit(now, "connections.max", origin, connections);
            }
            Exceeded::ConnectionsPerPeer { .. } => {
                counts.connections_per_peer_denied += 1;
                notices.limit(now, "connections.per_peer_max", origin, connections);
            }
            Exceeded::ConnectionsPerPrefix { .. } => {
                counts.connections_per_prefix_denied += 1;
                notices.share(now, "connections.per_prefix_max", origin, connections);
            }
            Exceeded::Pending { .. } => {
                counts.pending_denied += 1;
                notices.limit(now, "connections.pending_max", origin, handshakes);
            }
            Exceeded::PendingPerPrefix { .. } => {
                counts.pending_per_prefix_denied += 1;
                notices.share(now, "connections.pending_per_prefix_max", origin, handshakes);
            }
        }
        ConnectionDenied::new(exceeded)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.tally.is_empty()
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let origin = origin_of(&self.config.exempt, remote);
        self.check_pending(origin).map_err(|exceeded| self.denied(exceeded, origin))?;
        self.tally.put(connection, Counted::Pending(origin));
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        // The handshake is over, whatever comes of it.
        self.tally.remove(connection);
        let origin = origin_of(&self.config.exempt, remote);
        let since_millis = self.now_millis();
        self.check_established(&peer, origin).map_err(|exceeded| self.denied(exceeded, origin))?;
        if self.activity.is_some() {
            self.relieve(since_millis);
            let max = self.config.connections_max;
            let needs_place = self.tally.established >= max && !self.bypassing.contains(&peer);
            if needs_place && !self.displace(origin, since_millis) {
                return Err(self.denied(Exceeded::Connections { max }, origin));
            }
        }
        self.tally.put(connection, Counted::Established { peer, origin, since_millis });
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        _: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.tally.put(connection, Counted::PendingOutbound);
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.tally.put(connection, Counted::EstablishedOutbound(peer));
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            // A failure is told of too when a connection was denied, by another behaviour or by this one.
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. })
            | FromSwarm::DialFailure(DialFailure { connection_id, .. }) => self.tally.remove(connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        self.poll_idle(cx);
        if let Some((peer_id, connection)) = self.to_close.pop_front() {
            let connection = CloseConnection::One(connection);
            return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection });
        }
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// A time in milliseconds; more than fits is as good as for ever.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
