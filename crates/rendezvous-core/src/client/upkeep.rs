//! Making it so: each standing from what is wanted to what the point grants.

use core::time::Duration;

use libp2p_identity::PeerId;
use rendezvous_wire::{Dialect, Namespace, Ttl};

use super::{
    Client, STANDINGS_MAX, Timer, UNREGISTER_TRIES_MAX,
    config::{ClientConfig, REFRESH_FLOOR, REFRESH_MIN, RETRY_MIN},
    event::Event,
    failure::{Failure, Fault},
    memory::PointMemory,
    outbound::RegistrationId,
    point::Work,
    request::Registering,
    schedule,
    standing::{Caller, Grant, Lane, Probe, Removal, Standing, StandingId, Step, TtlTry},
    ttl,
};
use crate::{RecordKind, Time};

impl Client {
    /// Brings a standing on: notes what has lapsed, queues what is due, sets its deadline, forgets it when all is done.
    pub(super) fn settle(&mut self, id: StandingId) {
        let now = self.now;
        let Some(standing) = self.standings.get_mut(&id) else { return };
        for lane in &mut standing.lanes {
            if let Some(grant) = lane.granted.take_if(|grant| grant.until <= now) {
                lane.tries = 0;
                for id in standing.owners.keys() {
                    let (point, namespace, kind) = (standing.point, standing.namespace.clone(), grant.kind);
                    self.events.push(Event::Lapsed { id: *id, point, namespace, kind });
                }
            }
        }
        let dialect = self.dialects.get(&standing.point).copied().unwrap_or_default();
        let deadline = match standing.step(now, self.own.is_ready()) {
            // It has none: what stands is left to its TTL.
            Step::Unregister if dialect == Dialect::Waku => return self.unregister_ended(id, Ok(())),
            Step::Unregister | Step::Register { .. } => {
                if !standing.is_queued {
                    standing.is_queued = true;
                    self.points.push(standing.point, Work::Standing(id), false);
                }
                standing.next_lapse()
            }
            Step::Wait(until) => until,
            Step::Done => {
                if let Some(standing) = self.standings.remove(&id) {
                    self.points.remove_standing(standing.point, id);
                    self.standing_of.remove(&(standing.point, standing.namespace));
                }
                None
            }
        };
        self.timers.set(Timer::Standing(id), deadline);
    }

    /// What was due at a point is tried now, if it failed for want of a connection.
    pub(super) fn retry_at_point(&mut self, point: PeerId) {
        let now = self.now;
        self.points.connected(&point);
        self.hasten_legs(point);
        for id in self.points.standings(&point) {
            let Some(standing) = self.standings.get_mut(&id) else { continue };
            if standing.is_in_flight {
                continue;
            }
            for lane in standing.lanes.iter_mut().filter(|lane| lane.waits_for_point) {
                // A connection that comes and goes makes no tight loop either.
                let earliest = lane.last_try.map_or(now, |last| now.max(last + RETRY_MIN));
                lane.due = lane.due.map(|due| due.min(earliest));
            }
            if let Some(removal) = &mut standing.removal {
                removal.due = removal.due.min(now);
            }
            self.settle(id);
        }
    }

    /// A request to a point has failed for good. Unless the point has answered by a refusal, it is left alone for a while;
    /// gives the end of that.
    pub(super) fn note_failure(&mut self, point: PeerId, failure: &Failure) -> Option<Time> {
        match failure.fault() {
            Fault::Network | Fault::Point => {}
            Fault::Refused | Fault::Local => return None,
        }
        let (config, rng) = (&self.config, &mut self.rng);
        let wait = |failures| schedule::backoff(config, failures, rng);
        Some(self.points.failed(point, self.now, failure.may_pass_with_connection(), wait))
    }

    pub(super) fn set_dual(&mut self, point: PeerId, is_dual: bool) {
        let is_dual = is_dual && self.dialect_of(&point) == Dialect::Rendezvous;
        if self.points.is_dual(&point) == is_dual {
            return;
        }
        self.points.learn(point, |memory| memory.is_dual = is_dual);
        let now = self.now;
        for id in self.points.standings(&point) {
            let Some(standing) = self.standings.get_mut(&id) else { continue };
            // Each lane has a flavour of its own there; there is nothing to probe.
            standing.lanes[0].probe = None;
            // A point that keeps changing what it says is not sent a REGISTER each time.
            let last_try = standing.lanes[1].last_try;
            let due = last_try.map_or(now, |last| now.max(last + REFRESH_FLOOR));
            let lane = if is_dual && standing.is_wanted() { Lane::due(due) } else { Lane::default() };
            standing.lanes[1] = Lane { last_try, ..lane };
            self.settle(id);
        }
    }

    /// In a shutdown, removals that wait for another try are tried now, for the last time.
    pub(super) fn hasten_removals(&mut self) {
        let now = self.now;
        let ids: Vec<StandingId> = self.standings.keys().copied().collect();
        for id in ids {
            if let Some(removal) = self.standings.get_mut(&id).and_then(|standing| standing.removal.as_mut()) {
                removal.due = now;
            }
            self.settle(id);
        }
    }

    /// The time for a shutdown is over: whatever is left has failed.
    pub(super) fn give_up(&mut self) {
        self.drain_by = None;
        for (id, standing) in core::mem::take(&mut self.standings) {
            self.points.remove_standing(standing.point, id);
            if let Some(removal) = &standing.removal {
                self.tell_removed(standing.point, &standing.namespace, removal, Some(&Failure::TimedOut));
            }
        }
        for (_, request) in core::mem::take(&mut self.in_flight) {
            self.points.finished(request.point);
        }
        self.standing_of.clear();
        self.timers.clear();
    }

    /// A REGISTER has come to its end.
    pub(super) fn register_ended(&mut self, point: PeerId, about: Registering, result: Result<Ttl, Failure>) {
        let now = self.now;
        let id = about.standing;
        let Some(standing) = self.standings.get_mut(&id) else { return };
        standing.is_in_flight = false;
        let is_dual = self.points.is_dual(&point);
        match &result {
            Ok(ttl) => standing.note_may_stand(about.sent_at + lifetime(schedule::granted(*ttl, about.requested))),
            // It may have been granted whatever a point grants.
            Err(failure) if failure.leaves_doubt() => standing.note_may_stand(now + lifetime(Ttl::RECOMMENDED_MAX)),
            Err(_) => {}
        }
        if !standing.is_wanted() {
            let stands = standing.may_stand(now);
            if let Some(removal) = standing.removal.take_if(|removal| !stands && !removal.is_forced) {
                let (point, namespace) = (standing.point, standing.namespace.clone());
                self.tell_removed(point, &namespace, &removal, None);
            }
        } else if about.lane == 0 || is_dual {
            match result {
                Ok(ttl) => self.granted(about, ttl, is_dual),
                Err(failure) => self.refused(about, failure, is_dual),
            }
        }
        self.settle(id);
    }

    fn granted(&mut self, about: Registering, ttl: Ttl, is_dual: bool) {
        let now = self.now;
        let Some(standing) = self.standings.get_mut(&about.standing) else { return };
        let ttl = schedule::granted(ttl, about.requested);
        let refresh_at = about.sent_at + schedule::refresh_after(ttl, &mut self.rng);
        // Who asks for a short lifetime means to renew it often. A point that grants a short one may not decide that.
        let own_pace = lifetime(about.requested) / 4 * 3;
        let refresh_at = refresh_at.max(about.sent_at + REFRESH_FLOOR.min(own_pace)).max(now + REFRESH_MIN);
        // What was wanted meanwhile is due in either case.
        let wanted = standing.lanes[about.lane].due;
        let due =
            if self.config.refreshes { Some(wanted.map_or(refresh_at, |due| due.min(refresh_at))) } else { wanted };
        let grant = Grant { until: about.sent_at + lifetime(ttl), kind: about.kind };
        let ttl_try = standing.lanes[about.lane].ttl_try.take();
        self.points.learn(standing.point, |memory| {
            if !is_dual {
                memory.flavour = about.kind.flavour();
                memory.is_unsigned = about.kind == RecordKind::Unsigned;
            }
            memory.ttl_granted = (ttl < about.requested).then_some(ttl);
            if let Some(TtlTry { asked, refused, .. }) = ttl_try
                && asked == about.requested
            {
                memory.learn_ttl(refused, asked);
            }
        });
        let is_commanded = standing.lanes[about.lane].is_commanded;
        standing.lanes[about.lane] =
            Lane { granted: Some(grant), due, last_try: Some(about.sent_at), is_commanded, ..Lane::default() };
        for id in standing.owners.keys() {
            let (point, namespace, kind) = (standing.point, standing.namespace.clone(), about.kind);
            self.events.push(Event::Registered { id: *id, point, namespace, kind, ttl });
        }
    }

    fn refused(&mut self, about: Registering, failure: Failure, is_dual: bool) {
        let now = self.now;
        let can_register = self.own.is_ready();
        let Some(standing) = self.standings.get_mut(&about.standing) else { return };
        let lane = &mut standing.lanes[about.lane];
        let is_waku = self.dialects.get(&standing.point) == Some(&Dialect::Waku);
        if failure.hints_at_flavour() && !is_dual && !is_waku {
            let mut tried = lane.probe.as_ref().map(|probe| probe.tried).unwrap_or_default();
            tried[about.kind.index()] = true;
            if let Some(kind) = next_kind(&self.config, &tried) {
                let first = lane.probe.take().map_or(failure, |probe| probe.first);
                lane.probe = Some(Probe { kind, tried, first });
                (lane.due, lane.is_commanded) = (Some(now), true);
                return;
            }
        }
        if let Some(asked) = self.other_ttl(&about, &failure) {
            let Some(standing) = self.standings.get_mut(&about.standing) else { return };
            let lane = &mut standing.lanes[about.lane];
            lane.ttl_try = Some(TtlTry { asked, refused: about.requested, first: failure });
            (lane.due, lane.is_commanded) = (Some(now), true);
            return;
        }
        let Some(standing) = self.standings.get_mut(&about.standing) else { return };
        let lane = &mut standing.lanes[about.lane];
        let failure = match lane.probe.take() {
            // A refusal for another reason shows that a later record was read; it says more than the first failure.
            Some(_) if matches!(failure, Failure::Refused { .. }) && !failure.hints_at_flavour() => failure,
            Some(probe) => probe.first,
            None => failure,
        };
        let failure = match lane.ttl_try.take() {
            Some(ttl_try) if failure.is_ttl_refusal() => ttl_try.first,
            _ => failure,
        };
        let (remaining, tries, point) = (lane.remaining(now), lane.tries, standing.point);
        let left_alone_until = self.note_failure(point, &failure);
        let retry_at = match left_alone_until {
            Some(until) if remaining.is_none() => until,
            _ => now + schedule::retry_after(&self.config, remaining, tries, &mut self.rng),
        };
        let Some(standing) = self.standings.get_mut(&about.standing) else { return };
        let lane = &mut standing.lanes[about.lane];
        // What was wanted anew meanwhile, such as other addresses, has not been tried.
        let retry_at = lane.due.map_or(retry_at, |due| due.max(about.sent_at + RETRY_MIN).max(now).min(retry_at));
        lane.tries = lane.tries.saturating_add(1);
        lane.due = Some(retry_at);
        lane.waits_for_point = failure.may_pass_with_connection();
        let retry_at = can_register.then_some(retry_at);
        for id in standing.owners.keys() {
            let (point, namespace, failure) = (standing.point, standing.namespace.clone(), failure.clone());
            self.events.push(Event::RegisterFailed { id: *id, point, namespace, failure, retry_at });
        }
    }

    /// The lifetime to ask for in the place of one that was refused, unless that has been tried.
    fn other_ttl(&mut self, about: &Registering, failure: &Failure) -> Option<Ttl> {
        let Failure::Refused { text, .. } = failure else { return None };
        let standing = self.standings.get(&about.standing)?;
        if !self.config.adapts_ttl || !failure.is_ttl_refusal() || standing.lanes[about.lane].ttl_try.is_some() {
            return None;
        }
        let (point, wanted) = (standing.point, standing.requested());
        if self.dialect_of(&point) == Dialect::Waku {
            return None;
        }
        let nothing = PointMemory::default();
        let guess = ttl::guess(about.requested, wanted, text, self.points.memory(&point).unwrap_or(&nothing));
        self.points.learn(point, PointMemory::forget_ttl_bounds);
        guess
    }

    /// An UNREGISTER has come to its end.
    pub(super) fn unregister_ended(&mut self, id: StandingId, result: Result<(), Failure>) {
        let now = self.now;
        let Some(standing) = self.standings.get_mut(&id) else { return };
        standing.is_in_flight = false;
        let (is_wanted, point) = (standing.is_wanted(), standing.point);
        if let Err(failure) = &result {
            self.note_failure(point, failure);
        }
        let Some(standing) = self.standings.get_mut(&id) else { return };
        let Some(mut removal) = standing.removal.take() else { return };
        if result.is_ok() && !removal.again {
            standing.may_stand_until = None;
        }
        let may_retry = !is_wanted && !self.is_shutting_down && removal.tries < UNREGISTER_TRIES_MAX;
        if is_wanted {
            // Whether or not it was removed, the registration that is wanted comes behind it.
            standing.lanes = Default::default();
            standing.want_now(now, self.points.is_dual(&standing.point));
        } else if removal.again && result.is_ok() {
            removal.again = false;
            removal.due = now;
            standing.removal = Some(removal);
            self.settle(id);
            return;
        } else if result.is_err() && may_retry && (removal.is_forced || standing.may_stand(now)) {
            removal.due = now + schedule::retry_after(&self.config, None, removal.tries, &mut self.rng);
            standing.removal = Some(removal);
            self.settle(id);
            return;
        }
        let (point, namespace) = (standing.point, standing.namespace.clone());
        self.tell_removed(point, &namespace, &removal, result.err().as_ref());
        self.settle(id);
    }

    /// A REGISTER that was given up has succeeded after all.
    pub(super) fn registered_late(&mut self, point: PeerId, namespace: Namespace, ttl: Ttl) {
        let until = self.now + lifetime(schedule::granted(ttl, Ttl::RECOMMENDED_MAX));
        let Some(id) = self.standing_for(point, &namespace) else { return };
        let Some(standing) = self.standings.get_mut(&id) else { return };
        standing.note_may_stand(until);
        if !standing.is_wanted() {
            self.want_removal(id, None);
        }
        self.settle(id);
    }

    /// The standing of a point and a namespace, made where there is none; `None` at capacity.
    pub(super) fn standing_for(&mut self, point: PeerId, namespace: &Namespace) -> Option<StandingId> {
        let key = (point, namespace.clone());
        if let Some(id) = self.standing_of.get(&key) {
            return Some(*id);
        }
        if self.standings.len() >= STANDINGS_MAX {
            return None;
        }
        let id = StandingId(self.next_id());
        self.standings.insert(id, Standing::new(point, namespace.clone()));
        self.standing_of.insert(key, id);
        self.points.add_standing(point, id);
        Some(id)
    }

    /// Adds an owner, so that a REGISTER is due.
    pub(super) fn own_standing(&mut self, standing: StandingId, id: RegistrationId, ttl: Ttl) {
        let now = self.now;
        let Some(standing) = self.standings.get_mut(&standing) else { return };
        standing.owners.insert(id, ttl);
        standing.want_now(now, self.points.is_dual(&standing.point));
        // An UNREGISTER that has not been sent is pointless.
        let in_flight = standing.is_in_flight && standing.removal.as_ref().is_some_and(|removal| removal.tries > 0);
        if let Some(removal) = standing.removal.take_if(|removal| !removal.is_forced && !in_flight) {
            let (point, namespace) = (standing.point, standing.namespace.clone());
            self.tell_removed(point, &namespace, &removal, None);
        }
    }

    /// Wants an UNREGISTER, unless nothing can stand.
    pub(super) fn want_removal(&mut self, id: StandingId, caller: Option<Caller>) {
        let now = self.now;
        let Some(standing) = self.standings.get_mut(&id) else { return };
        let is_in_flight = standing.is_in_flight;
        let may_stand = standing.may_stand(now);
        let removal = standing.removal.get_or_insert_with(|| Removal::new(now));
        removal.is_forced |= matches!(caller, Some(Caller::Request(_)));
        removal.again |= is_in_flight && caller.is_none();
        removal.told.extend(caller);
        if !is_in_flight && !may_stand && !removal.is_forced {
            let (point, namespace) = (standing.point, standing.namespace.clone());
            if let Some(removal) = standing.removal.take() {
                self.tell_removed(point, &namespace, &removal, None);
            }
        }
    }

    fn tell_removed(&mut self, point: PeerId, namespace: &Namespace, removal: &Removal, failure: Option<&Failure>) {
        for caller in &removal.told {
            let (namespace, failure) = (namespace.clone(), failure.cloned());
            self.events.push(match *caller {
                Caller::Registration(id) => Event::Unregistered { id, point, namespace, failure },
                Caller::Request(request) => {
                    self.one_offs = self.one_offs.saturating_sub(1);
                    Event::UnregisteredAt { request, point, namespace, failure }
                }
            });
        }
    }
}

/// The kind of record to try where these have failed: both flavours, and then, in the legacy mode, none.
fn next_kind(config: &ClientConfig, tried: &[bool; RecordKind::ALL.len()]) -> Option<RecordKind> {
    let unsigned = config.legacy_peer_info.then_some(RecordKind::Unsigned);
    let kinds = [config.flavour, config.flavour.other()].map(RecordKind::Signed).into_iter().chain(unsigned);
    kinds.into_iter().find(|kind| !tried[kind.index()])
}

fn lifetime(ttl: Ttl) -> Duration {
    Duration::from_secs(ttl.as_secs())
}
