//! How registrations are written as keys and values.
//!
//! Format 1. Numbers are big-endian.
//!
//! | key | value |
//! |---|---|
//! | `m` | checksum 8, format 4, serial 8, position 8, time 8, registrations 8, sum 8 |
//! | `r`, length of the peer id 1, peer id, namespace | checksum 8, position 8, origin (0 without an IP address; 1 of an exempt network; 4 and the 3 bytes of a /24; or 6 and the 7 bytes of a /56), then for each record: kind 1, end 8, length 4, record |
//!
//! A kind is 0 for an envelope of the standard flavour, 1 for one of the legacy flavour, 2 for a `PeerInfo` without a signature.
//! Times are milliseconds of the Unix epoch. A checksum is XXH3 of 64 bits over the key and what follows the checksum. The
//! `sum` is that of all registrations' checksums, modulo 2^64. The serial counts commits.

use bytes::{Buf, BufMut, Bytes};
use libp2p_identity::PeerId;
use rendezvous_core::{
    RecordKind, Time,
    server::{IpPrefix, Kept, KeptRecord, Origin},
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
        match kept.origin {
            Origin::Unlocated => bytes.put_u8(0),
            Origin::Exempt => bytes.put_u8(1),
            Origin::Prefix(IpPrefix::V4(prefix)) => {
                bytes.put_u8(4);
                bytes.put_slice(&prefix);
            }
            Origin::Prefix(IpPrefix::V6(prefix)) => {
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
    let origin = match body.try_get_u8().ok()? {
        0 => Origin::Unlocated,
        1 => Origin::Exempt,
        4 => Origin::Prefix(IpPrefix::V4(array(&mut body)?)),
        6 => Origin::Prefix(IpPrefix::V6(array(&mut body)?)),
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
    Some(Kept { peer, namespace, position, origin, records })
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

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: [u8; 38] = {
        let mut peer = [7; 38];
        [peer[0], peer[1], peer[2], peer[3], peer[4], peer[5]] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
        peer
    };

    fn registration(origin: Origin) -> Kept {
        let record = KeptRecord {
            kind: RecordKind::Unsigned,
            ends: Time::from_unix_millis(1_700_000_000_000),
            record: Bytes::from_static(b"record"),
        };
        let peer = PeerId::from_bytes(&PEER).expect("an Ed25519 key's id");
        let namespace = Namespace::new("chat").expect("a short name");
        Kept { peer, namespace, position: 9, origin, records: vec![record] }
    }

    #[test]
    fn a_registration_is_read_back_with_its_origin() {
        for origin in [
            Origin::Unlocated,
            Origin::Exempt,
            Origin::Prefix(IpPrefix::V4([192, 0, 2])),
            Origin::Prefix(IpPrefix::V6([0x20, 1, 0xd, 0xb8, 0, 0, 1])),
        ] {
            let written = registration(origin);
            let key = key(&written.peer, &written.namespace);
            assert_eq!(kept(&key, &value(&key, &written)), Some(written));
        }
    }

    /// Version 0.1 wrote 0 where there was no IP address, 4 and a /24, or 6 and a /56.
    #[test]
    fn what_version_0_1_wrote_is_read() {
        let record: &[u8] = &[2, 0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0, 0, 0, 0, 6, b'r', b'e', b'c', b'o', b'r', b'd'];
        let of = |origin: &[u8]| {
            let key = key(&registration(Origin::Exempt).peer, &registration(Origin::Exempt).namespace);
            let body = [&9_u64.to_be_bytes()[..], origin, record].concat();
            kept(&key, &sealed(&key, |bytes| bytes.extend_from_slice(&body)))
        };
        assert_eq!(of(&[0]), Some(registration(Origin::Unlocated)));
        assert_eq!(of(&[4, 192, 0, 2]), Some(registration(Origin::Prefix(IpPrefix::V4([192, 0, 2])))));
        let prefix = [0x20, 1, 0xd, 0xb8, 0, 0, 1];
        let written = [&[6][..], &prefix].concat();
        assert_eq!(of(&written), Some(registration(Origin::Prefix(IpPrefix::V6(prefix)))));
        assert_eq!(of(&[5]), None);
    }
}
