//! What a method knows about its call.

use std::{future::Future, sync::Arc, time::Duration};

use libp2p_identity::PeerId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The call that a method serves. Clones are of the same call.
#[derive(Clone, Debug)]
pub struct Context {
    pub(super) caller: PeerId,
    pub(super) names: Arc<Names>,
    pub(super) deadline: Instant,
    pub(super) is_local: bool,
    /// Cancelled when the call ends, in whatever way.
    pub(super) over: CancellationToken,
}

/// What is called.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) service: String,
    pub(super) method: String,
}

impl Context {
    /// Who calls: the peer at the other end of the connection, or this one itself.
    #[must_use]
    pub fn caller(&self) -> PeerId {
        self.caller
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.names.service
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.names.method
    }

    /// When the call is dropped if it has not ended: what its caller asked for, at most
    /// [`ServerConfig::call_timeout_max`](super::ServerConfig::call_timeout_max) from its beginning.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Time until the deadline, zero after it.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Whether this peer calls itself, without the network.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// Ready as soon as the call is over: cancelled by either side, past its deadline, or answered.
    ///
    /// A method that is cancelled is dropped, and need not wait for this. It is for the tasks that the method has started.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.over.clone().cancelled_owned()
    }

    /// Whether the call is over.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.over.is_cancelled()
    }
}
