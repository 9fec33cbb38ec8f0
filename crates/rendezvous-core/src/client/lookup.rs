//! Asking several points, again and again, as one question.

use core::time::Duration;
use std::collections::BTreeMap;

use libp2p_identity::PeerId;
use rendezvous_wire::{Dialect, Limit, Namespace};

use super::{
    Client, LOOKUP_POINTS_MAX, LOOKUPS_MAX, Timer,
    answer::{Discovered, Skipped, Unverified},
    config::{LOOKUP_EVERY_MIN, RETRY_MIN},
    cookies::Listing,
    event::Event,
    failure::Failure,
    merge::{Changes, Listed, Merge, Merged},
    outbound::{LookupId, QueryId},
    point::Work,
    query::Query,
    schedule,
    walk::{Meter, WalkLimit},
};
use crate::Time;

/// Where the last listing of everything had no more than this, a page, each poll lists everything.
const WHOLE_MAX: u64 = 1_000;

/// Otherwise polls ask for what is new, and every so many list everything.
const WHOLE_EVERY: u32 = 10;

/// How a lookup goes about it.
///
/// ```
/// use std::time::Duration;
/// use rendezvous_core::client::LookupConfig;
///
/// let config = LookupConfig { every: Some(Duration::from_secs(60)), ..LookupConfig::default() };
/// assert!(!config.lists_everything);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupConfig {
    /// Time from one poll of a point to its next, [`LOOKUP_EVERY_MIN`](super::LOOKUP_EVERY_MIN) to
    /// [`LOOKUP_EVERY_MAX`](super::LOOKUP_EVERY_MAX), jittered by an eighth. Peers renew with an eighth of their lifetime
    /// left: polls further apart than that see some of them gone for a while. Default: `None`, each point is asked once.
    pub every: Option<Duration>,
    /// Whether every poll lists everything, however much that is: see "Lookups" in the module's documentation.
    /// Default: no.
    pub lists_everything: bool,
    /// Most peers that are kept, each counted once for each point that lists it. The points have equal shares, so that
    /// none takes the room of another. Default: 20 000.
    pub peers_max: usize,
    /// Most bytes of their records, shared alike. Default: 16 MiB.
    pub peers_bytes_max: usize,
    /// Most bytes of answers in one poll of a point; see [`ClientConfig::walk_bytes_max`](super::ClientConfig). Whoever keeps
    /// more peers needs more: four times `peers_bytes_max` lets an honest point list what the lookup has room for, and as
    /// much again that it has not. Default: 64 MiB.
    pub walk_bytes_max: u64,
}

impl Default for LookupConfig {
    fn default() -> Self {
        Self {
            every: None,
            lists_everything: false,
            peers_max: 20_000,
            peers_bytes_max: 16 << 20,
            walk_bytes_max: 64 << 20,
        }
    }
}

/// The lookups.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    all: BTreeMap<LookupId, Lookup>,
    legs: usize,
    walks: usize,
}

impl Lookups {
    /// Polls that are under way; each has one query.
    pub(super) fn walks(&self) -> usize {
        self.walks
    }

    pub(super) fn legs(&self) -> usize {
        self.legs
    }

    pub(super) fn peers(&self) -> usize {
        self.all.values().map(|lookup| lookup.merge.peers()).sum()
    }

    pub(super) fn claims(&self) -> usize {
        self.all.values().map(|lookup| lookup.merge.claims()).sum()
    }

    /// Registrations that walks remember.
    pub(super) fn seen(&self) -> usize {
        let legs = self.all.values().flat_map(|lookup| lookup.legs.values());
        legs.filter_map(|leg| leg.walk.as_ref()?.meter.as_ref()).map(Meter::seen).sum()
    }

    pub(super) fn walk_bytes_max(&self, id: LookupId) -> Option<u64> {
        Some(self.all.get(&id)?.config.walk_bytes_max)
    }

    /// Takes what the walk that is at this query has used; it is given back with the page.
    pub(super) fn take_meter(&mut self, id: LookupId, point: &PeerId, query: QueryId) -> Option<Meter> {
        self.walk_at(id, point, query)?.meter.take()
    }

    /// A point has refused the cookie of the walk that is at this query.
    pub(super) fn count_cookie_refusal(&mut self, id: LookupId, point: &PeerId, query: QueryId) {
        if let Some(meter) = self.walk_at(id, point, query).and_then(|walk| walk.meter.as_mut()) {
            meter.count_cookie_refusal();
        }
    }

    fn walk_at(&mut self, id: LookupId, point: &PeerId, query: QueryId) -> Option<&mut Walk> {
        self.leg(id, point)?.walk.as_mut().filter(|walk| walk.query == query)
    }

    fn leg(&mut self, id: LookupId, point: &PeerId) -> Option<&mut Leg> {
        self.all.get_mut(&id)?.legs.get_mut(point)
    }

    /// Takes the walk of a leg, if it is at this query.
    fn take_walk(&mut self, id: LookupId, point: &PeerId, query: QueryId) -> Option<Walk> {
        let walk = self.leg(id, point)?.walk.take_if(|walk| walk.query == query)?;
        self.walks -= 1;
        Some(walk)
    }
}

#[derive(Debug)]
struct Lookup {
    namespace: Option<Namespace>,
    config: LookupConfig,
    legs: BTreeMap<PeerId, Leg>,
    merge: Merge,
    /// Number of the last walk at any point.
    walk: u64,
    is_ended: bool,
}

/// A lookup at one point.
#[derive(Debug, Default)]
struct Leg {
    /// When to poll next; `None` while a poll is under way, and behind the only one.
    due: Option<Time>,
    /// Whether that was commanded, and so does not wait for the point's back-off.
    is_commanded: bool,
    walk: Option<Walk>,
    last_try: Option<Time>,
    /// Polls that have failed in a row.
    failures: u32,
    waits_for_point: bool,
    /// What the last listing of everything had; `None` before the first.
    listed: Option<u64>,
    /// Polls since then.
    polls_since: u32,
}

/// A poll under way.
#[derive(Debug)]
struct Walk {
    query: QueryId,
    number: u64,
    /// Whether it began at the start of the listing.
    is_whole: bool,
    started_at: Time,
    /// What the poll has used; `None` only while a page is taken in.
    meter: Option<Meter>,
    listed: u64,
    skipped: Skipped,
}

/// A page that a point has listed for a lookup.
pub(super) struct Leaf {
    pub(super) query: QueryId,
    pub(super) registrations: Vec<Discovered>,
    pub(super) unverified: Vec<Unverified>,
    pub(super) skipped: Skipped,
    pub(super) more: bool,
    /// The limit that ends the walk here.
    pub(super) cut: Option<WalkLimit>,
    pub(super) meter: Meter,
}

impl Client {
    /// Asks these points who is registered under a name, or under any, and merges what they list, until
    /// [`end_lookup`](Self::end_lookup). See "Lookups" in the module's documentation.
    ///
    /// There may be [`LOOKUPS_MAX`] lookups, with [`LOOKUP_POINTS_MAX`] points added up over all of them; what is beyond
    /// fails.
    pub fn look_up(
        &mut self,
        now: Time,
        namespace: Option<Namespace>,
        points: impl IntoIterator<Item = PeerId>,
        config: LookupConfig,
    ) -> LookupId {
        self.advance(now);
        let id = LookupId(self.next_id());
        let refusal = if self.is_shutting_down {
            Some(Failure::ShutDown)
        } else if self.lookups.all.len() >= LOOKUPS_MAX {
            Some(Failure::AtCapacity)
        } else {
            None
        };
        if let Some(failure) = refusal {
            for point in points {
                let failure = failure.clone();
                self.events.push(Event::LookupFailed { lookup: id, point, failure, retry_at: None });
            }
            self.events.push(Event::LookupEnded { lookup: id });
            return id;
        }
        let merge = Merge::new(config.peers_max, config.peers_bytes_max);
        let lookup = Lookup { namespace, config, legs: BTreeMap::new(), merge, walk: 0, is_ended: false };
        self.lookups.all.insert(id, lookup);
        for point in points {
            self.add_leg(id, point);
        }
        self.check_ended(id);
        id
    }

    /// Adds a point to a lookup; it is asked at once. Where it is one already, nothing changes.
    ///
    /// `false` if there is no such lookup.
    pub fn add_lookup_point(&mut self, now: Time, id: LookupId, point: PeerId) -> bool {
        self.advance(now);
        if let Some(lookup) = self.lookups.all.get_mut(&id) {
            lookup.is_ended = false;
        }
        let is_known = self.add_leg(id, point);
        self.check_ended(id);
        is_known
    }

    /// Takes a point out of a lookup: it is asked no longer, and what it alone listed is gone.
    ///
    /// `false` if this is no point of such a lookup.
    pub fn remove_lookup_point(&mut self, now: Time, id: LookupId, point: &PeerId) -> bool {
        self.advance(now);
        let now = self.now;
        let Some(lookup) = self.lookups.all.get_mut(&id) else { return false };
        let Some(leg) = lookup.legs.remove(point) else { return false };
        self.lookups.legs -= 1;
        let mut changes = Changes::default();
        lookup.merge.remove_point(now, point, &mut changes);
        lookup.merge.share_between(lookup.legs.len(), now, &mut changes);
        let namespace = lookup.namespace.clone();
        self.forget_leg(id, *point, namespace, &leg);
        self.tell_changes(id, None, changes);
        self.check_ended(id);
        true
    }

    /// Polls all points of a lookup at once, also those in back-off. A poll that is under way serves for it. How often is
    /// the caller's choice.
    ///
    /// One thing is not overridden if the lookup has an interval: a point whose listing reached a
    /// [`WalkLimit`], or whose answers have used up their [share of a core](super::ClientConfig), is polled
    /// when it is due again. Otherwise a point that causes such commands would have its listing read without a pause.
    ///
    /// `false` if there is no such lookup.
    pub fn look_up_again(&mut self, now: Time, id: LookupId) -> bool {
        self.advance(now);
        let now = self.now;
        let Some(lookup) = self.lookups.all.get_mut(&id) else { return false };
        lookup.is_ended = false;
        for (point, leg) in lookup.legs.iter_mut().filter(|(_, leg)| leg.walk.is_none()) {
            (leg.due, leg.is_commanded) = (Some(now), true);
            self.timers.set(Timer::Leg(id, *point), Some(now));
        }
        self.begin_due_walks(id);
        true
    }

    /// Ends a lookup; no further event tells of it, and what it found is forgotten.
    ///
    /// `false` if there is no such lookup.
    pub fn end_lookup(&mut self, now: Time, id: LookupId) -> bool {
        self.advance(now);
        let Some(lookup) = self.lookups.all.remove(&id) else { return false };
        self.lookups.legs -= lookup.legs.len();
        for (point, leg) in &lookup.legs {
            self.forget_leg(id, *point, lookup.namespace.clone(), leg);
        }
        self.timers.set(Timer::Merge(id), None);
        true
    }

    /// What a lookup has found, in the order of names and peers: whoever is listed by one of its points and whose time
    /// has not ended. Empty if there is no such lookup.
    pub fn found(&self, now: Time, id: LookupId) -> impl Iterator<Item = Merged> {
        let now = self.now.max(now);
        self.lookups.all.get(&id).into_iter().flat_map(move |lookup| lookup.merge.iter(now))
    }

    /// The points of a lookup; empty if there is no such lookup.
    pub fn lookup_points(&self, id: LookupId) -> impl Iterator<Item = PeerId> {
        self.lookups.all.get(&id).into_iter().flat_map(|lookup| lookup.legs.keys().copied())
    }

    fn add_leg(&mut self, id: LookupId, point: PeerId) -> bool {
        let now = self.now;
        let Some(lookup) = self.lookups.all.get_mut(&id) else { return false };
        if lookup.legs.contains_key(&point) {
            return true;
        }
        if self.lookups.legs >= LOOKUP_POINTS_MAX {
            let failure = Failure::AtCapacity;
            self.events.push(Event::LookupFailed { lookup: id, point, failure, retry_at: None });
            return true;
        }
        self.lookups.legs += 1;
        lookup.legs.insert(point, Leg { due: Some(now), is_commanded: true, ..Leg::default() });
        let mut changes = Changes::default();
        lookup.merge.share_between(lookup.legs.len(), now, &mut changes);
        self.tell_changes(id, None, changes);
        self.begin_walk(id, point);
        true
    }

    /// The time of a leg has come.
    pub(super) fn begin_walk(&mut self, id: LookupId, point: PeerId) {
        let now = self.now;
        let left_alone_until = self.points.backoff_until(&point, now);
        let listing_at = self.points.listing_at(&point, now, &self.config);
        let dialect = self.dialect_of(&point);
        let query = QueryId(self.next_id());
        let Some(lookup) = self.lookups.all.get_mut(&id) else { return };
        let Some(leg) = lookup.legs.get_mut(&point) else { return };
        if leg.walk.is_some() || leg.due.is_none_or(|due| due > now) {
            return;
        }
        let is_held_back = lookup.config.every.is_some() && listing_at.is_some();
        let until = left_alone_until.filter(|_| !leg.is_commanded).max(listing_at.filter(|_| is_held_back));
        if let Some(until) = until {
            leg.due = Some(until);
            self.timers.set(Timer::Leg(id, point), leg.due);
            return;
        }
        (leg.due, leg.is_commanded, leg.last_try) = (None, false, Some(now));
        lookup.walk += 1;
        // In the Waku dialect it is a random choice, whatever is asked for.
        let can_be_whole = dialect == Dialect::Rendezvous;
        let is_whole = can_be_whole && (lookup.config.lists_everything || is_whole_due(leg.listed, leg.polls_since));
        let (number, skipped) = (lookup.walk, Skipped::default());
        leg.walk =
            Some(Walk { query, number, is_whole, started_at: now, meter: Some(Meter::new(now)), listed: 0, skipped });
        self.lookups.walks += 1;
        let namespace = lookup.namespace.clone();
        self.timers.set(Timer::Leg(id, point), None);
        self.ask_for_leg(query, query_of(point, namespace, is_whole, id));
    }

    fn begin_due_walks(&mut self, id: LookupId) {
        for point in self.lookup_points(id).collect::<Vec<_>>() {
            self.begin_walk(id, point);
        }
    }

    /// The work that a point's answers make is within its share again: the next page is asked for.
    pub(super) fn ask_on(&mut self, id: QueryId) {
        if let Some(query) = self.queries.get(&id) {
            self.points.push(query.point, Work::Query(id), false);
        }
    }

    fn ask_for_leg(&mut self, id: QueryId, query: Query) {
        let point = query.point;
        self.queries.insert(id, query);
        self.points.push(point, Work::Query(id), false);
    }

    /// A point has listed a page for a lookup.
    pub(super) fn leg_listed(&mut self, id: LookupId, point: PeerId, leaf: Leaf) {
        let now = self.now;
        let next = QueryId(self.next_id());
        let Some(mut walk) = self.lookups.take_walk(id, &point, leaf.query) else { return };
        let Some(lookup) = self.lookups.all.get_mut(&id) else { return };
        let mut changes = Changes::default();
        let mut meter = leaf.meter;
        walk.skipped += leaf.skipped;
        let verified = leaf.registrations.into_iter().map(Listed::from);
        for found in verified.chain(leaf.unverified.into_iter().map(Listed::from)) {
            walk.listed += 1;
            if !lookup.merge.list(now, point, walk.number, found, &mut changes) {
                walk.skipped.over_limit += 1;
            }
        }
        let Some(leg) = lookup.legs.get_mut(&point) else { return };
        if leaf.more {
            let namespace = lookup.namespace.clone();
            let work_done_at = self.points.work_done_at(&point, now, &self.config);
            if let Some(at) = work_done_at {
                meter.hold_back(at.saturating_since(now));
                self.pages_held_back = self.pages_held_back.saturating_add(1);
            }
            leg.walk = Some(Walk { query: next, meter: Some(meter), ..walk });
            self.lookups.walks += 1;
            self.tell_changes(id, Some(point), changes);
            let query = query_of(point, namespace, false, id);
            match work_done_at {
                Some(at) => {
                    self.queries.insert(next, query);
                    self.timers.set(Timer::Page(next), Some(at));
                }
                None => self.ask_for_leg(next, query),
            }
            return;
        }
        // A walk that was cut short has not seen everything.
        let is_whole = walk.is_whole && leaf.cut.is_none();
        if is_whole {
            lookup.merge.end_walk(now, &point, walk.number, &mut changes);
            (leg.listed, leg.polls_since) = (Some(walk.listed), 0);
        } else {
            leg.polls_since = leg.polls_since.saturating_add(1);
        }
        (leg.failures, leg.waits_for_point) = (0, false);
        leg.due = leg.due.or_else(|| {
            let every = lookup.config.every?;
            let listing_at = self.points.listing_at(&point, now, &self.config).unwrap_or(now);
            Some((walk.started_at + schedule::pace(every, &mut self.rng)).max(now + LOOKUP_EVERY_MIN).max(listing_at))
        });
        let next_at = leg.due;
        self.timers.set(Timer::Leg(id, point), leg.due);
        self.tell_changes(id, Some(point), changes);
        let Walk { listed, skipped, .. } = walk;
        self.events.push(Event::LookupPolled { lookup: id, point, is_whole, listed, skipped, cut: leaf.cut, next_at });
        self.check_ended(id);
    }

    /// A poll of a point has failed.
    pub(super) fn leg_failed(
        &mut self,
        id: LookupId,
        point: PeerId,
        query: QueryId,
        failure: Failure,
        left_alone_until: Option<Time>,
    ) {
        let now = self.now;
        let Some(walk) = self.lookups.take_walk(id, &point, query) else { return };
        let Some(lookup) = self.lookups.all.get_mut(&id) else { return };
        let Some(leg) = lookup.legs.get_mut(&point) else { return };
        let until =
            left_alone_until.unwrap_or_else(|| now + schedule::backoff(&self.config, leg.failures, &mut self.rng));
        leg.failures = leg.failures.saturating_add(1);
        leg.waits_for_point = failure.may_pass_with_connection();
        if let Some(every) = lookup.config.every {
            leg.due = Some((walk.started_at + schedule::pace(every, &mut self.rng)).max(until));
            leg.is_commanded = false;
        }
        let retry_at = leg.due;
        self.timers.set(Timer::Leg(id, point), retry_at);
        self.events.push(Event::LookupFailed { lookup: id, point, failure, retry_at });
        self.check_ended(id);
    }

    /// There is a connection to a point: polls that failed for want of one are tried now.
    pub(super) fn hasten_legs(&mut self, point: PeerId) {
        let now = self.now;
        let mut hastened = Vec::new();
        for (id, lookup) in &mut self.lookups.all {
            let Some(leg) = lookup.legs.get_mut(&point).filter(|leg| leg.waits_for_point) else { continue };
            // A connection that comes and goes makes no tight loop.
            let earliest = leg.last_try.map_or(now, |last| now.max(last + RETRY_MIN));
            leg.due = leg.due.map(|due| due.min(earliest));
            self.timers.set(Timer::Leg(*id, point), leg.due);
            hastened.push(*id);
        }
        for id in hastened {
            self.begin_walk(id, point);
        }
    }

    /// The time of something found has ended.
    pub(super) fn expire_found(&mut self, id: LookupId) {
        let mut changes = Changes::default();
        if let Some(lookup) = self.lookups.all.get_mut(&id) {
            lookup.merge.expire(self.now, &mut changes);
        }
        self.tell_changes(id, None, changes);
    }

    /// Ends all lookups; the client is shutting down.
    pub(super) fn end_lookups(&mut self) {
        let now = self.now;
        for id in self.lookups.all.keys().copied().collect::<Vec<_>>() {
            self.end_lookup(now, id);
            self.events.push(Event::LookupEnded { lookup: id });
        }
    }

    /// Tells the end of a lookup that asks once, when the last of its points has answered or failed.
    fn check_ended(&mut self, id: LookupId) {
        let Some(lookup) = self.lookups.all.get_mut(&id) else { return };
        let is_done = lookup.legs.values().all(|leg| leg.walk.is_none() && leg.due.is_none());
        if lookup.config.every.is_none() && is_done && !lookup.is_ended {
            lookup.is_ended = true;
            self.events.push(Event::LookupEnded { lookup: id });
        }
    }

    fn forget_leg(&mut self, id: LookupId, point: PeerId, namespace: Option<Namespace>, leg: &Leg) {
        if let Some(walk) = &leg.walk {
            self.lookups.walks -= 1;
            self.queries.remove(&walk.query);
            self.timers.set(Timer::Page(walk.query), None);
        }
        self.timers.set(Timer::Leg(id, point), None);
        self.cookies.remove(&Listing { point, namespace, lookup: Some(id) });
    }

    fn tell_changes(&mut self, id: LookupId, point: Option<PeerId>, changes: Changes) {
        let next_end = self.lookups.all.get(&id).and_then(|lookup| lookup.merge.next_end());
        self.timers.set(Timer::Merge(id), next_end);
        if !changes.is_empty() {
            let Changes { found, updated, gone } = changes;
            self.events.push(Event::LookupChanged { lookup: id, point, found, updated, gone });
        }
    }
}

/// A page that a lookup asks for.
fn query_of(point: PeerId, namespace: Option<Namespace>, is_fresh: bool, lookup: LookupId) -> Query {
    Query { point, namespace, limit: Limit::MAX, is_fresh, is_restart: false, lookup: Some(lookup) }
}

/// Whether a poll lists everything, where the last one to do so, so many polls ago, listed that many.
fn is_whole_due(listed: Option<u64>, polls_since: u32) -> bool {
    listed.is_none_or(|listed| listed <= WHOLE_MAX) || polls_since + 1 >= WHOLE_EVERY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_listed_whole_each_time_and_more_than_a_page_every_tenth_time() {
        assert!(is_whole_due(None, 0));
        assert!((0..20).all(|polls| is_whole_due(Some(WHOLE_MAX), polls)));
        let due: Vec<u32> = (0..10).filter(|polls| is_whole_due(Some(WHOLE_MAX + 1), *polls)).collect();
        assert_eq!(due, [9]);
    }
}
