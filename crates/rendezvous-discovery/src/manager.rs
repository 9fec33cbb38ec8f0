//! The manager's handle: [`DiscoveryManager`].

use core::{future::poll_fn, task::Poll};
use std::{fmt, sync::Arc, time::Instant};

use rendezvous_wire::Namespace;

use crate::{
    advertisement::Advertisement,
    config::Config,
    driver::Driver,
    error::Stopped,
    find::Find,
    peer::Peer,
    query::Query,
    shared::Shared,
    source::{Source, SourceId, SourceName},
    state::RefreshId,
    stats::Stats,
};

/// Finds peers by several sources as if they were one, and lets this peer be found by them.
///
/// Clones are handles of the same manager. See the [crate's documentation](crate) for an example.
///
/// # What drives it
/// [`new`](Self::new) gives a [`Driver`] beside the handle: a future to be spawned on any executor, or polled along with others.
/// Nothing happens unless it is polled. It ends when the manager is stopped, or when every handle of it, its
/// [`Find`]s and its [`Advertisement`]s are dropped.
pub struct DiscoveryManager {
    shared: Arc<Shared>,
}

impl DiscoveryManager {
    /// A manager without sources, and what drives it.
    pub fn new(config: Config) -> (Self, Driver) {
        let shared = Shared::new(config);
        (Self { shared: shared.clone() }, Driver::new(shared))
    }

    /// Adds a source. What is wanted is told to it at once.
    ///
    /// # Errors
    /// [`Stopped`] if the manager has ended.
    pub fn add_source(&self, source: impl Source + 'static) -> Result<SourceId, Stopped> {
        // A source may call the manager, in whatever it is asked and when it is dropped: nothing is locked then.
        let (name, timing) = (source.name(), source.timing());
        let source: Box<dyn Source> = Box::new(source);
        // The lock on moves is taken first everywhere.
        let mut moves = self.shared.moves();
        let id = self.shared.running(|state| state.add_source(Instant::now(), name, timing))?;
        moves.added.push((id, source));
        drop(moves);
        self.shared.wake_driver();
        Ok(id)
    }

    /// Removes a source. Who was found by it alone is gone, and what it advertised is withdrawn as far as it does so when it is
    /// dropped.
    ///
    /// `false` if there is no such source.
    pub fn remove_source(&self, id: SourceId) -> bool {
        let mut moves = self.shared.moves();
        let is_there = self.shared.with(|state| state.remove_source(Instant::now(), id));
        let place = moves.added.iter().position(|(added, _)| *added == id);
        let removed = place.map(|place| moves.added.swap_remove(place));
        if is_there && removed.is_none() {
            moves.removed.push(id);
        }
        drop(moves);
        drop(removed);
        self.shared.wake_driver();
        is_there
    }

    /// The sources, with their names.
    #[must_use]
    pub fn sources(&self) -> Vec<(SourceId, SourceName)> {
        self.shared.with(|state| state.sources().map(|(id, name)| (id, name.clone())).collect())
    }

    /// Lets this peer be found under a name by all sources, from now on and until the handle is dropped.
    ///
    /// # Errors
    /// [`Stopped`] if the manager has ended.
    pub fn advertise(&self, namespace: Namespace) -> Result<Advertisement, Stopped> {
        let id = self.shared.running(|state| state.advertise(Instant::now(), namespace.clone()))?;
        self.shared.wake_driver();
        Ok(Advertisement::new(self.shared.clone(), id, namespace))
    }

    /// Looks for peers by all sources, from now on and until the stream is dropped. Who was found already is told first.
    ///
    /// Queries for the same names share one request to each source.
    ///
    /// # Errors
    /// [`Stopped`] if the manager has ended.
    pub fn find(&self, query: impl Into<Query>) -> Result<Find, Stopped> {
        let query = query.into();
        let id = self.shared.running(|state| state.find(Instant::now(), query))?;
        self.shared.wake_driver();
        Ok(Find::new(self.shared.clone(), id))
    }

    /// Asks all sources now, whatever they had planned, and gives who matches when each has answered, has failed, or has
    /// had [`Config::refresh_timeout`].
    ///
    /// # Errors
    /// [`Stopped`] if the manager has ended, or ends meanwhile.
    pub async fn refresh(&self, query: impl Into<Query>) -> Result<Vec<Peer>, Stopped> {
        let query = query.into();
        let id = self.shared.running(|state| state.refresh(Instant::now(), query))?;
        self.shared.wake_driver();
        let refresh = Refresh { shared: self.shared.clone(), id };
        poll_fn(|cx| refresh.shared.with(|state| state.poll_refresh(Instant::now(), refresh.id, cx))).await
    }

    /// Who matches, of those that were found and have not ended. Nobody is asked.
    #[must_use]
    pub fn cached(&self, query: &Query) -> Vec<Peer> {
        self.shared.with(|state| state.cached(Instant::now(), query))
    }

    /// Forgets who was found, and asks all sources anew. Streams are told that those peers are gone, and of those that are
    /// found again.
    pub fn clear_cache(&self) {
        self.shared.with(|state| state.clear(Instant::now()));
        self.shared.wake_driver();
    }

    /// Ends all streams, withdraws all advertisements, and waits until that is done, at most [`Config::stop_timeout`]. The
    /// sources are dropped then.
    ///
    /// It waits for the [`Driver`], which has to be polled, or dropped.
    pub async fn stop(&self) {
        self.shared.with(|state| state.stop(Instant::now()));
        self.shared.wake_driver();
        poll_fn(|cx| {
            self.shared.with(|state| {
                if state.has_ended() {
                    return Poll::Ready(());
                }
                state.wait(cx.waker());
                Poll::Pending
            })
        })
        .await;
    }

    /// Sizes and counts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.with(|state| state.stats())
    }
}

impl Clone for DiscoveryManager {
    fn clone(&self) -> Self {
        self.shared.add_handle();
        Self { shared: self.shared.clone() }
    }
}

impl Drop for DiscoveryManager {
    fn drop(&mut self) {
        self.shared.remove_handle();
    }
}

impl fmt::Debug for DiscoveryManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoveryManager").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// A refresh that is under way; dropping it gives up.
struct Refresh {
    shared: Arc<Shared>,
    id: RefreshId,
}

impl Drop for Refresh {
    fn drop(&mut self) {
        self.shared.with(|state| state.end_refresh(Instant::now(), self.id));
        self.shared.wake_driver();
    }
}
