//! What is known of points, and the requests that wait for their turn at each.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use libp2p_identity::PeerId;

use super::{
    config::{ClientConfig, POINTS_IDLE_MAX},
    memory::PointMemory,
    outbound::QueryId,
    standing::StandingId,
    walk::WorkBucket,
};
use crate::Time;

/// Something that wants to send a request. What it sends is decided when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Standing(StandingId),
    Query(QueryId),
}

#[derive(Debug, Default)]
struct Point {
    memory: PointMemory,
    backoff: Backoff,
    listing_backoff: ListingBackoff,
    work: WorkBucket,
    standings: BTreeSet<StandingId>,
    queue: VecDeque<Work>,
    /// Whether the point stands in the ring of those with work and room.
    is_in_ring: bool,
    in_flight: usize,
    /// Place among the idle points, if this is one.
    idle_since: Option<u64>,
}

/// How long a point that does not answer is left alone. One for all that is asked of it.
#[derive(Debug, Default)]
struct Backoff {
    /// Failures since the last answer, of which those within one back-off count once.
    failures: u32,
    until: Option<Time>,
    /// Whether a new connection ends it.
    waits_for_connection: bool,
}

/// How long lookups leave a point alone whose listing reached a limit. Other answers of the point do not end it: a point
/// that answers everything else well could otherwise have its listing read without a pause.
#[derive(Debug, Default)]
struct ListingBackoff {
    /// Walks in a row that reached a limit.
    cuts: u32,
    until: Option<Time>,
}

impl Point {
    fn is_idle(&self) -> bool {
        self.standings.is_empty() && self.queue.is_empty() && self.in_flight == 0
    }
}

/// The points, each with its own queue; they take turns.
#[derive(Debug)]
pub(super) struct Points {
    in_flight_max: usize,
    points: BTreeMap<PeerId, Point>,
    ring: VecDeque<PeerId>,
    /// Points with nothing to do, the longest idle first: these alone are forgotten.
    idle: BTreeMap<u64, PeerId>,
    /// Grows with every point that becomes idle.
    idle_count: u64,
}

impl Points {
    pub(super) fn new(in_flight_max: usize) -> Self {
        Self {
            in_flight_max: in_flight_max.max(1),
            points: BTreeMap::new(),
            ring: VecDeque::new(),
            idle: BTreeMap::new(),
            idle_count: 0,
        }
    }

    pub(super) fn memory(&self, point: &PeerId) -> Option<&PointMemory> {
        self.points.get(point).map(|point| &point.memory).filter(|memory| **memory != PointMemory::default())
    }

    /// The points of which something is known.
    pub(super) fn memories(&self) -> impl Iterator<Item = (&PeerId, &PointMemory)> {
        let known = self.points.iter().map(|(peer, point)| (peer, &point.memory));
        known.filter(|(_, memory)| **memory != PointMemory::default())
    }

    /// Changes what is known of a point.
    pub(super) fn learn(&mut self, point: PeerId, change: impl FnOnce(&mut PointMemory)) {
        self.update(point, |point| change(&mut point.memory));
    }

    pub(super) fn is_dual(&self, point: &PeerId) -> bool {
        self.points.get(point).is_some_and(|point| point.memory.is_dual)
    }

    /// Until when a point is left alone.
    pub(super) fn backoff_until(&self, point: &PeerId, now: Time) -> Option<Time> {
        self.points.get(point)?.backoff.until.filter(|until| *until > now)
    }

    /// A point has not answered, or not as one should: it is left alone for as long as `wait` says of the number of
    /// failures before. Gives the end of that.
    pub(super) fn failed(
        &mut self,
        point: PeerId,
        now: Time,
        waits_for_connection: bool,
        wait: impl FnOnce(u32) -> Duration,
    ) -> Time {
        let known = self.backoff_until(&point, now);
        let mut end = now;
        self.update(point, |point| {
            let backoff = &mut point.backoff;
            end = known.unwrap_or_else(|| {
                let end = now + wait(backoff.failures);
                backoff.failures = backoff.failures.saturating_add(1);
                end
            });
            (backoff.until, backoff.waits_for_connection) = (Some(end), waits_for_connection);
        });
        end
    }

    /// A point has answered.
    pub(super) fn succeeded(&mut self, point: PeerId) {
        if let Some(point) = self.points.get_mut(&point) {
            point.backoff = Backoff::default();
        }
    }

    /// A walk at a point reached a limit: lookups leave it alone for as long as `wait` says of the number of such walks
    /// before.
    pub(super) fn listing_cut(&mut self, point: PeerId, now: Time, wait: impl FnOnce(u32) -> Duration) {
        self.update(point, |point| {
            let backoff = &mut point.listing_backoff;
            backoff.until = backoff.until.max(Some(now + wait(backoff.cuts)));
            backoff.cuts = backoff.cuts.saturating_add(1);
        });
    }

    /// A walk at a point has ended by itself. The count is halved and not forgotten, so that good and endless listings in
    /// turn are not read at full pace.
    pub(super) fn listing_ended(&mut self, point: PeerId) {
        if let Some(Point { listing_backoff, .. }) = self.points.get_mut(&point) {
            listing_backoff.cuts /= 2;
        }
    }

    /// Forgets what the listings of a point have cost.
    pub(super) fn forget_listings(&mut self, point: &PeerId) {
        if let Some(point) = self.points.get_mut(point) {
            (point.listing_backoff, point.work) = Default::default();
        }
    }

    /// The answers of a point have cost this.
    pub(super) fn charge(&mut self, point: PeerId, now: Time, work: Duration, share_percent: u32) {
        self.update(point, |point| point.work.charge(now, work, share_percent));
    }

    /// When lookups may ask a point; `None` for at once. Both its back-off for listings and the work that its answers make
    /// count.
    pub(super) fn listing_at(&mut self, point: &PeerId, now: Time, config: &ClientConfig) -> Option<Time> {
        let until = self.listing_backoff_until(point, now);
        until.max(self.work_done_at(point, now, config))
    }

    /// Until when lookups leave a point alone because its listing reached a limit.
    pub(super) fn listing_backoff_until(&self, point: &PeerId, now: Time) -> Option<Time> {
        self.points.get(point)?.listing_backoff.until.filter(|until| *until > now)
    }

    /// When the work that the answers of a point make is within its share; `None` if it is.
    pub(super) fn work_done_at(&mut self, point: &PeerId, now: Time, config: &ClientConfig) -> Option<Time> {
        self.points.get_mut(point)?.work.ready_at(now, config.work_burst, config.work_share_percent)
    }

    /// There is a connection to a point.
    pub(super) fn connected(&mut self, point: &PeerId) {
        if let Some(Point { backoff, .. }) = self.points.get_mut(point)
            && backoff.waits_for_connection
        {
            backoff.until = None;
        }
    }

    pub(super) fn standings(&self, point: &PeerId) -> Vec<StandingId> {
        self.points.get(point).map(|point| point.standings.iter().copied().collect()).unwrap_or_default()
    }

    pub(super) fn add_standing(&mut self, point: PeerId, id: StandingId) {
        self.update(point, |point| {
            point.standings.insert(id);
        });
    }

    pub(super) fn remove_standing(&mut self, point: PeerId, id: StandingId) {
        self.update(point, |point| {
            point.standings.remove(&id);
        });
    }

    /// Queues work at a point; `first` puts it before what waits.
    pub(super) fn push(&mut self, point: PeerId, work: Work, first: bool) {
        self.update(point, |point| {
            if first {
                point.queue.push_front(work);
            } else {
                point.queue.push_back(work);
            }
        });
        self.join_ring(point);
    }

    /// The next work whose point has room. Whoever sends a request for it says so with [`started`](Self::started).
    pub(super) fn next_work(&mut self) -> Option<(PeerId, Work)> {
        while let Some(peer) = self.ring.pop_front() {
            let in_flight_max = self.in_flight_max;
            let Some(point) = self.points.get_mut(&peer) else { continue };
            point.is_in_ring = false;
            if point.in_flight >= in_flight_max {
                continue;
            }
            let work = point.queue.pop_front();
            self.join_ring(peer);
            self.update(peer, |_| {});
            if let Some(work) = work {
                return Some((peer, work));
            }
        }
        None
    }

    pub(super) fn started(&mut self, point: PeerId) {
        self.update(point, |point| point.in_flight += 1);
    }

    pub(super) fn finished(&mut self, point: PeerId) {
        self.update(point, |point| point.in_flight = point.in_flight.saturating_sub(1));
        self.join_ring(point);
    }

    /// Points remembered, in use or not.
    pub(super) fn len(&self) -> usize {
        self.points.len()
    }

    fn join_ring(&mut self, peer: PeerId) {
        if let Some(point) = self.points.get_mut(&peer)
            && !point.is_in_ring
            && !point.queue.is_empty()
            && point.in_flight < self.in_flight_max
        {
            point.is_in_ring = true;
            self.ring.push_back(peer);
        }
    }

    /// Changes a point, created where it is new, and keeps the list of idle ones.
    fn update(&mut self, peer: PeerId, change: impl FnOnce(&mut Point)) {
        let point = self.points.entry(peer).or_default();
        change(point);
        match (point.is_idle(), point.idle_since) {
            (true, None) => {
                self.idle_count += 1;
                point.idle_since = Some(self.idle_count);
                self.idle.insert(self.idle_count, peer);
            }
            (false, Some(since)) => {
                point.idle_since = None;
                self.idle.remove(&since);
            }
            (true, Some(_)) | (false, None) => {}
        }
        while self.idle.len() > POINTS_IDLE_MAX
            && let Some((_, forgotten)) = self.idle.pop_first()
        {
            self.points.remove(&forgotten);
        }
    }
}
