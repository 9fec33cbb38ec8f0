//! The swarm's end of a bridge: [`Bridge`].

use core::{
    fmt,
    task::{Context, Poll},
};

use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};

use super::{Translate, link::BehaviourEnd};

/// A behaviour that is a source of a discovery manager. In all else it is the behaviour that it is made of.
pub struct Bridge<B, T> {
    behaviour: B,
    translate: T,
    link: BehaviourEnd,
}

impl<B: NetworkBehaviour, T: Translate<B>> Bridge<B, T> {
    pub(super) fn new(behaviour: B, translate: T, link: BehaviourEnd) -> Self {
        Self { behaviour, translate, link }
    }

    /// The behaviour.
    #[must_use]
    pub const fn inner(&self) -> &B {
        &self.behaviour
    }

    /// The behaviour, to be commanded beside the manager.
    pub const fn inner_mut(&mut self) -> &mut B {
        &mut self.behaviour
    }

    /// How many peers were not told to the manager, since it does not read, and 65 536 wait.
    #[must_use]
    pub fn reports_dropped(&self) -> u64 {
        self.link.dropped()
    }

    pub(crate) const fn translate(&self) -> &T {
        &self.translate
    }

    /// What translates, with the behaviour.
    pub(crate) fn with<R>(&mut self, act: impl FnOnce(&mut T, &mut B, &mut super::Outbox) -> R) -> R {
        let Self { behaviour, translate, link } = self;
        link.write(|out| act(translate, behaviour, out))
    }
}

impl<B: NetworkBehaviour, T: Translate<B>> NetworkBehaviour for Bridge<B, T> {
    type ConnectionHandler = B::ConnectionHandler;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        connection_id: ConnectionId,
        local_addr: &Multiaddr,
        remote_addr: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.behaviour.handle_pending_inbound_connection(connection_id, local_addr, remote_addr)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection_id: ConnectionId,
        peer: PeerId,
        local_addr: &Multiaddr,
        remote_addr: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.behaviour.handle_established_inbound_connection(connection_id, peer, local_addr, remote_addr)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection_id: ConnectionId,
        maybe_peer: Option<PeerId>,
        addresses: &[Multiaddr],
        effective_role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.behaviour.handle_pending_outbound_connection(connection_id, maybe_peer, addresses, effective_role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection_id: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role_override: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.behaviour.handle_established_outbound_connection(connection_id, peer, addr, role_override, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.behaviour.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer_id: PeerId,
        connection_id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.behaviour.on_connection_handler_event(peer_id, connection_id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        while let Some(command) = self.link.poll_command(cx) {
            self.with(|translate, behaviour, out| translate.on_command(behaviour, command, out));
        }
        let event = self.behaviour.poll(cx);
        if let Poll::Ready(ToSwarm::GenerateEvent(event)) = &event {
            self.with(|translate, behaviour, out| translate.on_event(behaviour, event, out));
        }
        event
    }
}

impl<B: fmt::Debug, T: fmt::Debug> fmt::Debug for Bridge<B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge").field("behaviour", &self.behaviour).field("translate", &self.translate).finish()
    }
}
