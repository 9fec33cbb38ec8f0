//! Against the real py-libp2p, whose rendezvous has no signatures: its client at our point and our client at its point, with the
//! legacy mode on, and what each side is told without it.
//!
//! `cargo xtask test` sets py-libp2p up, at the version in `py/requirements.txt`, and runs these tests.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use rendezvous_record::Flavour;
use rendezvous_swarm::{
    RecordKind,
    client::{Event, Failure, From, Skipped},
    server,
};
use rendezvous_tests::{
    in_time,
    node::Options,
    ours, program,
    py::{self, Found, Refused},
};
use rendezvous_wire::Status;

const ROOM: &str = "room";

fn at(peer: PeerId, address: &Multiaddr) -> Found {
    Found { peer, addresses: vec![address.clone()] }
}

/// Our point, with the legacy mode on, and one of their peers that is connected to it.
async fn our_point_and_theirs(change: impl FnOnce(&mut server::Config)) -> (ours::Point, py::Peer) {
    let point = ours::point(|config| {
        config.server.legacy_peer_info = true;
        change(config);
    })
    .await;
    let mut theirs = py::Peer::start().await;
    theirs.connect(point.peer, &point.address).await;
    (point, theirs)
}

/// Our client, which knows where their point is.
async fn our_client(point: &py::Peer, legacy_peer_info: bool) -> ours::Client {
    let client =
        ours::client_with(Options::default(), |config| config.client.legacy_peer_info = legacy_peer_info).await;
    client.knows_point(point.peer, &point.address).await;
    client
}

async fn their_point() -> py::Peer {
    let mut point = py::Peer::start().await;
    point.serve().await;
    point
}

#[tokio::test]
#[ignore = "needs py-libp2p, which `cargo xtask test` sets up"]
async fn their_client_registers_discovers_refreshes_and_unregisters_at_our_point() {
    in_time(async {
        let (mut point, mut theirs) =
            our_point_and_theirs(|config| config.server.ttl_min = rendezvous_wire::Ttl::from_secs(1)).await;
        assert_eq!(theirs.agent_version, "py-libp2p/0.8.1");
        // Lifetimes of 4 s, which its own refresher renews after 3.
        assert_eq!(theirs.register(point.peer, ROOM, 4, true).await, Ok(4));
        for renewed in [false, true] {
            match point.event().await {
                server::Event::Registered { peer, kind, renewed: is_renewed, ttl, .. } => {
                    assert_eq!((peer, kind, is_renewed), (theirs.peer, RecordKind::Unsigned, renewed));
                    assert_eq!(ttl.as_secs(), 4);
                }
                other => panic!("a registration, not {other:?}"),
            }
        }
        assert_eq!(theirs.discover(point.peer, ROOM, 10, "").await.unwrap().0, [at(theirs.peer, &theirs.address)]);
        assert!(matches!(point.event().await, server::Event::Served { count: 1, .. }));
        theirs.unregister(point.peer, ROOM, true).await;
        assert!(matches!(point.event().await, server::Event::Unregistered { peer, .. } if peer == theirs.peer));
        assert_eq!(theirs.discover(point.peer, ROOM, 10, "").await.unwrap().0, []);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs py-libp2p, which `cargo xtask test` sets up"]
async fn their_clients_find_each_other_and_signed_peers_page_by_page_and_are_shown_to_nobody_else() {
    in_time(async {
        let (mut point, mut one) = our_point_and_theirs(|_| {}).await;
        let mut other = py::Peer::start().await;
        other.connect(point.peer, &point.address).await;
        let mut signed = ours::client().await;
        signed.connect(&mut point).await;
        let id = signed.register(ROOM, point.peer, 7_200).await;
        for _ in Flavour::ALL {
            signed.registered(id).await;
        }
        assert_eq!(one.register(point.peer, ROOM, 7_200, false).await, Ok(7_200));

        // By its agent version, before it registers itself; in pages of one, to the end, and then what is new.
        let everybody = [at(signed.peer, &signed.address), at(one.peer, &one.address)];
        let (mut found, mut cookie) = (Vec::new(), String::new());
        for _ in 0..3 {
            let (page, next) = other.discover(point.peer, ROOM, 1, &cookie).await.unwrap();
            found.extend(page);
            cookie = next;
        }
        assert_eq!(found, everybody);
        assert_eq!(other.register(point.peer, ROOM, 7_200, false).await, Ok(7_200));
        let news = one.discover(point.peer, ROOM, 10, &cookie).await.unwrap().0;
        assert_eq!(news, [at(other.peer, &other.address)]);

        // Whoever reads signed records is told of no other.
        let mut reader = ours::client().await;
        reader.connect(&mut point).await;
        let page = reader.discover(Some(ROOM), point.peer, 10, From::Fresh).await.unwrap();
        assert_eq!((page.peers(), page.unverified), (vec![signed.peer], vec![]));
        assert_eq!(page.skipped, Skipped::default());
        let stats = point.stats().await;
        assert_eq!((stats.registrations, stats.unsigned), (3, 2));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs py-libp2p, which `cargo xtask test` sets up"]
async fn without_the_legacy_mode_our_point_refuses_their_client_in_words() {
    in_time(async {
        let mut point = ours::point(|_| {}).await;
        let mut theirs = py::Peer::start().await;
        theirs.connect(point.peer, &point.address).await;
        let Refused { status, text } = theirs.register(point.peer, ROOM, 7_200, false).await.unwrap_err();
        assert_eq!(status, 101);
        assert_eq!(text, "peer info without a signature is not accepted here: register a signed peer record");
        assert!(matches!(point.event().await, server::Event::Refused { peer, .. } if peer == theirs.peer));
        assert_eq!(point.stats().await.registrations, 0);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs py-libp2p, which `cargo xtask test` sets up"]
async fn our_client_registers_discovers_refreshes_and_unregisters_at_their_point() {
    in_time(async {
        let mut point = their_point().await;
        let mut client = our_client(&point, true).await;
        // Both flavours are refused with 200, and then the third way is learnt.
        let id = client.register(ROOM, point.peer, 4).await;
        assert_eq!(client.registered_as(id).await, (RecordKind::Unsigned, 4));
        assert_eq!(client.requests_sent().await, 3);
        assert_eq!(point.registered(ROOM).await, [at(client.peer, &client.address)]);
        // It is refreshed before it ends.
        assert_eq!(client.registered_as(id).await, (RecordKind::Unsigned, 4));
        assert_eq!(client.requests_sent().await, 4, "what worked is remembered");
        let news = client.register("news", point.peer, 7_200).await;
        assert_eq!(client.registered_as(news).await, (RecordKind::Unsigned, 7_200));
        client.role(move |client| client.unregister(news)).await;
        let Event::Unregistered { id: withdrawn, failure: None, .. } = client.event().await else {
            panic!("withdrawn")
        };
        assert_eq!(withdrawn, news);
        assert_eq!(point.registered("news").await, []);

        // Others of ours find it, unverified, and can reach it where it says.
        let mut other = our_client(&point, true).await;
        let page = other.discover(Some(ROOM), point.peer, 10, From::Fresh).await.unwrap();
        assert!(page.registrations.is_empty());
        let [found] = &page.unverified[..] else { panic!("one, not {:?}", page.unverified) };
        assert_eq!((found.peer, &found.addresses), (client.peer, &vec![client.address.clone()]));
        assert!((1..=4).contains(&found.ttl.as_secs()));
        // A peer of theirs at its own point.
        let mut theirs = py::Peer::start().await;
        theirs.connect(point.peer, &point.address).await;
        theirs.register(point.peer, "theirs", 7_200, false).await.unwrap();
        let page = other.discover(Some("theirs"), point.peer, 10, From::Fresh).await.unwrap();
        assert_eq!(page.unverified.iter().map(|found| found.peer).collect::<Vec<_>>(), [theirs.peer]);
        let address = page.unverified[0].addresses[0].clone().with(Protocol::P2p(theirs.peer));
        other.with(move |swarm| swarm.dial(address)).await.unwrap();
        other.fact(&rendezvous_tests::Fact::Connected(theirs.peer)).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs py-libp2p, which `cargo xtask test` sets up"]
async fn our_client_walks_the_pages_of_their_point() {
    in_time(async {
        let point = their_point().await;
        let mut clients = Vec::new();
        for _ in 0..5 {
            let mut client = our_client(&point, true).await;
            let id = client.register(ROOM, point.peer, 7_200).await;
            client.registered_as(id).await;
            clients.push(client);
        }
        let mut reader = our_client(&point, true).await;
        let mut found = Vec::new();
        let mut from = From::Fresh;
        loop {
            let page = reader.discover(Some(ROOM), point.peer, 2, from).await.unwrap();
            found.extend(page.unverified.iter().map(|found| found.peer));
            if !page.more {
                break;
            }
            from = From::Cookie;
        }
        assert_eq!(found, clients.iter().map(|client| client.peer).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
#[ignore = "needs py-libp2p, which `cargo xtask test` sets up"]
async fn without_the_legacy_mode_our_client_is_refused_by_their_point_and_says_what_it_left_out() {
    in_time(async {
        let point = their_point().await;
        let mut client = our_client(&point, false).await;
        let id = client.register(ROOM, point.peer, 7_200).await;
        let text = "Peer can only register itself".to_owned();
        assert_eq!(client.not_registered(id).await, Failure::Refused { status: Status::NotAuthorized, text });
        assert_eq!(client.requests_sent().await, 2, "both flavours");

        let mut theirs = py::Peer::start().await;
        theirs.connect(point.peer, &point.address).await;
        theirs.register(point.peer, ROOM, 7_200, false).await.unwrap();
        let page = client.discover(Some(ROOM), point.peer, 10, From::Fresh).await.unwrap();
        assert!(page.registrations.is_empty() && page.unverified.is_empty());
        assert_eq!(page.skipped, Skipped { unsigned: 1, ..Skipped::default() });
    })
    .await;
}

#[tokio::test]
#[ignore = "needs py-libp2p, which `cargo xtask test` sets up"]
async fn the_binary_marks_what_nobody_has_signed_as_unverified() {
    let binary = program::build();
    in_time(async {
        let point = their_point().await;
        let address = point.address.clone().with(Protocol::P2p(point.peer)).to_string();
        let mut theirs = py::Peer::start().await;
        theirs.connect(point.peer, &point.address).await;
        theirs.register(point.peer, "rendezvous", 7_200, false).await.unwrap();
        let run = |args: &[&str]| {
            let args = [args, &["--point", &address]].concat();
            let output = program::command(&binary, &args).output().expect("the binary runs");
            (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
        };

        let (status, listed, _) = run(&["discover", "--legacy"]);
        assert_eq!(status, Some(0));
        let first = listed.lines().next().unwrap();
        assert!(first.starts_with(&theirs.peer.to_string()) && first.ends_with(" s left  unverified"), "{listed}");
        let (_, listed, _) = run(&["discover", "--legacy", "--json"]);
        let listed: serde_json::Value = serde_json::from_str(listed.trim()).unwrap();
        assert_eq!((&listed["unverified"], &listed["seq"]), (&true.into(), &serde_json::Value::Null));
        assert_eq!(listed["addresses"][0], theirs.address.to_string());
        let (_, registered, _) =
            run(&["register", "--legacy", "--once", "--json", "--address", "/ip4/192.0.2.1/tcp/1"]);
        let registered: serde_json::Value = serde_json::from_str(registered.trim()).unwrap();
        assert_eq!((&registered["event"], &registered["unverified"]), (&"registered".into(), &true.into()));

        // Without `--legacy` it says what there is, and what the point has against it.
        let (status, listed, said) = run(&["discover"]);
        assert_eq!((status, listed.as_str()), (Some(0), ""));
        assert!(said.contains("left out 2 registrations: without a signature"), "{said}");
        let (status, _, said) = run(&["register", "--once", "--address", "/ip4/192.0.2.1/tcp/1"]);
        assert_eq!(status, Some(3));
        assert!(said.contains("Peer can only register itself"), "{said}");
    })
    .await;
}
