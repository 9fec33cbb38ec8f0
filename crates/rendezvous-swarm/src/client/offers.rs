//! How many addresses that strangers chose are handed to the swarm.

use rendezvous_core::Time;

/// Bounds of what is offered of discovered peers. Each address is one that somebody unknown has chosen, and that others
/// may be made to dial.
///
/// What is withheld is not lost: it stays with [`Behaviour::addresses_of`](super::Behaviour::addresses_of), and a dial in
/// the next second finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferLimits {
    /// Most addresses of one peer, the first of its record. Default: 8.
    pub per_peer_max: usize,
    /// Most addresses per second that are reported to the swarm and its other behaviours. Default: 1000.
    pub announced_per_sec_max: u32,
    /// Most addresses per second, over all peers, that dials by peer id are given. Those of points that the application
    /// has named are not counted. Default: 500.
    pub dialled_per_sec_max: u32,
}

impl Default for OfferLimits {
    fn default() -> Self {
        Self { per_peer_max: 8, announced_per_sec_max: 1_000, dialled_per_sec_max: 500 }
    }
}

/// What was offered and what was not, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfferStats {
    /// Addresses reported to the swarm.
    pub announced: u64,
    /// Addresses that were not.
    pub announcements_withheld: u64,
    /// Addresses given to dials.
    pub dialled: u64,
    /// Addresses that were not.
    pub dials_withheld: u64,
}

/// A bucket that holds what may be offered in one second, and is filled within one.
#[derive(Debug)]
pub(super) struct Bucket {
    per_sec: u64,
    /// Thousandths of an address.
    level: u64,
    filled_at: Time,
}

impl Bucket {
    pub(super) fn new(now: Time, per_sec: u32) -> Self {
        let per_sec = u64::from(per_sec);
        Self { per_sec, level: per_sec * 1_000, filled_at: now }
    }

    /// Takes room for as many of these as there is room for.
    pub(super) fn take(&mut self, now: Time, wanted: usize) -> usize {
        let millis = u64::try_from(now.saturating_since(self.filled_at).as_millis()).unwrap_or(u64::MAX);
        let filled = self.level.saturating_add(millis.saturating_mul(self.per_sec));
        self.level = filled.min(self.per_sec * 1_000);
        self.filled_at = self.filled_at.max(now);
        let given = usize::try_from(self.level / 1_000).unwrap_or(usize::MAX).min(wanted);
        self.level -= given as u64 * 1_000;
        given
    }
}

/// The two buckets and their counters.
#[derive(Debug)]
pub(super) struct Offers {
    limits: OfferLimits,
    announcements: Bucket,
    dials: Bucket,
    stats: OfferStats,
}

impl Offers {
    pub(super) fn new(now: Time, limits: OfferLimits) -> Self {
        Self {
            announcements: Bucket::new(now, limits.announced_per_sec_max),
            dials: Bucket::new(now, limits.dialled_per_sec_max),
            limits,
            stats: OfferStats::default(),
        }
    }

    pub(super) fn stats(&self) -> OfferStats {
        self.stats
    }

    /// How many of a peer's addresses may be reported.
    pub(super) fn announce(&mut self, now: Time, addresses: usize) -> usize {
        let given = self.announcements.take(now, addresses.min(self.limits.per_peer_max));
        self.stats.announced += given as u64;
        self.stats.announcements_withheld += (addresses - given) as u64;
        given
    }

    /// How many of a peer's addresses a dial may be given.
    pub(super) fn dial(&mut self, now: Time, addresses: usize) -> usize {
        let given = self.dials.take(now, addresses.min(self.limits.per_peer_max));
        self.stats.dialled += given as u64;
        self.stats.dials_withheld += (addresses - given) as u64;
        given
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Time = Time::from_unix_millis(1_700_000_000_000);

    #[test]
    fn no_second_has_more_than_its_share_whatever_is_wanted() {
        let mut bucket = Bucket::new(NOW, 10);
        assert_eq!((bucket.take(NOW, 7), bucket.take(NOW, 7), bucket.take(NOW, 7)), (7, 3, 0));
        assert_eq!(bucket.take(NOW + Duration::from_millis(100), 7), 1);
        assert_eq!(bucket.take(NOW, 7), 0, "an earlier instant gives nothing");
        assert_eq!(bucket.take(NOW + Duration::from_secs(3_600), 100), 10, "nor does patience");
        assert_eq!(Bucket::new(NOW, 0).take(NOW + Duration::from_secs(9), 1), 0);
    }

    #[test]
    fn what_is_withheld_is_counted() {
        let limits = OfferLimits { per_peer_max: 4, announced_per_sec_max: 6, dialled_per_sec_max: 5 };
        let mut offers = Offers::new(NOW, limits);
        assert_eq!([offers.announce(NOW, 10), offers.announce(NOW, 3)], [4, 2]);
        assert_eq!([offers.dial(NOW, 2), offers.dial(NOW, 9)], [2, 3]);
        let stats = OfferStats { announced: 6, announcements_withheld: 7, dialled: 5, dials_withheld: 6 };
        assert_eq!(offers.stats(), stats);
    }
}
