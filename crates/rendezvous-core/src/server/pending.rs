//! Changes between check and commit.

use std::collections::{BTreeMap, VecDeque};

use libp2p_identity::PeerId;
use rendezvous_wire::{Namespace, Ttl};

use super::{
    admission::{Block, Origin},
    commit::{Batch, BatchId, Change, ChangeId, CommitFailed, Put},
};
use crate::{RecordKind, Time};

/// Records that have ended and go to the log without waiting for changes of peers: one write for many.
const FORGETS_PER_BATCH: usize = 1_024;

/// Records that have ended and wait to go to the log; a store that takes nothing must not make them pile up.
const FORGETS_MAX: usize = 1 << 16;

/// A record that has ended, which the log need not keep.
#[derive(Clone, Debug)]
pub(super) struct Forget {
    pub(super) peer: PeerId,
    pub(super) namespace: Namespace,
    pub(super) kind: RecordKind,
}

/// A put that waits, as its peer's other requests must know of it, and what it counts for against the quotas.
#[derive(Clone, Debug)]
pub(super) struct PendingPut {
    pub(super) namespace: Namespace,
    kind: RecordKind,
    origin: Origin,
    /// Whether the registration is there only once this is committed.
    is_new: bool,
    /// When its record is to end.
    pub(super) ends: Time,
    /// That it will add to what is held.
    bytes: u64,
    record_bytes: usize,
    /// Whether the log keeps a record that has ended, in whose place this is to come.
    replaces_ended: bool,
}

#[derive(Clone, Debug)]
pub(super) struct PendingChange {
    pub(super) id: ChangeId,
    pub(super) change: Change,
    /// Granted by a put; `None` for a withdrawal.
    pub(super) ttl: Option<Ttl>,
    pub(super) peer_start: usize,
    pub(super) peer_len: usize,
}

#[derive(Debug)]
pub(super) struct PendingBatch {
    id: BatchId,
    pub(super) changes: Vec<PendingChange>,
    pub(super) forgets: Vec<Forget>,
    pub(super) result: Option<Result<(), CommitFailed>>,
}

#[derive(Debug, Default)]
pub(super) struct Pending {
    next_change: u64,
    next_batch: u64,
    queued: Vec<PendingChange>,
    forgets: Vec<Forget>,
    batches: VecDeque<PendingBatch>,
    puts: BTreeMap<PeerId, Vec<PendingPut>>,
    /// Puts that will be new registrations: in all, by block of addresses, and by namespace.
    pub(super) new: usize,
    blocks: BTreeMap<Block, usize>,
    namespaces: BTreeMap<Namespace, usize>,
    /// Bytes that the puts will add to what is held.
    pub(super) bytes: u64,
    /// Bytes of the records in them.
    pub(super) record_bytes: usize,
    /// Changes of peers that wait.
    pub(super) len: usize,
}

impl Pending {
    /// The peer's puts.
    pub(super) fn puts_of(&self, peer: &PeerId) -> impl Iterator<Item = &PendingPut> {
        self.puts.get(peer).into_iter().flatten()
    }

    /// Whether puts wait that are to come in the place of a record that has ended; if they fail, it is still there.
    pub(super) fn replace_ended(&mut self, forget: &Forget) -> bool {
        let Forget { peer, namespace, kind } = forget;
        let puts = self.puts.get_mut(peer).into_iter().flatten();
        let puts = puts.filter(|put| put.kind == *kind && put.namespace == *namespace);
        puts.map(|put| put.replaces_ended = true).count() > 0
    }

    /// New registrations of a peer.
    pub(super) fn new_of(&self, peer: &PeerId) -> usize {
        self.puts_of(peer).filter(|put| put.is_new).count()
    }

    /// New registrations that come from a block of addresses.
    pub(super) fn new_from(&self, block: Block) -> usize {
        self.blocks.get(&block).copied().unwrap_or(0)
    }

    /// New registrations in a namespace.
    pub(super) fn new_in(&self, namespace: &str) -> usize {
        self.namespaces.get(namespace).copied().unwrap_or(0)
    }

    pub(super) fn reserve(&mut self, put: &Put, is_new: bool, bytes: u64) {
        let record_bytes = put.record.len();
        self.puts.entry(put.peer).or_default().push(PendingPut {
            namespace: put.namespace.clone(),
            kind: put.kind,
            origin: put.origin,
            ends: put.ends,
            is_new,
            bytes,
            record_bytes,
            replaces_ended: false,
        });
        self.bytes += bytes;
        self.record_bytes += record_bytes;
        if is_new {
            self.count_new(&put.namespace, put.origin);
        }
    }

    /// A put waits no longer. Returns whether the log keeps a record that has ended, in whose place it was to come.
    pub(super) fn release(&mut self, put: &Put) -> bool {
        let Some(puts) = self.puts.get_mut(&put.peer) else { return false };
        // In the order in which they were made.
        let is_it = |waiting: &PendingPut| waiting.namespace == put.namespace && waiting.kind == put.kind;
        let Some(at) = puts.iter().position(is_it) else { return false };
        let released = puts.remove(at);
        if puts.is_empty() {
            self.puts.remove(&put.peer);
        }
        self.bytes -= released.bytes;
        self.record_bytes -= released.record_bytes;
        if released.is_new {
            self.new -= 1;
            count_down(&mut self.namespaces, &released.namespace);
            for block in Block::of(released.origin).into_iter().flat_map(Block::with_wider) {
                count_down(&mut self.blocks, &block);
            }
        }
        released.replaces_ended
    }

    /// Whether a peer's puts wait.
    pub(super) fn has_puts_of(&self, peer: &PeerId) -> bool {
        self.puts.contains_key(peer)
    }

    /// A registration has changed, or ended, or will not be: what its puts count for follows. `growth` gives the bytes that
    /// a record will add; if the registration `is_there` no longer, the first put will be a new one.
    pub(super) fn recount(
        &mut self,
        peer: &PeerId,
        namespace: &Namespace,
        is_there: bool,
        growth: impl Fn(RecordKind, usize) -> usize,
    ) {
        let puts = self.puts.get_mut(peer).into_iter().flatten();
        let mut puts: Vec<&mut PendingPut> = puts.filter(|put| put.namespace == *namespace).collect();
        for put in &mut puts {
            let bytes = growth(put.kind, put.record_bytes) as u64;
            self.bytes = self.bytes - put.bytes + bytes;
            put.bytes = bytes;
        }
        if is_there || puts.iter().any(|put| put.is_new) {
            return;
        }
        if let Some(first) = puts.first_mut() {
            first.is_new = true;
            let origin = first.origin;
            self.count_new(namespace, origin);
        }
    }

    fn count_new(&mut self, namespace: &Namespace, origin: Origin) {
        self.new += 1;
        *self.namespaces.entry(namespace.clone()).or_default() += 1;
        for block in Block::of(origin).into_iter().flat_map(Block::with_wider) {
            *self.blocks.entry(block).or_default() += 1;
        }
    }

    pub(super) fn queue(&mut self, change: Change, ttl: Option<Ttl>, peer_start: usize, peer_len: usize) -> ChangeId {
        let id = ChangeId(self.next_change);
        self.next_change += 1;
        self.len += 1;
        self.queued.push(PendingChange { id, change, ttl, peer_start, peer_len });
        id
    }

    /// Whether there was room for it.
    pub(super) fn push_forget(&mut self, forget: Forget) -> bool {
        let has_room = self.forgets.len() < FORGETS_MAX;
        if has_room {
            self.forgets.push(forget);
        }
        has_room
    }

    pub(super) fn has_batch(&self) -> bool {
        !self.queued.is_empty() || self.forgets.len() >= FORGETS_PER_BATCH
    }

    pub(super) fn take_batch(&mut self) -> Option<Batch> {
        if !self.has_batch() {
            return None;
        }
        let (changes, forgets) = (core::mem::take(&mut self.queued), core::mem::take(&mut self.forgets));
        let id = BatchId(self.next_batch);
        self.next_batch += 1;
        // What is to be forgotten comes first: a put of the same record that waits was made after its end.
        let forgotten = forgets.iter().cloned();
        let forgotten = forgotten.map(|Forget { peer, namespace, kind }| Change::Forget { peer, namespace, kind });
        let batch =
            Batch { id, changes: forgotten.chain(changes.iter().map(|pending| pending.change.clone())).collect() };
        self.batches.push_back(PendingBatch { id, changes, forgets, result: None });
        Some(batch)
    }

    /// Notes what became of a batch; the batches that this settles, in order.
    pub(super) fn settle(&mut self, id: BatchId, result: Result<(), CommitFailed>) -> Vec<PendingBatch> {
        if let Some(batch) = self.batches.iter_mut().find(|batch| batch.id == id) {
            batch.result.get_or_insert(result);
        }
        let settled = self.batches.iter().take_while(|batch| batch.result.is_some()).count();
        let settled: Vec<_> = self.batches.drain(..settled).collect();
        self.len -= settled.iter().map(|batch| batch.changes.len()).sum::<usize>();
        settled
    }
}

fn count_down<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
