//! The page writer says what the generic encoder says, within its bound to the byte.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::{collection::vec, prelude::*};
use rendezvous_wire::{
    COOKIE_BYTES_END, DiscoverResponse, Page, PageWriter, Register, Registrations, Response, Status, frame,
};

const UNBOUNDED: usize = 1 << 30;
const LONGEST_COOKIE: [u8; COOKIE_BYTES_END - 1] = [7; COOKIE_BYTES_END - 1];

fn payload_len(page: &Page) -> usize {
    let (payload, frame_len) = frame::split(page.as_bytes(), UNBOUNDED).unwrap().unwrap();
    assert_eq!(frame_len, page.as_bytes().len());
    payload.len()
}

/// The payload's length of a page with one registration of these lengths and the longest cookie.
fn longest_payload_len(namespace: &[u8], record: &[u8]) -> usize {
    let mut writer = PageWriter::new(UNBOUNDED);
    assert!(writer.push(namespace, record, 7_200));
    payload_len(&writer.finish(&LONGEST_COOKIE))
}

#[test]
fn a_page_keeps_little_of_the_room_that_was_made_and_not_used() {
    for (reserved, records) in [(0, 0), (1 << 20, 0), (1 << 20, 1), (1 << 20, 100), (0, 1_000), (256 << 10, 600)] {
        let mut writer = PageWriter::new(frame::PAGE_BYTES_MAX);
        writer.reserve(reserved);
        for _ in 0..records {
            assert!(writer.push(b"chat", &[7; 400], 7_200));
        }
        let page = writer.finish(&[7; 20]);
        let (allocated, bytes) = (page.allocated_bytes(), page.as_bytes().len());
        assert!(allocated <= 2 * bytes + (4 << 10), "{allocated} bytes are held for {bytes}");
        assert!(payload_len(&page) > records * 400);
    }
}

#[test]
fn the_bound_holds_to_the_byte_around_every_length_of_a_varint() {
    // Lengths of records such that their own length, their registration's, the body's and the payload's pass from one
    // byte to two, from two to three, and from three to four.
    for record_lens in [0..260, 15_280..15_380, 16_360..16_400, 2_096_080..2_096_140, 2_097_130..2_097_160] {
        for record_len in record_lens {
            let record = vec![0; record_len];
            let exact = longest_payload_len(b"chat", &record);

            let mut fitting = PageWriter::new(exact);
            assert!(fitting.push(b"chat", &record, 7_200), "record of {record_len} bytes");
            assert_eq!(payload_len(&fitting.finish(&LONGEST_COOKIE)), exact);

            let mut tight = PageWriter::new(exact - 1);
            assert!(!tight.push(b"chat", &record, 7_200), "record of {record_len} bytes");
        }
    }
}

#[test]
fn a_refused_registration_leaves_no_trace() {
    let exact = longest_payload_len(b"chat", b"envelope");
    let mut writer = PageWriter::new(exact);
    assert!(writer.push(b"chat", b"envelope", 7_200));
    assert!(!writer.push(b"", b"", 0), "not even the shortest fits");
    assert_eq!(writer.count(), 1);
    let page = writer.finish(&LONGEST_COOKIE);
    assert_eq!((page.count(), payload_len(&page)), (1, exact));
}

#[test]
fn a_full_page_has_no_room_for_one_more_and_stays_within_what_everybody_reads() {
    let record = [0xaa; 200];
    let mut writer = PageWriter::new(frame::PAGE_BYTES_MAX);
    writer.reserve(usize::MAX);
    while writer.push(b"chat", &record, 7_200) {}
    let count = writer.count();
    let page = writer.finish(&LONGEST_COOKIE);
    let one = 3 + 6 + 3 + 200 + 3; // its tag and length, `ns`, `signedPeerRecord`, `ttl`
    assert!(payload_len(&page) <= frame::PAGE_BYTES_MAX);
    assert!(payload_len(&page) + one > frame::PAGE_BYTES_MAX);
    assert_eq!(page.count(), count);
}

#[test]
fn a_bound_too_small_for_anything_takes_nothing_and_still_ends_in_a_page() {
    for bytes_max in [0, 1, 22, 23, 1_000] {
        let mut writer = PageWriter::new(bytes_max);
        assert!(!writer.push(b"chat", b"envelope", 7_200));
        let page = writer.finish(&[]);
        let (payload, _) = frame::split(page.as_bytes(), 64).unwrap().unwrap();
        let Ok(Response::Discover(answer)) = Response::decode(payload) else { panic!("an answer to DISCOVER") };
        assert_eq!((answer.status, answer.cookie, answer.registrations.is_empty()), (Some(Status::Ok), None, true));
    }
}

proptest! {
    #[test]
    fn a_page_is_the_frame_that_the_generic_encoder_writes(
        registrations in vec(
            (vec(any::<u8>(), 0..140), vec(any::<u8>(), 0..300), (any::<u64>(), 0..64_u32)), 0..70
        ),
        cookie in vec(any::<u8>(), 0..COOKIE_BYTES_END),
    ) {
        let mut writer = PageWriter::new(UNBOUNDED);
        let mut listed = Vec::new();
        for (namespace, record, (bits, shift)) in &registrations {
            let ttl_secs = bits >> shift;
            prop_assert!(writer.push(namespace, record, ttl_secs));
            listed.push(Register {
                namespace: Some(namespace),
                signed_peer_record: Some(record),
                ttl_secs: Some(ttl_secs),
            });
        }
        let mut expected = Vec::new();
        Response::Discover(DiscoverResponse {
            registrations: Registrations::listed(&listed),
            cookie: (!cookie.is_empty()).then_some(&cookie),
            status: Some(Status::Ok),
            status_text: None,
        })
        .encode_frame(&mut expected);

        let page = writer.finish(&cookie);
        prop_assert_eq!(page.count(), registrations.len());
        prop_assert_eq!(page.as_bytes(), expected);
    }
}
