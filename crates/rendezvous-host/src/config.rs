//! Settings of the transport.

use std::time::Duration;

use libp2p::core::upgrade;
use rendezvous_core::server::ExemptNetworks;

/// Longest time for a handshake: TCP, noise and yamux, or QUIC. A slow satellite link takes two seconds.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Inbound handshakes in flight, for TCP and for QUIC each. One takes a few round trips: at half a second each, a
/// thousand peers a second come in.
pub const HANDSHAKES_MAX: usize = 512;

/// Inbound handshakes begun in a second, for TCP and for QUIC each. One costs some 0.4 ms of CPU time, so these are less
/// than half of one core.
pub const HANDSHAKES_PER_SECOND_MAX: u32 = 1_000;

/// Streams of yamux on one connection; whoever opens one more loses the connection, as yamux has it. Well above the 128
/// that a point serves, since of those the next is reset alone.
pub const YAMUX_STREAMS_MAX: usize = 512;

/// Received bytes of one connection that nobody has read, and [`FRAME_COST_BYTES`] for each frame of them. A request has
/// at most 64 KiB and most have less than one; a client that sends a hundred requests at once stays below a fifth of it.
pub const UNREAD_PER_CONNECTION_MAX: usize = 1 << 20;

/// The same for a node, whose sub-protocols and calls carry messages of several MiB.
pub const NODE_UNREAD_PER_CONNECTION_MAX: usize = 32 << 20;

/// Streams of QUIC on one connection, opened by the other side; it waits with one more.
pub const QUIC_STREAMS_MAX: usize = 256;

/// Bytes that one connection over QUIC may send unread, and that this side may send unacknowledged to begin with. QUIC keeps
/// both to itself, so they are part of what a connection costs. A request of 64 KiB takes two windows.
pub const QUIC_WINDOW: usize = 32 << 10;

/// The same for a node.
pub const NODE_QUIC_WINDOW: usize = 8 << 20;

/// Growth of the windows of a node's connection: 16 MiB in a round trip of 100 ms are 160 MiB a second.
pub const NODE_WINDOW_GROWTH_MAX: usize = 16 << 20;

/// Unread bytes of all connections together.
pub const UNREAD_MAX: usize = 128 << 20;

/// Bytes that yamux keeps for a frame beyond its body, allocator included.
pub const FRAME_COST_BYTES: usize = 100;

/// Bytes of one connection that are written and have not left. More wait before they are written, so that the deadline of
/// an answer holds for its last byte.
pub const UNSENT_PER_CONNECTION_MAX: usize = 128 << 10;

/// The same for a node.
pub const NODE_UNSENT_PER_CONNECTION_MAX: usize = 4 << 20;

/// Unsent bytes of all connections together.
pub const UNSENT_MAX: usize = 128 << 20;

/// Time for which a connection with unsent bytes may take none of them. A reader that takes a byte now and then meets the
/// deadlines of the answers instead.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest time for a connection to close in good order. A peer that reads nothing would hold it for as long as it likes.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// CPU time in a second that all connections together may cause, for each core, before the heaviest are slowed.
pub const WORK_PER_CORE: Duration = Duration::from_millis(600);

/// Settings of [`transport`](crate::transport). The shares of the prefixes are taken from [`Self::exempt`] on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Longest time for a connection to be set up, in either direction. Default [`HANDSHAKE_TIMEOUT`].
    pub handshake_timeout: Duration,
    /// Inbound handshakes in flight, for TCP and for QUIC each, at least one. For one more, the oldest of the IP prefix with
    /// the most of them is given up. Default [`HANDSHAKES_MAX`].
    pub handshakes_max: usize,
    /// Inbound handshakes begun in a second, for TCP and for QUIC each, at least one. Others wait, and the prefix that has
    /// begun the fewest is next. Default [`HANDSHAKES_PER_SECOND_MAX`].
    pub handshakes_per_second_max: u32,
    /// Streams on one connection over TCP, from 1 to 8,192; with one more it ends. Default [`YAMUX_STREAMS_MAX`].
    pub streams_max: usize,
    /// Streams on one connection over QUIC, opened by the other side. Default [`QUIC_STREAMS_MAX`].
    pub quic_streams_max: usize,
    /// Bytes that one connection over QUIC may send unread, and that this side sends unacknowledged to begin with. While less
    /// than half of [`Self::unsent_max`] is taken, a connection whose writers wait may send
    /// [`Self::unsent_per_connection_max`]. Default [`QUIC_WINDOW`].
    pub quic_window: usize,
    /// Bytes by which the windows of all streams of one connection over TCP may grow beyond 256 KiB each, for streams that
    /// carry much over a long way. They grow by measures that the other side can forge, so this must leave room below
    /// [`Self::unread_per_connection_max`]. Default 0: a point's messages fit a window.
    pub window_growth_max: usize,
    /// Unread bytes of one connection; above, it is closed. QUIC has a window instead. Default [`UNREAD_PER_CONNECTION_MAX`].
    pub unread_per_connection_max: usize,
    /// Unread bytes of all connections together; above, the connection with the most of them is closed, of the prefix with
    /// the most of them. Default [`UNREAD_MAX`].
    pub unread_max: usize,
    /// Unsent bytes of one connection; more wait. Default [`UNSENT_PER_CONNECTION_MAX`].
    pub unsent_per_connection_max: usize,
    /// Unsent bytes of all connections together; above, connections are closed as for [`Self::unread_max`]. Default
    /// [`UNSENT_MAX`].
    pub unsent_max: usize,
    /// Time for which a connection with unsent bytes may take none; then it is closed. Default [`STALL_TIMEOUT`].
    pub stall_timeout: Duration,
    /// Longest time for a connection to close in good order. Default [`CLOSE_TIMEOUT`].
    pub close_timeout: Duration,
    /// CPU time in a second that all connections together may cause before the heaviest connections are slowed. The costs
    /// are those of streams, frames and bytes ([`cost`](crate::cost)); a request has a rate of its own in the point's
    /// settings. Default [`WORK_PER_CORE`] for each core.
    pub work_per_second_max: Duration,
    /// Networks without a share per prefix.
    pub exempt: ExemptNetworks,
    /// How protocols are negotiated over TCP. The lazy way saves a dialer half a round trip. Default
    /// [`upgrade::Version::V1Lazy`].
    pub negotiation: upgrade::Version,
}

impl Default for Config {
    /// The settings of a point.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
        Self {
            handshake_timeout: HANDSHAKE_TIMEOUT,
            handshakes_max: HANDSHAKES_MAX,
            handshakes_per_second_max: HANDSHAKES_PER_SECOND_MAX,
            streams_max: YAMUX_STREAMS_MAX,
            quic_streams_max: QUIC_STREAMS_MAX,
            quic_window: QUIC_WINDOW,
            window_growth_max: 0,
            unread_per_connection_max: UNREAD_PER_CONNECTION_MAX,
            unread_max: UNREAD_MAX,
            unsent_per_connection_max: UNSENT_PER_CONNECTION_MAX,
            unsent_max: UNSENT_MAX,
            stall_timeout: STALL_TIMEOUT,
            close_timeout: CLOSE_TIMEOUT,
            work_per_second_max: WORK_PER_CORE * cores,
            exempt: ExemptNetworks::default(),
            negotiation: upgrade::Version::V1Lazy,
        }
    }
}

impl Config {
    /// The settings of a node, whose streams carry larger messages than a point's.
    #[must_use]
    pub fn node() -> Self {
        Self {
            quic_window: NODE_QUIC_WINDOW,
            window_growth_max: NODE_WINDOW_GROWTH_MAX,
            unread_per_connection_max: NODE_UNREAD_PER_CONNECTION_MAX,
            unsent_per_connection_max: NODE_UNSENT_PER_CONNECTION_MAX,
            unread_max: 4 * UNREAD_MAX,
            unsent_max: 4 * UNSENT_MAX,
            negotiation: upgrade::Version::V1,
            ..Self::default()
        }
    }
}
