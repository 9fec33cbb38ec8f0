//! Points of the Waku dialect: the same commands and events, over other messages.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use rendezvous_core::{
    client::{
        Answer, AnswerReader, ClientConfig, Event, Failure, From, LookupConfig, Outbound, POINT_DIALECTS_MAX,
        RequestKind,
    },
    server::{Registered, Requester, Server, ServerConfig, WakuCommand, waku_registered_frame},
};
use rendezvous_record::{Flavour, Limits, VerifiedRecord};
use rendezvous_sim::fixtures;
use rendezvous_wire::{Dialect, Limit, Status, Ttl, frame, waku};

use crate::rig::*;

/// A client one of whose points speaks the dialect.
fn waku_rig() -> Rig {
    waku_rig_with(ClientConfig::default())
}

fn waku_rig_with(config: ClientConfig) -> Rig {
    let mut rig = Rig::with(config);
    assert!(rig.client.set_point_dialect(rig.now, point(0), Dialect::Waku));
    rig
}

fn decode(request: &Outbound) -> waku::Request<'_> {
    assert_eq!(request.dialect, Dialect::Waku);
    let (payload, frame_len) = frame::split(&request.frame, usize::MAX).expect("a frame").expect("a whole frame");
    assert_eq!(frame_len, request.frame.len());
    waku::Request::decode(payload).expect("a request of the dialect")
}

/// The flavour of the record and the TTL in a REGISTER.
fn register_of(request: &Outbound) -> (Flavour, u64) {
    let waku::Request::Register(register) = decode(request) else { panic!("{} is no REGISTER", request.kind) };
    assert_eq!(register.namespace, Some(&b"chat"[..]));
    let envelope = register.signed_peer_record.expect("a record").to_vec();
    let record = VerifiedRecord::verify(envelope.into(), &Limits::default()).expect("a record that verifies");
    (record.flavour(), register.ttl_secs.expect("a ttl"))
}

#[test]
fn a_registration_is_asked_for_20_seconds_and_refreshed_from_what_is_granted() {
    for (wanted, asked) in [(None, 20), (Some(7_200), 20), (Some(10), 10)] {
        let mut rig = waku_rig_with(ClientConfig { flavour: Flavour::Legacy, ..ClientConfig::default() });
        let id = rig.client.register(rig.now, chat(), [point(0)], wanted.map(Ttl::from_secs));
        let request = rig.request();
        assert_eq!(register_of(&request), (Flavour::Standard, asked), "Waku's clients read the standard flavour alone");
        // A point that grants less than was asked for is heeded; one that names nothing grants what was asked for.
        for (granted, reckoned) in [(8, 8), (0, asked)] {
            let request = if granted == 8 { request.clone() } else { rig.request() };
            rig.grant(&request, granted);
            let ttl = Ttl::from_secs(reckoned);
            let expected =
                Event::Registered { id, point: point(0), namespace: chat(), kind: Flavour::Standard.into(), ttl };
            assert_eq!(rig.event(), expected);
            let begun = rig.now;
            assert!(rig.pass_to_deadline());
            let waited = rig.now.saturating_since(begun).as_millis() as u64;
            assert!((reckoned * 750..=reckoned * 875).contains(&waited), "{waited} ms of {reckoned} s");
        }
    }
}

#[test]
fn a_registration_never_lapses_at_a_point_that_answers() {
    let mut rig = waku_rig();
    let mut server = Server::new(rig.now, ServerConfig::default(), [9; 16]);
    let (peer, reader) = (peer(OWN), server.waku_reader());
    let mut answers = AnswerReader::new(Limits::default());
    let id = rig.client.register(rig.now, chat(), [point(0)], None);
    let end = rig.now + secs(3_600);
    let mut renewals = 0;
    while rig.now < end {
        for request in rig.requests() {
            let (payload, _) = frame::split(&request.frame, usize::MAX).expect("a frame").expect("a whole frame");
            let payload = Bytes::copy_from_slice(payload);
            let Ok(WakuCommand::Register(register)) = reader.read(&peer, &payload) else { panic!("a REGISTER") };
            let registered = server.handle_register(rig.now, &Requester::new(peer), register);
            let Ok(Registered::Done(ttl)) = registered else { panic!("it is granted") };
            let frame = waku_registered_frame(ttl);
            let payload =
                Bytes::copy_from_slice(frame::split(&frame, usize::MAX).expect("a frame").expect("a whole frame").0);
            let answer = answers.read_in(request.dialect, request.kind, Some(&chat()), payload).expect("it is valid");
            rig.answer(&request, answer);
            renewals += 1;
        }
        assert!(rig.events().iter().all(|event| matches!(event, Event::Registered { .. })));
        assert!(rig.client.is_registered(id, &point(0)) && server.is_registered(&peer, "chat"));
        assert!(rig.pass_to_deadline());
        server.handle_timeout(rig.now);
        assert!(server.is_registered(&peer, "chat"));
    }
    assert!((3_600 / 18..=3_600 / 15 + 1).contains(&renewals), "{renewals}");
}

#[test]
fn a_registration_that_ends_is_refreshed_no_longer_and_nothing_is_sent() {
    let mut rig = waku_rig();
    let id = rig.registered(20);
    assert!(rig.client.unregister(rig.now, id));
    assert_eq!(rig.event(), Event::Unregistered { id, point: point(0), namespace: chat(), failure: None });
    assert!(rig.requests().is_empty());
    assert_eq!((rig.client.poll_timeout(), rig.client.stats().standings), (None, 0));
}

#[test]
fn one_that_ends_behind_a_register_in_flight_ends_with_its_answer() {
    let mut rig = waku_rig();
    let id = rig.client.register(rig.now, chat(), [point(0)], None);
    let request = rig.request();
    rig.client.unregister(rig.now, id);
    assert!(rig.events().is_empty());
    rig.grant(&request, 20);
    assert_eq!(rig.event(), Event::Unregistered { id, point: point(0), namespace: chat(), failure: None });
    assert!(rig.requests().is_empty());
    assert_eq!(rig.client.stats().standings, 0);
}

#[test]
fn a_removal_without_a_registration_and_a_shutdown_end_at_once() {
    let mut rig = waku_rig();
    let request = rig.client.unregister_at(rig.now, point(0), chat());
    assert_eq!(rig.event(), Event::UnregisteredAt { request, point: point(0), namespace: chat(), failure: None });
    rig.registered(20);
    rig.client.shutdown(rig.now);
    assert!(rig.requests().is_empty());
    assert!(rig.client.is_drained());
}

#[test]
fn each_query_is_a_fresh_choice_without_a_cookie() {
    let mut rig = waku_rig();
    for from in [From::Fresh, From::Cookie, From::Cookie] {
        let query = rig.client.discover(rig.now, point(0), Some(chat()), Some(Limit::new(5)), from);
        let request = rig.request_of(RequestKind::Discover);
        let waku::Request::Discover(discover) = decode(&request) else { panic!("a DISCOVER") };
        assert_eq!((discover.namespace, discover.limit), (Some(&b"chat"[..]), Some(5)));

        let record = fixtures::record(2, Flavour::Standard);
        let listed = [rendezvous_wire::Register {
            namespace: None,
            signed_peer_record: Some(record.envelope()),
            ttl_secs: None,
        }];
        let registrations = rendezvous_wire::Registrations::listed(&listed);
        let answer = waku::DiscoverResponse { registrations, ..waku::DiscoverResponse::default() };
        let payload = Bytes::from(waku::Response::Discover(answer).to_message().encode());
        let answer = AnswerReader::new(Limits::default())
            .read_in(request.dialect, request.kind, request.namespace.as_ref(), payload)
            .expect("it is valid");
        rig.answer(&request, answer);
        let Event::Discovered { query: told, registrations, more, page, .. } = rig.event() else { panic!("a page") };
        assert_eq!((told, more, page), (query, false, 1));
        // A TTL that is left out is the dialect's default.
        assert_eq!((registrations.len(), registrations[0].ttl.as_secs()), (1, 20));
    }
}

#[test]
fn a_cookie_of_the_other_dialect_is_not_used() {
    let mut rig = Rig::new();
    rig.client.discover(rig.now, point(0), Some(chat()), None, From::Fresh);
    let request = rig.request();
    rig.answer(&request, page(vec![], cookie(b"a place")));
    rig.client.set_point_dialect(rig.now, point(0), Dialect::Waku);
    rig.client.discover(rig.now, point(0), Some(chat()), None, From::Cookie);
    let request = rig.request();
    decode(&request);
    rig.fail(&request, Failure::ClosedWithoutAnswer);
    assert!(rig.requests().is_empty(), "there was no cookie to blame");
}

#[test]
fn no_other_flavour_is_tried_and_no_second_record_registered() {
    let mut rig = waku_rig();
    rig.client.handle_point_dual(rig.now, point(0), true);
    rig.client.register(rig.now, chat(), [point(0)], None);
    let request = rig.request();
    assert_eq!(register_of(&request).0, Flavour::Standard);
    rig.refuse(&request, Status::InvalidSignedPeerRecord);
    assert!(matches!(rig.event(), Event::RegisterFailed { retry_at: Some(_), .. }));
    assert!(rig.requests().is_empty());
}

#[test]
fn a_point_that_changes_its_dialect_is_registered_with_anew() {
    let mut rig = Rig::new();
    let id = rig.registered(600);
    assert!(rig.client.set_point_dialect(rig.now, point(0), Dialect::Waku));
    let request = rig.request();
    assert_eq!(register_of(&request), (Flavour::Standard, 20));
    rig.grant(&request, 20);
    assert!(matches!(rig.event(), Event::Registered { .. }));

    assert!(rig.client.set_point_dialect(rig.now, point(0), Dialect::Rendezvous));
    let request = rig.request();
    assert_eq!((request.dialect, crate::rig::register_of(&request).2), (Dialect::Rendezvous, 600));
    rig.grant(&request, 600);
    rig.events();
    rig.client.unregister(rig.now, id);
    rig.request_of(RequestKind::Unregister);
    assert_eq!(rig.client.dialect_of(&point(0)), Dialect::Rendezvous);
}

#[test]
fn an_answer_of_the_other_dialect_is_malformed() {
    // DISCOVER_RESPONSE of `/rendezvous/1.0.0` has a number that this dialect does not have.
    let payload = Bytes::from_static(&[0x08, 4, 0x32, 0]);
    let mut reader = AnswerReader::new(Limits::default());
    assert!(reader.read_in(Dialect::Waku, RequestKind::Discover, None, payload.clone()).is_err());
    assert!(matches!(reader.read(RequestKind::Discover, None, payload), Ok(Answer::Page { .. })));
}

#[test]
fn points_of_another_dialect_are_bounded() {
    let mut rig = Rig::new();
    for number in 0..POINT_DIALECTS_MAX as u64 {
        assert!(rig.client.set_point_dialect(rig.now, point(number), Dialect::Waku));
    }
    let one_more = point(POINT_DIALECTS_MAX as u64);
    assert!(!rig.client.set_point_dialect(rig.now, one_more, Dialect::Waku));
    assert!(rig.client.set_point_dialect(rig.now, point(0), Dialect::Rendezvous));
    assert!(rig.client.set_point_dialect(rig.now, one_more, Dialect::Waku));
}

#[test]
fn what_a_random_choice_leaves_out_is_not_gone() {
    let mut rig = waku_rig();
    let config = LookupConfig { lists_everything: true, ..LookupConfig::default() };
    let lookup = rig.client.look_up(rig.now, Some(chat()), [point(0)], config);
    for number in 2..5 {
        let request = rig.request();
        assert_eq!(request.dialect, Dialect::Waku);
        rig.answer(&request, page(vec![found(&chat(), number, 20)], None));
        assert!(rig.events().iter().all(|event| !matches!(event, Event::LookupPolled { is_whole: true, .. })));
        rig.client.look_up_again(rig.now, lookup);
    }
    assert_eq!(rig.client.found(rig.now, lookup).count(), 3);
    rig.pass(secs(20));
    assert_eq!(rig.client.found(rig.now, lookup).count(), 0, "their time has ended");
}
