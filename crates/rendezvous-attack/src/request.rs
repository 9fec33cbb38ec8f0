//! Requests of the protocol and records for them.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use anyhow::Context as _;
use libp2p::{Multiaddr, identity::Keypair, multiaddr::Protocol};
use rendezvous_record::{Flavour, Limits, VerifiedRecord};
use rendezvous_wire::{Discover, Register, Request, Response, Status, Unregister, frame};

use crate::raw;

/// A TTL that every point accepts, in seconds.
const TTL_SECS: u64 = 7_200;

/// Addresses that make a record of about 1 KiB.
pub const LARGE_RECORD_ADDRESSES: u32 = 24;

/// The key of peer number `number` of a series. Series are: 0 filler, 1 attacker, 2 probe, 3 NAT.
#[must_use]
pub fn key(series: u8, number: u64) -> Keypair {
    let mut seed = [0xa7; 32];
    seed[0] = series;
    seed[1..9].copy_from_slice(&number.to_le_bytes());
    Keypair::ed25519_from_bytes(seed).expect("any 32 bytes are an Ed25519 seed")
}

/// A record of this key with so many addresses, newer than each before it in this process.
///
/// # Errors
/// The key cannot sign, or there are more than 32 addresses.
pub fn record(key: &Keypair, addresses: u32) -> anyhow::Result<VerifiedRecord> {
    record_of(key, addresses, Flavour::Standard)
}

/// As [`record`], of either flavour.
///
/// # Errors
/// As [`record`].
pub fn record_of(key: &Keypair, addresses: u32, flavour: Flavour) -> anyhow::Result<VerifiedRecord> {
    static SEQ: AtomicU64 = AtomicU64::new(1);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let seq = u64::try_from(now).unwrap_or(u64::MAX / 2).saturating_add(SEQ.fetch_add(1, Relaxed));
    let addresses: Vec<Multiaddr> = (0..addresses)
        .map(|number| {
            let ip = Ipv4Addr::from_bits(0x0a00_0000 | number);
            let host = format!("node-{number}.of-some-length.example.org");
            match number % 2 {
                0 => Multiaddr::from(ip).with(Protocol::Tcp(4_001)),
                _ => Multiaddr::empty().with(Protocol::Dns4(host.into())).with(Protocol::Tcp(443)),
            }
        })
        .collect();
    VerifiedRecord::sign(key, flavour, seq, &addresses, &Limits::default()).context("the record cannot be signed")
}

/// A frame with a REGISTER.
#[must_use]
pub fn register(namespace: &str, record: &[u8]) -> Vec<u8> {
    encoded(&Request::Register(Register {
        namespace: Some(namespace.as_bytes()),
        signed_peer_record: Some(record),
        ttl_secs: Some(TTL_SECS),
    }))
}

/// A frame with a DISCOVER of a namespace, or of all, with a cookie if it is not empty.
#[must_use]
pub fn discover(namespace: Option<&str>, limit: u64, cookie: &[u8]) -> Vec<u8> {
    encoded(&Request::Discover(Discover {
        namespace: namespace.map(str::as_bytes),
        limit: Some(limit),
        cookie: (!cookie.is_empty()).then_some(cookie),
        // Both flavours: nobody waits for identify.
        reads: Some(3),
    }))
}

/// A frame with an UNREGISTER, which has no answer, padded to `bytes` by a field that no schema has.
#[must_use]
pub fn padded_unregister(bytes: usize) -> Vec<u8> {
    let request = Request::Unregister(Unregister { namespace: Some(b"none"), id: None });
    let mut payload = request.to_message().encode();
    // Field 15, bytes; the lengths below 64 KiB take three bytes at most.
    payload.push(15 << 3 | 2);
    let padding = bytes.saturating_sub(payload.len() + 3).max(1 << 7);
    let mut len = padding;
    while len >= 0x80 {
        payload.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    payload.push(len as u8);
    payload.resize(payload.len() + padding, 0);
    let mut framed = Vec::with_capacity(payload.len() + 3);
    frame::append(&payload, &mut framed);
    framed
}

/// What opens a stream of the protocol: the negotiation, and these frames behind it.
#[must_use]
pub fn stream(frames: &[u8]) -> Vec<u8> {
    stream_of(rendezvous_wire::PROTOCOL, frames)
}

/// What opens a stream of any protocol.
#[must_use]
pub fn stream_of(protocol: &str, bytes: &[u8]) -> Vec<u8> {
    let mut opening = raw::negotiation(protocol);
    opening.extend_from_slice(bytes);
    opening
}

/// The status of an answer's payload, and how many registrations it lists.
///
/// # Errors
/// The payload is no answer.
pub fn status(payload: &[u8]) -> anyhow::Result<(Status, usize)> {
    Ok(match Response::decode(payload)? {
        Response::Register(response) => (Status::from_wire(response.status), 0),
        Response::Discover(response) => (Status::from_wire(response.status), response.registrations.iter().count()),
    })
}

/// What a client that has opened a stream by hand reads from it: the answers behind the negotiation.
#[derive(Debug, Default)]
pub struct Answers {
    bytes: Vec<u8>,
    negotiated: usize,
}

impl Answers {
    /// Takes what has come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next answer's payload, if it is complete.
    ///
    /// # Errors
    /// The point refuses the protocol, or writes what is no frame.
    pub fn take(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        loop {
            let Some((payload, len)) = frame::split(&self.bytes, frame::RESPONSE_BYTES_MAX)? else { return Ok(None) };
            let payload = payload.to_vec();
            self.bytes.drain(..len);
            if self.negotiated == 2 {
                return Ok(Some(payload));
            }
            self.negotiated += 1;
            anyhow::ensure!(payload != b"na\n", "the point does not speak the protocol");
        }
    }
}

fn encoded(request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode_frame(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_padded_unregister_has_its_size_and_is_one() {
        for size in [200, 4_000, 60_000] {
            let bytes = padded_unregister(size);
            let (payload, len) = frame::split(&bytes, frame::REQUEST_BYTES_MAX).expect("a frame").expect("all of it");
            assert_eq!(len, bytes.len());
            assert!(payload.len().abs_diff(size) < 16, "{}", payload.len());
            assert!(matches!(Request::decode(payload), Ok(Request::Unregister(_))));
        }
    }

    #[test]
    fn answers_are_found_behind_the_negotiation_however_they_come() {
        let mut bytes = raw::negotiation(rendezvous_wire::PROTOCOL);
        frame::append(b"one", &mut bytes);
        frame::append(b"two", &mut bytes);
        let mut answers = Answers::default();
        let mut found = Vec::new();
        for byte in bytes {
            answers.push(&[byte]);
            found.extend(answers.take().expect("frames"));
        }
        assert_eq!(found, [b"one".to_vec(), b"two".to_vec()]);
    }
}
