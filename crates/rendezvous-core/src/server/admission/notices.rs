//! Which log lines about limits are worth writing: each limit that is met says so, and a stranger cannot fill a disk with it.

use std::collections::BTreeMap;

use super::origin::Origin;
use crate::Time;

/// Log lines about limits in a minute, over all limits and prefixes.
pub const NOTICES_PER_MINUTE_MAX: usize = 100;

/// Milliseconds for which a notice is not repeated.
const QUIET_MILLIS: u64 = 60_000;

/// Decides whether a limit that was met is logged: once per limit, [`Origin`] and minute, and at most
/// [`NOTICES_PER_MINUTE_MAX`] times a minute in all.
///
/// What it holds is bounded by that number.
#[derive(Debug, Default)]
pub struct NoticeLimiter {
    /// The notices of the last minute, with their times.
    recent: BTreeMap<(&'static str, Origin), Time>,
    suppressed: u64,
}

impl NoticeLimiter {
    /// Whether to log that this limit was met by a connection of this origin. `limit` is the name of its setting.
    ///
    /// ```
    /// use rendezvous_core::{Time, server::{NoticeLimiter, Origin}};
    ///
    /// let mut notices = NoticeLimiter::default();
    /// let start = Time::from_unix_millis(0);
    /// assert!(notices.admit(start, "connections.max", Origin::Unlocated));
    /// assert!(!notices.admit(start, "connections.max", Origin::Unlocated));
    /// assert!(notices.admit(Time::from_unix_millis(60_000), "connections.max", Origin::Unlocated));
    /// ```
    #[must_use]
    pub fn admit(&mut self, now: Time, limit: &'static str, origin: Origin) -> bool {
        let is_recent = |at: Time| now.as_unix_millis().saturating_sub(at.as_unix_millis()) < QUIET_MILLIS;
        let key = (limit, origin);
        if self.recent.get(&key).is_some_and(|&at| is_recent(at)) {
            self.suppressed += 1;
            return false;
        }
        if self.recent.len() >= NOTICES_PER_MINUTE_MAX {
            self.recent.retain(|_, &mut at| is_recent(at));
        }
        if self.recent.len() >= NOTICES_PER_MINUTE_MAX && !self.recent.contains_key(&key) {
            self.suppressed += 1;
            return false;
        }
        self.recent.insert(key, now);
        true
    }

    /// Notices that were not admitted since the start.
    #[must_use]
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::IpPrefix;

    fn at(seconds: u64) -> Time {
        Time::from_unix_millis(seconds * 1_000)
    }

    fn prefix(number: u32) -> Origin {
        Origin::Prefix(IpPrefix::V4([10, (number >> 8) as u8, number as u8]))
    }

    #[test]
    fn a_limit_is_logged_once_a_minute_for_each_prefix() {
        let mut notices = NoticeLimiter::default();
        assert!(notices.admit(at(0), "a", prefix(1)));
        assert!(notices.admit(at(0), "a", prefix(2)), "another prefix");
        assert!(notices.admit(at(0), "b", prefix(1)), "another limit");
        assert!(!notices.admit(at(59), "a", prefix(1)));
        assert!(notices.admit(at(60), "a", prefix(1)));
        assert_eq!(notices.suppressed(), 1);
    }

    #[test]
    fn many_prefixes_together_get_no_more_lines_than_the_total() {
        let mut notices = NoticeLimiter::default();
        let admitted = (0..10_000).filter(|&number| notices.admit(at(0), "a", prefix(number))).count();
        assert_eq!(admitted, NOTICES_PER_MINUTE_MAX);
        assert_eq!(notices.recent.len(), NOTICES_PER_MINUTE_MAX);
        assert_eq!(notices.suppressed(), 10_000 - NOTICES_PER_MINUTE_MAX as u64);
        assert!(notices.admit(at(60), "a", prefix(20_000)), "the next minute");
    }
}
