//! What all connections share, with a share for each origin.
//!
//! Streams, bytes of pages, bytes of buffered requests, and streams in negotiation are bounded in total. Each connection joins
//! the [`Bucket`] of its [`Origin`], and each stream has a [`Slot`] that holds what the stream has of each resource.
//!
//! The share of a bucket is the total divided by the number of buckets that hold any of it, the requester's included, plus
//! one. So when the total is used up, some bucket is above its share: a requester within its share always finds somebody
//! to pay. Taking and giving back touch atomics alone; locks are taken when a stream or connection opens or ends, and
//! when somebody has to pay.

use std::{
    collections::{HashMap, hash_map::Entry},
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicIsize, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
};

use futures::task::AtomicWaker;
use rendezvous_core::server::Origin;

/// Resources that are bounded over all connections.
const RESOURCES: usize = 4;

/// Streams that are closed together where idle ones have to go: so that many newcomers cost one search.
const EVICTED_TOGETHER: usize = 256;

/// What all connections share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// Streams in flight.
    Streams,
    /// Bytes of answers to DISCOVER, from the lookup until they are written.
    PageBytes,
    /// Bytes of requests that are not complete, or wait for their turn.
    RequestBytes,
    /// Streams whose protocol is being negotiated. The swarm accepts them; above the total, connections are closed.
    Negotiations,
}

/// The totals, and the buckets of all connections.
#[derive(Debug)]
pub(super) struct Budgets {
    totals: [Total; RESOURCES],
    /// The buckets that have members.
    buckets: Mutex<HashMap<Origin, Arc<Bucket>>>,
    /// Orders what happens to streams in time: the longest idle one has the lowest number.
    sequence: AtomicU64,
    /// Streams that may still open under pressure before idle ones are searched for again.
    opens_until_search: AtomicUsize,
    /// Streams evicted since the start.
    pub(super) evicted: AtomicU64,
}

#[derive(Debug)]
struct Total {
    used: AtomicUsize,
    max: usize,
    /// Buckets that hold some of it and have a share. It may be off by one while two threads cross, in either direction.
    holders: AtomicIsize,
}

/// What the connections of one origin hold together.
#[derive(Debug)]
pub(super) struct Bucket {
    origin: Origin,
    held: [AtomicUsize; RESOURCES],
    /// Connections and streams of this origin; changed under the lock of [`Budgets::buckets`].
    members: AtomicUsize,
    slots: Mutex<Vec<Arc<State>>>,
}

/// A connection's membership in its bucket.
#[derive(Debug)]
pub(super) struct Member {
    budgets: Arc<Budgets>,
    bucket: Arc<Bucket>,
}

/// The place of one stream. What it holds is given back when it is dropped, or when the stream is evicted.
#[derive(Debug)]
pub(super) struct Slot {
    member: Arc<Member>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the stream holds. Whoever takes an amount out of here gives it back: the stream itself, or who evicts it.
    held: [AtomicUsize; RESOURCES],
    /// Number in [`Budgets::sequence`] of the last change, times two, plus one while the stream is busy.
    since: AtomicU64,
    is_evicted: AtomicBool,
    waker: AtomicWaker,
    /// Index in [`Bucket::slots`]; used under its lock.
    index: AtomicUsize,
}

/// Why nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exceeded {
    /// The total is used up and the requester is above its share of it.
    Share,
    /// The total is used up, and nobody is above the share that the requester is within.
    Total,
}

impl Budgets {
    pub(super) fn new(
        streams_max: usize,
        page_bytes_max: usize,
        request_bytes_max: usize,
        negotiations_max: usize,
    ) -> Self {
        let total = |max| Total { used: AtomicUsize::new(0), max, holders: AtomicIsize::new(0) };
        Self {
            totals: [total(streams_max), total(page_bytes_max), total(request_bytes_max), total(negotiations_max)],
            buckets: Mutex::default(),
            sequence: AtomicU64::new(0),
            opens_until_search: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// Joins the bucket of an origin, with one connection.
    pub(super) fn join(self: &Arc<Self>, origin: Origin) -> Arc<Member> {
        let mut buckets = locked(&self.buckets);
        let bucket = buckets.entry(origin).or_insert_with(|| {
            let members = AtomicUsize::new(0);
            Arc::new(Bucket { origin, held: Default::default(), members, slots: Mutex::default() })
        });
        bucket.members.fetch_add(1, Relaxed);
        Arc::new(Member { budgets: self.clone(), bucket: bucket.clone() })
    }

    /// How much of a resource is taken.
    pub(super) fn used(&self, resource: Resource) -> usize {
        self.total(resource).used.load(Relaxed)
    }

    /// Origins that are connected.
    #[cfg(test)]
    pub(super) fn origins(&self) -> usize {
        locked(&self.buckets).len()
    }

    fn total(&self, resource: Resource) -> &Total {
        &self.totals[resource as usize]
    }

    /// What is taken of a resource above its total, down to an eighth below it.
    pub(super) fn excess(&self, resource: Resource) -> usize {
        let (used, max) = (self.used(resource), self.total(resource).max);
        if used > max { used - (max - max / 8) } else { 0 }
    }

    /// Adds to the total, unless it would be above `max`.
    fn try_add(&self, bucket: &Bucket, resource: Resource, amount: usize, max: usize) -> bool {
        let total = self.total(resource);
        // The numbers alone are shared, so that no order with other memory is needed, here and below.
        let add = |used: usize| used.checked_add(amount).filter(|&used| used <= max.min(total.max));
        if total.used.fetch_update(Relaxed, Relaxed, add).is_err() {
            return false;
        }
        self.count(bucket, resource, amount);
        true
    }

    /// Counts what was added to the total for its bucket.
    fn count(&self, bucket: &Bucket, resource: Resource, amount: usize) {
        let total = self.total(resource);
        let before = bucket.held[resource as usize].fetch_add(amount, Relaxed);
        if before == 0 && amount > 0 && bucket.origin != Origin::Exempt {
            total.holders.fetch_add(1, Relaxed);
        }
    }

    fn give_back(&self, bucket: &Bucket, resource: Resource, amount: usize) {
        if amount == 0 {
            return;
        }
        let total = self.total(resource);
        let before = bucket.held[resource as usize].fetch_sub(amount, Relaxed);
        if before == amount && bucket.origin != Origin::Exempt {
            total.holders.fetch_sub(1, Relaxed);
        }
        total.used.fetch_sub(amount, Relaxed);
    }

    /// The share of each bucket, if this one is among those that hold some.
    fn share(&self, bucket: &Bucket, resource: Resource) -> usize {
        let total = self.total(resource);
        let holders = usize::try_from(total.holders.load(Relaxed)).unwrap_or(0);
        let is_new = bucket.held(resource) == 0 && bucket.origin != Origin::Exempt;
        (total.max / (holders + usize::from(is_new) + 1)).max(1)
    }

    /// Whether a bucket would be within its share with this amount more.
    fn is_within_share(&self, bucket: &Bucket, resource: Resource, amount: usize) -> bool {
        bucket.origin == Origin::Exempt || bucket.held(resource).saturating_add(amount) <= self.share(bucket, resource)
    }

    /// Takes an amount, for which others are evicted if the requester is within its share.
    fn take(&self, bucket: &Bucket, resource: Resource, amount: usize) -> Result<(), Exceeded> {
        let max = self.total(resource).max;
        if self.try_add(bucket, resource, amount, max) {
            return Ok(());
        }
        if !self.is_within_share(bucket, resource, amount) {
            return Err(Exceeded::Share);
        }
        // Another thread may take what was made free, though not for ever: each time somebody above the share has paid.
        for _ in 0..3 {
            if !self.reclaim(bucket, resource, amount) {
                break;
            }
            if self.try_add(bucket, resource, amount, max) {
                return Ok(());
            }
        }
        Err(Exceeded::Total)
    }

    /// Above three quarters of all streams, closes idle ones of the buckets that are above their share, the longest idle
    /// first, until the total is a sixteenth below that.
    fn relieve(&self, bucket: &Bucket) {
        let total = self.total(Resource::Streams);
        let pressure = total.max - total.max / 4;
        if total.used.load(Relaxed) < pressure {
            return;
        }
        let count_down = |left: usize| left.checked_sub(1);
        if self.opens_until_search.fetch_update(Relaxed, Relaxed, count_down).is_ok() {
            return;
        }
        self.opens_until_search.store(total.max / EVICTED_TOGETHER, Relaxed);
        let excess = (total.used.load(Relaxed) + 1).saturating_sub(pressure - total.max / 16);
        let share = self.share(bucket, Resource::Streams);
        let buckets = locked(&self.buckets);
        self.evict_level(&buckets, Resource::Streams, share, excess, true);
    }

    /// Makes an amount free at the cost of the largest holders above the share; `false` if there is none.
    fn reclaim(&self, bucket: &Bucket, resource: Resource, amount: usize) -> bool {
        let share = self.share(bucket, resource);
        let buckets = locked(&self.buckets);
        let together = if resource == Resource::Streams { self.total(resource).max / EVICTED_TOGETHER } else { 0 };
        let mut freed = self.evict_level(&buckets, resource, share, amount.max(together), true);
        if freed < amount {
            freed += self.evict_level(&buckets, resource, share, amount - freed, false);
        }
        if freed < amount
            && let Some(exempt) = buckets.get(&Origin::Exempt)
        {
            // Without a share of their own, the exempt networks pay last, and with idle streams alone.
            freed += self.evict_of(exempt, resource, amount - freed, true);
        }
        freed > 0
    }

    /// Evicts streams until this amount is free, from the buckets that hold most: each is brought down to the level that
    /// all of them reach together, and none below the share.
    fn evict_level(
        &self,
        buckets: &HashMap<Origin, Arc<Bucket>>,
        resource: Resource,
        share: usize,
        amount: usize,
        is_idle: bool,
    ) -> usize {
        let is_above = |bucket: &&Arc<Bucket>| bucket.origin != Origin::Exempt && bucket.held(resource) > share;
        let mut above: Vec<_> =
            buckets.values().filter(is_above).map(|bucket| (bucket.held(resource), bucket)).collect();
        above.sort_unstable_by_key(|(held, bucket)| (std::cmp::Reverse(*held), bucket.origin));
        let mut freed = 0;
        for count in 1..=above.len() {
            // The level to which the largest `count` come down together.
            let next = above.get(count).map_or(share, |(held, _)| *held);
            let largest: usize = above[..count].iter().map(|(held, _)| held - next).sum();
            if largest < amount && count < above.len() {
                continue;
            }
            for (held, bucket) in &above[..count] {
                if freed >= amount {
                    break;
                }
                freed += self.evict_of(bucket, resource, (held - next).min(amount - freed), is_idle);
            }
            break;
        }
        freed
    }

    /// Evicts streams of one bucket that hold some of a resource, until this amount is free: those that are idle, or the
    /// others, and of these the ones that have been so for longest.
    fn evict_of(&self, bucket: &Bucket, resource: Resource, amount: usize, is_idle: bool) -> usize {
        if amount == 0 {
            return 0;
        }
        let mut candidates: Vec<(u64, Arc<State>)> = {
            let slots = locked(&bucket.slots);
            let of_state = |state: &&Arc<State>| {
                state.held[resource as usize].load(Relaxed) > 0
                    && state.is_idle() == is_idle
                    && !state.is_evicted.load(Relaxed)
            };
            slots.iter().filter(of_state).map(|state| (state.since.load(Relaxed), state.clone())).collect()
        };
        candidates.sort_unstable_by_key(|(since, _)| *since);
        let mut freed = 0;
        for (_, state) in candidates {
            if freed >= amount {
                break;
            }
            freed += state.held[resource as usize].load(Relaxed);
            state.is_evicted.store(true, Relaxed);
            state.give_back_all(self, bucket);
            state.waker.wake();
            self.evicted.fetch_add(1, Relaxed);
        }
        freed
    }
}

impl Bucket {
    fn held(&self, resource: Resource) -> usize {
        self.held[resource as usize].load(Relaxed)
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.since.load(Relaxed) & 1 == 0
    }

    fn give_back_all(&self, budgets: &Budgets, bucket: &Bucket) {
        for resource in [Resource::Streams, Resource::PageBytes, Resource::RequestBytes] {
            budgets.give_back(bucket, resource, self.held[resource as usize].swap(0, Relaxed));
        }
    }
}

impl Member {
    pub(super) fn origin(&self) -> Origin {
        self.bucket.origin
    }

    /// One more stream is in negotiation, which the swarm has accepted. Returns `true` if they are more than the total.
    pub(super) fn begin_negotiation(&self) -> bool {
        let total = self.budgets.total(Resource::Negotiations);
        let used = total.used.fetch_add(1, Relaxed) + 1;
        self.budgets.count(&self.bucket, Resource::Negotiations, 1);
        used > total.max
    }

    pub(super) fn end_negotiation(&self) {
        self.budgets.give_back(&self.bucket, Resource::Negotiations, 1);
    }

    /// What the connections of this origin hold of a resource above their share.
    pub(super) fn above_share(&self, resource: Resource) -> usize {
        if self.bucket.origin == Origin::Exempt {
            return 0;
        }
        self.bucket.held(resource).saturating_sub(self.budgets.share(&self.bucket, resource))
    }

    /// A place for one more stream, which begins idle.
    ///
    /// # Errors
    /// [`Exceeded`] if the streams in total are used up, and the requester's bucket is the one to pay.
    pub(super) fn open(self: &Arc<Self>) -> Result<Slot, Exceeded> {
        let (budgets, bucket) = (&self.budgets, &self.bucket);
        budgets.relieve(bucket);
        budgets.take(bucket, Resource::Streams, 1)?;
        let state = Arc::new(State::default());
        state.held[Resource::Streams as usize].store(1, Relaxed);
        let slot = Slot { member: self.clone(), state };
        slot.mark(false);
        let mut slots = locked(&bucket.slots);
        slot.state.index.store(slots.len(), Relaxed);
        slots.push(slot.state.clone());
        drop(slots);
        Ok(slot)
    }
}

impl Slot {
    /// The stream has begun a request, or is idle again.
    pub(super) fn mark(&self, is_busy: bool) {
        let number = self.member.budgets.sequence.fetch_add(1, Relaxed);
        self.state.since.store(number << 1 | u64::from(is_busy), Relaxed);
    }

    /// Takes what is missing to this amount.
    ///
    /// # Errors
    /// [`Exceeded`] if it is not there, and the requester's bucket is the one to pay.
    pub(super) fn grow_to(&self, resource: Resource, amount: usize) -> Result<(), Exceeded> {
        let held = &self.state.held[resource as usize];
        let missing = amount.saturating_sub(held.load(Relaxed));
        if missing > 0 {
            self.member.budgets.take(&self.member.bucket, resource, missing)?;
            held.fetch_add(missing, Relaxed);
        }
        Ok(())
    }

    /// Gives back what is above this amount.
    pub(super) fn shrink_to(&self, resource: Resource, amount: usize) {
        let held = &self.state.held[resource as usize];
        let before = held.fetch_update(Relaxed, Relaxed, |held| Some(held.min(amount))).unwrap_or(0);
        self.member.budgets.give_back(&self.member.bucket, resource, before.saturating_sub(amount));
    }

    /// Takes room for a page of up to `wanted` bytes, and of no fewer than `least`. Returns the bytes taken.
    ///
    /// Up to half of the total a page gets what it wants. Above, it gets a sixteenth of the rest, or a 64th if its origin is
    /// above its share; and the last eighth is for those within their share.
    ///
    /// # Errors
    /// [`Exceeded`] if there is no room for `least` either.
    pub(super) fn take_page(&self, wanted: usize, least: usize) -> Result<usize, Exceeded> {
        let (budgets, bucket) = (&self.member.budgets, &self.member.bucket);
        let (resource, least) = (Resource::PageBytes, least.min(wanted));
        let max = budgets.total(resource).max;
        if budgets.try_add(bucket, resource, wanted, max / 2) {
            self.state.held[resource as usize].fetch_add(wanted, Relaxed);
            return Ok(wanted);
        }
        let free = max.saturating_sub(budgets.used(resource));
        // For one page there is always room.
        let above_share_max = if free == max { max } else { max - max / 8 };
        let granted = |part: usize| (free / part).clamp(least, wanted);
        let bytes = if budgets.is_within_share(bucket, resource, granted(16)) {
            budgets.take(bucket, resource, granted(16))?;
            granted(16)
        } else if budgets.is_within_share(bucket, resource, least) {
            budgets.take(bucket, resource, least)?;
            least
        } else if budgets.try_add(bucket, resource, granted(64), above_share_max) {
            granted(64)
        } else {
            return Err(Exceeded::Share);
        };
        self.state.held[resource as usize].fetch_add(bytes, Relaxed);
        Ok(bytes)
    }

    /// How pressing it is that pages are read, from 0 to 255: 0 up to half of the total, and for those within their share.
    pub(super) fn page_pressure(&self) -> u8 {
        let (budgets, bucket) = (&self.member.budgets, &self.member.bucket);
        let (used, max) = (budgets.used(Resource::PageBytes), budgets.total(Resource::PageBytes).max);
        let above_half = used.saturating_sub(max / 2);
        if above_half == 0 || budgets.is_within_share(bucket, Resource::PageBytes, 0) {
            return 0;
        }
        u8::try_from(above_half.saturating_mul(255) / (max - max / 2).max(1)).unwrap_or(u8::MAX)
    }

    /// What a future comes to; `None` if the stream is evicted first.
    ///
    /// The caller pins the future: as an argument it would have its place twice.
    pub(super) async fn unless_evicted<F: Future>(&self, mut future: Pin<&mut F>) -> Option<F::Output> {
        poll_fn(|cx| {
            self.state.waker.register(cx.waker());
            if self.state.is_evicted.load(Relaxed) {
                return Poll::Ready(None);
            }
            future.as_mut().poll(cx).map(Some)
        })
        .await
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let bucket = &self.member.bucket;
        let mut slots = locked(&bucket.slots);
        let index = self.state.index.load(Relaxed);
        slots.swap_remove(index);
        if let Some(moved) = slots.get(index) {
            moved.index.store(index, Relaxed);
        }
        if slots.is_empty() {
            *slots = Vec::new();
        }
        drop(slots);
        self.state.give_back_all(&self.member.budgets, bucket);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut buckets = locked(&self.budgets.buckets);
        if self.bucket.members.fetch_sub(1, Relaxed) == 1
            && let Entry::Occupied(entry) = buckets.entry(self.bucket.origin)
        {
            entry.remove();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, pin::pin};

    use futures::{FutureExt as _, future::pending};
    use proptest::prelude::*;
    use rendezvous_core::server::IpPrefix;

    use super::*;

    const ALL: [Resource; 3] = [Resource::Streams, Resource::PageBytes, Resource::RequestBytes];

    fn origin(number: u8) -> Origin {
        match number {
            0 => Origin::Unlocated,
            255 => Origin::Exempt,
            _ => Origin::Prefix(IpPrefix::of(Ipv4Addr::new(192, 0, number, 1).into())),
        }
    }

    fn budgets(streams: usize, page_bytes: usize, request_bytes: usize) -> Arc<Budgets> {
        Arc::new(Budgets::new(streams, page_bytes, request_bytes, 100))
    }

    fn is_evicted(slot: &Slot) -> bool {
        slot.unless_evicted(pin!(pending::<()>())).now_or_never().is_some()
    }

    fn open(member: &Arc<Member>, count: usize) -> Vec<Slot> {
        (0..count).map(|_| member.open().expect("room")).collect()
    }

    fn open_busy(member: &Arc<Member>) -> Slot {
        let slot = member.open().expect("room");
        slot.mark(true);
        slot
    }

    fn held(budgets: &Budgets) -> [usize; 3] {
        ALL.map(|resource| budgets.used(resource))
    }

    #[test]
    fn what_a_stream_held_is_there_again_when_it_ends_and_nothing_is_kept_of_an_origin_that_has_left() {
        let budgets = budgets(10, 1_000, 1_000);
        let member = budgets.join(origin(1));
        let slot = member.open().expect("room");
        slot.grow_to(Resource::RequestBytes, 500).expect("room");
        slot.grow_to(Resource::RequestBytes, 300).expect("it has as much");
        assert_eq!(slot.take_page(400, 40), Ok(400));
        assert_eq!(held(&budgets), [1, 400, 500]);
        slot.shrink_to(Resource::PageBytes, 100);
        slot.shrink_to(Resource::PageBytes, 200);
        assert_eq!(held(&budgets), [1, 100, 500]);
        drop(member);
        assert_eq!(budgets.origins(), 1, "its stream is there");
        drop(slot);
        assert_eq!((held(&budgets), budgets.origins()), ([0; 3], 0));
    }

    #[test]
    fn a_newcomer_gets_a_stream_from_an_origin_that_has_all_of_them_busy() {
        let budgets = budgets(100, 0, 0);
        let (large, small) = (budgets.join(origin(1)), budgets.join(origin(2)));
        let streams: Vec<_> = (0..100).map(|_| open_busy(&large)).collect();
        assert_eq!(large.open().err(), Some(Exceeded::Share));
        let newcomer = small.open().expect("a place");
        assert!(!is_evicted(&newcomer));
        let evicted: Vec<_> = streams.iter().map(is_evicted).collect();
        assert!(evicted[0], "the one that is busy for longest");
        assert_eq!(evicted.iter().filter(|evicted| **evicted).count(), 1);
        assert_eq!(budgets.used(Resource::Streams), 100);
    }

    #[test]
    fn near_the_total_the_longest_idle_streams_of_the_largest_holder_go_and_busy_ones_stay() {
        let budgets = budgets(1_600, 0, 0);
        let (large, small) = (budgets.join(origin(1)), budgets.join(origin(2)));
        let within = open(&small, 100);
        let idle = open(&large, 600);
        let busy = open(&large, 500);
        busy.iter().for_each(|slot| slot.mark(true));
        idle[0].mark(false);
        assert_eq!(budgets.used(Resource::Streams), 1_200);
        let _more = large.open().expect("a place");
        let gone: Vec<_> = idle.iter().map(is_evicted).collect();
        assert!(!gone[0], "it has been used last");
        let count = gone.iter().filter(|gone| **gone).count();
        assert_eq!(count, 101, "down to a sixteenth below three quarters");
        assert!(gone[1..=count].iter().all(|gone| *gone), "the longest idle ones");
        assert!(!busy.iter().chain(&within).any(is_evicted));
    }

    #[test]
    fn two_networks_that_hold_all_streams_idle_keep_nobody_out() {
        let max = crate::server::STREAMS_MAX;
        let budgets = budgets(max, 0, 0);
        let attackers = [1, 2].map(|number| budgets.join(origin(number)));
        let mut held = Vec::new();
        for _ in 0..max / 2 {
            attackers.iter().for_each(|attacker| held.extend(attacker.open()));
        }
        let clients: Vec<_> = (3..7).map(|number| budgets.join(origin(number))).collect();
        let mut streams = Vec::new();
        for round in 0..940 {
            let stream = clients[round % clients.len()].open().expect("a place for each request");
            stream.mark(true);
            streams.push(stream);
            // The attackers take whatever they get.
            attackers.iter().for_each(|attacker| held.extend(attacker.open()));
        }
        assert!(!streams.iter().any(is_evicted));
        assert!(budgets.used(Resource::Streams) <= max);
    }

    #[test]
    fn an_origin_within_its_share_never_pays_for_others() {
        let budgets = budgets(1_000, 0, 0);
        let nat = budgets.join(origin(1));
        let of_nat = open(&nat, 60);
        let attackers: Vec<_> = (2..12).map(|number| budgets.join(origin(number))).collect();
        let mut of_attackers = Vec::new();
        for _ in 0..1_000 {
            attackers.iter().for_each(|attacker| of_attackers.extend(attacker.open()));
        }
        // The share of each of 11, with room for a twelfth.
        assert!(!of_nat.iter().any(is_evicted));
        let more = open(&nat, 20);
        assert!(!of_nat.iter().chain(&more).any(is_evicted));
        for number in 20..30 {
            let newcomer = budgets.join(origin(number));
            let _stream = newcomer.open().expect("a place for a newcomer");
        }
    }

    #[test]
    fn exempt_connections_have_no_share_and_pay_last() {
        let budgets = budgets(100, 0, 0);
        let (exempt, other) = (budgets.join(origin(255)), budgets.join(origin(1)));
        let streams = open(&exempt, 100);
        let first = other.open().expect("a place of an idle stream");
        assert!(is_evicted(&streams[0]) && !is_evicted(&streams[1]));
        streams.iter().for_each(|slot| slot.mark(true));
        assert_eq!(other.open().err(), Some(Exceeded::Total));
        drop(streams);
        let of_other = open(&other, 99);
        let _exempt = exempt.open().expect("an exempt network is within its share");
        assert!(is_evicted(&first) || of_other.iter().any(is_evicted));
    }

    #[test]
    fn pages_shrink_when_there_is_little_room_and_an_origin_within_its_share_is_never_refused() {
        const PAGE: usize = 1_000;
        const LEAST: usize = 40;
        let budgets = budgets(10_000, 256_000, 0);
        let (large, small) = (budgets.join(origin(1)), budgets.join(origin(2)));
        let mut pages = Vec::new();
        let mut granted = Vec::new();
        let refused = loop {
            let slot = large.open().expect("a place");
            slot.mark(true);
            match slot.take_page(PAGE, LEAST) {
                Ok(bytes) => granted.push(bytes),
                Err(exceeded) => break exceeded,
            }
            pages.push(slot);
        };
        assert_eq!(refused, Exceeded::Share);
        assert!(granted.is_sorted_by(|one, next| one >= next), "they shrink as the room does");
        assert_eq!(granted[0], PAGE);
        assert!(granted[granted.len() - 1] < PAGE * 3 / 4);
        assert!(pages[0].page_pressure() > 128);
        let mut of_small = Vec::new();
        for _ in 0..200 {
            let slot = small.open().expect("a place");
            slot.mark(true);
            assert_eq!(slot.page_pressure(), 0);
            let bytes = slot.take_page(PAGE, LEAST).expect("a page");
            assert!((LEAST..=PAGE).contains(&bytes));
            of_small.push(slot);
            assert!(budgets.used(Resource::PageBytes) <= 256_000);
        }
        assert!(!of_small.iter().any(is_evicted));
    }

    #[test]
    fn threads_that_take_together_stay_within_the_totals() {
        let budgets = budgets(40, 1_000, 1_000);
        std::thread::scope(|scope| {
            for number in 0..4 {
                let budgets = &budgets;
                scope.spawn(move || {
                    let member = budgets.join(origin(number));
                    let mut slots = Vec::new();
                    for round in 0..10_000 {
                        if let Ok(slot) = member.open() {
                            slot.mark(round % 3 == 0);
                            let _ = slot.take_page(round % 100, 10);
                            let _ = slot.grow_to(Resource::RequestBytes, round % 70);
                            slot.shrink_to(Resource::PageBytes, round % 50);
                            slots.push(slot);
                        }
                        if slots.len() > 20 {
                            slots.drain(..10);
                        }
                        assert!(budgets.used(Resource::Streams) <= 40);
                        assert!(budgets.used(Resource::PageBytes) <= 1_000);
                        assert!(budgets.used(Resource::RequestBytes) <= 1_000);
                    }
                });
            }
        });
        assert_eq!((held(&budgets), budgets.origins()), ([0; 3], 0));
        assert!(ALL.iter().all(|resource| budgets.total(*resource).holders.load(Relaxed) == 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Whatever the others do, an origin within its share gets a stream, and what is held adds up.
        #[test]
        fn an_origin_within_its_share_always_gets_a_stream(
            max in 8_usize..64,
            actions in prop::collection::vec((0_u8..6, 0_u8..8, any::<prop::sample::Index>()), 1..300),
        ) {
            let budgets = budgets(max, 4_000, 4_000);
            let members: Vec<_> = (0..6).map(|number| budgets.join(origin(number))).collect();
            let mut slots: Vec<(u8, Slot)> = Vec::new();
            for (number, action, index) in actions {
                let member = &members[usize::from(number)];
                match action {
                    0..4 => {
                        let is_within = budgets.is_within_share(&member.bucket, Resource::Streams, 1);
                        match member.open() {
                            Ok(slot) => slots.push((number, slot)),
                            Err(exceeded) => {
                                prop_assert!(!is_within);
                                prop_assert_eq!(exceeded, Exceeded::Share);
                            }
                        }
                    }
                    4 if !slots.is_empty() => drop(slots.swap_remove(index.index(slots.len()))),
                    5 if !slots.is_empty() => slots[index.index(slots.len())].1.mark(true),
                    6 if !slots.is_empty() => {
                        let (number, slot) = &slots[index.index(slots.len())];
                        let bucket = &members[usize::from(*number)].bucket;
                        slot.shrink_to(Resource::PageBytes, 0);
                        slot.mark(true);
                        let is_within = budgets.is_within_share(bucket, Resource::PageBytes, 40);
                        let taken = slot.take_page(1_000, 40);
                        prop_assert!(taken.is_ok() || !is_within);
                    }
                    7 => slots.retain(|(_, slot)| !is_evicted(slot)),
                    _ => {}
                }
                for resource in ALL {
                    let sum: usize = members.iter().map(|member| member.bucket.held(resource)).sum();
                    prop_assert_eq!(sum, budgets.used(resource));
                    prop_assert!(sum <= budgets.total(resource).max);
                }
            }
            drop((slots, members));
            prop_assert_eq!((held(&budgets), budgets.origins()), ([0; 3], 0));
        }
    }
}
