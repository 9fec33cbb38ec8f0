//! What handles and driver share: [`Shared`].

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use futures::task::AtomicWaker;

use crate::{
    config::Config,
    error::Stopped,
    source::{Source, SourceId},
    state::State,
};

/// What handles and driver share.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Sources that the driver is to take over, and those that it is to drop.
    moves: Mutex<Moves>,
    pub(crate) driver: AtomicWaker,
    handles: AtomicUsize,
}

/// Sources on their way.
#[derive(Default)]
pub(crate) struct Moves {
    pub(crate) added: Vec<(SourceId, Box<dyn Source>)>,
    pub(crate) removed: Vec<SourceId>,
}

impl Shared {
    /// The state of a new manager, with one handle.
    pub(crate) fn new(config: Config) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::new(Instant::now(), config)),
            moves: Mutex::default(),
            driver: AtomicWaker::new(),
            handles: AtomicUsize::new(1),
        })
    }

    pub(crate) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove_handle(&self) {
        self.handles.fetch_sub(1, Ordering::Release);
        self.wake_driver();
    }

    /// Does something with the state, and what is left over from it when the state is not locked any more.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        // A panic of a predicate of the user's leaves the state as it was.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut state);
        let leftovers = state.take_leftovers();
        drop(state);
        leftovers.finish();
        result
    }

    /// The same, unless the manager has ended.
    pub(crate) fn running<R>(&self, act: impl FnOnce(&mut State) -> R) -> Result<R, Stopped> {
        self.with(|state| if state.is_running() { Ok(act(state)) } else { Err(Stopped) })
    }

    pub(crate) fn moves(&self) -> MutexGuard<'_, Moves> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wake_driver(&self) {
        self.driver.wake();
    }

    /// Whether nobody can want anything any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.handles.load(Ordering::Acquire) == 0 && {
            let stats = self.with(|state| state.stats());
            stats.finds == 0 && stats.advertisements == 0
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
