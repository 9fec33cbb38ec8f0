//! A map that fails, or loses what it has not synced, at every one of its operations.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod common;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
};

use common::{
    maps::Entries,
    point::Point,
    scenario::{Step, expected, scenario},
};
use rendezvous_core::Time;
use rendezvous_record::Flavour;
use rendezvous_sim::fixtures::EPOCH;
use rendezvous_store::{CommitError, KeyValue, KeyValueStore, LoadError, Store as _};

/// What goes wrong at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It is not done, and fails.
    NotDone,
    /// It is done, and reported as failed.
    Done,
    /// As [`Self::NotDone`]; if it is a sync, those that come after it succeed without having done anything for what was
    /// to be synced, as a file system does.
    Forgotten,
    /// From here on nothing is done: the machine stops.
    Crash,
}

#[derive(Debug, Default)]
struct State {
    /// What is read.
    visible: Entries,
    /// What a crash leaves.
    durable: Entries,
    /// Keys whose change is to be synced.
    dirty: BTreeSet<Vec<u8>>,
    operations: usize,
    /// The first operation to fail, how, and how many of them.
    fault: Option<(usize, Fault, usize)>,
}

#[derive(Clone, Default)]
struct Faulty(Arc<Mutex<State>>);

#[derive(Debug, thiserror::Error)]
#[error("operation {0} was made to fail")]
struct Injected(usize);

impl Faulty {
    fn with(fault: Option<(usize, Fault, usize)>) -> Self {
        let faulty = Self::default();
        faulty.state().fault = fault;
        faulty
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Counts an operation, and does it as the fault has it.
    fn operate<T>(&self, act: impl FnOnce(&mut State, Option<Fault>) -> T) -> Result<T, Injected> {
        let mut state = self.state();
        state.operations += 1;
        let number = state.operations;
        let fault = state.fault.and_then(|(first, fault, count)| {
            let is_hit = number >= first && (fault == Fault::Crash || number < first + count);
            is_hit.then_some(fault)
        });
        match fault {
            None => Ok(act(&mut state, None)),
            Some(Fault::Done) => {
                act(&mut state, None);
                Err(Injected(number))
            }
            Some(Fault::Forgotten) => {
                act(&mut state, fault);
                Err(Injected(number))
            }
            Some(_) => Err(Injected(number)),
        }
    }

    /// The machine stops: of what was not synced, the keys that `is_kept` picks have reached the disk.
    fn crash(&self, mut is_kept: impl FnMut(&[u8]) -> bool) {
        let mut state = self.state();
        let state = &mut *state;
        for key in core::mem::take(&mut state.dirty) {
            if is_kept(&key) {
                copy(&key, &state.visible, &mut state.durable);
            }
        }
        state.visible = state.durable.clone();
        state.fault = None;
    }
}

fn copy(key: &[u8], from: &Entries, to: &mut Entries) {
    match from.get(key) {
        Some(value) => to.insert(key.to_vec(), value.clone()),
        None => to.remove(key),
    };
}

impl KeyValue for Faulty {
    type Error = Injected;

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Injected> {
        self.operate(|state, fault| {
            if fault.is_none() {
                state.visible.insert(key.to_vec(), value.to_vec());
                state.dirty.insert(key.to_vec());
            }
        })
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Injected> {
        self.operate(|state, fault| {
            if fault.is_none() {
                state.visible.remove(key);
                state.dirty.insert(key.to_vec());
            }
        })
    }

    fn iterate(&mut self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Injected> {
        let entries = self.operate(|state, _| state.visible.clone())?;
        entries.iter().filter(|(key, _)| key.starts_with(prefix)).for_each(|(key, value)| each(key, value));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Injected> {
        self.operate(|state, fault| {
            for key in core::mem::take(&mut state.dirty) {
                if fault.is_none() {
                    copy(&key, &state.visible, &mut state.durable);
                }
            }
        })
    }
}

type FaultyPoint = Point<KeyValueStore<Faulty>>;

/// Opens as often as the map fails meanwhile.
fn open(map: &Faulty, wall: Time) -> Option<FaultyPoint> {
    for _ in 0..40 {
        match KeyValueStore::open(map.clone()).and_then(|store| Point::open(store, wall)) {
            Ok(point) => return Some(point),
            Err(LoadError::Engine(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    None
}

struct Outcome {
    /// What was acknowledged.
    steps: Vec<Step>,
    /// What was under way when the machine stopped.
    last: Option<Step>,
    now: Time,
}

/// Runs the scenario. A crash ends it; after other faults it goes on.
fn run(map: &Faulty, has_crashes: bool) -> Outcome {
    let mut outcome = Outcome { steps: Vec::new(), last: None, now: EPOCH };
    let Some(mut point) = open(map, EPOCH) else { return outcome };
    for step in scenario() {
        let result = match step {
            Step::Reopen(secs) => {
                outcome.now = point.now() + core::time::Duration::from_secs(secs);
                outcome.steps.push(step);
                // What was refused may be there after a restart, unless the store has recovered before.
                let recovered = has_crashes || (0..40).any(|_| point.store.commit(point.desk.now, &[]).is_ok());
                assert!(recovered, "it works again by itself");
                drop(point);
                let Some(opened) = open(map, outcome.now) else { return outcome };
                point = opened;
                continue;
            }
            ref step => step.run(&mut point),
        };
        outcome.now = point.now();
        match result {
            Ok(()) => outcome.steps.push(step),
            Err(CommitError::Engine(_)) if has_crashes => {
                outcome.last = Some(step);
                return outcome;
            }
            Err(CommitError::Engine(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(point.listing(), expected(&outcome.steps), "what the point serves is what was acknowledged");
    if !has_crashes {
        // The fault is over: the store works again by itself.
        let step = Step::Register((9, Flavour::Standard, "after", 3_600));
        let tries = (0..40).find(|_| step.run(&mut point).is_ok());
        assert!(tries.is_some(), "new commits work");
        outcome.steps.push(step);
    }
    outcome
}

fn operations() -> usize {
    let map = Faulty::default();
    run(&map, true);
    let operations = map.state().operations;
    assert!(operations > 90, "{operations}");
    operations
}

fn check_faults(fault: Fault, counts: &[usize]) {
    for first in 1..=operations() {
        for &count in counts {
            let map = Faulty::with(Some((first, fault, count)));
            let outcome = run(&map, false);
            // Once closed in order, once when the machine has stopped since: all of it had been synced.
            for _ in 0..2 {
                let mut point = open(&map, outcome.now).unwrap();
                let expected = expected(&outcome.steps);
                assert_eq!(point.listing(), expected, "{fault:?} of {count} operations from number {first}");
                map.crash(|_| false);
            }
        }
    }
}

#[test]
fn operations_that_are_not_done_leave_what_was_acknowledged() {
    check_faults(Fault::NotDone, &[1, 3]);
}

#[test]
fn operations_that_are_done_and_reported_as_failed_are_undone() {
    check_faults(Fault::Done, &[1, 2, 20]);
}

#[test]
fn syncs_that_forget_what_they_were_to_sync_lose_nothing() {
    check_faults(Fault::Forgotten, &[1, 2]);
}

#[test]
fn a_crash_at_any_operation_leaves_whole_commits() {
    for first in 1..=operations() {
        for kept in 0..4u32 {
            let map = Faulty::with(Some((first, Fault::Crash, 0)));
            let outcome = run(&map, true);
            let mut key_number = 0;
            map.crash(|_| {
                key_number += 1;
                match kept {
                    0 => false,
                    1 => true,
                    // Some of them, each time others.
                    _ => (first as u32 * 31 + kept * 7 + key_number * 13) % 5 < kept,
                }
            });
            let mut point = open(&map, outcome.now).unwrap();
            let listing = point.listing();
            let mut steps = outcome.steps;
            if listing != expected(&steps) {
                steps.push(outcome.last.expect("something was under way"));
                assert_eq!(listing, expected(&steps), "a crash at operation {first}");
            }
            let step = Step::Register((9, Flavour::Standard, "after", 3_600));
            step.run(&mut point).unwrap();
            steps.push(step);
            map.crash(|_| false);
            assert_eq!(open(&map, outcome.now).unwrap().listing(), expected(&steps));
        }
    }
}

#[test]
fn what_is_read_back_damaged_is_not_served() {
    let map = Faulty::default();
    let outcome = run(&map, true);
    let entries = map.state().visible.clone();
    let expected = expected(&outcome.steps);
    let damaged = |entries: Entries| {
        let map = Faulty::default();
        map.state().visible = entries;
        KeyValueStore::open(map).and_then(|store| Point::open(store, outcome.now))
    };
    for (key, value) in &entries {
        for at in 0..value.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut entries = entries.clone();
                entries.get_mut(key).unwrap()[at] ^= mask;
                check(damaged(entries), &expected);
            }
            let mut entries = entries.clone();
            entries.get_mut(key).unwrap().truncate(at);
            check(damaged(entries), &expected);
        }
        let mut fewer = entries.clone();
        fewer.remove(key);
        check(damaged(fewer), &expected);
        let mut moved = entries.clone();
        let value = moved.remove(key).unwrap();
        moved.insert([key, &b"x"[..]].concat(), value);
        check(damaged(moved), &expected);
    }
    // An empty map is a new store: a map cannot tell that it has lost everything.
    assert!(damaged(Entries::new()).unwrap().listing()[0].is_empty());
}

fn check(opened: Result<FaultyPoint, LoadError>, expected: &[Vec<rendezvous_sim::desk::Found>; 3]) {
    match opened {
        // The last commit is written down apart until the next one: what it wrote is written again.
        Ok(mut point) => assert_eq!(&point.listing(), expected),
        Err(error @ (LoadError::Damaged(_) | LoadError::Format { .. })) => {
            let line = error.to_string();
            assert!(!line.contains('\n') && line.len() < 200, "{line}");
        }
        Err(error) => panic!("{error}"),
    }
}
