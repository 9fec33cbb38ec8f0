//! Settings, what a denied connection is told of, and the counters.

use std::time::Duration;

use rendezvous_core::server::ExemptNetworks;

/// Inbound connections in total. With a descriptor for each of them where they are TCP, the process needs a limit of open
/// files above this.
pub const CONNECTIONS_MAX: usize = 10_000;

/// Inbound connections of one peer: one is enough, and a peer that changes networks, or that is reached by several
/// transports at once, has a few for a while.
pub const CONNECTIONS_PER_PEER_MAX: usize = 8;

/// Inbound connections from one IP prefix: an office or a carrier's NAT has many peers behind one address.
pub const CONNECTIONS_PER_PREFIX_MAX: usize = 256;

/// Inbound handshakes in flight. One takes a few round trips: at half a second each, a thousand peers a second come in.
pub const PENDING_MAX: usize = 512;

/// Inbound handshakes in flight with one IP prefix.
pub const PENDING_PER_PREFIX_MAX: usize = 64;

/// Time after which an unused connection is closed: clients of the Go family are silent for two minutes between requests.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(180);

/// Time after which an unused connection of a prefix above its share is closed while there is little room: clients that
/// open a connection for each request are done with it by then.
pub const PRESSURE_IDLE: Duration = Duration::from_secs(10);

/// Settings of [`Behaviour`](super::Behaviour). The numbers are of inbound connections; at zero none is admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Established connections in total. Default [`CONNECTIONS_MAX`].
    ///
    /// The share of each IP prefix is this number divided by the prefixes that are connected, plus one. With
    /// [`Behaviour::watch`](super::Behaviour::watch), prefixes above their share lose idle connections from three quarters
    /// on; and at the total, a newcomer within its share takes the place of the idlest connection of the prefix with most.
    pub connections_max: usize,
    /// Established connections of one peer. Default [`CONNECTIONS_PER_PEER_MAX`].
    pub connections_per_peer_max: usize,
    /// Established connections from one IP prefix, and those without one together. Default [`CONNECTIONS_PER_PREFIX_MAX`].
    pub connections_per_prefix_max: usize,
    /// Handshakes in flight in total. Default [`PENDING_MAX`].
    pub pending_max: usize,
    /// Handshakes in flight with one IP prefix, and those without one together. Default [`PENDING_PER_PREFIX_MAX`].
    pub pending_per_prefix_max: usize,
    /// Time since its last use after which a connection is closed, with [`Behaviour::watch`](super::Behaviour::watch); one
    /// with an open stream that has carried a request stays until the stream ends. Default [`IDLE_TIMEOUT`].
    pub idle_timeout: Duration,
    /// The same for prefixes above their share while three quarters of [`Self::connections_max`] are taken, whether a stream
    /// is open or not. Default [`PRESSURE_IDLE`].
    pub pressure_idle: Duration,
    /// Networks without limits per IP prefix: behind a proxy or a container bridge every client has the same prefix. The
    /// totals and the limit per peer apply to them. Default none.
    pub exempt: ExemptNetworks,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            connections_per_peer_max: CONNECTIONS_PER_PEER_MAX,
            connections_per_prefix_max: CONNECTIONS_PER_PREFIX_MAX,
            pending_max: PENDING_MAX,
            pending_per_prefix_max: PENDING_PER_PREFIX_MAX,
            idle_timeout: IDLE_TIMEOUT,
            pressure_idle: PRESSURE_IDLE,
            exempt: ExemptNetworks::default(),
        }
    }
}

/// Why a connection was denied: the limit that it would have exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Exceeded {
    /// [`Config::connections_max`].
    #[error("too many connections: {max} is the most")]
    Connections {
        /// The limit.
        max: usize,
    },
    /// [`Config::connections_per_peer_max`].
    #[error("too many connections of this peer: {max} is the most")]
    ConnectionsPerPeer {
        /// The limit.
        max: usize,
    },
    /// [`Config::connections_per_prefix_max`].
    #[error("too many connections from this network: {max} is the most")]
    ConnectionsPerPrefix {
        /// The limit.
        max: usize,
    },
    /// [`Config::pending_max`].
    #[error("too many handshakes in flight: {max} is the most")]
    Pending {
        /// The limit.
        max: usize,
    },
    /// [`Config::pending_per_prefix_max`].
    #[error("too many handshakes in flight with this network: {max} is the most")]
    PendingPerPrefix {
        /// The limit.
        max: usize,
    },
}

/// What is connected, and how often each limit has denied or closed a connection since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Inbound handshakes in flight.
    pub pending: usize,
    /// Inbound connections, without those that are closing.
    pub established: usize,
    /// Connections that this side is closing: at most an eighth of [`Config::connections_max`], and the unresponsive ones.
    pub closing: usize,
    /// Dials in flight.
    pub pending_outbound: usize,
    /// Outbound connections.
    pub established_outbound: usize,
    /// Peers with inbound connections.
    pub peers: usize,
    /// IP prefixes with inbound connections or handshakes.
    pub prefixes: usize,
    /// Connections denied at [`Config::connections_max`].
    pub connections_denied: u64,
    /// Connections denied at [`Config::connections_per_peer_max`].
    pub connections_per_peer_denied: u64,
    /// Connections denied at [`Config::connections_per_prefix_max`].
    pub connections_per_prefix_denied: u64,
    /// Connections denied at [`Config::pending_max`].
    pub pending_denied: u64,
    /// Connections denied at [`Config::pending_per_prefix_max`].
    pub pending_per_prefix_denied: u64,
    /// Connections closed at [`Config::idle_timeout`].
    pub idle_closed: u64,
    /// Connections closed because their IP prefix was above its share near [`Config::connections_max`].
    pub displaced_closed: u64,
    /// Connections closed because their peer did not answer ([`Behaviour::peer_unresponsive`](super::Behaviour::peer_unresponsive)).
    pub unresponsive_closed: u64,
}
