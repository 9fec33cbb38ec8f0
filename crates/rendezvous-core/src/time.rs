//! Time as the state machines know it: handed in by the caller, never read.

use core::{fmt, time::Duration};

/// An instant, in whole milliseconds since the Unix epoch.
///
/// The caller reads the wall clock once, as an anchor, and from then on adds what a monotonic clock has measured since:
/// so instants never go backwards, and positions and sequence numbers made from them are meaningful across restarts.
/// All arithmetic saturates.
///
/// ```
/// use std::time::Duration;
/// use rendezvous_core::Time;
///
/// let now = Time::from_unix_millis(1_700_000_000_000);
/// assert_eq!(now + Duration::from_secs(2), Time::from_unix_millis(1_700_000_002_000));
/// assert_eq!(now.saturating_since(now + Duration::from_secs(1)), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time(u64);

impl Time {
    /// The instant so many milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_unix_millis(self) -> u64 {
        self.0
    }

    /// Nanoseconds since the Unix epoch: the scale of the `seq` in the records that are signed here.
    #[must_use]
    pub const fn as_unix_nanos(self) -> u64 {
        self.0.saturating_mul(1_000_000)
    }

    /// Time passed since `earlier`; zero if that is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl core::ops::Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} s", self.0 / 1_000, self.0 % 1_000)
    }
}
