//! A store that keeps a map and a journal of batches that are not synced yet.

use core::fmt;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use libp2p_identity::PeerId;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rendezvous_core::{
    Time,
    server::{Change, Kept},
};
use rendezvous_store::{CommitError, Damage, Last, LoadError, Loaded, Store};
use rendezvous_wire::Namespace;

type Key = (PeerId, Namespace);
type Batch = Vec<(Key, Option<Kept>)>;

/// How a commit goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing is written.
    Refused,
    /// It is written, and reported as failed before it is synced.
    NotSynced,
    /// It is written and synced, and reported as failed.
    Unreported,
}

/// What is on the disk. It outlives the [`JournalStore`]s that use it.
#[derive(Debug, Default)]
pub(super) struct Journal {
    synced: State,
    /// Written behind `synced`, oldest first. Any number of them, from the oldest on, survives a crash.
    unsynced: Vec<(Batch, Option<Last>)>,
    /// What undoes the batch that was reported as failed.
    undo: Option<(Batch, Option<Last>)>,
    /// How the next commit fails.
    pub(super) fault: Option<Fault>,
    /// Whether commits are reported before they are synced: a store that lies.
    pub(super) acknowledges_early: bool,
    /// Whether records that have ended are kept: a store that only grows.
    pub(super) forgets_nothing: bool,
}

#[derive(Clone, Debug, Default)]
struct State {
    map: BTreeMap<Key, Kept>,
    last: Option<Last>,
}

impl State {
    fn apply(&mut self, batch: &Batch, last: Option<Last>) {
        for (key, kept) in batch {
            match kept {
                Some(kept) => self.map.insert(key.clone(), kept.clone()),
                None => self.map.remove(key),
            };
        }
        self.last = last;
    }
}

impl Journal {
    /// As the process sees it.
    fn state(&self) -> State {
        let mut state = self.synced.clone();
        for (batch, last) in &self.unsynced {
            state.apply(batch, *last);
        }
        state
    }

    /// Registrations kept, whether synced or not.
    pub(super) fn len(&self) -> usize {
        self.state().map.len()
    }

    /// The process ends; of what is not synced a part survives.
    pub(super) fn crash(&mut self, rng: &mut ChaCha8Rng) {
        let survivors = rng.random_range(0..=self.unsynced.len());
        self.unsynced.truncate(survivors);
        self.sync();
        self.undo = None;
        self.fault = None;
    }

    fn sync(&mut self) {
        for (batch, last) in core::mem::take(&mut self.unsynced) {
            self.synced.apply(&batch, last);
        }
    }

    fn commit(&mut self, now: Time, changes: &[Change]) -> Result<(), CommitError> {
        let fault = self.fault.take();
        if fault == Some(Fault::Refused) {
            return Err(CommitError::NoSpace);
        }
        self.unsynced.extend(self.undo.take());
        let state = self.state();
        let mut batch: BTreeMap<Key, Option<Kept>> = BTreeMap::new();
        let mut position = state.last.map_or(0, |last| last.position);
        for change in changes {
            if self.forgets_nothing && matches!(change, Change::Forget { .. }) {
                continue;
            }
            position = position.max(change.position().unwrap_or(0));
            let key = (*change.peer(), change.namespace().clone());
            let before = batch.remove(&key).unwrap_or_else(|| state.map.get(&key).cloned());
            batch.insert(key, Kept::fold(before, change));
        }
        let undo = batch.keys().map(|key| (key.clone(), state.map.get(key).cloned())).collect();
        let time = state.last.map_or(now, |last| last.time.max(now));
        let last = Last { position, time, registrations: 0 };
        self.unsynced.push((batch.into_iter().collect(), Some(last)));
        match fault {
            Some(fault) => {
                if fault == Fault::Unreported {
                    self.sync();
                }
                self.undo = Some((undo, state.last));
                Err(CommitError::Engine(Box::new(Failed)))
            }
            None => {
                if !self.acknowledges_early {
                    self.sync();
                }
                Ok(())
            }
        }
    }
}

/// A process's hold of a [`Journal`].
#[derive(Debug)]
pub(super) struct JournalStore(pub(super) Arc<Mutex<Journal>>);

impl Store for JournalStore {
    fn last(&mut self) -> Result<Option<Last>, LoadError> {
        Ok(lock(&self.0).synced.last)
    }

    fn load(&mut self, now: Time, each: &mut dyn FnMut(Kept) -> Result<(), Damage>) -> Result<Loaded, LoadError> {
        let mut journal = lock(&self.0);
        let mut loaded = Loaded::default();
        let forgets_nothing = journal.forgets_nothing;
        let mut kept_on = BTreeMap::new();
        for (key, kept) in core::mem::take(&mut journal.synced.map) {
            let mut live = kept.clone();
            live.records.retain(|record| record.ends > now);
            loaded.ended += (kept.records.len() - live.records.len()) as u64;
            if !live.records.is_empty() {
                loaded.registrations += 1;
                each(live.clone())?;
            }
            if forgets_nothing {
                kept_on.insert(key, kept);
            } else if !live.records.is_empty() {
                kept_on.insert(key, live);
            }
        }
        journal.synced.map = kept_on;
        Ok(loaded)
    }

    fn commit(&mut self, now: Time, changes: &[Change]) -> Result<(), CommitError> {
        lock(&self.0).commit(now, changes)
    }
}

/// A simulated failure.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("simulated failure")]
pub(super) struct Failed;

/// There is one thread; nothing panics with the lock held and goes on.
pub(super) fn lock<T: fmt::Debug>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
