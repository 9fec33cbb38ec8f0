//! What a point answers that it should not: our client beside that of `libp2p-rendezvous` 0.18.

use std::sync::{Arc, Mutex};

use libp2p_rendezvous::ErrorCode;
use rendezvous_core::client::RequestKind;
use rendezvous_record::Flavour;
use rendezvous_sim::fixtures;
use rendezvous_swarm::client::{Failure, From, MalformedAnswer};
use rendezvous_tests::{
    Fact, in_time, ours,
    raw::{self, Push, Reply, kind},
    theirs,
};
use rendezvous_wire::{MessageType, ResponseError, Ttl};

const COOKIE: &[u8] = b"\0\0\0\0\0\0\0\x01";

/// A point that answers everything with these bytes, and a client of each family that is connected to it.
async fn answering(bytes: Vec<u8>) -> (raw::Peer, ours::Client, theirs::Client) {
    let mut point = raw::point(move |_| Reply::Bytes(bytes.clone())).await;
    let (mut ours, mut theirs) = (ours::client().await, theirs::client().await);
    ours.connect(&mut point).await;
    theirs.connect(&mut point).await;
    (point, ours, theirs)
}

/// "A point that answers with a request message … panics the client."
#[tokio::test]
async fn a_point_that_answers_with_a_request_message_panics_nobody() {
    in_time(async {
        let namespace = Push::new().bytes(1, b"chat");
        let record = fixtures::record(1, Flavour::Legacy);
        let register = namespace.clone().bytes(2, record.envelope()).number(3, 7_200);
        let requests = [
            (MessageType::Register, Push::new().number(1, kind::REGISTER).message(2, &register)),
            (MessageType::Unregister, Push::new().number(1, kind::UNREGISTER).message(4, &namespace)),
            (MessageType::Discover, Push::new().number(1, kind::DISCOVER).message(5, &namespace)),
        ];
        for (kind, request) in requests {
            let (point, mut ours, theirs) = answering(request.frame()).await;
            let no_response = Failure::Malformed(ResponseError::NotAResponse(kind).into());
            let outcome = ours.discover(Some("chat"), point.peer, 100, From::Fresh).await;
            assert_eq!(outcome.unwrap_err(), no_response);
            let id = ours.register("chat", point.peer, 7_200).await;
            assert_eq!(ours.not_registered(id).await, no_response);

            theirs.ask(Some("chat"), point.peer, None, None).await;
            assert!(theirs.panics().await, "0.18: \"rendezvous clients never receive requests\"");
        }
    })
    .await;
}

/// The neighbour of the row above: an answer to another kind of request.
#[tokio::test]
async fn a_point_that_answers_another_request_than_was_sent_is_told_of() {
    in_time(async {
        let (point, mut ours, _) = answering(raw::granted(7_200)).await;
        let outcome = ours.discover(Some("chat"), point.peer, 100, From::Fresh).await;
        let wrong =
            MalformedAnswer::WrongKind { request: RequestKind::Discover, answered: MessageType::RegisterResponse };
        assert_eq!(outcome.unwrap_err(), Failure::Malformed(wrong));
    })
    .await;
}

/// "A point that answers … with ttl = 2^64-1, panics the client."
#[tokio::test]
async fn a_point_that_answers_with_the_largest_ttl_panics_nobody() {
    in_time(async {
        let record = fixtures::record(1, Flavour::Legacy);
        let page = raw::page([("chat", &record.envelope()[..], u64::MAX)], COOKIE);
        let (point, mut ours, theirs) = answering(page).await;
        let page = ours.discover(Some("chat"), point.peer, 100, From::Fresh).await.unwrap();
        assert_eq!(page.registrations[0].ttl, Ttl::RECOMMENDED_MAX);

        theirs.ask(Some("chat"), point.peer, None, None).await;
        assert!(theirs.panics().await, "0.18 adds it to an instant");

        let (point, mut ours, _) = answering(raw::granted(u64::MAX)).await;
        let id = ours.register("chat", point.peer, 7_200).await;
        assert_eq!(ours.registered(id).await.1, Ttl::RECOMMENDED_MAX.as_secs());
        assert_eq!(ours.requests_sent().await, 1);
    })
    .await;
}

/// "One bad record loses the whole answer."
#[tokio::test]
async fn one_bad_record_loses_itself_alone() {
    in_time(async {
        let records: Vec<_> = (1..=3).map(|number| fixtures::record(number, Flavour::Legacy)).collect();
        let mut bad = records[1].envelope().to_vec();
        *bad.last_mut().unwrap() ^= 1;
        let envelopes = [&records[0].envelope()[..], &bad, &records[2].envelope()[..]];
        let page = raw::page(envelopes.map(|envelope| ("chat", envelope, 7_200)), COOKIE);
        let (point, mut ours, mut theirs) = answering(page).await;

        let page = ours.discover(Some("chat"), point.peer, 100, From::Fresh).await.unwrap();
        assert_eq!(page.peers(), [records[0].peer_id(), records[2].peer_id()]);
        assert_eq!((page.skipped.unverified, page.skipped.total()), (1, 1));

        let outcome = theirs.discover(Some("chat"), point.peer, None, None).await;
        assert_eq!(outcome.unwrap_err(), ErrorCode::Unavailable, "0.18 loses the answer");
    })
    .await;
}

/// "A cookie from before the point's restart makes discovery fail for ever."
#[tokio::test]
async fn a_cookie_from_before_the_points_restart_starts_discovery_afresh() {
    in_time(async {
        let records: Vec<_> = (1..=2).map(|number| fixtures::record(number, Flavour::Standard)).collect();
        let peers: Vec<_> = records.iter().map(rendezvous_record::VerifiedRecord::peer_id).collect();
        let has_restarted = Arc::new(Mutex::new(false));
        let (restarted, asked) = (has_restarted.clone(), Arc::new(Mutex::new(Vec::new())));
        let cookies_asked = asked.clone();
        let point = raw::point(move |request| {
            let listed = records.iter().map(|record| ("chat", &record.envelope()[..], 7_200));
            let answer = match (&request.cookie, *restarted.lock().unwrap()) {
                (None, false) => raw::page(listed.take(1), b"before it"),
                (None, true) => raw::page(listed, b"behind it"),
                (Some(_), _) => raw::discover_refused(103),
            };
            cookies_asked.lock().unwrap().push(request.cookie);
            Reply::Bytes(answer)
        })
        .await;
        let mut client = ours::client().await;
        client.knows_point(point.peer, &point.address).await;

        let page = client.discover(Some("chat"), point.peer, 100, From::Cookie).await.unwrap();
        assert_eq!(page.peers(), peers[..1]);
        *has_restarted.lock().unwrap() = true;
        let page = client.discover(Some("chat"), point.peer, 100, From::Cookie).await.unwrap();
        assert_eq!(page.peers(), peers);
        assert_eq!(*asked.lock().unwrap(), [None, Some(b"before it".to_vec()), None]);
    })
    .await;
}

/// "A point's results are dialled without a cap: a dial burst at addresses an attacker chose."
#[tokio::test]
async fn a_points_results_are_bounded_and_nothing_is_dialled_by_itself() {
    in_time(async {
        // Each of them lists 32 addresses; one alone was asked for.
        let addresses: Vec<libp2p::Multiaddr> =
            (1..=32).map(|port| format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()).collect();
        let limits = rendezvous_record::Limits::default();
        let records: Vec<_> = (1..=50)
            .map(|number| {
                let key = fixtures::keypair(number);
                rendezvous_record::VerifiedRecord::sign(&key, Flavour::Legacy, 1, &addresses, &limits).unwrap()
            })
            .collect();
        let listed = records.iter().map(|record| ("chat", &record.envelope()[..], 7_200));
        let (point, mut ours, mut theirs) = answering(raw::page(listed, COOKIE)).await;
        ours.facts_now();

        let page = ours.discover(Some("chat"), point.peer, 1, From::Fresh).await.unwrap();
        assert_eq!((page.registrations.len(), page.skipped.over_limit), (1, 49));
        let peer = page.peers()[0];
        let told = ours.facts_now();
        assert_eq!(told.len(), 8, "so many are offered of one peer");
        assert!(told.iter().all(|fact| matches!(fact, Fact::AddressOf(of, _) if *of == peer)), "{told:?}");
        assert_eq!(ours.role(move |client| client.addresses_of(&peer).len()).await, 16);
        let dials = ours.with(|swarm| swarm.network_info().connection_counters().num_pending_outgoing()).await;
        assert_eq!(dials, 0);
        assert_eq!(ours.event_now(), None);

        // 0.18 takes all that it is given, whatever it has asked for.
        theirs.facts_now();
        let page = theirs.discover(Some("chat"), point.peer, Some(1), None).await.unwrap();
        assert_eq!(page.registrations.len(), 50);
        assert_eq!(theirs.facts_now().len(), 50 * 32);
    })
    .await;
}
