//! The streams' part in the swarm.

use std::{
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
    },
};

use super::{
    config::{Config, Stats},
    control::Control,
    handler::Handler,
    shared::Shared,
};

/// Carries the streams of all [controls](Self::control); see the [module](super) for what is bounded and how.
///
/// It tells nothing to the swarm's owner. When it is dropped, opens end as for a connection that is lost, and acceptors
/// end.
pub struct Behaviour {
    shared: Arc<Shared>,
}

impl Behaviour {
    /// A behaviour with these limits.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { shared: Arc::new(Shared::new(config)) }
    }

    /// A control of this behaviour's streams; all of them, and all clones, are alike.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(self.shared.clone())
    }

    /// The same as [`Control::stats`].
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    fn handler(&self, peer: PeerId, connection: ConnectionId) -> Handler {
        Handler::new(peer, self.shared.connected(peer, connection), self.shared.clone())
    }
}

impl Default for Behaviour {
    fn default() -> Self {
        Self::new(Config::default())
    }
}

impl Drop for Behaviour {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer, connection))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer, connection))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        // A connection that another behaviour denies goes with its handler.
        if let FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) = event {
            self.shared.closed(peer_id, connection_id);
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behaviour").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
