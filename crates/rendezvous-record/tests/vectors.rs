//! Envelopes made by other implementations: rust-libp2p, py-libp2p and js-libp2p.

use rendezvous_record::{Envelope, Flavour, Limits, VerifiedRecord, verify_batch};

mod common;

use common::vectors;

#[test]
fn envelopes_of_other_implementations_verify() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 12);
    for vector in vectors {
        let record =
            VerifiedRecord::verify(vector.envelope.clone(), &Limits::default()).expect("the vector is a valid record");
        assert_eq!(record.envelope(), &vector.envelope, "{}", vector.name);
        assert_eq!(record.flavour(), vector.flavour, "{}", vector.name);
        assert_eq!(record.peer_id(), vector.peer, "{}", vector.name);
        assert_eq!(record.seq(), vector.seq, "{}", vector.name);
        assert!(record.addresses().eq(vector.addresses), "{}", vector.name);
        assert_eq!(record.unreadable_addresses(), 0, "{}", vector.name);
        assert_eq!(record.envelope()[record.peer_id_range()], vector.peer.to_bytes(), "{}", vector.name);
    }
}

#[test]
fn an_unverified_envelope_tells_what_it_claims() {
    for vector in vectors() {
        let envelope = Envelope::parse(&vector.envelope).expect("well formed");
        assert_eq!(envelope.flavour(), Some(vector.flavour), "{}", vector.name);
        assert_eq!(envelope.signer(), Ok(vector.peer), "{}", vector.name);
    }
}

#[test]
fn a_batch_agrees_with_single_verification() {
    let limits = Limits::default();
    let envelopes: Vec<_> = vectors().into_iter().map(|vector| vector.envelope).collect();
    let singly: Vec<_> = envelopes.iter().map(|envelope| VerifiedRecord::verify(envelope.clone(), &limits)).collect();
    assert_eq!(verify_batch(envelopes, &limits), singly);
}

#[test]
fn sequence_numbers_share_a_scale() {
    for vector in vectors() {
        let record = VerifiedRecord::verify(vector.envelope, &Limits::default()).expect("the vector is a valid record");
        let scaled = match record.seq() {
            seconds @ 0..1_000_000_000_000 => seconds * 1_000_000_000,
            millis @ 0..1_000_000_000_000_000 => millis * 1_000_000,
            nanos => nanos,
        };
        assert_eq!(record.scaled_seq(), scaled, "{}", vector.name);
        assert!((1_700_000_000_000_000_000..1_800_000_000_000_000_000).contains(&scaled), "{}", vector.name);
    }
}

/// The Ed25519 vectors are signed with the key whose seed is the bytes 0 to 31, and rust-libp2p
/// encodes canonically, so the same arguments give the same bytes.
#[test]
fn signing_reproduces_what_rust_libp2p_signed() {
    let seed: [u8; 32] = std::array::from_fn(|at| at as u8);
    let key = libp2p_identity::Keypair::ed25519_from_bytes(seed).expect("32 bytes are a seed");
    let mut flavours = Vec::new();
    for vector in vectors() {
        if !vector.name.starts_with("rust-libp2p ed25519") {
            continue;
        }
        let record = VerifiedRecord::sign(&key, vector.flavour, vector.seq, &vector.addresses, &Limits::default())
            .expect("the record keeps to the limits");
        assert_eq!(record.envelope(), &vector.envelope, "{}", vector.name);
        flavours.push(vector.flavour);
    }
    assert_eq!(flavours, [Flavour::Legacy, Flavour::Standard]);
}
