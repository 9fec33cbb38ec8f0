//! Envelopes that nobody should have sent.

use bytes::Bytes;
use libp2p_identity::Keypair;
use rendezvous_record::{
    Deviation, DeviationKind, Envelope, EnvelopeError, Flavour, KeyError, Limits, Malformed, Part, PayloadError,
    PeerRecordPayload, Problem, VerifiedRecord, VerifyError,
};

mod common;

use common::{TCP, ed25519, field, number_field, payload, seal, varint, vectors};

fn verify(envelope: impl Into<Bytes>) -> Result<VerifiedRecord, VerifyError> {
    VerifiedRecord::verify(envelope.into(), &Limits::default())
}

fn key() -> Keypair {
    ed25519(7)
}

/// A payload of [`key`] with these bytes as addresses.
fn own_payload(addresses: &[&[u8]]) -> Vec<u8> {
    payload(key().public().to_peer_id(), 9, addresses)
}

fn valid(flavour: Flavour) -> Bytes {
    seal(&key(), flavour, &own_payload(&[TCP]))
}

#[test]
fn no_proper_prefix_of_an_envelope_is_one() {
    for vector in vectors() {
        for length in 0..vector.envelope.len() {
            let prefix = vector.envelope.slice(..length);
            assert!(verify(prefix).is_err(), "{} to {length}", vector.name);
        }
    }
}

#[test]
fn no_proper_prefix_of_a_payload_says_more_than_the_payload() {
    for flavour in Flavour::ALL {
        let whole = own_payload(&[TCP, TCP]);
        for length in 0..whole.len() {
            let Ok(record) = verify(seal(&key(), flavour, &whole[..length])) else {
                continue;
            };
            // Cut between fields it is a shorter record, which the key has signed as such.
            assert_eq!(record.peer_id(), key().public().to_peer_id());
            assert!(record.addresses().count() < 2);
        }
    }
}

/// Either the change is noticed, or it stands where it changes nothing that the record says.
#[test]
fn a_changed_byte_never_changes_what_a_record_says() {
    for vector in vectors() {
        for place in 0..vector.envelope.len() {
            let flips = (0..8).map(|bit| 1 << bit).chain([0xff, vector.envelope[place]]);
            for flip in flips.filter(|flip| *flip != 0) {
                let mut bytes = vector.envelope.to_vec();
                bytes[place] ^= flip;
                if let Ok(record) = verify(bytes) {
                    assert_eq!(record.peer_id(), vector.peer, "{} {place}", vector.name);
                    assert_eq!(record.seq(), vector.seq, "{} {place}", vector.name);
                    assert_eq!(record.flavour(), vector.flavour, "{} {place}", vector.name);
                    assert!(record.addresses().eq(vector.addresses.iter().cloned()));
                }
            }
        }
    }
}

#[test]
fn a_byte_behind_an_envelope_is_refused() {
    for vector in vectors() {
        for byte in 0..=u8::MAX {
            let mut bytes = vector.envelope.to_vec();
            bytes.push(byte);
            assert!(verify(bytes).is_err(), "{} {byte:#x}", vector.name);
        }
    }
}

#[test]
fn hostile_lengths_end_the_reading() {
    // A child that claims nearly the whole address space, behind a valid envelope and in front.
    let hostile = b"\x7a\xf1\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    for flavour in Flavour::ALL {
        let whole = valid(flavour);
        let behind = [&whole, &hostile[..]].concat();
        let truncated =
            |offset| Err(VerifyError::Envelope(EnvelopeError(Malformed { offset, problem: Problem::Truncated })));
        assert_eq!(verify(behind), truncated(whole.len() + hostile.len()));
        assert_eq!(verify([&hostile[..], &whole].concat()), truncated(hostile.len()));
    }
}

#[test]
fn unknown_fields_pass_in_the_standard_flavour_alone() {
    let unknown = number_field(1000, 5);
    for flavour in Flavour::ALL {
        let whole = valid(flavour);
        let mut padded_payload = own_payload(&[TCP]);
        let payload_end = padded_payload.len();
        padded_payload.extend(&unknown);
        let mut padded_address = payload(key().public().to_peer_id(), 9, &[]);
        padded_address.extend(field(3, &[field(1, TCP), unknown.clone()].concat()));
        let padded_key = with_key(flavour, |key| key.extend(&unknown));

        let cases = [
            ([&whole, &unknown[..]].concat(), Part::Envelope, whole.len()),
            (padded_key, Part::PublicKey, 36),
            (seal(&key(), flavour, &padded_payload).into(), Part::Payload, payload_end),
            (seal(&key(), flavour, &padded_address).into(), Part::Address(0), field(1, TCP).len()),
        ];
        for (bytes, part, offset) in cases {
            match flavour {
                Flavour::Standard => {
                    let record = verify(bytes.clone()).expect("unknown fields are skipped");
                    assert_eq!(record.envelope(), &bytes, "bytes stay as received");
                    assert_eq!(record.addresses().count(), 1);
                }
                Flavour::Legacy => {
                    let kind = DeviationKind::UnknownField;
                    let deviation = Deviation { offset, kind };
                    assert_eq!(verify(bytes), Err(VerifyError::NotCanonical { part, deviation }));
                }
            }
        }
    }
}

/// A valid envelope with another encoding of the key, which the signature does not cover.
fn with_key(flavour: Flavour, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let whole = valid(flavour);
    let envelope = Envelope::parse(&whole).expect("valid");
    let mut public_key = envelope.public_key.to_vec();
    change(&mut public_key);
    Envelope { public_key: &public_key, ..envelope }.encode()
}

#[test]
fn order_and_overlong_numbers_pass_in_the_standard_flavour_alone() {
    let peer_id = key().public().to_peer_id().to_bytes();
    let out_of_order = [number_field(2, 9), field(1, &peer_id)].concat();
    let overlong_seq = [field(1, &peer_id), vec![0x10, 0x89, 0x00]].concat();
    for (payload, kind) in [(out_of_order, DeviationKind::OutOfOrder), (overlong_seq, DeviationKind::LongVarint)] {
        let record = verify(seal(&key(), Flavour::Standard, &payload)).expect("readable protobuf");
        assert_eq!(record.seq(), 9);
        let refused = verify(seal(&key(), Flavour::Legacy, &payload));
        assert!(
            matches!(
                refused,
                Err(VerifyError::NotCanonical {
                    part: Part::Payload,
                    deviation
                }) if deviation.kind == kind
            ),
            "{refused:?}"
        );
    }
}

#[test]
fn a_repeated_field_is_refused_in_both_flavours() {
    for flavour in Flavour::ALL {
        let whole = valid(flavour);
        let envelope = Envelope::parse(&whole).expect("valid");
        for (number, value) in
            [(1, envelope.public_key), (2, envelope.payload_type), (3, envelope.payload), (5, envelope.signature)]
        {
            let repeated = [&whole, &field(number, value)[..]].concat();
            let malformed = Malformed { offset: whole.len(), problem: Problem::Repeated };
            assert_eq!(verify(repeated), Err(VerifyError::Envelope(EnvelopeError(malformed))));
        }

        let once = own_payload(&[TCP]);
        let peer_id = key().public().to_peer_id().to_bytes();
        let repetitions = [field(1, &peer_id), number_field(2, 9), field(3, &[field(1, TCP), field(1, TCP)].concat())];
        for repetition in repetitions {
            let twice = [&once[..], &repetition].concat();
            let refused = verify(seal(&key(), flavour, &twice));
            assert!(
                matches!(
                    refused,
                    Err(VerifyError::Payload(PayloadError(malformed)))
                        if malformed.problem == Problem::Repeated
                            && malformed.offset >= once.len()
                ),
                "{refused:?}"
            );
        }
    }
}

#[test]
fn a_missing_field_is_named() {
    let whole = valid(Flavour::Standard);
    let envelope = Envelope::parse(&whole).expect("valid");
    let fields = [
        (1, envelope.public_key, "public_key"),
        (2, envelope.payload_type, "payload_type"),
        (3, envelope.payload, "payload"),
        (5, envelope.signature, "signature"),
    ];
    for (absent, _, name) in fields {
        let bytes: Vec<u8> = fields
            .iter()
            .filter(|(number, ..)| *number != absent)
            .flat_map(|(number, value, _)| field(*number, value))
            .collect();
        let malformed = Malformed { offset: bytes.len(), problem: Problem::Missing(name) };
        assert_eq!(verify(bytes), Err(VerifyError::Envelope(EnvelopeError(malformed))));
    }
    let nobody = seal(&key(), Flavour::Standard, &number_field(2, 9));
    let malformed = Malformed { offset: 2, problem: Problem::Missing("peer_id") };
    assert_eq!(verify(nobody), Err(VerifyError::Payload(PayloadError(malformed))));
}

#[test]
fn an_empty_address_is_refused() {
    for flavour in Flavour::ALL {
        let explicit = own_payload(&[TCP, &[]]);
        let mut absent = own_payload(&[TCP]);
        absent.extend(field(3, &[]));
        for payload in [explicit, absent] {
            assert_eq!(verify(seal(&key(), flavour, &payload)), Err(VerifyError::EmptyAddress { index: 1 }));
        }
    }
}

#[test]
fn an_unreadable_address_is_skipped_or_fatal_by_flavour() {
    let unknown_protocol = varint(9_999);
    let truncated_port = &TCP[..TCP.len() - 1];
    let payload = own_payload(&[TCP, &unknown_protocol, truncated_port, TCP]);

    let record = verify(seal(&key(), Flavour::Standard, &payload)).expect("two are readable");
    assert_eq!(record.addresses().count(), 2);
    assert_eq!(record.unreadable_addresses(), 2);

    assert_eq!(verify(seal(&key(), Flavour::Legacy, &payload)), Err(VerifyError::UnreadableAddress { index: 1 }));
}

#[test]
fn the_limits_are_inclusive() {
    let payload = own_payload(&[TCP; 3]);
    let envelope = seal(&key(), Flavour::Standard, &payload);
    let limits = Limits { envelope_bytes_max: envelope.len(), addresses_max: 3 };
    assert!(VerifiedRecord::verify(envelope.clone(), &limits).is_ok());

    let smaller = Limits { envelope_bytes_max: envelope.len() - 1, ..limits.clone() };
    assert_eq!(
        VerifiedRecord::verify(envelope.clone(), &smaller),
        Err(VerifyError::TooLarge { bytes: envelope.len(), max: envelope.len() - 1 })
    );
    let fewer = Limits { addresses_max: 2, ..limits };
    assert_eq!(VerifiedRecord::verify(envelope, &fewer), Err(VerifyError::TooManyAddresses { count: 3, max: 2 }));
}

#[test]
fn unreadable_addresses_count_against_the_limit() {
    let unknown_protocol = varint(9_999);
    let addresses = [&unknown_protocol[..]; 33];
    assert_eq!(
        verify(seal(&key(), Flavour::Standard, &own_payload(&addresses))),
        Err(VerifyError::TooManyAddresses { count: 33, max: 32 })
    );
}

#[test]
fn a_payload_of_another_kind_is_told_from_a_broken_one() {
    let whole = valid(Flavour::Standard);
    let envelope = Envelope::parse(&whole).expect("valid");
    let long = [0x5a; 500];
    for payload_type in [&b"\x81\x06"[..], b"", b"/libp2p/relay-rsvp", &long] {
        let foreign = Envelope { payload_type, ..envelope };
        let shown = &payload_type[..payload_type.len().min(64)];
        assert_eq!(verify(foreign.encode()), Err(VerifyError::UnknownPayloadType { payload_type: shown.to_vec() }));
    }
}

#[test]
fn a_signature_of_one_flavour_is_worth_nothing_in_the_other() {
    for flavour in Flavour::ALL {
        let whole = valid(flavour);
        let relabelled =
            Envelope { payload_type: flavour.other().payload_type(), ..Envelope::parse(&whole).expect("valid") };
        assert_eq!(verify(relabelled.encode()), Err(VerifyError::BadSignature));
    }
}

#[test]
fn a_signature_of_another_key_is_refused() {
    for flavour in Flavour::ALL {
        let whole = valid(flavour);
        let other_key = ed25519(8).public().encode_protobuf();
        let swapped = Envelope { public_key: &other_key, ..Envelope::parse(&whole).expect("valid") };
        assert_eq!(verify(swapped.encode()), Err(VerifyError::BadSignature));
    }
}

#[test]
fn a_record_about_another_peer_is_refused() {
    let other = ed25519(8).public().to_peer_id();
    for flavour in Flavour::ALL {
        assert_eq!(
            verify(seal(&key(), flavour, &payload(other, 9, &[TCP]))),
            Err(VerifyError::PeerIdMismatch {
                claimed: Box::new(other),
                signer: Box::new(key().public().to_peer_id()),
            })
        );
        for nobody in [&b""[..], b"\x12\x20short", b"not a multihash"] {
            let payload = field(1, nobody);
            assert_eq!(verify(seal(&key(), flavour, &payload)), Err(VerifyError::InvalidPeerId));
        }
    }
}

#[test]
fn keys_that_are_none_are_refused() {
    let unknown_type = with_key(Flavour::Standard, |key| key[1] = 4);
    assert_eq!(verify(unknown_type), Err(VerifyError::PublicKey(KeyError::UnknownType(4))));
    for (key_type, name) in [(0, "rsa"), (2, "secp256k1"), (3, "ecdsa")] {
        let confused = with_key(Flavour::Standard, |key| key[1] = key_type);
        assert_eq!(verify(confused), Err(VerifyError::PublicKey(KeyError::Invalid(name))));
    }
    let short = with_key(Flavour::Standard, |key| {
        *key = [number_field(1, 1), field(2, &[1; 31])].concat();
    });
    assert_eq!(verify(short), Err(VerifyError::PublicKey(KeyError::Invalid("ed25519"))));
    let empty = with_key(Flavour::Standard, Vec::clear);
    let malformed = Malformed { offset: 0, problem: Problem::Missing("data") };
    assert_eq!(verify(empty), Err(VerifyError::PublicKey(KeyError::Malformed(malformed))));
}

/// Whatever is wrong with a payload, a bad signature is what is reported: nothing unsigned is read.
#[test]
fn the_signature_comes_before_the_payload() {
    let whole = valid(Flavour::Standard);
    let unsigned = Envelope { payload: b"\xff\xff\xff", ..Envelope::parse(&whole).expect("valid") };
    assert_eq!(verify(unsigned.encode()), Err(VerifyError::BadSignature));
}

#[test]
fn an_unverified_payload_can_be_looked_at() {
    let bytes = own_payload(&[TCP, b""]);
    let payload = PeerRecordPayload::parse(&bytes).expect("well formed");
    assert_eq!(payload.peer_id(), key().public().to_peer_id().to_bytes());
    assert_eq!(payload.seq(), 9);
    assert_eq!(payload.address_count(), 2);
    assert_eq!(payload.addresses().collect::<Vec<_>>(), [TCP, b""]);
}

#[test]
fn errors_read_as_sentences_without_a_capital_or_a_full_stop() {
    let whole = valid(Flavour::Legacy);
    let messages = [
        verify(whole.slice(..20)),
        verify([&whole, &number_field(9, 1)[..]].concat()),
        verify(seal(&key(), Flavour::Standard, &field(1, b"x"))),
    ]
    .map(|refused| refused.expect_err("invalid").to_string());
    assert_eq!(
        messages,
        [
            "malformed envelope: value longer than its message at byte 2".to_owned(),
            format!("legacy envelope is not canonical: unknown field at byte {}", whole.len()),
            "peer record names no valid peer id".to_owned(),
        ]
    );
}
