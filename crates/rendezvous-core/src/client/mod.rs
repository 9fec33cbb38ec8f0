//! The client: registrations that are kept, pages that are asked for, and the peers that were found.
//!
//! [`Client`] is a state machine without IO, clock or entropy. Its doc states the contract; [`AnswerReader`] stands
//! beside it, in the task of a connection, and turns the bytes of an answer into an [`Answer`].
//!
//! # Registrations
//! A registration is kept from [`register`](Client::register) until [`unregister`](Client::unregister) at all its
//! points. It is refreshed after 3/4 to 7/8 of the *granted* lifetime. A refresh that fails is tried again several times
//! within what remains; what has lapsed is tried on, 30 s to 1 h apart. Two registrations of one name at one point
//! share what stands there, and UNREGISTER is sent when the last of them goes.
//!
//! Requests about one name at one point are sent one after another: streams may overtake each other. So an
//! UNREGISTER waits for the answer to the REGISTER before it, and a REGISTER for the end of an UNREGISTER.
//!
//! The points of a registration may change while it lasts
//! ([`add_registration_point`](Client::add_registration_point),
//! [`remove_registration_point`](Client::remove_registration_point)).
//!
//! # Back-off
//! A point that does not answer, or not as one should, is left alone for 30 s to 1 h: uniform between the shortest time
//! and a ceiling that doubles with each failure. The back-off is the point's, shared by all that is asked of it; any
//! answer ends it, a refusal too, and a new connection ends the wait but not the count. Three things do not wait for
//! it: a registration that stands there, which is renewed within its remaining lifetime; an UNREGISTER; and what the
//! application commands. What a point refuses has a back-off of its own, and the rest goes on.
//!
//! Points have nothing else in common: each has its own queue and its own bound on requests in flight, and they take
//! turns.
//!
//! # Lifetimes
//! Where a point refuses a lifetime with E_INVALID_TTL, another is asked for at once: the bound that the refusal's text
//! names; else what was wanted at first, if that had been brought into bounds known from before; else what the point
//! granted before, if that is less; else 2 h. There is one such retry, and none where nothing is left to guess. What the
//! point takes instead is remembered as its bound. What it grants is what counts in any case.
//!
//! # Lookups
//! A [`look_up`](Client::look_up) asks several points, each at its own pace and through all pages, and merges what they
//! list. What one point says of a peer stands until its TTL ends, until the point lists everything without the peer, or
//! until the point is asked no longer; a peer is gone when no point's word stands. See [`Merged`] for which record
//! counts.
//!
//! A poll lists everything where that was a page at most, and every tenth poll does in any case; the others ask for what
//! is new, with a cookie that the lookup keeps for the point.
//!
//! # What is dropped to fit
//! A REGISTER frame has at most 4096 bytes, and a record so many addresses as the limits say. Where the addresses do not
//! fit, they are taken in this order, each that still fits beside those before it: public before private before loopback
//! and link-local, where a name counts as public; of those, direct before relayed; then shorter before longer; then in
//! the order in which [`set_addresses`](Client::set_addresses) got them. Which were left out is told by
//! [`Event::AddressesLeftOut`], and known from [`addresses_left_out`](Client::addresses_left_out).
//!
//! # Flavours
//! A point is tried with the configured envelope flavour. If it answers 101, 200 or 300 or closes the stream without an
//! answer, the other one is tried at once, and only then is it a failure; what works is remembered for the point.
//! Where a point keeps both ([`handle_point_dual`](Client::handle_point_dual)), both are registered.
//!
//! With [`ClientConfig::legacy_peer_info`], a point that so takes neither flavour is tried with a `PeerInfo` without a signature,
//! and registrations in this form are read: as [`Unverified`], a type of its own, which stands beside the others in
//! [`Event::Discovered`]. Only verified records are remembered: what a point says without proof neither replaces a record nor
//! becomes an address that a dial finds.
//!
//! # Dialects
//! Points speak `/rendezvous/1.0.0` unless [`set_point_dialect`](Client::set_point_dialect) says otherwise, and one of
//! another dialect is used by the same commands, with the same events.
//!
//! # Walking all pages
//! A query asks for one page. A walk begins with [`From::Fresh`], or with [`From::Cookie`] where no cookie is kept, and
//! goes on with [`From::Cookie`] for as long as [`Event::Discovered`] says `more`: the answer held at least one
//! registration, usable or not, and a cookie other than the one that was sent. The number of registrations says nothing:
//! a page may end early because its bytes are bounded. So a walk ends with the first empty page. `page` in the event lets a
//! caller stop before. Once a walk has ended, a query with [`From::Cookie`] asks for what is new since, as the first page of
//! the next walk.
//!
//! A point that gives no cookie has one page. A cookie that a point refuses, or closes the stream on, is dropped, and
//! the query starts from the beginning. The walk goes on with what is left of its limits.
//!
//! # Limits of a walk
//! A hostile point can answer with pages for ever, each with a new cookie. So each walk has limits ([`WalkLimit`]): bytes,
//! pages, pages in a row without a new or renewed registration, cookies that the point gives and then refuses, and time. A
//! walk that reaches one ends there. What it listed is kept as a partial listing: [`Event::Discovered`] and
//! [`Event::LookupPolled`] say which limit it was (`cut`), and nobody is gone for being absent from it. Lookups then leave the
//! point alone for 30 s to 1 h, twice as long with each such walk in a row; answers to other requests do not shorten that.
//! [`WalkLimit::Pages`] is the exception: a large point reaches it in good faith, and is polled on.
//!
//! To walk a large namespace, raise `pages_per_walk_max`, `walk_bytes_max` and `walk_timeout` together: a million
//! registrations take 1,000 to 2,000 pages and some 300 MB.
//!
//! # Work
//! Verifying a page of new records takes 40 ms (Ed25519) to 330 ms (other keys), and a point chooses how many records are new.
//! The reader estimates the CPU time of each answer ([`PageCost`]). Each point may cost [`ClientConfig::work_burst`] at once,
//! and [`ClientConfig::work_share_percent`] of one core after that; then pages and polls of lookups wait. Records that the
//! reader remembers are nearly free, so polling an honest point again costs little. Queries of the application are counted,
//! and do not wait.

mod again;
mod answer;
mod book;
mod config;
mod cookies;
mod dialect;
mod event;
mod failure;
mod lookup;
mod memory;
mod merge;
mod outbound;
mod own;
mod point;
mod query;
mod reach;
mod registration;
mod request;
mod schedule;
mod standing;
mod timers;
mod ttl;
mod upkeep;
mod walk;

use core::fmt;
use std::collections::BTreeMap;

use libp2p_identity::{Keypair, PeerId};
use multiaddr::Multiaddr;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rendezvous_record::{Flavours, VerifiedRecord};
use rendezvous_wire::{Dialect, Namespace};

pub use answer::{Answer, AnswerReader, Discovered, STATUS_TEXT_CHARS_MAX, Skipped, Unverified};
pub use config::{
    COOKIE_REFUSALS_MAX, COOKIES_MAX, ClientConfig, EVENTS_BACKLOG_MAX, EVENTS_MAX, LATE_MAX, LOOKUP_EVERY_MAX,
    LOOKUP_EVERY_MIN, LOOKUP_POINTS_MAX, LOOKUPS_MAX, PENDING_MAX, POINT_DIALECTS_MAX, POINTS_IDLE_MAX, REFRESH_FLOOR,
    REFRESH_MIN, REQUEST_TIMEOUT_MIN, RETRY_MIN, STANDINGS_MAX, UNREGISTER_TRIES_MAX, WALK_SEEN_MAX,
};
pub use event::Event;
pub use failure::{Failure, Fault, MalformedAnswer};
pub use lookup::LookupConfig;
pub use memory::PointMemory;
pub use merge::{FoundRecord, Gone, GoneWhy, Merged};
pub use outbound::{LookupId, Outbound, QueryId, RegistrationId, RequestId, RequestKind};
pub use query::From;
pub use walk::{CutWalks, PageCost, WalkLimit};

use self::{
    book::Book,
    cookies::Cookies,
    event::Events,
    lookup::Lookups,
    own::Own,
    point::Points,
    query::Query,
    registration::Registration,
    request::InFlight,
    standing::{Grant, Standing, StandingId},
    timers::Timers,
};
use crate::Time;

/// The client side of the rendezvous protocol, without IO.
///
/// Four kinds of functions:
///
/// - commands, by which the application says what it wants: [`set_addresses`](Self::set_addresses),
///   [`register`](Self::register), [`unregister`](Self::unregister), [`unregister_at`](Self::unregister_at),
///   [`look_up`](Self::look_up), [`discover`](Self::discover), [`shutdown`](Self::shutdown);
/// - inputs, named `handle_*`, by which the shell says what happened;
/// - outputs, named `poll_*`, which the shell takes and acts on;
/// - questions, which change nothing.
///
/// The drive loop, after every command and every input:
///
/// 1. [`poll_event`](Self::poll_event) until it gives nothing; hand the events to the application.
/// 2. [`poll_request`](Self::poll_request) until it gives nothing; send each request on a stream to its point. Report
///    exactly one of [`handle_answer`](Self::handle_answer) and [`handle_failure`](Self::handle_failure) for it. A
///    report that never comes is made up for at the request's deadline, one that comes twice or too late is ignored.
/// 3. [`poll_timeout`](Self::poll_timeout): wait for this time, an answer or a command, whichever is first. At the time
///    call [`handle_timeout`](Self::handle_timeout) and start over.
///
/// The order matters: requests are held back while [`EVENTS_BACKLOG_MAX`] events wait.
///
/// `now` is a parameter of everything that can change state. Calls at equal instants may come in any order; an instant
/// before the latest one seen is taken for that one. The same calls with the same seed have the same outcome.
///
/// ```
/// use libp2p_identity::Keypair;
/// use rendezvous_core::{Time, client::{Answer, Client, ClientConfig, Event, RequestKind}};
/// use rendezvous_wire::{Namespace, Ttl};
///
/// let key = Keypair::ed25519_from_bytes([1; 32])?;
/// let point = Keypair::ed25519_from_bytes([2; 32])?.public().to_peer_id();
/// let mut client = Client::new(ClientConfig::default(), key, [3; 32]);
///
/// let now = Time::from_unix_millis(1_700_000_000_000);
/// client.set_addresses(now, vec!["/ip4/192.0.2.1/tcp/4001".parse()?]);
/// let id = client.register(now, Namespace::new("chat")?, [point], None);
///
/// // The shell sends what is asked for and reports the answer …
/// let request = client.poll_request(now).expect("a REGISTER");
/// assert_eq!((request.point, request.kind), (point, RequestKind::Register));
/// client.handle_answer(now, request.id, Answer::Registered { ttl: Ttl::from_secs(7_200) });
///
/// // … and the application learns of it. The next thing to do is the refresh.
/// assert!(matches!(client.poll_event(), Some(Event::Registered { id: registered, .. }) if registered == id));
/// assert!(client.is_registered(id, &point));
/// assert!(client.poll_timeout().is_some_and(|at| at.saturating_since(now).as_secs() >= 5_400));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Client {
    config: ClientConfig,
    own: Own,
    rng: ChaCha8Rng,
    /// The latest instant seen.
    now: Time,
    /// The last id given; one count for all kinds.
    last_id: u64,
    registrations: BTreeMap<RegistrationId, Registration>,
    standings: BTreeMap<StandingId, Standing>,
    standing_of: BTreeMap<(PeerId, Namespace), StandingId>,
    queries: BTreeMap<QueryId, Query>,
    lookups: Lookups,
    /// One-off removals whose end has not been told.
    one_offs: usize,
    cookies: Cookies,
    points: Points,
    /// Points that speak another dialect than `/rendezvous/1.0.0`.
    dialects: BTreeMap<PeerId, Dialect>,
    in_flight: BTreeMap<RequestId, InFlight>,
    /// REGISTERs given up at their deadline.
    late: BTreeMap<RequestId, (PeerId, Namespace)>,
    timers: Timers<Timer>,
    book: Book,
    events: Events,
    is_shutting_down: bool,
    /// When a shutdown in progress ends at the latest.
    drain_by: Option<Time>,
    requests_sent: u64,
    answers_ignored: u64,
    walks_cut: CutWalks,
    pages_held_back: u64,
}

/// What has a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Request(RequestId),
    Standing(StandingId),
    /// The next poll of a lookup at a point.
    Leg(LookupId, PeerId),
    /// The next page of a lookup's poll that is held back.
    Page(QueryId),
    /// The end of something that a lookup has found.
    Merge(LookupId),
    /// The end of a shutdown.
    Drain,
}

/// Sizes and counts, for logs and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Pairs of point and namespace that are registered, tried or being removed.
    pub standings: usize,
    /// Queries that wait for their answer, those of lookups included.
    pub queries: usize,
    /// Pairs of lookup and point.
    pub lookup_points: usize,
    /// Peers that lookups have found and keep, added up over them.
    pub found: usize,
    /// The same, each counted once for each point that lists it.
    pub found_listings: usize,
    /// Requests handed out and not ended.
    pub requests_in_flight: usize,
    /// Points remembered.
    pub points: usize,
    /// Cookies kept.
    pub cookies: usize,
    /// Discovered peers kept.
    pub peers: usize,
    /// Bytes of their records.
    pub peers_bytes: usize,
    /// Events that wait.
    pub events: usize,
    /// Events dropped because nobody took them, since the start.
    pub events_dropped: u64,
    /// Requests handed out since the start.
    pub requests_sent: u64,
    /// Answers and failures that belonged to no request in flight, since the start.
    pub answers_ignored: u64,
    /// Walks that were ended at a [`WalkLimit`], since the start.
    pub walks_cut: CutWalks,
    /// Pages of lookups that were asked for later than they could have been, because the point's answers had used up their
    /// share of a core ([`ClientConfig::work_share_percent`]), since the start.
    pub pages_held_back: u64,
}

impl Client {
    /// A client that signs its records with this key. It has no address, no registration and nothing to do.
    ///
    /// `seed` feeds all its randomness, which is jitter: it need not be secret, and should differ between clients.
    #[must_use]
    pub fn new(config: ClientConfig, key: Keypair, seed: [u8; 32]) -> Self {
        Self {
            own: Own::new(key, config.limits.clone()),
            rng: ChaCha8Rng::from_seed(seed),
            now: Time::from_unix_millis(0),
            last_id: 0,
            registrations: BTreeMap::new(),
            standings: BTreeMap::new(),
            standing_of: BTreeMap::new(),
            queries: BTreeMap::new(),
            lookups: Lookups::default(),
            one_offs: 0,
            cookies: Cookies::default(),
            points: Points::new(config.requests_per_point_max),
            dialects: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            late: BTreeMap::new(),
            timers: Timers::default(),
            book: Book::new(config.peers_max, config.peers_per_point_max, config.peers_bytes_max),
            events: Events::default(),
            is_shutting_down: false,
            drain_by: None,
            requests_sent: 0,
            answers_ignored: 0,
            walks_cut: CutWalks::default(),
            pages_held_back: 0,
            config,
        }
    }

    /// Removes all registrations, ends all lookups, fails all queries and refuses new ones.
    ///
    /// [`is_drained`](Self::is_drained) says when everything is sent, at the latest after twice
    /// [`ClientConfig::request_timeout`].
    pub fn shutdown(&mut self, now: Time) {
        self.advance(now);
        if self.is_shutting_down {
            return;
        }
        self.is_shutting_down = true;
        // A REGISTER in flight, and the UNREGISTER behind it.
        let wait = self.config.request_timeout.saturating_mul(2);
        self.drain_by = Some(self.now + wait);
        self.timers.set(Timer::Drain, self.drain_by);
        self.abandon_queries();
        let ids: Vec<RegistrationId> = self.registrations.keys().copied().collect();
        for id in ids {
            self.drop_registration(id);
        }
        self.hasten_removals();
    }

    /// Whether a [`shutdown`](Self::shutdown) is complete: nothing is in flight and nothing is left to send.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.is_shutting_down && self.in_flight.is_empty() && self.standings.is_empty()
    }

    /// There is a connection to this peer: what failed for want of one is tried at once.
    ///
    /// May be called for every connection and every peer.
    pub fn handle_point_reachable(&mut self, now: Time, point: PeerId) {
        self.advance(now);
        self.retry_at_point(point);
    }

    /// The last connection to this peer is gone. Nothing is dropped: requests in flight end when the shell reports
    /// their failure or at their deadline, and what was granted stands until it lapses.
    pub fn handle_point_lost(&mut self, now: Time, point: PeerId) {
        let _ = point;
        self.advance(now);
    }

    /// Whether a point keeps a record of each flavour, which it says by listing the protocol
    /// `/rendezvous/dual/1.0.0`. If so, both are registered.
    pub fn handle_point_dual(&mut self, now: Time, point: PeerId, dual: bool) {
        self.advance(now);
        self.set_dual(point, dual);
    }

    /// The time has come that [`poll_timeout`](Self::poll_timeout) told. Calling it earlier or later does no harm.
    pub fn handle_timeout(&mut self, now: Time) {
        self.advance(now);
        while let Some(timer) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Request(id) => self.expire_request(id),
                Timer::Standing(id) => self.settle(id),
                Timer::Leg(id, point) => self.begin_walk(id, point),
                Timer::Page(id) => self.ask_on(id),
                Timer::Merge(id) => self.expire_found(id),
                Timer::Drain => self.give_up(),
            }
        }
    }

    /// What the application should know, in the order in which it happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        let now = self.now;
        self.events.pop().or_else(|| self.book.pop_ended(now).map(|peer| Event::PeerExpired { peer }))
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called; `None` if nothing waits for time to pass.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        match (self.timers.first(), self.book.next_end()) {
            (Some(timer), Some(end)) => Some(timer.min(end)),
            (timer, end) => timer.or(end),
        }
    }

    /// The addresses of a discovered peer, at most [`ClientConfig::addresses_per_peer_max`]; empty if none is known
    /// or its registrations have ended.
    #[must_use]
    pub fn addresses_of(&self, now: Time, peer: &PeerId) -> Vec<Multiaddr> {
        self.book.addresses(self.now.max(now), peer, self.config.addresses_per_peer_max)
    }

    /// The newest record known of a discovered peer whose registration has not ended.
    #[must_use]
    pub fn record_of(&self, now: Time, peer: &PeerId) -> Option<&VerifiedRecord> {
        self.book.record(self.now.max(now), peer)
    }

    /// The registrations that are kept, in the order of their ids, with their namespaces.
    pub fn registrations(&self) -> impl Iterator<Item = (RegistrationId, &Namespace)> {
        self.registrations.iter().map(|(id, registration)| (*id, registration.namespace()))
    }

    /// Whether a registration stands at a point, as far as the point's grants tell.
    #[must_use]
    pub fn is_registered(&self, id: RegistrationId, point: &PeerId) -> bool {
        self.grants(id, point).next().is_some()
    }

    /// The flavours in which a registration stands at a point: none, where it stands without a signature.
    #[must_use]
    pub fn registered_flavours(&self, id: RegistrationId, point: &PeerId) -> Flavours {
        self.grants(id, point).filter_map(|grant| grant.kind.flavour()).collect()
    }

    fn grants(&self, id: RegistrationId, point: &PeerId) -> impl Iterator<Item = Grant> {
        let lanes = self.standing_of_registration(id, point).map(|standing| &standing.lanes[..]).unwrap_or_default();
        lanes.iter().filter_map(|lane| lane.granted).filter(|grant| grant.until > self.now)
    }

    /// The id that the records of this client are about.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.own.peer_id()
    }

    /// The addresses that are advertised, in the order given, as they stand in the records.
    #[must_use]
    pub fn addresses(&self) -> &[Multiaddr] {
        self.own.addresses()
    }

    /// Those of the [`addresses`](Self::addresses) that are in no record, since not all fit.
    pub fn addresses_left_out(&self) -> impl Iterator<Item = &Multiaddr> {
        self.own.left_out()
    }

    /// Sizes and counts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            standings: self.standings.len(),
            queries: self.queries.len(),
            lookup_points: self.lookups.legs(),
            found: self.lookups.peers(),
            found_listings: self.lookups.claims(),
            requests_in_flight: self.in_flight.len(),
            points: self.points.len(),
            cookies: self.cookies.len(),
            peers: self.book.len(),
            peers_bytes: self.book.bytes(),
            events: self.events.len(),
            events_dropped: self.events.dropped(),
            requests_sent: self.requests_sent,
            answers_ignored: self.answers_ignored,
            walks_cut: self.walks_cut,
            pages_held_back: self.pages_held_back,
        }
    }

    /// Takes an instant in; time does not go back.
    fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("peer_id", &self.own.peer_id())
            .field("now", &self.now)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
