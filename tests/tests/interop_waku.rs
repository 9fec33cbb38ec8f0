//! The Waku dialect: peers that speak as go-waku-rendezvous does, byte by byte, with a point and a client of ours, and the
//! one registry that both dialects see.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "interop_raw/waku.rs"]
mod waku;

use std::collections::BTreeSet;

use futures::StreamExt as _;
use libp2p::{
    core::{PeerRecord, SignedEnvelope},
    identity::Keypair,
};
use rendezvous_record::Flavour;
use rendezvous_swarm::{
    client::{self, Dialect, From},
    server::{Dialects, Event},
};
use rendezvous_tests::{in_time, node::Options, ours, raw};

const ROOM: &str = "room";

/// Reads an envelope as Go does: one of the other flavour is an error.
fn read_envelope(envelope: &[u8]) -> PeerRecord {
    let envelope = SignedEnvelope::from_protobuf_encoding(envelope).expect("an envelope");
    PeerRecord::from_signed_envelope_interop(envelope).expect("a record of the standard flavour")
}

#[tokio::test]
async fn a_go_peer_and_peers_of_ours_find_each_other_in_one_registry_over_two_dialects() {
    in_time(async {
        let mut point = ours::point(|config| config.dialects = Dialects::ALL).await;
        let mut go = raw::peer(Options::default().key(Keypair::generate_secp256k1())).await;
        let (mut waku, mut main) = (ours::client().await, ours::client().await);
        go.connect(&mut point).await;
        waku.connect(&mut point).await;
        main.connect(&mut point).await;
        let peer = point.peer;
        assert!(waku.role(move |client| client.set_point_dialect(peer, Dialect::Waku)).await);

        // Go says no TTL, and too long a one, on its one stream.
        let mut stream = waku::Stream::open(&go, point.peer).await;
        let envelope = raw::standard_envelope(&go);
        assert_eq!(stream.register(&envelope, ROOM, 0).await, (0, 20));
        assert_eq!(stream.register(&envelope, ROOM, 7_200).await.0, 102);
        assert_eq!(stream.register(&envelope, "", 20).await.0, 100);
        assert_eq!(
            stream.register(&raw::standard_envelope(&raw::peer(Options::default()).await), ROOM, 20).await.0,
            200
        );
        assert_eq!(stream.register(b"no envelope", ROOM, 20).await.0, 101, "E_INVALID_PEER_INFO");
        let id = waku.register(ROOM, point.peer, 7_200).await;
        assert_eq!(waku.registered(id).await, (Flavour::Standard, 20));
        let id = main.register(ROOM, point.peer, 7_200).await;
        let flavours = BTreeSet::from([main.registered(id).await.0, main.registered(id).await.0]);
        assert_eq!(flavours, BTreeSet::from(Flavour::ALL));

        let mut all = [go.peer, waku.peer, main.peer];
        all.sort_unstable();
        let found = stream.discover(ROOM, 0).await;
        assert_eq!(found.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), all);
        for (peer, ttl_secs) in found {
            let most = if peer == main.peer { 7_200 } else { 20 };
            assert!((1..=most).contains(&ttl_secs) && ttl_secs + 15 > most, "{ttl_secs} s");
        }
        assert_eq!(stream.discover(ROOM, 2).await.len(), 2);
        assert_eq!(stream.discover("another room", 2).await, []);

        // The client's own registration is left out of what it is told.
        let others = [[go.peer, main.peer], [go.peer, waku.peer]];
        for (client, others) in [&mut waku, &mut main].into_iter().zip(others) {
            let page = client.discover(Some(ROOM), point.peer, 100, From::Cookie).await.unwrap();
            assert_eq!(page.peers().into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(others));
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_of_ours_keeps_registered_with_a_go_point_and_reads_what_it_leaves_out() {
    in_time(async {
        let (mut point, mut asked) = waku::point().await;
        let mut client = ours::client().await;
        client.connect(&mut point).await;
        let peer = point.peer;
        assert!(client.role(move |client| client.set_point_dialect(peer, Dialect::Waku)).await);
        let id = client.register(ROOM, peer, 7_200).await;
        assert_eq!(asked.next().await, Some(waku::Asked::Register { ttl_secs: 20 }));
        assert_eq!(client.registered(id).await, (Flavour::Standard, 20));
        for _ in 0..2 {
            let page = client.discover(Some(ROOM), peer, 5, From::Cookie).await.unwrap();
            assert_eq!(asked.next().await, Some(waku::Asked::Discover { limit: 5 }));
            // It lists this client alone, and has no more.
            assert_eq!((page.registrations.len(), page.skipped.own, page.more), (0, 1, false));
        }
        assert!(client.role(move |client| client.unregister(id)).await);
        let event = client.event().await;
        assert!(matches!(event, client::Event::Unregistered { failure: None, .. }), "{event:?}");
        client.discover(Some(ROOM), peer, 5, From::Cookie).await.unwrap();
        assert_eq!(asked.next().await, Some(waku::Asked::Discover { limit: 5 }), "nothing was sent in between");
    })
    .await;
}

#[tokio::test]
async fn the_point_tells_of_registrations_of_either_dialect_alike() {
    in_time(async {
        let mut point = ours::point(|config| config.dialects = Dialects::WAKU).await;
        let mut go = raw::peer(Options::default()).await;
        go.connect(&mut point).await;
        let mut stream = waku::Stream::open(&go, point.peer).await;
        stream.register(&raw::standard_envelope(&go), ROOM, 20).await;
        match point.event().await {
            Event::Registered { peer, ttl, renewed: false, .. } => assert_eq!((peer, ttl.as_secs()), (go.peer, 20)),
            other => panic!("a registration, not {other:?}"),
        }
        stream.discover(ROOM, 7).await;
        assert!(matches!(point.event().await, Event::Served { count: 1, .. }));
    })
    .await;
}
