//! Names under which this peer wants to be found.

use core::{
    task::{Context, Poll, Waker},
    time::Duration,
};
use std::{collections::VecDeque, time::Instant};

use libp2p_identity::PeerId;
use rendezvous_wire::Namespace;

use super::{Item, State};
use crate::{
    event::AdvertisementEvent,
    source::{Failure, SourceId, SourceName},
};

/// Most events of one advertisement that wait: one for each source, and each place of it.
const EVENTS_MAX: usize = 1_024;

/// Which advertisement of a manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct AdvertisementId(u64);

/// An advertisement, as long as its handle lives.
#[derive(Debug)]
pub(super) struct Advertised {
    namespace: Namespace,
    /// What is not told yet: the last word of each source and place.
    events: VecDeque<(SourceId, AdvertisementEvent)>,
    waker: Option<Waker>,
}

impl State {
    pub(crate) fn advertise(&mut self, now: Instant, namespace: Namespace) -> AdvertisementId {
        self.advance(now);
        let id = AdvertisementId(self.next_id());
        // Another handle on the same name may have been told already: the next renewal tells this one.
        self.schedule.want(self.now, &Item::Advertise(namespace.clone()));
        let sources: Vec<SourceId> = self.sources.keys().copied().collect();
        for source in sources {
            self.withdrawing.remove(&(source, namespace.clone()));
        }
        // Whoever waited for a withdrawal that is off now waits for nothing.
        self.wake_waiting();
        self.advertisements.insert(id, Advertised { namespace, events: VecDeque::new(), waker: None });
        id
    }

    /// Nobody holds the handle any more, or the manager stops.
    pub(crate) fn end_advertisement(&mut self, now: Instant, id: AdvertisementId) {
        self.advance(now);
        let Some(Advertised { namespace, mut waker, .. }) = self.advertisements.remove(&id) else { return };
        let undone = self.schedule.unwant(&Item::Advertise(namespace.clone()));
        self.withdrawing.extend(undone.into_iter().map(|source| (source, namespace.clone())));
        self.leftovers.wake(&mut waker);
    }

    /// Whether a name is on its way to be withdrawn somewhere.
    pub(crate) fn is_withdrawing(&self, namespace: &Namespace) -> bool {
        self.withdrawing.iter().any(|(_, it)| it == namespace)
    }

    pub(crate) fn poll_advertisement(
        &mut self,
        id: AdvertisementId,
        cx: &mut Context<'_>,
    ) -> Poll<Option<AdvertisementEvent>> {
        let Some(advertised) = self.advertisements.get_mut(&id) else { return Poll::Ready(None) };
        if let Some((_, event)) = advertised.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        self.leftovers.note(&mut advertised.waker, cx.waker());
        Poll::Pending
    }

    /// Tells the handles of a name what a source has said.
    pub(super) fn advertised(
        &mut self,
        source: SourceName,
        source_id: SourceId,
        namespace: &Namespace,
        place: Option<PeerId>,
        result: Result<Duration, Failure>,
    ) {
        let event = match result {
            Ok(ttl) => AdvertisementEvent::Advertised { source, place, ttl },
            Err(failure) => AdvertisementEvent::Failed { source, place, failure },
        };
        for advertised in self.advertisements.values_mut().filter(|it| it.namespace == *namespace) {
            advertised.events.retain(|(id, known)| *id != source_id || known.place() != place);
            if advertised.events.len() >= EVENTS_MAX {
                advertised.events.pop_front();
            }
            advertised.events.push_back((source_id, event.clone()));
            self.leftovers.wake(&mut advertised.waker);
        }
    }
}
