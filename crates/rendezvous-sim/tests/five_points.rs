//! Two hundred clients of five points, of which one is dead, one restarts and forgets, one refuses and one lies.

use std::{collections::BTreeSet, time::Duration};

use libp2p_identity::PeerId;
use rendezvous_core::client::{ClientConfig, LookupConfig};
use rendezvous_sim::points::{DEAD, FORGETFUL, FivePoints, HONEST, LYING, REFUSING};
use rendezvous_wire::Ttl;

const MEMBERS: usize = 200;
const TTL_SECS: u64 = 600;
/// With its jitter below an eighth of the lifetime: between a renewal and the end that was before there is a poll.
const EVERY_SECS: u64 = 60;

/// A refresh comes after 7/8 of the lifetime at the latest, a poll after 9/8 of the interval.
const ONE_REFRESH: Duration = Duration::from_secs(TTL_SECS * 7 / 8 + EVERY_SECS * 9 / 8 + 5);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn world(seed: u64, members: usize) -> FivePoints {
    // The lying point's pages never end; five of them are enough to see that.
    let config = ClientConfig { pages_per_walk_max: 5, peers_max: 500, ..ClientConfig::default() };
    let lookup = LookupConfig { every: Some(secs(EVERY_SECS)), peers_max: 1_500, ..LookupConfig::default() };
    FivePoints::new(seed, members, Ttl::from_secs(TTL_SECS), &config, &lookup)
}

/// Who a member has found; those that the lying point alone tells of left out.
fn found(world: &FivePoints, member: usize) -> BTreeSet<PeerId> {
    let (member, liar) = (&world.members()[member], world.point(LYING));
    let merged = member.client.found(world.now(), member.lookup);
    let merged = merged.inspect(|merged| assert!(merged.ttl <= Ttl::RECOMMENDED_MAX));
    merged.filter(|merged| merged.points != [liar]).map(|merged| merged.record.peer_id()).collect()
}

/// Every live member has found every other.
fn all_are_found(world: &FivePoints) {
    let live: BTreeSet<PeerId> = world.live().map(|member| member.peer).collect();
    for (index, member) in world.members().iter().enumerate().filter(|(_, member)| live.contains(&member.peer)) {
        let found = found(world, index);
        let missed = live.iter().filter(|peer| **peer != member.peer && !found.contains(peer)).count();
        assert_eq!(missed, 0, "member {index} misses so many of {}", live.len());
    }
}

fn memory_is_bounded(world: &FivePoints) {
    for member in world.live() {
        let stats = member.client.stats();
        assert!(stats.found_listings <= 1_500 && stats.peers <= 500, "{stats:?}");
        assert!(stats.points <= 5 && stats.standings == 5 && stats.lookup_points == 5, "{stats:?}");
        assert!(stats.cookies <= 5 && stats.queries <= 5 && stats.requests_in_flight <= 10, "{stats:?}");
        assert_eq!((stats.events, stats.events_dropped), (0, 0));
    }
}

/// The whole story, for one seed.
fn run(seed: u64) {
    let mut world = world(seed, MEMBERS);
    world.run_for(secs(EVERY_SECS * 9 / 8 + 5));
    all_are_found(&world);
    assert_eq!((world.listed_at(FORGETFUL), world.listed_at(HONEST)), (MEMBERS, MEMBERS));

    // One point forgets everybody, and some leave without a word.
    world.restart();
    let crashed: BTreeSet<PeerId> = world.members()[..20].iter().map(|member| member.peer).collect();
    world.crash(0..20);
    let mut is_listed_by_some = 0;
    for _ in 0..ONE_REFRESH.as_secs() / 60 {
        world.run_for(secs(60));
        all_are_found(&world);
        memory_is_bounded(&world);
        is_listed_by_some = is_listed_by_some.max(found(&world, 20).intersection(&crashed).count());
    }
    assert_eq!(is_listed_by_some, 20, "they are listed while their time lasts");
    world.run_for(secs(ONE_REFRESH.as_secs() % 60));
    assert_eq!(world.listed_at(FORGETFUL), MEMBERS - 20, "all that live are back within one refresh");

    // Whatever the crashed had been granted has just ended.
    world.run_for(secs(TTL_SECS + 1).saturating_sub(ONE_REFRESH));
    for index in 20..MEMBERS {
        assert_eq!(found(&world, index).intersection(&crashed).count(), 0, "listed beyond its time");
    }
    all_are_found(&world);
    memory_is_bounded(&world);
    for member in world.live() {
        let is_registered = |point| member.client.is_registered(member.registration, &world.point(point));
        assert!(is_registered(HONEST) && is_registered(FORGETFUL) && !is_registered(DEAD) && !is_registered(REFUSING));
    }
    // In these eleven minutes there are some ten polls, of two pages each.
    let per_member = world.asked.map(|asked| asked / MEMBERS as u64);
    assert!(per_member[DEAD] <= 10, "back-off: {per_member:?}");
    assert!(per_member[HONEST] >= 20, "{per_member:?}");
}

/// The tests of three seeds run side by side.
#[test]
fn all_live_peers_are_found_by_all_and_nobody_beyond_its_time_1() {
    run(1);
}

#[test]
fn all_live_peers_are_found_by_all_and_nobody_beyond_its_time_2() {
    run(2);
}

#[test]
fn all_live_peers_are_found_by_all_and_nobody_beyond_its_time_3() {
    run(3);
}

#[test]
fn a_seed_tells_the_same_story_each_time() {
    let story = |seed| {
        let mut world = world(seed, 20);
        world.run_for(secs(900));
        let found: Vec<_> = (0..20).map(|member| found(&world, member)).collect();
        (world.asked, found)
    };
    assert_eq!(story(7), story(7));
    assert_ne!(story(7), story(8));
}
