//! The peer record of RFC 0003, parsed without a check of who made it.

use std::ops::Range;

use multiaddr::{Multiaddr, Protocol};
use quick_protobuf::Writer;
use quick_protobuf::sizeofs::{sizeof_len, sizeof_varint};

use crate::error::{Deviation, Malformed, Part, PayloadError, Problem};
use crate::reader::Reader;

const PEER_ID: u32 = 1;
const SEQ: u32 = 2;
const ADDRESSES: u32 = 3;

/// Field 1 of `AddressInfo`.
const MULTIADDR: u32 = 1;

const PEER_ID_KEY: u32 = PEER_ID << 3 | 2;
const SEQ_KEY: u32 = SEQ << 3;
const ADDRESSES_KEY: u32 = ADDRESSES << 3 | 2;
const MULTIADDR_KEY: u32 = MULTIADDR << 3 | 2;

/// A peer record, borrowed from an envelope's payload and not verified (RFC 0003, "Peer Record
/// Format").
#[derive(Clone, Debug)]
pub struct PeerRecordPayload<'a> {
    bytes: &'a [u8],
    peer_id: Range<usize>,
    seq: u64,
    address_count: usize,
    deviation: Option<(Part, Deviation)>,
}

impl<'a> PeerRecordPayload<'a> {
    /// Reads the structure of a payload. Unknown fields are skipped; whether the peer id and the
    /// addresses mean something is not looked at. An absent `seq` is 0.
    ///
    /// # Errors
    ///
    /// The bytes are no protobuf message, a known field has another wire type, or `peer_id` or
    /// `seq`, or an address within its `AddressInfo`, is repeated; or `peer_id` is missing.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PayloadError> {
        Self::read(bytes).map_err(PayloadError)
    }

    fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (mut peer_id, mut seq) = (None, None);
        let mut address_count = 0;
        let mut address_deviation = None;
        while let Some(field) = reader.next_field()? {
            match field.number {
                PEER_ID => field.store(&mut peer_id, field.bytes()?)?,
                SEQ => field.store(&mut seq, field.varint()?)?,
                ADDRESSES => {
                    let info = field.bytes()?;
                    let (_, deviation) =
                        read_address(info.bytes).map_err(|malformed| Malformed {
                            offset: info.start + malformed.offset,
                            ..malformed
                        })?;
                    if let Some(deviation) = deviation {
                        address_deviation.get_or_insert((Part::Address(address_count), deviation));
                    }
                    address_count += 1;
                }
                _ => reader.skip_unknown(&field),
            }
        }
        let peer_id = peer_id.ok_or(Malformed {
            offset: bytes.len(),
            problem: Problem::Missing("peer_id"),
        })?;
        Ok(Self {
            bytes,
            peer_id: peer_id.range(),
            seq: seq.unwrap_or(0),
            address_count,
            deviation: reader
                .deviation()
                .map(|deviation| (Part::Payload, deviation))
                .or(address_deviation),
        })
    }

    /// Field 1: the bytes of the peer id that the record is about.
    #[must_use]
    pub fn peer_id(&self) -> &'a [u8] {
        &self.bytes[self.peer_id.clone()]
    }

    /// Field 2: the record's place in the order of this peer's records. Its unit is the writer's
    /// own: seconds, milliseconds or nanoseconds since 1970 are all in use.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Field 3: the bytes of every address, in order, whether or not they are a multiaddr. An
    /// address that is absent from its `AddressInfo` is empty.
    pub fn addresses(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        address_bytes(self.bytes)
    }

    /// How many addresses [`addresses`](Self::addresses) gives.
    #[must_use]
    pub fn address_count(&self) -> usize {
        self.address_count
    }

    pub(crate) fn peer_id_range(&self) -> Range<usize> {
        self.peer_id.clone()
    }

    pub(crate) fn deviation(&self) -> Option<(Part, Deviation)> {
        self.deviation
    }
}

/// The addresses in a payload that has been parsed before.
pub(crate) fn address_bytes<'a>(payload: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let mut reader = Reader::new(payload);
    std::iter::from_fn(move || {
        loop {
            let field = reader.next_field().ok()??;
            if field.number == ADDRESSES {
                return read_address(field.bytes().ok()?.bytes)
                    .ok()
                    .map(|(address, _)| address);
            }
        }
    })
}

fn read_address(info: &[u8]) -> Result<(&[u8], Option<Deviation>), Malformed> {
    let mut reader = Reader::new(info);
    let mut address = None;
    while let Some(field) = reader.next_field()? {
        match field.number {
            MULTIADDR => field.store(&mut address, field.bytes()?.bytes)?,
            _ => reader.skip_unknown(&field),
        }
    }
    Ok((address.unwrap_or_default(), reader.deviation()))
}

/// Whether the bytes are a multiaddr whose every protocol this library knows.
pub(crate) fn is_readable(address: &[u8]) -> bool {
    let mut rest = address;
    while !rest.is_empty() {
        match Protocol::from_bytes(rest) {
            Ok((_, after)) => rest = after,
            Err(_) => return false,
        }
    }
    true
}

/// Writes a payload canonically.
pub(crate) fn encode(peer_id: &[u8], seq: u64, addresses: &[Multiaddr]) -> Vec<u8> {
    let info_size = |address: &Multiaddr| 1 + sizeof_len(address.len());
    let capacity = 1
        + sizeof_len(peer_id.len())
        + 1
        + sizeof_varint(seq)
        + addresses
            .iter()
            .map(|address| 1 + sizeof_len(info_size(address)))
            .sum::<usize>();
    let mut bytes = Vec::with_capacity(capacity);
    let mut writer = Writer::new(&mut bytes);
    let mut write = || {
        writer.write_with_tag(PEER_ID_KEY, |writer| writer.write_bytes(peer_id))?;
        // Zero is what an absent field means, and canonical encoding leaves it out.
        if seq != 0 {
            writer.write_with_tag(SEQ_KEY, |writer| writer.write_uint64(seq))?;
        }
        for address in addresses {
            writer.write_tag(ADDRESSES_KEY)?;
            writer.write_varint(info_size(address) as u64)?;
            writer.write_with_tag(MULTIADDR_KEY, |writer| writer.write_bytes(address.as_ref()))?;
        }
        quick_protobuf::Result::Ok(())
    };
    write().expect("a Vec accepts every write");
    bytes
}
