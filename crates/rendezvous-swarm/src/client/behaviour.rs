//! The behaviour and its commands.

use std::{
    collections::{VecDeque, hash_map::RandomState},
    fmt,
    hash::BuildHasher,
    sync::Arc,
    task::Waker,
};

use futures_timer::Delay;
use libp2p_core::Multiaddr;
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{ExternalAddresses, ToSwarm};
use rendezvous_core::{
    Time,
    client::{Client, Event, From, QueryId, RegistrationId, RequestId, Stats},
};
use rendezvous_record::{Flavour, Flavours, VerifiedRecord};
use rendezvous_wire::{Dialect, Limit, Namespace, Ttl};

use crate::clock::Clock;

use super::{
    config::Config,
    handler::Command,
    links::Links,
    notices::Notices,
    offers::Offers,
    points::{PointAddressError, PointAddresses},
    readers::Readers,
};

/// Keeps this peer registered with rendezvous points, and asks them for others.
///
/// See the [module's documentation](super) for how it behaves.
pub struct Behaviour {
    pub(super) config: Arc<Config>,
    pub(super) core: Client,
    pub(super) clock: Clock,
    pub(super) links: Links,
    pub(super) points: PointAddresses,
    pub(super) readers: Readers,
    pub(super) offers: Offers,
    pub(super) notices: Notices,
    pub(super) external: ExternalAddresses,
    /// Whether the application has said what the addresses are.
    pub(super) is_pinned: bool,
    /// Whether the external addresses have changed since the state machine was told.
    pub(super) is_outdated: bool,
    /// What the swarm is to do. Holds requests and dials, which the state machine bounds.
    pub(super) actions: VecDeque<ToSwarm<Event, Command>>,
    /// Addresses of the page that is being told.
    pub(super) announcements: VecDeque<(PeerId, Multiaddr)>,
    /// The event behind them.
    pub(super) announced: Option<Event>,
    pub(super) timer: Option<(Time, Delay)>,
    pub(super) waker: Option<Waker>,
}

impl Behaviour {
    /// A behaviour that registers the peer with this key, which is the swarm's.
    #[must_use]
    pub fn new(key: Keypair, config: Config) -> Self {
        let clock = Clock::start();
        Self {
            core: Client::new(config.client.clone(), key, seed()),
            offers: Offers::new(clock.now(), config.offers),
            clock,
            links: Links::default(),
            notices: Notices::default(),
            points: PointAddresses::default(),
            readers: Readers::new(config.reads.clone(), config.client.legacy_peer_info),
            external: ExternalAddresses::default(),
            is_pinned: false,
            is_outdated: false,
            actions: VecDeque::new(),
            announcements: VecDeque::new(),
            announced: None,
            timer: None,
            waker: None,
            config: Arc::new(config),
        }
    }

    /// Registers this peer under a name at these points, and keeps it registered until
    /// [`unregister`](Self::unregister). What comes of it is told by [`Event::Registered`], [`Event::RegisterFailed`],
    /// [`Event::Lapsed`] and [`Event::NoAddresses`] with this id.
    ///
    /// `ttl` is the lifetime to ask for: 2 h if `None` or zero, at most 72 h.
    pub fn register(
        &mut self,
        namespace: Namespace,
        points: impl IntoIterator<Item = PeerId>,
        ttl: Option<Ttl>,
    ) -> RegistrationId {
        self.tell_addresses();
        let now = self.begin();
        self.core.register(now, namespace, points, ttl)
    }

    /// Ends a registration: UNREGISTER is sent to the points where it may stand, and [`Event::Unregistered`] tells the
    /// end at each.
    ///
    /// `false` if there is no such registration.
    pub fn unregister(&mut self, id: RegistrationId) -> bool {
        let now = self.begin();
        self.core.unregister(now, id)
    }

    /// Registers again at once, at every point of a registration: for an application that has seen that a point does not
    /// list this peer. See [`Client::register_again`].
    ///
    /// `false` if there is no such registration.
    pub fn register_again(&mut self, id: RegistrationId) -> bool {
        let now = self.begin();
        self.core.register_again(now, id)
    }

    /// The same at one point of a registration.
    ///
    /// `false` if this is no point of such a registration.
    pub fn register_again_at(&mut self, id: RegistrationId, point: &PeerId) -> bool {
        let now = self.begin();
        self.core.register_again_at(now, id, point)
    }

    /// Sends one UNREGISTER for a name that was not registered in this run, such as one left over from before a
    /// restart. [`Event::UnregisteredAt`] tells the end.
    pub fn unregister_at(&mut self, point: PeerId, namespace: Namespace) -> RequestId {
        let now = self.begin();
        self.core.unregister_at(now, point, namespace)
    }

    /// Asks a point for one page of a namespace, or of all of them; `limit` is the largest page if `None`.
    /// [`Event::Discovered`] or [`Event::DiscoverFailed`] with this id is the end of it.
    ///
    /// To walk all pages, ask on with [`From::Cookie`] for as long as the event says that there are more.
    pub fn discover(
        &mut self,
        point: PeerId,
        namespace: Option<Namespace>,
        limit: Option<Limit>,
        from: From,
    ) -> QueryId {
        let now = self.begin();
        self.core.discover(now, point, namespace, limit, from)
    }

    /// Pins the addresses to register, the most useful first; with `None`, the swarm's external addresses are registered
    /// again, which is the default.
    ///
    /// Another set of addresses is registered at once everywhere.
    pub fn set_addresses(&mut self, addresses: Option<Vec<Multiaddr>>) {
        self.is_pinned = addresses.is_some();
        self.is_outdated = addresses.is_none();
        let now = self.begin();
        match addresses {
            Some(addresses) => self.core.set_addresses(now, addresses),
            None => self.tell_addresses(),
        }
    }

    /// Notes an address under which a point is dialled, with or without its `/p2p/`.
    ///
    /// # Errors
    /// [`PointAddressError`] if the address is another peer's, or a bound is reached.
    pub fn add_point_address(&mut self, point: PeerId, address: Multiaddr) -> Result<(), PointAddressError> {
        self.points.add(point, address)
    }

    /// Says which dialect is spoken with a point; without, it is `/rendezvous/1.0.0`. See [`Client::set_point_dialect`].
    ///
    /// `false` if too many points speak another dialect already.
    pub fn set_point_dialect(&mut self, point: PeerId, dialect: Dialect) -> bool {
        let now = self.begin();
        self.core.set_point_dialect(now, point, dialect)
    }

    /// Forgets the addresses of a point that [`add_point_address`](Self::add_point_address) was given; `false` if there
    /// are none.
    pub fn remove_point_addresses(&mut self, point: &PeerId) -> bool {
        self.points.remove(point)
    }

    /// Removes all registrations, fails all queries and refuses new ones.
    ///
    /// An application that leaves in good order goes on polling the swarm until [`is_drained`](Self::is_drained), which
    /// is at the latest after twice the request time-out.
    pub fn shutdown(&mut self) {
        let now = self.begin();
        self.core.shutdown(now);
    }

    /// Whether a [`shutdown`](Self::shutdown) is complete: every UNREGISTER is sent or has failed, and every event is
    /// told.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.core.is_drained()
            && self.core.stats().events == 0
            && self.actions.is_empty()
            && self.announced.is_none()
            && self.announcements.is_empty()
    }

    /// The addresses that are registered, as they stand in the records.
    #[must_use]
    pub fn addresses(&self) -> &[Multiaddr] {
        self.core.addresses()
    }

    /// The record of a flavour that is registered; `None` before there is an address to register.
    #[must_use]
    pub fn own_record(&self, flavour: Flavour) -> Option<&VerifiedRecord> {
        self.core.own_record(flavour)
    }

    /// What is known of a discovered peer's addresses while a registration of it lasts.
    #[must_use]
    pub fn addresses_of(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.core.addresses_of(self.clock.now(), peer)
    }

    /// The newest record known of a discovered peer while a registration of it lasts.
    #[must_use]
    pub fn record_of(&self, peer: &PeerId) -> Option<&VerifiedRecord> {
        self.core.record_of(self.clock.now(), peer)
    }

    /// The registrations that are kept, with their namespaces.
    pub fn registrations(&self) -> impl Iterator<Item = (RegistrationId, &Namespace)> {
        self.core.registrations()
    }

    /// Whether a registration stands at a point, as far as the point's grants tell.
    #[must_use]
    pub fn is_registered(&self, id: RegistrationId, point: &PeerId) -> bool {
        self.core.is_registered(id, point)
    }

    /// The flavours in which a registration stands at a point.
    #[must_use]
    pub fn registered_flavours(&self, id: RegistrationId, point: &PeerId) -> Flavours {
        self.core.registered_flavours(id, point)
    }

    /// The instant that is now, on the clock of [`Event::RegisterFailed`]'s `retry_at`.
    #[must_use]
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Sizes and counts, for logs and metrics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// Hands changed external addresses to the state machine. Several changes between two polls are one.
    pub(super) fn tell_addresses(&mut self) {
        if self.is_outdated && !self.is_pinned {
            let addresses = self.external.iter().cloned().collect();
            self.core.set_addresses(self.clock.now(), addresses);
        }
        self.is_outdated = false;
    }

    /// Starts a command: whoever polls the swarm elsewhere is to poll it again.
    pub(super) fn begin(&mut self) -> Time {
        self.wake();
        self.clock.now()
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behaviour").field("core", &self.core).finish_non_exhaustive()
    }
}

/// Randomness of the operating system for jitter, by way of the standard library's hash keys.
fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    for (part, place) in seed.chunks_exact_mut(8).zip(0_u8..) {
        part.copy_from_slice(&RandomState::new().hash_one(place).to_le_bytes());
    }
    seed
}
