//! Whole frames as other implementations write them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rendezvous_wire::{
    Cookie, Discover, DiscoverResponse, Message, MessageType, PositionCookie, Register, RegisterResponse, Request,
    RequestError, Response, ResponseError, Status, Ttl, UndecodableCookie, Unregister, frame,
};

fn hex(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2), "two digits to a byte");
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// The payload of bytes that are exactly one frame.
fn payload(frame: &[u8]) -> &[u8] {
    let (payload, frame_len) = frame::split(frame, frame::REQUEST_BYTES_MAX).unwrap().unwrap();
    assert_eq!(frame_len, frame.len());
    payload
}

/// The frame decodes to the request, and the request encodes to the frame.
#[track_caller]
fn assert_request_both_ways(frame: &str, request: Request<'_>) {
    let frame = hex(frame);
    assert_eq!(Request::decode(payload(&frame)), Ok(request));
    let mut encoded = Vec::new();
    request.encode_frame(&mut encoded);
    assert_eq!(encoded, frame);
}

/// The frame decodes to the response, and the response encodes to the frame.
#[track_caller]
fn assert_response_both_ways(frame: &str, response: Response<'_>) {
    let frame = hex(frame);
    assert_eq!(Response::decode(payload(&frame)), Ok(response));
    let mut encoded = Vec::new();
    response.encode_frame(&mut encoded);
    assert_eq!(encoded, frame);
}

#[test]
fn unregister_of_one_namespace() {
    assert_request_both_ways(
        "0a080222060a04666f6f31",
        Request::Unregister(Unregister { namespace: Some(b"foo1"), id: None }),
    );
}

#[test]
fn discover_of_one_namespace_with_limit() {
    assert_request_both_ways(
        "0c08032a080a04666f6f31100a",
        Request::Discover(Discover { namespace: Some(b"foo1"), limit: Some(10), ..Discover::default() }),
    );
}

#[test]
fn discover_of_all_namespaces_is_an_empty_sub_message() {
    assert_request_both_ways("0408032a00", Request::Discover(Discover::default()));
}

#[test]
fn register_response_ok_with_explicit_status() {
    assert_response_both_ways(
        "0908011a05080018a038",
        Response::Register(RegisterResponse { status: Some(Status::Ok), status_text: None, ttl_secs: Some(7_200) }),
    );
}

#[test]
fn register_response_ok_of_a_proto3_writer_has_no_status() {
    let frame = hex("0708011a0318a038");
    let expected = RegisterResponse { status: None, status_text: None, ttl_secs: Some(7_200) };
    assert_eq!(Response::decode(payload(&frame)), Ok(Response::Register(expected)));
    assert_eq!(Status::from_wire(expected.status), Status::Ok);
}

#[test]
fn register_response_with_an_error_and_its_text() {
    assert_response_both_ways(
        "1d08011a1908641215756e737065636966696564206e616d657370616365",
        Response::Register(RegisterResponse {
            status: Some(Status::InvalidNamespace),
            status_text: Some(b"unspecified namespace"),
            ttl_secs: None,
        }),
    );
}

#[test]
fn discover_response_with_an_error_and_its_text() {
    assert_response_both_ways(
        "120804320e1867220a62616420636f6f6b6965",
        Response::Discover(DiscoverResponse {
            status: Some(Status::InvalidCookie),
            status_text: Some(b"bad cookie"),
            ..DiscoverResponse::default()
        }),
    );
}

#[test]
fn discover_response_ok_of_a_proto3_writer_is_an_empty_sub_message() {
    let frame = hex("0408043200");
    let Ok(Response::Discover(answer)) = Response::decode(payload(&frame)) else { panic!("an answer to DISCOVER") };
    assert_eq!(answer, DiscoverResponse::default());
    assert_eq!(Status::from_wire(answer.status), Status::Ok);
    assert_eq!(Cookie::from_wire(answer.cookie), Ok(None));
    assert!(answer.registrations.is_empty());
}

#[test]
fn subscription_messages_keep_their_numbers_and_are_neither_request_nor_response() {
    for (frame, number) in [
        ("120864a2060d0a05696e6d656d1204666f6f31", 100),
        (
            concat!(
                "3f0865aa063a0a05696e6d656d12317b22506565724944223a22313244334b6f6f574578616d706c65222c22",
                "4368616e6e656c4e616d65223a22666f6f31227d"
            ),
            101,
        ),
    ] {
        let frame = hex(frame);
        let payload = payload(&frame);
        let kind = MessageType::Other(number);
        assert_eq!(Message::decode(payload), Ok(Message { kind: Some(kind), ..Message::default() }));
        assert_eq!(Request::decode(payload), Err(RequestError::NotARequest(kind)));
        assert_eq!(Response::decode(payload), Err(ResponseError::NotAResponse(kind)));
    }
}

#[test]
fn register_of_a_proto3_writer_has_no_type_and_carries_what_it_carries() {
    let frame = hex(concat!(
        "3f123d0a04666f6f3112320a26002408011220000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "1208040101010106270f18a038"
    ));
    // This writer puts an unsigned peer info where the record belongs. Whether that will do is not decided here.
    let peer_info = hex(concat!(
        "0a26002408011220000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "1208040101010106270f"
    ));
    let register = Register {
        namespace: Some(b"foo1"),
        signed_peer_record: Some(&peer_info),
        ttl_secs: Some(Ttl::DEFAULT.as_secs()),
    };
    assert_eq!(Message::decode(payload(&frame)).unwrap().kind, None);
    assert_eq!(Request::decode(payload(&frame)), Ok(Request::Register(register)));
}

#[test]
fn cookie_of_another_point_is_opaque_and_no_position() {
    let bytes = hex("000000000000000556412b624bb70b0027519d174aa9a3bb931cc29c18968c4798e2b87a81a39498");
    let cookie = Cookie::from_wire(Some(&bytes)).unwrap().unwrap();
    assert_eq!(cookie.as_bytes(), bytes);
    assert_eq!(PositionCookie::decode(&bytes), Err(UndecodableCookie));
}
