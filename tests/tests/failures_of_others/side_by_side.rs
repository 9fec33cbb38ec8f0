//! The point of `libp2p-rendezvous` 0.18 and ours under the same clients.

use std::collections::BTreeSet;

use libp2p_rendezvous::{ErrorCode, server};
use rendezvous_swarm::server::Event;
use rendezvous_tests::{in_time, node::Options, ours, theirs};
use rendezvous_wire::Ttl;

/// "A refresh is refused when the peer or the store is at its cap, so everything lapses at its TTL."
#[tokio::test]
async fn a_refresh_passes_when_the_peer_and_the_point_are_at_their_caps() {
    in_time(async {
        let mut ours = ours::point(|config| {
            config.server.registrations_per_peer_max = 1;
            config.server.registrations_max = 1;
        })
        .await;
        let mut peer_full = theirs::point(|config| config.with_max_registration_per_peer(1)).await;
        let mut point_full = theirs::point(|config| config.with_max_registration_total(0)).await;
        let mut client = theirs::client().await;
        client.connect(&mut ours).await;
        client.connect(&mut peer_full).await;
        client.connect(&mut point_full).await;
        for point in [ours.peer, peer_full.peer, point_full.peer] {
            assert_eq!(client.register("chat", point, None).await, Ok(7_200));
        }
        assert_eq!(client.register("chat", ours.peer, None).await, Ok(7_200));
        assert_eq!(client.register("chat", peer_full.peer, None).await, Err(ErrorCode::Unavailable), "0.18");
        assert_eq!(client.register("chat", point_full.peer, None).await, Err(ErrorCode::Unavailable), "0.18");
    })
    .await;
}

/// "Re-registering one namespace leaks a record and a timer each time, past every cap."
#[tokio::test]
async fn re_registering_one_namespace_leaves_one_record_and_one_timer() {
    in_time(async {
        let mut ours = ours::point(|config| config.server.ttl_min = Ttl::from_secs(1)).await;
        let mut theirs = theirs::point(|config| config.with_min_ttl(1)).await;
        let mut client = theirs::client().await;
        client.connect(&mut ours).await;
        client.connect(&mut theirs).await;
        for _ in 0..5 {
            for point in [ours.peer, theirs.peer] {
                assert_eq!(client.register("chat", point, Some(2)).await, Ok(2));
            }
        }
        for renewed in [false, true, true, true, true] {
            assert!(matches!(ours.event().await, Event::Registered { renewed: told, .. } if told == renewed));
        }
        assert!(matches!(ours.event().await, Event::Expired { .. }));
        // The end of another one comes when all timers of the first have gone off.
        assert_eq!(client.register("news", ours.peer, Some(1)).await, Ok(1));
        assert!(matches!(ours.event().await, Event::Registered { .. }));
        let news = Event::Expired { peer: client.peer, namespace: ours::namespace("news") };
        assert_eq!(ours.event().await, news);
        let stats = ours.stats().await;
        assert_eq!((stats.registers, stats.renewals, stats.expiries, stats.record_bytes), (2, 4, 2, 0));

        // 0.18 has kept five records of the one registration, each with its timer.
        let mut ended = 0;
        while ended < 5 {
            match theirs.event().await {
                server::Event::PeerRegistered { .. } => {}
                server::Event::RegistrationExpired(_) => ended += 1,
                other => panic!("a registration or its end, not {other:?}"),
            }
        }
    })
    .await;
}

/// "An answer larger than the reader's limit makes a namespace unreadable."
#[tokio::test]
async fn an_answer_larger_than_the_readers_limit_comes_in_pages() {
    const NAMESPACES: usize = 300;
    in_time(async {
        let mut ours = ours::point(|_| {}).await;
        let mut theirs = theirs::point(|config| config.with_max_registration_per_peer(NAMESPACES)).await;
        let mut client = theirs::client_with(Options::default().hidden()).await;
        client.connect(&mut ours).await;
        client.connect(&mut theirs).await;
        // Twenty long addresses are a record of four kilobytes, and three hundred of them more than a mebibyte.
        let long = "x".repeat(200);
        client
            .with(move |swarm| {
                for number in 10..30 {
                    swarm.add_external_address(format!("/dns4/{number}{long}/tcp/4001").parse().unwrap());
                }
            })
            .await;
        let names: BTreeSet<_> = (0..NAMESPACES).map(|number| format!("room-{number}")).collect();
        for name in &names {
            assert_eq!(client.register(name, ours.peer, None).await, Ok(7_200));
            assert_eq!(client.register(name, theirs.peer, None).await, Ok(7_200));
        }
        assert!(ours.stats().await.record_bytes > 1 << 20);

        let mut found = BTreeSet::new();
        let mut cookie = None;
        for pages in 0.. {
            let page = client.discover(None, ours.peer, None, cookie.as_ref()).await.unwrap();
            if page.registrations.is_empty() {
                assert_eq!(pages, 2);
                break;
            }
            found.extend(page.registrations.into_iter().map(|found| String::from(found.namespace)));
            cookie = Some(page.cookie);
        }
        assert_eq!(found, names);

        let outcome = client.discover(None, theirs.peer, None, None).await;
        assert_eq!(outcome.unwrap_err(), ErrorCode::Unavailable, "0.18 writes what it does not read");
    })
    .await;
}
