//! A store on top of anything that keeps keys and values: what all durable stores have in common.

use std::collections::HashMap;

use rendezvous_core::{
    Time,
    server::{Change, Kept},
};

use crate::{
    engine::{Engine, Write},
    error::{CommitError, Damage, LoadError},
    format::{self, FORMAT, REGISTRATION_PREFIX, SUMMARY_KEY, Summary, Unreadable},
    store::{Last, Loaded, Store},
};

/// Entries that one write drops at the start.
const DROPS_PER_WRITE: usize = 4_096;

/// Takes a key, its value, and what they say.
pub(crate) type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8], Kept);

/// Keeps each registration under its key, and a [`Summary`] of them all.
#[derive(Debug)]
pub(crate) struct Ledger<E> {
    engine: E,
    summary: Option<Summary>,
    /// What is to be put back once the engine works again: it may have kept a write that it reported as failed.
    undo: Option<Vec<Write>>,
}

/// What stands at a key, and what is to.
struct Entry {
    key: Vec<u8>,
    old: Option<Vec<u8>>,
    new: Option<Vec<u8>>,
}

impl<E: Engine> Ledger<E> {
    /// A ledger over an engine that holds one already, or nothing.
    pub(crate) fn open(mut engine: E) -> Result<Self, LoadError> {
        let value = engine.get(SUMMARY_KEY).map_err(unreadable)?;
        let summary = match value.map(|value| Summary::decode(&value)) {
            None => None,
            Some(Ok(summary)) => Some(summary),
            Some(Err(Unreadable::Changed)) => return Err(Damage::Summary.into()),
            Some(Err(Unreadable::Format(found))) => return Err(LoadError::Format { found, known: FORMAT }),
        };
        if summary.is_none() {
            let mut has_entries = false;
            engine.scan(REGISTRATION_PREFIX, &mut |_, _| has_entries = true)?;
            if has_entries {
                return Err(Damage::Summary.into());
            }
        }
        Ok(Self { engine, summary, undo: None })
    }

    pub(crate) fn summary(&self) -> Option<&Summary> {
        self.summary.as_ref()
    }

    /// Hands out every registration, and says whether all are as they were written.
    pub(crate) fn read(&mut self, each: Each<'_>) -> Result<(), LoadError> {
        let expected = self.summary.unwrap_or_default();
        let mut found = Summary::default();
        let mut damaged = 0;
        self.engine.scan(REGISTRATION_PREFIX, &mut |key, value| {
            found.replace(None, Some(value));
            match format::kept(key, value) {
                Some(kept) => each(key, value, kept),
                None => damaged += 1,
            }
        })?;
        if damaged > 0 {
            return Err(Damage::Checksums { damaged, expected: expected.registrations }.into());
        }
        if (found.registrations, found.sum) != (expected.registrations, expected.sum) {
            let (expected, found) = (expected.registrations, found.registrations);
            return Err(Damage::Registrations { expected, found }.into());
        }
        Ok(())
    }

    /// Writes entries and the summary that they come to, as one.
    fn write(&mut self, mut summary: Summary, entries: Vec<Entry>) -> Result<(), CommitError> {
        let mut undo = Vec::with_capacity(entries.len() + 1);
        let mut writes = Vec::with_capacity(entries.len() + 1);
        for Entry { key, old, new } in entries {
            if old == new {
                continue;
            }
            summary.replace(old.as_deref(), new.as_deref());
            undo.push((key.clone(), old));
            writes.push((key, new));
        }
        summary.serial += 1;
        writes.push((SUMMARY_KEY.to_vec(), Some(summary.encode())));
        if let Err(error) = self.engine.write(&writes) {
            self.undo = Some(undo);
            return Err(error);
        }
        self.engine.acknowledged(&summary);
        self.summary = Some(summary);
        Ok(())
    }

    /// Brings the engine back to what was acknowledged, if its last write failed.
    fn recover(&mut self) -> Result<(), CommitError> {
        let Some(undo) = &self.undo else { return Ok(()) };
        self.engine.recover()?;
        let found = self.engine.get(SUMMARY_KEY)?.map(|value| Summary::decode(&value)).transpose();
        let found = found.map_err(|_| Damage::Summary)?;
        let (acknowledged, serial) = (self.summary.unwrap_or_default(), found.unwrap_or_default().serial);
        if found == self.summary {
            self.undo = None;
            return Ok(());
        }
        if serial <= acknowledged.serial {
            return Err(Damage::Commits { commits: acknowledged.serial - serial }.into());
        }
        // It took what it reported as failed; the peers were told that it did not. It may have taken the undoing of it, too.
        let summary = Summary { serial: serial + 1, ..acknowledged };
        let mut writes = undo.clone();
        writes.push((SUMMARY_KEY.to_vec(), Some(summary.encode())));
        self.engine.write(&writes)?;
        self.engine.acknowledged(&summary);
        self.summary = Some(summary);
        self.undo = None;
        Ok(())
    }
}

impl<E: Engine> Store for Ledger<E> {
    fn last(&mut self) -> Result<Option<Last>, LoadError> {
        Ok(self.summary.map(|summary| Last {
            position: summary.position,
            time: summary.time,
            registrations: summary.registrations,
        }))
    }

    fn load(&mut self, now: Time, each: &mut dyn FnMut(Kept) -> Result<(), Damage>) -> Result<Loaded, LoadError> {
        let mut loaded = Loaded::default();
        let mut ended: Vec<Entry> = Vec::new();
        let mut refused = None;
        self.read(&mut |key, value, mut kept| {
            let records = kept.records.len();
            kept.records.retain(|record| record.ends > now);
            let live = kept.records.len();
            loaded.ended += (records - live) as u64;
            if live < records {
                let new = (live > 0).then(|| format::value(key, &kept));
                ended.push(Entry { key: key.to_vec(), old: Some(value.to_vec()), new });
            }
            if live > 0 && refused.is_none() {
                loaded.registrations += 1;
                refused = each(kept).err();
            }
        })?;
        if let Some(damage) = refused {
            return Err(damage.into());
        }
        let mut ended = ended.into_iter().peekable();
        while ended.peek().is_some() {
            let entries = ended.by_ref().take(DROPS_PER_WRITE).collect();
            let summary = self.summary.unwrap_or_default();
            if let Err(error) = self.write(summary, entries) {
                // They are left out whenever the store is read.
                tracing::warn!(%error, "registrations that have ended stay in the store until the next start");
                break;
            }
        }
        Ok(loaded)
    }

    fn commit(&mut self, now: Time, changes: &[Change]) -> Result<(), CommitError> {
        self.recover()?;
        let mut summary = self.summary.unwrap_or_default();
        summary.time = summary.time.max(now);
        // Several changes of one registration are one write.
        let mut folded: Vec<(Entry, Option<Kept>)> = Vec::with_capacity(changes.len());
        let mut places: HashMap<Vec<u8>, usize> = HashMap::with_capacity(changes.len());
        for change in changes {
            summary.position = summary.position.max(change.position().unwrap_or(0));
            let key = format::key(change.peer(), change.namespace());
            let place = match places.get(&key) {
                Some(&place) => place,
                None => {
                    let old = self.engine.get(&key)?;
                    let before = old.as_deref().map(|value| {
                        let damage = Damage::Checksums { damaged: 1, expected: summary.registrations };
                        format::kept(&key, value).ok_or(damage)
                    });
                    places.insert(key.clone(), folded.len());
                    folded.push((Entry { key, old, new: None }, before.transpose()?));
                    folded.len() - 1
                }
            };
            let (_, kept) = &mut folded[place];
            *kept = Kept::fold(kept.take(), change);
        }
        let entries = folded.into_iter().map(|(entry, kept)| {
            let new = kept.map(|kept| format::value(&entry.key, &kept));
            Entry { new, ..entry }
        });
        self.write(summary, entries.collect())
    }
}

/// A read that failed before anything is known of the store.
fn unreadable(error: CommitError) -> LoadError {
    match error {
        CommitError::Damaged(damage) => damage.into(),
        error => LoadError::Engine(Box::new(error)),
    }
}
