//! libp2p-core reads what this crate accepts, and reads the same in it.
//!
//! A rust-libp2p client loses a whole answer over one record that it cannot read. A point that
//! serves only what this crate accepts must therefore never accept a legacy record that
//! libp2p-core refuses.

use bytes::Bytes;
use libp2p_core::{PeerRecord, SignedEnvelope};
use multiaddr::Multiaddr;
use rendezvous_record::{Envelope, Flavour, Limits, VerifiedRecord};

mod common;

use common::{Numbers, TCP, ecdsa, ed25519, field, number_field, payload, seal, secp256k1, vectors};

/// What libp2p-core makes of an envelope.
fn core_reads(flavour: Flavour, envelope: &[u8]) -> Result<PeerRecord, String> {
    let envelope = SignedEnvelope::from_protobuf_encoding(envelope).map_err(|error| format!("envelope: {error:?}"))?;
    match flavour {
        Flavour::Legacy => PeerRecord::from_signed_envelope(envelope),
        Flavour::Standard => PeerRecord::from_signed_envelope_interop(envelope),
    }
    .map_err(|error| format!("record: {error:?}"))
}

/// Whether this crate accepts the envelope; if so, libp2p-core must read the same in it.
fn accepted_alike(envelope: &Bytes) -> bool {
    let Ok(record) = VerifiedRecord::verify(envelope.clone(), &Limits::default()) else {
        return false;
    };
    if record.unreadable_addresses() > 0 {
        assert_eq!(record.flavour(), Flavour::Standard);
        return true;
    }
    let core = core_reads(record.flavour(), envelope)
        .unwrap_or_else(|error| panic!("libp2p-core refuses {envelope:02x?}: {error}"));
    assert_eq!(core.peer_id(), record.peer_id());
    assert_eq!(core.seq(), record.seq());
    assert!(record.addresses().eq(core.addresses().iter().cloned()));
    true
}

/// Changes bytes the way transmission, sloppiness and malice would.
fn mutate(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    let place = numbers.below(bytes.len() + 1);
    match numbers.below(7) {
        0 if place < bytes.len() => bytes[place] ^= 1 << numbers.below(8),
        1 if place < bytes.len() => bytes[place] = numbers.next() as u8,
        2 => bytes.insert(place, numbers.next() as u8),
        3 if place < bytes.len() => {
            bytes.remove(place);
        }
        4 => {
            let end = place + numbers.below(bytes.len() - place + 1);
            let copy = bytes[place..end].to_vec();
            bytes.splice(place..place, copy);
        }
        5 => bytes.extend(number_field(1 + numbers.next() % 40, numbers.next())),
        _ => {
            let value = vec![numbers.next() as u8; numbers.below(4)];
            bytes.extend(field(1 + numbers.next() % 8, &value));
        }
    }
}

/// Fields of a payload in any order and number, most of them plausible.
fn assembled_payload(peer: libp2p_identity::PeerId, numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = Vec::new();
    if numbers.below(8) > 0 {
        bytes.extend(field(1, &peer.to_bytes()));
    }
    for _ in 0..numbers.below(5) {
        match numbers.below(12) {
            0 => bytes.extend(number_field(2, 0)),
            1 => bytes.extend(number_field(2, numbers.next())),
            2 => bytes.extend([0x10, 0x81, 0x00]),
            3 => bytes.extend(field(3, &field(1, &[]))),
            4 => bytes.extend(field(3, &[])),
            5 => bytes.extend(field(3, &[field(1, TCP), number_field(2, 1)].concat())),
            6 => bytes.extend(field(3, &field(1, &TCP[..numbers.below(TCP.len())]))),
            7 => bytes.extend(field(4, b"new")),
            // A group, which protobuf has deprecated and libp2p-core skips.
            8 => bytes.extend([0x23, 0x24]),
            _ => bytes.extend(field(3, &field(1, TCP))),
        }
    }
    bytes
}

#[test]
fn mutated_payloads_under_a_good_signature() {
    let mut numbers = Numbers(2);
    let key = ed25519(3);
    let peer = key.public().to_peer_id();
    for flavour in Flavour::ALL {
        let mut accepted = 0;
        for round in 0..6_000 {
            let mut payload = if round % 2 == 0 {
                payload(peer, numbers.next() >> numbers.below(64), &[TCP, TCP])
            } else {
                assembled_payload(peer, &mut numbers)
            };
            for _ in 0..numbers.below(3) {
                mutate(&mut payload, &mut numbers);
            }
            accepted += u32::from(accepted_alike(&seal(&key, flavour, &payload)));
        }
        // Enough of both kinds that the comparison means something.
        assert!((1_000..5_000).contains(&accepted), "{flavour} {accepted}");
    }
}

#[test]
fn mutated_envelopes_and_keys() {
    let mut numbers = Numbers(4);
    for flavour in Flavour::ALL {
        let mut accepted = 0;
        for round in 0..3_000 {
            let key = [ed25519, secp256k1, ecdsa][round % 3](5);
            let payload = payload(key.public().to_peer_id(), 7, &[TCP]);
            let whole = seal(&key, flavour, &payload);
            let envelope = Envelope::parse(&whole).expect("valid");

            let mut public_key = envelope.public_key.to_vec();
            if numbers.below(2) == 0 {
                mutate(&mut public_key, &mut numbers);
            }
            let mut bytes = Envelope { public_key: &public_key, ..envelope }.encode();
            if numbers.below(4) == 0 {
                mutate(&mut bytes, &mut numbers);
            }
            accepted += u32::from(accepted_alike(&bytes.into()));
        }
        assert!((500..2_900).contains(&accepted), "{flavour} {accepted}");
    }
}

/// The key is not covered by the signature, and RSA keys come with the most structure.
#[test]
fn mutated_keys_of_every_implementation() {
    let mut numbers = Numbers(6);
    for vector in vectors() {
        let envelope = Envelope::parse(&vector.envelope).expect("valid");
        for _ in 0..500 {
            let mut public_key = envelope.public_key.to_vec();
            for _ in 0..=numbers.below(3) {
                mutate(&mut public_key, &mut numbers);
            }
            let changed = Envelope { public_key: &public_key, ..envelope };
            let bytes = changed.encode().into();
            if accepted_alike(&bytes) {
                assert_eq!(changed.signer(), Ok(vector.peer), "{}", vector.name);
            }
        }
    }
}

#[test]
fn vectors_of_every_implementation() {
    for vector in vectors() {
        assert!(accepted_alike(&vector.envelope), "{}", vector.name);
    }
}

#[test]
fn what_this_crate_signs() {
    let addresses: Vec<Multiaddr> = vectors().remove(0).addresses;
    for key in [ed25519(1), secp256k1(1), ecdsa(1)] {
        for flavour in Flavour::ALL {
            for seq in [0, 1, u64::MAX] {
                let record = VerifiedRecord::sign(&key, flavour, seq, &addresses, &Limits::default())
                    .expect("within the limits");
                assert!(accepted_alike(record.envelope()));
            }
        }
    }
}
