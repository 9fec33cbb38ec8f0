//! All families at one point of ours: a peer of `libp2p-rendezvous` 0.18, a peer of ours, and peers that speak as nim, js
//! and Go do, byte by byte. Each registers, and each finds all whose record it reads.
//!
//! The strict readers stand in the modules; what they insist on is what those implementations insist on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "interop_raw/berty.rs"]
mod berty;
#[path = "interop_raw/go.rs"]
mod go;
#[path = "interop_raw/js.rs"]
mod js;
#[path = "interop_raw/nim.rs"]
mod nim;

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{
    PeerId,
    core::{PeerRecord, SignedEnvelope},
    identity::Keypair,
};
use rendezvous_record::{Flavour, Flavours};
use rendezvous_swarm::{client::From, server::Event};
use rendezvous_tests::{in_time, node::Options, ours, raw, theirs};

const ROOM: &str = "room of all";

/// An envelope of the standard flavour with the address of a peer.
fn envelope(peer: &raw::Peer) -> Vec<u8> {
    let record = PeerRecord::new_interop(&peer.key, vec![peer.address.clone()]).unwrap();
    record.into_signed_envelope().into_protobuf_encoding()
}

/// Reads an envelope as all but rust-libp2p do: one of the other flavour is an error.
fn read_envelope(envelope: &[u8]) -> PeerRecord {
    let envelope = SignedEnvelope::from_protobuf_encoding(envelope).expect("an envelope");
    PeerRecord::from_signed_envelope_interop(envelope).expect("a record of the standard flavour")
}

#[tokio::test]
async fn peers_of_five_families_register_at_one_point_and_find_all_whose_records_they_read() {
    in_time(async {
        let mut point = ours::point(|_| {}).await;
        let mut rust = theirs::client().await;
        let mut ours = ours::client().await;
        let speaks_as = |agent_version: &str, key| Options::default().agent_version(agent_version).key(key);
        let mut nim = raw::peer(speaks_as("nim-libp2p/1.14.3", Keypair::generate_secp256k1())).await;
        let mut js = raw::peer(speaks_as("js-libp2p/2.8.2", Keypair::generate_ed25519())).await;
        let mut go = raw::peer(speaks_as("github.com/waku-org/go-waku", Keypair::generate_ecdsa())).await;
        rust.connect(&mut point).await;
        ours.connect(&mut point).await;
        for peer in [&mut nim, &mut js, &mut go] {
            peer.connect(&mut point).await;
        }

        // Each registers, in its own manner.
        assert_eq!(rust.register(ROOM, point.peer, None).await, Ok(7_200));
        let id = ours.register(ROOM, point.peer, 7_200).await;
        let flavours = BTreeSet::from([ours.registered(id).await.0, ours.registered(id).await.0]);
        assert_eq!(flavours, BTreeSet::from(Flavour::ALL));
        assert_eq!(nim::register(&nim, point.peer, ROOM, 7_200).await, 7_200);
        assert_eq!(js::register(&js, point.peer, ROOM, 7_300).await, 7_300);
        let mut gos_stream = go::Stream::open(&go, point.peer).await;
        assert_eq!(gos_stream.register(&envelope(&go), ROOM, 7_400).await, 7_400);

        let mut records: BTreeMap<PeerId, Vec<Flavour>> = BTreeMap::new();
        for _ in 0..6 {
            match point.event().await {
                Event::Registered { peer, kind, .. } => records.entry(peer).or_default().push(kind.flavour().unwrap()),
                other => panic!("a registration, not {other:?}"),
            }
        }
        let flavours_of = |peer: &PeerId| records[peer].iter().copied().collect::<Flavours>();
        assert_eq!(flavours_of(&rust.peer), Flavours::LEGACY);
        assert_eq!(flavours_of(&ours.peer), Flavours::BOTH);
        for peer in [&nim, &js, &go] {
            assert_eq!(flavours_of(&peer.peer), Flavours::from(Flavour::Standard));
        }

        // Each finds all whose record it reads, itself among them, with their addresses.
        let addresses = BTreeMap::from([
            (rust.peer, rust.address.clone()),
            (ours.peer, ours.address.clone()),
            (nim.peer, nim.address.clone()),
            (js.peer, js.address.clone()),
            (go.peer, go.address.clone()),
        ]);
        let expected = |peers: &[PeerId]| -> Vec<_> {
            let peers: BTreeSet<_> = peers.iter().copied().collect();
            peers.into_iter().map(|peer| (peer, vec![addresses[&peer].clone()])).collect()
        };
        let standard = expected(&[ours.peer, nim.peer, js.peer, go.peer]);
        assert_eq!(nim::discover(&nim, point.peer, ROOM).await, standard);
        assert_eq!(js::discover(&js, point.peer, ROOM).await, standard);
        assert_eq!(gos_stream.discover(ROOM).await, standard);

        let page = rust.discover(Some(ROOM), point.peer, None, None).await.unwrap();
        let mut found: Vec<_> =
            page.registrations.iter().map(|it| (it.record.peer_id(), it.record.addresses().to_vec())).collect();
        found.sort_unstable();
        assert_eq!(found, expected(&[rust.peer, ours.peer]));

        let page = ours.discover(Some(ROOM), point.peer, 100, From::Fresh).await.unwrap();
        let mut found: Vec<_> =
            page.registrations.iter().map(|it| (it.record.peer_id(), it.record.addresses().collect())).collect();
        found.sort_unstable();
        assert_eq!(found, expected(&[rust.peer, nim.peer, js.peer, go.peer]));

        // Go withdraws on the stream on which it has done all the rest, and resets it.
        gos_stream.unregister(ROOM).await;
        let without_go = expected(&[ours.peer, nim.peer, js.peer]);
        assert_eq!(gos_stream.discover(ROOM).await, without_go);
        drop(gos_stream);
        assert_eq!(nim::discover(&nim, point.peer, ROOM).await, without_go);
    })
    .await;
}

#[tokio::test]
async fn a_peer_without_signatures_is_served_in_its_form_and_shown_to_none_but_its_like() {
    in_time(async {
        let mut point = ours::point(|config| config.server.legacy_peer_info = true).await;
        let mut ours = ours::client().await;
        let mut nim = raw::peer(Options::default().agent_version("nim-libp2p/1.14.3")).await;
        let mut go = raw::peer(Options::default().agent_version("berty")).await;
        ours.connect(&mut point).await;
        for peer in [&mut nim, &mut go] {
            peer.connect(&mut point).await;
        }
        let id = ours.register(ROOM, point.peer, 7_200).await;
        for _ in Flavour::ALL {
            ours.registered(id).await;
        }
        let mut stream = berty::Stream::open(&go, point.peer).await;
        // Nothing tells yet what it reads: what it gets it skips.
        assert_eq!(stream.discover(ROOM).await, []);
        assert_eq!(stream.register(ROOM, 7_200).await, Ok(7_200));
        assert_eq!(stream.register(ROOM, 0).await, Ok(7_200), "it leaves zeros out, and renews");
        let mut both = [(ours.peer, vec![ours.address.clone()]), (go.peer, vec![go.address.clone()])];
        both.sort_unstable();
        assert_eq!(stream.discover(ROOM).await, both);

        assert_eq!(
            nim::discover(&nim, point.peer, ROOM).await,
            [both.iter().find(|it| it.0 == ours.peer).unwrap().clone()]
        );
        assert_eq!(ours.discover(Some(ROOM), point.peer, 10, From::Fresh).await.unwrap().skipped.own, 1);

        // It reads on in its form when it is no longer registered.
        stream.unregister(ROOM).await;
        assert_eq!(stream.discover(ROOM).await, [(ours.peer, vec![ours.address.clone()])]);
        assert_eq!(point.stats().await.unsigned, 0);
    })
    .await;
}

#[tokio::test]
async fn a_peer_without_signatures_is_told_that_they_are_needed() {
    in_time(async {
        let mut point = ours::point(|_| {}).await;
        let mut go = raw::peer(Options::default().agent_version("berty")).await;
        go.connect(&mut point).await;
        let mut stream = berty::Stream::open(&go, point.peer).await;
        let (status, text) = stream.register(ROOM, 7_200).await.unwrap_err();
        assert_eq!((status, text.contains("without a signature is not accepted")), (101, true));
        assert_eq!(stream.discover(ROOM).await, []);
    })
    .await;
}
