//! What a point keeps its registrations on, over its restarts.

use std::sync::{Arc, Mutex};

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rendezvous_core::{
    Time,
    server::{Change, Kept},
};
use rendezvous_store::{CommitError, Damage, KeyValueStore, Last, LoadError, Loaded, Memory, Store};

use super::{
    journal::{Fault, Journal, JournalStore, lock},
    map::{Map, MapDisk},
};

/// What a store stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DiskKind {
    /// The simulated store.
    Journal,
    /// The real store on a map that fails.
    Map,
    /// None: what is registered is lost with the process.
    None,
}

/// The disk of a point.
#[derive(Debug)]
pub(super) enum Disk {
    Journal(Arc<Mutex<Journal>>),
    Map(Arc<Mutex<MapDisk>>),
    None,
}

impl Disk {
    pub(super) fn new(kind: DiskKind, rng: &mut ChaCha8Rng) -> Self {
        match kind {
            DiskKind::Journal => Self::Journal(Arc::default()),
            DiskKind::Map => Self::Map(Arc::new(Mutex::new(MapDisk::new(rng.random())))),
            DiskKind::None => Self::None,
        }
    }

    pub(super) const fn is_durable(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// A process takes hold of it. Of a thousand operations so many fail meanwhile.
    pub(super) fn open(&self, failing_per_mille: u32) -> Result<Box<dyn Store>, LoadError> {
        match self {
            Self::Journal(journal) => Ok(Box::new(JournalStore(Arc::clone(journal)))),
            Self::Map(disk) => {
                lock(disk).failing_per_mille = failing_per_mille;
                let store = KeyValueStore::open(Map(Arc::clone(disk)));
                lock(disk).failing_per_mille = 0;
                Ok(Box::new(store?))
            }
            Self::None => Ok(Box::new(Memory)),
        }
    }

    /// The commits from here on fail, or do not.
    pub(super) fn set_failing(&self, is_failing: bool, rng: &mut ChaCha8Rng) {
        match self {
            Self::Journal(journal) => {
                let fault = match rng.random_range(0..3) {
                    0 => Fault::Refused,
                    1 => Fault::NotSynced,
                    _ => Fault::Unreported,
                };
                lock(journal).fault = is_failing.then_some(fault);
            }
            Self::Map(disk) => {
                let per_mille = [30, 200, 600][rng.random_range(0..3)];
                lock(disk).failing_per_mille = if is_failing { per_mille } else { 0 };
            }
            Self::None => {}
        }
    }

    /// The commit from here on is cut off by the end of the process.
    pub(super) fn die(&self, rng: &mut ChaCha8Rng) {
        match self {
            Self::Journal(journal) => {
                let faults = [Fault::Refused, Fault::NotSynced, Fault::Unreported];
                lock(journal).fault = Some(faults[rng.random_range(0..3)]);
            }
            Self::Map(disk) => lock(disk).dies_after = Some(rng.random_range(0..24)),
            Self::None => {}
        }
    }

    /// The process has ended.
    pub(super) fn crash(&self, rng: &mut ChaCha8Rng) {
        match self {
            Self::Journal(journal) => lock(journal).crash(rng),
            Self::Map(disk) => lock(disk).crash(),
            Self::None => {}
        }
    }

    /// Registrations kept.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Journal(journal) => lock(journal).len(),
            Self::Map(disk) => lock(disk).len(),
            Self::None => 0,
        }
    }
}

/// A store, and what it hands out when it is read.
pub(super) struct Observed<'a> {
    pub(super) store: &'a mut dyn Store,
    pub(super) loaded: Vec<Kept>,
}

impl Store for Observed<'_> {
    fn is_durable(&self) -> bool {
        self.store.is_durable()
    }

    fn last(&mut self) -> Result<Option<Last>, LoadError> {
        self.store.last()
    }

    fn load(&mut self, now: Time, each: &mut dyn FnMut(Kept) -> Result<(), Damage>) -> Result<Loaded, LoadError> {
        let loaded = &mut self.loaded;
        self.store.load(now, &mut |kept| {
            loaded.push(kept.clone());
            each(kept)
        })
    }

    fn commit(&mut self, now: Time, changes: &[Change]) -> Result<(), CommitError> {
        self.store.commit(now, changes)
    }
}
