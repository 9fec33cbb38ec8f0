//! Thirty peers that join, leave, die and come back around two rendezvous points, of which one is dead from the start and the
//! other restarts and forgets everything.
//!
//! A minute of it in each test run; ten minutes by
//! `cargo test --release -p rendezvous-tests --test thirty_peers -- --ignored`.

mod peer;
mod world;

use std::{
    alloc::System,
    collections::BTreeMap,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use libp2p::Multiaddr;
use rand::{Rng as _, SeedableRng as _, seq::IteratorRandom as _};
use rand_chacha::ChaCha8Rng;
use rendezvous_discovery::Namespace;
use rendezvous_node::Identity;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use self::{
    peer::{Peer, TTL, free_port},
    world::World,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PEERS: u64 = 30;

/// What a reader of the list may lag behind: a poll, and a machine that is busy.
const LAG: Duration = Duration::from_secs(4);

/// Memory that may be left behind the long run, and was not behind the short one: less than one node has.
const LEFT_BYTES_MAX: usize = 64 << 10;

#[test]
fn a_minute() {
    run(1, Duration::from_secs(60));
}

#[test]
#[ignore = "the long form: ten minutes"]
fn ten_minutes() {
    run(2, Duration::from_secs(600));
}

fn run(seed: u64, time: Duration) {
    // What is made once per process, or per thread that there is at once, is made by a short run.
    churn(seed, Duration::from_secs(2), PEERS);
    let first = Held::now();
    churn(seed, time, PEERS);
    let second = Held::now();
    println!("left after a short run {first:?}, after the long one {second:?}");
    assert_eq!(first.sockets, second.sockets, "sockets are left");
    let grown = second.bytes.saturating_sub(first.bytes);
    assert!(grown <= LEFT_BYTES_MAX, "{grown} bytes are left");
}

/// What a process has.
#[derive(Debug)]
struct Held {
    sockets: usize,
    bytes: usize,
}

impl Held {
    fn now() -> Self {
        let stats = ALLOCATOR.stats();
        let bytes = stats.bytes_allocated.saturating_sub(stats.bytes_deallocated);
        let descriptors = fs::read_dir("/proc/self/fd").expect("there is a /proc");
        let is_socket = |entry: &fs::DirEntry| {
            fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
        };
        Self { sockets: descriptors.flatten().filter(is_socket).count(), bytes }
    }
}

/// Lets peers come and go for so long, checks what must hold, and stops them all.
fn churn(seed: u64, time: Duration, count: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let world = Arc::new(World::default());
    let namespace = Namespace::new("thirty").expect("it is a name");
    let point = Peer::point(1_000, free_port());
    let nobody = Identity::Seed(1_001).keypair().expect("seeds are keys").public().to_peer_id();
    let dead: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}/p2p/{nobody}", free_port()).parse().expect("an address");
    let points = [dead, point.address()];
    let member = |seed| Peer::member(seed, &points, &namespace, &world);
    let mut live: BTreeMap<u64, Peer> = (0..count).map(|seed| (seed, member(seed))).collect();
    let settled = world.settle(Duration::from_secs(30));
    assert!(settled.is_some(), "{count} peers find each other: {:#?}", world.differences());

    let end = Instant::now() + time;
    let (mut joins, mut leaves, mut deaths, mut restarts) = (0_u32, 0_u32, 0_u32, 0_u32);
    let mut slowest = Duration::ZERO;
    while Instant::now() < end {
        world.watch(Duration::from_millis(rng.random_range(100..900)), TTL + LAG);
        let away: Vec<u64> = (0..count).filter(|seed| !live.contains_key(seed)).collect();
        match rng.random_range(0..20) {
            0 => {
                point.restart();
                restarts += 1;
            }
            1..=8 if live.len() > 2 => {
                let Some(seed) = live.keys().copied().choose(&mut rng) else { continue };
                let Some(peer) = live.remove(&seed) else { continue };
                let id = peer.id;
                if rng.random_bool(0.5) {
                    let (took, tasks) = peer.leave();
                    assert_eq!(tasks, 0, "tasks are left of {id}");
                    slowest = slowest.max(took);
                    leaves += 1;
                } else {
                    peer.die();
                    deaths += 1;
                }
                world.left(id);
            }
            _ => {
                let Some(seed) = away.into_iter().choose(&mut rng) else { continue };
                live.insert(seed, member(seed));
                joins += 1;
            }
        }
    }
    let settled = world.settle(TTL + Duration::from_secs(20));
    assert!(settled.is_some(), "they know each other in the end: {:#?}", world.differences());
    let [found, updated, expired] = world.told();
    println!(
        "{count} peers for {time:?}: {joins} joined, {leaves} left (the slowest in {slowest:?}), {deaths} died, {restarts} \
         restarts of the point; told {found} found, {updated} updated, {expired} expired; settled in {settled:?}"
    );
    assert_eq!(world.violations(), Vec::<String>::new());

    let ids: Vec<_> = live.values().map(|peer| peer.id).collect();
    for peer in live.values() {
        let others: Vec<_> = ids.iter().copied().filter(|id| *id != peer.id).collect();
        assert_eq!(peer.call_all(&others), Vec::<String>::new(), "{} calls whom it has found", peer.id);
    }
    for peer in live.into_values().chain([point]) {
        let id = peer.id;
        assert_eq!(peer.leave().1, 0, "tasks are left of {id}");
    }
}
