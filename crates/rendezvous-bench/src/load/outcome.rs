//! What came of a load.

use std::time::Duration;

/// What came of a number of requests.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Requests sent, failed ones included.
    pub requests: u64,
    /// Requests that were not answered, or not as they should be.
    pub errors: u64,
    /// What was wrong with the first of these.
    pub first_error: Option<String>,
    /// Registrations in the answers.
    pub registrations: u64,
    /// Time from the first request to the last answer.
    pub elapsed: Duration,
    latencies: Vec<Duration>,
}

impl Outcome {
    pub(super) fn answered(&mut self, latency: Duration, registrations: u64) {
        self.requests += 1;
        self.registrations += registrations;
        self.latencies.push(latency);
    }

    pub(super) fn failed(&mut self, error: impl ToString) {
        self.requests += 1;
        self.errors += 1;
        self.first_error.get_or_insert_with(|| error.to_string());
    }

    /// Adds what another client has got at the same time, or the same clients later: [`Self::elapsed`] is left alone.
    pub(super) fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.registrations += other.registrations;
        self.latencies.extend(other.latencies);
    }

    /// Requests answered in a second.
    #[must_use]
    pub fn answers_per_sec(&self) -> f64 {
        (self.requests - self.errors) as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The latency that this share of the answers, such as 0.99, does not pass; zero if there are none.
    #[must_use]
    pub fn latency(&self, share: f64) -> Duration {
        let mut latencies = self.latencies.clone();
        latencies.sort_unstable();
        let rank = (latencies.len() as f64 * share).ceil() as usize;
        latencies.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let mut outcome = Outcome::default();
        assert_eq!(outcome.latency(0.5), Duration::ZERO);
        for millis in (1..=100).rev() {
            outcome.answered(Duration::from_millis(millis), 0);
        }
        assert_eq!(outcome.latency(0.5), Duration::from_millis(50));
        assert_eq!(outcome.latency(0.99), Duration::from_millis(99));
        assert_eq!(outcome.latency(1.0), Duration::from_millis(100));
    }

    #[test]
    fn the_first_error_is_kept() {
        let mut outcome = Outcome::default();
        outcome.failed("first");
        outcome.failed("second");
        outcome.merge(Outcome::default());
        assert_eq!((outcome.requests, outcome.errors, outcome.first_error.as_deref()), (2, 2, Some("first")));
    }
}
