//! What the tests share: the vectors, keys without randomness, and envelopes put together by hand.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use bytes::Bytes;
use libp2p_identity::{Keypair, PeerId, ecdsa, secp256k1};
use multiaddr::Multiaddr;
use rendezvous_record::{Envelope, Flavour};
use serde_json::Value;

/// A signed record of another implementation, and what that implementation put in it.
pub(crate) struct Vector {
    /// Implementation, key type and flavour.
    pub(crate) name: String,
    pub(crate) envelope: Bytes,
    pub(crate) flavour: Flavour,
    pub(crate) peer: PeerId,
    pub(crate) seq: u64,
    pub(crate) addresses: Vec<Multiaddr>,
}

pub(crate) fn vectors() -> Vec<Vector> {
    let text = include_str!("../vectors/envelopes.json");
    let vectors: Vec<Value> = serde_json::from_str(text).expect("the file is a JSON list");
    vectors.iter().map(Vector::read).collect()
}

impl Vector {
    fn read(vector: &Value) -> Self {
        let field = |name: &str| vector[name].as_str().expect("the field is a text");
        let name = ["implementation", "key", "flavour"].map(field).join(" ");
        let addresses = vector["addresses"].as_array().expect("a list");
        Self {
            name,
            envelope: unhex(field("envelope")).into(),
            flavour: field("flavour").parse().expect("a flavour"),
            peer: field("peer").parse().expect("a peer id"),
            seq: field("seq").parse().expect("a number"),
            addresses: addresses
                .iter()
                .map(|address| {
                    let text = address.as_str().expect("a text");
                    text.parse().expect("a multiaddr")
                })
                .collect(),
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("hex is ASCII");
            u8::from_str_radix(pair, 16).expect("hex digits")
        })
        .collect()
}

pub(crate) fn ed25519(seed: u8) -> Keypair {
    Keypair::ed25519_from_bytes([seed; 32]).expect("32 bytes are a seed")
}

pub(crate) fn secp256k1(seed: u8) -> Keypair {
    let secret = secp256k1::SecretKey::try_from_bytes([seed; 32]).expect("a scalar below the order");
    secp256k1::Keypair::from(secret).into()
}

pub(crate) fn ecdsa(seed: u8) -> Keypair {
    let secret = ecdsa::SecretKey::try_from_bytes([seed; 32]).expect("a scalar below the order");
    ecdsa::Keypair::from(secret).into()
}

/// A protobuf field with a length, key and length in minimal varints.
pub(crate) fn field(number: u64, value: &[u8]) -> Vec<u8> {
    let mut bytes = varint(number << 3 | 2);
    bytes.extend(varint(value.len() as u64));
    bytes.extend(value);
    bytes
}

/// A protobuf field with a number.
pub(crate) fn number_field(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A payload that lists these bytes as addresses.
pub(crate) fn payload(peer: PeerId, seq: u64, addresses: &[&[u8]]) -> Vec<u8> {
    let mut bytes = field(1, &peer.to_bytes());
    bytes.extend(number_field(2, seq));
    for address in addresses {
        bytes.extend(field(3, &field(1, address)));
    }
    bytes
}

/// An envelope around any payload, with a good signature of the flavour.
pub(crate) fn seal(key: &Keypair, flavour: Flavour, payload: &[u8]) -> Bytes {
    let signature = key.sign(&flavour.signed_bytes(payload)).expect("the key can sign");
    Envelope {
        public_key: &key.public().encode_protobuf(),
        payload_type: flavour.payload_type(),
        payload,
        signature: &signature,
    }
    .encode()
    .into()
}

/// `/ip4/192.0.2.1/tcp/4001`.
pub(crate) const TCP: &[u8] = &[4, 192, 0, 2, 1, 6, 0x0f, 0xa1];

/// A generator whose numbers are the same in every run (SplitMix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
