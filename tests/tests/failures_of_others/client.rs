//! What befalls a single client.

use core::time::Duration;
use std::collections::BTreeSet;

use libp2p_rendezvous::{ErrorCode, client::RegisterError};
use rendezvous_core::client::{Answer, Client, ClientConfig, RequestKind};
use rendezvous_sim::{Network, World, fixtures, fixtures::EPOCH};
use rendezvous_swarm::{
    client::{Event, Failure, Fault, From, LookupConfig},
    server,
};
use rendezvous_tests::{
    in_time,
    node::Options,
    ours::{self, namespace},
    raw::{self, Reply},
    theirs,
};
use rendezvous_wire::{Status, Ttl};

/// "A silent point hangs the client for ever."
#[tokio::test]
async fn a_silent_point_hangs_nobody() {
    in_time(async {
        let point = raw::point(|_| Reply::Silence).await;
        let mut client = ours::client_with(Options::default(), |config| {
            config.client.request_timeout = Duration::from_secs(1);
        })
        .await;
        client.knows_point(point.peer, &point.address).await;
        let outcome = client.discover(Some("chat"), point.peer, 100, From::Fresh).await;
        assert_eq!(outcome.unwrap_err(), Failure::TimedOut);
        let id = client.register("chat", point.peer, 7_200).await;
        assert_eq!(client.not_registered(id).await, Failure::TimedOut);
    })
    .await;
}

/// "One dead point stops discovery; records are not shared between points."
#[tokio::test]
async fn a_dead_and_a_silent_point_stop_neither_registration_nor_discovery() {
    in_time(async {
        let dead = ours::point(|_| {}).await;
        let (dead_peer, dead_address) = (dead.peer, dead.address.clone());
        dead.stop().await;
        let silent = raw::point(|_| Reply::Silence).await;
        let (one, two) = (ours::point(|_| {}).await, ours::point(|_| {}).await);
        let points = [dead_peer, silent.peer, one.peer, two.peer];

        // Each of two peers is registered with one of the two points that work.
        let (mut first, mut second) = (ours::client().await, ours::client().await);
        for (client, point) in [(&mut first, &one), (&mut second, &two)] {
            client.knows_point(point.peer, &point.address).await;
            let id = client.register("chat", point.peer, 7_200).await;
            client.registered(id).await;
        }

        let mut reader = ours::client().await;
        for (peer, address) in [
            (dead_peer, &dead_address),
            (silent.peer, &silent.address),
            (one.peer, &one.address),
            (two.peer, &two.address),
        ] {
            reader.knows_point(peer, address).await;
        }
        let id = reader.role(move |client| client.register(namespace("chat"), points, None)).await;
        let lookup =
            reader.role(move |client| client.look_up(Some(namespace("chat")), points, LookupConfig::default())).await;
        let (mut registered, mut polled, mut failed) = (0, 0, 0);
        while registered < 4 || polled < 2 || failed < 1 {
            match reader.event().await {
                // In both flavours at each.
                Event::Registered { id: told, .. } => registered += u32::from(told == id),
                Event::LookupPolled { .. } => polled += 1,
                Event::LookupFailed { point, failure, .. } => {
                    assert_eq!((point, failure), (dead_peer, Failure::Unreachable));
                    failed += 1;
                }
                _ => {}
            }
        }
        // Nothing has waited for the silent point, whose time is not over.
        let found: BTreeSet<_> =
            reader.role(move |client| client.found(lookup).map(|merged| merged.record.peer_id()).collect()).await;
        assert_eq!(found, BTreeSet::from([first.peer, second.peer]));
    })
    .await;
}

/// "Every transport failure is reported as Unavailable, like a refusal."
#[tokio::test]
async fn a_refusal_a_dead_point_an_unsupported_protocol_and_a_closed_stream_are_told_apart() {
    in_time(async {
        let dead = ours::point(|_| {}).await;
        let (dead_peer, dead_address) = (dead.peer, dead.address.clone());
        dead.stop().await;
        let mut no_point = theirs::client().await;
        let mut closing = raw::point(|_| Reply::Close).await;
        let mut full = ours::point(|config| config.server.registrations_max = 0).await;

        let (mut ours, mut theirs) = (ours::client().await, theirs::client().await);
        ours.knows_point(dead_peer, &dead_address).await;
        ours.connect(&mut no_point).await;
        theirs.connect(&mut no_point).await;
        ours.connect(&mut closing).await;
        theirs.connect(&mut closing).await;
        ours.connect(&mut full).await;
        theirs.connect(&mut full).await;

        let cases = [
            (dead_peer, Failure::Unreachable, Fault::Network),
            (no_point.peer, Failure::Unsupported, Fault::Point),
            (closing.peer, Failure::ClosedWithoutAnswer, Fault::Point),
        ];
        for (point, failure, fault) in cases {
            let outcome = ours.discover(Some("chat"), point, 100, From::Fresh).await;
            assert_eq!(outcome.unwrap_err(), failure);
            assert_eq!(failure.fault(), fault);
            // In 0.18 it is what a refusal is.
            let outcome = theirs.discover(Some("chat"), point, None, None).await;
            assert_eq!(outcome.unwrap_err(), ErrorCode::Unavailable);
        }
        let id = ours.register("chat", full.peer, 7_200).await;
        let failure = ours.not_registered(id).await;
        assert!(matches!(failure, Failure::Refused { status: Status::Unavailable, .. }), "{failure:?}");
        assert_eq!(failure.fault(), Fault::Refused);
        assert_eq!(theirs.register("chat", full.peer, None).await, Err(ErrorCode::Unavailable));
    })
    .await;
}

/// "Registration 'succeeds' with no external address, and nobody is told."
#[tokio::test]
async fn a_registration_without_an_external_address_is_told_and_made_up_for() {
    in_time(async {
        let mut point = ours::point(|_| {}).await;
        let mut client = ours::client_with(Options::default().hidden(), |_| {}).await;
        client.knows_point(point.peer, &point.address).await;
        let id = client.register("chat", point.peer, 7_200).await;
        assert_eq!(client.event().await, Event::NoAddresses { id });
        assert_eq!(client.requests_sent().await, 0);
        let address = client.address.clone();
        client.with(move |swarm| swarm.add_external_address(address)).await;
        client.registered(id).await;
        assert!(matches!(point.event().await, server::Event::Registered { .. }));

        // 0.18 refuses the command, and registers nothing later.
        let theirs = theirs::client_with(Options::default().hidden()).await;
        let peer = point.peer;
        let refused = theirs.role(move |client| client.register(theirs::namespace("chat"), peer, None)).await;
        assert!(matches!(refused, Err(RegisterError::NoExternalAddresses)));
    })
    .await;
}

/// "`unregister` of one namespace forgets others."
#[tokio::test]
async fn unregister_of_one_namespace_remembers_the_others() {
    in_time(async {
        let another: libp2p::Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let mut point = ours::point(|_| {}).await;
        let mut reader = ours::client().await;
        reader.connect(&mut point).await;

        let mut ours = ours::client().await;
        ours.knows_point(point.peer, &point.address).await;
        let gone = ours.register("gone", point.peer, 7_200).await;
        let kept = ours.register("kept", point.peer, 7_200).await;
        for _ in 0..4 {
            assert!(matches!(ours.event().await, Event::Registered { .. }));
        }
        ours.role(move |client| client.unregister(gone)).await;
        assert!(matches!(ours.event().await, Event::Unregistered { id, failure: None, .. } if id == gone));
        let address = another.clone();
        ours.with(move |swarm| swarm.add_external_address(address)).await;
        ours.registered(kept).await;
        ours.registered(kept).await;
        let page = reader.discover(None, point.peer, 100, From::Fresh).await.unwrap();
        let [found] = &page.registrations[..] else { panic!("one registration, not {page:?}") };
        assert_eq!((found.namespace.clone(), found.record.addresses().count()), (namespace("kept"), 2));

        // 0.18 registers nothing again at this point: the request behind it is answered, and no other came before.
        let mut theirs = theirs::client().await;
        theirs.connect(&mut point).await;
        for name in ["gone", "kept"] {
            assert_eq!(theirs.register(name, point.peer, None).await, Ok(7_200));
        }
        theirs.unregister("gone", point.peer).await;
        theirs.with(move |swarm| swarm.add_external_address(another)).await;
        assert_eq!(theirs.register("new", point.peer, None).await, Ok(7_200));
        let page = reader.discover(Some("kept"), point.peer, 100, From::Fresh).await.unwrap();
        let of_theirs = page.registrations.iter().find(|found| found.record.peer_id() == theirs.peer).unwrap();
        assert_eq!(of_theirs.record.addresses().collect::<Vec<_>>(), [theirs.address.clone()]);
    })
    .await;
}

/// "Unregister does not stop the refresher; the peer reappears."
#[test]
fn unregister_stops_the_refresher_even_while_a_refresh_is_under_way() {
    let ttl = Ttl::from_secs(120);
    for seed in 0..60 {
        let mut world = World::new(seed, Network::default(), server::ServerConfig::default());
        let index = world.add_client(ClientConfig::default());
        let id = world.command(index, |client, now, point| client.register(now, namespace("chat"), [point], Some(ttl)));
        // Refreshes come after 90 s to 105 s: some of these instants are in the midst of one.
        world.run_for(Duration::from_millis(90_000 + 250 * seed));
        assert!(world.server().is_registered(&world.peer(index), "chat"));
        assert!(world.command(index, |client, now, _| client.unregister(now, id)));
        world.run_for(Duration::from_secs(1));
        let before = world.server().stats();
        assert_eq!(before.registrations, 0);
        world.run_for(Duration::from_secs(20 * 120));
        assert_eq!(world.server().stats(), before, "it does not reappear");
    }
}

/// "The refresher ignores the granted TTL; the first retry comes after the TTL has ended."
#[test]
fn the_refresher_keeps_to_the_granted_ttl_and_retries_before_it_ends() {
    for seed in 0..50 {
        let mut client = Client::new(ClientConfig::default(), fixtures::keypair(1), [seed; 32]);
        let point = fixtures::keypair(2).public().to_peer_id();
        client.set_addresses(EPOCH, fixtures::addresses(1));
        let _ = client.register(EPOCH, namespace("chat"), [point], Some(Ttl::DEFAULT));
        let request = client.poll_request(EPOCH).unwrap();
        client.handle_answer(EPOCH, request.id, Answer::Registered { ttl: Ttl::from_secs(120) });
        let end = EPOCH + Duration::from_secs(120);

        let mut tries = Vec::new();
        while let Some(now) = client.poll_timeout().filter(|now| *now < end) {
            client.handle_timeout(now);
            while client.poll_event().is_some() {}
            while let Some(request) = client.poll_request(now) {
                assert_eq!(request.kind, RequestKind::Register);
                assert!(!tries.is_empty() || request.deadline < end, "the first one fails before the end");
                tries.push(now.saturating_since(EPOCH).as_secs());
                client.handle_failure(now, request.id, Failure::TimedOut);
            }
            assert!(tries.len() < 1_000, "there is a pause between tries");
        }
        assert!((90..=105).contains(&tries[0]), "the first refresh comes after {} s of 120", tries[0]);
        assert!(tries.len() >= 4, "{} tries within the lifetime", tries.len());
    }
}
