//! Deadlines, one per entity.

use std::collections::{BTreeMap, BTreeSet};

use crate::Time;

/// An index of deadlines in which every key has at most one: setting it again moves it.
#[derive(Debug)]
pub(super) struct Timers<K> {
    by_time: BTreeSet<(Time, K)>,
    of: BTreeMap<K, Time>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), of: BTreeMap::new() }
    }
}

impl<K: Copy + Ord> Timers<K> {
    /// Moves the deadline of `key`, or takes it away.
    pub(super) fn set(&mut self, key: K, at: Option<Time>) {
        let before = match at {
            Some(at) => self.of.insert(key, at),
            None => self.of.remove(&key),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, key));
        }
        if let Some(at) = at {
            self.by_time.insert((at, key));
        }
    }

    /// The earliest deadline.
    pub(super) fn first(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes a key whose deadline has come, the earliest first.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<K> {
        let &(at, key) = self.by_time.first()?;
        if at > now {
            return None;
        }
        self.set(key, None);
        Some(key)
    }

    pub(super) fn clear(&mut self) {
        self.by_time.clear();
        self.of.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_whose_deadline_was_moved_is_not_due_at_the_old_one() {
        let at = Time::from_unix_millis;
        let mut timers = Timers::default();
        timers.set('a', Some(at(10)));
        timers.set('b', Some(at(15)));
        timers.set('a', Some(at(20)));
        assert_eq!(timers.first(), Some(at(15)));
        assert_eq!(timers.pop_due(at(14)), None);
        assert_eq!(timers.pop_due(at(19)), Some('b'));
        assert_eq!(timers.pop_due(at(19)), None);
        timers.set('a', None);
        assert_eq!(timers.first(), None);
    }
}
