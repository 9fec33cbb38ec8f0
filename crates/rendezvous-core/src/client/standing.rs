//! What this peer wants at one point under one name, and how far that has come.

use core::time::Duration;
use std::collections::BTreeMap;

use libp2p_identity::PeerId;
use rendezvous_wire::{Namespace, Ttl};

use super::{
    failure::Failure,
    outbound::{RegistrationId, RequestId},
};
use crate::{RecordKind, Time};

/// Names a standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StandingId(pub(super) u64);

/// One point and one namespace: the unit that a point knows.
///
/// Requests about it are sent one after another, since requests on different streams may overtake each other.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) point: PeerId,
    pub(super) namespace: Namespace,
    /// Who wants it, and the lifetime each asks for. With nobody left it is removed.
    pub(super) owners: BTreeMap<RegistrationId, Ttl>,
    /// The record of the point's flavour, and for points that keep both, the other one.
    pub(super) lanes: [Lane; 2],
    /// Until when the point may list it, as far as is known: granted, or left in doubt.
    pub(super) may_stand_until: Option<Time>,
    pub(super) removal: Option<Removal>,
    pub(super) is_in_flight: bool,
    /// Whether it waits for its turn at the point.
    pub(super) is_queued: bool,
}

/// The way of one record to the point.
#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    pub(super) granted: Option<Grant>,
    /// When to send the next REGISTER; `None` while one is in flight and nothing new is wanted.
    pub(super) due: Option<Time>,
    /// Failed tries since the last success or lapse.
    pub(super) tries: u32,
    pub(super) last_try: Option<Time>,
    /// Whether a new connection is a reason to retry at once.
    pub(super) waits_for_point: bool,
    pub(super) probe: Option<Probe>,
    /// Another lifetime is being tried.
    pub(super) ttl_try: Option<TtlTry>,
    /// Whether what is due was commanded, and so does not wait for the point's back-off.
    pub(super) is_commanded: bool,
}

/// What a point has granted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) until: Time,
    pub(super) kind: RecordKind,
}

/// Another kind of record is being tried.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) kind: RecordKind,
    /// By [`RecordKind::index`]: those that have failed before it.
    pub(super) tried: [bool; RecordKind::ALL.len()],
    /// How the first failed.
    pub(super) first: Failure,
}

/// A lifetime is asked for in the place of one that was refused.
#[derive(Clone, Debug)]
pub(super) struct TtlTry {
    pub(super) asked: Ttl,
    pub(super) refused: Ttl,
    /// How that was refused.
    pub(super) first: Failure,
}

/// An UNREGISTER that is wanted.
#[derive(Clone, Debug)]
pub(super) struct Removal {
    pub(super) due: Time,
    pub(super) tries: u32,
    /// Who is told of its end.
    pub(super) told: Vec<Caller>,
    /// Whether it is sent even where nothing is known to stand.
    pub(super) is_forced: bool,
    /// Whether there is reason to send one more after the one in flight.
    pub(super) again: bool,
}

/// Who asked for a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Registration(RegistrationId),
    Request(RequestId),
}

/// What is next for a standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Unregister,
    Register {
        lane: usize,
    },
    /// Nothing until then, or until something happens.
    Wait(Option<Time>),
    /// Nobody wants it and nothing is left to do.
    Done,
}

impl Standing {
    pub(super) fn new(point: PeerId, namespace: Namespace) -> Self {
        Self {
            point,
            namespace,
            owners: BTreeMap::new(),
            lanes: Default::default(),
            may_stand_until: None,
            removal: None,
            is_in_flight: false,
            is_queued: false,
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        !self.owners.is_empty()
    }

    /// The lifetime to ask for: the longest that an owner wants.
    pub(super) fn requested(&self) -> Ttl {
        self.owners.values().copied().max().unwrap_or(Ttl::DEFAULT)
    }

    pub(super) fn may_stand(&self, now: Time) -> bool {
        self.may_stand_until.is_some_and(|until| until > now)
    }

    /// Notes that the point may list this until then.
    pub(super) fn note_may_stand(&mut self, until: Time) {
        self.may_stand_until = self.may_stand_until.max(Some(until));
    }

    /// When the next grant ends.
    pub(super) fn next_lapse(&self) -> Option<Time> {
        self.lanes.iter().filter_map(|lane| lane.granted).map(|grant| grant.until).min()
    }

    /// A REGISTER is due in every lane that the point has.
    pub(super) fn want_now(&mut self, now: Time, is_dual: bool) {
        self.lanes[0].due = Some(now);
        self.lanes[1].due = is_dual.then_some(now);
        self.lanes.iter_mut().for_each(|lane| lane.is_commanded = lane.due.is_some());
    }

    pub(super) fn step(&self, now: Time, can_register: bool) -> Step {
        let lapse = self.next_lapse();
        if self.is_in_flight {
            return Step::Wait(lapse);
        }
        if let Some(removal) = &self.removal {
            return if removal.due <= now { Step::Unregister } else { Step::Wait(earliest(lapse, Some(removal.due))) };
        }
        if !self.is_wanted() {
            return Step::Done;
        }
        if !can_register {
            return Step::Wait(lapse);
        }
        let mut next = lapse;
        for (lane, due) in self.lanes.iter().enumerate().filter_map(|(index, lane)| Some((index, lane.due?))) {
            if due <= now {
                return Step::Register { lane };
            }
            next = earliest(next, Some(due));
        }
        Step::Wait(next)
    }
}

impl Lane {
    /// A lane that wants to register.
    pub(super) fn due(now: Time) -> Self {
        Self { due: Some(now), is_commanded: true, ..Self::default() }
    }

    /// What is left of the granted lifetime; `None` if nothing is granted.
    pub(super) fn remaining(&self, now: Time) -> Option<Duration> {
        self.granted.filter(|grant| grant.until > now).map(|grant| grant.until.saturating_since(now))
    }
}

impl Removal {
    pub(super) fn new(due: Time) -> Self {
        Self { due, tries: 0, told: Vec::new(), is_forced: false, again: false }
    }
}

fn earliest(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
