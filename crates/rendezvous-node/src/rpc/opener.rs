//! How streams to other peers come about.

use std::error::Error;

use futures::future::BoxFuture;
use libp2p_identity::PeerId;

use super::pipe::Pipe;

/// Opens streams of [`PROTOCOL`](super::PROTOCOL), one for each call. A node does it over libp2p; tests do it in memory.
pub trait Opener: Send + Sync + 'static {
    /// The peer that opens them; calls to it need none.
    fn local_peer(&self) -> PeerId;

    /// Opens one to this peer, over a new connection if there is none. Dropping the future gives up.
    fn open(&self, peer: PeerId) -> BoxFuture<'static, Result<Pipe, OpenError>>;
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No connection to the peer.
    #[error("peer cannot be reached")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    /// The peer does not speak [`PROTOCOL`](super::PROTOCOL).
    #[error("peer does not serve calls")]
    Unsupported,
}

/// Reaches nobody.
pub(super) struct Nowhere {
    pub(super) local_peer: PeerId,
}

impl Opener for Nowhere {
    fn local_peer(&self) -> PeerId {
        self.local_peer
    }

    fn open(&self, _: PeerId) -> BoxFuture<'static, Result<Pipe, OpenError>> {
        Box::pin(async { Err(OpenError::Unreachable("there is no network".into())) })
    }
}
