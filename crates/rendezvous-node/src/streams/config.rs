//! Settings and counters.

use std::time::Duration;

/// How long an open may take: a few round trips at most, on a connection that stands.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time-out: whoever waits longer for a stream has forgotten it.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);

/// Opens that wait for one peer. A peer that answers ends each within a round trip.
pub const OPENS_PER_PEER_MAX: usize = 64;

/// Opens that wait in all: as many as 64 peers that never answer take from the others, for a time-out.
pub const OPENS_MAX: usize = 4096;

/// Streams that wait at one acceptor: a burst, while the acceptor's task has its turn.
pub const QUEUE_MAX: usize = 256;

/// Streams of one peer that wait at all acceptors: it takes more than a few peers to fill one.
pub const QUEUE_PER_PEER_MAX: usize = 16;

/// Inbound streams of one connection: requests that a peer makes at once, with room to spare.
pub const INBOUND_PER_CONNECTION_MAX: usize = 256;

/// Inbound streams in all. Behind each are a buffer of the multiplexer and, as a rule, a task.
pub const INBOUND_MAX: usize = 16_384;

/// Settings of [`Behaviour`](super::Behaviour).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// How long an open may take, and how long the negotiation of an inbound stream. Default [`OPEN_TIMEOUT`]; what is
    /// above [`TIMEOUT_MAX`] counts as that.
    pub open_timeout: Duration,
    /// Opens that wait for one peer, and negotiations that one connection has under way. Default [`OPENS_PER_PEER_MAX`].
    /// At zero nothing is opened.
    pub opens_per_peer_max: usize,
    /// Opens that wait in all. Default [`OPENS_MAX`]. At zero nothing is opened.
    pub opens_max: usize,
    /// Streams that wait at one acceptor. Default [`QUEUE_MAX`]; zero counts as one, since a stream is handed over by way
    /// of the queue.
    pub queue_max: usize,
    /// Streams of one peer that wait at all acceptors. Default [`QUEUE_PER_PEER_MAX`]; zero counts as one.
    pub queue_per_peer_max: usize,
    /// Inbound streams alive on one connection. Default [`INBOUND_PER_CONNECTION_MAX`]. At zero none is admitted.
    pub inbound_per_connection_max: usize,
    /// Inbound streams alive in all. Default [`INBOUND_MAX`]. At zero none is admitted.
    pub inbound_max: usize,
}

impl Config {
    /// [`Self::open_timeout`] within its bound, which keeps a deadline from overflowing.
    pub(super) fn timeout(&self) -> Duration {
        self.open_timeout.min(TIMEOUT_MAX)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            open_timeout: OPEN_TIMEOUT,
            opens_per_peer_max: OPENS_PER_PEER_MAX,
            opens_max: OPENS_MAX,
            queue_max: QUEUE_MAX,
            queue_per_peer_max: QUEUE_PER_PEER_MAX,
            inbound_per_connection_max: INBOUND_PER_CONNECTION_MAX,
            inbound_max: INBOUND_MAX,
        }
    }
}

/// What there is at this time, and how often each limit was met since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Peers with connections.
    pub peers: usize,
    /// Connections.
    pub connections: usize,
    /// Opens that wait for their stream.
    pub opens: usize,
    /// Opens that no connection has taken up yet; those of futures that were dropped are not among them.
    pub opens_queued: usize,
    /// Inbound streams alive, those that wait at an acceptor among them.
    pub inbound: usize,
    /// Protocols that are offered.
    pub protocols: usize,
    /// Streams opened.
    pub opened: u64,
    /// Streams handed to an acceptor's queue.
    pub accepted: u64,
    /// Opens that ended at [`Config::open_timeout`].
    pub opens_timed_out: u64,
    /// Opens refused at [`Config::opens_per_peer_max`].
    pub opens_per_peer_refused: u64,
    /// Opens refused at [`Config::opens_max`].
    pub opens_refused: u64,
    /// Inbound streams reset because their acceptor's queue held [`Config::queue_max`].
    pub queue_refused: u64,
    /// Inbound streams reset because [`Config::queue_per_peer_max`] of their peer waited.
    pub queue_per_peer_refused: u64,
    /// Inbound streams reset at [`Config::inbound_per_connection_max`].
    pub inbound_per_connection_refused: u64,
    /// Inbound streams reset at [`Config::inbound_max`].
    pub inbound_refused: u64,
    /// Inbound streams reset because their acceptor went while they were negotiated.
    pub unclaimed: u64,
}
