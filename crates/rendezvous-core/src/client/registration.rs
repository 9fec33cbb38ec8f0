//! What the application wants registered.

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use rendezvous_wire::{Namespace, Ttl};

use super::{
    Client, PENDING_MAX,
    event::Event,
    failure::Failure,
    outbound::{RegistrationId, RequestId},
    own::Readiness,
    schedule,
    standing::{Caller, Standing, StandingId},
};
use crate::Time;

/// What the application wants registered.
#[derive(Debug)]
pub(super) struct Registration {
    namespace: Namespace,
    /// The lifetime to ask for.
    ttl: Ttl,
    standings: Vec<StandingId>,
}

impl Registration {
    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(super) fn standings(&self) -> &[StandingId] {
        &self.standings
    }
}

impl Client {
    /// Says what this peer's addresses are, the most useful first. A trailing `/p2p/` with this peer's id is left out,
    /// as are duplicates.
    ///
    /// Another set of addresses is registered at once everywhere, in a record with a higher `seq`; the same set in
    /// another order changes nothing. An empty one ends refreshes until there are addresses again, and
    /// [`Event::NoAddresses`] says so; what stands is left to lapse.
    pub fn set_addresses(&mut self, now: Time, addresses: Vec<Multiaddr>) {
        self.advance(now);
        if !self.own.set_addresses(addresses) || self.registrations.is_empty() {
            return;
        }
        let readiness = self.prepare_records();
        let ids: Vec<RegistrationId> = self.registrations.keys().copied().collect();
        for id in ids {
            self.tell_unless_ready(id, readiness);
        }
        let now = self.now;
        let mut wanted = Vec::new();
        for (id, standing) in self.standings.iter_mut().filter(|(_, standing)| standing.is_wanted()) {
            let is_dual = self.points.is_dual(&standing.point);
            standing.want_now(now, is_dual);
            wanted.push(*id);
        }
        for id in wanted {
            self.settle(id);
        }
    }

    /// Registers this peer under a name at these points, and keeps it registered until
    /// [`unregister`](Self::unregister).
    ///
    /// `ttl` is the lifetime to ask for: 2 h if `None` or zero, at most 72 h. The point grants what it likes, and
    /// that is what refreshes go by. Where two registrations share a point and a name, the longer one is asked for.
    pub fn register(
        &mut self,
        now: Time,
        namespace: Namespace,
        points: impl IntoIterator<Item = PeerId>,
        ttl: Option<Ttl>,
    ) -> RegistrationId {
        self.advance(now);
        let id = RegistrationId(self.next_id());
        let ttl = schedule::requested(ttl);
        let mut standings = Vec::new();
        for point in points {
            let refusal = if self.is_shutting_down {
                Failure::ShutDown
            } else if let Some(standing) = self.standing_for(point, &namespace) {
                self.own_standing(standing, id, ttl);
                if !standings.contains(&standing) {
                    standings.push(standing);
                }
                continue;
            } else {
                Failure::AtCapacity
            };
            let namespace = namespace.clone();
            self.events.push(Event::RegisterFailed { id, point, namespace, failure: refusal, retry_at: None });
        }
        if self.is_shutting_down {
            return id;
        }
        self.registrations.insert(id, Registration { namespace, ttl, standings: standings.clone() });
        let readiness = self.prepare_records();
        self.tell_unless_ready(id, readiness);
        for standing in standings {
            self.settle(standing);
        }
        id
    }

    /// Adds a point to a registration, which is registered there at once; where it is one already, nothing changes.
    ///
    /// `false` if there is no such registration.
    pub fn add_registration_point(&mut self, now: Time, id: RegistrationId, point: PeerId) -> bool {
        self.advance(now);
        let Some(Registration { namespace, ttl, .. }) = self.registrations.get(&id) else { return false };
        let (namespace, ttl) = (namespace.clone(), *ttl);
        if self.standing_of_registration(id, &point).is_some() {
            return true;
        }
        let Some(standing) = self.standing_for(point, &namespace) else {
            let failure = Failure::AtCapacity;
            self.events.push(Event::RegisterFailed { id, point, namespace, failure, retry_at: None });
            return true;
        };
        self.own_standing(standing, id, ttl);
        if let Some(registration) = self.registrations.get_mut(&id) {
            registration.standings.push(standing);
        }
        self.prepare_records();
        self.settle(standing);
        true
    }

    /// Takes a point out of a registration: UNREGISTER is sent there, unless another registration keeps the name, and
    /// [`Event::Unregistered`] tells the end. At its other points the registration stays; it may be left without any.
    ///
    /// `false` if this is no point of such a registration.
    pub fn remove_registration_point(&mut self, now: Time, id: RegistrationId, point: &PeerId) -> bool {
        self.advance(now);
        let Some(registration) = self.registrations.get_mut(&id) else { return false };
        let Some(standing) = self.standing_of.get(&(*point, registration.namespace.clone())).copied() else {
            return false;
        };
        let Some(place) = registration.standings.iter().position(|known| *known == standing) else { return false };
        registration.standings.remove(place);
        self.disown_standing(standing, id);
        true
    }

    /// The points of a registration; empty if there is no such registration.
    pub fn registration_points(&self, id: RegistrationId) -> impl Iterator<Item = PeerId> {
        let standings = self.registrations.get(&id).map(Registration::standings).unwrap_or_default();
        standings.iter().filter_map(|id| self.standings.get(id)).map(|standing| standing.point)
    }

    /// Ends a registration: it is refreshed no longer, and UNREGISTER is sent to the points where it may stand and no
    /// other registration keeps the name. [`Event::Unregistered`] tells the end at each point.
    ///
    /// `false` if there is no such registration.
    pub fn unregister(&mut self, now: Time, id: RegistrationId) -> bool {
        self.advance(now);
        self.drop_registration(id)
    }

    /// Sends one UNREGISTER for a name that was not registered in this run, such as one left over from before a
    /// restart. [`Event::UnregisteredAt`] tells the end; an UNREGISTER of that name that is on its way serves for it.
    ///
    /// A registration of this run under that name at that point remains wanted: it is registered again behind it.
    pub fn unregister_at(&mut self, now: Time, point: PeerId, namespace: Namespace) -> RequestId {
        self.advance(now);
        let request = RequestId(self.next_id());
        let refusal = if self.is_shutting_down {
            Failure::ShutDown
        } else if self.pending() >= PENDING_MAX {
            Failure::AtCapacity
        } else if let Some(standing) = self.standing_for(point, &namespace) {
            self.one_offs += 1;
            self.want_removal(standing, Some(Caller::Request(request)));
            self.settle(standing);
            return request;
        } else {
            Failure::AtCapacity
        };
        self.events.push(Event::UnregisteredAt { request, point, namespace, failure: Some(refusal) });
        request
    }

    pub(super) fn drop_registration(&mut self, id: RegistrationId) -> bool {
        let Some(registration) = self.registrations.remove(&id) else { return false };
        for standing in registration.standings {
            self.disown_standing(standing, id);
        }
        true
    }

    /// Takes an owner from a standing, which is removed at the point if that was the last.
    fn disown_standing(&mut self, standing_id: StandingId, id: RegistrationId) {
        let Some(standing) = self.standings.get_mut(&standing_id) else { return };
        standing.owners.remove(&id);
        if standing.is_wanted() {
            let (point, namespace) = (standing.point, standing.namespace.clone());
            self.events.push(Event::Unregistered { id, point, namespace, failure: None });
        } else {
            // With its lanes gone, no late answer brings it back.
            standing.lanes = Default::default();
            self.want_removal(standing_id, Some(Caller::Registration(id)));
        }
        self.settle(standing_id);
    }

    pub(super) fn standing_of_registration(&self, id: RegistrationId, point: &PeerId) -> Option<&Standing> {
        let registration = self.registrations.get(&id)?;
        let standing = self.standing_of.get(&(*point, registration.namespace.clone()))?;
        self.standings.get(standing).filter(|standing| standing.owners.contains_key(&id))
    }

    /// Makes the records of the addresses, unless that is done.
    fn prepare_records(&mut self) -> Readiness {
        let was_ready = self.own.is_ready();
        let readiness = self.own.prepare(self.now);
        let addresses: Vec<Multiaddr> = self.own.left_out().cloned().collect();
        if !was_ready && readiness == Readiness::Ready && !addresses.is_empty() {
            self.events.push(Event::AddressesLeftOut { addresses });
        }
        readiness
    }

    fn tell_unless_ready(&mut self, id: RegistrationId, readiness: Readiness) {
        match readiness {
            Readiness::Ready => {}
            Readiness::NoAddresses => self.events.push(Event::NoAddresses { id }),
            Readiness::CannotSign => {
                let Some(registration) = self.registrations.get(&id) else { return };
                for standing in registration.standings.iter().filter_map(|standing| self.standings.get(standing)) {
                    let (point, namespace) = (standing.point, standing.namespace.clone());
                    let failure = Failure::CannotSign;
                    self.events.push(Event::RegisterFailed { id, point, namespace, failure, retry_at: None });
                }
            }
        }
    }
}
