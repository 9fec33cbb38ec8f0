//! The task of a node that runs: [`Driver`].

mod command;
mod commands;
mod connections;
mod listening;
mod sessions;
mod stopping;

use std::{collections::HashMap, sync::Arc, time::Instant};

use futures::StreamExt as _;
use libp2p::{
    PeerId, Swarm, identify, ping,
    swarm::{SwarmEvent, dial_opts::DialOpts},
};
use rendezvous_discovery::DiscoveryManager;
use rendezvous_swarm::PROTOCOL as RENDEZVOUS_PROTOCOL;
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::{
    command::{Command, Connecting},
    listening::Listening,
    stopping::Stage,
};
use crate::{
    DisconnectReason,
    behaviour::{Behaviour, BehaviourEvent},
    event::{Departure, Event},
    goodbye,
    peers::Peers,
    rpc::Services,
    settings::{PINGS_FAILED_MAX, Settings},
    streams::{self, OpenError},
    sub_protocol::{Ended, Negotiated},
};

/// Most addresses of a peer that are believed, of those that it tells by identify.
const TOLD_ADDRS_MAX: usize = 16;

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
    /// Who waits for a connection.
    pub(crate) connecting: HashMap<PeerId, Vec<Connecting>>,
    /// Points that are used because they are connected.
    pub(crate) connected_points: Vec<PeerId>,
    /// Tasks that belong to this node and end with it. Calls and sessions are bounded by their streams.
    pub(crate) tasks: JoinSet<Done>,
    /// Tasks among them for which a stop waits.
    pub(crate) awaited: usize,
    /// Ends the sessions.
    pub(crate) end_sessions: CancellationToken,
    pub(crate) stage: Stage,
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
    Opened { peer: PeerId, negotiated: Negotiated, result: Result<streams::Stream, OpenError> },
    /// A session has ended.
    Session { peer: PeerId, name: String, ended: Ended },
    /// A peer was told why it is disconnected.
    Said { peer: PeerId },
    /// A peer has told why it goes.
    Heard { peer: PeerId, reason: Option<DisconnectReason> },
    /// The discovery manager has withdrawn everything.
    Withdrawn,
    /// Nothing follows from it.
    Other,
}

impl Driver {
    /// Runs until it is told to stop, or every handle of the node is gone.
    pub(crate) async fn run(mut self) {
        while !self.has_stopped() {
            let wake_at = self.stage.deadline();
            tokio::select! {
                biased;
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                // With the last handle the node stops.
                command = self.commands.recv(), if self.stage.is_running() => {
                    self.on_command(command.unwrap_or(Command::Stop));
                }
                Some(done) = self.tasks.join_next() => match done {
                    Ok(done) => self.on_done(done),
                    // Sessions and calls contain their panics; what is left is a task that was ended.
                    Err(error) => tracing::error!(%error, "a task has failed"),
                },
                Some((peer, _, stream)) = self.inbound.sub_protocols.next() => self.on_session_stream(peer, stream),
                Some((peer, _, stream)) = self.inbound.calls.next() => self.on_call(peer, stream),
                Some((peer, _, stream)) = self.inbound.goodbyes.next() => self.on_goodbye(peer, stream),
                () = stopping::at(wake_at) => self.stage.advance(Instant::now()),
            }
        }
        self.end().await;
    }

    pub(crate) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                self.on_closed(peer_id, connection_id, cause);
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => self.on_dial_failed(peer, error),
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
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { peer, result, .. })) => self.on_ping(peer, result),
            _ => {}
        }
    }

    fn on_identified(&mut self, peer: PeerId, info: identify::Info) {
        let Some(connected) = self.peers.get_mut(&peer) else { return };
        let is_new = connected.protocols.is_empty();
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
        if let (Some(kad), Some(settings)) = (behaviour.kad.as_mut(), &self.settings.kademlia)
            && speaks_kad(settings.protocol.as_ref())
        {
            for address in info.listen_addrs.iter().take(TOLD_ADDRS_MAX) {
                kad.inner_mut().add_address(&peer, address.clone());
            }
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

    fn on_ping(&mut self, peer: PeerId, result: Result<std::time::Duration, ping::Failure>) {
        let Some(connected) = self.peers.get_mut(&peer) else { return };
        match result {
            Ok(round_trip) => {
                connected.round_trip = Some(round_trip);
                connected.pings_failed = 0;
            }
            // Not every implementation answers pings.
            Err(ping::Failure::Unsupported) => {}
            Err(error) => {
                connected.pings_failed += 1;
                tracing::debug!(%peer, %error, failed = connected.pings_failed, "ping");
                if connected.pings_failed >= PINGS_FAILED_MAX {
                    self.disconnect(peer, DisconnectReason::Timeout);
                }
            }
        }
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Opened { peer, negotiated, result } => self.on_opened(peer, negotiated, result),
            Done::Session { peer, name, ended } => {
                self.awaited = self.awaited.saturating_sub(1);
                self.on_session_ended(peer, name, &ended);
            }
            Done::Said { peer } => {
                self.awaited = self.awaited.saturating_sub(1);
                // It may have come anew meanwhile.
                if self.peers.get(&peer).is_some_and(|connected| connected.departure.is_some()) {
                    let _ = self.swarm.disconnect_peer_id(peer);
                }
            }
            Done::Heard { peer, reason } => {
                let Some(reason) = reason else { return };
                if let Some(connected) = self.peers.get_mut(&peer) {
                    connected.departure.get_or_insert(Departure::Remote(reason));
                    let _ = self.swarm.disconnect_peer_id(peer);
                }
            }
            Done::Withdrawn => self.on_withdrawn(),
            Done::Other => {}
        }
    }

    /// Tells a peer why, and disconnects it then. `false` if it is not connected.
    fn disconnect(&mut self, peer: PeerId, reason: DisconnectReason) -> bool {
        let Some(connected) = self.peers.get_mut(&peer) else { return false };
        if connected.departure.replace(Departure::Local(reason)).is_none() || !connected.is_admitted {
            let control = self.control.clone();
            self.awaited += 1;
            self.tasks.spawn(async move {
                goodbye::say(control, peer, reason).await;
                Done::Said { peer }
            });
        }
        true
    }

    fn on_goodbye(&mut self, peer: PeerId, stream: streams::Stream) {
        self.tasks.spawn(async move { Done::Heard { peer, reason: goodbye::hear(stream).await } });
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

    fn dial(&mut self, options: DialOpts) -> Result<(), libp2p::swarm::DialError> {
        self.swarm.dial(options)
    }

    fn emit(&self, event: Event) {
        // Nobody may listen.
        let _ = self.events.send(event);
    }
}
