//! Whom to dial, and when.

use core::{hash::BuildHasher, time::Duration};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet, hash_map::RandomState},
    time::Instant,
};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;

use super::{Config, Stats};
use crate::config::{self, ADDRESSES_MAX};

/// Time for which a connection has to last to be a success. A peer that turns this one away is connected for a moment, too.
const LASTING: Duration = Duration::from_secs(10);

/// Most peers whose back-off is remembered when they are known no longer.
const LEFT_ALONE_MAX: usize = 4_096;

/// Why a peer is to be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// The application keeps it.
    Kept,
    /// This query has found it.
    Found(u64),
}

/// The peers that were found, and how it stands with each.
///
/// **Invariant:** a peer that is known is connected, being dialled, or stands once in `due`.
#[derive(Debug)]
pub(super) struct Plan {
    config: Config,
    known: BTreeMap<PeerId, Known>,
    due: BTreeSet<(Instant, PeerId)>,
    dialling: BTreeSet<PeerId>,
    /// Known peers that are connected.
    connected: usize,
    /// Everybody who is connected, found or not. As many as the swarm has connections.
    all_connected: HashSet<PeerId>,
    /// Who is known no longer and was to be left alone: how often it has failed, and until when. Whoever lists a peer cannot
    /// have it dialled sooner by listing it anew.
    left_alone: BTreeMap<PeerId, (u32, Instant)>,
    /// The same, by when that ends.
    left_alone_until: BTreeSet<(Instant, PeerId)>,
    refused: u64,
    draws: u64,
    random: RandomState,
}

#[derive(Debug)]
struct Known {
    /// Why, and where it is dialled for that reason. Never empty.
    claims: BTreeMap<Claim, Vec<Multiaddr>>,
    /// Dials that failed, and connections that ended, since one has lasted for [`LASTING`].
    failures: u32,
    /// Since when it is connected.
    since: Option<Instant>,
    due: Option<Instant>,
}

impl Plan {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            known: BTreeMap::new(),
            due: BTreeSet::new(),
            dialling: BTreeSet::new(),
            connected: 0,
            all_connected: HashSet::new(),
            left_alone: BTreeMap::new(),
            left_alone_until: BTreeSet::new(),
            refused: 0,
            draws: 0,
            random: RandomState::new(),
        }
    }

    /// A peer was found, or is found elsewhere.
    pub(super) fn found(&mut self, now: Instant, claim: Claim, peer: PeerId, addresses: &[Multiaddr]) {
        if let Some(known) = self.known.get_mut(&peer) {
            known.claims.insert(claim, addresses.to_vec());
            return;
        }
        // What strangers list does not keep out whom the application names.
        if self.known.len() >= self.config.known_max && claim != Claim::Kept {
            self.refused += 1;
            return;
        }
        let claims = BTreeMap::from([(claim, addresses.to_vec())]);
        let (failures, not_before) = self.remember(&peer).unwrap_or((0, now));
        self.known.insert(peer, Known { claims, failures, since: None, due: None });
        if self.all_connected.contains(&peer) {
            self.connected += 1;
        } else if !self.dialling.contains(&peer) {
            self.set_due(peer, not_before.max(now));
        }
    }

    /// A peer is there no longer for this reason.
    pub(super) fn expired(&mut self, claim: Claim, peer: &PeerId) {
        let Some(known) = self.known.get_mut(peer) else { return };
        known.claims.remove(&claim);
        if !known.claims.is_empty() {
            return;
        }
        let Some(known) = self.known.remove(peer) else { return };
        if let Some(due) = known.due {
            self.due.remove(&(due, *peer));
            self.leave_alone(*peer, known.failures, due);
        }
        if self.all_connected.contains(peer) {
            self.connected -= 1;
        }
    }

    /// Nobody is there any more for this reason.
    pub(super) fn ended(&mut self, claim: Claim) {
        let peers = self.known.iter().filter(|(_, known)| known.claims.contains_key(&claim)).map(|(peer, _)| *peer);
        for peer in peers.collect::<Vec<_>>() {
            self.expired(claim, &peer);
        }
    }

    pub(super) fn handle_connected(&mut self, now: Instant, peer: PeerId) {
        self.dialling.remove(&peer);
        let is_new = self.all_connected.insert(peer);
        let Some(known) = self.known.get_mut(&peer) else { return };
        known.since.get_or_insert(now);
        if let Some(due) = known.due.take() {
            self.due.remove(&(due, peer));
        }
        self.connected += usize::from(is_new);
    }

    pub(super) fn handle_closed(&mut self, now: Instant, peer: PeerId) {
        if self.all_connected.remove(&peer) && self.known.contains_key(&peer) {
            self.connected -= 1;
            if let Some(known) = self.known.get_mut(&peer)
                && known.since.take().is_some_and(|since| now.saturating_duration_since(since) >= LASTING)
            {
                known.failures = 0;
            }
            self.put_off(now, peer);
        }
    }

    pub(super) fn handle_failed(&mut self, now: Instant, peer: PeerId) {
        self.dialling.remove(&peer);
        if !self.all_connected.contains(&peer) {
            self.put_off(now, peer);
        }
    }

    /// Whom to dial now, if anybody.
    pub(super) fn pop_dial(&mut self, now: Instant) -> Option<(PeerId, Vec<Multiaddr>)> {
        if !self.has_room() || self.due.first().is_none_or(|(due, _)| *due > now) {
            return None;
        }
        let (_, peer) = self.due.pop_first()?;
        let known = self.known.get_mut(&peer)?;
        known.due = None;
        self.dialling.insert(peer);
        Some((peer, known.addresses()))
    }

    /// When there is somebody to dial; `None` while there is nobody, or no room.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.has_room().then(|| self.due.first().map(|(due, _)| *due)).flatten()
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            known: self.known.len(),
            connected: self.connected,
            dialling: self.dialling.len(),
            refused: self.refused,
        }
    }

    fn has_room(&self) -> bool {
        self.dialling.len() < self.config.dials_max && self.connected + self.dialling.len() < self.config.connected_max
    }

    fn put_off(&mut self, now: Instant, peer: PeerId) {
        let Some(known) = self.known.get_mut(&peer) else {
            // It was known when it was dialled.
            return self.leave_alone(peer, 1, config::after(now, self.config.backoff_min));
        };
        let ceiling = self.config.backoff_min.saturating_mul(2_u32.saturating_pow(known.failures));
        let ceiling = ceiling.min(self.config.backoff_max).max(self.config.backoff_min);
        known.failures = known.failures.saturating_add(1);
        self.draws += 1;
        // Peers that lost each other at one instant are not to come back at one instant.
        let spread = ceiling.saturating_sub(self.config.backoff_min).saturating_add(self.config.backoff_min / 2);
        let part = Duration::from_nanos(self.random.hash_one(self.draws) % (nanos(spread) + 1));
        self.set_due(peer, config::after(now, self.config.backoff_min.saturating_add(part)));
    }

    /// Remembers until when a peer is to be left alone, for as many as may be known. Whose time is over soonest is forgotten first.
    fn leave_alone(&mut self, peer: PeerId, failures: u32, until: Instant) {
        if failures == 0 {
            return;
        }
        self.remember(&peer);
        if self.left_alone.len() >= self.config.known_max.min(LEFT_ALONE_MAX)
            && let Some((_, soonest)) = self.left_alone_until.pop_first()
        {
            self.left_alone.remove(&soonest);
        }
        self.left_alone.insert(peer, (failures, until));
        self.left_alone_until.insert((until, peer));
    }

    /// How often a peer has failed that is not known, and until when it is to be left alone.
    fn remember(&mut self, peer: &PeerId) -> Option<(u32, Instant)> {
        let (failures, until) = self.left_alone.remove(peer)?;
        self.left_alone_until.remove(&(until, *peer));
        Some((failures, until))
    }

    fn set_due(&mut self, peer: PeerId, at: Instant) {
        let Some(known) = self.known.get_mut(&peer) else { return };
        if let Some(due) = known.due.replace(at) {
            self.due.remove(&(due, peer));
        }
        self.due.insert((at, peer));
    }
}

impl Known {
    /// Where it is dialled, each address once.
    fn addresses(&self) -> Vec<Multiaddr> {
        let mut addresses = Vec::new();
        for address in self.claims.values().flatten() {
            if addresses.len() < ADDRESSES_MAX && !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        addresses
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use libp2p_identity::Keypair;

    use super::*;

    const CLAIM: Claim = Claim::Found(1);

    fn peer() -> PeerId {
        Keypair::generate_ed25519().public().to_peer_id()
    }

    fn plan(dials_max: usize, connected_max: usize, known_max: usize) -> (Plan, Instant) {
        let config = Config { dials_max, connected_max, known_max, ..Config::default() };
        (Plan::new(config), Instant::now())
    }

    fn dials(plan: &mut Plan, now: Instant) -> Vec<PeerId> {
        std::iter::from_fn(|| plan.pop_dial(now)).map(|(peer, _)| peer).collect()
    }

    #[test]
    fn a_list_of_a_thousand_is_no_burst_of_dials() {
        let (mut plan, now) = plan(8, 64, 4_096);
        (0..1_000).for_each(|_| plan.found(now, CLAIM, peer(), &[]));
        let mut dialled = HashSet::new();
        for round in 0..20 {
            let batch = dials(&mut plan, now);
            assert!(batch.len() <= 8, "round {round}");
            for peer in batch {
                assert!(dialled.insert(peer), "nobody is dialled again within the back-off");
                plan.handle_failed(now, peer);
            }
        }
        assert_eq!(dialled.len(), 160);
    }

    #[test]
    fn no_more_are_connected_than_are_wanted() {
        let (mut plan, now) = plan(8, 10, 4_096);
        (0..100).for_each(|_| plan.found(now, CLAIM, peer(), &[]));
        for _ in 0..5 {
            for peer in dials(&mut plan, now) {
                plan.handle_connected(now, peer);
            }
        }
        assert_eq!(plan.stats(), Stats { known: 100, connected: 10, ..Stats::default() });
        assert_eq!(plan.next_due(), None);
        let gone = *plan.all_connected.iter().next().expect("ten are connected");
        plan.handle_closed(now, gone);
        assert_eq!(dials(&mut plan, now).len(), 1, "another takes the place");
    }

    #[test]
    fn back_off_grows_to_its_bound_and_a_success_ends_it() {
        let (mut plan, mut now) = plan(8, 64, 4_096);
        let peer = peer();
        plan.found(now, CLAIM, peer, &[]);
        for failures in 0..20_u32 {
            assert_eq!(dials(&mut plan, now), [peer]);
            plan.handle_failed(now, peer);
            let wait = plan.next_due().expect("it is due again") - now;
            let Config { backoff_min, backoff_max, .. } = plan.config;
            let ceiling = backoff_min.saturating_mul(2_u32.saturating_pow(failures)).min(backoff_max);
            assert!(wait >= backoff_min && wait <= ceiling + backoff_min / 2, "{wait:?} after {failures}");
            assert!(dials(&mut plan, now + wait - Duration::from_nanos(1)).is_empty());
            now += wait;
        }
        assert_eq!(dials(&mut plan, now), [peer]);
        plan.handle_connected(now, peer);
        plan.handle_closed(now, peer);
        let wait = plan.next_due().expect("it is due again") - now;
        assert!(
            wait >= plan.config.backoff_min,
            "who is turned away at once comes back no sooner than who is not there"
        );
        assert_eq!(plan.known[&peer].failures, 21);
        assert_eq!(dials(&mut plan, now + wait), [peer]);
        now += wait;
        plan.handle_connected(now, peer);
        now += LASTING;
        plan.handle_closed(now, peer);
        let Config { backoff_min, .. } = plan.config;
        assert!(plan.next_due().expect("it is due again") - now <= backoff_min + backoff_min / 2);
    }

    #[test]
    fn who_is_listed_anew_is_not_dialled_sooner() {
        let (mut plan, now) = plan(8, 64, 4);
        let peer = peer();
        plan.found(now, CLAIM, peer, &[]);
        assert_eq!(dials(&mut plan, now), [peer]);
        plan.handle_failed(now, peer);
        let due = plan.next_due().expect("it is due again");
        for _ in 0..10 {
            plan.expired(CLAIM, &peer);
            plan.found(now, CLAIM, peer, &[]);
            assert_eq!(plan.next_due(), Some(due));
        }
        assert_eq!(dials(&mut plan, due), [peer]);
        plan.handle_failed(due, peer);
        assert_eq!(plan.known[&peer].failures, 2);
        // What is remembered is bounded.
        for _ in 0..20 {
            let other = Keypair::generate_ed25519().public().to_peer_id();
            plan.expired(CLAIM, &peer);
            plan.found(now, CLAIM, other, &[]);
            dials(&mut plan, now);
            plan.handle_failed(now, other);
            plan.expired(CLAIM, &other);
        }
        assert!(plan.left_alone.len() <= 4);
    }

    #[test]
    fn who_comes_by_himself_counts_and_is_not_dialled() {
        let (mut plan, now) = plan(8, 64, 4_096);
        let [known, stranger] = [peer(), peer()];
        plan.found(now, CLAIM, known, &[]);
        plan.handle_connected(now, known);
        plan.handle_connected(now, stranger);
        assert!(dials(&mut plan, now).is_empty());
        assert_eq!(plan.stats().connected, 1);
        plan.found(now, CLAIM, stranger, &[]);
        assert_eq!(plan.stats().connected, 2);
        [known, stranger].iter().for_each(|peer| plan.expired(CLAIM, peer));
        assert_eq!(plan.stats(), Stats::default());
        [known, stranger].into_iter().for_each(|peer| plan.handle_closed(now, peer));
        assert!(plan.due.is_empty() && plan.all_connected.is_empty());
    }

    #[test]
    fn what_is_known_is_bounded() {
        let (mut plan, now) = plan(8, 64, 3);
        (0..5).for_each(|_| plan.found(now, CLAIM, peer(), &[]));
        assert_eq!((plan.stats().known, plan.stats().refused), (3, 2));
    }

    #[test]
    fn who_is_kept_stays_whoever_finds_it_no_longer_and_has_room_whatever_is_found() {
        let (mut plan, now) = plan(8, 64, 1);
        let [listed, kept] = [peer(), peer()];
        plan.found(now, CLAIM, listed, &[]);
        plan.found(now, Claim::Kept, kept, &[]);
        assert_eq!((plan.stats().known, plan.stats().refused), (2, 0));
        plan.found(now, CLAIM, kept, &[]);
        plan.expired(CLAIM, &kept);
        assert_eq!(plan.stats().known, 2);
        plan.expired(Claim::Kept, &kept);
        assert_eq!(plan.stats().known, 1);
    }

    #[test]
    fn a_peer_that_two_queries_find_stays_until_both_have_lost_it_or_ended() {
        let (mut plan, now) = plan(8, 64, 8);
        let peers: Vec<PeerId> = (0..3).map(|_| peer()).collect();
        let [first, second] = [Claim::Found(1), Claim::Found(2)];
        for claim in [first, second] {
            peers.iter().for_each(|peer| plan.found(now, claim, *peer, &[]));
        }
        plan.expired(first, &peers[0]);
        assert_eq!(plan.stats().known, 3);
        plan.ended(second);
        assert_eq!(plan.stats().known, 2);
        plan.ended(first);
        assert_eq!(plan.stats(), Stats::default());
        assert!(plan.due.is_empty());
    }

    #[test]
    fn a_dial_has_the_addresses_of_all_who_tell_each_once_and_those_kept_first() {
        let (mut plan, now) = plan(8, 64, 8);
        let peer = peer();
        let addresses: Vec<Multiaddr> =
            (0..40_u64).map(|port| libp2p_core::multiaddr::Protocol::Memory(port + 1).into()).collect();
        plan.found(now, CLAIM, peer, &addresses);
        plan.found(now, Claim::Kept, peer, &addresses[39..]);
        let (_, dialled) = plan.pop_dial(now).expect("it is due");
        assert_eq!((&dialled[0], dialled.len()), (&addresses[39], ADDRESSES_MAX));
        assert_eq!(dialled[1..], addresses[..ADDRESSES_MAX - 1]);
    }

    #[test]
    fn a_back_off_of_any_length_is_no_overflow() {
        let config = Config { backoff_min: Duration::MAX, backoff_max: Duration::MAX, ..Config::default() };
        let (mut plan, now) = (Plan::new(config), Instant::now());
        let peer = peer();
        plan.found(now, CLAIM, peer, &[]);
        assert!(plan.pop_dial(now).is_some());
        plan.handle_failed(now, peer);
        assert!(plan.next_due().is_some_and(|due| due > now + Duration::from_secs(3_600)));
    }
}
