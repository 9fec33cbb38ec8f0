//! A commit that fails is undone before the next one, wherever it failed and wherever its undoing fails too.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may say so by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use libp2p_identity::PeerId;
use rendezvous_core::{
    Time,
    server::{Change, Origin, Put},
};
use rendezvous_record::Flavour;
use rendezvous_sim::fixtures::{self, EPOCH};
use rendezvous_store::{CommitError, KeyValue, KeyValueStore, Store};
use rendezvous_wire::Namespace;

/// Operations that a commit takes here at the most, with the undoing of the one before.
const OPERATIONS_MAX: u64 = 16;

#[derive(Debug, Default)]
struct Disk {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What a crash leaves for certain.
    synced: BTreeMap<Vec<u8>, Vec<u8>>,
    done: u64,
    /// The operation that fails, and whether it is carried out nevertheless.
    failing: Option<(u64, bool)>,
}

#[derive(Debug, thiserror::Error)]
#[error("no")]
struct No;

#[derive(Clone, Debug, Default)]
struct Map(Arc<Mutex<Disk>>);

impl Map {
    fn operate(&self, act: impl FnOnce(&mut Disk)) -> Result<(), No> {
        let mut disk = self.0.lock().unwrap();
        disk.done += 1;
        match disk.failing {
            Some((at, is_done)) if at == disk.done => {
                if is_done {
                    act(&mut disk);
                }
                Err(No)
            }
            _ => {
                act(&mut disk);
                Ok(())
            }
        }
    }

    /// The machine stops. Of what is not synced all survives but this entry.
    fn crash_without(&self, key: &[u8]) {
        let mut disk = self.0.lock().unwrap();
        match disk.synced.get(key).cloned() {
            Some(value) => disk.entries.insert(key.to_vec(), value),
            None => disk.entries.remove(key),
        };
        disk.synced = disk.entries.clone();
        disk.failing = None;
    }

    fn fail_at(&self, failing: Option<(u64, bool)>) {
        let mut disk = self.0.lock().unwrap();
        disk.done = 0;
        disk.failing = failing;
    }
}

impl KeyValue for Map {
    type Error = No;

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), No> {
        self.operate(|disk| drop(disk.entries.insert(key.to_vec(), value.to_vec())))
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), No> {
        self.operate(|disk| drop(disk.entries.remove(key)))
    }

    fn iterate(&mut self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), No> {
        self.operate(|disk| {
            disk.entries.iter().filter(|(key, _)| key.starts_with(prefix)).for_each(|(key, value)| each(key, value));
        })
    }

    fn sync(&mut self) -> Result<(), No> {
        self.operate(|disk| disk.synced = disk.entries.clone())
    }
}

fn put(number: u64) -> Change {
    let record = fixtures::record(number, Flavour::Standard);
    Change::Put(Put {
        peer: record.peer_id(),
        namespace: Namespace::new("chat").unwrap(),
        position: number,
        kind: Flavour::Standard.into(),
        record: record.envelope().clone(),
        ends: Time::from_unix_millis(EPOCH.as_unix_millis() + 3_600_000),
        origin: Origin::Unlocated,
    })
}

fn peers_after_restart(map: Map) -> BTreeSet<PeerId> {
    let mut peers = BTreeSet::new();
    let mut store = KeyValueStore::open(map).expect("what was acknowledged is whole");
    let load = store.load(EPOCH, &mut |kept| {
        peers.insert(kept.peer);
        Ok(())
    });
    load.expect("what was acknowledged is whole");
    peers
}

/// An undoing that failed, and was carried out all the same, was taken for a store that has lost commits: it took nothing
/// any more until the next start.
#[test]
fn a_commit_passes_after_any_failure_of_the_two_before_it() {
    let failures = || (1..=OPERATIONS_MAX).flat_map(|at| [(at, false), (at, true)]);
    for first_fails in failures() {
        for second_fails in failures() {
            let map = Map::default();
            let mut store = KeyValueStore::open(map.clone()).unwrap();
            let mut acknowledged = BTreeSet::new();
            let commits = [None, Some(first_fails), Some(second_fails), None];
            for (number, failing) in (1..).zip(commits) {
                map.fail_at(failing);
                let change = put(number);
                match store.commit(EPOCH, std::slice::from_ref(&change)) {
                    Ok(()) => drop(acknowledged.insert(*change.peer())),
                    Err(CommitError::Engine(_)) if failing.is_some() => {}
                    Err(error) => panic!("commit {number} after {first_fails:?} and {second_fails:?}: {error}"),
                }
            }
            assert_eq!(peers_after_restart(map), acknowledged, "after {first_fails:?} and {second_fails:?}");
        }
    }
}

/// A commit whose writing down was not synced was carried out before the next one, and could then be torn: the store was
/// damaged at the next start.
#[test]
fn a_crash_after_two_failures_loses_nothing_that_was_acknowledged() {
    let failures = || (1..=OPERATIONS_MAX).flat_map(|at| [(at, false), (at, true)]);
    for first_fails in failures() {
        for second_fails in failures() {
            let map = Map::default();
            let mut store = KeyValueStore::open(map.clone()).unwrap();
            let mut acknowledged = BTreeSet::new();
            for (number, failing) in (1..).zip([None, Some(first_fails), Some(second_fails)]) {
                map.fail_at(failing);
                let change = put(number);
                if store.commit(EPOCH, std::slice::from_ref(&change)).is_ok() {
                    acknowledged.insert(*change.peer());
                }
            }
            drop(store);
            map.crash_without(b"i");
            let found = peers_after_restart(map);
            assert!(found.is_superset(&acknowledged), "after {first_fails:?} and {second_fails:?}");
        }
    }
}
