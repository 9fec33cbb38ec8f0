//! Commands and questions about several points at once.

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use rendezvous_core::{
    Time,
    client::{LookupConfig, LookupId, Merged, PointMemory, RegistrationId},
};
use rendezvous_wire::Namespace;

use super::{behaviour::Behaviour, offers::OfferStats};

impl Behaviour {
    /// Adds a point to a registration, which is registered there at once.
    ///
    /// `false` if there is no such registration.
    pub fn add_registration_point(&mut self, id: RegistrationId, point: PeerId) -> bool {
        self.tell_addresses();
        let now = self.begin();
        self.core.add_registration_point(now, id, point)
    }

    /// Takes a point out of a registration: UNREGISTER is sent there, and
    /// [`Event::Unregistered`](super::Event::Unregistered) tells the end.
    ///
    /// `false` if this is no point of such a registration.
    pub fn remove_registration_point(&mut self, id: RegistrationId, point: &PeerId) -> bool {
        let now = self.begin();
        self.core.remove_registration_point(now, id, point)
    }

    /// The points of a registration.
    pub fn registration_points(&self, id: RegistrationId) -> impl Iterator<Item = PeerId> {
        self.core.registration_points(id)
    }

    /// Asks these points who is registered under a name, or under any, and merges what they list, until
    /// [`end_lookup`](Self::end_lookup). [`Event::LookupChanged`](super::Event::LookupChanged) tells who comes and goes.
    pub fn look_up(
        &mut self,
        namespace: Option<Namespace>,
        points: impl IntoIterator<Item = PeerId>,
        config: LookupConfig,
    ) -> LookupId {
        let now = self.begin();
        self.core.look_up(now, namespace, points, config)
    }

    /// Adds a point to a lookup; it is asked at once.
    ///
    /// `false` if there is no such lookup.
    pub fn add_lookup_point(&mut self, id: LookupId, point: PeerId) -> bool {
        let now = self.begin();
        self.core.add_lookup_point(now, id, point)
    }

    /// Takes a point out of a lookup; what it alone listed is gone.
    ///
    /// `false` if this is no point of such a lookup.
    pub fn remove_lookup_point(&mut self, id: LookupId, point: &PeerId) -> bool {
        let now = self.begin();
        self.core.remove_lookup_point(now, id, point)
    }

    /// The points of a lookup.
    pub fn lookup_points(&self, id: LookupId) -> impl Iterator<Item = PeerId> {
        self.core.lookup_points(id)
    }

    /// Polls all points of a lookup at once, also those in back-off.
    ///
    /// `false` if there is no such lookup.
    pub fn look_up_again(&mut self, id: LookupId) -> bool {
        let now = self.begin();
        self.core.look_up_again(now, id)
    }

    /// Ends a lookup, and forgets what it found.
    ///
    /// `false` if there is no such lookup.
    pub fn end_lookup(&mut self, id: LookupId) -> bool {
        let now = self.begin();
        self.core.end_lookup(now, id)
    }

    /// What a lookup has found: whoever is listed by one of its points and whose time has not ended.
    pub fn found(&self, id: LookupId) -> impl Iterator<Item = Merged> {
        self.core.found(self.clock.now(), id)
    }

    /// What is known of a point; `None` if nothing is.
    #[must_use]
    pub fn point_memory(&self, point: &PeerId) -> Option<&PointMemory> {
        self.core.point_memory(point)
    }

    /// The points of which something is known: for an application that keeps it over its restart.
    pub fn point_memories(&self) -> impl Iterator<Item = (&PeerId, &PointMemory)> {
        self.core.point_memories()
    }

    /// Takes for known what was learnt in an earlier run. Connections that stand are not affected.
    pub fn remember_point(&mut self, point: PeerId, memory: PointMemory) {
        let now = self.begin();
        self.core.remember_point(now, point, memory);
    }

    /// Forgets what is known of a point, its back-off included.
    pub fn forget_point(&mut self, point: PeerId) {
        let now = self.begin();
        self.core.forget_point(now, point);
    }

    /// Until when a point that does not answer is left alone; `None` if it is not.
    #[must_use]
    pub fn backoff_until(&self, point: &PeerId) -> Option<Time> {
        self.core.backoff_until(self.clock.now(), point)
    }

    /// Until when lookups with an interval leave a point alone because its listing reached a
    /// [`WalkLimit`](super::WalkLimit); `None` if they do not.
    #[must_use]
    pub fn listing_backoff_until(&self, point: &PeerId) -> Option<Time> {
        self.core.listing_backoff_until(self.clock.now(), point)
    }

    /// Those of the [`addresses`](Self::addresses) that are in no record, since not all fit.
    pub fn addresses_left_out(&self) -> impl Iterator<Item = &Multiaddr> {
        self.core.addresses_left_out()
    }

    /// How many addresses of discovered peers were offered to the swarm, and how many were withheld.
    #[must_use]
    pub fn offer_stats(&self) -> OfferStats {
        self.offers.stats()
    }
}
