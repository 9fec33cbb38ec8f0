//! Where a store is kept while no point has it open.

use rendezvous_sim::fixtures::EPOCH;
use rendezvous_store::{Embedded, KeyValue, KeyValueStore, LoadError, Memory, Store};
use tempfile::TempDir;

use super::{
    maps::{FileMap, SharedMap},
    point::Point,
};

/// A place from which a store is opened again and again.
pub trait Place: Default {
    type Store: Store;

    /// How many registrations are many here: each file costs two fsyncs.
    const MANY: u64 = 10_000;

    fn try_open(&self) -> Result<Self::Store, LoadError>;

    /// Registrations that are kept, ended or not. No point may have the store open.
    fn kept(&self) -> u64;

    fn open(&self) -> Self::Store {
        self.try_open().unwrap()
    }

    /// A point that goes on from what is kept.
    fn point(&self, secs: u64) -> Point<Self::Store> {
        Point::open(self.open(), super::point::at(secs)).unwrap()
    }

    /// Ends a point, and opens the next one at the same instant.
    fn reopened(&self, point: Point<Self::Store>) -> Point<Self::Store> {
        let now = point.now();
        drop(point);
        Point::open(self.open(), now).unwrap()
    }
}

#[derive(Default)]
pub struct InMemory;

impl Place for InMemory {
    type Store = Memory;

    fn try_open(&self) -> Result<Memory, LoadError> {
        Ok(Memory)
    }

    fn kept(&self) -> u64 {
        0
    }
}

pub struct InDirectory(pub TempDir);

impl Default for InDirectory {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Place for InDirectory {
    type Store = Embedded;

    fn try_open(&self) -> Result<Embedded, LoadError> {
        Embedded::open(self.0.path().join("store"))
    }

    fn kept(&self) -> u64 {
        Embedded::stats(&self.0.path().join("store"), EPOCH).unwrap().registrations
    }
}

#[derive(Default)]
pub struct InMap(pub SharedMap);

impl Place for InMap {
    type Store = KeyValueStore<SharedMap>;

    fn try_open(&self) -> Result<Self::Store, LoadError> {
        KeyValueStore::open(self.0.clone())
    }

    fn kept(&self) -> u64 {
        registrations(self.0.clone())
    }
}

pub struct InFiles(pub TempDir);

impl Default for InFiles {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Place for InFiles {
    type Store = KeyValueStore<FileMap>;

    const MANY: u64 = 200;

    fn try_open(&self) -> Result<Self::Store, LoadError> {
        KeyValueStore::open(FileMap { root: self.0.path().to_owned() })
    }

    fn kept(&self) -> u64 {
        registrations(FileMap { root: self.0.path().to_owned() })
    }
}

/// Their keys begin with an `r`.
fn registrations(mut map: impl KeyValue) -> u64 {
    let mut count = 0;
    map.iterate(b"r", &mut |_, _| count += 1).unwrap();
    count
}
