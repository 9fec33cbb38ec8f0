//! How long the streams of one connection may work before other connections have their turn.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Time that the streams of a connection may work in one poll of it. A request takes 10 to 50 µs, and with unusual keys up to
/// 800: so a connection with many requests at once delays each other one by half a millisecond, and not by all of them.
const SLICE: Duration = Duration::from_micros(500);

/// The slice of time that a connection's task has at present.
#[derive(Debug)]
pub(super) struct Slice {
    length: Duration,
    base: Instant,
    /// When the current poll began, in nanoseconds from `base`.
    began_nanos: AtomicU64,
}

impl Default for Slice {
    fn default() -> Self {
        Self::of(SLICE)
    }
}

impl Slice {
    /// A slice of this length.
    pub(super) fn of(length: Duration) -> Self {
        Self { length, base: Instant::now(), began_nanos: AtomicU64::new(0) }
    }

    /// A poll of the connection begins.
    pub(super) fn begin(&self) {
        self.began_nanos.store(self.nanos(Instant::now()), Ordering::Relaxed);
    }

    /// Whether the streams of this connection have worked for long enough.
    pub(super) fn is_over(&self) -> bool {
        self.is_over_at(Instant::now())
    }

    fn is_over_at(&self, now: Instant) -> bool {
        let elapsed = self.nanos(now).saturating_sub(self.began_nanos.load(Ordering::Relaxed));
        elapsed > u64::try_from(self.length.as_nanos()).unwrap_or(u64::MAX)
    }

    fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.base).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_ends_by_its_time_and_begins_with_a_poll() {
        let slice = Slice::default();
        assert!(!slice.is_over_at(slice.base + SLICE));
        assert!(slice.is_over_at(slice.base + 2 * SLICE));
        slice.began_nanos.store(slice.nanos(slice.base + 2 * SLICE), Ordering::Relaxed);
        assert!(!slice.is_over_at(slice.base + 3 * SLICE));
    }
}
