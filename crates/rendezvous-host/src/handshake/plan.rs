//! Which handshakes are in flight, which goes when there are too many, and which begins next.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use rendezvous_core::server::Origin;
use tokio::time::Instant;

/// Handshakes begun within this time count when the origin that begins the next one is chosen.
const MEMORY: Duration = Duration::from_secs(1);

/// Identifies a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct HandshakeId(u64);

/// Handshakes in flight, those that wait for their turn among them.
#[derive(Debug)]
pub(super) struct Plan {
    in_flight_max: usize,
    per_second_max: u32,
    /// By age.
    in_flight: BTreeMap<HandshakeId, Origin>,
    of_origin: HashMap<Origin, OfOrigin>,
    /// Handshakes that may begin, in thousandths.
    tokens: u64,
    refilled: Instant,
    next_id: u64,
}

#[derive(Debug, Default)]
struct OfOrigin {
    in_flight: usize,
    /// Those that wait for their turn, the oldest first.
    waiting: VecDeque<HandshakeId>,
    /// Those that have begun since `since`, and in the [`MEMORY`] before it.
    begun: u32,
    begun_before: u32,
    since: Option<Instant>,
}

impl OfOrigin {
    fn begun(&mut self, now: Instant) -> u32 {
        let since = *self.since.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= 2 * MEMORY {
            (self.begun_before, self.begun, self.since) = (0, 0, Some(now));
        } else if elapsed >= MEMORY {
            (self.begun_before, self.begun, self.since) = (self.begun, 0, Some(now));
        }
        self.begun + self.begun_before
    }
}

/// What to do about handshakes that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// This one begins.
    Begin(HandshakeId),
    /// None may begin before so long.
    Wait(Duration),
    /// None waits.
    Idle,
}

impl Plan {
    /// `in_flight_max` and `per_second_max` are at least one. Up to half a second's handshakes may begin at once.
    pub(super) fn new(now: Instant, in_flight_max: usize, per_second_max: u32) -> Self {
        let per_second_max = per_second_max.max(1);
        Self {
            in_flight_max: in_flight_max.max(1),
            per_second_max,
            in_flight: BTreeMap::new(),
            of_origin: HashMap::new(),
            tokens: Self::burst(per_second_max),
            refilled: now,
            next_id: 0,
        }
    }

    fn burst(per_second_max: u32) -> u64 {
        (u64::from(per_second_max) * 500).max(1_000)
    }

    /// A handshake arrives, and waits for its turn. Returns the one that must go for it if all places are taken.
    pub(super) fn arrive(&mut self, origin: Origin) -> (HandshakeId, Option<HandshakeId>) {
        let id = HandshakeId(self.next_id);
        self.next_id += 1;
        self.in_flight.insert(id, origin);
        let entry = self.of_origin.entry(origin).or_default();
        entry.in_flight += 1;
        entry.waiting.push_back(id);
        let evicted = (self.in_flight.len() > self.in_flight_max).then(|| self.victim(id)).flatten();
        if let Some(evicted) = evicted {
            self.leave(evicted);
        }
        (id, evicted)
    }

    /// The oldest handshake of the origin with the most of them; among origins with one each, the oldest of all. The
    /// newcomer itself is spared, and so are exempt ones while others have more than one.
    fn victim(&self, newcomer: HandshakeId) -> Option<HandshakeId> {
        let counted = self.of_origin.iter().filter(|(origin, _)| **origin != Origin::Exempt);
        let largest = counted.max_by_key(|(_, entry)| entry.in_flight).filter(|(_, entry)| entry.in_flight > 1);
        let oldest_of = |wanted: Option<Origin>| {
            let mut ids = self
                .in_flight
                .iter()
                .filter(|&(&id, origin)| id != newcomer && wanted.is_none_or(|wanted| wanted == *origin));
            ids.next().map(|(&id, _)| id)
        };
        largest.and_then(|(&origin, _)| oldest_of(Some(origin))).or_else(|| oldest_of(None))
    }

    /// A handshake has ended, or was given up. One that is not in flight is ignored.
    pub(super) fn leave(&mut self, id: HandshakeId) {
        let Some(origin) = self.in_flight.remove(&id) else { return };
        if let Some(entry) = self.of_origin.get_mut(&origin) {
            entry.in_flight -= 1;
            entry.waiting.retain(|&waiting| waiting != id);
        }
    }

    /// The next handshake to begin: the oldest of the origin that has begun the fewest of late.
    pub(super) fn next_turn(&mut self, now: Instant) -> Turn {
        self.forget(now);
        self.refill(now);
        let waiting = self.of_origin.values_mut().filter(|entry| !entry.waiting.is_empty());
        let weighed = waiting.map(|entry| ((entry.begun(now), entry.waiting.front().copied()), entry));
        let Some((_, entry)) = weighed.min_by_key(|(weight, _)| *weight) else { return Turn::Idle };
        if self.tokens < 1_000 {
            let missing = 1_000 - self.tokens;
            return Turn::Wait(Duration::from_millis(missing.div_ceil(u64::from(self.per_second_max)).max(1)));
        }
        self.tokens -= 1_000;
        entry.begun += 1;
        entry.waiting.pop_front().map_or(Turn::Idle, Turn::Begin)
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.refilled);
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return;
        }
        // Thousandths of a handshake in a millisecond are as many as handshakes in a second.
        let tokens = self.tokens.saturating_add(millis.saturating_mul(u64::from(self.per_second_max)));
        self.tokens = tokens.min(Self::burst(self.per_second_max));
        self.refilled += Duration::from_millis(millis);
    }

    /// Drops origins of which nothing is in flight and nothing remembered, so that they are bounded by the handshakes in
    /// flight and by those begun in twice [`MEMORY`].
    fn forget(&mut self, now: Instant) {
        let kept_max = 2 * self.in_flight_max + 4 * self.per_second_max as usize;
        if self.of_origin.len() > kept_max {
            self.of_origin.retain(|_, entry| entry.in_flight > 0 || entry.begun(now) > 0);
        }
    }

    /// Handshakes of an origin that wait for their turn.
    pub(super) fn waiting_of(&self, origin: &Origin) -> usize {
        self.of_origin.get(origin).map_or(0, |entry| entry.waiting.len())
    }

    /// Handshakes in flight.
    pub(super) fn len(&self) -> usize {
        self.in_flight.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rendezvous_core::server::IpPrefix;

    use super::*;

    fn origin(number: u8) -> Origin {
        match number {
            0 => Origin::Unlocated,
            255 => Origin::Exempt,
            number => Origin::Prefix(IpPrefix::V4([127, 0, number])),
        }
    }

    #[test]
    fn when_all_places_are_taken_the_oldest_of_the_largest_prefix_goes() {
        let mut plan = Plan::new(Instant::now(), 4, 100);
        let (first, _) = plan.arrive(origin(1));
        let (second, _) = plan.arrive(origin(2));
        plan.arrive(origin(2));
        plan.arrive(origin(2));
        assert_eq!(plan.arrive(origin(3)).1, Some(second));
        assert_eq!(plan.len(), 4);
        // The largest pays for itself too.
        assert!(plan.arrive(origin(2)).1.is_some_and(|evicted| evicted != first));
    }

    #[test]
    fn among_prefixes_with_one_handshake_each_the_oldest_goes() {
        let mut plan = Plan::new(Instant::now(), 3, 100);
        let (first, _) = plan.arrive(origin(1));
        plan.arrive(origin(2));
        plan.arrive(origin(3));
        assert_eq!(plan.arrive(origin(4)).1, Some(first));
    }

    #[test]
    fn an_exempt_network_pays_only_when_nobody_else_has_two() {
        let mut plan = Plan::new(Instant::now(), 4, 100);
        let (exempt, _) = plan.arrive(origin(255));
        plan.arrive(origin(255));
        let (of_two, _) = plan.arrive(origin(2));
        plan.arrive(origin(2));
        assert_eq!(plan.arrive(origin(255)).1, Some(of_two));
        assert_eq!(plan.arrive(origin(255)).1, Some(exempt));
    }

    #[test]
    fn the_prefix_that_has_begun_the_fewest_is_next() {
        let now = Instant::now();
        let mut plan = Plan::new(now, 100, 10);
        for _ in 0..20 {
            plan.arrive(origin(1));
        }
        for _ in 0..5 {
            assert!(matches!(plan.next_turn(now), Turn::Begin(_)));
        }
        assert_eq!(plan.next_turn(now), Turn::Wait(Duration::from_millis(100)));
        let (newcomer, _) = plan.arrive(origin(2));
        assert_eq!(plan.next_turn(now + Duration::from_millis(100)), Turn::Begin(newcomer));
        assert!(matches!(plan.next_turn(now + Duration::from_millis(200)), Turn::Begin(_)));
    }

    #[test]
    fn what_has_ended_waits_no_longer_and_leaves_nothing() {
        let now = Instant::now();
        let mut plan = Plan::new(now, 100, 10);
        let (id, _) = plan.arrive(origin(1));
        plan.leave(id);
        plan.leave(id);
        assert_eq!((plan.next_turn(now), plan.len()), (Turn::Idle, 0));
    }

    proptest! {
        #[test]
        fn handshakes_and_origins_stay_within_their_bounds(
            steps in prop::collection::vec((any::<u8>(), 0_u64..50, any::<prop::sample::Index>(), any::<bool>()), 0..400),
        ) {
            let (in_flight_max, per_second_max) = (8, 20);
            let start = Instant::now();
            let mut now = start;
            let mut plan = Plan::new(now, in_flight_max, per_second_max);
            let mut ids = Vec::new();
            let mut begun = 0_u128;
            for (number, millis, index, leaves) in steps {
                now += Duration::from_millis(millis);
                let (id, evicted) = plan.arrive(origin(number));
                ids.push(id);
                prop_assert_ne!(evicted, Some(id));
                prop_assert!(plan.len() <= in_flight_max);
                if leaves {
                    plan.leave(ids[index.index(ids.len())]);
                }
                if let Turn::Begin(id) = plan.next_turn(now) {
                    begun += 1;
                    prop_assert!(plan.in_flight.contains_key(&id));
                }
                let allowed = 10 + (now - start).as_millis() * u128::from(per_second_max) / 1_000;
                prop_assert!(begun <= allowed, "{} begun where {} are allowed", begun, allowed);
                prop_assert!(plan.of_origin.len() <= 2 * in_flight_max + 4 * per_second_max as usize + 1);
            }
            ids.iter().for_each(|&id| plan.leave(id));
            prop_assert_eq!(plan.len(), 0);
            prop_assert!(plan.of_origin.values().all(|entry| entry.in_flight == 0 && entry.waiting.is_empty()));
        }
    }
}
