//! Limits of a walk: a paged listing of one namespace at one point.

use core::time::Duration;
use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use libp2p_identity::PeerId;
use rendezvous_wire::Namespace;

use super::config::{COOKIE_REFUSALS_MAX, ClientConfig};
use crate::Time;

/// A registration counts as renewed if its end moves by at least this much. Points round lifetimes to whole seconds, so a
/// smaller move says nothing.
const RENEWAL_SECS_MIN: u64 = 2;

/// Why a walk was ended before the point's listing ended. The fault is the point's.
///
/// The registrations of a walk that was ended are a partial listing: a peer that is missing from it may be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum WalkLimit {
    /// The pages have more bytes than [`ClientConfig::walk_bytes_max`], or than
    /// [`LookupConfig::walk_bytes_max`](super::LookupConfig::walk_bytes_max) in a lookup.
    #[error("listing has more bytes than the client reads")]
    Bytes,
    /// There are more pages than [`ClientConfig::pages_per_walk_max`]. A large point may do so in good faith: this limit alone
    /// starts no back-off.
    #[error("listing has more pages than the client reads")]
    Pages,
    /// [`ClientConfig::stale_pages_max`] pages in a row had no registration that was new in the walk or renewed.
    #[error("listing repeats itself and does not end")]
    NothingNew,
    /// The walk took longer than [`ClientConfig::walk_timeout`].
    #[error("listing did not end in time")]
    Deadline,
    /// The point refused its own cookie [`COOKIE_REFUSALS_MAX`] times.
    #[error("point refuses the cookies that it gives")]
    CookieRefused,
}

impl WalkLimit {
    /// Whether the point is left alone for a while. An honest point never causes these, except for [`Self::Pages`].
    #[must_use]
    pub const fn is_misbehaviour(self) -> bool {
        !matches!(self, Self::Pages)
    }

    /// The setting of [`ClientConfig`] that moves this limit.
    #[must_use]
    pub const fn setting(self) -> &'static str {
        match self {
            Self::Bytes => "walk_bytes_max",
            Self::Pages => "pages_per_walk_max",
            Self::NothingNew => "stale_pages_max",
            Self::Deadline => "walk_timeout",
            Self::CookieRefused => "none",
        }
    }
}

/// Walks that were ended early, by limit, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CutWalks {
    /// By [`WalkLimit::Bytes`].
    pub bytes: u64,
    /// By [`WalkLimit::Pages`].
    pub pages: u64,
    /// By [`WalkLimit::NothingNew`].
    pub nothing_new: u64,
    /// By [`WalkLimit::Deadline`].
    pub deadline: u64,
    /// By [`WalkLimit::CookieRefused`].
    pub cookie_refused: u64,
}

impl CutWalks {
    pub(super) fn count(&mut self, limit: WalkLimit) {
        let counter = match limit {
            WalkLimit::Bytes => &mut self.bytes,
            WalkLimit::Pages => &mut self.pages,
            WalkLimit::NothingNew => &mut self.nothing_new,
            WalkLimit::Deadline => &mut self.deadline,
            WalkLimit::CookieRefused => &mut self.cookie_refused,
        };
        *counter = counter.saturating_add(1);
    }

    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.bytes + self.pages + self.nothing_new + self.deadline + self.cookie_refused
    }
}

/// What reading a page has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageCost {
    /// Bytes of the answer.
    pub bytes: usize,
    /// CPU time for decoding it and verifying its signatures. It is nominal, computed from counts: the same page costs the
    /// same on every machine.
    pub work: Duration,
}

/// The limits of one walk.
#[derive(Clone, Copy, Debug)]
pub(super) struct WalkBudget {
    pub(super) bytes_max: u64,
    pub(super) pages_max: u32,
    pub(super) stale_pages_max: u32,
    pub(super) timeout: Duration,
}

impl WalkBudget {
    /// The budget of a walk of the application.
    pub(super) fn new(config: &ClientConfig) -> Self {
        Self {
            bytes_max: config.walk_bytes_max,
            pages_max: config.pages_per_walk_max,
            stale_pages_max: config.stale_pages_max.max(1),
            timeout: config.walk_timeout,
        }
    }
}

/// What a walk has used so far.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    started_at: Time,
    /// Time for which this side held the walk back.
    held_back: Duration,
    bytes: u64,
    /// Pages so far, including those from before a point refused its cookie.
    pub(super) pages: u32,
    /// Pages without news, in a row.
    stale_pages: u32,
    cookie_refusals: u32,
    /// Fingerprint of each registration seen, and the Unix time in seconds at which it ends.
    seen: BTreeMap<u64, u64>,
}

impl Meter {
    pub(super) fn new(started_at: Time) -> Self {
        Self {
            started_at,
            held_back: Duration::ZERO,
            bytes: 0,
            pages: 0,
            stale_pages: 0,
            cookie_refusals: 0,
            seen: BTreeMap::new(),
        }
    }

    /// Registrations that are remembered.
    pub(super) fn seen(&self) -> usize {
        self.seen.len()
    }

    /// Counts a page with these registrations and their ends. At most `room` of them are remembered in addition to those
    /// that are; one that is not remembered counts as new, so a lack of room ends no walk.
    pub(super) fn count_page<'a>(
        &mut self,
        cost: PageCost,
        registrations: impl Iterator<Item = (&'a Namespace, PeerId, Time)>,
        mut room: usize,
    ) {
        self.pages = self.pages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(cost.bytes as u64);
        let mut has_news = false;
        for (namespace, peer, ends_at) in registrations {
            let (fingerprint, ends_secs) = (fingerprint(namespace, &peer), ends_at.as_unix_millis() / 1_000);
            match self.seen.get_mut(&fingerprint) {
                Some(known) => {
                    has_news |= ends_secs >= known.saturating_add(RENEWAL_SECS_MIN);
                    *known = ends_secs.max(*known);
                }
                None => {
                    has_news = true;
                    if room > 0 {
                        room -= 1;
                        self.seen.insert(fingerprint, ends_secs);
                    }
                }
            }
        }
        self.stale_pages = if has_news { 0 } else { self.stale_pages.saturating_add(1) };
    }

    pub(super) fn count_cookie_refusal(&mut self) {
        self.cookie_refusals = self.cookie_refusals.saturating_add(1);
    }

    /// The walk was not asked on for so long, by this side's choice.
    pub(super) fn hold_back(&mut self, wait: Duration) {
        self.held_back = self.held_back.saturating_add(wait);
    }

    /// The limit that is reached, if the walk were to go on.
    pub(super) fn limit(&self, now: Time, budget: &WalkBudget) -> Option<WalkLimit> {
        let age = now.saturating_since(self.started_at).saturating_sub(self.held_back);
        // The most telling one first: repetition says more than the pages that it took.
        if self.cookie_refusals >= COOKIE_REFUSALS_MAX {
            Some(WalkLimit::CookieRefused)
        } else if self.stale_pages >= budget.stale_pages_max {
            Some(WalkLimit::NothingNew)
        } else if self.bytes >= budget.bytes_max {
            Some(WalkLimit::Bytes)
        } else if age >= budget.timeout {
            Some(WalkLimit::Deadline)
        } else if self.pages >= budget.pages_max {
            Some(WalkLimit::Pages)
        } else {
            None
        }
    }
}

/// Eight bytes stand for a registration, since there may be a million. A point that makes two of its own collide hides one
/// of them from the count of news, and nothing else.
fn fingerprint(namespace: &Namespace, peer: &PeerId) -> u64 {
    let mut hasher = DefaultHasher::new();
    namespace.as_str().hash(&mut hasher);
    peer.hash(&mut hasher);
    hasher.finish()
}

/// CPU time that a point's answers have cost, as a leaky bucket: it drains at the point's share of one core.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WorkBucket {
    used: Duration,
    drained_at: Option<Time>,
}

impl WorkBucket {
    pub(super) fn charge(&mut self, now: Time, work: Duration, share_percent: u32) {
        self.drain(now, share_percent);
        self.used = self.used.saturating_add(work);
    }

    /// When the bucket is below its burst; `None` if it is.
    pub(super) fn ready_at(&mut self, now: Time, burst: Duration, share_percent: u32) -> Option<Time> {
        self.drain(now, share_percent);
        let excess = self.used.checked_sub(burst).filter(|excess| !excess.is_zero())?;
        // Rounded up to a millisecond, which is what `Time` counts: else the wait could end too early, again and again.
        let wait = excess.saturating_mul(100) / share_percent.clamp(1, 100) + Duration::from_millis(1);
        Some(now + wait)
    }

    fn drain(&mut self, now: Time, share_percent: u32) {
        let since = self.drained_at.map_or(Duration::ZERO, |at| now.saturating_since(at));
        self.used = self.used.saturating_sub(since.saturating_mul(share_percent.clamp(1, 100)) / 100);
        self.drained_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_unix_millis(1_700_000_000_000);

    #[test]
    fn a_point_has_its_burst_and_then_its_share_of_a_core() {
        let (mut bucket, burst) = (WorkBucket::default(), Duration::from_secs(1));
        bucket.charge(NOW, burst, 5);
        assert_eq!(bucket.ready_at(NOW, burst, 5), None);
        bucket.charge(NOW, Duration::from_millis(50), 5);
        let ready_at = bucket.ready_at(NOW, burst, 5).expect("it is over");
        assert!(ready_at >= NOW + Duration::from_secs(1) && ready_at <= NOW + Duration::from_millis(1_010));
        assert_eq!(bucket.ready_at(ready_at, burst, 5), None);
        let mut done = Duration::ZERO;
        let mut now = NOW;
        while now < NOW + Duration::from_secs(1_000) {
            match bucket.ready_at(now, burst, 5) {
                Some(at) => now = at,
                None => {
                    bucket.charge(now, Duration::from_millis(40), 5);
                    done += Duration::from_millis(40);
                }
            }
        }
        assert!(done <= Duration::from_secs(51), "{done:?} of 1000 s");
    }

    #[test]
    fn a_page_is_news_if_it_has_a_new_or_renewed_registration() {
        let (mut meter, name) = (Meter::new(NOW), Namespace::new("a").expect("a name"));
        let (a, b) = (PeerId::random(), PeerId::random());
        let mut page = |listed: &[(PeerId, u64)], room| {
            let listed = listed.iter().map(|(peer, secs)| (&name, *peer, NOW + Duration::from_secs(*secs)));
            meter.count_page(PageCost::default(), listed, room);
            meter.stale_pages
        };
        assert_eq!(page(&[(a, 60)], 9), 0);
        assert_eq!(page(&[(a, 60)], 9), 1);
        assert_eq!(page(&[(a, 61)], 9), 2, "rounded");
        assert_eq!(page(&[(a, 100)], 9), 0, "renewed");
        assert_eq!(page(&[], 9), 1);
        assert_eq!(page(&[(b, 60)], 0), 0);
        assert_eq!(page(&[(b, 60)], 0), 0, "not remembered, and so new");
    }
}
