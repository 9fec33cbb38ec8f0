//! Token buckets in bounded memory.

use core::time::Duration;

use crate::{Time, server::table::Table};

/// Buckets that a limiter keeps at most, of 16 bytes and a table entry each; see [`Rate`] for what happens beyond.
pub const LIMITER_ENTRIES_MAX: usize = 1 << 16;

/// Buckets that each request looks at, to forget those that are full again.
const SWEPT_PER_REQUEST: usize = 2;

/// Buckets of which the fullest is forgotten when there is no room for another one.
const EVICTION_CANDIDATES: usize = 8;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// A token bucket: `burst` requests at once, and one more for each `period` that has passed.
///
/// The buckets of a limiter take bounded memory ([`LIMITER_ENTRIES_MAX`]) and are forgotten once full again. While that
/// many are in use, a newcomer takes the place of the fullest of several, which loses little by it; so nobody is refused
/// because of the number of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests that may come at once; at least 1.
    pub burst: u32,
    /// Time that earns one request.
    pub period: Duration,
}

impl Rate {
    /// What one request costs, and all that fit in a bucket.
    pub(in crate::server) fn cost(&self) -> Cost {
        let nanos = u64::try_from(self.period.as_nanos()).unwrap_or(u64::MAX).max(NANOS_PER_MILLI);
        Cost { nanos, burst_nanos: nanos.saturating_mul(u64::from(self.burst.max(1))) }
    }
}

/// A cost in time: how long a bucket takes to earn it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Cost {
    /// Time that earns the cost of this request.
    pub(in crate::server) nanos: u64,
    /// Time that an empty bucket takes to be full.
    pub(in crate::server) burst_nanos: u64,
}

/// A bucket, as the instant at which it is full again. The key is known by its hash, of 64 bits under a secret: two keys
/// that collide share a bucket, and nobody can make them collide.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    key_hash: u64,
    full_at_nanos: u64,
}

/// The buckets of all keys of one kind.
#[derive(Debug)]
pub(in crate::server) struct Limiter {
    buckets: Vec<Bucket>,
    table: Table,
    /// Where the next request looks for buckets that are full again.
    hand: usize,
    entries_max: usize,
}

impl Limiter {
    pub(in crate::server) fn new() -> Self {
        Self { buckets: Vec::new(), table: Table::new(), hand: 0, entries_max: LIMITER_ENTRIES_MAX }
    }

    /// Takes a cost from the bucket of a key.
    ///
    /// # Errors
    /// The time until the bucket has enough, if it has not; nothing is taken.
    pub(in crate::server) fn take(&mut self, now: Time, key_hash: u64, cost: Cost) -> Result<(), Duration> {
        self.check(now, key_hash, cost)?;
        self.charge(now, key_hash, cost.nanos);
        Ok(())
    }

    /// Whether the bucket of a key has enough. A cost above all that a bucket holds passes if the bucket is full.
    ///
    /// # Errors
    /// The time until it has.
    pub(in crate::server) fn check(&self, now: Time, key_hash: u64, cost: Cost) -> Result<(), Duration> {
        let now = nanos(now);
        let Some(number) = self.find(key_hash) else { return Ok(()) };
        let full_at = self.buckets[number as usize].full_at_nanos;
        let excess = full_at.saturating_add(cost.nanos).saturating_sub(now.saturating_add(cost.burst_nanos));
        match excess.min(full_at.saturating_sub(now)) {
            0 => Ok(()),
            wait => Err(Duration::from_nanos(wait)),
        }
    }

    /// Takes a cost from the bucket of a key, whether it has enough or not.
    pub(in crate::server) fn charge(&mut self, now: Time, key_hash: u64, cost_nanos: u64) {
        let now = nanos(now);
        self.sweep(now);
        if cost_nanos == 0 {
            return;
        }
        match self.find(key_hash) {
            Some(number) => {
                let bucket = &mut self.buckets[number as usize];
                bucket.full_at_nanos = bucket.full_at_nanos.max(now).saturating_add(cost_nanos);
            }
            None => {
                if self.buckets.len() >= self.entries_max {
                    self.evict();
                }
                let number = self.buckets.len() as u32;
                self.buckets.push(Bucket { key_hash, full_at_nanos: now.saturating_add(cost_nanos) });
                let buckets = &self.buckets;
                self.table.insert(key_hash, number, |number| buckets[number as usize].key_hash);
            }
        }
    }

    /// Buckets in use.
    #[cfg(test)]
    pub(in crate::server) fn len(&self) -> usize {
        self.buckets.len()
    }

    fn find(&self, key_hash: u64) -> Option<u32> {
        self.table.find(key_hash, |number| self.buckets[number as usize].key_hash == key_hash)
    }

    /// Forgets buckets that are full again, a bounded number at a time.
    fn sweep(&mut self, now_nanos: u64) {
        for _ in 0..SWEPT_PER_REQUEST.min(self.buckets.len()) {
            if self.hand >= self.buckets.len() {
                self.hand = 0;
            }
            match self.buckets.get(self.hand) {
                Some(bucket) if bucket.full_at_nanos <= now_nanos => self.remove(self.hand),
                _ => self.hand += 1,
            }
        }
    }

    /// Forgets the fullest of some buckets. Its key has a full one at its next request, so those that owe most stay.
    fn evict(&mut self) {
        let len = self.buckets.len();
        let candidates = (0..EVICTION_CANDIDATES.min(len)).map(|step| (self.hand + step) % len);
        if let Some(fullest) = candidates.min_by_key(|&at| self.buckets[at].full_at_nanos) {
            self.hand = (self.hand + EVICTION_CANDIDATES) % len;
            self.remove(fullest);
        }
    }

    fn remove(&mut self, at: usize) {
        let removed = self.buckets.swap_remove(at);
        self.table.remove(removed.key_hash, |number| number as usize == at);
        if let Some(moved) = self.buckets.get(at) {
            let was_at = self.buckets.len();
            self.table.replace(moved.key_hash, |number| number as usize == was_at, at as u32);
        }
        if self.buckets.is_empty() {
            // Memory of a rush is given back.
            self.buckets = Vec::new();
        }
    }
}

fn nanos(time: Time) -> u64 {
    time.as_unix_millis().saturating_mul(NANOS_PER_MILLI)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::hash::Keys;

    const RATE: Rate = Rate { burst: 3, period: Duration::from_secs(10) };

    fn at(secs: u64) -> Time {
        Time::from_unix_millis(1_700_000_000_000 + secs * 1_000)
    }

    fn take(limiter: &mut Limiter, secs: u64, key: u32) -> Result<(), Duration> {
        limiter.take(at(secs), Keys::new([1; 16]).number(key), RATE.cost())
    }

    #[test]
    fn a_burst_passes_and_then_one_for_each_period() {
        let mut limiter = Limiter::new();
        for _ in 0..3 {
            assert_eq!(take(&mut limiter, 0, 1), Ok(()));
        }
        assert_eq!(take(&mut limiter, 0, 1), Err(Duration::from_secs(10)));
        assert_eq!(take(&mut limiter, 4, 1), Err(Duration::from_secs(6)));
        assert_eq!(take(&mut limiter, 10, 1), Ok(()));
        assert_eq!(take(&mut limiter, 10, 1), Err(Duration::from_secs(10)));
        assert_eq!(take(&mut limiter, 10, 2), Ok(()), "another key has a bucket of its own");
    }

    #[test]
    fn a_refused_request_costs_nothing() {
        let mut limiter = Limiter::new();
        for _ in 0..3 {
            assert!(take(&mut limiter, 0, 1).is_ok());
        }
        for _ in 0..1_000 {
            assert!(take(&mut limiter, 1, 1).is_err());
        }
        assert!(take(&mut limiter, 10, 1).is_ok());
    }

    #[test]
    fn no_steady_flow_exceeds_the_rate() {
        let mut limiter = Limiter::new();
        let passed = (0..1_000).filter(|second| take(&mut limiter, *second, 1).is_ok()).count();
        assert!((100..=103).contains(&passed), "{passed} in 1000 s");
    }

    #[test]
    fn a_cost_above_the_burst_passes_when_the_bucket_is_full() {
        let mut limiter = Limiter::new();
        let dear = Cost { nanos: 5_000_000_000, burst_nanos: 1_000_000_000 };
        assert_eq!(limiter.take(at(0), 7, dear), Ok(()));
        assert_eq!(limiter.take(at(0), 7, dear), Err(Duration::from_secs(5)));
        assert_eq!(limiter.take(at(4), 7, dear), Err(Duration::from_secs(1)));
        assert_eq!(limiter.take(at(5), 7, dear), Ok(()));
    }

    #[test]
    fn many_keys_neither_grow_the_buckets_nor_shut_a_newcomer_out() {
        let mut limiter = Limiter { entries_max: 100, ..Limiter::new() };
        // One that owes all it may.
        for _ in 0..3 {
            assert!(take(&mut limiter, 0, u32::MAX).is_ok());
        }
        for key in 0..10_000 {
            assert_eq!(take(&mut limiter, 0, key), Ok(()), "a newcomer never pays for the others");
            assert!(limiter.len() <= 100);
        }
        assert!(take(&mut limiter, 0, u32::MAX).is_err(), "who owes most is remembered");
    }

    #[test]
    fn buckets_are_forgotten_when_they_are_full_again() {
        let mut limiter = Limiter::new();
        for key in 0..1_000 {
            assert!(take(&mut limiter, 0, key).is_ok());
        }
        assert_eq!(limiter.len(), 1_000);
        for request in 1..=1_000 {
            assert!(take(&mut limiter, request * 10, u32::MAX).is_ok());
        }
        assert_eq!(limiter.len(), 1);
    }
}
