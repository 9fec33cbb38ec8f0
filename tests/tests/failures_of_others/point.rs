//! What is done to a point.

use core::time::Duration;
use std::time::Instant;

use futures::AsyncWriteExt as _;
use libp2p::{core::SignedEnvelope, identity::Keypair};
use rendezvous_core::{Time, server::Event};
use rendezvous_record::ENVELOPE_BYTES_MAX;
use rendezvous_sim::{desk::Desk, fixtures::EPOCH};
use rendezvous_swarm::client::From;
use rendezvous_tests::{
    in_time,
    node::Options,
    ours,
    raw::{self, Push, kind},
    theirs,
};
use rendezvous_wire::{MessageType, Status};

/// "Each DISCOVER stores a cookie with the set of all ids seen: 10,000 DISCOVERs cost 1.4 GiB."
#[test]
fn ten_thousand_discovers_cost_no_memory() {
    let mut desk = Desk::with(|config| config.events_max = 0);
    for number in 0..100 {
        desk.register(number, "chat", 7_200).unwrap();
    }
    let mut cookie = Vec::new();
    let memory = allocation_counter::measure(|| {
        for _ in 0..10_000 {
            let page = desk.discover(Some("chat"), 1, &cookie).unwrap();
            cookie = if page.found.is_empty() { Vec::new() } else { page.cookie };
        }
    });
    assert!(memory.count_total > 10_000, "pages are allocated, so it counts");
    assert!(memory.bytes_current <= 64, "{} bytes are left beside the last cookie", memory.bytes_current);
}

/// "One expiry takes 6 to 8 ms on the event loop when the cookie cache is full": a thousand would take at least 6 s.
#[test]
fn a_thousand_expiries_after_ten_thousand_cookies_take_less_than_a_second() {
    let mut desk = Desk::new();
    for number in 0..1_000 {
        desk.register(number, "chat", 60).unwrap();
    }
    for _ in 0..10_000 {
        assert_eq!(desk.discover(Some("chat"), 1, &[]).unwrap().found.len(), 1);
    }
    let begun = Instant::now();
    desk.run_dry();
    let taken = begun.elapsed();
    assert_eq!(desk.server.stats().expiries, 1_000);
    assert!(taken < Duration::from_secs(1), "{taken:?}");
}

/// "Zero-length addresses or unknown fields pad a record to megabytes."
#[test]
fn zero_length_addresses_and_unknown_fields_pad_no_record() {
    let key = Keypair::generate_ed25519();
    let peer = key.public().to_peer_id();
    let record = || Push::new().bytes(1, &peer.to_bytes()).number(2, 1);
    let address = "/ip4/192.0.2.1/tcp/4001".parse::<libp2p::Multiaddr>().unwrap().to_vec();
    let good = record().message(3, &Push::new().bytes(1, &address));
    let sealed = |payload: &Push| {
        let (domain, payload_type) = ("libp2p-peer-record".to_owned(), vec![3, 1]);
        SignedEnvelope::new(&key, domain, payload_type, payload.clone().payload()).unwrap().into_protobuf_encoding()
    };
    let empty_addresses = |count| (0..count).fold(good.clone(), |record, _| record.bytes(3, &[]));
    let empty_multiaddrs =
        |count| (0..count).fold(good.clone(), |record, _| record.message(3, &Push::new().bytes(1, &[])));
    let padding = vec![0; 60_000];
    let padded = [
        ("one address without bytes", sealed(&empty_addresses(1))),
        ("one multiaddr without bytes", sealed(&empty_multiaddrs(1))),
        ("many addresses without bytes", sealed(&empty_addresses(20_000))),
        ("many multiaddrs without bytes", sealed(&empty_multiaddrs(10_000))),
        ("an unknown field in the record", sealed(&good.clone().bytes(15, &padding))),
        ("an unknown field in an address", {
            sealed(&record().message(3, &Push::new().bytes(1, &address).bytes(15, &padding)))
        }),
        ("an unknown field in the envelope", {
            let mut envelope = sealed(&good);
            envelope.extend_from_slice(&Push::new().bytes(15, &padding).payload());
            envelope
        }),
    ];
    let mut desk = Desk::new();
    for (what, envelope) in padded {
        let refusal = desk.register_pending(&peer, Some(&envelope), "chat", Some(7_200)).expect_err(what);
        assert_eq!(refusal.status(MessageType::Register), Status::InvalidSignedPeerRecord, "{what}");
    }
    assert_eq!(desk.server.stats().record_bytes, 0);
    assert!(desk.register_pending(&peer, Some(&sealed(&good)), "chat", Some(7_200)).is_ok());
    assert!(desk.server.stats().record_bytes < ENVELOPE_BYTES_MAX as u64);
}

/// "Remaining TTL computed from two clock reads wraps to 2^64."
#[test]
fn the_remaining_ttl_never_wraps_whatever_the_clock_does() {
    let mut desk = Desk::new();
    desk.register(1, "chat", 60).unwrap();
    let mut last = 60;
    let instants = (0..59_900).step_by(97).chain(59_900..60_000);
    for millis in instants {
        desk.now = EPOCH + Duration::from_millis(millis);
        let left = desk.discover(Some("chat"), 10, &[]).unwrap().found[0].ttl_secs;
        assert!((1..=last).contains(&left), "{left} s are left after {millis} ms");
        last = left;
    }
    assert_eq!(last, 1);
    // A clock that is set back neither lengthens what remains nor fails.
    desk.now = Time::from_unix_millis(EPOCH.as_unix_millis() - 3_600_000);
    assert_eq!(desk.discover(Some("chat"), 10, &[]).unwrap().found[0].ttl_secs, 1);
    desk.register(2, "chat", 60).unwrap();
    let left: Vec<_> = desk.discover(Some("chat"), 10, &[]).unwrap().found.iter().map(|it| it.ttl_secs).collect();
    assert_eq!(left, [1, 60]);
    for millis in 60_000..60_100 {
        desk.now = EPOCH + Duration::from_millis(millis);
        assert_eq!(desk.discover(Some("chat"), 10, &[]).unwrap().found.len(), 1, "the first has ended");
    }
}

/// "A client that leaves before its answer panics the server."
#[tokio::test]
async fn a_client_that_leaves_before_its_answer_disturbs_nobody() {
    in_time(async {
        let mut point = ours::point(|_| {}).await;
        let mut there = theirs::client().await;
        there.connect(&mut point).await;
        assert_eq!(there.register("chat", point.peer, None).await, Ok(7_200));
        assert!(matches!(point.event().await, Event::Registered { .. }));

        let body = Push::new().bytes(1, b"chat").number(2, 1_000);
        let request = Push::new().number(1, kind::DISCOVER).message(5, &body).frame();
        for _ in 0..10 {
            let mut leaver = raw::peer(Options::default().agent_version("leaver/1")).await;
            leaver.connect(&mut point).await;
            // A stream that is reset in the midst of a request, one behind it, and the connection last.
            for len in [request.len() / 2, request.len(), request.len()] {
                let mut stream = leaver.open(point.peer).await;
                stream.write_all(&request[..len]).await.unwrap();
                stream.flush().await.unwrap();
            }
            leaver.stop().await;
        }
        let mut stays = ours::client().await;
        stays.knows_point(point.peer, &point.address).await;
        let page = stays.discover(Some("chat"), point.peer, 100, From::Fresh).await.unwrap();
        assert_eq!(page.peers(), [there.peer]);
    })
    .await;
}

/// "A metric label per attacker-chosen topic": what an operator can label by is bounded by the operator.
#[tokio::test]
async fn namespaces_are_told_up_to_a_bound_and_the_fullest_first() {
    in_time(async {
        let mut point = ours::point(|_| {}).await;
        let (mut attacker, mut other) = (theirs::client().await, theirs::client().await);
        attacker.connect(&mut point).await;
        other.connect(&mut point).await;
        for number in 0..50 {
            assert_eq!(attacker.register(&format!("topic-{number}"), point.peer, None).await, Ok(7_200));
        }
        assert_eq!(other.register("topic-30", point.peer, None).await, Ok(7_200));
        let told = point.role(|point| point.namespaces(5)).await;
        assert_eq!(told.len(), 5);
        assert_eq!(told[0], (ours::namespace("topic-30"), 2));
    })
    .await;
}
