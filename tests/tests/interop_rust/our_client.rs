//! Our client at its point.

use std::collections::BTreeSet;

use libp2p_rendezvous::server;
use rendezvous_record::{Flavour, Flavours};
use rendezvous_swarm::client::{Event, Failure, Fault, From};
use rendezvous_tests::{in_time, node::Options, ours, theirs};
use rendezvous_wire::{Status, Ttl};

/// A point of theirs, and a client of ours that knows where it is.
async fn at_their_point(change: impl FnOnce(server::Config) -> server::Config) -> (theirs::Point, ours::Client) {
    let point = theirs::point(change).await;
    let client = ours::client().await;
    client.knows_point(point.peer, &point.address).await;
    (point, client)
}

/// The next event at the point. Its old timers of renewed registrations are passed over.
async fn told(point: &mut theirs::Point) -> server::Event {
    loop {
        match point.event().await {
            server::Event::RegistrationExpired(_) => {}
            event => return event,
        }
    }
}

#[tokio::test]
async fn that_the_point_reads_the_legacy_flavour_alone_is_learnt_once() {
    in_time(async {
        let (mut point, mut client) = at_their_point(|config| config).await;

        // The record of the standard flavour costs the stream; the other one is tried at once.
        let first = client.register("chat", point.peer, 7_200).await;
        assert_eq!(client.registered(first).await, (Flavour::Legacy, 7_200));
        assert_eq!(client.requests_sent().await, 2);
        match told(&mut point).await {
            server::Event::PeerRegistered { peer, registration } => {
                assert_eq!((peer, registration.ttl), (client.peer, 7_200));
                assert_eq!(registration.namespace, theirs::namespace("chat"));
                assert_eq!(registration.record.addresses(), [client.address.clone()]);
            }
            other => panic!("a registration, not {other:?}"),
        }

        let second = client.register("news", point.peer, 7_200).await;
        assert_eq!(client.registered(second).await, (Flavour::Legacy, 7_200));
        assert_eq!(client.requests_sent().await, 3, "the flavour is remembered");
        assert!(matches!(told(&mut point).await, server::Event::PeerRegistered { .. }));
        let at = point.peer;
        let flavours = client.role(move |client| client.registered_flavours(first, &at)).await;
        assert_eq!(flavours, Flavours::LEGACY);
    })
    .await;
}

#[tokio::test]
async fn our_client_renews_in_time_and_unregisters() {
    in_time(async {
        let (mut point, mut client) = at_their_point(|config| config.with_min_ttl(1)).await;
        let id = client.register("chat", point.peer, 3).await;
        for _ in 0..3 {
            assert_eq!(client.registered(id).await, (Flavour::Legacy, 3), "it does not lapse");
            assert!(matches!(told(&mut point).await, server::Event::PeerRegistered { .. }));
        }
        assert!(client.role(move |client| client.unregister(id)).await);
        assert!(matches!(client.event().await, Event::Unregistered { failure: None, .. }));
        match told(&mut point).await {
            server::Event::PeerUnregistered { peer, namespace } => {
                assert_eq!((peer, namespace), (client.peer, theirs::namespace("chat")));
            }
            other => panic!("a withdrawal, not {other:?}"),
        }
        let mut stranger = theirs::client().await;
        stranger.connect(&mut point).await;
        assert_eq!(stranger.discover(Some("chat"), point.peer, None, None).await.unwrap().peers(), []);
    })
    .await;
}

#[tokio::test]
async fn both_families_find_each_other_at_its_point() {
    in_time(async {
        let (mut point, mut ours) = at_their_point(|config| config).await;
        let mut theirs = theirs::client().await;
        theirs.connect(&mut point).await;
        let id = ours.register("chat", point.peer, 7_200).await;
        assert_eq!(ours.registered(id).await.0, Flavour::Legacy);
        assert_eq!(theirs.register("chat", point.peer, None).await, Ok(7_200));

        let page = ours.discover(Some("chat"), point.peer, 100, From::Fresh).await.unwrap();
        assert_eq!(page.peers(), [theirs.peer]);
        let found = &page.registrations[0];
        assert_eq!((found.record.flavour(), found.ttl), (Flavour::Legacy, Ttl::DEFAULT));
        assert_eq!(found.record.addresses().collect::<Vec<_>>(), [theirs.address.clone()]);
        assert_eq!((page.skipped.own, page.skipped.total()), (1, 1));

        let page = theirs.discover(Some("chat"), point.peer, None, None).await.unwrap();
        assert_eq!(page.peers().into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([ours.peer, theirs.peer]));
    })
    .await;
}

#[tokio::test]
async fn our_client_walks_its_pages_and_then_sees_only_what_is_new() {
    in_time(async {
        let (mut point, mut client) = at_their_point(|config| config).await;
        let mut registered = BTreeSet::new();
        let mut others = Vec::new();
        for _ in 0..5 {
            let mut other = theirs::client().await;
            other.connect(&mut point).await;
            assert_eq!(other.register("chat", point.peer, None).await, Ok(7_200));
            registered.insert(other.peer);
            others.push(other);
        }
        let walked = client.walk(Some("chat"), point.peer, 2, From::Fresh).await;
        assert_eq!(walked.len(), 5);
        assert_eq!(walked.into_iter().collect::<BTreeSet<_>>(), registered);

        assert_eq!(client.walk(Some("chat"), point.peer, 2, From::Cookie).await, []);
        let mut late = theirs::client().await;
        late.connect(&mut point).await;
        assert_eq!(late.register("chat", point.peer, None).await, Ok(7_200));
        assert_eq!(client.walk(Some("chat"), point.peer, 2, From::Cookie).await, [late.peer]);
        // The listing of all namespaces has a cookie of its own.
        assert_eq!(client.walk(None, point.peer, 4, From::Cookie).await.len(), 6);
    })
    .await;
}

#[tokio::test]
async fn what_lapses_at_its_point_is_told_to_the_owner_and_to_who_found_it() {
    in_time(async {
        let (mut point, mut owner) = at_their_point(|config| config.with_min_ttl(1)).await;
        let mut other = ours::client().await;
        other.connect(&mut point).await;
        // A lifetime of a second is too short to be refreshed in time.
        let id = owner.register("chat", point.peer, 1).await;
        assert_eq!(owner.registered(id).await, (Flavour::Legacy, 1));
        // Its point tells the lifetime that was granted, not what remains of it.
        let page = other.discover(Some("chat"), point.peer, 100, From::Fresh).await.unwrap();
        assert_eq!(page.peers(), [owner.peer]);

        let (point, namespace, kind) = (point.peer, ours::namespace("chat"), Flavour::Legacy.into());
        assert_eq!(owner.event().await, Event::Lapsed { id, point, namespace, kind });
        assert_eq!(other.event().await, Event::PeerExpired { peer: owner.peer });
    })
    .await;
}

#[tokio::test]
async fn a_registration_ends_at_its_point_when_the_owner_is_gone() {
    in_time(async {
        let (mut point, mut owner) = at_their_point(|config| config.with_min_ttl(1)).await;
        let id = owner.register("chat", point.peer, 2).await;
        owner.registered(id).await;
        let peer = owner.peer;
        owner.stop().await;
        let mut ended = false;
        while !ended {
            match point.event().await {
                server::Event::RegistrationExpired(registration) => ended = registration.record.peer_id() == peer,
                server::Event::PeerRegistered { .. } => {}
                other => panic!("the end of the registration, not {other:?}"),
            }
        }
        let mut stranger = ours::client().await;
        stranger.knows_point(point.peer, &point.address).await;
        assert_eq!(stranger.walk(Some("chat"), point.peer, 100, From::Fresh).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_ttl_that_it_refuses_without_a_word_is_asked_for_otherwise_and_its_bound_remembered() {
    in_time(async {
        let (point, mut client) = at_their_point(|config| config).await;
        let (peer, id) = (point.peer, client.register("chat", point.peer, 60).await);
        client.registered(id).await;
        let known = client.role(move |client| client.point_memory(&peer).cloned()).await.unwrap();
        assert_eq!((known.flavour, known.ttl_min), (Some(Flavour::Legacy), Some(Ttl::DEFAULT)));
    })
    .await;
}

#[tokio::test]
async fn its_refusals_are_typed_failures() {
    in_time(async {
        let refused = |status| Failure::Refused { status, text: String::new() };

        // Below its minimum of two hours.
        let point = theirs::point(|config| config).await;
        let mut client = ours::client_with(Options::default(), |config| config.client.adapts_ttl = false).await;
        client.knows_point(point.peer, &point.address).await;
        let id = client.register("chat", point.peer, 60).await;
        let failure = client.not_registered(id).await;
        assert_eq!(failure, refused(Status::InvalidTtl));
        assert_eq!(failure.fault(), Fault::Refused);

        // Its quota of the peer, which it calls unavailable.
        let (point, mut client) = at_their_point(|config| config.with_max_registration_per_peer(1)).await;
        let first = client.register("chat", point.peer, 7_200).await;
        client.registered(first).await;
        let second = client.register("news", point.peer, 7_200).await;
        assert_eq!(client.not_registered(second).await, refused(Status::Unavailable));

        // Its bound on all registrations, which it lets exceed by one.
        let (point, mut client) = at_their_point(|config| config.with_max_registration_total(0)).await;
        let first = client.register("chat", point.peer, 7_200).await;
        client.registered(first).await;
        let second = client.register("news", point.peer, 7_200).await;
        assert_eq!(client.not_registered(second).await, refused(Status::Unavailable));
    })
    .await;
}
