//! A key-value map on a disk that fails and forgets, for the real store.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rendezvous_store::KeyValue;

use super::journal::{Failed, lock};

/// What is on the disk. It outlives the [`Map`]s that use it.
#[derive(Debug)]
pub(super) struct MapDisk {
    synced: BTreeMap<Vec<u8>, Vec<u8>>,
    /// As the process sees it.
    live: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Puts and deletes since the last sync; of these any part survives a crash.
    unsynced: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    rng: ChaCha8Rng,
    /// Of a thousand operations so many fail.
    pub(super) failing_per_mille: u32,
    /// Operations until the process is gone, and nothing is done any more.
    pub(super) dies_after: Option<u64>,
}

impl MapDisk {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            synced: BTreeMap::new(),
            live: BTreeMap::new(),
            unsynced: Vec::new(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            failing_per_mille: 0,
            dies_after: None,
        }
    }

    /// Registrations kept.
    pub(super) fn len(&self) -> usize {
        self.live.keys().filter(|key| key.first() == Some(&b'r')).count()
    }

    /// The process ends; of what is not synced a part survives, each operation whole or not at all.
    pub(super) fn crash(&mut self) {
        for (key, value) in core::mem::take(&mut self.unsynced) {
            if self.rng.random() {
                apply(&mut self.synced, key, value);
            }
        }
        self.live = self.synced.clone();
        self.dies_after = None;
        self.failing_per_mille = 0;
    }

    /// Does something, or fails before or after it.
    fn operate(&mut self, act: impl FnOnce(&mut Self)) -> Result<(), Failed> {
        if let Some(left) = &mut self.dies_after {
            *left = left.checked_sub(1).ok_or(Failed)?;
        }
        let fails = self.rng.random_range(0..1_000) < self.failing_per_mille;
        if !fails || self.rng.random() {
            act(self);
        }
        if fails { Err(Failed) } else { Ok(()) }
    }
}

fn apply(map: &mut BTreeMap<Vec<u8>, Vec<u8>>, key: Vec<u8>, value: Option<Vec<u8>>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

/// A process's hold of a [`MapDisk`].
#[derive(Debug)]
pub(super) struct Map(pub(super) Arc<Mutex<MapDisk>>);

impl Map {
    fn write(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), Failed> {
        lock(&self.0).operate(|disk| {
            let (key, value) = (key.to_vec(), value.map(<[u8]>::to_vec));
            apply(&mut disk.live, key.clone(), value.clone());
            disk.unsynced.push((key, value));
        })
    }
}

impl KeyValue for Map {
    type Error = Failed;

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failed> {
        self.write(key, Some(value))
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Failed> {
        self.write(key, None)
    }

    fn iterate(&mut self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Failed> {
        let mut disk = lock(&self.0);
        disk.operate(|_| {})?;
        disk.live.iter().filter(|(key, _)| key.starts_with(prefix)).for_each(|(key, value)| each(key, value));
        Ok(())
    }

    fn value_at(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Failed> {
        let mut disk = lock(&self.0);
        disk.operate(|_| {})?;
        Ok(disk.live.get(key).cloned())
    }

    fn sync(&mut self) -> Result<(), Failed> {
        lock(&self.0).operate(|disk| {
            disk.unsynced.clear();
            disk.synced = disk.live.clone();
        })
    }
}
