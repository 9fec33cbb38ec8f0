//! Verification with a memory.

use bytes::Bytes;
use rendezvous_record::{Envelope, Flavour, Limits, MemoryLimits, VerifiedRecord, Verifier, VerifyError};

mod common;

use common::{Numbers, TCP, ed25519, payload, seal};

fn envelope(seed: u8) -> Bytes {
    let key = ed25519(seed);
    let payload = payload(key.public().to_peer_id(), 1, &[TCP]);
    seal(&key, Flavour::Standard, &payload)
}

fn broken(seed: u8) -> Bytes {
    let whole = envelope(seed);
    let envelope = Envelope::parse(&whole).expect("valid");
    Envelope { signature: &[0; 64], ..envelope }.encode().into()
}

fn verifier(entries_max: usize, bytes_max: usize) -> Verifier {
    let memory = MemoryLimits { entries_max, bytes_max };
    Verifier::new(Limits::default(), memory)
}

/// Where the record's envelope lies, which tells a remembered one from one verified afresh.
fn place(result: &Result<VerifiedRecord, VerifyError>) -> *const u8 {
    result.as_ref().expect("valid").envelope().as_ptr()
}

#[test]
fn results_are_those_of_fresh_verification_and_the_memory_stays_bounded() {
    let envelopes: Vec<_> = (0..60).map(envelope).collect();
    let bad: Vec<_> = (0..10).map(broken).collect();
    let length = envelopes[0].len();
    let mut numbers = Numbers(1);
    for (entries_max, bytes_max) in [
        (0, 0),
        (0, usize::MAX),
        (1, usize::MAX),
        (20, usize::MAX),
        (1000, length - 1),
        (1000, 7 * length),
        (1000, usize::MAX),
    ] {
        let mut verifier = verifier(entries_max, bytes_max);
        for _ in 0..20 {
            let page: Vec<_> = (0..numbers.below(40))
                .map(|_| match numbers.below(8) {
                    0 => bad[numbers.below(bad.len())].clone(),
                    1 => envelopes[0].slice(..numbers.below(length)),
                    _ => envelopes[numbers.below(envelopes.len())].clone(),
                })
                .collect();
            let fresh: Vec<_> =
                page.iter().map(|envelope| VerifiedRecord::verify(envelope.clone(), &Limits::default())).collect();
            assert_eq!(verifier.verify_page(page), fresh);
            assert!(verifier.len() <= entries_max);
            assert!(verifier.envelope_bytes() <= bytes_max);
            assert_eq!(verifier.is_empty(), verifier.envelope_bytes() == 0);
        }
        assert_eq!(verifier.is_empty(), entries_max == 0 || bytes_max < length, "{entries_max} {bytes_max}");
    }
}

#[test]
fn an_envelope_seen_before_is_recognised() {
    let mut verifier = verifier(10, usize::MAX);
    let first = verifier.verify_page([envelope(1), envelope(2)]);
    let again = verifier.verify_page([envelope(2), envelope(3), envelope(1)]);
    assert_eq!(place(&again[0]), place(&first[1]));
    assert_eq!(place(&again[2]), place(&first[0]));
    assert_eq!(verifier.len(), 3);
    assert_eq!(verifier.envelope_bytes(), again.iter().flatten().map(|record| record.envelope().len()).sum::<usize>());
}

#[test]
fn what_was_longest_not_seen_is_forgotten_first() {
    let mut verifier = verifier(2, usize::MAX);
    let first = verifier.verify_page([envelope(1), envelope(2)]);
    verifier.verify_page([envelope(1)]);
    verifier.verify_page([envelope(3)]);
    let again = verifier.verify_page([envelope(1), envelope(2)]);
    assert_eq!(place(&again[0]), place(&first[0]));
    assert_ne!(place(&again[1]), place(&first[1]));
}

#[test]
fn a_failure_is_not_remembered_and_a_repetition_is_verified_once() {
    let mut verifier = verifier(10, usize::MAX);
    let page = [broken(1), envelope(1), broken(1), envelope(1)];
    let results = verifier.verify_page(page);
    assert_eq!(results[0], Err(VerifyError::BadSignature));
    assert_eq!(results[2], Err(VerifyError::BadSignature));
    assert_eq!(place(&results[1]), place(&results[3]));
    assert_eq!(verifier.len(), 1);
}

#[test]
fn records_do_not_keep_the_frame_they_came_in() {
    let first = envelope(1);
    let frame = Bytes::from([&first[..], &envelope(2)].concat());
    let page = [frame.slice(..first.len()), frame.slice(first.len()..)];
    let results = verifier(10, usize::MAX).verify_page(page);
    assert!(results.iter().all(Result::is_ok));
    assert!(frame.is_unique(), "nothing else refers to the frame");
}

#[test]
fn a_detached_record_is_the_same_record() {
    let first = envelope(1);
    let frame = Bytes::from([&first[..], &[0; 1000]].concat());
    let record = VerifiedRecord::verify(frame.slice(..first.len()), &Limits::default()).expect("valid");
    assert!(!frame.is_unique());
    let detached = record.clone().detach();
    assert_eq!(detached, record);
    drop(record);
    assert!(frame.is_unique());
    assert_eq!(detached.peer_id(), ed25519(1).public().to_peer_id());
}
