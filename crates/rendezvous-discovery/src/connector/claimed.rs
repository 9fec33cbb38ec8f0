//! What a query tells, with which query it is.

use core::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{Stream, StreamExt};

use super::plan::Claim;
use crate::{event::FindEvent, find::Find};

/// A query among several. Its last item, without an event, tells that it has ended.
pub(super) struct Claimed {
    claim: Claim,
    find: Option<Find>,
}

impl Claimed {
    pub(super) fn new(number: u64, find: Find) -> Self {
        Self { claim: Claim::Found(number), find: Some(find) }
    }
}

impl Stream for Claimed {
    type Item = (Claim, Option<FindEvent>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(find) = &mut self.find else { return Poll::Ready(None) };
        let event = ready!(find.poll_next_unpin(cx));
        if event.is_none() {
            self.find = None;
        }
        Poll::Ready(Some((self.claim, event)))
    }
}
