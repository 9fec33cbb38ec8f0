//! When to do things again. All of it is jittered, so that clients of one point do not move in step.

use core::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rendezvous_wire::Ttl;

use super::config::{ClientConfig, REQUEST_TIMEOUT_MIN, RETRY_MIN};

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
/// Without a lifetime remaining: uniform between the shortest back-off and a ceiling that doubles with every try up to
/// the longest. With one: the ceiling is at most a quarter of what remains, so that tries come closer together towards
/// the end, and the wait is uniform between half of the ceiling and the ceiling.
pub(super) fn retry_after(
    config: &ClientConfig,
    remaining: Option<Duration>,
    tries: u32,
    rng: &mut ChaCha8Rng,
) -> Duration {
    let longest = config.backoff_max.max(config.backoff_min);
    let ceiling = config.backoff_min.saturating_mul(2_u32.saturating_pow(tries.saturating_add(1))).min(longest);
    let (floor, ceiling) = match remaining {
        Some(remaining) => {
            let ceiling = ceiling.min(remaining / PARTS_OF_REMAINING);
            (ceiling / 2, ceiling)
        }
        None => (config.backoff_min, ceiling),
    };
    let (floor, ceiling) = (floor.max(RETRY_MIN), ceiling.max(RETRY_MIN));
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
