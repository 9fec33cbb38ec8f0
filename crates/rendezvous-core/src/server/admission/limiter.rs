//! How often: token buckets in bounded memory.

use core::{hash::Hash, time::Duration};

use hashbrown::HashMap;

use crate::{Time, server::hash::Keys};

/// Buckets kept at most; see [`Rate`] for what happens beyond.
pub const LIMITER_ENTRIES_MAX: usize = 1 << 16;

/// A token bucket: `burst` requests at once, and one more for each `period` that has passed.
///
/// The buckets of a limiter take bounded memory ([`LIMITER_ENTRIES_MAX`]) and are forgotten once full again. While that
/// many are in use, all newcomers share one more bucket: the limiter fails towards refusing, never towards growing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests that may come at once; at least 1.
    pub burst: u32,
    /// Time that earns one request.
    pub period: Duration,
}

impl Rate {
    /// Time for an empty bucket to be full again.
    fn refill_millis(&self) -> u64 {
        self.period_millis().saturating_mul(u64::from(self.burst.max(1)))
    }

    fn period_millis(&self) -> u64 {
        u64::try_from(self.period.as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

/// The buckets of all keys of one kind.
///
/// A bucket is one number: the instant at which it is full again. A bucket that is full need not be kept, so a key not
/// seen for as long as a bucket takes to refill is dropped, with the older of two generations.
#[derive(Debug)]
pub(in crate::server) struct Limiter<K> {
    rate: Option<Rate>,
    young: HashMap<K, u64, Keys>,
    old: HashMap<K, u64, Keys>,
    /// When the generations move on.
    turn: u64,
    /// The bucket of those for whom there is no room.
    overflow: u64,
    entries_max: usize,
}

impl<K: Hash + Eq + Copy> Limiter<K> {
    pub(in crate::server) fn new(rate: Option<Rate>, keys: Keys) -> Self {
        Self {
            rate,
            young: HashMap::with_hasher(keys),
            old: HashMap::with_hasher(keys),
            turn: 0,
            overflow: 0,
            entries_max: LIMITER_ENTRIES_MAX,
        }
    }

    /// Takes a token of this key's bucket.
    ///
    /// # Errors
    /// The time after which there is one, if there is none.
    pub(in crate::server) fn take(&mut self, now: Time, key: K) -> Result<(), Duration> {
        let Some(rate) = self.rate else { return Ok(()) };
        let now = now.as_unix_millis();
        self.turn_generations(now, rate);
        let known = self.young.get(&key).or_else(|| self.old.get(&key)).copied();
        let has_room = self.young.len() + self.old.len() < self.entries_max;
        let is_shared = known.is_none() && !has_room;
        let full_at = if is_shared { self.overflow } else { known.unwrap_or(0) }.max(now);
        let after = full_at.saturating_add(rate.period_millis());
        let limit = now.saturating_add(rate.refill_millis());
        if after > limit {
            return Err(Duration::from_millis(after - limit));
        }
        if is_shared {
            self.overflow = after;
        } else {
            self.old.remove(&key);
            self.young.insert(key, after);
        }
        Ok(())
    }

    /// Buckets in use.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    fn turn_generations(&mut self, now: u64, rate: Rate) {
        if now < self.turn {
            return;
        }
        let refill = rate.refill_millis();
        let is_long_ago = now.saturating_sub(self.turn) >= refill;
        core::mem::swap(&mut self.young, &mut self.old);
        self.young.clear();
        if is_long_ago {
            self.old.clear();
        }
        // Memory of a rush is given back.
        self.young.shrink_to(0);
        self.turn = now.saturating_add(refill);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, period: Duration::from_secs(10) };

    fn limiter() -> Limiter<u32> {
        Limiter::new(Some(RATE), Keys::new([1; 16]))
    }

    fn at(secs: u64) -> Time {
        Time::from_unix_millis(1_700_000_000_000 + secs * 1_000)
    }

    #[test]
    fn a_burst_passes_and_then_one_for_each_period() {
        let mut limiter = limiter();
        for _ in 0..3 {
            assert_eq!(limiter.take(at(0), 1), Ok(()));
        }
        assert_eq!(limiter.take(at(0), 1), Err(Duration::from_secs(10)));
        assert_eq!(limiter.take(at(4), 1), Err(Duration::from_secs(6)));
        assert_eq!(limiter.take(at(10), 1), Ok(()));
        assert_eq!(limiter.take(at(10), 1), Err(Duration::from_secs(10)));
        assert_eq!(limiter.take(at(10), 2), Ok(()), "another key has a bucket of its own");
    }

    #[test]
    fn a_refused_request_costs_nothing() {
        let mut limiter = limiter();
        for _ in 0..3 {
            assert!(limiter.take(at(0), 1).is_ok());
        }
        for _ in 0..1_000 {
            assert!(limiter.take(at(1), 1).is_err());
        }
        assert!(limiter.take(at(10), 1).is_ok());
    }

    #[test]
    fn no_steady_flow_exceeds_the_rate_over_generations() {
        let mut limiter = limiter();
        let passed = (0..1_000).filter(|second| limiter.take(at(*second), 1).is_ok()).count();
        assert!((100..=103).contains(&passed), "{passed} in 1000 s");
    }

    #[test]
    fn buckets_are_bounded_and_forgotten_when_full_again() {
        let mut limiter = limiter();
        limiter.entries_max = 100;
        for key in 0..10_000 {
            let _ = limiter.take(at(0), key);
        }
        assert_eq!(limiter.len(), 100);
        // Newcomers share one bucket, which is empty; those known have their own.
        assert!(limiter.take(at(1), 20_000).is_err());
        assert!(limiter.take(at(1), 5).is_ok());
        assert!(limiter.take(at(100), 30_000).is_ok());
        assert_eq!(limiter.len(), 1);
    }

    #[test]
    fn without_a_rate_everything_passes_and_nothing_is_kept() {
        let mut limiter = Limiter::new(None, Keys::new([1; 16]));
        assert!((0..1_000).all(|key| limiter.take(at(0), key).is_ok()));
        assert_eq!(limiter.len(), 0);
    }
}
