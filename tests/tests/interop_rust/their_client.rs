//! Its client at our point.

use std::collections::BTreeSet;

use libp2p_rendezvous::client;
use rendezvous_record::Flavour;
use rendezvous_swarm::server::Event;
use rendezvous_tests::{
    in_time,
    ours::{self, namespace},
    theirs,
};
use rendezvous_wire::Ttl;

#[tokio::test]
async fn its_client_registers_and_renews_and_another_finds_it() {
    in_time(async {
        let mut point = ours::point(|_| {}).await;
        let (mut alice, mut bob) = (theirs::client().await, theirs::client().await);
        alice.connect(&mut point).await;
        bob.connect(&mut point).await;

        for (asked, granted, renewed) in [(None, 7_200, false), (Some(10_000), 10_000, true)] {
            assert_eq!(alice.register("chat", point.peer, asked).await, Ok(granted));
            let registered = Event::Registered {
                peer: alice.peer,
                namespace: namespace("chat"),
                kind: Flavour::Legacy.into(),
                ttl: Ttl::from_secs(granted),
                renewed,
            };
            assert_eq!(point.event().await, registered);
        }
        assert_eq!(point.stats().await.registrations, 1);

        let page = bob.discover(Some("chat"), point.peer, None, None).await.unwrap();
        let [found] = &page.registrations[..] else { panic!("one registration, not {page:?}") };
        assert_eq!(found.namespace, theirs::namespace("chat"));
        assert_eq!((found.record.peer_id(), found.record.addresses()), (alice.peer, &[alice.address.clone()][..]));
        // What remains of it: the minute that the test may take at most is over.
        assert!((9_940..=10_000).contains(&found.ttl), "{} s", found.ttl);
        let served = Event::Served { peer: bob.peer, namespace: Some(namespace("chat")), count: 1 };
        assert_eq!(point.event().await, served);
    })
    .await;
}

#[tokio::test]
async fn its_client_follows_a_cookie_to_what_is_new_and_nothing_else() {
    in_time(async {
        let mut point = ours::point(|_| {}).await;
        let (mut alice, mut bob, mut carol) = (theirs::client().await, theirs::client().await, theirs::client().await);
        for client in [&mut alice, &mut bob, &mut carol] {
            client.connect(&mut point).await;
        }
        assert_eq!(alice.register("chat", point.peer, None).await, Ok(7_200));
        for name in [Some("chat"), None] {
            let page = carol.discover(name, point.peer, None, None).await.unwrap();
            assert!(page.peers().contains(&alice.peer));
            // Applications compare this with what they asked for.
            assert_eq!(page.cookie.namespace(), name.map(theirs::namespace).as_ref());

            let page = carol.discover(name, point.peer, None, Some(&page.cookie)).await.unwrap();
            assert_eq!(page.peers(), []);

            let other = format!("other-{}", name.unwrap_or_default());
            assert_eq!(bob.register(&other, point.peer, None).await, Ok(7_200));
            assert_eq!(bob.register("chat", point.peer, None).await, Ok(7_200));
            let expected = if name.is_some() { vec![bob.peer] } else { vec![bob.peer, bob.peer] };
            let page = carol.discover(name, point.peer, None, Some(&page.cookie)).await.unwrap();
            assert_eq!(page.peers(), expected);
        }
    })
    .await;
}

#[tokio::test]
async fn its_client_walks_all_pages_and_sees_each_registration_once() {
    in_time(async {
        let mut point = ours::point(|_| {}).await;
        let (mut alice, mut bob) = (theirs::client().await, theirs::client().await);
        alice.connect(&mut point).await;
        bob.connect(&mut point).await;
        let names = ["a", "b", "c", "d", "e"];
        for name in names {
            assert_eq!(alice.register(name, point.peer, None).await, Ok(7_200));
        }
        let mut found = Vec::new();
        let mut cookie = None;
        for on_page in [2, 2, 1, 0] {
            let page = bob.discover(None, point.peer, Some(2), cookie.as_ref()).await.unwrap();
            assert_eq!(page.registrations.len(), on_page);
            found.extend(page.registrations.into_iter().map(|found| String::from(found.namespace)));
            cookie = Some(page.cookie);
        }
        assert_eq!(found, names);
    })
    .await;
}

#[tokio::test]
async fn its_client_unregisters_one_namespace_and_stays_in_the_other() {
    in_time(async {
        let mut point = ours::point(|_| {}).await;
        let mut alice = theirs::client().await;
        alice.connect(&mut point).await;
        for name in ["chat", "news"] {
            assert_eq!(alice.register(name, point.peer, None).await, Ok(7_200));
            assert!(matches!(point.event().await, Event::Registered { .. }));
        }
        alice.unregister("chat", point.peer).await;
        let withdrawn = Event::Unregistered { peer: alice.peer, namespace: namespace("chat") };
        assert_eq!(point.event().await, withdrawn);
        assert_eq!(alice.discover(Some("chat"), point.peer, None, None).await.unwrap().peers(), []);
        assert_eq!(alice.discover(Some("news"), point.peer, None, None).await.unwrap().peers(), [alice.peer]);
    })
    .await;
}

#[tokio::test]
async fn a_registration_of_its_client_ends_by_its_ttl_at_the_point_and_where_it_was_found() {
    in_time(async {
        let mut point = ours::point(|config| config.server.ttl_min = Ttl::from_secs(1)).await;
        let (mut alice, mut bob) = (theirs::client().await, theirs::client().await);
        alice.connect(&mut point).await;
        bob.connect(&mut point).await;

        assert_eq!(alice.register("chat", point.peer, Some(3)).await, Ok(3));
        assert!(matches!(point.event().await, Event::Registered { .. }));
        let page = bob.discover(Some("chat"), point.peer, None, None).await.unwrap();
        assert_eq!(page.peers(), [alice.peer]);
        assert!((1..=3).contains(&page.registrations[0].ttl));
        assert!(matches!(point.event().await, Event::Served { count: 1, .. }));

        let ended = Event::Expired { peer: alice.peer, namespace: namespace("chat") };
        assert_eq!(point.event().await, ended);
        assert!(matches!(bob.event().await, client::Event::Expired { peer } if peer == alice.peer));
        assert_eq!(bob.discover(Some("chat"), point.peer, None, None).await.unwrap().peers(), []);
        assert_eq!(point.stats().await.registrations, 0);
    })
    .await;
}

#[tokio::test]
async fn its_client_registers_in_a_hundred_namespaces_at_once() {
    in_time(async {
        let mut point = ours::point(|_| {}).await;
        let mut alice = theirs::client().await;
        alice.connect(&mut point).await;
        // As many as it opens streams for; each a stream of its own. So it does when its addresses change.
        let names: BTreeSet<_> = (0..100).map(|number| format!("room-{number}")).collect();
        let (asked, peer) = (names.clone(), point.peer);
        alice
            .role(move |client| {
                for name in &asked {
                    client.register(theirs::namespace(name), peer, None).unwrap();
                }
            })
            .await;
        let mut granted = BTreeSet::new();
        for _ in 0..names.len() {
            match alice.event().await {
                client::Event::Registered { namespace, .. } => granted.insert(String::from(namespace)),
                other => panic!("a grant, not {other:?}"),
            };
        }
        assert_eq!(granted, names);
    })
    .await;
}
