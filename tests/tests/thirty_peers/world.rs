//! What all peers of the test know at a time, for the thread that checks it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, PeerId};

/// Who knows whom, and who is dead since when.
#[derive(Debug, Default)]
pub(crate) struct World {
    facts: Mutex<Facts>,
    has_changed: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// By each live peer: whom it has been told of, and where.
    known: BTreeMap<PeerId, BTreeMap<PeerId, Vec<Multiaddr>>>,
    /// Where each live peer is.
    live: BTreeMap<PeerId, Multiaddr>,
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

    pub(crate) fn joined(&self, peer: PeerId, address: Multiaddr) {
        self.change(|facts| {
            facts.known.insert(peer, BTreeMap::new());
            facts.live.insert(peer, address);
            facts.dead.remove(&peer);
        });
    }

    pub(crate) fn left(&self, peer: PeerId) {
        self.change(|facts| {
            facts.known.remove(&peer);
            facts.live.remove(&peer);
            facts.dead.insert(peer, Instant::now());
        });
    }

    pub(crate) fn found(&self, by: PeerId, peer: PeerId, addresses: &[Multiaddr], is_new: bool) {
        self.change(|facts| {
            facts.told[usize::from(!is_new)] += 1;
            let Some(known) = facts.known.get_mut(&by) else { return };
            if known.insert(peer, addresses.to_vec()).is_none() != is_new {
                facts.violations.push(format!("{by}: {peer} is told as new: {is_new}, and it is not so"));
            }
        });
    }

    pub(crate) fn expired(&self, by: PeerId, peer: PeerId) {
        self.change(|facts| {
            facts.told[2] += 1;
            if facts.known.get_mut(&by).is_some_and(|known| known.remove(&peer).is_none()) {
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

    /// Waits until every live peer knows all others and where they are, and nobody else; how long that took. `None` if it is not so in time.
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
        let difference = |(by, known): (&PeerId, &BTreeMap<PeerId, Vec<Multiaddr>>)| {
            let missing: Vec<_> = live.iter().filter(|peer| *peer != by && !known.contains_key(peer)).collect();
            let wrong: Vec<_> = known.iter().filter(|(peer, addresses)| !facts.is_at(peer, addresses)).collect();
            (!missing.is_empty() || !wrong.is_empty()).then(|| format!("{by} misses {missing:?} and keeps {wrong:?}"))
        };
        facts.known.iter().filter_map(difference).collect()
    }
}

impl Facts {
    fn is_settled(&self) -> bool {
        self.known.iter().all(|(by, known)| {
            known.len() + 1 == self.known.len()
                && known.iter().all(|(peer, addresses)| peer != by && self.is_at(peer, addresses))
        })
    }

    /// Whether a peer lives, and is at one of these addresses.
    fn is_at(&self, peer: &PeerId, addresses: &[Multiaddr]) -> bool {
        self.live.get(peer).is_some_and(|address| addresses.contains(address))
    }

    fn check(&mut self, dead_max: Duration) {
        for (dead, since) in &self.dead {
            for (by, _) in self.known.iter().filter(|(_, known)| known.contains_key(dead)) {
                if since.elapsed() > dead_max {
                    self.violations.push(format!("{by} lists {dead}, which is dead for {:?}", since.elapsed()));
                }
            }
        }
    }
}
