//! Settings of the shell around the point.

use std::time::Duration;

use rendezvous_core::server::ServerConfig;
use rendezvous_wire::frame;

use crate::clock::SPAN_MAX;

/// Streams in flight on one connection. A rust-libp2p client opens up to 100 at once, one for each request: when its
/// addresses change it registers again in all its namespaces, and a request that is reset it does not repeat.
pub const STREAMS_PER_CONNECTION_MAX: usize = 128;

/// Time for a frame, from its first byte to its last.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// Time that a stream may be silent between frames: clients of the Go family poll every two minutes on one stream and
/// do not come back when it is closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Time for an answer to be taken by its reader.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for the protocol of a stream to be negotiated.
pub const NEGOTIATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of [`Behaviour`](super::Behaviour).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Settings of the point itself. [`ServerConfig::deferred_commit`] is ignored: the registry lives in memory.
    pub server: ServerConfig,
    /// Longest request payload in bytes. Default [`frame::REQUEST_BYTES_MAX`].
    pub request_bytes_max: usize,
    /// Streams in flight on one connection; another one is reset. Default [`STREAMS_PER_CONNECTION_MAX`].
    pub streams_per_connection_max: usize,
    /// Time for a frame, from its first byte to its last; at most a day, as all of these. Default [`FRAME_TIMEOUT`].
    pub frame_timeout: Duration,
    /// Time that a stream may be silent between frames. Default [`IDLE_TIMEOUT`].
    pub idle_timeout: Duration,
    /// Time for an answer to be taken by its reader. Default [`WRITE_TIMEOUT`].
    pub write_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: ServerConfig::default(),
            request_bytes_max: frame::REQUEST_BYTES_MAX,
            streams_per_connection_max: STREAMS_PER_CONNECTION_MAX,
            frame_timeout: FRAME_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
        }
    }
}

impl Config {
    /// The settings with each brought within what timers hold.
    #[must_use]
    pub(super) fn bounded(mut self) -> Self {
        for timeout in [&mut self.frame_timeout, &mut self.idle_timeout, &mut self.write_timeout] {
            *timeout = (*timeout).min(SPAN_MAX);
        }
        self
    }
}
