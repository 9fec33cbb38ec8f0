//! Changes between check and commit.

use std::collections::{BTreeMap, VecDeque};

use libp2p_identity::PeerId;
use rendezvous_record::Flavour;
use rendezvous_wire::{Namespace, Ttl};

use super::{
    admission::IpPrefix,
    commit::{Batch, BatchId, Change, ChangeId, CommitFailed, Put},
};

/// Records that have ended and go to the log without waiting for changes of peers: one write for many.
const FORGETS_PER_BATCH: usize = 1_024;

/// Records that have ended and wait to go to the log; a store that takes nothing must not make them pile up.
const FORGETS_MAX: usize = 1 << 16;

/// A record that has ended, which the log need not keep.
#[derive(Clone, Debug)]
pub(super) struct Forget {
    pub(super) peer: PeerId,
    pub(super) namespace: Namespace,
    pub(super) flavour: Flavour,
}

/// A put that waits, as its peer's other requests must know of it.
#[derive(Clone, Debug)]
pub(super) struct PendingPut {
    pub(super) namespace: Namespace,
    flavour: Flavour,
    is_new: bool,
}

/// What a put that waits counts for against the quotas.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reserved {
    pub(super) ttl: Ttl,
    pub(super) is_new: bool,
    pub(super) bytes: u64,
}

#[derive(Clone, Debug)]
pub(super) struct PendingChange {
    pub(super) id: ChangeId,
    pub(super) change: Change,
    /// What a put holds back; `None` for a withdrawal.
    pub(super) put: Option<Reserved>,
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
    /// Puts that will be new registrations: in all, by prefix, and by namespace.
    pub(super) new: usize,
    prefixes: BTreeMap<IpPrefix, usize>,
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

    pub(super) fn has_put(&self, peer: &PeerId, namespace: &Namespace, flavour: Flavour) -> bool {
        self.puts_of(peer).any(|put| put.flavour == flavour && put.namespace == *namespace)
    }

    /// New registrations of a peer.
    pub(super) fn new_of(&self, peer: &PeerId) -> usize {
        self.puts_of(peer).filter(|put| put.is_new).count()
    }

    /// New registrations that come from a prefix.
    pub(super) fn new_from(&self, prefix: &IpPrefix) -> usize {
        self.prefixes.get(prefix).copied().unwrap_or(0)
    }

    /// New registrations in a namespace.
    pub(super) fn new_in(&self, namespace: &str) -> usize {
        self.namespaces.get(namespace).copied().unwrap_or(0)
    }

    pub(super) fn reserve(&mut self, put: &Put, reserved: Reserved) {
        let of_peer = self.puts.entry(put.peer).or_default();
        of_peer.push(PendingPut { namespace: put.namespace.clone(), flavour: put.flavour, is_new: reserved.is_new });
        self.bytes += reserved.bytes;
        self.record_bytes += put.record.len();
        if reserved.is_new {
            self.new += 1;
            *self.namespaces.entry(put.namespace.clone()).or_default() += 1;
            if let Some(prefix) = put.prefix {
                *self.prefixes.entry(prefix).or_default() += 1;
            }
        }
    }

    pub(super) fn release(&mut self, put: &Put, reserved: Reserved) {
        self.bytes -= reserved.bytes;
        self.record_bytes -= put.record.len();
        if let Some(puts) = self.puts.get_mut(&put.peer) {
            let is_it = |waiting: &PendingPut| {
                waiting.namespace == put.namespace
                    && waiting.flavour == put.flavour
                    && waiting.is_new == reserved.is_new
            };
            if let Some(at) = puts.iter().position(is_it) {
                puts.swap_remove(at);
            }
            if puts.is_empty() {
                self.puts.remove(&put.peer);
            }
        }
        if reserved.is_new {
            self.new -= 1;
            count_down(&mut self.namespaces, &put.namespace);
            if let Some(prefix) = &put.prefix {
                count_down(&mut self.prefixes, prefix);
            }
        }
    }

    pub(super) fn queue(
        &mut self,
        change: Change,
        put: Option<Reserved>,
        peer_start: usize,
        peer_len: usize,
    ) -> ChangeId {
        let id = ChangeId(self.next_change);
        self.next_change += 1;
        self.len += 1;
        self.queued.push(PendingChange { id, change, put, peer_start, peer_len });
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
        let forgotten =
            forgotten.map(|Forget { peer, namespace, flavour }| Change::Forget { peer, namespace, flavour });
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
