//! Streams for calls, over the node's connections.

use std::sync::{Arc, Weak};

use futures::future::BoxFuture;
use libp2p::PeerId;

use crate::{
    error::{ConnectError, NotRunning},
    node::Shared,
    rpc::{OpenError, Opener, Pipe},
    streams,
};

/// Opens a stream to a peer, and a connection before it where there is none.
pub(crate) struct NodeOpener {
    // Whoever calls does not keep the node running.
    shared: Weak<Shared>,
    local_peer: PeerId,
}

impl NodeOpener {
    pub(crate) fn new(shared: &Arc<Shared>, local_peer: PeerId) -> Self {
        Self { shared: Arc::downgrade(shared), local_peer }
    }
}

impl Opener for NodeOpener {
    fn local_peer(&self) -> PeerId {
        self.local_peer
    }

    fn open(&self, peer: PeerId) -> BoxFuture<'static, Result<Pipe, OpenError>> {
        let shared = self.shared.upgrade();
        Box::pin(async move {
            let shared = shared.ok_or_else(|| OpenError::Unreachable(NotRunning.into()))?;
            let running = shared.running().map_err(|error| OpenError::Unreachable(error.into()))?;
            let protocol = shared.settings.rpc_protocol.clone();
            let mut opened = running.control.open(peer, protocol.clone()).await;
            if matches!(opened, Err(streams::OpenError::NotConnected { .. })) {
                shared.connect(peer, Vec::new()).await.map_err(unreachable)?;
                opened = running.control.open(peer, protocol).await;
            }
            opened.map(Pipe::new).map_err(|error| match error {
                streams::OpenError::Unsupported { .. } => OpenError::Unsupported,
                error => OpenError::Unreachable(error.into()),
            })
        })
    }
}

fn unreachable(error: ConnectError) -> OpenError {
    match error {
        // That it is unreachable is said once.
        ConnectError::Unreachable { source, .. } => OpenError::Unreachable(source.into()),
        error => OpenError::Unreachable(error.into()),
    }
}
