//! How registrations are written as keys and values.
//!
//! Format 1. Numbers are big-endian.
//!
//! | key | value |
//! |---|---|
//! | `m` | checksum 8, format 4, serial 8, position 8, time 8, registrations 8, sum 8 |
//! | `r`, length of the peer id 1, peer id, namespace | checksum 8, position 8, prefix (0; or 4 and 3 bytes; or 6 and 7 bytes), then for each record: kind 1, end 8, length 4, record |
//!
//! A kind is 0 for an envelope of the standard flavour, 1 for one of the legacy flavour, 2 for a `PeerInfo` without a signature.
//! Times are milliseconds of the Unix epoch. A checksum is XXH3 of 64 bits over the key and what follows the checksum. The
//! `sum` is that of all registrations' checksums, modulo 2^64. The serial counts commits.

use bytes::{Buf, BufMut, Bytes};
use libp2p_identity::PeerId;
use rendezvous_core::{
    RecordKind, Time,
    server::{IpPrefix, Kept, KeptRecord},
};
use rendezvous_wire::Namespace;
use xxhash_rust::xxh3::Xxh3Default;

/// The format that this program reads and writes.
pub(crate) const FORMAT: u32 = 1;

/// Key of the [`Summary`].
pub(crate) const SUMMARY_KEY: &[u8] = b"m";

/// What the keys of registrations begin with.
pub(crate) const REGISTRATION_PREFIX: &[u8] = b"r";

const CHECKSUM_BYTES: usize = 8;

/// What all entries must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Number of commits so far.
    pub(crate) serial: u64,
    /// Highest position given out.
    pub(crate) position: u64,
    /// The point's time at the last commit.
    pub(crate) time: Time,
    pub(crate) registrations: u64,
    /// Of the registrations' checksums.
    pub(crate) sum: u64,
}

/// Why bytes are no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// They have changed.
    Changed,
    /// They are of another format.
    Format(u32),
}

/// Of a store that has taken nothing.
impl Default for Summary {
    fn default() -> Self {
        Self { serial: 0, position: 0, time: Time::from_unix_millis(0), registrations: 0, sum: 0 }
    }
}

impl Summary {
    pub(crate) fn encode(&self) -> Vec<u8> {
        sealed(SUMMARY_KEY, |bytes| {
            bytes.put_u32(FORMAT);
            for number in [self.serial, self.position, self.time.as_unix_millis(), self.registrations, self.sum] {
                bytes.put_u64(number);
            }
        })
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self, Unreadable> {
        let (_, mut body) = unsealed(SUMMARY_KEY, value).ok_or(Unreadable::Changed)?;
        let format = body.try_get_u32().map_err(|_| Unreadable::Changed)?;
        if format != FORMAT {
            return Err(Unreadable::Format(format));
        }
        let mut number = || body.try_get_u64().map_err(|_| Unreadable::Changed);
        Ok(Self {
            serial: number()?,
            position: number()?,
            time: Time::from_unix_millis(number()?),
            registrations: number()?,
            sum: number()?,
        })
    }

    /// Takes an entry's old and new value into account.
    pub(crate) fn replace(&mut self, old: Option<&[u8]>, new: Option<&[u8]>) {
        if let Some(old) = old {
            self.registrations = self.registrations.wrapping_sub(1);
            self.sum = self.sum.wrapping_sub(checksum_in(old));
        }
        if let Some(new) = new {
            self.registrations = self.registrations.wrapping_add(1);
            self.sum = self.sum.wrapping_add(checksum_in(new));
        }
    }
}

/// The key of a registration.
pub(crate) fn key(peer: &PeerId, namespace: &Namespace) -> Vec<u8> {
    let peer = peer.to_bytes();
    let namespace = namespace.as_str().as_bytes();
    let mut key = Vec::with_capacity(2 + peer.len() + namespace.len());
    key.extend_from_slice(REGISTRATION_PREFIX);
    // A peer id is at most 84 bytes long.
    key.push(peer.len() as u8);
    key.extend_from_slice(&peer);
    key.extend_from_slice(namespace);
    key
}

/// The value of a registration, under its key.
pub(crate) fn value(key: &[u8], kept: &Kept) -> Vec<u8> {
    sealed(key, |bytes| {
        bytes.put_u64(kept.position);
        match kept.prefix {
            None => bytes.put_u8(0),
            Some(IpPrefix::V4(prefix)) => {
                bytes.put_u8(4);
                bytes.put_slice(&prefix);
            }
            Some(IpPrefix::V6(prefix)) => {
                bytes.put_u8(6);
                bytes.put_slice(&prefix);
            }
        }
        for record in &kept.records {
            bytes.put_u8(record.kind.index() as u8);
            bytes.put_u64(record.ends.as_unix_millis());
            // A record is at most 32 KiB long.
            bytes.put_u32(record.record.len() as u32);
            bytes.put_slice(&record.record);
        }
    })
}

/// A registration; `None` if its bytes are not those that were written.
pub(crate) fn kept(key: &[u8], value: &[u8]) -> Option<Kept> {
    let (_, mut body) = unsealed(key, value)?;
    let mut name = key.strip_prefix(REGISTRATION_PREFIX)?;
    let peer_len = usize::from(name.try_get_u8().ok()?);
    let (peer, namespace) = name.split_at_checked(peer_len)?;
    let peer = PeerId::from_bytes(peer).ok()?;
    let namespace = Namespace::new(str::from_utf8(namespace).ok()?).ok()?;
    let position = body.try_get_u64().ok()?;
    let prefix = match body.try_get_u8().ok()? {
        0 => None,
        4 => Some(IpPrefix::V4(array(&mut body)?)),
        6 => Some(IpPrefix::V6(array(&mut body)?)),
        _ => return None,
    };
    let mut records = Vec::with_capacity(1);
    while body.has_remaining() {
        let index = usize::from(body.try_get_u8().ok()?);
        let kind = RecordKind::ALL.into_iter().find(|kind| kind.index() == index)?;
        let ends = Time::from_unix_millis(body.try_get_u64().ok()?);
        let len = usize::try_from(body.try_get_u32().ok()?).ok()?;
        let (record, rest) = body.split_at_checked(len)?;
        body = rest;
        records.push(KeptRecord { kind, ends, record: Bytes::copy_from_slice(record) });
    }
    Some(Kept { peer, namespace, position, prefix, records })
}

/// The checksum that a value begins with.
pub(crate) fn checksum_in(value: &[u8]) -> u64 {
    value.get(..CHECKSUM_BYTES).and_then(|mut bytes| bytes.try_get_u64().ok()).unwrap_or(0)
}

/// A value: its checksum, and what `body` writes.
pub(crate) fn sealed(key: &[u8], body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut value = vec![0; CHECKSUM_BYTES];
    body(&mut value);
    let checksum = checksum(key, &value[CHECKSUM_BYTES..]);
    value[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_be_bytes());
    value
}

/// The checksum and what follows it, if that matches.
pub(crate) fn unsealed<'a>(key: &[u8], value: &'a [u8]) -> Option<(u64, &'a [u8])> {
    let (mut head, body) = value.split_at_checked(CHECKSUM_BYTES)?;
    let checksum_found = head.try_get_u64().ok()?;
    (checksum_found == checksum(key, body)).then_some((checksum_found, body))
}

/// The checksum of a value's body under its key.
pub(crate) fn checksum(key: &[u8], body: &[u8]) -> u64 {
    let mut hasher = Xxh3Default::new();
    hasher.update(&(key.len() as u64).to_be_bytes());
    hasher.update(key);
    hasher.update(body);
    hasher.digest()
}

fn array<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
    let (array, rest) = body.split_first_chunk()?;
    *body = rest;
    Some(*array)
}
