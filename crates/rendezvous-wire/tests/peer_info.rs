//! `PeerInfo`, which stands where a signed envelope stands, and what tells the two apart.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::hint::black_box;

use proptest::prelude::*;
use rendezvous_wire::{Malformed, NotPeerInfo, PeerInfo, Request, frame};

/// A REGISTER of a proto3 writer, without a type: `foo1`, the peer with the Ed25519 key 00..1f, `/ip4/1.1.1.1/tcp/9999`, 7200 s.
const REGISTER: &str = "3f123d0a04666f6f3112320a26002408011220000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f1208040101010106270f18a038";

/// A signed envelope of rust-libp2p, of the flavour that other implementations share.
const ENVELOPE: &str = "0a240801122003a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8120203011a6b0a2600240801122003a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b810eab684d8061a0a0a0804c0000201060fa11a190a172920010db800000000000000000000000191020fa1cd031a140a12360b6578616d706c652e6f72670601bbde032a4072dac836269b402012237103b36b39182921492c8e4c3aaba73c32d9420a3a3c578485a153afa7b3ed8e1bc4dacac483f75ecc273863afd79c3827274d34a20f";

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// A multihash of the identity function over so many bytes.
fn id(len: u8) -> Vec<u8> {
    [vec![0x00, len], vec![7; usize::from(len)]].concat()
}

fn encoded(id: &[u8], addresses: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PeerInfo::encode(id, addresses.iter().copied(), &mut bytes);
    bytes
}

fn addresses(info: PeerInfo<'_>) -> Vec<&[u8]> {
    info.addresses().collect()
}

#[test]
fn the_peer_info_of_a_go_client_is_read_and_written_alike() {
    let register = hex(REGISTER);
    let (payload, _) = frame::split(&register, frame::REQUEST_BYTES_MAX).unwrap().unwrap();
    let Ok(Request::Register(register)) = Request::decode(payload) else { panic!("a REGISTER") };
    let bytes = register.signed_peer_record.unwrap();
    let info = PeerInfo::decode(bytes).unwrap();
    assert_eq!(info.id()[..6], [0x00, 0x24, 0x08, 0x01, 0x12, 0x20]);
    assert_eq!(addresses(info), [[4, 1, 1, 1, 1, 6, 0x27, 0x0f]]);
    assert_eq!(encoded(info.id(), &addresses(info)), bytes);
}

#[test]
fn a_signed_envelope_is_no_peer_info() {
    let envelope = hex(ENVELOPE);
    assert_eq!(PeerInfo::decode(&envelope), Err(NotPeerInfo::Signed));
    // Without its signature, its public key tells.
    let unsigned = &envelope[..envelope.len() - 66];
    assert_eq!(PeerInfo::decode(unsigned), Err(NotPeerInfo::Id));
}

#[test]
fn public_keys_of_every_kind_are_no_id() {
    for (kind, len) in [(0, 294_u16), (1, 32), (2, 33), (3, 91)] {
        let mut key = vec![0x08, kind, 0x12];
        frame::append(&vec![7; usize::from(len)], &mut key);
        assert_eq!(PeerInfo::decode(&encoded(&key, &[b"address"])), Err(NotPeerInfo::Id));
    }
}

#[test]
fn what_is_not_exactly_a_multihash_is_no_id() {
    let whole = id(36);
    for len in 0..whole.len() {
        assert_eq!(PeerInfo::decode(&encoded(&whole[..len], &[])), Err(NotPeerInfo::Id), "{len} bytes");
    }
    let longer = [&whole[..], &[0]].concat();
    let endless = [0x80; 20];
    let overflowing = [&[0x00][..], &[0xff; 9], &[0x01, 7]].concat();
    for other in [&longer[..], &endless, &overflowing] {
        assert_eq!(PeerInfo::decode(&encoded(other, &[])), Err(NotPeerInfo::Id));
    }
    assert_eq!(PeerInfo::decode(&[]), Err(NotPeerInfo::Id));
    assert!(PeerInfo::decode(&encoded(&whole, &[])).is_ok());
    assert!(PeerInfo::decode(&encoded(&[&[0x12, 0x20][..], &[7; 32]].concat(), &[])).is_ok());
}

#[test]
fn a_truncated_peer_info_is_refused_at_every_length_inside_a_field() {
    let (whole, id_len) = (encoded(&id(36), &[b"address", b"another"]), 40);
    for len in 1..whole.len() {
        let ends_between = len == id_len || len == id_len + 9;
        match PeerInfo::decode(&whole[..len]) {
            Ok(info) => assert!(ends_between && addresses(info).len() == (len - id_len) / 9),
            Err(error) => assert!(!ends_between && error == NotPeerInfo::Malformed(Malformed::Truncated)),
        }
    }
}

#[test]
fn a_length_near_the_top_of_u64_is_truncated() {
    for len in [&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01][..], &[0x80, 0x80, 0x80, 0x80, 0x10]] {
        for tag in [0x0a, 0x12, 0x7a] {
            let bytes = [&encoded(&id(36), &[])[..], &[tag], len].concat();
            assert_eq!(PeerInfo::decode(&bytes), Err(NotPeerInfo::Malformed(Malformed::Truncated)));
        }
    }
}

#[test]
fn fields_of_another_wire_type_are_refused_and_unknown_ones_skipped() {
    let info = encoded(&id(36), &[b"address"]);
    let with = |more: &[u8]| [&info, more].concat();
    for field in [1, 2] {
        let refused = Err(NotPeerInfo::Malformed(Malformed::WireType { field }));
        assert_eq!(PeerInfo::decode(&with(&[(field as u8) << 3, 1])), refused);
    }
    for signature in [&[0x2a, 0][..], &[0x28, 1], &[0x2d, 0, 0, 0, 0]] {
        assert_eq!(PeerInfo::decode(&with(signature)), Err(NotPeerInfo::Signed));
    }
    for unknown in [&[0x1a, 1, 9][..], &[0x20, 1], &[0x7d, 0, 0, 0, 0]] {
        let more = with(unknown);
        assert_eq!(addresses(PeerInfo::decode(&more).unwrap()), [b"address"]);
    }
}

#[test]
fn empty_addresses_are_left_out_and_the_last_id_counts() {
    let bytes = [encoded(&id(20), &[b"", b"one", b""]), encoded(&id(36), &[b"two", b""])].concat();
    let info = PeerInfo::decode(&bytes).unwrap();
    assert_eq!(info.id(), id(36));
    assert_eq!(addresses(info), [b"one", b"two"]);
}

#[test]
fn reading_allocates_nothing_however_many_addresses_there_are() {
    let none: &[u8] = b"";
    let bytes = encoded(&id(36), &vec![none; 100_000]);
    let counted = allocation_counter::measure(|| {
        let info = PeerInfo::decode(black_box(&bytes)).unwrap();
        assert_eq!(info.addresses().count(), 0);
    });
    assert_eq!(counted.count_total, 0);
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        len in 0..=64_u8,
        given in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..20),
    ) {
        let given: Vec<&[u8]> = given.iter().map(Vec::as_slice).collect();
        let bytes = encoded(&id(len), &given);
        let info = PeerInfo::decode(&bytes).unwrap();
        prop_assert_eq!(info.id(), id(len));
        prop_assert_eq!(addresses(info), given);
    }

    #[test]
    fn no_bytes_are_both_or_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(info) = PeerInfo::decode(&bytes) {
            prop_assert!(info.addresses().all(|address| !address.is_empty()));
            prop_assert!(PeerInfo::decode(&[&bytes[..], &[0x2a, 0]].concat()).is_err());
        }
    }

    #[test]
    fn every_change_of_a_byte_of_a_valid_one_ends_in_a_value_or_an_error(at in 0..58_usize, to in any::<u8>()) {
        let mut bytes = encoded(&id(36), &[b"address", b"another"]);
        bytes[at.min(57)] = to;
        let _ = PeerInfo::decode(&bytes).map(|info| info.addresses().count());
    }
}
