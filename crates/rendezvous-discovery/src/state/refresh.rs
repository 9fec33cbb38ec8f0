//! Asking all sources now, and waiting until each has answered.

use core::task::{Context, Poll, Waker};
use std::{collections::BTreeMap, time::Instant};

use rendezvous_wire::Namespace;

use super::{FindId, Item, State};
use crate::{config, error::Stopped, peer::Peer, query::Query, source::SourceId};

/// Which refresh of a manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RefreshId(u64);

/// A refresh, as long as its future lives.
#[derive(Debug)]
pub(super) struct Refreshing {
    /// Keeps what is asked for wanted.
    find: FindId,
    /// Who has not answered, and whether they were asked.
    pending: BTreeMap<(SourceId, Option<Namespace>), bool>,
    /// `None` when that has passed.
    until: Option<Instant>,
    waker: Option<Waker>,
}

impl Refreshing {
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}

impl State {
    pub(crate) fn refresh(&mut self, now: Instant, query: Query) -> RefreshId {
        let requests = query.requests();
        let find = self.find(now, query);
        let id = RefreshId(self.next_id());
        let mut pending = BTreeMap::new();
        for namespace in requests {
            for source in self.schedule.hasten(self.now, &Item::Request(namespace.clone())) {
                pending.insert((source, namespace.clone()), false);
            }
        }
        let until = Some(config::after(self.now, self.config.refresh_timeout));
        self.refreshes.insert(id, Refreshing { find, pending, until, waker: None });
        id
    }

    /// Nobody waits any more.
    pub(crate) fn end_refresh(&mut self, now: Instant, id: RefreshId) {
        if let Some(refreshing) = self.refreshes.remove(&id) {
            self.end_find(now, refreshing.find);
        }
    }

    /// Who matches, when every source has answered or has had its time.
    pub(crate) fn poll_refresh(
        &mut self,
        now: Instant,
        id: RefreshId,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Vec<Peer>, Stopped>> {
        self.advance(now);
        if !self.is_running() {
            return Poll::Ready(Err(Stopped));
        }
        let Some(refreshing) = self.refreshes.get_mut(&id) else { return Poll::Ready(Ok(Vec::new())) };
        if !refreshing.pending.is_empty() && refreshing.until.is_some_and(|until| self.now < until) {
            self.leftovers.note(&mut refreshing.waker, cx.waker());
            return Poll::Pending;
        }
        let find = refreshing.find;
        let Some(query) = self.query(find).cloned() else { return Poll::Ready(Ok(Vec::new())) };
        Poll::Ready(Ok(self.cached(now, &query)))
    }

    /// A request goes out: what comes from then on is an answer to it.
    pub(super) fn issued(&mut self, source: SourceId, namespace: Option<&Namespace>) {
        let key = (source, namespace.cloned());
        for refreshing in self.refreshes.values_mut() {
            if let Some(is_asked) = refreshing.pending.get_mut(&key) {
                *is_asked = true;
            }
        }
    }

    /// Requests have been answered, have failed, or will not be answered.
    pub(super) fn answered_by(&mut self, is_it: impl Fn(SourceId, Option<&Namespace>) -> bool) {
        for refreshing in self.refreshes.values_mut() {
            refreshing
                .pending
                .retain(|(source, namespace), is_asked| !*is_asked || !is_it(*source, namespace.as_ref()));
        }
        self.wake_refreshes(|refreshing| refreshing.pending.is_empty());
    }

    /// A source is gone.
    pub(super) fn abandon_requests(&mut self, source: SourceId) {
        for refreshing in self.refreshes.values_mut() {
            refreshing.pending.retain(|(it, _), _| *it != source);
        }
        self.wake_refreshes(|refreshing| refreshing.pending.is_empty());
    }

    pub(super) fn expire_refreshes(&mut self) {
        let now = self.now;
        self.wake_refreshes(|refreshing| refreshing.until.take_if(|until| *until <= now).is_some());
    }

    pub(super) fn wake_refreshes(&mut self, is_it: impl Fn(&mut Refreshing) -> bool) {
        for refreshing in self.refreshes.values_mut() {
            if is_it(refreshing) {
                self.leftovers.wake(&mut refreshing.waker);
            }
        }
    }
}
