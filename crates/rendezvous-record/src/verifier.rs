//! Verification with a memory.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::batch::verify_batch;
use crate::error::VerifyError;
use crate::limits::Limits;
use crate::verify::VerifiedRecord;

/// How much a [`Verifier`] remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Most envelopes remembered. Each costs some 300 bytes beyond its own. 0 remembers nothing.
    pub entries_max: usize,
    /// Most bytes of envelopes remembered, added up.
    pub bytes_max: usize,
}

/// Default for [`MemoryLimits::entries_max`]: four full pages.
pub const MEMORY_ENTRIES_MAX: usize = 4096;

/// Default for [`MemoryLimits::bytes_max`]: the entries at 512 bytes each, more than twice what a
/// usual envelope has.
pub const MEMORY_BYTES_MAX: usize = 2 * 1024 * 1024;

impl Default for MemoryLimits {
    /// [`MEMORY_ENTRIES_MAX`] and [`MEMORY_BYTES_MAX`].
    fn default() -> Self {
        Self { entries_max: MEMORY_ENTRIES_MAX, bytes_max: MEMORY_BYTES_MAX }
    }
}

/// Verifies pages of envelopes and remembers those that were good, so that polling the same
/// registrations again, or the same peers through several points, costs a comparison each.
///
/// An envelope is recognised by all its bytes, in an ordered map: there is no hash that a sender
/// of envelopes could make collide, and none that would need a secret seed. Envelopes that fail
/// are not remembered, since a sender can make any number of them. When the memory is full, what
/// was longest not seen goes first.
///
/// What is remembered has been verified by [`verify_batch`] and shares its one difference from
/// single verification: a verifier is for what a client reads, not for what a server admits.
#[derive(Clone, Debug)]
pub struct Verifier {
    limits: Limits,
    memory_limits: MemoryLimits,
    entries: BTreeMap<Bytes, Entry>,
    /// Every entry by when it was last seen.
    by_last_seen: BTreeMap<u64, Bytes>,
    envelope_bytes: usize,
    /// Grows with every use of an entry.
    uses: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    record: VerifiedRecord,
    last_seen: u64,
}

impl Verifier {
    /// A verifier with an empty memory.
    #[must_use]
    pub fn new(limits: Limits, memory_limits: MemoryLimits) -> Self {
        Self {
            limits,
            memory_limits,
            entries: BTreeMap::new(),
            by_last_seen: BTreeMap::new(),
            envelope_bytes: 0,
            uses: 0,
        }
    }

    /// Verifies the envelopes of one answer as [`verify_batch`] does, each distinct one at most
    /// once; the results stand in the order of the envelopes.
    ///
    /// The records share no memory with the bytes passed in, so keeping them does not keep the
    /// frame they came in. Memory is used for the distinct envelopes of the page beside what is
    /// remembered.
    pub fn verify_page(
        &mut self,
        envelopes: impl IntoIterator<Item = Bytes>,
    ) -> Vec<Result<VerifiedRecord, VerifyError>> {
        let mut unseen: Vec<Bytes> = Vec::new();
        let mut places: BTreeMap<Bytes, usize> = BTreeMap::new();
        // Per envelope: the record remembered, or the place among the unseen.
        let page: Vec<Result<VerifiedRecord, usize>> = envelopes
            .into_iter()
            .map(|envelope| {
                if let Some(record) = self.recall(&envelope) {
                    return Ok(record);
                }
                Err(*places.entry(envelope).or_insert_with_key(|envelope| {
                    unseen.push(envelope.clone());
                    unseen.len() - 1
                }))
            })
            .collect();
        drop(places);

        let verified: Vec<_> =
            verify_batch(unseen, &self.limits).into_iter().map(|result| result.map(VerifiedRecord::detach)).collect();
        for record in verified.iter().flatten() {
            self.remember(record);
        }
        page.into_iter().map(|known| known.or_else(|place| verified[place].clone())).collect()
    }

    /// Whether this envelope is remembered, so that [`verify_page`](Self::verify_page) does not verify it again. This does not
    /// count as a use of it.
    #[must_use]
    pub fn remembers(&self, envelope: &[u8]) -> bool {
        self.entries.contains_key(envelope)
    }

    /// How many envelopes are remembered, at most [`MemoryLimits::entries_max`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of all envelopes remembered, at most [`MemoryLimits::bytes_max`].
    #[must_use]
    pub fn envelope_bytes(&self) -> usize {
        self.envelope_bytes
    }

    fn recall(&mut self, envelope: &[u8]) -> Option<VerifiedRecord> {
        let entry = self.entries.get_mut(envelope)?;
        self.uses += 1;
        let key = self.by_last_seen.remove(&entry.last_seen).expect("every entry is listed by when it was last seen");
        self.by_last_seen.insert(self.uses, key);
        entry.last_seen = self.uses;
        Some(entry.record.clone())
    }

    fn remember(&mut self, record: &VerifiedRecord) {
        let envelope = record.envelope();
        let bytes_max = self.memory_limits.bytes_max;
        if self.memory_limits.entries_max == 0 || envelope.len() > bytes_max {
            return;
        }
        while self.entries.len() >= self.memory_limits.entries_max || self.envelope_bytes > bytes_max - envelope.len() {
            self.forget_oldest();
        }
        self.uses += 1;
        self.envelope_bytes += envelope.len();
        self.by_last_seen.insert(self.uses, envelope.clone());
        let entry = Entry { record: record.clone(), last_seen: self.uses };
        self.entries.insert(envelope.clone(), entry);
    }

    fn forget_oldest(&mut self) {
        let (_, envelope) = self.by_last_seen.pop_first().expect("a memory that is full has an oldest entry");
        self.entries.remove(&envelope);
        self.envelope_bytes -= envelope.len();
    }
}
