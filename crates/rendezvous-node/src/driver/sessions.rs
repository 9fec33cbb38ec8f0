//! Sessions of sub-protocols: one for each that a peer shares.
//!
//! Of two peers the one with the smaller id opens the streams, so that there is one session of each sub-protocol and not two.

use std::{collections::BTreeMap, sync::Arc};

use libp2p::PeerId;
use tokio_util::sync::CancellationToken;

use super::{Done, Driver, leaving::departure_by};
use crate::{
    DisconnectReason,
    event::{Departure, Event},
    peers::{Session, Visit},
    streams::{self, OpenError},
    sub_protocol::{End, Ended, Negotiated, Observer, Peer, Traffic, session},
};

impl Driver {
    /// Begins what is shared and not yet there, now that it is known what a peer speaks.
    pub(super) fn begin_sessions(&mut self, peer: PeerId) {
        let opens = self.opens(&peer);
        let Some(connected) = self.peers.get_mut(&peer).filter(|it| it.is_staying()) else { return };
        if !self.stage.is_running() {
            return;
        }
        let visit = connected.visit;
        for sub_protocol in self.settings.sub_protocols.iter().filter(|_| opens) {
            if connected.sessions.contains_key(sub_protocol.name()) {
                continue;
            }
            let Some(negotiated) = sub_protocol.highest_common(&connected.protocols) else { continue };
            connected.sessions.insert(sub_protocol.name().to_owned(), Session::Opening);
            let control = self.control.clone();
            self.tasks.spawn(async move {
                let result = Box::new(control.open(peer, negotiated.protocol_id()).await);
                Done::Opened { peer, visit, negotiated, result }
            });
        }
        let (held, free): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut connected.waiting)
            .into_iter()
            .partition(|(name, _)| connected.sessions.contains_key(name));
        connected.waiting = held;
        for (negotiated, stream) in free.into_values() {
            self.start_session(peer, negotiated, stream);
        }
    }

    pub(super) fn on_opened(
        &mut self,
        peer: PeerId,
        visit: Visit,
        negotiated: Negotiated,
        result: Result<streams::Stream, OpenError>,
    ) {
        let Some(connected) = self.peers.on_visit(&peer, visit) else { return };
        match result {
            Ok(stream) => self.start_session(peer, negotiated, stream),
            Err(error) => {
                tracing::debug!(%peer, sub_protocol = negotiated.name(), %error, "no session");
                // What identify tells next is tried.
                connected.sessions.remove(negotiated.name());
            }
        }
    }

    pub(super) fn on_session_stream(&mut self, peer: PeerId, stream: streams::Stream) {
        let negotiated = self.settings.sub_protocols.iter().find_map(|it| it.negotiated(stream.protocol()));
        let Some(negotiated) = negotiated.filter(|_| !self.opens(&peer) && self.stage.is_running()) else { return };
        let Some(connected) = self.peers.get_mut(&peer).filter(|it| it.is_staying()) else { return };
        let begins_now = match connected.sessions.get(negotiated.name()) {
            // A run function is told what the peer calls itself.
            None => connected.is_identified,
            // The other side knows before this one that a connection is lost, and goes on on another.
            Some(Session::Running { connection, .. }) if *connection != stream.connection() => false,
            Some(_) => return,
        };
        if begins_now {
            self.start_session(peer, negotiated, stream);
        } else {
            connected.waiting.insert(negotiated.name().to_owned(), (negotiated, stream));
        }
    }

    fn start_session(&mut self, peer: PeerId, negotiated: Negotiated, stream: streams::Stream) {
        let is_running = self.stage.is_running();
        let Some(connected) = self.peers.get_mut(&peer).filter(|it| is_running && it.is_staying()) else { return };
        if let Some(Session::Running { .. } | Session::Ended) = connected.sessions.get(negotiated.name()) {
            return;
        }
        let (name, version) = (negotiated.name().to_owned(), negotiated.version().number);
        let (connection, lost) = (stream.connection(), CancellationToken::new());
        connected.sessions.insert(name.clone(), Session::Running { version, connection, lost: lost.clone() });
        if !connected.has_connection(connection) {
            lost.cancel();
        }
        let (visit, gone, ending) = (connected.visit, connected.gone.token().clone(), connected.ending.clone());
        let mut other = Peer::new(peer, connected.remote_addr(), connected.direction);
        other.agent.clone_from(&connected.name);
        self.emit(Event::SessionStarted { peer, sub_protocol: name.clone(), version });
        let observer = self.observer(peer, name.clone());
        self.awaited += 1;
        let mut ends = ending.subscribe();
        // The others end for the same reason, and not because the other side is faster in closing the connection.
        let negotiated = negotiated.on_disconnect(move |reason| {
            let end = End::Disconnect(reason);
            ending.send_if_modified(|ending| ending.is_none() && ending.replace(end).is_none());
        });
        self.tasks.spawn(async move {
            // A run function that does not read learns of it by being dropped.
            let stop = async move {
                let end = async { ends.wait_for(Option::is_some).await.ok().and_then(|end| *end) };
                let end = tokio::select! {
                    biased;
                    end = end => end,
                    () = gone.cancelled() => None,
                    () = lost.cancelled() => None,
                };
                end.unwrap_or(End::Session(DisconnectReason::Network))
            };
            let ended = session::run(stream, negotiated, other, Some(observer), stop).await;
            Done::Session { peer, visit, name, ended }
        });
    }

    pub(super) fn on_session_ended(&mut self, peer: PeerId, visit: Visit, name: &str, ended: &Ended) {
        let Some(connected) = self.peers.on_visit(&peer, visit) else {
            return self.on_left_session_ended(visit, name, ended);
        };
        let was_lost = match connected.sessions.insert(name.to_owned(), Session::Ended) {
            Some(Session::Running { connection, .. }) => {
                !connected.has_connection(connection) && ended.reason() == DisconnectReason::Network
            }
            _ => false,
        };
        if was_lost {
            connected.sessions.remove(name);
        } else {
            connected.waiting.remove(name);
        }
        self.tell_session_ended(peer, name, ended);
        match departure_by(ended) {
            Some(Departure::Remote(reason)) => self.on_disconnected(peer, reason),
            Some(Departure::Local(reason)) => {
                self.disconnect(peer, reason);
            }
            // It goes on on another connection.
            Some(Departure::Lost) | None if was_lost => self.begin_sessions(peer),
            Some(Departure::Lost) | None => {}
        }
    }

    pub(super) fn tell_session_ended(&self, peer: PeerId, name: &str, ended: &Ended) {
        let (sub_protocol, how, reason) = (name.to_owned(), ended.to_string(), ended.reason());
        self.emit(Event::SessionEnded { peer, sub_protocol, how, reason });
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
