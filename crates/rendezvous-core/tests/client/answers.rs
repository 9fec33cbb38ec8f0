//! From bytes to answers.

use bytes::Bytes;
use rendezvous_core::client::{
    Answer, AnswerReader, Discovered, Event, Failure, Fault, From, MalformedAnswer, RequestKind, STATUS_TEXT_CHARS_MAX,
    Skipped,
};
use rendezvous_record::{Flavour, Limits, VerifiedRecord};
use rendezvous_sim::fixtures;
use rendezvous_wire::{
    Discover, DiscoverResponse, Message, MessageType, Namespace, Register, RegisterResponse, Registrations, Request,
    Response, Status, Ttl,
};

use crate::rig::*;

fn read(kind: RequestKind, asked: Option<&Namespace>, payload: Vec<u8>) -> Result<Answer, MalformedAnswer> {
    AnswerReader::new(Limits::default()).read(kind, asked, Bytes::from(payload))
}

fn register_response(status: Option<Status>, text: Option<&[u8]>, ttl_secs: Option<u64>) -> Vec<u8> {
    let response = RegisterResponse { status, status_text: text, ttl_secs };
    Response::Register(response).to_message().encode()
}

fn discover_response(registrations: &[Register<'_>], cookie: Option<&[u8]>) -> Vec<u8> {
    let registrations = Registrations::listed(registrations);
    let response = DiscoverResponse { registrations, cookie, ..DiscoverResponse::default() };
    Response::Discover(response).to_message().encode()
}

fn read_page(asked: Option<&Namespace>, listed: &[Register<'_>]) -> (Vec<Discovered>, Skipped) {
    match read(RequestKind::Discover, asked, discover_response(listed, Some(b"c"))) {
        Ok(Answer::Page { registrations, skipped, .. }) => (registrations, skipped),
        other => panic!("no page: {other:?}"),
    }
}

fn listed<'a>(namespace: &'a str, record: &'a VerifiedRecord, ttl_secs: Option<u64>) -> Register<'a> {
    let namespace = (!namespace.is_empty()).then_some(namespace.as_bytes());
    Register { namespace, signed_peer_record: Some(record.envelope()), ttl_secs }
}

#[test]
fn an_absent_status_is_ok_and_an_unknown_one_is_not() {
    let granted = |ttl_secs| Ok(Answer::Registered { ttl: Ttl::from_secs(ttl_secs) });
    let read = |status, ttl_secs| read(RequestKind::Register, None, register_response(status, None, ttl_secs));
    assert_eq!(read(None, Some(60)), granted(60));
    assert_eq!(read(Some(Status::Ok), None), granted(0));
    assert_eq!(read(Some(Status::Ok), Some(u64::MAX)), granted(u64::MAX));
    for code in [1, 101, 429, -1, i32::MAX] {
        let status = Status::from_code(code);
        assert_eq!(read(Some(status), Some(60)), Ok(Answer::Refused { status, text: String::new() }));
    }
}

#[test]
fn a_status_text_is_bounded_and_printable() {
    let read = |text: &[u8]| match read(
        RequestKind::Register,
        None,
        register_response(Some(Status::Unavailable), Some(text), None),
    ) {
        Ok(Answer::Refused { text, .. }) => text,
        other => panic!("no refusal: {other:?}"),
    };
    assert_eq!(read(b"too many"), "too many");
    assert_eq!(read(b"a\x1b[2Jb\nc\0"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}");
    assert_eq!(read(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    for long in ["x".repeat(1 << 20), "é".repeat(1 << 20), "\u{10ffff}".repeat(1 << 18)] {
        assert_eq!(read(long.as_bytes()).chars().count(), STATUS_TEXT_CHARS_MAX);
    }
    // What a shell makes up is no different.
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], None);
    let request = rig.request();
    rig.answer(&request, Answer::Refused { status: Status::Unavailable, text: "\n".repeat(1 << 20) });
    let Event::RegisterFailed { failure: Failure::Refused { text, .. }, .. } = rig.event() else { panic!("refused") };
    assert_eq!(text, "\u{fffd}".repeat(STATUS_TEXT_CHARS_MAX));
}

#[test]
fn a_request_in_place_of_an_answer_is_malformed_and_so_is_an_answer_to_something_else() {
    let request = Request::Discover(Discover::default()).to_message().encode();
    for kind in [RequestKind::Register, RequestKind::Discover, RequestKind::Unregister] {
        assert!(matches!(read(kind, None, request.clone()), Err(MalformedAnswer::Response(_))));
        assert!(matches!(read(kind, None, Vec::new()), Err(MalformedAnswer::Response(_))));
        let unknown = Message { kind: Some(MessageType::Other(77)), ..Message::default() }.encode();
        assert!(matches!(read(kind, None, unknown), Err(MalformedAnswer::Response(_))));
    }
    let wrong = |request, answered| Err(MalformedAnswer::WrongKind { request, answered });
    let register = register_response(None, None, Some(60));
    let page = discover_response(&[], None);
    let kinds = (RequestKind::Register, RequestKind::Discover, RequestKind::Unregister);
    assert_eq!(read(kinds.0, None, page), wrong(kinds.0, MessageType::DiscoverResponse));
    assert_eq!(read(kinds.1, None, register.clone()), wrong(kinds.1, MessageType::RegisterResponse));
    assert_eq!(read(kinds.2, None, register), wrong(kinds.2, MessageType::RegisterResponse));
}

#[test]
fn the_bytes_that_make_a_generated_reader_loop_are_malformed() {
    let bytes = b"\x32\x02\x0a\x02\x18\x01\x7a\xf1\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    assert!(read(RequestKind::Discover, None, bytes.to_vec()).is_err());
}

#[test]
fn one_bad_registration_does_not_lose_the_others() {
    let good = fixtures::record(2, Flavour::Standard);
    let legacy = fixtures::record(3, Flavour::Legacy);
    let mut forged = good.envelope().to_vec();
    *forged.last_mut().expect("bytes") ^= 1;
    let no_record = Register { namespace: Some(b"chat"), ..Register::default() };
    let (found, skipped) = read_page(
        Some(&chat()),
        &[
            Register { signed_peer_record: Some(b"rubbish"), ..no_record },
            listed("chat", &good, Some(60)),
            Register { signed_peer_record: Some(&forged), ..no_record },
            no_record,
            Register { signed_peer_record: Some(&[]), ..no_record },
            listed("chat", &legacy, Some(60)),
        ],
    );
    assert_eq!(found.iter().map(|found| &found.record).collect::<Vec<_>>(), [&good, &legacy]);
    assert_eq!(skipped, Skipped { malformed: 1, unverified: 3, ..Skipped::default() });
}

#[test]
fn a_registration_that_is_no_message_does_not_lose_the_others() {
    let good = fixtures::record(2, Flavour::Standard);
    let payload = discover_response(&[listed("chat", &good, Some(60))], None);
    // The body of the answer stands behind `type` and a tag and two bytes of length; in front of its registration
    // goes one whose field 1 is a number.
    let (head, body) = payload.split_at(5);
    assert_eq!(
        (head[..3].to_vec(), body.len()),
        (vec![0x08, 0x04, 0x32], usize::from(head[3] & 0x7f) | usize::from(head[4]) << 7)
    );
    let broken = [&b"\x0a\x02\x08\x01"[..], body].concat();
    let len = [broken.len() as u8 | 0x80, (broken.len() >> 7) as u8];
    let payload = [&head[..3], &len, &broken].concat();
    let Ok(Answer::Page { registrations, skipped, .. }) = read(RequestKind::Discover, Some(&chat()), payload) else {
        panic!("a page")
    };
    assert_eq!((registrations.len(), skipped), (1, Skipped { malformed: 1, ..Skipped::default() }));
}

#[test]
fn an_absent_or_empty_namespace_is_the_one_asked_for_and_another_is_skipped() {
    let [a, b, c, d] = [2, 3, 4, 5].map(|number| fixtures::record(number, Flavour::Standard));
    let empty = Register { namespace: Some(b""), ..listed("", &b, Some(60)) };
    let page = [listed("", &a, Some(60)), empty, listed("chat", &c, Some(60)), listed("other", &d, Some(60))];
    let (found, skipped) = read_page(Some(&chat()), &page);
    assert_eq!(found.iter().map(|found| found.namespace.as_str()).collect::<Vec<_>>(), ["chat"; 3]);
    assert_eq!(skipped, Skipped { foreign: 1, ..Skipped::default() });

    let too_long = "n".repeat(256);
    let page = [page[0], page[1], page[2], page[3], listed(&too_long, &a, Some(60))];
    let (found, skipped) = read_page(None, &page);
    assert_eq!(found.iter().map(|found| found.namespace.as_str()).collect::<Vec<_>>(), ["chat", "other"]);
    assert_eq!(skipped, Skipped { malformed: 3, ..Skipped::default() });
}

#[test]
fn an_absent_or_zero_ttl_is_two_hours_and_a_long_one_three_days() {
    let records = [2, 3, 4, 5].map(|number| fixtures::record(number, Flavour::Standard));
    let ttls = [None, Some(0), Some(1), Some(u64::MAX)];
    let page: Vec<_> = records.iter().zip(ttls).map(|(record, ttl)| listed("chat", record, ttl)).collect();
    let (found, _) = read_page(Some(&chat()), &page);
    assert_eq!(found.iter().map(|found| found.ttl.as_secs()).collect::<Vec<_>>(), [7_200, 7_200, 1, 259_200]);
}

#[test]
fn of_duplicates_the_higher_seq_counts_and_then_the_longer_ttl() {
    let sign = |seq, flavour| {
        VerifiedRecord::sign(&fixtures::keypair(2), flavour, seq, &fixtures::addresses(2), &Limits::default())
            .expect("within the limits")
    };
    let old = sign(1_700_000_000_000_000_000, Flavour::Standard);
    // In seconds, as rust-libp2p counts, and later.
    let new = sign(1_700_000_001, Flavour::Legacy);
    for page in [
        [listed("chat", &old, Some(99)), listed("chat", &new, Some(1)), listed("chat", &new, Some(2))],
        [listed("chat", &new, Some(2)), listed("chat", &new, Some(1)), listed("chat", &old, Some(99))],
    ] {
        let (found, skipped) = read_page(Some(&chat()), &page);
        assert_eq!(found, [Discovered { namespace: chat(), record: new.clone(), ttl: Ttl::from_secs(2) }]);
        assert_eq!(skipped, Skipped { duplicate: 2, ..Skipped::default() });
    }
    // One peer in two namespaces is no duplicate.
    let (found, _) = read_page(None, &[listed("a", &old, Some(1)), listed("b", &old, Some(1))]);
    assert_eq!(found.len(), 2);
}

#[test]
fn a_page_is_bounded_whatever_its_length() {
    let record = fixtures::record(2, Flavour::Standard);
    let page = vec![listed("chat", &record, Some(60)); 5_000];
    let (found, skipped) = read_page(Some(&chat()), &page);
    assert_eq!(found.len(), 1);
    assert_eq!(skipped, Skipped { duplicate: 999, over_limit: 4_000, ..Skipped::default() });
}

#[test]
fn an_empty_or_overlong_cookie_is_none_and_the_page_is_kept() {
    let record = fixtures::record(2, Flavour::Standard);
    let long = [7; 1_000];
    for (bytes, kept) in [(&b""[..], false), (&long[..], false), (&long[..999], true)] {
        let payload = discover_response(&[listed("chat", &record, Some(60))], Some(bytes));
        let Ok(Answer::Page { registrations, cookie, .. }) = read(RequestKind::Discover, Some(&chat()), payload) else {
            panic!("a page")
        };
        assert_eq!((registrations.len(), cookie.is_some()), (1, kept));
    }
}

#[test]
fn an_answer_does_not_keep_its_frame_in_memory() {
    let record = fixtures::record(2, Flavour::Standard);
    let payload = Bytes::from(discover_response(&[listed("chat", &record, Some(60))], None));
    let mut reader = AnswerReader::new(Limits::default());
    let answer = reader.read(RequestKind::Discover, Some(&chat()), payload.clone());
    assert!(answer.is_ok());
    assert!(payload.is_unique(), "neither the answer nor the reader holds a part of it");
}

#[test]
fn truncated_anywhere_an_answer_is_read_or_malformed_and_nothing_worse() {
    let records = [2, 3].map(|number| fixtures::record(number, Flavour::Standard));
    let page: Vec<_> = records.iter().map(|record| listed("chat", record, Some(60))).collect();
    let payload = discover_response(&page, Some(b"cookie"));
    for len in 0..payload.len() {
        let _ = read(RequestKind::Discover, Some(&chat()), payload[..len].to_vec());
        let _ = read(RequestKind::Register, None, payload[..len].to_vec());
    }
}

#[test]
fn an_answer_of_the_wrong_kind_fails_the_request() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], None);
    for answer in [page(Vec::new(), None), Answer::Sent, Answer::Refused { status: Status::Ok, text: String::new() }] {
        let request = rig.request();
        rig.answer(&request, answer);
        let Event::RegisterFailed { failure, .. } = rig.event() else { panic!("failed") };
        assert!(matches!(failure, Failure::Malformed(MalformedAnswer::WrongKind { .. })));
        assert_eq!(failure.fault(), Fault::Point);
        rig.pass_to_deadline();
    }
    let mut rig = Rig::new();
    rig.client.discover(rig.now, point(0), None, None, From::Fresh);
    let request = rig.request();
    rig.grant(&request, 60);
    assert!(matches!(rig.event(), Event::DiscoverFailed { failure: Failure::Malformed(_), .. }));
}

#[test]
fn answers_to_nothing_are_ignored() {
    let mut rig = Rig::new();
    let id = rig.registered(600);
    rig.pass(secs(525));
    let request = rig.request();
    rig.grant(&request, 600);
    rig.events();
    let timeout = rig.client.poll_timeout();
    // Once more, in every form.
    rig.grant(&request, 1);
    rig.refuse(&request, Status::NotAuthorized);
    rig.fail(&request, Failure::Unreachable);
    rig.answer(&request, page(vec![found(&chat(), 2, 60)], cookie(b"c")));
    rig.answer(&request, Answer::Sent);
    assert!(rig.events().is_empty() && rig.requests().is_empty());
    assert_eq!(rig.client.poll_timeout(), timeout);
    assert!(rig.client.is_registered(id, &point(0)));
    assert_eq!(rig.client.stats().answers_ignored, 5);
    assert_eq!(rig.client.stats().peers, 0);
}
