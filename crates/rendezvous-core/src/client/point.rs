//! What is known of points, and the requests that wait for their turn at each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use libp2p_identity::PeerId;
use rendezvous_record::Flavour;

use super::{config::POINTS_IDLE_MAX, outbound::QueryId, standing::StandingId};

/// Something that wants to send a request. What it sends is decided when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Standing(StandingId),
    Query(QueryId),
}

#[derive(Debug, Default)]
struct Point {
    /// The flavour that worked, once one has.
    flavour: Option<Flavour>,
    /// Whether the point keeps a record of each flavour.
    is_dual: bool,
    standings: BTreeSet<StandingId>,
    queue: VecDeque<Work>,
    /// Whether the point stands in the ring of those with work and room.
    is_in_ring: bool,
    in_flight: usize,
    /// Place among the idle points, if this is one.
    idle_since: Option<u64>,
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

    pub(super) fn flavour(&self, point: &PeerId) -> Option<Flavour> {
        self.points.get(point)?.flavour
    }

    pub(super) fn learn_flavour(&mut self, point: PeerId, flavour: Flavour) {
        self.update(point, |point| point.flavour = Some(flavour));
    }

    pub(super) fn is_dual(&self, point: &PeerId) -> bool {
        self.points.get(point).is_some_and(|point| point.is_dual)
    }

    /// Notes whether a point is dual; `false` if that was known.
    pub(super) fn learn_dual(&mut self, point: PeerId, is_dual: bool) -> bool {
        if self.is_dual(&point) == is_dual {
            return false;
        }
        self.update(point, |point| point.is_dual = is_dual);
        true
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
