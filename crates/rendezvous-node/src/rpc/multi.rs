//! One call to many peers.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{Stream, StreamExt as _, stream::BoxStream};
use libp2p_identity::PeerId;

use super::error::CallError;

/// One call to many peers: a [`Stream`] of one result for each, in the order in which the peers were given. Dropping it cancels
/// what is under way.
#[must_use = "nothing is sent before it is polled"]
pub struct MultiCall<R> {
    results: BoxStream<'static, (PeerId, Result<R, CallError>)>,
}

impl<R> MultiCall<R> {
    pub(super) fn new(results: impl Stream<Item = (PeerId, Result<R, CallError>)> + Send + 'static) -> Self {
        Self { results: results.boxed() }
    }

    /// The next result, or `None` after the last.
    pub async fn next(&mut self) -> Option<(PeerId, Result<R, CallError>)> {
        self.results.next().await
    }

    /// All the results.
    pub async fn all(self) -> Vec<(PeerId, Result<R, CallError>)> {
        self.results.collect().await
    }
}

impl<R> Stream for MultiCall<R> {
    type Item = (PeerId, Result<R, CallError>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.results.poll_next_unpin(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.results.size_hint()
    }
}

impl<R> fmt::Debug for MultiCall<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiCall").finish_non_exhaustive()
    }
}
