//! The behaviour in its swarm: between the state machine and the connections.

use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::FutureExt;
use futures_timer::Delay;
use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionError, ConnectionId, DialFailure, FromSwarm, NetworkBehaviour,
    NotifyHandler, ToSwarm, behaviour::ConnectionEstablished,
};
use rendezvous_core::{
    Time,
    client::{Event, Failure, Outbound},
};
use rendezvous_record::VerifiedRecord;

use super::{
    behaviour::Behaviour,
    exchange::Request,
    handler::{Command, Handler, Report, Told},
    links::Step,
};

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let Some(peer) = peer else { return Ok(Vec::new()) };
        let mut addresses = self.points.of(&peer).to_vec();
        let mut discovered = self.addresses_of(&peer);
        discovered.retain(|address| !addresses.contains(address));
        let offered = self.offers.dial(self.clock.now(), discovered.len());
        addresses.extend(discovered.into_iter().take(offered));
        Ok(addresses)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if self.external.on_swarm_event(&event) {
            self.is_outdated = true;
            self.wake();
        }
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, connection_id, .. }) => {
                let now = self.clock.now();
                let waiting = self.links.connected(now, peer_id, connection_id);
                if waiting.as_ref().is_some_and(Vec::is_empty) {
                    self.command(peer_id, connection_id, None);
                }
                for request in waiting.into_iter().flatten() {
                    self.send(connection_id, request);
                }
                self.core.handle_point_reachable(now, peer_id);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, cause, .. }) => {
                let now = self.clock.now();
                // A handler with a request keeps its connection alive: this one has not got what is on the way to it.
                let was_idle = matches!(cause, Some(ConnectionError::KeepAliveTimeout));
                for request in self.links.closed(&peer_id, connection_id) {
                    if was_idle && request.deadline > now {
                        self.dispatch(now, request);
                    } else {
                        self.core.handle_failure(now, request.id, Failure::Unreachable);
                    }
                }
                if !self.links.is_connected(&peer_id) {
                    self.core.handle_point_lost(now, peer_id);
                }
            }
            FromSwarm::DialFailure(DialFailure { peer_id: Some(peer), error, connection_id }) => {
                let now = self.clock.now();
                let outcome = self.links.dial_failed(&peer, connection_id, error);
                for id in outcome.failed {
                    self.core.handle_failure(now, id, Failure::Unreachable);
                }
                self.actions.extend(outcome.redial.map(|opts| ToSwarm::Dial { opts }));
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, Report(told): Report) {
        let now = self.clock.now();
        match told {
            Told::Ended { id, result } => {
                // One that has failed with its connection is over.
                if !self.links.ended(&peer, connection, id) {
                    return;
                }
                match result {
                    Ok(answer) => self.core.handle_answer(now, id, answer),
                    Err(failure) => self.core.handle_failure(now, id, failure),
                }
            }
            Told::KeepsStreams(keeps) => self.core.handle_point_keeps_streams(now, peer, keeps),
            Told::Dual(is_dual) => self.core.handle_point_dual(now, peer, is_dual),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, Command>> {
        self.tell_addresses();
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Poll::Ready(action);
            }
            if let Some((peer_id, address)) = self.announcements.pop_front() {
                return Poll::Ready(ToSwarm::NewExternalAddrOfPeer { peer_id, address });
            }
            if let Some(event) = self.announced.take() {
                return Poll::Ready(ToSwarm::GenerateEvent(event));
            }
            if let Some(event) = self.core.poll_event() {
                self.announce(&event);
                self.notices.event(self.clock.now(), &event);
                self.announced = Some(event);
                continue;
            }
            let now = self.clock.now();
            if let Some(request) = self.core.poll_request(now) {
                self.dispatch(now, request);
                continue;
            }
            if self.poll_timer(cx).is_pending() {
                self.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let now = self.clock.now();
            for id in self.links.take_overdue(now) {
                self.core.handle_failure(now, id, Failure::Unreachable);
            }
            self.core.handle_timeout(now);
            self.notices.held_back(now, self.core.stats().pages_held_back);
        }
    }
}

impl Behaviour {
    fn handler(&self, peer: PeerId) -> Handler {
        let keeps_streams = self.core.point_memory(&peer).and_then(|memory| memory.keeps_streams);
        Handler::new(peer, self.config.clone(), &self.readers, self.links.is_awaited(&peer), keeps_streams)
    }

    /// Sends a request to a connection of its point, or sees to it that there is one.
    fn dispatch(&mut self, now: Time, request: Outbound) {
        match self.links.send(now, request) {
            Some(Step::Send { connection, request }) => self.send(connection, request),
            Some(Step::Dial(opts)) => self.actions.push_back(ToSwarm::Dial { opts }),
            None => {}
        }
    }

    fn send(&mut self, connection: ConnectionId, request: Outbound) {
        let Outbound { id, point, dialect, kind, namespace, frame, deadline, .. } = request;
        let deadline = Instant::now() + self.clock.until(deadline);
        self.command(point, connection, Some(Request { id, dialect, kind, namespace, frame, deadline }));
    }

    fn command(&mut self, peer_id: PeerId, connection: ConnectionId, request: Option<Request>) {
        let (handler, event) = (NotifyHandler::One(connection), Command(request));
        self.actions.push_back(ToSwarm::NotifyHandler { peer_id, handler, event });
    }

    /// Queues the addresses of a page, to be told before the page.
    fn announce(&mut self, event: &Event) {
        match event {
            _ if !self.config.announce_addresses => {}
            Event::Discovered { registrations, .. } => {
                registrations.iter().for_each(|found| self.announce_record(&found.record));
            }
            Event::LookupChanged { found, updated, .. } => {
                // What nobody has signed is no address that a dial finds.
                let verified = found.iter().chain(updated).filter_map(|merged| merged.record.verified());
                verified.for_each(|record| self.announce_record(record));
            }
            _ => {}
        }
    }

    fn announce_record(&mut self, record: &VerifiedRecord) {
        let peer = record.peer_id();
        let offered = self.offers.announce(self.clock.now(), record.addresses().count());
        self.announcements.extend(record.addresses().take(offered).map(|address| (peer, address)));
    }

    /// Ready when the time has come that the state machine waits for.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.core.poll_timeout() else {
            self.timer = None;
            return Poll::Pending;
        };
        let left = self.clock.until(until);
        let delay = match &mut self.timer {
            Some((set, delay)) if *set == until => delay,
            Some((set, delay)) => {
                *set = until;
                delay.reset(left);
                delay
            }
            // A zero would be ready at once; a state machine that never runs out of dues is not to take the swarm with
            // it.
            None => &mut self.timer.insert((until, Delay::new(left.max(Duration::from_millis(1))))).1,
        };
        let ready = delay.poll_unpin(cx);
        if ready.is_ready() {
            self.timer = None;
        }
        ready
    }
}
