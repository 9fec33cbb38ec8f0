//! What an operator can set.

use core::time::Duration;

use rendezvous_record::{Flavour, Flavours, Limits};
use rendezvous_wire::{Limit, Ttl, frame, waku};

use super::{
    admission::{Access, Policy, Rate},
    registry::RECORD_BYTES_CEILING,
};

/// Registrations per peer (specification, "Recommendations for Rendezvous Points configurations").
pub const REGISTRATIONS_PER_PEER_MAX: usize = 1_000;

/// Registrations in total: some 300 MiB with records of ordinary size.
pub const REGISTRATIONS_MAX: usize = 1_000_000;

/// Shortest TTL accepted.
pub const TTL_MIN: Ttl = Ttl::from_secs(60);

/// Shortest TTL accepted in the Waku dialect, whose registrations are renewed every few seconds.
pub const WAKU_TTL_MIN: Ttl = Ttl::from_secs(1);

/// How long the answer to a requester of whom nothing is known may wait for identify.
pub const AGENT_PATIENCE: Duration = Duration::from_millis(250);

/// Events kept for a listener that is slow.
pub const EVENTS_MAX: usize = 4_096;

/// Bytes of records that may wait to be committed: some 200,000 records of ordinary size.
pub const PENDING_BYTES_MAX: usize = 64 << 20;

/// Least bytes of a page: the largest record, its namespace and a cookie fit, so that every page goes on.
pub const PAGE_BYTES_MIN: usize = RECORD_BYTES_CEILING + (8 << 10);

/// Settings of a rendezvous point.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Shortest TTL that REGISTER may ask for. Default [`TTL_MIN`]; the specification recommends 2 hours.
    pub ttl_min: Ttl,
    /// Longest TTL that REGISTER may ask for. Default 72 hours, and never more.
    pub ttl_max: Ttl,
    /// Granted where REGISTER names none, brought within the bounds. Default 2 hours.
    pub ttl_default: Ttl,
    /// Shortest TTL in the Waku dialect. Default [`WAKU_TTL_MIN`].
    pub waku_ttl_min: Ttl,
    /// Longest TTL in the Waku dialect; where a policy has a shorter one, that. Default 20 seconds.
    pub waku_ttl_max: Ttl,
    /// Granted in the Waku dialect where REGISTER names none, brought within the bounds. Default 20 seconds.
    pub waku_ttl_default: Ttl,
    /// Registrations that one peer may have. Default [`REGISTRATIONS_PER_PEER_MAX`].
    pub registrations_per_peer_max: usize,
    /// Registrations in total. Default [`REGISTRATIONS_MAX`].
    pub registrations_max: usize,
    /// Registrations that may come from one IP prefix (/24, /56). Default none but the total.
    pub registrations_per_prefix_max: usize,
    /// Registrations in one namespace. Default none but the total.
    pub registrations_per_namespace_max: usize,
    /// Bytes of all records together. Default none. Renewals with longer records pass up to an eighth above it.
    pub record_bytes_max: u64,
    /// How often one peer may ask. Default as often as it likes.
    pub rate_per_peer: Option<Rate>,
    /// How often the peers of one IP prefix may ask. Default as often as they like.
    pub rate_per_prefix: Option<Rate>,
    /// What holds in some namespaces. Default nothing.
    pub policies: Vec<Policy>,
    /// Who may list all namespaces at once. Default anyone; where a policy keeps a peer from discovering in some
    /// namespace, that peer may not in any case.
    pub discover_all: Access,
    /// Registrations in one answer. Default 1000.
    pub page_registrations_max: Limit,
    /// Payload bytes of one answer to DISCOVER. Default and most [`frame::PAGE_BYTES_MAX`].
    pub page_bytes_max: usize,
    /// Bounds on records. Default 8 KiB and 32 addresses; envelopes of more than 32 KiB are refused whatever this says.
    pub record_limits: Limits,
    /// Flavours of envelope that REGISTER may carry. Default both.
    pub accepts: Flavours,
    /// Whether REGISTER may carry a `PeerInfo` without a signature, as py-libp2p and berty's Go write it, and such requesters
    /// are served in that form. Default no. Unsigned records are kept apart: see [`Server`](super::Server).
    pub legacy_peer_info: bool,
    /// What a requester reads of whom nothing is known, where both flavours are there. Default the standard flavour,
    /// which every implementation but one reads.
    pub unknown_reads: Flavours,
    /// Events kept for [`Server::poll_event`](super::Server::poll_event); zero for none. Default zero.
    pub events_max: usize,
    /// Whether changes go through [`Server::poll_commit`](super::Server::poll_commit) before they are visible. Default
    /// no: a registry in memory commits at once.
    pub deferred_commit: bool,
    /// Changes that may wait to be committed. Default 65,536; above it REGISTER is answered E_UNAVAILABLE.
    pub pending_max: usize,
    /// Bytes of the records in changes that wait to be committed. Default [`PENDING_BYTES_MAX`]; above it REGISTER is
    /// answered E_UNAVAILABLE.
    pub pending_bytes_max: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            ttl_min: TTL_MIN,
            ttl_max: Ttl::RECOMMENDED_MAX,
            ttl_default: Ttl::DEFAULT,
            waku_ttl_min: WAKU_TTL_MIN,
            waku_ttl_max: waku::TTL_MAX,
            waku_ttl_default: waku::TTL_DEFAULT,
            registrations_per_peer_max: REGISTRATIONS_PER_PEER_MAX,
            registrations_max: REGISTRATIONS_MAX,
            registrations_per_prefix_max: usize::MAX,
            registrations_per_namespace_max: usize::MAX,
            record_bytes_max: u64::MAX,
            rate_per_peer: None,
            rate_per_prefix: None,
            policies: Vec::new(),
            discover_all: Access::Anyone,
            page_registrations_max: Limit::MAX,
            page_bytes_max: frame::PAGE_BYTES_MAX,
            record_limits: Limits::default(),
            accepts: Flavours::BOTH,
            legacy_peer_info: false,
            unknown_reads: Flavours::from(Flavour::Standard),
            events_max: 0,
            deferred_commit: false,
            pending_max: 1 << 16,
            pending_bytes_max: PENDING_BYTES_MAX,
        }
    }
}

impl ServerConfig {
    /// The settings with each brought within what the structures hold.
    #[must_use]
    pub(super) fn bounded(mut self) -> Self {
        self.ttl_max = self.ttl_max.clamp(Ttl::from_secs(1), Ttl::RECOMMENDED_MAX);
        self.ttl_min = self.ttl_min.clamp(Ttl::from_secs(1), self.ttl_max);
        self.ttl_default = self.ttl_default.clamp(self.ttl_min, self.ttl_max);
        self.waku_ttl_max = self.waku_ttl_max.clamp(Ttl::from_secs(1), Ttl::RECOMMENDED_MAX);
        self.waku_ttl_min = self.waku_ttl_min.clamp(Ttl::from_secs(1), self.waku_ttl_max);
        self.waku_ttl_default = self.waku_ttl_default.clamp(self.waku_ttl_min, self.waku_ttl_max);
        self.page_bytes_max = self.page_bytes_max.clamp(PAGE_BYTES_MIN, frame::PAGE_BYTES_MAX);
        self.record_limits.envelope_bytes_max = self.record_limits.envelope_bytes_max.min(RECORD_BYTES_CEILING);
        self
    }
}
