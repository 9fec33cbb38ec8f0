//! The manager without its sources: what is wanted of them, and what they have told.
//!
//! A state machine without IO and clock: `now` is a parameter, and [`State::pop_act`] says what to tell which source.

mod advertisement;
mod find;
mod refresh;
mod schedule;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    task::Waker,
    time::Instant,
};

use rendezvous_wire::Namespace;

use self::{advertisement::Advertised, find::Finding, refresh::Refreshing, schedule::Schedule};
pub(crate) use self::{
    advertisement::AdvertisementId,
    find::FindId,
    refresh::RefreshId,
    schedule::{Act, Item},
};
use crate::{
    cache::Cache,
    config::{self, Config},
    peer::Peer,
    query::Query,
    source::{Report, SourceId, SourceName, Timing},
    stats::Stats,
};

/// What the handles of a manager share with its driver, behind one lock.
#[derive(Debug)]
pub(crate) struct State {
    config: Config,
    now: Instant,
    last_id: u64,
    sources: BTreeMap<SourceId, SourceName>,
    schedule: Schedule,
    cache: Cache,
    advertisements: BTreeMap<AdvertisementId, Advertised>,
    finds: BTreeMap<FindId, Finding>,
    refreshes: BTreeMap<RefreshId, Refreshing>,
    /// Names that are to be withdrawn at a source, and what has not been said to be done.
    withdrawing: BTreeSet<(SourceId, Namespace)>,
    /// Who waits for a withdrawal or for the end.
    waiting: Vec<Waker>,
    stage: Stage,
    leftovers: Leftovers,
}

/// What is to be done when the state is not locked any more. A waker may drop its task, and a predicate what it has captured; a
/// handle of the manager among that locks the state.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Leftovers {
    woken: Vec<Waker>,
    replaced: Vec<Waker>,
    queries: Vec<Query>,
}

impl Leftovers {
    /// Wakes whoever is to be woken, and drops the rest.
    pub(crate) fn finish(self) {
        self.woken.into_iter().for_each(Waker::wake);
    }

    fn wake(&mut self, waker: &mut Option<Waker>) {
        self.woken.extend(waker.take());
    }

    /// Notes who is to be woken.
    fn note(&mut self, waker: &mut Option<Waker>, new: &Waker) {
        if waker.as_ref().is_none_or(|known| !known.will_wake(new)) {
            self.replaced.extend(waker.replace(new.clone()));
        }
    }
}

/// Whether there is more to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// Withdrawals go on until then, at the latest.
    Stopping(Instant),
    Ended,
}

impl State {
    pub(crate) fn new(now: Instant, config: Config) -> Self {
        Self {
            config,
            now,
            last_id: 0,
            sources: BTreeMap::new(),
            schedule: Schedule::default(),
            cache: Cache::default(),
            advertisements: BTreeMap::new(),
            finds: BTreeMap::new(),
            refreshes: BTreeMap::new(),
            withdrawing: BTreeSet::new(),
            waiting: Vec::new(),
            stage: Stage::Running,
            leftovers: Leftovers::default(),
        }
    }

    /// A source joins. All that is wanted is told to it at once.
    pub(crate) fn add_source(&mut self, now: Instant, name: SourceName, timing: Timing) -> SourceId {
        self.advance(now);
        let id = SourceId::new(self.next_id());
        self.sources.insert(id, name);
        self.schedule.add_source(self.now, id, timing);
        id
    }

    /// A source is gone, and what it told with it.
    pub(crate) fn remove_source(&mut self, now: Instant, id: SourceId) -> bool {
        self.advance(now);
        if self.sources.remove(&id).is_none() {
            return false;
        }
        self.schedule.remove_source(id);
        self.cache.remove_source(id);
        self.withdrawing.retain(|(source, _)| *source != id);
        self.abandon_requests(id);
        self.tell_changes();
        self.wake_waiting();
        true
    }

    pub(crate) fn sources(&self) -> impl Iterator<Item = (SourceId, &SourceName)> {
        self.sources.iter().map(|(id, name)| (*id, name))
    }

    /// What is to be told to which source; what comes of it goes to [`handle_taken`](Self::handle_taken).
    pub(crate) fn pop_act(&mut self, now: Instant) -> Option<(SourceId, Act)> {
        self.advance(now);
        let (source, act) = self.schedule.pop(self.now)?;
        match &act {
            Act::Request(namespace, _) => self.issued(source, namespace.as_ref()),
            Act::Release(namespace) => {
                let until = config::after(self.now, self.config.cache_max_age);
                self.cache.shorten(source, namespace.as_ref(), until);
            }
            Act::Advertise(..) | Act::Withdraw(_) => {}
        }
        Some((source, act))
    }

    /// Whether a source goes about what it was told last.
    pub(crate) fn handle_taken(&mut self, source: SourceId, item: &Item, is_taken: bool) {
        if is_taken {
            return;
        }
        self.schedule.decline(source, item);
        match item {
            Item::Request(namespace) => self.answered_by(|it, name| it == source && name == namespace.as_ref()),
            Item::Advertise(namespace) => {
                self.withdrawing.remove(&(source, namespace.clone()));
                self.wake_waiting();
            }
        }
    }

    /// A source has something to say.
    pub(crate) fn handle_report(&mut self, now: Instant, source: SourceId, report: Report) {
        self.advance(now);
        let Some(name) = self.sources.get(&source) else { return };
        match report {
            Report::Found(found) => {
                if self.config.local_peer != Some(found.peer) {
                    self.cache.put(self.now, source, name, found, self.config.listings_per_source_max);
                }
            }
            Report::Gone { peer, namespace } => self.cache.remove(peer, source, namespace.as_ref()),
            Report::Requested { namespace } => self.answered_by(|it, name| it == source && name == namespace.as_ref()),
            Report::RequestFailed { namespace, failure } => {
                tracing::debug!(source = %name, ?namespace, %failure, "a request has failed");
                self.answered_by(|it, name| it == source && name == namespace.as_ref());
            }
            Report::Advertised { namespace, place, ttl } => {
                let name = name.clone();
                self.advertised(name, source, &namespace, place, Ok(ttl));
            }
            Report::AdvertiseFailed { namespace, place, failure } => {
                let name = name.clone();
                self.advertised(name, source, &namespace, place, Err(failure));
            }
            Report::Withdrawn { namespace, failure } => {
                if let Some(failure) = failure {
                    tracing::debug!(source = %name, %namespace, %failure, "not withdrawn");
                }
                self.withdrawing.remove(&(source, namespace));
                self.wake_waiting();
            }
        }
        self.tell_changes();
    }

    /// The time has come that [`poll_timeout`](Self::poll_timeout) told.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        self.cache.expire(self.now);
        self.tell_changes();
        self.expire_refreshes();
        let is_over = match self.stage {
            Stage::Running | Stage::Ended => false,
            Stage::Stopping(until) => self.now >= until || self.is_idle(),
        };
        if is_over {
            self.end();
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) or [`pop_act`](Self::pop_act) is to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let stop = match self.stage {
            Stage::Stopping(until) => Some(until),
            Stage::Running | Stage::Ended => None,
        };
        let refresh = self.refreshes.values().filter_map(Refreshing::until).min();
        [self.schedule.next_due(), self.cache.next_end(), refresh, stop].into_iter().flatten().min()
    }

    /// Everything is withdrawn and released, nothing new is taken, and streams end.
    pub(crate) fn stop(&mut self, now: Instant) {
        self.advance(now);
        if self.stage != Stage::Running {
            return;
        }
        self.stage = Stage::Stopping(config::after(self.now, self.config.stop_timeout));
        for id in self.advertisements.keys().copied().collect::<Vec<_>>() {
            self.end_advertisement(self.now, id);
        }
        for id in self.finds.keys().copied().collect::<Vec<_>>() {
            self.end_find(self.now, id);
        }
        self.wake_refreshes(|_| true);
    }

    /// The driver is gone.
    pub(crate) fn end(&mut self) {
        let now = self.now;
        self.stop(now);
        self.stage = Stage::Ended;
        self.withdrawing.clear();
        self.wake_waiting();
    }

    pub(crate) fn is_running(&self) -> bool {
        self.stage == Stage::Running
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// Whether nothing is left to be withdrawn.
    fn is_idle(&self) -> bool {
        self.withdrawing.is_empty() && !self.schedule.has_undone()
    }

    /// Wakes this one when a withdrawal, or the manager, has come to its end.
    pub(crate) fn wait(&mut self, waker: &Waker) {
        if !self.waiting.iter().any(|known| known.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
    }

    fn wake_waiting(&mut self) {
        self.leftovers.woken.append(&mut self.waiting);
    }

    /// Forgets who was found. Whoever follows a query is told that they are gone, and again of those that are told anew.
    pub(crate) fn clear(&mut self, now: Instant) {
        self.advance(now);
        self.cache.clear();
        self.tell_changes();
        self.schedule.hasten_requests(self.now);
    }

    /// Who matches, of those that were found and have not ended.
    pub(crate) fn cached(&mut self, now: Instant, query: &Query) -> Vec<Peer> {
        self.advance(now);
        self.cache.expire(self.now);
        self.tell_changes();
        self.cache.peers().filter(|peer| query.matches(peer.attributes())).cloned().collect()
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            sources: self.sources.len(),
            advertisements: self.advertisements.len(),
            finds: self.finds.len(),
            peers: self.cache.len(),
            listings: self.cache.listings(),
            refused: self.cache.refused(),
        }
    }

    pub(crate) fn take_leftovers(&mut self) -> Leftovers {
        std::mem::take(&mut self.leftovers)
    }

    /// Takes an instant in; time does not go back.
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}
