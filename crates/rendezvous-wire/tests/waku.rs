//! The Waku dialect: frames as proto3 writers of its schema write them, and bytes that no honest peer writes.
//!
//! No capture of a running go-waku-rendezvous is at hand: the golden frames are derived from its schema,
//! `proto/waku-rendezvous.proto`, by the rules of proto3, which leave every zero out.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::{collection::vec, prelude::*};
use rendezvous_wire::{
    DecodeError, Dialect, Limit, Malformed, MessageType, PageWriter, Register, RegisterResponse, Registrations,
    RequestError, ResponseError, Status, Ttl, frame,
    waku::{self, Discover, DiscoverResponse, Message, Request, Response},
};

const REGISTER: Register<'_> =
    Register { namespace: Some(b"foo1"), signed_peer_record: Some(b"an envelope"), ttl_secs: Some(20) };

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn payload(frame: &[u8]) -> &[u8] {
    let (payload, frame_len) = frame::split(frame, frame::REQUEST_BYTES_MAX).unwrap().unwrap();
    assert_eq!(frame_len, frame.len());
    payload
}

/// One valid payload of every kind, with every field of the schema in one of them at least.
fn valid_payloads() -> Vec<Vec<u8>> {
    let registrations = [REGISTER, Register::default(), REGISTER];
    let registered =
        RegisterResponse { status: Some(Status::Ok), status_text: Some(b"welcome"), ttl_secs: Some(u64::MAX) };
    let discovered = DiscoverResponse {
        registrations: Registrations::listed(&registrations),
        status: Some(Status::Unavailable),
        status_text: Some(b"later"),
    };
    [
        Request::Register(REGISTER).to_message(),
        Request::Discover(Discover { namespace: Some(b"foo1"), limit: Some(1_000) }).to_message(),
        Response::Register(registered).to_message(),
        Response::Discover(discovered).to_message(),
    ]
    .iter()
    .map(Message::encode)
    .collect()
}

/// Does with a payload everything that this crate can do with one. It must not panic, and what it accepts it can say again.
fn digest(payload: &[u8]) {
    let (message, request, response) = (Message::decode(payload), Request::decode(payload), Response::decode(payload));
    let Ok(message) = message else {
        let error = message.unwrap_err();
        assert_eq!(request, Err(RequestError::Malformed(error)));
        assert_eq!(response, Err(ResponseError::Malformed(error)));
        return;
    };
    assert!(request.is_err() || response.is_err(), "a request is no response");
    let answer = message.discover_response.unwrap_or_default();
    let is_whole = answer.registrations.iter().all(|registration| registration.is_ok());
    assert!((1..=1_000).contains(&Limit::from_wire(message.discover.unwrap_or_default().limit).count()));
    assert_ne!(Ttl::from_wire(message.register.unwrap_or_default().ttl_secs), Some(Ttl::from_secs(0)));
    // A registration that cannot be read is not written again; all else is.
    let again = message.encode();
    assert_eq!(Message::decode(&again).is_ok_and(|again| again == message), is_whole);
    assert!(!format!("{message:?}").is_empty());
}

#[test]
fn frames_of_a_proto3_writer_are_read() {
    // REGISTER of "foo1" for 20 s, the record being three bytes: no `type`.
    let frame = hex("0f120d0a04666f6f311203aabbcc1814");
    let register =
        Register { namespace: Some(b"foo1"), signed_peer_record: Some(&[0xaa, 0xbb, 0xcc]), ttl_secs: Some(20) };
    assert_eq!(Request::decode(payload(&frame)), Ok(Request::Register(register)));
    // Its answer OK, 20 s: no `status`.
    let frame = hex("0608011a021814");
    let registered = RegisterResponse { ttl_secs: Some(20), ..RegisterResponse::default() };
    assert_eq!(Response::decode(payload(&frame)), Ok(Response::Register(registered)));
    assert!(Status::from_wire(registered.status).is_ok());
    // DISCOVER of "foo1", at most 50: type 2, field 4.
    let frame = hex("0c080222080a04666f6f311032");
    let discover = Discover { namespace: Some(b"foo1"), limit: Some(50) };
    assert_eq!(Request::decode(payload(&frame)), Ok(Request::Discover(discover)));
    // An empty answer: type 3, field 5.
    let frame = hex("0408032a00");
    let Ok(Response::Discover(answer)) = Response::decode(payload(&frame)) else { panic!("an answer to DISCOVER") };
    assert!(answer.registrations.is_empty() && Status::from_wire(answer.status).is_ok());
    // A registration whose namespace was left out, and what might stand where the other dialect has its cookie.
    let frame = hex("0e08032a0a0a051201aa1814120107");
    let Ok(Response::Discover(answer)) = Response::decode(payload(&frame)) else { panic!("an answer to DISCOVER") };
    let only = Register { namespace: None, signed_peer_record: Some(&[0xaa]), ttl_secs: Some(20) };
    assert_eq!(answer.registrations.iter().collect::<Vec<_>>(), [Ok(only)]);
}

#[test]
fn what_is_written_has_its_zeros() {
    for (message, frame) in [
        (
            Request::Register(Register { signed_peer_record: Some(&[0xaa, 0xbb, 0xcc]), ..REGISTER }).to_message(),
            "110800120d0a04666f6f311203aabbcc1814",
        ),
        (
            Request::Discover(Discover { namespace: Some(b"foo1"), limit: Some(50) }).to_message(),
            "0c080222080a04666f6f311032",
        ),
        (
            Response::Register(RegisterResponse { status: Some(Status::Ok), status_text: None, ttl_secs: Some(20) })
                .to_message(),
            "0808011a0408001814",
        ),
        (
            Response::Discover(DiscoverResponse { status: Some(Status::Ok), ..DiscoverResponse::default() })
                .to_message(),
            "0608032a021800",
        ),
        (
            Response::Register(RegisterResponse {
                status: Some(Status::InvalidSignedPeerRecord),
                status_text: Some(b"no"),
                ttl_secs: None,
            })
            .to_message(),
            "0a08011a06086512026e6f",
        ),
    ] {
        let mut encoded = Vec::new();
        message.encode_frame(&mut encoded);
        assert_eq!(encoded, hex(frame));
        assert_eq!(Message::decode(payload(&encoded)), Ok(message));
    }
}

#[test]
fn the_constants_are_those_of_the_dialect() {
    assert_eq!((waku::TTL_DEFAULT.as_secs(), waku::TTL_MAX.as_secs()), (20, 20));
    assert_eq!(Dialect::Waku.protocol(), "/vac/waku/rendezvous/0.0.1");
    assert_eq!((Dialect::Waku.ttl_default(), Dialect::Rendezvous.ttl_default()), (waku::TTL_DEFAULT, Ttl::DEFAULT));
    assert_eq!((Dialect::Waku.ttl_max(), Dialect::Rendezvous.ttl_max()), (waku::TTL_MAX, Ttl::RECOMMENDED_MAX));
}

#[test]
fn numbers_of_the_other_dialect_are_not_its_own() {
    // UNREGISTER there is DISCOVER here, DISCOVER there is an answer here, its answer nothing at all.
    assert_eq!(Request::decode(&[0x08, 2]), Ok(Request::Discover(Discover::default())));
    let answer = RequestError::NotARequest(MessageType::DiscoverResponse);
    assert_eq!(Request::decode(&[0x08, 3]), Err(answer));
    let unknown = ResponseError::NotAResponse(MessageType::Other(4));
    assert_eq!(Response::decode(&[0x08, 4]), Err(unknown));
    assert_eq!(Message::decode(&[0x32, 0]), Ok(Message::default()), "field 6 is not known");
}

#[test]
fn what_is_absent_is_told_by_what_is_there() {
    assert_eq!(Request::decode(&[]), Ok(Request::Register(Register::default())));
    assert_eq!(Request::decode(&[0x22, 0]), Ok(Request::Discover(Discover::default())));
    assert!(matches!(Response::decode(&[0x1a, 0]), Ok(Response::Register(_))));
    assert!(matches!(Response::decode(&[0x2a, 0]), Ok(Response::Discover(_))));
}

#[test]
fn a_negative_ttl_is_beyond_every_bound_and_a_negative_limit_the_largest_page() {
    let minus_one = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    let with = |tag: u8, field: u8| [&[tag, 11, field], &minus_one[..]].concat();
    let register = with(0x12, 0x18);
    let Ok(Request::Register(register)) = Request::decode(&register) else { panic!("REGISTER") };
    assert!(Ttl::from_wire(register.ttl_secs).is_some_and(|ttl| ttl > Ttl::RECOMMENDED_MAX));
    let discover = with(0x22, 0x10);
    let Ok(Request::Discover(discover)) = Request::decode(&discover) else { panic!("DISCOVER") };
    assert_eq!(Limit::from_wire(discover.limit), Limit::MAX);
}

#[test]
fn the_other_dialects_forms_say_the_same() {
    let discover = Request::Discover(Discover { namespace: Some(b"a"), limit: Some(3) });
    let same = rendezvous_wire::Discover { namespace: Some(b"a"), limit: Some(3), cookie: None, reads: None };
    assert_eq!(rendezvous_wire::Request::from(discover), rendezvous_wire::Request::Discover(same));
    assert_eq!(
        rendezvous_wire::Request::from(Request::Register(REGISTER)),
        rendezvous_wire::Request::Register(REGISTER)
    );
    let answer = DiscoverResponse { status: Some(Status::Ok), status_text: Some(b"x"), ..DiscoverResponse::default() };
    let same = rendezvous_wire::DiscoverResponse {
        status: Some(Status::Ok),
        status_text: Some(b"x"),
        ..rendezvous_wire::DiscoverResponse::default()
    };
    assert_eq!(rendezvous_wire::Response::from(Response::Discover(answer)), rendezvous_wire::Response::Discover(same));
}

#[test]
fn the_child_that_reaches_past_its_parent_is_refused() {
    let bytes = [0x2a, 2, 0x0a, 2, 0x18, 1, 0x7a, 0xf1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    let expected = DecodeError { kind: Some(MessageType::DiscoverResponse), reason: Malformed::Truncated };
    assert_eq!(Message::decode(&bytes), Err(expected));
}

#[test]
fn a_truncated_payload_is_refused_at_every_length_inside_a_field_and_names_its_type() {
    for payload in valid_payloads() {
        let kind = Message::decode(&payload).unwrap().kind.map(MessageType::from);
        for len in 0..payload.len() {
            digest(&payload[..len]);
            match len {
                0 | 2 => assert!(Message::decode(&payload[..len]).is_ok()),
                1 => assert!(Message::decode(&payload[..len]).is_err()),
                _ => {
                    let error = Message::decode(&payload[..len]).unwrap_err();
                    assert_eq!(error, DecodeError { kind, reason: Malformed::Truncated });
                }
            }
        }
    }
}

#[test]
fn every_change_of_a_single_byte_ends_in_a_value_or_an_error() {
    for payload in valid_payloads() {
        for at in 0..payload.len() {
            let mut changed = payload.clone();
            for flip in 1..=u8::MAX {
                changed[at] = payload[at] ^ flip;
                digest(&changed);
            }
        }
    }
}

#[test]
fn a_known_field_of_another_wire_type_is_refused() {
    for (payload, field) in [
        (&[0x0a, 0x00][..], 1),         // `type` with a length
        (&[0x20, 0x01], 4),             // `discover` as a number
        (&[0x22, 0x02, 0x12, 0x00], 2), // its limit with a length
        (&[0x2a, 0x02, 0x1a, 0x00], 3), // a status with a length
        (&[0x2a, 0x02, 0x20, 0x00], 4), // a status text as a number
    ] {
        assert_eq!(Message::decode(payload).unwrap_err().reason, Malformed::WireType { field });
    }
}

#[test]
fn one_broken_registration_loses_only_itself() {
    let whole = [0x0a, 3, 0x0a, 1, b'a'];
    let body = [&whole[..], &[0x0a, 2, 0x0a, 9], &[0x08, 5], &whole, &[0x18, 0]].concat();
    let mut payload = vec![0x08, 3, 0x2a];
    frame::append(&body, &mut payload);
    let Ok(Response::Discover(answer)) = Response::decode(&payload) else { panic!("an answer to DISCOVER") };
    let registrations: Vec<_> = answer.registrations.iter().collect();
    assert_eq!(registrations.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true]);
    assert_eq!(answer.status, Some(Status::Ok));
}

#[test]
fn reading_allocates_nothing() {
    let mut payloads = valid_payloads();
    payloads.push([&[0x08, 3, 0x2a, 0x80, 0x20][..], &[0x0a, 0].repeat(2_048)].concat());
    payloads.push(vec![0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    for payload in payloads {
        let allocations = allocation_counter::measure(|| {
            let message = Message::decode(&payload);
            let answer = message.ok().and_then(|message| message.discover_response).unwrap_or_default();
            assert!(answer.registrations.iter().count() <= 2_048);
            let _ = (Request::decode(&payload), Response::decode(&payload));
        });
        assert_eq!(allocations.count_total, 0);
    }
}

proptest! {
    #[test]
    fn a_page_is_the_frame_that_the_generic_encoder_writes(
        registrations in vec((vec(any::<u8>(), 0..140), vec(any::<u8>(), 0..300), 1..20_u64), 0..70),
        cookie in vec(any::<u8>(), 0..20),
    ) {
        let mut writer = PageWriter::of(Dialect::Waku, 1 << 20);
        let mut listed = Vec::new();
        for (namespace, record, ttl_secs) in &registrations {
            prop_assert!(writer.push(namespace, record, *ttl_secs));
            let (namespace, signed_peer_record) = (Some(&namespace[..]), Some(&record[..]));
            listed.push(Register { namespace, signed_peer_record, ttl_secs: Some(*ttl_secs) });
        }
        let registrations = Registrations::listed(&listed);
        let mut expected = Vec::new();
        Response::Discover(DiscoverResponse { registrations, status: Some(Status::Ok), status_text: None })
            .encode_frame(&mut expected);
        // There are no cookies to be written.
        let page = writer.finish(&cookie);
        prop_assert_eq!(page.as_bytes(), expected);
    }

    #[test]
    fn random_bytes_are_decoded_or_refused(payload in vec(any::<u8>(), 0..200)) {
        digest(&payload);
    }
}
