//! Records that must be of one peer: whose they are is settled before a signature is checked.

use bytes::Bytes;
use libp2p_identity::Keypair;
use rendezvous_record::{Envelope, Flavour, Limits, VerifiedRecord, VerifyError};

mod common;

use common::{TCP, ecdsa, ed25519, payload, seal, secp256k1, vectors};

/// The envelope with another signature, which no key has made.
fn unsigned(envelope: &Bytes) -> Bytes {
    let parsed = Envelope::parse(envelope).expect("an envelope");
    let mut signature = parsed.signature.to_vec();
    *signature.last_mut().expect("a signature has bytes") ^= 1;
    Envelope { signature: &signature, ..parsed }.encode().into()
}

fn keys() -> [Keypair; 3] {
    [ed25519(7), secp256k1(7), ecdsa(7)]
}

#[test]
fn a_record_of_its_own_peer_verifies_for_every_key_and_flavour() {
    for vector in vectors() {
        let verified = VerifiedRecord::verify_of(&vector.peer, vector.envelope.clone(), &Limits::default());
        assert_eq!(verified, VerifiedRecord::verify(vector.envelope, &Limits::default()), "{}", vector.name);
        assert!(verified.is_ok(), "{}", vector.name);
    }
}

/// Had the signature been looked at, the error would be `BadSignature`.
#[test]
fn a_record_of_another_peer_is_told_before_its_signature_is_checked() {
    let me = ed25519(1).public().to_peer_id();
    let foreign = vectors().into_iter().map(|vector| (vector.peer, vector.envelope));
    for (signer, envelope) in foreign {
        for envelope in [envelope.clone(), unsigned(&envelope)] {
            let expected = VerifyError::OtherSigner { signer: Box::new(signer), expected: Box::new(me) };
            assert_eq!(VerifiedRecord::verify_of(&me, envelope, &Limits::default()), Err(expected));
        }
    }
}

#[test]
fn a_record_about_another_peer_is_told_before_its_signature_is_checked() {
    let other = ed25519(9).public().to_peer_id();
    for key in keys() {
        let me = key.public().to_peer_id();
        for flavour in Flavour::ALL {
            let envelope = seal(&key, flavour, &payload(other, 9, &[TCP]));
            for envelope in [envelope.clone(), unsigned(&envelope)] {
                let mismatch = VerifyError::PeerIdMismatch { claimed: Box::new(other), signer: Box::new(me) };
                for sender in [me, other] {
                    let verified = VerifiedRecord::verify_of(&sender, envelope.clone(), &Limits::default());
                    assert_eq!(verified, Err(mismatch.clone()));
                }
            }
        }
    }
}

#[test]
fn a_bad_signature_of_the_own_key_is_refused() {
    for key in keys() {
        let me = key.public().to_peer_id();
        for flavour in Flavour::ALL {
            let whole = seal(&key, flavour, &payload(me, 9, &[TCP]));
            assert!(VerifiedRecord::verify_of(&me, whole.clone(), &Limits::default()).is_ok());
            let refused = VerifiedRecord::verify_of(&me, unsigned(&whole), &Limits::default());
            assert_eq!(refused, Err(VerifyError::BadSignature));
        }
    }
}

#[test]
fn an_envelope_tells_what_its_verification_costs() {
    let cost = |key: &Keypair| {
        let envelope = seal(key, Flavour::Standard, &payload(key.public().to_peer_id(), 9, &[TCP]));
        Envelope::parse(&envelope).expect("an envelope").verify_micros()
    };
    assert_eq!(keys().each_ref().map(cost), [30, 50, 250]);
    let rsa = vectors().into_iter().find(|vector| vector.name.contains(" rsa ")).expect("a vector of an RSA key");
    assert_eq!(Envelope::parse(&rsa.envelope).expect("an envelope").verify_micros(), 20);
}
