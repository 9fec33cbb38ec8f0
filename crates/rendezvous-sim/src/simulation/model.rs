//! What a point must list, from what its peers asked and were told.
//!
//! Instants are those of the point's clock. A registration ends at the instant at which it was granted plus its TTL; the
//! point may end it a tick ([`TICK`]) early, and in that tick it may be listed or not. Nothing else is left open, but for
//! one thing: a change that was not acknowledged, or was refused because the store failed, may have taken effect when the
//! point comes back from a crash, whole with all others of its batch.

use core::{fmt, time::Duration};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use libp2p_identity::PeerId;
use rendezvous_core::{
    Time,
    server::{Batch, BatchId, Change, Kept, KeptRecord, Origin},
};
use rendezvous_record::{Flavour, Flavours};
use rendezvous_wire::Namespace;

use super::violation::{Breach, Invariant};

/// Deadlines are kept in tenths of a second.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// Whose registration, and where.
pub(super) type Key = (PeerId, Namespace);

/// A record and its end.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) envelope: Bytes,
    pub(super) ends: Time,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a record of {} bytes to {}", self.envelope.len(), self.ends)
    }
}

/// A registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// By [`Flavour::index`].
    pub(super) records: [Option<Record>; 2],
    /// Grows with every REGISTER that a point takes.
    pub(super) order: u64,
    pub(super) origin: Origin,
    /// Whether it had ended, and is there again since the point's clock was set back: who has read past its place does not
    /// see it.
    pub(super) is_back: bool,
}

impl Entry {
    /// Whether it is listed for certain to whom reads these flavours.
    pub(super) fn must_be_found(&self, clock: Time, reads: Flavours) -> bool {
        Flavour::ALL.iter().any(|flavour| reads.contains(*flavour) && self.ends(*flavour) > Some(clock + TICK))
    }

    /// Whether it may be listed.
    pub(super) fn may_be_found(&self, clock: Time) -> bool {
        Flavour::ALL.iter().any(|flavour| self.ends(*flavour) > Some(clock))
    }

    fn ends(&self, flavour: Flavour) -> Option<Time> {
        self.records[flavour.index()].as_ref().map(|record| record.ends)
    }
}

pub(super) type Listing = BTreeMap<Key, Entry>;

/// What a peer asked, as the model has it.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Put {
        key: Key,
        flavour: Flavour,
        record: Record,
        order: u64,
        origin: Origin,
    },
    Remove {
        key: Key,
    },
    /// Of all that a peer may have.
    RemoveAll {
        peer: PeerId,
        left: BTreeSet<Namespace>,
    },
    /// Records that have ended need not be kept.
    Forget {
        key: Key,
        flavour: Flavour,
    },
}

#[derive(Debug)]
struct Waiting {
    id: BatchId,
    changes: Vec<Asked>,
    /// The point's clock when it was handed out.
    at: Time,
    /// Whether no other batch was under way.
    is_alone: bool,
    stored: Option<bool>,
    told: Option<bool>,
}

/// A registration as a page lists it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) key: Key,
    pub(super) flavour: Flavour,
    pub(super) envelope: Bytes,
    pub(super) ttl_secs: u64,
}

/// The model of one point.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// What it lists.
    pub(super) visible: Listing,
    /// What its store has acknowledged.
    durable: Listing,
    /// Taken, and in no batch.
    asked: Vec<Asked>,
    batches: VecDeque<Waiting>,
    /// Batches that failed since the last one that did not, of which one at most may have been written.
    doubtful: Vec<Vec<Asked>>,
    /// What may be found in the store after a crash.
    candidates: Vec<Listing>,
    /// What has ended, and when.
    ended: BTreeMap<Key, Time>,
    /// What was listed when the point ended, and the highest place in the order that was given out by then.
    listed_before: BTreeMap<Key, u64>,
    order_told: u64,
    /// When the last REGISTER became visible.
    told_at: BTreeMap<Key, Time>,
    orders: u64,
}

impl Model {
    /// The model of a point that has not begun yet.
    pub(super) fn new() -> Self {
        Self { candidates: vec![Listing::new()], ..Self::default() }
    }

    /// Notes a REGISTER that the point has taken. Without a store it is visible at once.
    pub(super) fn put(&mut self, key: Key, flavour: Flavour, record: Record, origin: Origin, at_once: bool) {
        self.orders += 1;
        let asked = Asked::Put { key, flavour, record, order: self.orders, origin };
        self.take(asked, at_once);
    }

    /// Notes an UNREGISTER that the point has taken.
    pub(super) fn remove(&mut self, peer: PeerId, namespace: Option<Namespace>, at_once: bool) {
        let asked = match namespace {
            Some(namespace) => Asked::Remove { key: (peer, namespace) },
            None => {
                let pending = self.pending_puts().map(|(key, _)| key);
                let all = self.visible.keys().chain(pending).filter(|(of, _)| *of == peer);
                Asked::RemoveAll { peer, left: all.map(|(_, namespace)| namespace.clone()).collect() }
            }
        };
        self.take(asked, at_once);
    }

    fn take(&mut self, asked: Asked, at_once: bool) {
        if at_once {
            fold(&mut self.visible, &asked);
        } else {
            self.asked.push(asked);
        }
    }

    /// The point has handed out a batch: it holds what peers have asked since the last one, each in its own name, and
    /// nothing else.
    pub(super) fn polled(&mut self, batch: &Batch, at: Time) -> Result<(), Breach> {
        let mut asked: VecDeque<Asked> = core::mem::take(&mut self.asked).into();
        let mut changes = Vec::with_capacity(batch.changes.len());
        for change in &batch.changes {
            let key = (*change.peer(), change.namespace().clone());
            if let Change::Forget { kind, .. } = change {
                let Some(flavour) = kind.flavour() else {
                    return Err((
                        Invariant::Identity,
                        format!("an unsigned record of {key:?} ends, and nobody registers any"),
                    ));
                };
                changes.push(Asked::Forget { key, flavour });
                continue;
            }
            // What names all namespaces becomes one withdrawal for each that there is.
            let is_of_all = loop {
                let Some(Asked::RemoveAll { peer, left }) = asked.front_mut() else { break false };
                if matches!(change, Change::Remove { .. }) && *peer == key.0 && left.remove(&key.1) {
                    break true;
                }
                asked.pop_front();
            };
            if is_of_all {
                changes.push(Asked::Remove { key });
                continue;
            }
            let Some(found) = asked.pop_front() else {
                return Err((Invariant::Identity, format!("a change of {key:?} is written, and nobody asked for it")));
            };
            let is_it = match (&found, change) {
                (Asked::Remove { key: of }, Change::Remove { .. }) => *of == key,
                (Asked::Put { key: of, flavour, record, origin, .. }, Change::Put(put)) => {
                    let is_same = record.envelope == put.record && record.ends == put.ends;
                    *of == key && put.kind == (*flavour).into() && is_same && *origin == put.origin
                }
                _ => false,
            };
            if !is_it {
                let what = format!("{found:?} was asked, a change of {key:?} to {:?} is written", change.position());
                return Err((Invariant::Identity, what));
            }
            changes.push(found);
        }
        asked.retain(|asked| !matches!(asked, Asked::RemoveAll { .. }));
        if let Some(lost) = asked.pop_front() {
            return Err((Invariant::Acknowledged, format!("{lost:?} is not written")));
        }
        let is_alone = self.batches.is_empty();
        self.batches.push_back(Waiting { id: batch.id, changes, at, is_alone, stored: None, told: None });
        Ok(())
    }

    /// The store has acknowledged a batch, or reported it as failed. After one that was handed out while no other was under
    /// way, returns the most registrations that the store may hold.
    pub(super) fn stored(&mut self, id: BatchId, is_ok: bool) -> Result<Option<usize>, Breach> {
        let Some(batch) = self.batches.iter_mut().find(|batch| batch.id == id) else { return Ok(None) };
        batch.stored = Some(is_ok);
        if !is_ok {
            self.doubtful.push(batch.changes.clone());
            return Ok(None);
        }
        self.doubtful.clear();
        for change in &batch.changes {
            if let Asked::Forget { key, flavour } = change
                && let Some(ends) = self.durable.get(key).and_then(|entry| entry.ends(*flavour))
                && ends > batch.at + TICK
            {
                return Err((Invariant::Acknowledged, format!("{key:?} is forgotten and ends at {ends}")));
            }
            fold(&mut self.durable, change);
        }
        // What is put may have ended before it is written; only then is it forgotten.
        let is_put =
            |of: &Key| batch.changes.iter().any(|change| matches!(change, Asked::Put { key, .. } if key == of));
        let is_told = |of: &Key| self.told_at.get(of).is_some_and(|told_at| *told_at >= batch.at);
        let is_kept = |(key, entry): &(&Key, &Entry)| entry.may_be_found(batch.at) || is_put(key) || is_told(key);
        let most = || self.durable.iter().filter(is_kept).count();
        Ok(batch.is_alone.then(most))
    }

    /// What the store should hold, ended or not.
    pub(super) fn kept(&self) -> String {
        format!("{:?}", self.durable)
    }

    /// The point has been told what became of a batch: it and those behind it that waited for it become visible.
    pub(super) fn told(&mut self, clock: Time, id: BatchId, is_ok: bool) {
        if let Some(batch) = self.batches.iter_mut().find(|batch| batch.id == id) {
            batch.told = Some(is_ok);
        }
        while self.batches.front().is_some_and(|batch| batch.told.is_some()) {
            let Some(batch) = self.batches.pop_front() else { break };
            for change in batch.changes.iter().filter(|_| batch.told == Some(true)) {
                if let Asked::Put { key, order, .. } = change {
                    self.order_told = self.order_told.max(*order);
                    self.told_at.insert(key.clone(), clock);
                }
                // The point has forgotten it already.
                if !matches!(change, Asked::Forget { .. }) {
                    fold(&mut self.visible, change);
                }
            }
        }
    }

    /// The point is gone, and with it what it did not store; of a batch that was being written nobody knows.
    pub(super) fn crashed(&mut self) {
        let mut candidates = vec![self.durable.clone()];
        let being_written = self.batches.iter().find(|batch| batch.stored.is_none()).map(|batch| &batch.changes);
        for changes in self.doubtful.iter().chain(being_written) {
            let mut candidate = self.durable.clone();
            changes.iter().for_each(|change| fold(&mut candidate, change));
            candidates.push(candidate);
        }
        self.candidates = candidates;
        self.listed_before = self.visible.iter().map(|(key, entry)| (key.clone(), entry.order)).collect();
        self.visible.clear();
        self.asked.clear();
        self.batches.clear();
        self.doubtful.clear();
    }

    /// The point has begun again at this time of its clock with what was loaded. Whether that is more than what had been
    /// acknowledged is returned.
    pub(super) fn restored(&mut self, clock: Time, loaded: &[Kept]) -> Result<bool, Breach> {
        let found: BTreeMap<Key, &Kept> =
            loaded.iter().map(|kept| ((kept.peer, kept.namespace.clone()), kept)).collect();
        let candidates = core::mem::take(&mut self.candidates);
        let expected = candidates.first().cloned().unwrap_or_default();
        for (index, mut candidate) in candidates.into_iter().enumerate() {
            candidate.retain(|_, entry| {
                for record in &mut entry.records {
                    record.take_if(|record| record.ends <= clock);
                }
                entry.records.iter().any(Option::is_some)
            });
            let is_same = candidate.len() == found.len()
                && candidate.iter().all(|(key, entry)| found.get(key).is_some_and(|kept| is_kept(entry, kept)));
            if is_same {
                for (key, entry) in &mut candidate {
                    let was_listed = self.listed_before.get(key) == Some(&entry.order);
                    entry.is_back |= entry.order <= self.order_told && !was_listed;
                }
                self.durable = candidate.clone();
                self.visible = candidate;
                return Ok(index > 0);
            }
        }
        for (key, entry) in &expected {
            if entry.must_be_found(clock, Flavours::BOTH) && !found.contains_key(key) {
                return Err((Invariant::Acknowledged, format!("{key:?} is gone after a restart: {entry:?}")));
            }
        }
        if let Some(key) = found.keys().find(|key| !expected.contains_key(*key)) {
            return Err((Invariant::Acknowledged, format!("{key:?} is there after a restart, and was not before")));
        }
        Err((Invariant::Acknowledged, format!("{found:?} after a restart, {expected:?} before it")))
    }

    /// Checks everything that a point lists, in its order.
    pub(super) fn audit(&self, clock: Time, found: &[Found]) -> Result<(), Breach> {
        let mut keys = BTreeMap::new();
        let mut last = 0;
        for found in found {
            let order = self.listed(clock, found)?;
            if order <= last || keys.insert(&found.key, ()).is_some() {
                return Err((Invariant::Cookies, format!("{:?} is listed twice or out of order", found.key)));
            }
            last = order;
        }
        for (key, entry) in &self.visible {
            if entry.must_be_found(clock, Flavours::BOTH) && !keys.contains_key(key) {
                return Err((Invariant::Acknowledged, format!("{key:?} is not found at {clock}: {entry:?}")));
            }
        }
        Ok(())
    }

    /// Checks one registration of a page. Returns its place in the order.
    pub(super) fn listed(&self, clock: Time, found: &Found) -> Result<u64, Breach> {
        let key = &found.key;
        let Some(entry) = self.visible.get(key) else {
            if let Some(ended) = self.ended.get(key) {
                return Err((Invariant::Expiry, format!("{key:?} is listed at {clock} and has ended at {ended}")));
            }
            return Err((Invariant::Identity, format!("{key:?} is listed and has not registered")));
        };
        let Some(record) = &entry.records[found.flavour.index()] else {
            return Err((Invariant::Identity, format!("{key:?} is listed with a flavour that it has not registered")));
        };
        if record.envelope != found.envelope {
            return Err((Invariant::Acknowledged, format!("{key:?} is listed with a record that was replaced")));
        }
        if record.ends <= clock {
            return Err((Invariant::Expiry, format!("{key:?} is listed at {clock} and has ended at {}", record.ends)));
        }
        let left = record.ends.saturating_since(clock);
        let least = left.saturating_sub(TICK).as_secs().max(1);
        // Both instants are rounded down to ticks before the one is taken from the other.
        let most = (left + TICK).as_secs().max(1);
        if found.ttl_secs < least || found.ttl_secs > most {
            let ttl = found.ttl_secs;
            return Err((Invariant::Expiry, format!("{key:?} is listed for {ttl} s and ends in {left:?}")));
        }
        Ok(entry.order)
    }

    /// Whether a registration has ended since an instant, renewed again or not.
    pub(super) fn has_ended(&self, key: &Key, since: Time) -> bool {
        self.ended.get(key).is_some_and(|ended| *ended >= since)
    }

    /// Takes out what cannot be found any more; how much of it there was.
    pub(super) fn prune(&mut self, clock: Time) -> u64 {
        let before = self.visible.len();
        self.visible.retain(|key, entry| {
            let lives = entry.may_be_found(clock);
            if !lives {
                self.ended.insert(key.clone(), clock);
            }
            lives
        });
        (before - self.visible.len()) as u64
    }

    /// Registrations that may have ended and may be there still.
    pub(super) fn fading(&self, clock: Time) -> usize {
        self.visible.values().filter(|entry| !entry.must_be_found(clock, Flavours::BOTH)).count()
    }

    /// Whether a REGISTER of this peer renews: for certain, or perhaps.
    pub(super) fn renews(&self, key: &Key, clock: Time) -> (bool, bool) {
        let entry = self.visible.get(key);
        let is_pending = self.pending_puts().any(|(pending, _)| pending == key);
        let certain = is_pending || entry.is_some_and(|entry| entry.must_be_found(clock, Flavours::BOTH));
        (certain, certain || entry.is_some_and(|entry| entry.may_be_found(clock)))
    }

    /// Whether an UNREGISTER of a peer, in one namespace or in all, may find something to withdraw.
    pub(super) fn may_stand(&self, peer: &PeerId, namespace: Option<&[u8]>) -> bool {
        let is_it = |key: &Key| key.0 == *peer && namespace.is_none_or(|name| key.1.as_str().as_bytes() == name);
        self.visible.keys().any(is_it) || self.pending_puts().any(|(key, _)| is_it(key))
    }

    /// Registrations for which something holds, at the least and at the most, what waits to be committed included in both.
    pub(super) fn count(&self, clock: Time, holds: impl Fn(&Key, Origin) -> bool) -> (usize, usize) {
        let mut certain: BTreeMap<&Key, ()> = BTreeMap::new();
        let mut possible: BTreeMap<&Key, ()> = BTreeMap::new();
        for (key, entry) in self.visible.iter().filter(|(key, entry)| holds(key, entry.origin)) {
            if entry.must_be_found(clock, Flavours::BOTH) {
                certain.insert(key, ());
            }
            if entry.may_be_found(clock) {
                possible.insert(key, ());
            }
        }
        for (key, origin) in self.pending_puts() {
            if holds(key, origin) {
                possible.insert(key, ());
            }
        }
        (certain.len(), possible.len())
    }

    /// Changes that wait to be committed.
    pub(super) fn pending_len(&self) -> usize {
        let batched = self.batches.iter().flat_map(|batch| &batch.changes);
        batched.filter(|change| !matches!(change, Asked::Forget { .. })).count() + self.asked.len()
    }

    fn pending_puts(&self) -> impl Iterator<Item = (&Key, Origin)> {
        let all = self.batches.iter().flat_map(|batch| &batch.changes).chain(&self.asked);
        all.filter_map(|change| match change {
            Asked::Put { key, origin, .. } => Some((key, *origin)),
            Asked::Remove { .. } | Asked::RemoveAll { .. } | Asked::Forget { .. } => None,
        })
    }
}

fn fold(listing: &mut Listing, change: &Asked) {
    match change {
        Asked::Put { key, flavour, record, order, origin } => {
            let entry = listing.entry(key.clone()).or_insert_with(|| Entry {
                records: [None, None],
                order: *order,
                origin: *origin,
                is_back: false,
            });
            entry.records[flavour.index()] = Some(record.clone());
            entry.order = *order;
            entry.origin = *origin;
            entry.is_back = false;
        }
        Asked::Remove { key } => drop(listing.remove(key)),
        Asked::RemoveAll { peer, .. } => listing.retain(|(of, _), _| of != peer),
        Asked::Forget { key, flavour } => {
            if let Some(entry) = listing.get_mut(key) {
                entry.records[flavour.index()] = None;
                if entry.records.iter().all(Option::is_none) {
                    listing.remove(key);
                }
            }
        }
    }
}

fn is_kept(entry: &Entry, kept: &Kept) -> bool {
    let is_it = |record: &Record, kept: &KeptRecord| record.envelope == kept.record && record.ends == kept.ends;
    let of = |flavour: Flavour| kept.records.iter().find(move |record| record.kind == flavour.into());
    entry.origin == kept.origin
        && Flavour::ALL.into_iter().all(|flavour| match (&entry.records[flavour.index()], of(flavour)) {
            (Some(record), Some(kept)) => is_it(record, kept),
            (None, None) => true,
            _ => false,
        })
}
