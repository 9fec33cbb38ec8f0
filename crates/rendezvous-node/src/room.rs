//! Dials for which there is no room: [`Behaviour`].
//!
//! What discovers peers dials them by itself, and does not know the cap on peers. A connection that comes about to be turned away
//! is trouble for both sides, and is tried again soon; a dial that is denied costs nothing, and is put off for longer each time.

use core::{
    convert::Infallible,
    task::{Context, Poll},
};
use std::collections::HashSet;

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm, dummy,
    },
};

/// There are as many peers as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are {max} peers already, which is the most")]
pub(crate) struct Full {
    pub(crate) max: usize,
}

/// Denies dials while there is no room, but to those who are exempt.
#[derive(Debug)]
pub(crate) struct Behaviour {
    max: usize,
    pub(crate) is_full: bool,
    /// Static and trusted peers.
    pub(crate) exempt: HashSet<PeerId>,
}

impl Behaviour {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, is_full: false, exempt: HashSet::new() }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let is_exempt = peer.is_some_and(|peer| self.exempt.contains(&peer));
        if self.is_full && !is_exempt { Err(ConnectionDenied::new(Full { max: self.max })) } else { Ok(Vec::new()) }
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}
