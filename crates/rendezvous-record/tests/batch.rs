//! Batches beside single verification, and the signatures on which they differ.

use bytes::Bytes;
use curve25519_dalek::constants::{ED25519_BASEPOINT_TABLE, EIGHT_TORSION};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use ed25519_dalek::{Digest, Sha512};
use libp2p_identity::PublicKey;
use rendezvous_record::{BATCH_ENVELOPES_MAX, Envelope, Flavour, Limits, VerifiedRecord, VerifyError, verify_batch};

mod common;

use common::{TCP, ecdsa, ed25519, payload, seal, secp256k1, vectors};

fn honest(seed: u8) -> Bytes {
    let key = ed25519(seed);
    let flavour = Flavour::ALL[usize::from(seed % 2)];
    let payload = payload(key.public().to_peer_id(), u64::from(seed), &[TCP]);
    seal(&key, flavour, &payload)
}

fn with_signature(envelope: &[u8], change: impl FnOnce(&mut [u8])) -> Bytes {
    let envelope = Envelope::parse(envelope).expect("valid");
    let mut signature = envelope.signature.to_vec();
    change(&mut signature);
    Envelope { signature: &signature, ..envelope }.encode().into()
}

#[test]
fn one_bad_signature_is_the_only_one_reported() {
    let limits = Limits::default();
    for count in [1, 3, 4, 9, BATCH_ENVELOPES_MAX + 40] {
        let good: Vec<_> = (0..count).map(|at| honest(at as u8)).collect();
        for bad in [0, count / 2, count - 1] {
            let mut page = good.clone();
            page[bad] = with_signature(&page[bad], |signature| signature[40] ^= 1);
            let results = verify_batch(page.clone(), &limits);
            assert_eq!(results.len(), count);
            for (at, result) in results.into_iter().enumerate() {
                if at == bad {
                    assert_eq!(result, Err(VerifyError::BadSignature));
                } else {
                    let record = result.expect("the others are good");
                    assert_eq!(record.envelope(), &page[at]);
                }
            }
        }
    }
}

#[test]
fn key_types_and_errors_of_every_kind_keep_their_places() {
    let limits = Limits::default();
    let mut page: Vec<Bytes> = Vec::new();
    for seed in 1..60 {
        page.push(honest(seed));
        let other = match seed % 4 {
            0 => secp256k1(seed),
            1 => ecdsa(seed),
            2 => ed25519(seed),
            _ => ed25519(seed + 1),
        };
        // With the wrong peer for every fourth.
        let peer = if seed % 4 == 3 { ed25519(seed).public().to_peer_id() } else { other.public().to_peer_id() };
        page.push(seal(&other, Flavour::Standard, &payload(peer, 1, &[TCP])));
        page.push(honest(seed).slice(3..));
        page.push(with_signature(&honest(seed), |signature| {
            signature[usize::from(seed)] ^= seed;
        }));
    }
    page.extend(vectors().into_iter().map(|vector| vector.envelope));
    page.push(Bytes::new());
    page.push(vec![0; 9000].into());

    let singly: Vec<_> = page.iter().map(|envelope| VerifiedRecord::verify(envelope.clone(), &limits)).collect();
    assert!(singly.iter().any(Result::is_ok) && singly.iter().any(Result::is_err));
    assert_eq!(verify_batch(page, &limits), singly);
}

#[test]
fn an_empty_page_is_an_empty_result() {
    assert_eq!(verify_batch([], &Limits::default()), []);
}

#[test]
fn a_signature_of_another_length_does_not_disturb_its_neighbours() {
    let limits = Limits::default();
    let mut page: Vec<_> = (0..8).map(honest).collect();
    let envelope = Envelope::parse(&page[3]).expect("valid");
    page[3] = Envelope { signature: &envelope.signature[..63], ..envelope }.encode().into();
    let results = verify_batch(page, &limits);
    assert_eq!(results[3], Err(VerifyError::BadSignature));
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 7);
}

/// An envelope by the holder of a secret scalar, whose key and signature the tests make odd.
struct Signer {
    secret: Scalar,
    /// What the public key has beside the secret times the base point.
    key_torsion: EdwardsPoint,
}

impl Signer {
    fn with_secret(secret: u64) -> Self {
        Self { secret: Scalar::from(secret), key_torsion: EdwardsPoint::identity() }
    }

    /// Signs with `commitment` as the signature's first half, where an honest signature has the
    /// canonical encoding of `nonce` times the base point.
    fn sign(&self, nonce: Scalar, commitment: [u8; 32]) -> Bytes {
        let key_point = ED25519_BASEPOINT_TABLE * &self.secret + self.key_torsion;
        let key_bytes = key_point.compress().to_bytes();
        let key = libp2p_identity::ed25519::PublicKey::try_from_bytes(&key_bytes)
            .map(PublicKey::from)
            .expect("a point on the curve");
        let payload = payload(key.to_peer_id(), 1, &[TCP]);
        let message = Flavour::Standard.signed_bytes(&payload);
        let hash = Sha512::new().chain_update(commitment).chain_update(key_bytes).chain_update(message).finalize();
        let challenge = Scalar::from_bytes_mod_order_wide(&hash.into());
        let response = nonce + challenge * self.secret;
        Envelope {
            public_key: &key.encode_protobuf(),
            payload_type: Flavour::Standard.payload_type(),
            payload: &payload,
            signature: &[commitment, response.to_bytes()].concat(),
        }
        .encode()
        .into()
    }
}

fn is_accepted_among(neighbours: &[Bytes], envelope: &Bytes) -> bool {
    let page = neighbours.iter().chain([envelope]).cloned();
    verify_batch(page, &Limits::default()).pop().expect("a result for every envelope").is_ok()
}

#[test]
fn a_commitment_off_by_a_point_of_small_order_may_pass_in_a_batch_and_never_singly() {
    let limits = Limits::default();
    let neighbours: Vec<_> = (0..8).map(honest).collect();
    let signer = Signer::with_secret(1_234_567);

    // The signer signs properly while nothing is odd.
    let nonce = Scalar::from(99_u64);
    let commitment = (ED25519_BASEPOINT_TABLE * &nonce).compress().to_bytes();
    let proper = signer.sign(nonce, commitment);
    assert!(VerifiedRecord::verify(proper, &limits).is_ok());

    // Orders 2, 4 and 8: one in as many batches accepts, depending on all the bytes in it.
    for (torsion, order) in [(4, 2), (2, 4), (1, 8)] {
        let mut accepted = 0;
        for attempt in 0..64 {
            let nonce = Scalar::from(1_000_u64 + attempt);
            let point = ED25519_BASEPOINT_TABLE * &nonce + EIGHT_TORSION[torsion];
            let odd = signer.sign(nonce, point.compress().to_bytes());
            assert_eq!(VerifiedRecord::verify(odd.clone(), &limits), Err(VerifyError::BadSignature));
            // Alone in a page there is no equation, and so no difference.
            assert!(!is_accepted_among(&[], &odd));
            accepted += u32::from(is_accepted_among(&neighbours, &odd));
        }
        assert!(accepted > 0, "order {order}");
        assert!(accepted < 64, "order {order}");
    }
}

#[test]
fn a_commitment_in_another_encoding_passes_in_a_batch_and_never_singly() {
    let neighbours: Vec<_> = (0..8).map(honest).collect();
    // The neutral point has y = 1; its second encoding writes y as 1 + p.
    let mut commitment = [0xff; 32];
    commitment[0] = 0xee;
    commitment[31] = 0x7f;
    assert_ne!(commitment, EdwardsPoint::identity().compress().to_bytes());

    let odd = Signer::with_secret(7).sign(Scalar::ZERO, commitment);
    assert_eq!(VerifiedRecord::verify(odd.clone(), &Limits::default()), Err(VerifyError::BadSignature));
    assert!(is_accepted_among(&neighbours, &odd));
}

/// The equation multiplies challenge and coefficient modulo the order of the base point, which is
/// wrong for a key with a part of small order: it may fail where single verification succeeds.
#[test]
fn what_passes_singly_passes_in_a_batch_under_any_key() {
    let limits = Limits::default();
    let neighbours: Vec<_> = (0..8).map(honest).collect();
    let signer = Signer { key_torsion: EIGHT_TORSION[1], ..Signer::with_secret(42) };
    let mut passed_singly = 0;
    for nonce in 1..=128_u64 {
        let nonce = Scalar::from(nonce);
        let commitment = (ED25519_BASEPOINT_TABLE * &nonce).compress().to_bytes();
        let envelope = signer.sign(nonce, commitment);
        if VerifiedRecord::verify(envelope.clone(), &limits).is_ok() {
            passed_singly += 1;
            assert!(is_accepted_among(&neighbours, &envelope));
        }
    }
    assert!(passed_singly > 0);
}
