//! Reading allocates nothing, whatever the bytes. A test binary of its own, since it counts at the global allocator.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::hint::black_box;

use rendezvous_wire::{Message, Register, Request, Response, frame};

/// How often the allocator was asked for memory while `run` ran on this thread.
fn allocations(run: impl FnOnce()) -> u64 {
    allocation_counter::measure(run).count_total
}

#[test]
fn the_counter_counts() {
    // Without this the other tests could pass by counting nothing.
    assert_eq!(allocations(|| drop(black_box(Vec::<u8>::with_capacity(64)))), 1);
}

#[test]
fn an_answer_of_4_mib_of_empty_registrations_is_read_without_allocating() {
    const HEAD: [u8; 7] = [0x08, 0x04, 0x32, 0xf9, 0xff, 0xff, 0x01]; // the rest has 4 MiB - 7 bytes
    let mut payload = HEAD.to_vec();
    // An odd length: a status of two bytes and 64 bits that nobody knows leave pairs for the registrations.
    payload.extend_from_slice(&[0x18, 0x00, 0x79, 0, 0, 0, 0, 0, 0, 0, 0]);
    payload.resize_with(frame::RESPONSE_BYTES_MAX, {
        let mut at = 0;
        move || {
            at += 1;
            if at % 2 == 1 { 0x0a } else { 0x00 }
        }
    });
    let empty_registrations = (frame::RESPONSE_BYTES_MAX - HEAD.len() - 11) / 2;
    let mut bytes = Vec::new();
    frame::append(&payload, &mut bytes);

    let mut count = 0;
    let allocations = allocations(|| {
        let (payload, _) = frame::split(&bytes, frame::RESPONSE_BYTES_MAX).unwrap().unwrap();
        let Ok(Response::Discover(answer)) = Response::decode(payload) else { panic!("an answer to DISCOVER") };
        count = answer.registrations.iter().filter(|registration| *registration == Ok(Register::default())).count();
    });
    assert_eq!((count, allocations), (empty_registrations, 0));
}

#[test]
fn bytes_that_are_refused_are_refused_without_allocating() {
    let refused: [&[u8]; 4] = [
        &[0x32, 2, 0x0a, 2, 0x18, 1, 0x7a, 0xf1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
        &[0x0b, 0x0c],
    ];
    for payload in refused {
        assert_eq!(allocations(|| assert!(Message::decode(payload).is_err())), 0);
        assert_eq!(allocations(|| assert!(Request::decode(payload).is_err())), 0);
    }
}

#[test]
fn a_frame_above_the_limit_is_refused_without_allocating() {
    for prefix in [&[0x81, 0x80, 0x04][..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]] {
        assert_eq!(allocations(|| assert!(frame::split(prefix, frame::REQUEST_BYTES_MAX).is_err())), 0);
    }
}

#[cfg(feature = "codec")]
#[test]
fn the_codec_takes_nothing_for_a_frame_that_is_only_announced() {
    use asynchronous_codec::Decoder;

    let mut codec = rendezvous_wire::FrameCodec::new(frame::RESPONSE_BYTES_MAX);
    let mut allowed = bytes::BytesMut::from(&[0x80, 0x80, 0x80, 0x02][..]);
    assert_eq!(allocations(|| assert!(codec.decode(&mut allowed).unwrap().is_none())), 0);
    let mut too_long = bytes::BytesMut::from(&[0x81, 0x80, 0x80, 0x02][..]);
    assert_eq!(allocations(|| assert!(codec.decode(&mut too_long).is_err())), 0);
}
