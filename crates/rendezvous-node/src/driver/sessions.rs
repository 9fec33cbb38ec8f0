//! Sessions of sub-protocols: one for each that a peer shares.
//!
//! Of two peers the one with the smaller id opens the streams, so that there is one session of each sub-protocol and not two.

use std::sync::Arc;

use libp2p::PeerId;

use super::{Done, Driver};
use crate::{
    DisconnectReason,
    event::{Departure, Event},
    peers::Session,
    streams::{self, OpenError},
    sub_protocol::{End, Ended, Negotiated, Observer, Peer, Traffic, session},
};

impl Driver {
    /// Opens what is shared and not yet there, now that it is known what a peer speaks.
    pub(super) fn begin_sessions(&mut self, peer: PeerId) {
        if !self.opens(&peer) || !self.stage.is_running() {
            return;
        }
        let Some(connected) = self.peers.get_mut(&peer) else { return };
        for sub_protocol in &self.settings.sub_protocols {
            if connected.sessions.contains_key(sub_protocol.name()) {
                continue;
            }
            let Some(negotiated) = sub_protocol.highest_common(&connected.protocols) else { continue };
            connected.sessions.insert(sub_protocol.name().to_owned(), Session::Opening);
            let control = self.control.clone();
            self.tasks.spawn(async move {
                let result = control.open(peer, negotiated.protocol_id()).await;
                Done::Opened { peer, negotiated, result }
            });
        }
    }

    pub(super) fn on_opened(
        &mut self,
        peer: PeerId,
        negotiated: Negotiated,
        result: Result<streams::Stream, OpenError>,
    ) {
        match result {
            Ok(stream) => self.start_session(peer, negotiated, stream),
            Err(error) => {
                tracing::debug!(%peer, sub_protocol = negotiated.name(), %error, "no session");
                if let Some(connected) = self.peers.get_mut(&peer) {
                    // What identify tells next is tried.
                    connected.sessions.remove(negotiated.name());
                }
            }
        }
    }

    pub(super) fn on_session_stream(&mut self, peer: PeerId, stream: streams::Stream) {
        let negotiated = self.settings.sub_protocols.iter().find_map(|it| it.negotiated(stream.protocol()));
        let Some(negotiated) = negotiated.filter(|_| !self.opens(&peer) && self.stage.is_running()) else { return };
        let is_free = self.peers.get(&peer).is_some_and(|connected| {
            connected.is_admitted
                && connected.departure.is_none()
                && !connected.sessions.contains_key(negotiated.name())
        });
        if is_free {
            self.start_session(peer, negotiated, stream);
        }
    }

    fn start_session(&mut self, peer: PeerId, negotiated: Negotiated, stream: streams::Stream) {
        let Some(connected) = self.peers.get_mut(&peer) else { return };
        let (name, version) = (negotiated.name().to_owned(), negotiated.version().number);
        connected.sessions.insert(name.clone(), Session::Running { version });
        let gone = connected.gone.token().clone();
        let mut other = Peer::new(peer, connected.remote_addr(), connected.direction);
        other.agent.clone_from(&connected.name);
        self.emit(Event::SessionStarted { peer, sub_protocol: name.clone(), version });
        let observer = self.observer(peer, name.clone());
        let stop = self.end_sessions.clone();
        self.awaited += 1;
        self.tasks.spawn(async move {
            let stop = async move {
                tokio::select! {
                    () = stop.cancelled() => End::Disconnect(DisconnectReason::Quitting),
                    // A run function that does not read learns of it by being dropped.
                    () = gone.cancelled() => End::Session(DisconnectReason::Network),
                }
            };
            let ended = session::run(stream, negotiated, other, Some(observer), stop).await;
            Done::Session { peer, name, ended }
        });
    }

    pub(super) fn on_session_ended(&mut self, peer: PeerId, name: String, ended: &Ended) {
        if let Some(connected) = self.peers.get_mut(&peer) {
            if let Some(session) = connected.sessions.get_mut(&name) {
                *session = Session::Ended;
            }
            match (ended, ended.disconnects()) {
                (Ended::ByPeer(_), Some(reason)) => {
                    connected.departure.get_or_insert(Departure::Remote(reason));
                    let _ = self.swarm.disconnect_peer_id(peer);
                }
                (_, Some(reason)) => {
                    self.disconnect(peer, reason);
                }
                (_, None) => {}
            }
        }
        let (how, reason) = (ended.to_string(), ended.reason());
        self.emit(Event::SessionEnded { peer, sub_protocol: name, how, reason });
    }

    /// Whether this node opens the streams of sessions with a peer.
    fn opens(&self, peer: &PeerId) -> bool {
        self.swarm.local_peer_id() < peer
    }

    /// Tells of messages, if anybody listens.
    fn observer(&self, peer: PeerId, name: String) -> Observer {
        let events = self.events.clone();
        Arc::new(move |traffic| {
            if events.receiver_count() == 0 {
                return;
            }
            let sub_protocol = name.clone();
            let _ = events.send(match traffic {
                Traffic::Sent { code, size_bytes } => Event::MessageSent { peer, sub_protocol, code, size_bytes },
                Traffic::Received { code, size_bytes } => {
                    Event::MessageReceived { peer, sub_protocol, code, size_bytes }
                }
            });
        })
    }
}
