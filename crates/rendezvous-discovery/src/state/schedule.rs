//! What is wanted of which source, and when it is to be told.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use rendezvous_wire::Namespace;

use crate::{
    config::{self, INTERVAL_MIN},
    source::{SourceId, Timing, Urgency},
};

/// Something that is wanted of sources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    Advertise(Namespace),
    Request(Option<Namespace>),
}

/// What to tell a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Advertise(Namespace, Duration),
    Withdraw(Namespace),
    Request(Option<Namespace>, Urgency),
    Release(Option<Namespace>),
}

/// What is wanted, told to each source at once and then at its pace.
///
/// **Invariant:** a task has a due time, or the source has declined it, or it is to be undone.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    timings: BTreeMap<SourceId, Timing>,
    /// How often each is wanted.
    wanted: BTreeMap<Item, usize>,
    tasks: BTreeMap<(SourceId, Item), Task>,
    due: BTreeSet<(Instant, SourceId, Item)>,
    /// Tasks that the source was told and that nobody wants any more.
    undone: BTreeSet<(SourceId, Item)>,
}

#[derive(Debug, Default)]
struct Task {
    due: Option<Instant>,
    /// Whether the source was told and has not declined.
    is_told: bool,
    /// Whether the application has asked for it to be told now.
    is_forced: bool,
}

impl Schedule {
    pub(super) fn add_source(&mut self, now: Instant, source: SourceId, timing: Timing) {
        self.timings.insert(source, timing);
        for item in self.wanted.keys().cloned().collect::<Vec<_>>() {
            self.set_due(source, item, now);
        }
    }

    pub(super) fn remove_source(&mut self, source: SourceId) {
        self.timings.remove(&source);
        self.tasks.retain(|(it, _), _| *it != source);
        self.due.retain(|(_, it, _)| *it != source);
        self.undone.retain(|(it, _)| *it != source);
    }

    /// One more wants this.
    pub(super) fn want(&mut self, now: Instant, item: &Item) {
        let count = self.wanted.entry(item.clone()).or_default();
        *count += 1;
        if *count > 1 {
            return;
        }
        for source in self.timings.keys().copied().collect::<Vec<_>>() {
            self.undone.remove(&(source, item.clone()));
            self.set_due(source, item.clone(), now);
        }
    }

    /// One fewer wants this. The sources at which it is to be undone, if it was the last.
    pub(super) fn unwant(&mut self, item: &Item) -> Vec<SourceId> {
        let Some(count) = self.wanted.get_mut(item) else { return Vec::new() };
        *count -= 1;
        if *count > 0 {
            return Vec::new();
        }
        self.wanted.remove(item);
        let sources: Vec<SourceId> = self.timings.keys().copied().collect();
        let is_undone = |source: &SourceId| {
            let key = (*source, item.clone());
            let Some(task) = self.tasks.get_mut(&key) else { return false };
            if let Some(due) = task.due.take() {
                self.due.remove(&(due, key.0, key.1.clone()));
            }
            if !task.is_told {
                self.tasks.remove(&key);
                return false;
            }
            self.undone.insert(key);
            true
        };
        sources.into_iter().filter(is_undone).collect()
    }

    /// What is to be told now.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(SourceId, Act)> {
        if let Some((source, item)) = self.undone.pop_first() {
            self.tasks.remove(&(source, item.clone()));
            let act = match item {
                Item::Advertise(namespace) => Act::Withdraw(namespace),
                Item::Request(namespace) => Act::Release(namespace),
            };
            return Some((source, act));
        }
        if self.due.first().is_none_or(|(due, ..)| *due > now) {
            return None;
        }
        let (_, source, item) = self.due.pop_first()?;
        let timing = self.timings.get(&source).copied().unwrap_or_default();
        let task = self.tasks.entry((source, item.clone())).or_default();
        task.is_told = true;
        let urgency = if std::mem::take(&mut task.is_forced) { Urgency::Now } else { Urgency::Due };
        let (act, interval) = match &item {
            Item::Advertise(namespace) => (Act::Advertise(namespace.clone(), timing.ttl), timing.tta),
            Item::Request(namespace) => (Act::Request(namespace.clone(), urgency), timing.ttr),
        };
        task.due = Some(config::after(now, interval.max(INTERVAL_MIN)));
        self.due.extend(task.due.map(|due| (due, source, item)));
        Some((source, act))
    }

    /// A source does not do this.
    pub(super) fn decline(&mut self, source: SourceId, item: &Item) {
        let key = (source, item.clone());
        if self.undone.remove(&key) {
            self.tasks.remove(&key);
            return;
        }
        let Some(task) = self.tasks.get_mut(&key) else { return };
        task.is_told = false;
        if let Some(due) = task.due.take() {
            self.due.remove(&(due, source, item.clone()));
        }
    }

    /// Requests for this are to be made now. The sources that will be asked.
    pub(super) fn hasten(&mut self, now: Instant, item: &Item) -> Vec<SourceId> {
        if !self.wanted.contains_key(item) {
            return Vec::new();
        }
        let sources: Vec<SourceId> = self.timings.keys().copied().collect();
        for source in &sources {
            self.set_due(*source, item.clone(), now);
            if let Some(task) = self.tasks.get_mut(&(*source, item.clone())) {
                task.is_forced = true;
            }
        }
        sources
    }

    /// All requests are to be made now.
    pub(super) fn hasten_requests(&mut self, now: Instant) {
        let requests: Vec<Item> = self.wanted.keys().filter(|item| matches!(item, Item::Request(_))).cloned().collect();
        for item in requests {
            self.hasten(now, &item);
        }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, ..)| *due)
    }

    pub(super) fn has_undone(&self) -> bool {
        !self.undone.is_empty()
    }

    fn set_due(&mut self, source: SourceId, item: Item, now: Instant) {
        let task = self.tasks.entry((source, item.clone())).or_default();
        if let Some(due) = task.due.replace(now) {
            self.due.remove(&(due, source, item.clone()));
        }
        self.due.insert((now, source, item));
    }
}
