//! When to do things again. All of it is jittered, so that clients of one point do not move in step.

use core::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rendezvous_wire::Ttl;

use super::config::{ClientConfig, LOOKUP_EVERY_MAX, LOOKUP_EVERY_MIN, REQUEST_TIMEOUT_MIN, RETRY_MIN};

/// Part of the remaining lifetime that one try, and the wait after it, may take each: so that from the refresh at the
/// latest, an eighth of a minute before the end, several tries fit.
const PARTS_OF_REMAINING: u32 = 4;

/// The lifetime to reckon with: what the point granted, or, where it named none, what was asked for; at most 72 h.
pub(super) fn granted(answered: Ttl, requested: Ttl) -> Ttl {
    Ttl::from_wire(Some(answered.as_secs())).unwrap_or(requested).min(Ttl::RECOMMENDED_MAX)
}

/// The lifetime to ask for: 1 s to 72 h.
pub(super) fn requested(ttl: Option<Ttl>) -> Ttl {
    ttl.and_then(|ttl| Ttl::from_wire(Some(ttl.as_secs()))).unwrap_or(Ttl::DEFAULT).min(Ttl::RECOMMENDED_MAX)
}

/// Time from a REGISTER to its refresh: uniform in 3/4 to 7/8 of the lifetime.
pub(super) fn refresh_after(granted: Ttl, rng: &mut ChaCha8Rng) -> Duration {
    let eighth_millis = granted.as_secs().saturating_mul(1_000) / 8;
    Duration::from_millis(rng.random_range(eighth_millis * 6..=eighth_millis * 7))
}

/// Time from a failed try to the next.
///
/// Without a lifetime remaining it is the [`backoff`]. With one: its ceiling is at most a quarter of what remains, so that
/// tries come closer together towards the end, and the wait is uniform between half of the ceiling and the ceiling.
pub(super) fn retry_after(
    config: &ClientConfig,
    remaining: Option<Duration>,
    tries: u32,
    rng: &mut ChaCha8Rng,
) -> Duration {
    let Some(remaining) = remaining else { return backoff(config, tries, rng) };
    let ceiling = backoff_ceiling(config, tries).min(remaining / PARTS_OF_REMAINING);
    between(ceiling / 2, ceiling, rng)
}

/// Time for which something is left alone after so many failures: uniform between the shortest back-off and a ceiling
/// that doubles with every failure up to the longest.
pub(super) fn backoff(config: &ClientConfig, failures: u32, rng: &mut ChaCha8Rng) -> Duration {
    between(config.backoff_min, backoff_ceiling(config, failures), rng)
}

/// Time for which lookups leave a point alone whose listing reached a limit, after so many before: uniform between the
/// shortest one and a ceiling that doubles.
pub(super) fn listing_backoff(config: &ClientConfig, cuts: u32, rng: &mut ChaCha8Rng) -> Duration {
    let (min, max) = (config.listing_backoff_min, config.listing_backoff_max);
    between(min, doubled(min, max, cuts), rng)
}

/// Time from one poll to the next: uniform in 7/8 to 9/8 of what is asked for.
pub(super) fn pace(every: Duration, rng: &mut ChaCha8Rng) -> Duration {
    let every = every.clamp(LOOKUP_EVERY_MIN, LOOKUP_EVERY_MAX);
    draw(every / 8 * 7, every / 8 * 9, rng)
}

fn backoff_ceiling(config: &ClientConfig, failures: u32) -> Duration {
    doubled(config.backoff_min, config.backoff_max, failures)
}

fn doubled(min: Duration, max: Duration, failures: u32) -> Duration {
    min.saturating_mul(2_u32.saturating_pow(failures.saturating_add(1))).min(max.max(min))
}

/// A wait before another try.
fn between(floor: Duration, ceiling: Duration, rng: &mut ChaCha8Rng) -> Duration {
    let floor = floor.max(RETRY_MIN);
    draw(floor, ceiling.max(floor), rng)
}

fn draw(floor: Duration, ceiling: Duration, rng: &mut ChaCha8Rng) -> Duration {
    Duration::from_millis(rng.random_range(millis(floor)..=millis(ceiling)))
}

/// Time that a request has, given what remains of the lifetime that it is to renew.
pub(super) fn timeout(config: &ClientConfig, remaining: Option<Duration>) -> Duration {
    let timeout = match remaining {
        Some(remaining) => config.request_timeout.min((remaining / PARTS_OF_REMAINING).max(REQUEST_TIMEOUT_MIN)),
        None => config.request_timeout,
    };
    timeout.max(Duration::from_millis(1))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
