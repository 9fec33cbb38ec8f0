//! Where the state machine's time comes from.

use std::time::{Duration, Instant, SystemTime};

use rendezvous_core::Time;

/// Longest span that is handed to a timer: a sum of an instant and a larger one may overflow.
pub(super) const SPAN_MAX: Duration = Duration::from_secs(24 * 3_600);

/// The wall clock, read once, and what a monotonic clock has measured since.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    wall_millis: u64,
    started: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { wall_millis: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX), started: Instant::now() }
    }

    pub(super) fn now(&self) -> Time {
        Time::from_unix_millis(self.wall_millis) + self.started.elapsed()
    }

    /// Time from now until then, at most [`SPAN_MAX`].
    pub(super) fn until(&self, time: Time) -> Duration {
        time.saturating_since(self.now()).min(SPAN_MAX)
    }
}
