//! Being found under a name: [`Advertisement`].

use core::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use std::{sync::Arc, time::Instant};

use futures::{Stream, StreamExt};
use rendezvous_wire::Namespace;

use crate::{config::WAIT_MAX, event::AdvertisementEvent, shared::Shared, source::SourceName, state::AdvertisementId};

/// A name under which this peer is to be found, by all sources that can advertise. Dropping it withdraws the name, unless
/// another handle keeps it.
///
/// As a stream it tells what becomes of it. Of each source and place the last word waits for the reader; earlier ones are
/// replaced.
pub struct Advertisement {
    shared: Arc<Shared>,
    id: AdvertisementId,
    namespace: Namespace,
}

impl Advertisement {
    pub(crate) fn new(shared: Arc<Shared>, id: AdvertisementId, namespace: Namespace) -> Self {
        Self { shared, id, namespace }
    }

    /// The name.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Waits until one source has advertised it, passing over failures. `None` if the manager has ended before.
    pub async fn advertised(&mut self) -> Option<(SourceName, Duration)> {
        loop {
            if let AdvertisementEvent::Advertised { source, ttl, .. } = self.next().await? {
                return Some((source, ttl));
            }
        }
    }

    /// Withdraws it, and waits until all sources have done so or have had
    /// [`Config::stop_timeout`](crate::Config::stop_timeout).
    pub async fn withdraw(self) {
        let (shared, namespace) = (self.shared.clone(), self.namespace.clone());
        drop(self);
        let timeout = shared.with(|state| state.config().stop_timeout).min(WAIT_MAX);
        let done = poll_fn(|cx| {
            shared.with(|state| {
                if state.has_ended() || !state.is_withdrawing(&namespace) {
                    return Poll::Ready(());
                }
                state.wait(cx.waker());
                Poll::Pending
            })
        });
        futures::future::select(done, futures_timer::Delay::new(timeout)).await;
    }
}

impl Stream for Advertisement {
    type Item = AdvertisementEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<AdvertisementEvent>> {
        self.shared.with(|state| state.poll_advertisement(self.id, cx))
    }
}

impl Drop for Advertisement {
    fn drop(&mut self) {
        self.shared.with(|state| state.end_advertisement(Instant::now(), self.id));
        self.shared.wake_driver();
    }
}

impl fmt::Debug for Advertisement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Advertisement").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
