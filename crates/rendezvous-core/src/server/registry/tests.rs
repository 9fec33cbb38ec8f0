//! The registry beside a naive one: random commands, and everything that can be asked must agree.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::server::admission::IpPrefix;

const NAMESPACES: [&str; 4] = ["a", "b", "c", "d"];

/// A registration as the model has it: for each flavour the record and the tick at which it ends.
#[derive(Clone, Debug, Default)]
struct Modelled {
    position: u64,
    records: BTreeMap<Flavour, (Vec<u8>, u64)>,
}

/// The naive registry: a map, and scans of all of it.
#[derive(Debug, Default)]
struct Model {
    registrations: BTreeMap<(u8, usize), Modelled>,
}

impl Model {
    fn put(&mut self, peer: u8, namespace: usize, flavour: Flavour, record: &[u8], position: u64, ends: u64) -> bool {
        let renewed = self.registrations.contains_key(&(peer, namespace));
        let registration = self.registrations.entry((peer, namespace)).or_default();
        registration.position = position;
        registration.records.insert(flavour, (record.to_vec(), ends));
        renewed
    }

    fn expire(&mut self, now: u64) {
        for registration in self.registrations.values_mut() {
            registration.records.retain(|_, (_, ends)| *ends > now);
        }
        self.registrations.retain(|_, registration| !registration.records.is_empty());
    }

    fn page(&self, namespace: Option<usize>, reads: Flavours, after: u64, now: u64) -> Vec<(u64, Vec<u8>, u64)> {
        let mut page: Vec<_> = self
            .registrations
            .iter()
            .filter(|((_, at), registration)| {
                namespace.is_none_or(|asked| asked == *at) && registration.position > after
            })
            .filter_map(|(_, registration)| {
                let readable =
                    registration.records.iter().find(|(flavour, (_, ends))| reads.contains(**flavour) && *ends > now);
                let (_, (record, ends)) = readable?;
                Some((registration.position, record.clone(), ((ends - now) / 10).max(1)))
            })
            .collect();
        page.sort();
        page
    }
}

#[derive(Clone, Debug)]
enum Action {
    Put { peer: u8, namespace: usize, flavour: Flavour, ttl_ticks: u64, len: usize },
    Remove { peer: u8, namespace: usize },
    Wait { ticks: u64 },
    Expire { budget: usize },
    Look { namespace: Option<usize>, reads: Flavours, back: u64 },
}

/// An action of one of so many peers.
fn action(peers: u8) -> impl Strategy<Value = Action> {
    let peer = 0..peers;
    let namespace = 0..NAMESPACES.len();
    let flavour = prop_oneof![Just(Flavour::Standard), Just(Flavour::Legacy)];
    let reads = prop_oneof![Just(Flavours::STANDARD), Just(Flavours::LEGACY), Just(Flavours::BOTH)];
    let ttl = prop_oneof![1..20_u64, 1..5_000_u64, 1..3_000_000_u64];
    let wait = prop_oneof![0..10_u64, 0..2_000_u64, 0..2_000_000_u64];
    prop_oneof![
        6 => (peer.clone(), namespace.clone(), flavour, ttl, 40..600_usize)
            .prop_map(|(peer, namespace, flavour, ttl_ticks, len)| Action::Put { peer, namespace, flavour, ttl_ticks, len }),
        2 => (peer, namespace.clone()).prop_map(|(peer, namespace)| Action::Remove { peer, namespace }),
        2 => wait.prop_map(|ticks| Action::Wait { ticks }),
        2 => (1..8_usize).prop_map(|budget| Action::Expire { budget }),
        3 => (proptest::option::of(namespace), reads, 0..40_u64)
            .prop_map(|(namespace, reads, back)| Action::Look { namespace, reads, back }),
    ]
}

/// Length of a peer's id.
const PEER_LEN: usize = 4;

/// Bytes that stand for a record of this peer: its id stands at an offset that depends on the length.
fn fake_record(peer: u8, len: usize, fill: u8) -> (Vec<u8>, usize, usize) {
    let id = [b'<', peer, peer ^ 0x55, b'>'];
    let start = len % 30;
    let mut bytes = vec![fill; len];
    bytes[start..start + id.len()].copy_from_slice(&id);
    (bytes, start, id.len())
}

fn peer_bytes(peer: u8) -> [u8; PEER_LEN] {
    [b'<', peer, peer ^ 0x55, b'>']
}

/// Some peers come from one prefix, some from another, some from nowhere, and some are exempt.
fn origin_of(peer: u8) -> Origin {
    match peer % 4 {
        0 => Origin::Exempt,
        1 => Origin::Unlocated,
        // Both in one /48.
        network => Origin::Prefix(IpPrefix::V6([0x20, 1, 0xd, 0xb8, 0, 0, network])),
    }
}

fn epoch() -> Time {
    Time::from_unix_millis(1_700_000_000_000)
}

fn at(tick: u64) -> Time {
    epoch() + core::time::Duration::from_millis(tick * TICK_MILLIS)
}

fn run(actions: Vec<Action>) {
    let mut registry = Registry::new(epoch(), Keys::new([3; 16]));
    let mut model = Model::default();
    let (mut position, mut now) = (1_000, 0);
    for (step, action) in actions.into_iter().enumerate() {
        match action {
            Action::Put { peer, namespace, flavour, ttl_ticks, len } => {
                position += 1;
                let (bytes, peer_start, peer_len) = fake_record(peer, len, step as u8 | 0x80);
                let record = Record { flavour, bytes: &bytes, peer_start, peer_len };
                let name = Namespace::new(NAMESPACES[namespace]).expect("a short name");
                // The server takes out what has ended before it acts; here some of it may still be there.
                let mut budget = usize::MAX;
                while registry.pop_expired(at(now), &mut budget).is_some() {}
                model.expire(now);
                let renewed = registry.put(&name, record, position, at(now + ttl_ticks), origin_of(peer));
                assert_eq!(renewed, model.put(peer, namespace, flavour, &bytes, position, now + ttl_ticks));
            }
            Action::Remove { peer, namespace } => {
                let removed = registry.remove(&peer_bytes(peer), NAMESPACES[namespace]);
                let modelled = model.registrations.remove(&(peer, namespace));
                // What has ended may be gone from one of the two already.
                let alive =
                    modelled.is_some_and(|registration| registration.records.values().any(|(_, ends)| *ends > now));
                assert!(removed || !alive, "a live registration is there to be removed");
            }
            Action::Wait { ticks } => now += ticks,
            Action::Expire { budget } => {
                let mut budget = budget;
                while let Some(expired) = registry.pop_expired(at(now), &mut budget) {
                    let namespace = NAMESPACES.iter().position(|name| *name == expired.namespace.as_str());
                    let namespace = namespace.expect("one of the namespaces");
                    let key = (expired.peer[1], namespace);
                    let Some(modelled) = model.registrations.get(&key) else { continue };
                    let mut records = modelled.records.iter();
                    assert!(
                        records.all(|(flavour, (_, ends))| *ends <= now || !expired.flavours.contains(*flavour)),
                        "nothing expires before its time"
                    );
                    if expired.is_gone {
                        model.registrations.remove(&key);
                    }
                }
            }
            Action::Look { namespace, reads, back } => {
                let after = position.saturating_sub(back);
                let name = namespace.map(|index| NAMESPACES[index]);
                let served: Vec<_> = registry
                    .iter_after(at(now), name, reads, after)
                    .flatten()
                    .map(|served| (served.position, served.record.to_vec(), served.ttl_secs))
                    .collect();
                assert_eq!(served, model.page(namespace, reads, after, now));
            }
        }
        let of_origin = |origin| registry.slots_for_tests().filter(|peer| origin_of(*peer) == origin).count();
        let origins = [1, 2, 3].map(origin_of);
        for origin in origins {
            let block = Block::of(origin).expect("it has a share");
            assert_eq!(registry.count_of_block(block), of_origin(origin));
        }
        let widest = Block::of(origins[1]).and_then(|block| block.with_wider().last()).expect("it has a provider");
        assert_eq!(registry.count_of_block(widest), of_origin(origins[1]) + of_origin(origins[2]));
        if let Some(next) = registry.next_expiry() {
            let first = model.registrations.values().flat_map(|registration| registration.records.values());
            let first = first.map(|(_, ends)| *ends).filter(|ends| *ends > now).min();
            assert!(first.is_none_or(|first| next <= at(first)), "the timeout is not after the first deadline");
        }
    }
    restored(&registry, &model, now);
    // At the end everything expires, and nothing is left behind.
    now += 10_000_000;
    let mut budget = usize::MAX;
    while registry.pop_expired(at(now), &mut budget).is_some() {}
    registry.assert_empty();
}

/// What is put into a new registry in the order of the keys is found as it was in the old one.
fn restored(registry: &Registry, model: &Model, now: u64) {
    let mut copy = Registry::new(at(now), Keys::new([5; 16]));
    for ((peer, namespace), registration) in &model.registrations {
        let name = Namespace::new(NAMESPACES[*namespace]).expect("a short name");
        for (flavour, (bytes, ends)) in registration.records.iter().filter(|(_, (_, ends))| *ends > now) {
            let peer_start = bytes.windows(PEER_LEN).position(|window| window == peer_bytes(*peer));
            let peer_start = peer_start.expect("it is in there");
            let record = Record { flavour: *flavour, bytes, peer_start, peer_len: PEER_LEN };
            copy.restore(&name, record, registration.position, at(*ends), origin_of(*peer));
        }
    }
    copy.finish_restore();
    let listed = |registry: &Registry, namespace, reads| -> Vec<_> {
        let served = registry.iter_after(at(now), namespace, reads, 0).flatten();
        served.map(|served| (served.position, served.record.to_vec(), served.ttl_secs)).collect()
    };
    for namespace in NAMESPACES.into_iter().map(Some).chain([None]) {
        for reads in [Flavours::LEGACY, Flavours::from(Flavour::Standard), Flavours::BOTH] {
            assert_eq!(listed(&copy, namespace, reads), listed(registry, namespace, reads));
        }
    }
    let mut budget = usize::MAX;
    while copy.pop_expired(at(now + 10_000_000), &mut budget).is_some() {}
    copy.assert_empty();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn registry_and_naive_registry_agree(actions in proptest::collection::vec(action(12), 1..160)) {
        run(actions);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(12) })]

    /// Enough registrations that a namespace takes several blocks, and that these are merged and dropped.
    #[test]
    fn registry_and_naive_registry_agree_at_size(
        filling in proptest::collection::vec(filling(), 1_000..1_600),
        actions in proptest::collection::vec(action(250), 1..600),
    ) {
        run(filling.into_iter().chain(actions).collect());
    }
}

fn filling() -> impl Strategy<Value = Action> {
    let flavour = prop_oneof![4 => Just(Flavour::Standard), 1 => Just(Flavour::Legacy)];
    (0..250_u8, 0..2_usize, flavour, 1_000..50_000_u64, 40..80_usize)
        .prop_map(|(peer, namespace, flavour, ttl_ticks, len)| Action::Put { peer, namespace, flavour, ttl_ticks, len })
}

impl Registry {
    /// The peers of all registrations, by the byte that tells them apart.
    fn slots_for_tests(&self) -> impl Iterator<Item = u8> {
        let standard = self.all[0].iter_after(&self.slots, 0);
        let only_legacy = self.all[1].iter_after(&self.slots, 0).filter(|index| !self.slots[*index].is_dual());
        standard.chain(only_legacy).map(|index| self.slots[index].peer(&self.blobs)[1])
    }

    /// Fails unless every structure is as empty as at the start.
    pub(crate) fn assert_empty(&self) {
        assert_eq!(self.slots.len(), 0);
        assert!(self.blobs.is_empty());
        assert_eq!((self.peers.len(), self.peers.lists()), (0, 0));
        assert_eq!(self.namespaces.len(), 0);
        assert!(self.all.iter().all(Order::is_empty));
        assert_eq!(self.wheel.next_tick(), None);
        assert_eq!((self.record_bytes, self.allocated_bytes()), (0, 0));
    }
}

fn put(registry: &mut Registry, peer: u8, namespace: &str, flavour: Flavour, position: u64, ends_tick: u64) -> bool {
    let (bytes, peer_start, peer_len) = fake_record(peer, 100, 0x80);
    let record = Record { flavour, bytes: &bytes, peer_start, peer_len };
    registry.put(&Namespace::new(namespace).expect("a short name"), record, position, at(ends_tick), origin_of(peer))
}

#[test]
fn a_renewal_is_not_ended_by_the_old_deadline() {
    let mut registry = Registry::new(epoch(), Keys::new([3; 16]));
    put(&mut registry, 1, "a", Flavour::Standard, 1, 100);
    put(&mut registry, 1, "a", Flavour::Standard, 2, 200);
    assert!(registry.pop_expired(at(150), &mut 1_000).is_none());
    assert!(registry.contains(&peer_bytes(1), "a"));
    assert!(registry.pop_expired(at(200), &mut 1_000).is_some());
    registry.assert_empty();
}

#[test]
fn one_long_ttl_at_the_head_keeps_nothing_behind_it() {
    let mut registry = Registry::new(epoch(), Keys::new([3; 16]));
    put(&mut registry, 0, "a", Flavour::Standard, 1, 2_592_000);
    for peer in 1..100 {
        put(&mut registry, peer, "a", Flavour::Standard, 1 + u64::from(peer), 600);
    }
    let mut budget = 1_000;
    while registry.pop_expired(at(601), &mut budget).is_some() {}
    assert_eq!(registry.len(), 1);
}

#[test]
fn a_record_that_ends_first_leaves_the_other_of_its_registration() {
    let mut registry = Registry::new(epoch(), Keys::new([3; 16]));
    put(&mut registry, 1, "a", Flavour::Standard, 1, 100);
    put(&mut registry, 1, "a", Flavour::Legacy, 2, 200);
    assert_eq!((registry.len(), registry.flavours_in(Some("a"))), (1, Flavours::BOTH));
    let ended = registry.pop_expired(at(150), &mut 1_000).expect("one record has ended");
    assert_eq!((ended.flavours, ended.is_gone), (Flavours::from(Flavour::Standard), false));
    assert_eq!((registry.len(), registry.flavours_in(Some("a"))), (1, Flavours::LEGACY));
    let legacy = registry.iter_after(at(150), None, Flavours::BOTH, 0).flatten().count();
    assert_eq!(legacy, 1);
    assert!(registry.pop_expired(at(200), &mut 1_000).is_some());
    registry.assert_empty();
}

#[test]
fn a_peer_with_many_namespaces_is_found_in_each_and_leaves_nothing() {
    let mut registry = Registry::new(epoch(), Keys::new([3; 16]));
    let names: Vec<_> = (0..1_000).map(|number| format!("namespace-{number}")).collect();
    for (position, name) in names.iter().enumerate() {
        assert!(!put(&mut registry, 7, name, Flavour::Standard, position as u64 + 1, 5_000));
    }
    assert_eq!((registry.count_of(&peer_bytes(7)), registry.namespaces_len()), (1_000, 1_000));
    for (position, name) in names.iter().enumerate() {
        assert!(put(&mut registry, 7, name, Flavour::Standard, position as u64 + 2_000, 6_000));
    }
    for name in &names {
        assert!(registry.remove(&peer_bytes(7), name));
    }
    registry.assert_empty();
}
