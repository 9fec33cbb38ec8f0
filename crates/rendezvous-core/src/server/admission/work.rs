//! How much of the processor's time requests may take: token buckets of microseconds.

use core::time::Duration;

use libp2p_identity::PeerId;

use super::{
    limiter::{Cost, Limiter},
    origin::Origin,
    share::Block,
};
use crate::{Time, server::hash::Keys};

/// A token bucket of work: requests that cost `burst` together may come at once, and `per_sec` more each second.
///
/// Work is estimated, in microseconds of one core: REGISTER 20 and the verification of its signature
/// ([`Envelope::verify_micros`](rendezvous_record::Envelope::verify_micros)), DISCOVER 15 and half a microsecond for each
/// registration on the page (two where it is rewritten as a `PeerInfo`), UNREGISTER 15 and 5 for each name, anything else
/// 15. A request that costs more than a whole bucket passes when the bucket is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkRate {
    /// Work that may come at once.
    pub burst: Duration,
    /// Work that each second earns; at least a microsecond.
    pub per_sec: Duration,
}

/// Default work of one peer: a second at once, and a tenth of a core.
///
/// At once it may read the whole of a point with the default total, a thousand pages of a thousand registrations, twice
/// over, or register four thousand times by ECDSA; a client with a hundred requests at once needs at most 50 ms. Then 200
/// full pages or 2,000 registrations of the usual kind each second.
pub const WORK_PER_PEER: WorkRate = WorkRate { burst: Duration::from_secs(1), per_sec: Duration::from_millis(100) };

/// Default work of one IP prefix: two seconds at once, and a quarter of a core.
///
/// The peers behind a carrier's NAT, 5,000 with two names each, each name registered and polled once a minute, take 13 ms a
/// second with pages of ten, and 95 with pages of a thousand.
pub const WORK_PER_PREFIX: WorkRate = WorkRate { burst: Duration::from_secs(2), per_sec: Duration::from_millis(250) };

/// Default work of all together above which the largest prefixes get less: 0.6 of a core, so that what the connections cost
/// has its time too.
pub const WORK_MAX_PER_SEC: Duration = Duration::from_millis(600);

/// How often the rate of a prefix follows the work of all.
const WINDOW_MILLIS: u64 = 250;

/// The rate of a prefix falls no lower: 20 registrations a second.
const LEVEL_MIN_MICROS: u64 = 1_000;

/// The burst of a prefix falls no lower: a client with a hundred requests at once passes.
const BURST_MIN_MICROS: u64 = 20_000;

/// Each window in which there is room, the rate of a prefix grows by one part in so many.
const RISE_DIVISOR: u64 = 8;

const NANOS_PER_SEC: u64 = 1_000_000_000;
const MICROS_PER_SEC: u64 = 1_000_000;

/// Whose bucket refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum WorkLimit {
    Peer,
    Prefix,
    /// The bucket of a prefix, which is smaller for the moment because of the work of all.
    Total,
}

/// The work of peers and prefixes.
///
/// The rate of a prefix has a *level*. While all requests together cost more than the total, it falls in proportion to the
/// excess, and rises again slowly while they cost less. It settles where the prefixes above it share what those below it
/// leave, so whoever needs less than that pays nothing for the others.
#[derive(Debug)]
pub(in crate::server) struct WorkLimiter {
    per_peer: Option<WorkRate>,
    per_prefix: Option<WorkRate>,
    max_per_sec: Option<Duration>,
    by_peer: Limiter,
    by_block: Limiter,
    keys: Keys,
    /// Microseconds of work that each second earns a prefix at present.
    level: u64,
    window_start: Time,
    window_micros: u64,
}

impl WorkLimiter {
    pub(in crate::server) fn new(
        per_peer: Option<WorkRate>,
        per_prefix: Option<WorkRate>,
        max_per_sec: Option<Duration>,
        keys: Keys,
    ) -> Self {
        Self {
            per_peer,
            per_prefix,
            max_per_sec,
            by_peer: Limiter::new(),
            by_block: Limiter::new(),
            keys,
            level: per_prefix.map_or(0, |rate| micros(rate.per_sec)),
            window_start: Time::from_unix_millis(0),
            window_micros: 0,
        }
    }

    /// Whether a request of so much work may be done. It is to be charged then.
    ///
    /// # Errors
    /// Whose bucket is empty, and the time until it has enough.
    pub(in crate::server) fn check(
        &mut self,
        now: Time,
        peer: &PeerId,
        origin: Origin,
        work_micros: u32,
    ) -> Result<(), (WorkLimit, Duration)> {
        self.follow(now);
        if let Some(rate) = self.per_peer {
            let cost = cost(work_micros, micros(rate.per_sec), rate, 1);
            let checked = self.by_peer.check(now, self.peer_hash(peer), cost);
            checked.map_err(|retry_after| (WorkLimit::Peer, retry_after))?;
        }
        if let Some(rate) = self.per_prefix {
            let limit = if self.level < micros(rate.per_sec) { WorkLimit::Total } else { WorkLimit::Prefix };
            for block in Block::of(origin).into_iter().flat_map(Block::with_wider) {
                let cost = cost(work_micros, self.level, rate, block.shares() as u64);
                let checked = self.by_block.check(now, self.block_hash(block), cost);
                checked.map_err(|retry_after| (limit, retry_after))?;
            }
        }
        Ok(())
    }

    /// Takes work from the buckets, whether they have enough or not.
    pub(in crate::server) fn charge(&mut self, now: Time, peer: &PeerId, origin: Origin, work_micros: u32) {
        self.follow(now);
        self.window_micros = self.window_micros.saturating_add(work_micros.into());
        if let Some(rate) = self.per_peer {
            let cost = cost(work_micros, micros(rate.per_sec), rate, 1);
            self.by_peer.charge(now, self.peer_hash(peer), cost.nanos);
        }
        if let Some(rate) = self.per_prefix {
            for block in Block::of(origin).into_iter().flat_map(Block::with_wider) {
                let cost = cost(work_micros, self.level, rate, block.shares() as u64);
                self.by_block.charge(now, self.block_hash(block), cost.nanos);
            }
        }
    }

    /// Takes work from the bucket of a peer alone.
    pub(in crate::server) fn charge_peer(&mut self, now: Time, peer: &PeerId, work_micros: u32) {
        self.window_micros = self.window_micros.saturating_add(work_micros.into());
        if let Some(rate) = self.per_peer {
            let cost = cost(work_micros, micros(rate.per_sec), rate, 1);
            self.by_peer.charge(now, self.peer_hash(peer), cost.nanos);
        }
    }

    /// Brings the level to what the work of the last window asks for.
    fn follow(&mut self, now: Time) {
        let (Some(rate), Some(max_per_sec)) = (self.per_prefix, self.max_per_sec) else { return };
        let elapsed = u64::try_from(now.saturating_since(self.window_start).as_millis()).unwrap_or(u64::MAX);
        if elapsed < WINDOW_MILLIS {
            return;
        }
        let full = micros(rate.per_sec);
        let per_sec = self.window_micros.saturating_mul(1_000) / elapsed;
        let max = micros(max_per_sec);
        let level = if per_sec > max {
            u64::try_from(u128::from(self.level) * u128::from(max) / u128::from(per_sec)).unwrap_or(full)
        } else {
            // Windows that have passed without a request count as well.
            let windows = (elapsed / WINDOW_MILLIS).min(64);
            (0..windows).fold(self.level, |level, _| level.saturating_add(level / RISE_DIVISOR + 1).min(full))
        };
        self.level = level.clamp(LEVEL_MIN_MICROS.min(full), full);
        (self.window_start, self.window_micros) = (now, 0);
    }

    fn peer_hash(&self, peer: &PeerId) -> u64 {
        core::hash::BuildHasher::hash_one(&self.keys, peer)
    }

    fn block_hash(&self, block: Block) -> u64 {
        core::hash::BuildHasher::hash_one(&self.keys, block)
    }
}

/// The cost of work for a bucket that earns so much in a second, times a number of shares.
///
/// An empty bucket takes the same time to be full at every level: so its burst falls with the level, but a bucket that was
/// empty before the level fell is not shut for longer than one that was not.
fn cost(work_micros: u32, per_sec_micros: u64, rate: WorkRate, shares: u64) -> Cost {
    let nanos_per_micro = (NANOS_PER_SEC / per_sec_micros.max(1)).div_ceil(shares).max(1);
    let burst_micros = micros(rate.burst);
    let refill_nanos = u128::from(burst_micros) * u128::from(NANOS_PER_SEC) / u128::from(micros(rate.per_sec));
    let least_nanos = burst_micros.min(BURST_MIN_MICROS).saturating_mul(nanos_per_micro);
    Cost {
        nanos: u64::from(work_micros).saturating_mul(nanos_per_micro),
        burst_nanos: u64::try_from(refill_nanos).unwrap_or(u64::MAX).max(least_nanos),
    }
}

/// At least one microsecond.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).clamp(1, 1_000 * MICROS_PER_SEC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::IpPrefix;

    const START: u64 = 1_700_000_000_000;

    fn at(millis: u64) -> Time {
        Time::from_unix_millis(START + millis)
    }

    fn limiter() -> WorkLimiter {
        WorkLimiter::new(Some(WORK_PER_PEER), Some(WORK_PER_PREFIX), Some(WORK_MAX_PER_SEC), Keys::new([1; 16]))
    }

    fn network(number: u32) -> Origin {
        Origin::Prefix(IpPrefix::V4([10, (number >> 8) as u8, number as u8]))
    }

    /// A request, done if it may be.
    fn ask(limiter: &mut WorkLimiter, millis: u64, peer: &PeerId, origin: Origin, work_micros: u32) -> bool {
        let passes = limiter.check(at(millis), peer, origin, work_micros).is_ok();
        if passes {
            limiter.charge(at(millis), peer, origin, work_micros);
        }
        passes
    }

    /// Seconds until the bursts of the networks are used up.
    const SETTLING_SECS: u64 = 20;

    /// Work done for each of some networks that ask for as much as they can, with fresh keys, in so many seconds once their
    /// bursts are used up; and how often a modest client of another network was refused. The point has one core.
    fn flood(limiter: &mut WorkLimiter, networks: u32, secs: u64) -> (Vec<u64>, usize) {
        let modest = PeerId::random();
        let (mut done, mut refused) = (vec![0; networks as usize], 0);
        for millis in (0..(SETTLING_SECS + secs) * 1_000).step_by(10) {
            let (mut asking, mut micros_left): (Vec<u32>, i64) = ((0..networks).collect(), 10_000);
            while !asking.is_empty() && micros_left > 0 {
                asking.retain(|&number| {
                    let passes = ask(limiter, millis, &PeerId::random(), network(number), 50);
                    micros_left -= if passes { 50 } else { 0 };
                    done[number as usize] += if passes && millis >= SETTLING_SECS * 1_000 { 50 } else { 0 };
                    passes
                });
            }
            // Two full pages a second.
            if millis.is_multiple_of(500) {
                refused += usize::from(!ask(limiter, millis, &modest, network(60_000), 500));
            }
        }
        (done, refused)
    }

    #[test]
    fn one_network_cannot_take_more_than_its_quarter_of_a_core() {
        let (done, refused) = flood(&mut limiter(), 1, 10);
        assert_eq!(refused, 0);
        assert!((2_400_000..2_600_000).contains(&done[0]), "{done:?} of 2,500,000");
    }

    #[test]
    fn many_networks_share_the_total_and_whoever_asks_for_little_does_not_pay() {
        for networks in [16, 200] {
            let (done, refused) = flood(&mut limiter(), networks, 10);
            assert_eq!(refused, 0, "beside {networks} networks");
            let all: u64 = done.iter().sum();
            assert!((4_000_000..8_000_000).contains(&all), "{all} of 6,000,000 by {networks}");
            let (least, most) = (done.iter().min().expect("one"), done.iter().max().expect("one"));
            assert!(most <= &(least * 2), "{least} to {most}");
        }
    }

    #[test]
    fn a_large_nat_that_polls_full_pages_is_never_refused() {
        let mut limiter = limiter();
        let peers: Vec<_> = (0..5_000).map(|_| PeerId::random()).collect();
        // 5,000 peers with two names each: 167 registrations and 167 pages of a thousand in a second, for ten minutes.
        for request in 0..100_000 {
            let (millis, peer) = (request * 6, &peers[request as usize % peers.len()]);
            assert!(ask(&mut limiter, millis, peer, network(1), 50), "after {millis} ms");
            assert!(ask(&mut limiter, millis, peer, network(1), 515), "after {millis} ms");
        }
    }

    #[test]
    fn the_rate_of_a_network_comes_back_when_the_others_stop() {
        let mut limiter = limiter();
        flood(&mut limiter, 100, 5);
        assert!(limiter.level < 25_000, "{}", limiter.level);
        limiter.follow(at(120_000));
        assert_eq!(limiter.level, 250_000);
    }

    #[test]
    fn many_keys_of_one_network_share_its_bucket_and_one_peer_has_less() {
        let mut limiter = limiter();
        let peer = PeerId::random();
        let by_one = (0..100_000).take_while(|_| ask(&mut limiter, 0, &peer, network(1), 50)).count();
        assert_eq!(by_one, 20_000, "a second of work");
        let by_others = (0..100_000).take_while(|_| ask(&mut limiter, 0, &PeerId::random(), network(1), 50)).count();
        assert_eq!(by_others, 20_000, "the rest of two seconds");
        assert!(ask(&mut limiter, 0, &PeerId::random(), network(2), 50));
        assert!(ask(&mut limiter, 0, &PeerId::random(), Origin::Exempt, 50));
        assert!(limiter.check(at(0), &PeerId::random(), network(1), 50).is_err());
    }

    #[test]
    fn who_owns_an_ipv6_32_has_the_work_of_five_prefixes() {
        let mut limiter = limiter();
        let mut done = 0_u64;
        for number in 0..=u16::MAX {
            let [high, low] = number.to_be_bytes();
            let origin = Origin::Prefix(IpPrefix::V6([0x20, 1, 0xd, 0xb8, high, low, 0]));
            let asks = (0..10).take_while(|_| ask(&mut limiter, 0, &PeerId::random(), origin, 100)).count();
            done += asks as u64 * 100;
        }
        assert_eq!(done, 10_000_000, "five times two seconds");
    }
}
