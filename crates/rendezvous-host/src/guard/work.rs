//! Token buckets in units of CPU time, and the valve that sets their rates.
//!
//! Whatever a peer sends is charged by its cost. A bucket in debt is not read from until it is refilled, so that TCP pushes
//! back. While all connections together stay within their total, nobody waits: the rates are far above what an honest
//! client needs. Above it, the valve lowers the rate of a *connection* first, which reaches the heaviest connections
//! and nobody else, and with it the rate of an IP prefix, down to a floor that a large network of light clients stays within.

use std::time::Duration;

use tokio::time::Instant;

/// Millionths: a rate of one second of work in a second is a million.
const MILLION: u64 = 1_000_000;

/// How often the valve is moved.
const VALVE_INTERVAL: Duration = Duration::from_millis(100);

/// The rates that are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    /// Microseconds of work in a second, for a connection.
    pub(crate) connection: u64,
    /// The same for an origin.
    pub(crate) origin: u64,
}

/// A token bucket. A charge may leave it in debt, since a cost is known only after the work is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    /// Nanoseconds of work that may be done at once; below zero is debt.
    level_nanos: i64,
    updated: Instant,
}

impl Bucket {
    /// A full bucket. It holds half a second of the rate.
    pub(crate) fn full(now: Instant, rate: u64) -> Self {
        Self { level_nanos: Self::burst_nanos(rate), updated: now }
    }

    fn burst_nanos(rate: u64) -> i64 {
        i64::try_from(rate.saturating_mul(500)).unwrap_or(i64::MAX)
    }

    fn refill(&mut self, now: Instant, rate: u64) {
        let elapsed = now.saturating_duration_since(self.updated);
        let nanos = elapsed.as_nanos().saturating_mul(u128::from(rate)) / u128::from(MILLION);
        let nanos = i64::try_from(nanos).unwrap_or(i64::MAX);
        self.level_nanos = self.level_nanos.saturating_add(nanos).min(Self::burst_nanos(rate));
        self.updated = self.updated.max(now);
    }

    /// Takes the cost of work that was done.
    pub(crate) fn charge(&mut self, now: Instant, rate: u64, work: Duration) {
        self.refill(now, rate);
        let nanos = i64::try_from(work.as_nanos()).unwrap_or(i64::MAX);
        self.level_nanos = self.level_nanos.saturating_sub(nanos);
    }

    /// The time until the bucket is out of debt; zero if it is not in debt.
    pub(crate) fn wait(&mut self, now: Instant, rate: u64) -> Duration {
        self.refill(now, rate);
        let debt = u64::try_from(-self.level_nanos.min(0)).unwrap_or(u64::MAX);
        Duration::from_nanos(debt.saturating_mul(MILLION).div_ceil(rate.max(1)))
    }

    /// Whether the bucket is as full as it can be, so that a new one would be its equal.
    pub(crate) fn is_full(&mut self, now: Instant, rate: u64) -> bool {
        self.refill(now, rate);
        self.level_nanos >= Self::burst_nanos(rate)
    }
}

/// Sets the rates by the work that all connections together cause.
#[derive(Debug)]
pub(crate) struct Valve {
    /// Microseconds of work in a second for all connections together.
    total: u64,
    connection_floor: u64,
    origin_floor: u64,
    /// The share of the total that one connection may take, in millionths.
    squeeze: u64,
    window_start: Instant,
    window_work: Duration,
}

/// The rate of an origin is so many times that of a connection.
const ORIGIN_TO_CONNECTION: u64 = 8;

/// No connection is slowed below this share of the total: one request in a second, at least.
const CONNECTION_FLOOR: u64 = 2_000;

/// No origin is slowed below this share of the total: 5,000 light clients behind one address cause a tenth of it.
const ORIGIN_FLOOR: u64 = 5;

impl Valve {
    pub(crate) fn new(now: Instant, total: Duration) -> Self {
        let total = u64::try_from(total.as_micros()).unwrap_or(u64::MAX).max(1);
        Self {
            total,
            connection_floor: (total / CONNECTION_FLOOR).max(1),
            origin_floor: (total / ORIGIN_FLOOR).max(1),
            squeeze: MILLION,
            window_start: now,
            window_work: Duration::ZERO,
        }
    }

    pub(crate) fn rates(&self) -> Rates {
        let connection = (self.total.saturating_mul(self.squeeze) / MILLION).max(self.connection_floor);
        let origin = connection.saturating_mul(ORIGIN_TO_CONNECTION).clamp(self.origin_floor, self.total);
        Rates { connection, origin }
    }

    /// Whether any connection may be slowed that would not be without the load of others.
    pub(crate) fn is_squeezing(&self) -> bool {
        self.squeeze < MILLION
    }

    /// Takes note of work that was done, and moves the valve when its interval is over. `true` if the rates have changed.
    pub(crate) fn charge(&mut self, now: Instant, work: Duration) -> bool {
        self.window_work = self.window_work.saturating_add(work);
        let elapsed = now.saturating_duration_since(self.window_start);
        if elapsed < VALVE_INTERVAL {
            return false;
        }
        let before = self.squeeze;
        let allowed = elapsed.as_nanos().saturating_mul(u128::from(self.total)) / u128::from(MILLION);
        let used = self.window_work.as_nanos().max(1);
        if used > allowed {
            // Straight to where the same connections would cause what is allowed, and at most to a quarter at a time.
            let fitting = u128::from(self.squeeze) * allowed / used;
            self.squeeze = u64::try_from(fitting).unwrap_or(MILLION).max(self.squeeze / 4).max(1);
        } else if used * 10 < allowed * 9 {
            // Intervals without a charge count as well.
            let intervals = (elapsed.as_millis() / VALVE_INTERVAL.as_millis()).clamp(1, 64);
            for _ in 0..intervals {
                self.squeeze = (self.squeeze + self.squeeze / 8 + 1).min(MILLION);
            }
        }
        self.window_start = now;
        self.window_work = Duration::ZERO;
        self.squeeze != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn a_bucket_in_debt_waits_until_its_rate_has_paid() {
        let start = Instant::now();
        let rate = MILLION / 10;
        let mut bucket = Bucket::full(start, rate);
        bucket.charge(start, rate, 50 * MILLI);
        assert_eq!(bucket.wait(start, rate), Duration::ZERO, "half a second of the rate is there at once");
        bucket.charge(start, rate, 10 * MILLI);
        assert_eq!(bucket.wait(start, rate), 100 * MILLI);
        assert_eq!(bucket.wait(start + 60 * MILLI, rate), 40 * MILLI);
        assert_eq!(bucket.wait(start + 100 * MILLI, rate), Duration::ZERO);
        assert!(!bucket.is_full(start + 599 * MILLI, rate));
        assert!(bucket.is_full(start + 600 * MILLI, rate));
    }

    #[test]
    fn no_charge_and_no_time_overflows_a_bucket() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start, u64::MAX);
        bucket.charge(start, u64::MAX, Duration::MAX);
        bucket.charge(start, 1, Duration::MAX);
        assert!(bucket.wait(start, 0) > Duration::from_secs(1_000_000));
        bucket.charge(start + Duration::from_secs(1 << 30), u64::MAX, Duration::ZERO);
    }

    /// Connections that do as much work as they are allowed, or less if they want less; returns the work that each does
    /// in the last second.
    fn simulate(valve: &mut Valve, wanted_micros: &[u64]) -> Vec<u64> {
        let mut now = Instant::now();
        let mut buckets = vec![Bucket::full(now, valve.rates().connection); wanted_micros.len()];
        let mut last_second = Vec::new();
        for _ in 0..20 {
            last_second = vec![0; wanted_micros.len()];
            for _ in 0..1_000 {
                now += MILLI;
                for (index, bucket) in buckets.iter_mut().enumerate() {
                    let rates = valve.rates();
                    if bucket.wait(now, rates.connection) > Duration::ZERO {
                        continue;
                    }
                    let work = Duration::from_nanos(wanted_micros[index]);
                    bucket.charge(now, rates.connection, work);
                    valve.charge(now, work);
                    last_second[index] += wanted_micros[index];
                }
            }
        }
        last_second.iter().map(|nanos| nanos / 1_000).collect()
    }

    #[test]
    fn below_the_total_nobody_is_slowed() {
        let start = Instant::now();
        let mut valve = Valve::new(start, 600 * MILLI);
        // Microseconds of work that each wants in a second, written as nanoseconds in a millisecond.
        let done = simulate(&mut valve, &[300_000, 200_000, 1_000]);
        assert_eq!(done, [300_000, 200_000, 1_000]);
        assert!(!valve.is_squeezing());
    }

    #[test]
    fn above_the_total_the_heavy_are_slowed_and_the_light_are_not() {
        let start = Instant::now();
        let mut valve = Valve::new(start, 600 * MILLI);
        let mut wanted = vec![100_000; 40];
        wanted.extend([500; 50]);
        let done = simulate(&mut valve, &wanted);
        assert!(done[40..].iter().all(|&light| light == 500), "{done:?}");
        let total: u64 = done.iter().sum();
        assert!((300_000..750_000).contains(&total), "{total} µs of work where 600,000 are allowed");
        assert!(valve.is_squeezing());
    }

    #[test]
    fn the_valve_opens_again_after_the_load() {
        let start = Instant::now();
        let mut valve = Valve::new(start, 600 * MILLI);
        simulate(&mut valve, &[1_000_000; 100]);
        assert!(valve.is_squeezing());
        let later = Instant::now() + Duration::from_secs(3_600);
        valve.charge(later, Duration::ZERO);
        valve.charge(later + Duration::from_secs(60), Duration::ZERO);
        assert!(!valve.is_squeezing());
    }

    #[test]
    fn a_network_of_light_clients_is_not_slowed_below_its_floor() {
        let start = Instant::now();
        let mut valve = Valve::new(start, 600 * MILLI);
        let mut now = start;
        for _ in 0..1_000 {
            now += VALVE_INTERVAL;
            valve.charge(now, Duration::from_secs(10));
        }
        assert_eq!(valve.rates(), Rates { connection: 300, origin: 120_000 });
    }
}
