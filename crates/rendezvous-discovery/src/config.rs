//! Settings of the manager, and the bounds that are no settings.

use core::time::Duration;
use std::time::Instant;

use libp2p_identity::PeerId;

/// Most addresses that are kept of what one source tells of a peer; the first ones count.
pub const ADDRESSES_MAX: usize = 32;

/// Longest address that is kept, in bytes. One through a relay with certificates in it takes some 300.
pub const ADDRESS_BYTES_MAX: usize = 1_024;

/// Longest time that a peer is believed in without being told again: the longest lifetime of a registration.
pub const TTL_MAX: Duration = Duration::from_secs(259_200);

/// Shortest time between two requests, and two advertisements, of one source and name.
pub const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Longest wait that a timer is set for: a longer one is never over.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The end of a wait that begins now. Settings may be as long as [`Duration::MAX`], which no clock can express.
pub(crate) fn after(now: Instant, wait: Duration) -> Instant {
    now + wait.min(WAIT_MAX)
}

/// Settings of a [`DiscoveryManager`](crate::DiscoveryManager).
///
/// ```
/// use rendezvous_discovery::Config;
///
/// let config = Config { listings_per_source_max: 1_000, ..Config::default() };
/// assert_eq!(config.local_peer, None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This peer, which is never found. Default: none is left out.
    pub local_peer: Option<PeerId>,
    /// Most (peer, name) that are kept of what one source tells. What is there stays until its time ends; beyond the bound, what
    /// is new is not taken, and counted in [`Stats::refused`](crate::Stats). Sources do not take each other's room.
    /// Default: 20 000.
    pub listings_per_source_max: usize,
    /// How long what was found is kept when nobody looks for it any more. Default: one minute.
    pub cache_max_age: Duration,
    /// Longest wait for the answers to a [`refresh`](crate::DiscoveryManager::refresh). Default: 30 s.
    pub refresh_timeout: Duration,
    /// Longest wait for withdrawals in a [`stop`](crate::DiscoveryManager::stop). Default: 5 s.
    pub stop_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            local_peer: None,
            listings_per_source_max: 20_000,
            cache_max_age: Duration::from_secs(60),
            refresh_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(5),
        }
    }
}
