//! Where the state machines' time comes from.

#[cfg(test)]
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::{
    sync::OnceLock,
    time::{Duration, Instant, SystemTime},
};

use rendezvous_core::Time;

/// Longest span that is handed to a timer: a sum of an instant and a larger one may overflow.
pub(crate) const SPAN_MAX: Duration = Duration::from_secs(24 * 3_600);

/// The wall clock, read once, and what a monotonic clock has measured since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    wall: Time,
    started: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self::started(Self::wall(), Instant::now())
    }

    /// A clock that showed this time at this instant.
    pub(crate) fn started(wall: Time, started: Instant) -> Self {
        Self { wall, started }
    }

    /// What the wall clock shows.
    pub(crate) fn wall() -> Time {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Time::from_unix_millis(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn now(&self) -> Time {
        self.wall + self.started.elapsed()
    }

    /// Time from now until then, at most [`SPAN_MAX`].
    pub(crate) fn until(&self, time: Time) -> Duration {
        time.saturating_since(self.now()).min(SPAN_MAX)
    }
}

/// Milliseconds of a monotonic clock that starts with its first use in the process; a test may set it by hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ticks {
    #[cfg(test)]
    manual: Option<Arc<AtomicU64>>,
}

impl Ticks {
    /// A clock that a test sets, and its hand.
    #[cfg(test)]
    pub(crate) fn manual() -> (Self, Arc<AtomicU64>) {
        let hand = Arc::new(AtomicU64::new(0));
        (Self { manual: Some(hand.clone()) }, hand)
    }

    pub(crate) fn now_millis(&self) -> u64 {
        #[cfg(test)]
        if let Some(manual) = &self.manual {
            return manual.load(Ordering::Relaxed);
        }
        static START: OnceLock<Instant> = OnceLock::new();
        u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
