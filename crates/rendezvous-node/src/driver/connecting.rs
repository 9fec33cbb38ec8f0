//! Who waits for a connection to a peer.

use std::{collections::HashMap, error::Error, io, iter};

use libp2p::{
    Multiaddr, PeerId,
    swarm::{
        ConnectionId, DialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use tokio::sync::oneshot;

use super::Driver;
use crate::{error::ConnectError, room::Full, settings::split, sub_protocol::Direction};

/// Where what comes of an attempt to connect goes.
pub(crate) type Reply = oneshot::Sender<Result<(), ConnectError>>;

/// Those who wait, by peer.
///
/// **Invariant:** whoever waits in an entry is answered by the end of a dial, or a dial follows: when that of somebody else
/// fails, when one of this entry's fails whose addresses were not theirs, and when a connection that is about to end has ended.
pub(crate) type Connecting = HashMap<PeerId, Waiting>;

#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// A dial that was made for somebody here, and for whom.
    dial: Option<(ConnectionId, Vec<Reply>)>,
    /// Who waits for a dial that is still to be made.
    next: Vec<Reply>,
    /// Where they have said that the peer is.
    addresses: Vec<Multiaddr>,
}

impl Waiting {
    fn add(&mut self, reply: Reply, addresses: Vec<Multiaddr>) {
        let is_new = |address: &Multiaddr| !self.addresses.contains(address);
        let unheard: Vec<Multiaddr> = addresses.into_iter().filter(is_new).collect();
        match &mut self.dial {
            Some((_, replies)) if unheard.is_empty() => {
                replies.retain(|reply| !reply.is_closed());
                replies.push(reply);
            }
            _ => {
                self.next.retain(|reply| !reply.is_closed());
                self.next.push(reply);
            }
        }
        self.addresses.extend(unheard);
    }

    fn into_replies(self) -> impl Iterator<Item = Reply> {
        self.dial.into_iter().flat_map(|(_, replies)| replies).chain(self.next)
    }
}

impl Driver {
    pub(super) fn connect(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, reply: Reply) {
        let refused = if peer == *self.swarm.local_peer_id() {
            Some(Err(ConnectError::Own { peer }))
        } else if self.peers.get(&peer).is_some_and(|connected| connected.is_staying()) {
            Some(Ok(()))
        } else if !self.peers.has_room(&peer, Direction::Outbound) {
            Some(Err(ConnectError::TooManyPeers { max: self.settings.peers_max }))
        } else {
            None
        };
        if let Some(answer) = refused {
            let _ = reply.send(answer);
            return;
        }
        self.connecting.entry(peer).or_default().add(reply, addresses);
        self.dial_for_waiting(peer);
    }

    /// Dials a peer for those whose turn it is, unless there is a connection or a dial whose end will bring their turn.
    pub(super) fn dial_for_waiting(&mut self, peer: PeerId) {
        let is_connected = self.swarm.is_connected(&peer);
        let Some(waiting) = self.connecting.get_mut(&peer) else { return };
        if is_connected || waiting.dial.is_some() {
            return;
        }
        if waiting.next.is_empty() {
            self.connecting.remove(&peer);
            return;
        }
        let mut addresses = waiting.addresses.clone();
        addresses.extend(self.peers.addresses(&peer).iter().filter(|it| !waiting.addresses.contains(it)).cloned());
        // What the behaviours know of the peer is tried as well.
        let options = DialOpts::peer_id(peer)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .condition(PeerCondition::DisconnectedAndNotDialing)
            // Two that dial each other at once, from the ports they listen on, make one TCP connection in which neither listens.
            .allocate_new_port()
            .build();
        let id = options.connection_id();
        waiting.dial = Some((id, std::mem::take(&mut waiting.next)));
        match self.swarm.dial(options) {
            Ok(()) => {}
            // Another's dial is under way: its end brings the turn.
            Err(DialError::DialPeerConditionFalse(_)) => self.put_back(&peer, id),
            Err(error) => self.on_dial_failed(peer, id, &error),
        }
    }

    /// A dial has come to nothing, whoever made it.
    pub(super) fn on_dial_failed(&mut self, peer: PeerId, id: ConnectionId, error: &DialError) {
        let Some(waiting) = self.connecting.get_mut(&peer) else { return };
        if let Some((_, replies)) = waiting.dial.take_if(|(dial, _)| *dial == id) {
            for reply in replies {
                let _ = reply.send(Err(connect_error(peer, error)));
            }
        }
        self.dial_for_waiting(peer);
    }

    /// Those for whom a dial was made wait for another.
    pub(super) fn put_back(&mut self, peer: &PeerId, id: ConnectionId) {
        if let Some(waiting) = self.connecting.get_mut(peer)
            && let Some((_, replies)) = waiting.dial.take_if(|(dial, _)| *dial == id)
        {
            waiting.next.extend(replies);
        }
    }

    pub(super) fn answer_connecting(&mut self, peer: &PeerId, answer: impl Fn() -> Result<(), ConnectError>) {
        for reply in self.connecting.remove(peer).into_iter().flat_map(Waiting::into_replies) {
            let _ = reply.send(answer());
        }
    }
}

fn connect_error(peer: PeerId, error: &DialError) -> ConnectError {
    if let DialError::Denied { cause } = error
        && let Some(Full { max }) = cause.downcast_ref()
    {
        return ConnectError::TooManyPeers { max: *max };
    }
    match error {
        DialError::NoAddresses => ConnectError::NoAddresses { peer },
        DialError::LocalPeerId { .. } => ConnectError::Own { peer },
        DialError::WrongPeerId { obtained, .. } => ConnectError::UnexpectedIdentity { found: *obtained },
        _ => ConnectError::Unreachable { peer, source: io::Error::other(describe(error)) },
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
