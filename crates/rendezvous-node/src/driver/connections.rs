//! Connections that come and go.

use std::time::Instant;

use libp2p::{
    PeerId,
    core::ConnectedPoint,
    swarm::{ConnectionError, ConnectionId},
};

use super::{Done, Driver};
use crate::{
    DisconnectReason,
    error::ConnectError,
    event::{Departure, Event},
    goodbye,
    peers::{Arrival, Closed},
    streams,
    sub_protocol::{Direction, End},
};

impl Driver {
    pub(super) fn on_connected(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        if self.stage.is_parting() {
            // Everybody else has been told; this one is not to come in behind them.
            self.swarm.close_connection(id);
            return;
        }
        let direction = if endpoint.is_dialer() { Direction::Outbound } else { Direction::Inbound };
        let remote_addr = endpoint.get_remote_address().clone();
        // Whoever has said goodbye and is there again begins anew.
        if let Some(left) = self.peers.take_left(&peer) {
            self.leave(Instant::now(), peer, left, Departure::Lost);
        }
        let arrival = self.peers.handle_connection(Instant::now(), peer, id, direction, remote_addr.clone());
        self.look_for_room();
        match arrival {
            Arrival::Added => {
                self.leave_at_once(&peer);
                tracing::debug!(%peer, %remote_addr, ?direction, "added");
                self.emit(Event::PeerAdded { peer, direction, remote_addr });
                self.answer_connecting(&peer, || Ok(()));
            }
            Arrival::Again { is_staying: true } => self.answer_connecting(&peer, || Ok(())),
            Arrival::Again { is_staying: false } => {
                // Whoever goes does not come in again behind the closing of its connections.
                self.swarm.close_connection(id);
                // Whoever waits for it dials again when it has gone.
                self.put_back(&peer, id);
            }
            Arrival::Refused(reason) => {
                self.leave_at_once(&peer);
                let max = self.settings.peers_max;
                self.answer_connecting(&peer, || Err(ConnectError::TooManyPeers { max }));
                self.emit(Event::PeerRefused { peer, reason });
                self.disconnect(peer, reason);
            }
        }
    }

    pub(super) fn on_closed(&mut self, peer: PeerId, id: ConnectionId, cause: Option<&ConnectionError>) {
        match self.peers.handle_closed(&peer, id) {
            Closed::Unknown => {}
            Closed::OneOf(lost_sessions) => lost_sessions.iter().for_each(|session| session.cancel()),
            Closed::Last(connected) => {
                if let Some(place) = self.connected_points.iter().position(|point| *point == peer) {
                    self.connected_points.swap_remove(place);
                    self.swarm.behaviour_mut().rendezvous.remove_point(&peer);
                }
                if connected.is_admitted {
                    let otherwise = match cause {
                        Some(ConnectionError::KeepAliveTimeout) => Departure::Local(DisconnectReason::Timeout),
                        Some(ConnectionError::IO(_)) | None => Departure::Lost,
                    };
                    self.leave(Instant::now(), peer, *connected, otherwise);
                }
            }
        }
        self.look_for_room();
        self.dial_for_waiting(peer);
    }

    /// Sees whether there is room for whom this node would dial.
    pub(crate) fn look_for_room(&mut self) {
        self.swarm.behaviour_mut().room.is_full = self.peers.is_full();
    }

    /// Tells a peer why, and disconnects it then. `false` if there is no such peer.
    pub(super) fn disconnect(&mut self, peer: PeerId, reason: DisconnectReason) -> bool {
        let Some(connected) = self.peers.get_mut(&peer) else { return false };
        let is_admitted = connected.is_admitted;
        // What was said first is what it is told.
        if connected.depart(Departure::Local(reason), End::Disconnect(reason)) {
            let (control, visit, gone) = (self.control.clone(), connected.visit, connected.gone.token().clone());
            self.awaited += 1;
            self.tasks.spawn(async move {
                tokio::select! {
                    biased;
                    // What was meant for this visit is not said on a connection that comes after it.
                    () = gone.cancelled() => {}
                    () = goodbye::say(control, peer, reason) => {}
                }
                Done::Said { peer, visit }
            });
        }
        is_admitted
    }

    /// The other side has disconnected this one, and said why.
    pub(super) fn on_disconnected(&mut self, peer: PeerId, reason: DisconnectReason) {
        if let Some(connected) = self.peers.get_mut(&peer) {
            connected.depart(Departure::Remote(reason), End::Session(reason));
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    pub(super) fn on_goodbye(&mut self, peer: PeerId, stream: streams::Stream) {
        let Some(visit) = self.peers.get(&peer).map(|connected| connected.visit) else { return };
        self.tasks.spawn(async move { Done::Heard { peer, visit, heard: goodbye::hear(stream).await } });
    }
}
