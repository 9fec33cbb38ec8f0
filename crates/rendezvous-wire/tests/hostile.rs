//! Bytes that no honest peer writes: all of them end in a value or a typed error.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rendezvous_wire::{
    Cookie, DecodeError, Discover, DiscoverResponse, Limit, Malformed, Message, MessageType, Namespace, PositionCookie,
    Register, RegisterResponse, Registrations, Request, RequestError, Response, ResponseError, Status, Ttl, Unregister,
    frame::{self, FrameError},
};

const REGISTER: Register<'_> =
    Register { namespace: Some(b"chat"), signed_peer_record: Some(b"an envelope"), ttl_secs: Some(7_200) };

/// One valid payload of every kind, with every field of the schema in one of them at least.
fn valid_payloads() -> Vec<Vec<u8>> {
    let discover = Discover { namespace: Some(b"chat"), limit: Some(1_000), cookie: Some(&[0; 12]), reads: Some(3) };
    let registrations = [REGISTER, Register::default(), REGISTER];
    let registered =
        RegisterResponse { status: Some(Status::Ok), status_text: Some(b"welcome"), ttl_secs: Some(u64::MAX) };
    let discovered = DiscoverResponse {
        registrations: Registrations::listed(&registrations),
        cookie: Some(b"position"),
        status: Some(Status::Unavailable),
        status_text: Some(b"later"),
    };
    [
        Request::Register(REGISTER).to_message(),
        Request::Unregister(Unregister { namespace: Some(b"chat"), id: Some(b"peer") }).to_message(),
        Request::Discover(discover).to_message(),
        Response::Register(registered).to_message(),
        Response::Discover(discovered).to_message(),
    ]
    .iter()
    .map(Message::encode)
    .collect()
}

/// Does with a payload everything that this crate can do with one. It must not panic, and what it accepts it can say
/// again.
fn digest(payload: &[u8]) {
    let message = Message::decode(payload);
    let request = Request::decode(payload);
    let response = Response::decode(payload);
    let Ok(message) = message else {
        let error = message.unwrap_err();
        assert_eq!(request, Err(RequestError::Malformed(error)));
        assert_eq!(response, Err(ResponseError::Malformed(error)));
        return;
    };
    assert!(request.is_err() || response.is_err(), "a request is no response");
    assert_eq!(MessageType::from_number(message.effective_kind().number()), message.effective_kind());

    let answer = message.discover_response.unwrap_or_default();
    let mut whole = true;
    for registration in answer.registrations {
        match registration {
            Ok(registration) => digest_register(&registration),
            Err(_) => whole = false,
        }
    }
    digest_register(&message.register.unwrap_or_default());
    let discover = message.discover.unwrap_or_default();
    assert!((1..=1_000).contains(&Limit::from_wire(discover.limit).count()));
    for cookie in [discover.cookie, answer.cookie] {
        assert!(Cookie::from_wire(cookie).is_ok_and(|kept| kept.is_some() == cookie.is_some_and(|c| !c.is_empty())));
        if let Ok(position) = PositionCookie::decode(cookie.unwrap_or_default()) {
            assert_eq!(Some(position.encode().as_slice()), cookie);
        }
    }
    for status in [answer.status, message.register_response.unwrap_or_default().status] {
        assert_eq!(Status::from_wire(status).is_ok(), status.is_none_or(|status| status.code() == 0));
    }
    // A registration that cannot be read is not written again; all else is.
    let again = message.encode();
    assert_eq!(Message::decode(&again).is_ok_and(|again| again == message), whole);
    assert!(!format!("{message:?}").is_empty());
}

fn digest_register(register: &Register<'_>) {
    if let Some(namespace) = register.namespace {
        assert_eq!(Namespace::parse(namespace).is_ok(), !namespace.is_empty() && str::from_utf8(namespace).is_ok());
    }
    assert_ne!(Ttl::from_wire(register.ttl_secs), Some(Ttl::from_secs(0)));
}

fn malformed(payload: &[u8]) -> DecodeError {
    Message::decode(payload).expect_err("these bytes are no message")
}

#[test]
fn the_child_that_reaches_past_its_parent_is_refused() {
    // Readers that do not bound a child by its parent loop on these bytes while memory grows.
    let payload = [0x32, 2, 0x0a, 2, 0x18, 1, 0x7a, 0xf1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    let expected = DecodeError { kind: Some(MessageType::DiscoverResponse), reason: Malformed::Truncated };
    assert_eq!(Message::decode(&payload), Err(expected));
    assert_eq!(Response::decode(&payload), Err(ResponseError::Malformed(expected)));
}

#[test]
fn a_truncated_frame_asks_for_more_at_every_length() {
    for payload in valid_payloads() {
        let mut frame = Vec::new();
        frame::append(&payload, &mut frame);
        for len in 0..frame.len() {
            assert_eq!(frame::split(&frame[..len], payload.len()), Ok(None));
        }
        assert_eq!(frame::split(&frame, payload.len()), Ok(Some((payload.as_slice(), frame.len()))));
    }
}

#[test]
fn a_truncated_payload_is_refused_at_every_length_inside_a_field() {
    for payload in valid_payloads() {
        for len in 0..payload.len() {
            digest(&payload[..len]);
            // The payload is `type`, two bytes, and one sub-message.
            match len {
                0 | 2 => assert!(Message::decode(&payload[..len]).is_ok()),
                _ => assert_eq!(malformed(&payload[..len]).reason, Malformed::Truncated),
            }
        }
    }
}

#[test]
fn a_truncated_payload_names_its_type_once_that_was_read() {
    for payload in valid_payloads() {
        let kind = Message::decode(&payload).unwrap().kind;
        for len in 3..payload.len() {
            assert_eq!(malformed(&payload[..len]).kind, kind);
        }
        // Without the field `type`, the sub-message that breaks tells it.
        let mut broken = payload[2..].to_vec();
        broken[1] = 1;
        broken.truncate(3);
        assert_eq!(malformed(&broken).kind, kind);
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
fn bytes_behind_a_frame_stay_for_the_next_one() {
    for payload in valid_payloads() {
        let mut bytes = Vec::new();
        frame::append(&payload, &mut bytes);
        let frame_len = bytes.len();
        bytes.extend_from_slice(&[0xff; 20]);
        assert_eq!(frame::split(&bytes, payload.len()), Ok(Some((payload.as_slice(), frame_len))));
    }
}

#[test]
fn bytes_behind_the_fields_of_a_payload_are_fields_or_a_fault() {
    for payload in valid_payloads() {
        let with = |trailing: &[u8]| [&payload, trailing].concat();
        assert_eq!(malformed(&with(&[0x00])).reason, Malformed::Tag);
        assert_eq!(malformed(&with(&[0x08])).reason, Malformed::Truncated);
        assert_eq!(malformed(&with(&[0xff; 10])).reason, Malformed::Varint);
        assert_eq!(Message::decode(&with(&[0x78, 0x01])), Message::decode(&payload), "field 15 is not known");
    }
}

#[test]
fn a_frame_above_the_limit_is_refused_by_its_prefix_alone() {
    let prefixes: [(&[u8], u64); 4] = [
        (&[0x81, 0x80, 0x04], 65_537),
        (&[0xff, 0xff, 0xff, 0xff, 0x0f], u64::from(u32::MAX)),
        (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01], 1 << 63),
        (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], u64::MAX),
    ];
    for (prefix, len_bytes) in prefixes {
        let max_bytes = frame::REQUEST_BYTES_MAX;
        assert_eq!(frame::split(prefix, max_bytes), Err(FrameError::TooLong { len_bytes, max_bytes }));
    }
    assert_eq!(frame::split(&[0x80, 0x80, 0x04], frame::REQUEST_BYTES_MAX), Ok(None), "64 KiB are allowed");
}

#[test]
fn a_frame_length_cannot_overflow_even_without_a_limit() {
    let prefix = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert!(matches!(frame::split(&prefix, usize::MAX), Err(FrameError::TooLong { len_bytes: u64::MAX, .. })));
}

#[test]
fn a_prefix_that_is_no_varint_of_64_bits_is_refused() {
    for prefix in [[0xff; 10], [0x80; 10]] {
        assert_eq!(frame::split(&prefix[..9], usize::MAX), Ok(None));
        assert_eq!(frame::split(&prefix, usize::MAX), Err(FrameError::Prefix));
    }
}

#[test]
fn a_length_inside_a_payload_that_is_near_the_top_of_u64_is_truncated() {
    for len in [u64::MAX, 1 << 63, u64::MAX - 16, u64::from(u32::MAX), 100] {
        for outer in [None, Some(0x12_u8), Some(0x22), Some(0x2a), Some(0x32)] {
            let mut body = vec![0x0a];
            let mut rest = len;
            while rest >= 0x80 {
                body.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            body.push(rest as u8);
            body.push(b'x');
            let payload = outer.map_or_else(
                // At the top level field 1 is `type`: field 2 is the first with a length.
                || [&[0x12], &body[1..]].concat(),
                |tag| [&[tag, body.len() as u8], &body[..]].concat(),
            );
            assert_eq!(malformed(&payload).reason, Malformed::Truncated, "{len} bytes in {outer:?}");
        }
    }
}

#[test]
fn a_known_field_of_another_wire_type_is_refused() {
    for (payload, field) in [
        (&[0x0a, 0x00][..], 1),             // `type` with a length
        (&[0x0d, 0, 0, 0, 0], 1),           // `type` of 32 bits
        (&[0x10, 0x01], 2),                 // `register` as a number
        (&[0x12, 0x02, 0x08, 0x01], 1),     // its namespace as a number
        (&[0x12, 0x02, 0x1a, 0x00], 3),     // its TTL with a length
        (&[0x2a, 0x03, 0x82, 0x04, 0], 64), // `reads` with a length
        (&[0x32, 0x02, 0x1a, 0x00], 3),     // a status with a length
    ] {
        assert_eq!(malformed(payload).reason, Malformed::WireType { field });
    }
}

#[test]
fn one_broken_registration_among_a_thousand_loses_only_itself() {
    // Cut off inside; of a number that does not exist; and no sub-message at all.
    let broken: [&[u8]; 5] = [
        &[0x0a, 0x02, 0x0a, 0x7f],
        &[0x0a, 0x01, 0x00],
        &[0x08, 0x05],
        &[0x09, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x0d, 0, 0, 0, 0],
    ];
    // Behind the tag of `register` stands what stands behind the tag of a registration.
    let register = Message { register: Some(REGISTER), ..Message::default() }.encode();
    let one = &register[1..];
    for broken in broken {
        let mut body = Vec::new();
        for index in 0..1_000 {
            match index {
                500 => body.extend_from_slice(broken),
                _ => {
                    body.push(0x0a);
                    body.extend_from_slice(one);
                }
            }
        }
        body.extend_from_slice(&[0x12, 0x01, 0x07, 0x18, 0x00]);
        let mut payload = vec![0x08, 0x04, 0x32];
        frame::append(&body, &mut payload);

        let Ok(Response::Discover(answer)) = Response::decode(&payload) else { panic!("an answer to DISCOVER") };
        assert_eq!((answer.status, answer.cookie), (Some(Status::Ok), Some(&[7][..])));
        let registrations: Vec<_> = answer.registrations.iter().collect();
        assert_eq!(registrations.len(), 1_000);
        for (index, registration) in registrations.into_iter().enumerate() {
            match index {
                500 => assert!(registration.is_err()),
                _ => assert_eq!(registration, Ok(REGISTER)),
            }
        }
    }
}

#[test]
fn an_unknown_status_stays_a_number_and_is_never_ok() {
    for code in [-1, 1, 42, 99, 104, 201, 429, i32::MAX, i32::MIN] {
        let response = Response::Register(RegisterResponse {
            status: Some(Status::from_code(code)),
            ..RegisterResponse::default()
        });
        let payload = response.to_message().encode();
        let Ok(Response::Register(answer)) = Response::decode(&payload) else { panic!("an answer to REGISTER") };
        assert_eq!(answer.status, Some(Status::Other(code)));
        assert!(!Status::from_wire(answer.status).is_ok());
    }
}

#[test]
fn an_unknown_type_stays_a_number_and_is_never_register() {
    for number in [-1, 5, 99, 100, 101, i32::MAX, i32::MIN] {
        let kind = MessageType::from_number(number);
        assert_eq!(kind, MessageType::Other(number));
        // Not even with the sub-message of REGISTER.
        let payload = Message { kind: Some(kind), register: Some(REGISTER), ..Message::default() }.encode();
        assert_eq!(Request::decode(&payload), Err(RequestError::NotARequest(kind)));
        assert_eq!(Response::decode(&payload), Err(ResponseError::NotAResponse(kind)));
    }
}

#[test]
fn an_enum_above_32_bits_is_read_as_every_protobuf_reader_reads_it() {
    // The low 32 bits count: another reading would let two parties see different statuses in the same bytes.
    let mut payload = vec![0x08, 0x01, 0x1a, 0x06, 0x08];
    payload.extend_from_slice(&[0xe4, 0x80, 0x80, 0x80, 0x10]); // 2^32 + 100
    let Ok(Response::Register(answer)) = Response::decode(&payload) else { panic!("an answer to REGISTER") };
    assert_eq!(answer.status, Some(Status::InvalidNamespace));
}
