//! A point and a thousand clients in virtual time, on a network that delays and loses.

use std::{collections::BTreeSet, time::Duration};

use rendezvous_core::{
    client::{ClientConfig, Event, From, RegistrationId},
    server::ServerConfig,
};
use rendezvous_sim::{Network, World};
use rendezvous_wire::{Namespace, Ttl};

const PEERS: usize = 1_000;
const NAMESPACES: usize = 7;
const TTL: Ttl = Ttl::from_secs(120);

fn namespace(index: usize) -> Namespace {
    Namespace::new(&format!("room-{}", index % NAMESPACES)).expect("a short name")
}

fn world(seed: u64, loss_per_mille: u32) -> (World, Vec<RegistrationId>) {
    let network = Network { loss_per_mille, ..Network::default() };
    let mut world = World::new(seed, network, ServerConfig::default());
    let mut ids = Vec::new();
    for index in 0..PEERS {
        world.add_client(ClientConfig::default());
        ids.push(world.command(index, |client, now, point| client.register(now, namespace(index), [point], Some(TTL))));
        world.run_for(Duration::from_millis(20));
    }
    (world, ids)
}

fn is_listed(world: &World, index: usize) -> bool {
    world.server().is_registered(&world.peer(index), namespace(index).as_str())
}

#[test]
fn a_thousand_peers_register_refresh_leave_and_expire_under_loss() {
    let (mut world, ids) = world(1, 50);

    // Twenty lifetimes: everybody is refreshed again and again, although one message in twenty is lost.
    for _ in 0..20 {
        world.run_for(Duration::from_secs(120));
        for (index, id) in ids.iter().enumerate() {
            if world.client(index).is_registered(*id, &world.point()) {
                assert!(is_listed(&world, index), "what a client holds for granted is listed");
            }
        }
    }
    let listed = (0..PEERS).filter(|index| is_listed(&world, *index)).count();
    assert!(listed >= PEERS * 99 / 100, "{listed} of {PEERS} are listed");
    let stats = world.server().stats();
    assert!(stats.renewals >= 20 * PEERS as u64, "{} renewals", stats.renewals);
    assert_eq!(stats.namespaces, NAMESPACES);

    // A newcomer finds all that are listed in its namespace, following the cookie, and each once.
    world.network_mut().loss_per_mille = 0;
    let newcomer = world.add_client(ClientConfig::default());
    let expected: BTreeSet<_> = (0..PEERS)
        .filter(|index| namespace(*index) == namespace(3) && is_listed(&world, *index))
        .map(|index| world.peer(index))
        .collect();
    let mut found = Vec::new();
    loop {
        world.command(newcomer, |client, now, point| {
            client.discover(now, point, Some(namespace(3)), Some(rendezvous_wire::Limit::new(25)), From::Cookie)
        });
        world.run_for(Duration::from_secs(1));
        let mut more_pages = false;
        for (_, event) in world.take_events(newcomer) {
            match event {
                Event::Discovered { registrations, more, .. } => {
                    found.extend(registrations.iter().map(|registration| registration.record.peer_id()));
                    more_pages |= more;
                }
                // A registration may end while the walk goes on.
                Event::PeerExpired { .. } => {}
                other => panic!("a page, not {other:?}"),
            }
        }
        if !more_pages {
            break;
        }
    }
    let distinct: BTreeSet<_> = found.iter().copied().collect();
    assert!(expected.is_subset(&distinct), "nobody is missing");
    assert!(distinct.len() <= expected.len() + 1);

    // A third leaves, a third crashes, a third stays and leaves at the end.
    world.network_mut().loss_per_mille = 50;
    for (index, id) in ids.iter().enumerate() {
        match index % 3 {
            0 => assert!(world.command(index, |client, now, _| client.unregister(now, *id))),
            1 => world.crash(index),
            _ => {}
        }
    }
    // Whoever's UNREGISTER was lost, and whoever crashed, is gone when its TTL ends.
    world.run_for(Duration::from_secs(TTL.as_secs() + 1));
    for index in 0..PEERS {
        if index % 3 != 2 {
            assert!(!is_listed(&world, index), "peer {index} is listed after it has gone");
        }
    }
    for index in (2..PEERS).step_by(3) {
        world.command(index, |client, now, _| client.shutdown(now));
    }
    world.run_for(Duration::from_secs(TTL.as_secs() + 1));
    for index in (2..PEERS).step_by(3) {
        assert!(world.client(index).is_drained());
    }
    let stats = world.server().stats();
    assert_eq!((stats.registrations, stats.namespaces, stats.record_bytes), (0, 0, 0));
    assert_eq!(world.server().allocated_bytes(), 0, "the registry's structures are empty");
    assert_eq!(world.server().poll_timeout(), None);
}

#[test]
fn without_loss_nobody_ever_lapses_and_nobody_registers_more_than_needed() {
    let (mut world, _) = world(2, 0);
    world.run_for(Duration::from_secs(1_200));
    let stats = world.server().stats();
    assert_eq!((stats.registers, stats.registrations, stats.refusals, stats.expiries), (1_000, 1_000, 0, 0));
    // Ten lifetimes: a refresh after 3/4 to 7/8 of each.
    let per_peer = stats.renewals as f64 / PEERS as f64;
    assert!((1_200.0 / 105.0 - 1.0..=1_220.0 / 90.0).contains(&per_peer), "{per_peer} renewals each");
    for index in 0..PEERS {
        assert!(world.take_events(index).iter().all(|(_, event)| matches!(event, Event::Registered { .. })));
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    let run = |seed| {
        let (mut world, _) = world(seed, 100);
        world.run_for(Duration::from_secs(300));
        (world.server().stats(), (0..PEERS).map(|index| world.take_events(index).len()).collect::<Vec<_>>())
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
