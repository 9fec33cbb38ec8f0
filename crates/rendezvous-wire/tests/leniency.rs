//! What other implementations leave out or write differently, and how it is read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rendezvous_wire::{
    Cookie, Discover, Limit, Message, MessageType, Register, RegisterResponse, Request, Response, Status, Ttl,
    Unregister,
};

fn response(payload: &[u8]) -> Response<'_> {
    Response::decode(payload).unwrap()
}

#[test]
fn an_absent_type_is_told_by_the_sub_message() {
    let namespace = Some(&b"a"[..]);
    for (payload, request) in [
        (&[0x12, 3, 0x0a, 1, b'a'][..], Request::Register(Register { namespace, ..Register::default() })),
        (&[0x22, 3, 0x0a, 1, b'a'], Request::Unregister(Unregister { namespace, id: None })),
        (&[0x2a, 3, 0x0a, 1, b'a'], Request::Discover(Discover { namespace, ..Discover::default() })),
    ] {
        assert_eq!(Message::decode(payload).unwrap().kind, None);
        assert_eq!(Request::decode(payload), Ok(request));
    }
    assert!(matches!(response(&[0x1a, 0]), Response::Register(_)));
    assert!(matches!(response(&[0x32, 0]), Response::Discover(_)));
}

#[test]
fn an_empty_payload_is_an_empty_register() {
    // Zero is left out by proto3 writers, and REGISTER is zero.
    assert_eq!(Message::decode(&[]).unwrap().effective_kind(), MessageType::Register);
    assert_eq!(Request::decode(&[]), Ok(Request::Register(Register::default())));
}

#[test]
fn a_type_that_is_there_outweighs_the_sub_message() {
    assert_eq!(Request::decode(&[0x08, 0x03, 0x12, 0x00]), Ok(Request::Discover(Discover::default())));
}

#[test]
fn an_absent_sub_message_is_an_empty_one() {
    assert_eq!(Request::decode(&[0x08, 0x02]), Ok(Request::Unregister(Unregister::default())));
    assert_eq!(Request::decode(&[0x08, 0x03]), Ok(Request::Discover(Discover::default())));
    assert_eq!(response(&[0x08, 0x01]), Response::Register(RegisterResponse::default()));
}

#[test]
fn an_absent_status_is_ok_and_a_present_one_is_what_it_says() {
    for (payload, status) in [(&[0x1a, 0][..], Status::Ok), (&[0x1a, 2, 0x08, 0x64], Status::InvalidNamespace)] {
        let Response::Register(answer) = response(payload) else { panic!("an answer to REGISTER") };
        assert_eq!(Status::from_wire(answer.status), status);
    }
}

#[test]
fn an_absent_and_a_zero_ttl_are_both_the_default() {
    for (payload, present) in [(&[0x12, 0][..], None), (&[0x12, 2, 0x18, 0], Some(0))] {
        let Ok(Request::Register(register)) = Request::decode(payload) else { panic!("REGISTER") };
        assert_eq!(register.ttl_secs, present);
        assert_eq!(Ttl::from_wire(register.ttl_secs).unwrap_or(Ttl::DEFAULT).as_secs(), 7_200);
    }
}

#[test]
fn a_negative_int64_ttl_is_beyond_every_bound() {
    let payload = [0x12, 11, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    let Ok(Request::Register(register)) = Request::decode(&payload) else { panic!("REGISTER") };
    assert!(Ttl::from_wire(register.ttl_secs).is_some_and(|ttl| ttl > Ttl::RECOMMENDED_MAX));
}

#[test]
fn an_absent_a_zero_and_a_negative_limit_are_the_largest_page() {
    for payload in [
        &[0x2a, 0][..],
        &[0x2a, 2, 0x10, 0],
        &[0x2a, 11, 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
    ] {
        let Ok(Request::Discover(discover)) = Request::decode(payload) else { panic!("DISCOVER") };
        assert_eq!(Limit::from_wire(discover.limit), Limit::MAX);
    }
}

#[test]
fn an_empty_cookie_reads_as_absent() {
    let Ok(Request::Discover(discover)) = Request::decode(&[0x2a, 2, 0x1a, 0]) else { panic!("DISCOVER") };
    assert_eq!(discover.cookie, Some(&[][..]), "the raw form tells them apart");
    assert_eq!(Cookie::from_wire(discover.cookie), Ok(None));
}

#[test]
fn a_cookie_of_a_thousand_bytes_is_refused_alone() {
    let cookie = [7; 1_000];
    let payload = Request::Discover(Discover { cookie: Some(&cookie), ..Discover::default() }).to_message().encode();
    let Ok(Request::Discover(discover)) = Request::decode(&payload) else { panic!("DISCOVER") };
    assert_eq!(Cookie::from_wire(discover.cookie).unwrap_err().len_bytes, 1_000);
}

#[test]
fn varints_longer_than_needed_are_read() {
    // DISCOVER of "a" with limit 10: tag, length and value each with bytes to spare.
    let payload =
        [0x88, 0x00, 0x83, 0x80, 0x00, 0x2a, 0x89, 0x00, 0x0a, 0x81, 0x00, b'a', 0x90, 0x80, 0x00, 0x8a, 0x00];
    let discover = Discover { namespace: Some(b"a"), limit: Some(10), ..Discover::default() };
    assert_eq!(Request::decode(&payload), Ok(Request::Discover(discover)));
}

#[test]
fn a_frame_prefix_longer_than_needed_is_read() {
    assert_eq!(rendezvous_wire::frame::split(&[0x81, 0x80, 0x00, b'x'], 1), Ok(Some((&b"x"[..], 4))));
}

#[test]
fn unknown_fields_are_skipped_at_every_level_and_of_every_wire_type() {
    let unknown: [&[u8]; 5] = [
        &[0x78, 0x85, 0x01],                   // field 15, varint
        &[0x79, 1, 2, 3, 4, 5, 6, 7, 8],       // 64 bits
        &[0x7a, 2, 0x0a, 0x7f],                // a length; what is in it is nobody's concern
        &[0x7d, 1, 2, 3, 4],                   // 32 bits
        &[0xfa, 0xff, 0xff, 0xff, 0x0f, 1, 0], // the highest field number there is
    ];
    for unknown in unknown {
        for (tag, body) in [(0x12, &[0x0a, 1, b'a'][..]), (0x22, &[0x12, 1, 9]), (0x2a, &[0x10, 5]), (0x1a, &[0x18, 9])]
        {
            let plain = [&[tag, body.len() as u8], body].concat();
            let inside = [&[tag, (body.len() + 2 * unknown.len()) as u8], unknown, body, unknown].concat();
            let around = [unknown, &inside, unknown].concat();
            assert_eq!(Message::decode(&around), Message::decode(&plain));
            assert!(Message::decode(&plain).is_ok());
        }
    }
}

#[test]
fn of_a_field_that_stands_twice_the_last_counts() {
    let payload = [0x08, 3, 0x08, 2, 0x22, 6, 0x0a, 1, b'a', 0x0a, 1, b'b'];
    assert_eq!(Request::decode(&payload), Ok(Request::Unregister(Unregister { namespace: Some(b"b"), id: None })));
}

#[test]
fn of_a_sub_message_that_stands_twice_the_last_counts_and_nothing_is_merged() {
    let payload = [0x12, 3, 0x0a, 1, b'a', 0x12, 2, 0x18, 9];
    let last = Register { ttl_secs: Some(9), ..Register::default() };
    assert_eq!(Request::decode(&payload), Ok(Request::Register(last)));
}

#[test]
fn fields_are_read_in_any_order() {
    // The answer's status and cookie before its registration, and the type behind it all.
    let payload = [0x32, 9, 0x18, 0, 0x12, 1, 7, 0x0a, 2, 0x18, 5, 0x08, 4];
    let Response::Discover(answer) = response(&payload) else { panic!("an answer to DISCOVER") };
    assert_eq!((answer.status, answer.cookie), (Some(Status::Ok), Some(&[7][..])));
    let only = Register { ttl_secs: Some(5), ..Register::default() };
    assert_eq!(answer.registrations.iter().collect::<Vec<_>>(), [Ok(only)]);
}

#[test]
fn a_registration_may_lack_everything() {
    let Response::Discover(answer) = response(&[0x32, 2, 0x0a, 0]) else { panic!("an answer to DISCOVER") };
    assert_eq!(answer.registrations.iter().collect::<Vec<_>>(), [Ok(Register::default())]);
}

#[test]
fn text_that_is_not_utf8_does_not_cost_the_answer() {
    let Response::Register(answer) = response(&[0x1a, 5, 0x08, 0x64, 0x12, 1, 0xff]) else { panic!("to REGISTER") };
    assert_eq!((answer.status, answer.status_text), (Some(Status::InvalidNamespace), Some(&[0xff][..])));
}
