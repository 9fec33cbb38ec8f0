//! Calls as futures.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use libp2p_identity::PeerId;
use tokio::task::{AbortHandle, JoinHandle};

use super::error::{CallError, Side};

/// A call, or the beginning of one: a future that does nothing until it is polled. Dropping it cancels the call.
#[must_use = "nothing is sent before it is polled"]
pub struct Call<T>(BoxFuture<'static, Result<T, CallError>>);

impl<T> Call<T> {
    pub(super) fn new(call: impl Future<Output = Result<T, CallError>> + Send + 'static) -> Self {
        Self(Box::pin(call))
    }
}

impl<T> Future for Call<T> {
    type Output = Result<T, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}

/// A call that runs by itself: a future of its result. Dropping it cancels the call. Should the type of the result panic as it is
/// read, so does this future.
#[derive(Debug)]
#[must_use = "dropping it cancels the call"]
pub struct CallHandle<T> {
    peer: PeerId,
    task: JoinHandle<Result<T, CallError>>,
}

impl<T: Send + 'static> CallHandle<T> {
    pub(super) fn start(peer: PeerId, call: Call<T>) -> Self {
        Self { peer, task: tokio::spawn(call) }
    }
}

impl<T> CallHandle<T> {
    /// Who is called.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Whether there is a result.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Cancels the call, unless there is a result. The result is [`CallError::Cancelled`] then.
    pub fn cancel(&self) {
        self.task.abort();
    }

    /// What cancels the call from elsewhere.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller(self.task.abort_handle())
    }
}

impl<T> Future for CallHandle<T> {
    type Output = Result<T, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.task).poll(cx).map(|joined| {
            joined.unwrap_or_else(|error| match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(CallError::Cancelled { side: Side::Caller }),
            })
        })
    }
}

impl<T> Drop for CallHandle<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Cancels a call that another task waits for.
#[derive(Clone, Debug)]
pub struct Canceller(AbortHandle);

impl Canceller {
    /// Cancels the call, unless there is a result.
    pub fn cancel(&self) {
        self.0.abort();
    }
}
