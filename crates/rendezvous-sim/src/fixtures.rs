//! Keys, addresses and records that are the same in every run.

use libp2p_identity::Keypair;
use multiaddr::{Multiaddr, Protocol};
use rendezvous_core::Time;
use rendezvous_record::{Flavour, Limits, VerifiedRecord};

/// Where every simulated world begins.
pub const EPOCH: Time = Time::from_unix_millis(1_700_000_000_000);

/// The Ed25519 key of peer number `number`.
#[must_use]
pub fn keypair(number: u64) -> Keypair {
    let mut seed = [0x5e; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    Keypair::ed25519_from_bytes(seed).expect("any 32 bytes are an Ed25519 seed")
}

/// Addresses of peer number `number`: one each of TCP, QUIC and a DNS name, as an ordinary peer has.
#[must_use]
pub fn addresses(number: u64) -> Vec<Multiaddr> {
    let ip = core::net::Ipv4Addr::from_bits(0x0a00_0000 | (number as u32 & 0x00ff_ffff));
    vec![
        Multiaddr::from(ip).with(Protocol::Tcp(4_001)),
        Multiaddr::from(ip).with(Protocol::Udp(4_001)).with(Protocol::QuicV1),
        Multiaddr::empty().with(Protocol::Dns4(format!("peer-{number}.example.org").into())).with(Protocol::Tcp(443)),
    ]
}

/// The record of peer number `number`.
#[must_use]
pub fn record(number: u64, flavour: Flavour) -> VerifiedRecord {
    let seq = EPOCH.as_unix_nanos();
    VerifiedRecord::sign(&keypair(number), flavour, seq, &addresses(number), &Limits::default())
        .expect("an Ed25519 key signs, and three addresses are within the limits")
}
