//! Connections that come, go, and do not come about.

use std::{error::Error, io, iter, time::Instant};

use libp2p::{
    PeerId,
    core::ConnectedPoint,
    swarm::{
        ConnectionError, ConnectionId, DialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};

use super::{Connecting, Driver};
use crate::{
    DisconnectReason,
    error::ConnectError,
    event::{Departure, Event},
    peers::Arrival,
    settings::split,
    sub_protocol::Direction,
};

impl Driver {
    pub(super) fn on_connected(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let direction = if endpoint.is_dialer() { Direction::Outbound } else { Direction::Inbound };
        let remote_addr = endpoint.get_remote_address().clone();
        match self.peers.handle_connection(Instant::now(), peer, id, direction, remote_addr.clone()) {
            Arrival::Added => {
                tracing::debug!(%peer, %remote_addr, ?direction, "added");
                self.emit(Event::PeerAdded { peer, direction, remote_addr });
                self.answer_connecting(&peer, || Ok(()));
            }
            Arrival::Again => {
                if self.peers.get(&peer).is_some_and(|connected| connected.is_admitted) {
                    self.answer_connecting(&peer, || Ok(()));
                }
            }
            Arrival::Refused(reason) => {
                let max = self.settings.peers_max;
                self.answer_connecting(&peer, || Err(ConnectError::TooManyPeers { max }));
                self.emit(Event::PeerRefused { peer, reason });
                self.disconnect(peer, reason);
            }
        }
    }

    pub(super) fn on_closed(&mut self, peer: PeerId, id: ConnectionId, cause: Option<ConnectionError>) {
        let Some(connected) = self.peers.handle_closed(&peer, id) else { return };
        if let Some(place) = self.connected_points.iter().position(|point| *point == peer) {
            self.connected_points.swap_remove(place);
            self.swarm.behaviour_mut().rendezvous.remove_point(&peer);
        }
        if connected.is_admitted {
            let departure = connected.departure.unwrap_or(match cause {
                Some(ConnectionError::KeepAliveTimeout) => Departure::Local(DisconnectReason::Timeout),
                Some(ConnectionError::IO(_)) | None => Departure::Lost,
            });
            tracing::debug!(%peer, %departure, "dropped");
            self.emit(Event::PeerDropped { peer, departure });
        }
    }

    pub(super) fn connect(&mut self, peer: PeerId, addresses: Vec<libp2p::Multiaddr>, reply: Connecting) {
        if peer == *self.swarm.local_peer_id() {
            let _ = reply.send(Err(ConnectError::Own { peer }));
            return;
        }
        if self.peers.get(&peer).is_some_and(|connected| connected.is_admitted && connected.departure.is_none()) {
            let _ = reply.send(Ok(()));
            return;
        }
        if !self.peers.has_room(&peer, Direction::Outbound) {
            let _ = reply.send(Err(ConnectError::TooManyPeers { max: self.settings.peers_max }));
            return;
        }
        let waiting = self.connecting.entry(peer).or_default();
        waiting.retain(|waiting| !waiting.is_closed());
        waiting.push(reply);
        // What other behaviours know of the peer is tried as well.
        let options = DialOpts::peer_id(peer)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .build();
        if let Err(error) = self.dial(options) {
            self.on_dial_failed(peer, error);
        }
    }

    pub(super) fn on_dial_failed(&mut self, peer: PeerId, error: DialError) {
        // It is being dialled already: that dial has an end, too.
        if matches!(error, DialError::DialPeerConditionFalse(_)) && !self.swarm.is_connected(&peer) {
            return;
        }
        if self.connecting.contains_key(&peer) {
            if self.swarm.is_connected(&peer) {
                return self.answer_connecting(&peer, || Ok(()));
            }
            let text = describe(&error);
            self.answer_connecting(&peer, || Err(connect_error(peer, &error, &text)));
        }
    }

    fn answer_connecting(&mut self, peer: &PeerId, answer: impl Fn() -> Result<(), ConnectError>) {
        for reply in self.connecting.remove(peer).into_iter().flatten() {
            let _ = reply.send(answer());
        }
    }
}

fn connect_error(peer: PeerId, error: &DialError, text: &str) -> ConnectError {
    match error {
        DialError::NoAddresses => ConnectError::NoAddresses { peer },
        DialError::LocalPeerId { .. } => ConnectError::Own { peer },
        DialError::WrongPeerId { obtained, .. } => ConnectError::UnexpectedIdentity { found: *obtained },
        _ => ConnectError::Unreachable { peer, source: io::Error::other(text.to_owned()) },
    }
}

/// Why a dial has failed, in one line: each address once, with the innermost cause, which is the one that a user can act on.
fn describe(error: &DialError) -> String {
    let DialError::Transport(failures) = error else { return innermost(error) };
    let mut lines = Vec::new();
    for (address, error) in failures {
        let bare = split(address).map_or_else(|| address.clone(), |(_, bare)| bare);
        let line = format!("{bare}: {}", innermost(error));
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join(", ")
}

fn innermost(error: &dyn Error) -> String {
    let cause = iter::successors(Some(error), |&error| error.source()).last();
    cause.map_or_else(String::new, ToString::to_string)
}
