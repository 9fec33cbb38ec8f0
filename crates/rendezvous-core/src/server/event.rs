//! What has happened, for whoever listens, and counters.

use libp2p_identity::PeerId;
use rendezvous_wire::{Namespace, Ttl};

use super::refusal::{Refusal, RefusalCounts};
use crate::RecordKind;

/// Something that has happened at the point.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A peer is registered.
    Registered {
        /// Who.
        peer: PeerId,
        /// Where.
        namespace: Namespace,
        /// Kind of the record.
        kind: RecordKind,
        /// Granted.
        ttl: Ttl,
        /// Whether the peer was registered there already.
        renewed: bool,
    },
    /// A peer has withdrawn a registration.
    Unregistered {
        /// Who.
        peer: PeerId,
        /// Where.
        namespace: Namespace,
    },
    /// A registration has ended by its TTL.
    Expired {
        /// Who.
        peer: PeerId,
        /// Where.
        namespace: Namespace,
    },
    /// A peer was given a page.
    Served {
        /// Who.
        peer: PeerId,
        /// Of which namespace; `None` for all.
        namespace: Option<Namespace>,
        /// Registrations on the page.
        count: usize,
    },
    /// A request was refused.
    Refused {
        /// Who asked.
        peer: PeerId,
        /// Why not.
        refusal: Refusal,
    },
    /// So many events were dropped, since nobody took them in time.
    Missed {
        /// Number of events.
        count: u64,
    },
}

/// Requests that came too fast so far, by the limit that they met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooFastCounts {
    /// [`ServerConfig::rate_per_peer`](super::ServerConfig::rate_per_peer).
    pub rate_per_peer: u64,
    /// [`ServerConfig::rate_per_prefix`](super::ServerConfig::rate_per_prefix).
    pub rate_per_prefix: u64,
    /// [`ServerConfig::work_per_peer`](super::ServerConfig::work_per_peer).
    pub work_per_peer: u64,
    /// [`ServerConfig::work_per_prefix`](super::ServerConfig::work_per_prefix).
    pub work_per_prefix: u64,
    /// A share of [`ServerConfig::work_max_per_sec`](super::ServerConfig::work_max_per_sec).
    pub work_max: u64,
}

/// Counters of a point since its start, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Registrations of (peer, namespace) held.
    pub registrations: usize,
    /// Of these, without a signature: zero, unless [`ServerConfig::legacy_peer_info`](super::ServerConfig) is set.
    pub unsigned: usize,
    /// Namespaces that hold one.
    pub namespaces: usize,
    /// Bytes of the records held.
    pub record_bytes: u64,
    /// New registrations so far.
    pub registers: u64,
    /// Renewals so far.
    pub renewals: u64,
    /// Withdrawals so far.
    pub unregisters: u64,
    /// Registrations ended by their TTL so far.
    pub expiries: u64,
    /// Pages served so far.
    pub discovers: u64,
    /// Registrations served so far.
    pub served: u64,
    /// Registrations granted for less time than they asked for so far, since the point was nearly full.
    pub ttls_shortened: u64,
    /// Requests refused so far.
    pub refusals: u64,
    /// Of these, by kind.
    pub refused: RefusalCounts,
    /// Of those that came too fast, by the limit that they met.
    pub too_fast: TooFastCounts,
    /// Records that have ended and could not be taken out of the log, since too many such waited: it drops them when it is
    /// read next.
    pub forgets_dropped: u64,
}
