//! What the registry keeps of one registration, beside the bytes of its records.

use core::ops::Range;

use rendezvous_record::{Flavour, Flavours};

use super::{
    blobs::{BlobId, Blobs},
    slab::{Entry, NONE},
    wheel::Tick,
};

/// One registration of (peer, namespace): 40 bytes.
///
/// Its blob holds the record of the standard flavour, then that of the legacy flavour; where there are both, their two
/// deadlines follow, since each record lives as long as its own REGISTER asked.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// Position as two halves, which keeps the alignment, and so the size, down.
    pub(super) position: [u32; 2],
    pub(super) blob: BlobId,
    /// Length of each flavour's record; zero for none.
    pub(super) lens: [u16; 2],
    /// When the first of its records ends.
    pub(super) deadline: Tick,
    /// Neighbours in the wheel's bucket; `next` links free slots too.
    pub(super) prev: u32,
    pub(super) next: u32,
    pub(super) namespace: u32,
    /// Number of the network that it is counted in.
    pub(super) prefix: u32,
    /// Where the peer id stands in the blob.
    pub(super) peer_start: u16,
    pub(super) peer_len: u8,
    /// The wheel's bucket.
    pub(super) bucket: u8,
}

const _: () = assert!(size_of::<Slot>() == 40);

/// Bytes of the two deadlines behind two records.
const DEADLINES_BYTES: usize = 8;

impl Slot {
    pub(super) fn position(&self) -> u64 {
        u64::from(self.position[0]) << 32 | u64::from(self.position[1])
    }

    pub(super) fn set_position(&mut self, position: u64) {
        self.position = [(position >> 32) as u32, position as u32];
    }

    pub(super) fn has(&self, flavour: Flavour) -> bool {
        self.lens[flavour.index()] != 0
    }

    pub(super) fn flavours(&self) -> Flavours {
        Flavour::ALL.into_iter().filter(|&flavour| self.has(flavour)).fold(Flavours::NONE, Flavours::with)
    }

    pub(super) fn is_dual(&self) -> bool {
        self.lens[0] != 0 && self.lens[1] != 0
    }

    /// Bytes of records.
    pub(super) fn record_bytes(&self) -> usize {
        usize::from(self.lens[0]) + usize::from(self.lens[1])
    }

    pub(super) fn peer<'a>(&self, blobs: &'a Blobs) -> &'a [u8] {
        let end = usize::from(self.peer_start) + usize::from(self.peer_len);
        &blobs.bytes(self.blob, end)[usize::from(self.peer_start)..]
    }

    /// The record of a flavour and its deadline.
    pub(super) fn record<'a>(&self, flavour: Flavour, blobs: &'a Blobs) -> Option<(&'a [u8], Tick)> {
        if !self.has(flavour) {
            return None;
        }
        let len = self.record_bytes();
        let range = self.range(flavour);
        if !self.is_dual() {
            return Some((&blobs.bytes(self.blob, len)[range], self.deadline));
        }
        let bytes = blobs.bytes(self.blob, len + DEADLINES_BYTES);
        let at = len + flavour.index() * 4;
        let deadline = bytes[at..at + 4].try_into().expect("four bytes");
        Some((&bytes[range], Tick::from_le_bytes(deadline)))
    }

    fn range(&self, flavour: Flavour) -> Range<usize> {
        let first = usize::from(self.lens[0]);
        match flavour {
            Flavour::Standard => 0..first,
            Flavour::Legacy => first..first + usize::from(self.lens[1]),
        }
    }
}

/// Writes the blob of two records.
pub(super) fn write_dual(blob: &mut Vec<u8>, records: [&[u8]; 2], deadlines: [Tick; 2]) {
    blob.clear();
    blob.extend_from_slice(records[0]);
    blob.extend_from_slice(records[1]);
    blob.extend_from_slice(&deadlines[0].to_le_bytes());
    blob.extend_from_slice(&deadlines[1].to_le_bytes());
}

impl Entry for Slot {
    const VACANT: Self = Self {
        position: [0; 2],
        blob: BlobId::NONE,
        lens: [0; 2],
        deadline: 0,
        prev: NONE,
        next: NONE,
        namespace: NONE,
        prefix: NONE,
        peer_start: 0,
        peer_len: 0,
        bucket: 0,
    };

    fn next_free(&self) -> u32 {
        self.next
    }

    fn set_next_free(&mut self, next: u32) {
        self.next = next;
    }
}
