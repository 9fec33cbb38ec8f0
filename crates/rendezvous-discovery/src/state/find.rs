//! Queries, and how far whoever asked has been told.

use core::task::{Context, Poll, Waker};
use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use libp2p_identity::PeerId;

use super::{Item, State};
use crate::{event::FindEvent, peer::Peer, query::Query};

/// Most changes that are looked through at once, under the lock.
const STEPS_MAX: usize = 1_024;

/// Which query of a manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FindId(u64);

/// A query, as long as its stream lives.
///
/// It is a position in the changes of the cache and the peers that were told, so a reader who does not read costs nothing and
/// misses nothing: what he is told next is how it stands then. **Invariant:** `told` and `gone` together hold no more peers
/// than the cache has held at once, since a peer that is gone is told before another is found.
#[derive(Debug)]
pub(super) struct Finding {
    query: Query,
    position: u64,
    told: HashMap<PeerId, Peer>,
    gone: VecDeque<Peer>,
    waker: Option<Waker>,
}

impl State {
    pub(crate) fn find(&mut self, now: Instant, query: Query) -> FindId {
        self.advance(now);
        let id = FindId(self.next_id());
        for namespace in query.requests() {
            self.schedule.want(self.now, &Item::Request(namespace));
        }
        self.finds.insert(id, Finding { query, position: 0, told: HashMap::new(), gone: VecDeque::new(), waker: None });
        id
    }

    /// Nobody holds the stream any more, or the manager stops.
    pub(crate) fn end_find(&mut self, now: Instant, id: FindId) {
        self.advance(now);
        let Some(Finding { query, mut waker, .. }) = self.finds.remove(&id) else { return };
        for namespace in query.requests() {
            self.schedule.unwant(&Item::Request(namespace));
        }
        self.leftovers.wake(&mut waker);
        self.leftovers.queries.push(query);
    }

    pub(crate) fn poll_find(&mut self, now: Instant, id: FindId, cx: &mut Context<'_>) -> Poll<Option<FindEvent>> {
        self.advance(now);
        // What has ended is not told as found, however late it is read.
        self.cache.expire(self.now);
        self.tell_changes();
        let Some(finding) = self.finds.get_mut(&id) else { return Poll::Ready(None) };
        if let Some(peer) = finding.gone.pop_front() {
            return Poll::Ready(Some(FindEvent::Expired(peer)));
        }
        for _ in 0..STEPS_MAX {
            let Some((position, peer)) = self.cache.change_after(finding.position) else {
                self.leftovers.note(&mut finding.waker, cx.waker());
                return Poll::Pending;
            };
            finding.position = position;
            let told = finding.told.get(&peer.id());
            let event = match (told, finding.query.matches(peer.attributes())) {
                (None, true) => FindEvent::Found(peer.clone()),
                (Some(told), true) if told.is_same(peer) => continue,
                (Some(_), true) => FindEvent::Updated(peer.clone()),
                (Some(_), false) => {
                    let Some(told) = finding.told.remove(&peer.id()) else { continue };
                    return Poll::Ready(Some(FindEvent::Expired(told)));
                }
                (None, false) => continue,
            };
            finding.told.insert(peer.id(), peer.clone());
            return Poll::Ready(Some(event));
        }
        self.leftovers.woken.push(cx.waker().clone());
        Poll::Pending
    }

    /// All sources are to be asked now.
    pub(crate) fn hasten_find(&mut self, now: Instant, id: FindId) {
        self.advance(now);
        let Some(finding) = self.finds.get(&id) else { return };
        for namespace in finding.query.requests() {
            self.schedule.hasten(self.now, &Item::Request(namespace));
        }
    }

    pub(crate) fn query(&self, id: FindId) -> Option<&Query> {
        self.finds.get(&id).map(|finding| &finding.query)
    }

    /// Wakes whoever follows, after the cache may have changed.
    pub(super) fn tell_changes(&mut self) {
        let removed = self.cache.take_removed();
        let last_change = self.cache.last_change();
        for finding in self.finds.values_mut() {
            for peer in &removed {
                finding.gone.extend(finding.told.remove(peer));
            }
            if !finding.gone.is_empty() || finding.position < last_change {
                self.leftovers.wake(&mut finding.waker);
            }
        }
    }
}
