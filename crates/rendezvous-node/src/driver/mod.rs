//! The task of a node that runs: [`Driver`].

mod command;
mod commands;
mod connecting;
mod connections;
mod leaving;
mod listening;
mod routing;
mod sessions;
mod stopping;

use std::{sync::Arc, time::Instant};

use futures::{FutureExt as _, StreamExt as _};
use libp2p::{
    PeerId, Swarm, identify, ping,
    swarm::{ConnectionId, SwarmEvent},
};
use rendezvous_discovery::DiscoveryManager;
use rendezvous_swarm::PROTOCOL as RENDEZVOUS_PROTOCOL;
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::{
    command::Command, connecting::Connecting, leaving::Leaving, listening::Listening, stopping::Stage,
};
use crate::{
    DisconnectReason,
    behaviour::{Behaviour, BehaviourEvent},
    event::Event,
    peers::{Peers, Visit},
    rpc::Services,
    settings::{PINGS_FAILED_MAX, Settings},
    streams::{self, OpenError},
    sub_protocol::{Ended, Negotiated},
};

/// Most addresses of a peer that are believed, of those that it tells by identify.
const TOLD_ADDRS_MAX: usize = 16;

/// Most events of the swarm that are handled while something else waits: whoever keeps the swarm busy does not keep the node
/// from being commanded.
const SWARM_EVENTS_MAX: usize = 64;

/// Owns the swarm, and everything that is done for it in tasks.
pub(crate) struct Driver {
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) discovery: DiscoveryManager,
    pub(crate) services: Services,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) control: streams::Control,
    pub(crate) inbound: Inbound,
    pub(crate) peers: Peers,
    pub(crate) listening: Listening,
    pub(crate) connecting: Connecting,
    pub(crate) leaving: Vec<Leaving>,
    /// Points that are used because they are connected.
    pub(crate) connected_points: Vec<PeerId>,
    /// Tasks that belong to this node and end with it. Calls and sessions are bounded by their streams.
    pub(crate) tasks: JoinSet<Done>,
    /// Tasks among them for which a stop waits.
    pub(crate) awaited: usize,
    pub(crate) stage: Stage,
    /// The node is to stop.
    pub(crate) stop: CancellationToken,
    pub(crate) connections: TaskTracker,
    pub(crate) cancel: CancellationToken,
}

/// Streams that peers open.
pub(crate) struct Inbound {
    pub(crate) sub_protocols: streams::Incoming,
    pub(crate) calls: streams::Incoming,
    pub(crate) goodbyes: streams::Incoming,
}

/// What a task has come to.
#[derive(Debug)]
pub(crate) enum Done {
    /// A stream for a session is there, or is not.
    Opened { peer: PeerId, visit: Visit, negotiated: Negotiated, result: Box<Result<streams::Stream, OpenError>> },
    /// A session has ended.
    Session { peer: PeerId, visit: Visit, name: String, ended: Ended },
    /// A peer was told why it is disconnected.
    Said { peer: PeerId, visit: Visit },
    /// A peer has told why it goes, on this stream.
    Heard { peer: PeerId, visit: Visit, heard: Option<(DisconnectReason, streams::Stream)> },
    /// The discovery manager has withdrawn everything.
    Withdrawn,
    /// Nothing follows from it.
    Other,
}

impl Driver {
    /// Runs until it is told to stop, or every handle of the node is gone.
    pub(crate) async fn run(mut self) {
        let mut in_a_row = 0;
        while !self.has_stopped() {
            let wake_at = self.stage.deadline().into_iter().chain(self.next_overdue()).min();
            if in_a_row >= SWARM_EVENTS_MAX {
                self.take_turns();
                in_a_row = 0;
            }
            in_a_row += 1;
            tokio::select! {
                // The swarm first: what a stream belongs to is known before the stream is looked at.
                biased;
                event = self.swarm.select_next_some() => {
                    self.on_swarm_event(event);
                    continue;
                }
                () = self.stop.cancelled(), if self.stage.is_running() => self.begin_stop(),
                command = self.commands.recv(), if self.stage.is_running() => self.on_next(command),
                () = stopping::at(wake_at) => self.on_time(Instant::now()),
                Some(done) = self.tasks.join_next() => match done {
                    Ok(done) => self.on_done(done),
                    // Sessions and calls contain their panics; what is left is a task that was ended.
                    Err(error) => tracing::error!(%error, "a task has failed"),
                },
                Some((peer, _, stream)) = self.inbound.sub_protocols.next() => self.on_session_stream(peer, stream),
                Some((peer, _, stream)) = self.inbound.calls.next() => self.on_call(peer, stream),
                Some((peer, _, stream)) = self.inbound.goodbyes.next() => self.on_goodbye(peer, stream),
            }
            in_a_row = 0;
        }
        self.end().await;
    }

    /// With the last handle, and so the last command, the node stops.
    fn on_next(&mut self, command: Option<Command>) {
        match command {
            Some(command) => self.on_command(command),
            None => self.begin_stop(),
        }
    }

    /// Gives everything but the swarm its turn, which a swarm that always has an event would keep from it.
    fn take_turns(&mut self) {
        self.on_time(Instant::now());
        if self.stop.is_cancelled() {
            self.begin_stop();
        } else if self.stage.is_running()
            && let Some(command) = self.commands.recv().now_or_never()
        {
            self.on_next(command);
        }
        for _ in 0..SWARM_EVENTS_MAX {
            let Some(done) = self.tasks.try_join_next() else { break };
            match done {
                Ok(done) => self.on_done(done),
                Err(error) => tracing::error!(%error, "a task has failed"),
            }
        }
        // What a stream belongs to is known before the stream is there: the swarm tells of a connection in the turn that makes it.
        if let Some(Some((peer, _, stream))) = self.inbound.sub_protocols.next().now_or_never() {
            self.on_session_stream(peer, stream);
        }
        if let Some(Some((peer, _, stream))) = self.inbound.calls.next().now_or_never() {
            self.on_call(peer, stream);
        }
        if let Some(Some((peer, _, stream))) = self.inbound.goodbyes.next().now_or_never() {
            self.on_goodbye(peer, stream);
        }
    }

    pub(crate) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                self.on_closed(peer_id, connection_id, cause.as_ref());
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), connection_id, error } => {
                self.on_dial_failed(peer, connection_id, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                self.emit(Event::Listening { address: address.clone() });
                self.listening.add(address);
                self.advertise_addresses();
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.listening.remove(&address);
                self.advertise_addresses();
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                if let Err(error) = reason {
                    tracing::warn!(%error, ?addresses, "no longer listening");
                }
                addresses.iter().for_each(|address| self.listening.remove(address));
                self.advertise_addresses();
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. })) => {
                self.on_identified(peer_id, info);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Error { peer_id, .. })) => {
                self.on_unidentified(peer_id);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { peer, connection, result })) => {
                self.on_ping(peer, connection, result);
            }
            _ => {}
        }
    }

    fn on_identified(&mut self, peer: PeerId, info: identify::Info) {
        let Some(connected) = self.peers.get_mut(&peer) else { return };
        let is_new = !std::mem::replace(&mut connected.is_identified, true);
        connected.name.clone_from(&info.agent_version);
        connected.protocols.clone_from(&info.protocols);
        connected.listen_addrs = info.listen_addrs.iter().take(TOLD_ADDRS_MAX).cloned().collect();
        if !connected.is_admitted {
            return;
        }
        let behaviour = self.swarm.behaviour_mut();
        if let Some(point) = behaviour.point.as_mut() {
            point.peer_agent(peer, &info.agent_version);
        }
        let speaks_kad = |kad: &str| info.protocols.iter().any(|protocol| protocol.as_ref() == kad);
        if let (Some(kad), Some(kademlia)) = (behaviour.kad.as_mut(), &self.settings.kademlia)
            && speaks_kad(kademlia.protocol.as_ref())
        {
            let kept = self.settings.bootstrap.get(&peer).map(Vec::as_slice).unwrap_or_default();
            routing::learn(kad.inner_mut(), peer, &connected.listen_addrs, kept);
        }
        let serves = info.protocols.contains(&RENDEZVOUS_PROTOCOL);
        let is_used = behaviour.rendezvous.points().any(|point| *point == peer);
        if self.settings.uses_connected_points && serves && !is_used {
            // It is connected: no address is needed.
            let _ = behaviour.rendezvous.add_point(peer, []);
            self.connected_points.push(peer);
        }
        if is_new {
            self.emit(Event::PeerIdentified { peer, name: info.agent_version });
        }
        self.begin_sessions(peer);
    }

    /// A peer does not say what it is: it may speak sub-protocols all the same.
    fn on_unidentified(&mut self, peer: PeerId) {
        let Some(connected) = self.peers.get_mut(&peer) else { return };
        connected.is_identified = true;
        self.begin_sessions(peer);
    }

    fn on_ping(&mut self, peer: PeerId, id: ConnectionId, result: Result<std::time::Duration, ping::Failure>) {
        let Some(connected) = self.peers.get_mut(&peer) else { return };
        let round_trip = match result {
            Ok(round_trip) => Some(round_trip),
            // Not every implementation answers pings.
            Err(ping::Failure::Unsupported) => return,
            Err(error) => {
                tracing::debug!(%peer, %error, "ping");
                None
            }
        };
        // The first failure in a row is not told.
        if connected.handle_ping(id, round_trip) + 1 < PINGS_FAILED_MAX || round_trip.is_some() {
            return;
        }
        if connected.connections() > 1 {
            self.swarm.close_connection(id);
        } else {
            self.disconnect(peer, DisconnectReason::Timeout);
        }
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Opened { peer, visit, negotiated, result } => self.on_opened(peer, visit, negotiated, *result),
            Done::Session { peer, visit, name, ended } => {
                self.awaited = self.awaited.saturating_sub(1);
                self.on_session_ended(peer, visit, &name, &ended);
            }
            Done::Said { peer, visit } => {
                self.awaited = self.awaited.saturating_sub(1);
                if self.peers.on_visit(&peer, visit).is_some() {
                    let _ = self.swarm.disconnect_peer_id(peer);
                }
            }
            Done::Heard { peer, visit, heard } => {
                if let Some((reason, _stream)) = heard.filter(|_| self.peers.on_visit(&peer, visit).is_some()) {
                    self.on_disconnected(peer, reason);
                }
            }
            Done::Withdrawn => self.on_withdrawn(),
            Done::Other => {}
        }
    }

    fn on_call(&mut self, peer: PeerId, stream: streams::Stream) {
        let is_admitted = self.peers.get(&peer).is_some_and(|connected| connected.is_admitted);
        if is_admitted && self.stage.is_running() {
            let served = self.services.serve(peer, stream);
            self.tasks.spawn(async move {
                served.await;
                Done::Other
            });
        }
    }

    fn emit(&self, event: Event) {
        // Nobody may listen.
        let _ = self.events.send(event);
    }
}
