//! What all peers of the test know at a time, for the thread that checks it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use libp2p::PeerId;

/// Who knows whom, and who is dead since when.
#[derive(Debug, Default)]
pub(crate) struct World {
    facts: Mutex<Facts>,
    has_changed: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// By each live peer: whom it has been told of.
    known: BTreeMap<PeerId, BTreeSet<PeerId>>,
    dead: BTreeMap<PeerId, Instant>,
    /// What must not be, as it was seen.
    violations: Vec<String>,
    /// Found, updated, expired: what peers were told in all.
    pub(crate) told: [u64; 3],
}

impl World {
    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().expect("whoever held it has not panicked")
    }

    fn change<T>(&self, change: impl FnOnce(&mut Facts) -> T) -> T {
        let result = change(&mut self.lock());
        self.has_changed.notify_all();
        result
    }

    pub(crate) fn joined(&self, peer: PeerId) {
        self.change(|facts| {
            facts.known.insert(peer, BTreeSet::new());
            facts.dead.remove(&peer);
        });
    }

    pub(crate) fn left(&self, peer: PeerId) {
        self.change(|facts| {
            facts.known.remove(&peer);
            facts.dead.insert(peer, Instant::now());
        });
    }

    pub(crate) fn found(&self, by: PeerId, peer: PeerId, is_new: bool) {
        self.change(|facts| {
            facts.told[usize::from(!is_new)] += 1;
            let Some(known) = facts.known.get_mut(&by) else { return };
            if known.insert(peer) != is_new {
                facts.violations.push(format!("{by}: {peer} is told as new: {is_new}, and it is not so"));
            }
        });
    }

    pub(crate) fn expired(&self, by: PeerId, peer: PeerId) {
        self.change(|facts| {
            facts.told[2] += 1;
            if facts.known.get_mut(&by).is_some_and(|known| !known.remove(&peer)) {
                facts.violations.push(format!("{by}: {peer} is gone that was not there"));
            }
        });
    }

    /// Watches for some time; who is dead longer than this must not be known.
    pub(crate) fn watch(&self, time: Duration, dead_max: Duration) {
        let end = Instant::now() + time;
        let mut facts = self.lock();
        loop {
            facts.check(dead_max);
            // The dead are looked after even where nothing changes.
            let left = end.saturating_duration_since(Instant::now()).min(Duration::from_millis(250));
            if left.is_zero() {
                return;
            }
            (facts, _) = self.has_changed.wait_timeout(facts, left).expect("whoever held it has not panicked");
        }
    }

    /// Waits until every live peer knows all others, and nobody else; how long that took. `None` if it is not so in time.
    pub(crate) fn settle(&self, limit: Duration) -> Option<Duration> {
        let start = Instant::now();
        let mut facts = self.lock();
        while !facts.is_settled() {
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return None;
            }
            (facts, _) = self.has_changed.wait_timeout(facts, left).expect("whoever held it has not panicked");
        }
        Some(start.elapsed())
    }

    pub(crate) fn told(&self) -> [u64; 3] {
        self.lock().told
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    /// Who misses whom, and who knows whom that is not there.
    pub(crate) fn differences(&self) -> Vec<String> {
        let facts = self.lock();
        let live: BTreeSet<PeerId> = facts.known.keys().copied().collect();
        let difference = |(by, known): (&PeerId, &BTreeSet<PeerId>)| {
            let missing: Vec<_> = live.difference(known).filter(|peer| *peer != by).collect();
            let dead: Vec<_> = known.difference(&live).collect();
            (!missing.is_empty() || !dead.is_empty()).then(|| format!("{by} misses {missing:?} and keeps {dead:?}"))
        };
        facts.known.iter().filter_map(difference).collect()
    }
}

impl Facts {
    fn is_settled(&self) -> bool {
        self.known.iter().all(|(by, known)| {
            known.len() + 1 == self.known.len() && known.iter().all(|peer| peer != by && self.known.contains_key(peer))
        })
    }

    fn check(&mut self, dead_max: Duration) {
        for (dead, since) in &self.dead {
            for (by, _) in self.known.iter().filter(|(_, known)| known.contains(dead)) {
                if since.elapsed() > dead_max {
                    self.violations.push(format!("{by} lists {dead}, which is dead for {:?}", since.elapsed()));
                }
            }
        }
    }
}
