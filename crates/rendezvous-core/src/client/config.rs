//! What a client is told once, and the bounds that are no settings.

use core::time::Duration;

use rendezvous_record::{Flavour, Flavours, Limits};

/// Shortest wait between two tries of one request, whatever the cause: no answer, however it is given, makes a tight
/// loop.
pub const RETRY_MIN: Duration = Duration::from_secs(1);

/// Shortest wait between a successful REGISTER and its refresh. A point that grants a lifetime too short for this is
/// not chased: the registration lapses and is renewed at this pace.
pub const REFRESH_MIN: Duration = Duration::from_secs(2);

/// Shortest deadline of a REGISTER that is sent within a remaining lifetime: long enough for a round trip.
pub const REQUEST_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// Shortest interval at which one name is registered at a point that grants much less than was asked for, or that keeps
/// changing whether it takes both envelope flavours. A client that asks for a shorter lifetime itself refreshes after 3/4 of
/// that. So a point that grants one second is sent twelve REGISTERs a minute and no more, and one that grants 7 s or more
/// is renewed in time.
pub const REFRESH_FLOOR: Duration = Duration::from_secs(5);

/// How often a point may refuse its own cookie in one walk. An honest point does so once, after a restart.
pub const COOKIE_REFUSALS_MAX: u32 = 3;

/// Most registrations that walks in progress remember, added up over all walks, to tell a page with news from one without:
/// a namespace of a million. Each takes some 30 bytes until its walk ends.
pub const WALK_SEEN_MAX: usize = 1 << 20;

/// How often an UNREGISTER is tried before the registration is left to its TTL.
pub const UNREGISTER_TRIES_MAX: u32 = 3;

/// Most pairs of point and namespace that are kept registered or are being removed, added up over all registrations.
pub const STANDINGS_MAX: usize = 65_536;

/// Most queries and one-off removals that may wait for their end.
pub const PENDING_MAX: usize = 1_024;

/// Shortest interval of a lookup's polls. What a point answers makes it no shorter, and a poll that fails waits longer.
pub const LOOKUP_EVERY_MIN: Duration = Duration::from_millis(100);

/// Longest interval of a lookup's polls: the longest lifetime of a registration.
pub const LOOKUP_EVERY_MAX: Duration = Duration::from_secs(259_200);

/// Most lookups: as many names as an application looks for at once.
pub const LOOKUPS_MAX: usize = 256;

/// Most pairs of lookup and point.
pub const LOOKUP_POINTS_MAX: usize = 1_024;

/// Most cookies kept; the one longest unused goes first. At fewer than 1000 bytes each they stay below a mebibyte.
pub const COOKIES_MAX: usize = 1_024;

/// Most points remembered beyond those in use; the one longest unused goes first.
pub const POINTS_IDLE_MAX: usize = 4_096;

/// Most points that may speak another dialect than `/rendezvous/1.0.0`.
pub const POINT_DIALECTS_MAX: usize = 4_096;

/// While so many events wait, [`poll_request`](super::Client::poll_request) gives nothing: pages must be taken before
/// more are asked for.
pub const EVENTS_BACKLOG_MAX: usize = 256;

/// Most events that wait. Beyond it the oldest is dropped and counted
/// ([`Stats::events_dropped`](super::Stats::events_dropped)).
pub const EVENTS_MAX: usize = 16_384;

/// REGISTERs remembered after their deadline, so that a late success is noticed; the oldest goes first.
pub const LATE_MAX: usize = 1_024;

/// Settings of a [`Client`](super::Client).
///
/// ```
/// use std::time::Duration;
/// use rendezvous_core::client::ClientConfig;
///
/// let config = ClientConfig { request_timeout: Duration::from_secs(5), ..ClientConfig::default() };
/// assert_eq!(config.peers_max, 10_000);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Envelope flavour that a point is tried with first. Default: standard.
    pub flavour: Flavour,
    /// Envelope flavours that DISCOVER says the client reads (field 64). Default: both.
    pub reads: Flavours,
    /// Whether a point that takes no signed record of either flavour is tried with a `PeerInfo` without a signature, and such
    /// registrations are read ([`Unverified`](super::Unverified)): for points of py-libp2p and berty's Go. Default: no.
    pub legacy_peer_info: bool,
    /// Whether registrations are refreshed before they end. Otherwise what is granted lapses, which
    /// [`Event::Lapsed`](super::Event::Lapsed) tells, and is not tried on. Default: yes.
    pub refreshes: bool,
    /// Bounds of the records that are signed. Those that are read are bounded by the
    /// [`AnswerReader`](super::AnswerReader).
    pub limits: Limits,
    /// Time from a request's hand-over by [`poll_request`](super::Client::poll_request) until it has failed. A REGISTER
    /// within the last part of a lifetime has less, so that several tries fit. Default: 10 s.
    pub request_timeout: Duration,
    /// Shortest back-off of a point that does not answer, and of what a point refuses. Default: 30 s.
    pub backoff_min: Duration,
    /// Longest back-off. Default: 1 h.
    pub backoff_max: Duration,
    /// Most requests in flight at one point; further ones wait their turn. Default: 8, fewer than any
    /// implementation takes on one connection. 0 acts as 1.
    pub requests_per_point_max: usize,
    /// Whether a lifetime that a point refuses is asked for otherwise, once: see "Lifetimes" in the module's
    /// documentation. Default: yes.
    pub adapts_ttl: bool,
    /// Most discovered peers whose addresses are kept. Default: 10 000.
    pub peers_max: usize,
    /// Most of them that one point has brought. Default: 10 000; where it is as many as `peers_max`, one point may fill
    /// the room, and gives way when others have something to tell.
    pub peers_per_point_max: usize,
    /// Most bytes of records kept for those peers, envelopes added up. Default: 8 MiB.
    pub peers_bytes_max: usize,
    /// Most addresses that [`addresses_of`](super::Client::addresses_of) gives of one peer: each is a dial that a
    /// stranger chose. Default: 16.
    pub addresses_per_peer_max: usize,
    /// Most pages of one walk: the page with this number never says that there are more. Default: 100, which at the
    /// largest page are 100 000 registrations.
    pub pages_per_walk_max: u32,
    /// Most bytes of answers in one walk of the application ([`discover`](super::Client::discover)). A lookup has
    /// [`LookupConfig::walk_bytes_max`](super::LookupConfig::walk_bytes_max). The page that reaches the limit is still used,
    /// so a walk reads at most one page, 4 MiB, beyond it. Default: 64 MiB, which at `pages_per_walk_max` full pages is twice
    /// the ordinary size of a registration.
    pub walk_bytes_max: u64,
    /// Most pages in a row that have no registration that is new in the walk, or renewed. An honest listing has such pages
    /// only where the client can use none of a page's registrations. Default: 16. 0 acts as 1.
    pub stale_pages_max: u32,
    /// Longest time of one walk. It is checked when a page has arrived, so a walk may last one `request_timeout` longer.
    /// Default: 10 min: `pages_per_walk_max` pages at 6 s each, where an honest point takes less than 1 s.
    pub walk_timeout: Duration,
    /// Shortest time for which lookups leave a point alone that has reached a [`WalkLimit`](super::WalkLimit). Requests
    /// about registrations, and queries of the application, do not wait for it. Default: 30 s.
    pub listing_backoff_min: Duration,
    /// Longest such time; it doubles with each walk in a row that reaches a limit. Default: 1 h.
    pub listing_backoff_max: Duration,
    /// CPU time, in nominal units ([`PageCost::work`](super::PageCost)), that the answers of one point may cost at once
    /// before its lookups are slowed down. Default: 5 s, in which some 100 000 Ed25519 signatures are verified: as many as
    /// one walk has at most.
    pub work_burst: Duration,
    /// Share of one core, in percent, that the answers of one point may cost after that. Pages and polls of lookups wait
    /// until the point is within its share. Default: 5. 0 acts as 1, and more than 100 as 100.
    pub work_share_percent: u32,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            flavour: Flavour::Standard,
            reads: Flavours::BOTH,
            legacy_peer_info: false,
            refreshes: true,
            limits: Limits::default(),
            request_timeout: Duration::from_secs(10),
            backoff_min: Duration::from_secs(30),
            backoff_max: Duration::from_secs(3_600),
            requests_per_point_max: 8,
            adapts_ttl: true,
            peers_max: 10_000,
            peers_per_point_max: 10_000,
            peers_bytes_max: 8 << 20,
            addresses_per_peer_max: 16,
            pages_per_walk_max: 100,
            walk_bytes_max: 64 << 20,
            stale_pages_max: 16,
            walk_timeout: Duration::from_secs(600),
            listing_backoff_min: Duration::from_secs(30),
            listing_backoff_max: Duration::from_secs(3_600),
            work_burst: Duration::from_secs(5),
            work_share_percent: 5,
        }
    }
}
