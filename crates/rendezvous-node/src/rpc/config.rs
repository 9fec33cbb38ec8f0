//! Settings of both sides.

use std::time::Duration;

/// Longest item, in either direction: 1 MiB of CBOR. With [`CALLS_MAX`] it bounds what callers can make a server hold.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Longest header: two names, a number and what later versions add.
pub const HEADER_BYTES_MAX: usize = 4 << 10;

/// Longest name of a service or of a method, in bytes: two of them always fit a header.
pub const NAME_BYTES_MAX: usize = 255;

/// Longest message of an error, in bytes; what is longer is cut.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 16 << 10;

/// Longest body of an error frame: the longest message, and the fields beside it.
pub(super) const ERROR_BYTES_MAX: usize = ERROR_MESSAGE_BYTES_MAX + 256;

/// Time for a caller to send the header.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for the other side to take what is written to it: who reads nothing for so long is cut off.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest that a call may take, whatever its caller asks for.
pub const CALL_TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// Calls of one peer that are served at once.
pub const CALLS_PER_PEER_MAX: usize = 32;

/// Calls of all peers that are served at once: at [`MESSAGE_BYTES_MAX`] each, 512 MiB of requests.
pub const CALLS_MAX: usize = 512;

/// Bytes of a call's items that are read ahead of a method that has not taken them, so that a cancel behind them is seen.
pub const READ_AHEAD_BYTES: usize = 64 << 10;

/// Time that a caller gives a call unless told otherwise.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Peers that one multi-call asks at once.
pub const MULTI_CALLS_MAX: usize = 32;

/// Longest span that is reckoned with, a year: timers hold it, and nothing overflows.
const SPAN_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Settings of the side that is called.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Longest item that is read or written, in bytes of CBOR. Default [`MESSAGE_BYTES_MAX`].
    pub message_bytes_max: usize,
    /// Longest header, in bytes of CBOR. Default [`HEADER_BYTES_MAX`].
    pub header_bytes_max: usize,
    /// Time for the header to arrive. Default [`HEADER_TIMEOUT`].
    pub header_timeout: Duration,
    /// Time for each item to be taken by the caller. Default [`WRITE_TIMEOUT`].
    pub write_timeout: Duration,
    /// Longest that a call may take: a longer time that a caller asks for is cut to it, and a caller that asks for none
    /// gets it. Default [`CALL_TIMEOUT_MAX`].
    pub call_timeout_max: Duration,
    /// Calls of one peer that are served at once; another one is refused as overloaded. Default [`CALLS_PER_PEER_MAX`].
    pub calls_per_peer_max: usize,
    /// Calls of all peers that are served at once; another one is refused as overloaded. Default [`CALLS_MAX`].
    pub calls_max: usize,
    /// Bytes of items that are read before the method takes them, in addition to one item. Default [`READ_AHEAD_BYTES`].
    pub read_ahead_bytes: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            message_bytes_max: MESSAGE_BYTES_MAX,
            header_bytes_max: HEADER_BYTES_MAX,
            header_timeout: HEADER_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            call_timeout_max: CALL_TIMEOUT_MAX,
            calls_per_peer_max: CALLS_PER_PEER_MAX,
            calls_max: CALLS_MAX,
            read_ahead_bytes: READ_AHEAD_BYTES,
        }
    }
}

impl ServerConfig {
    /// The settings with each brought within what timers and semaphores hold.
    #[must_use]
    pub(super) fn bounded(mut self) -> Self {
        for span in [&mut self.header_timeout, &mut self.write_timeout, &mut self.call_timeout_max] {
            *span = (*span).min(SPAN_MAX);
        }
        // A frame is its kind and its body, and the sum must not overflow.
        self.message_bytes_max = self.message_bytes_max.min(u32::MAX as usize);
        self.header_bytes_max = self.header_bytes_max.min(u32::MAX as usize);
        self.read_ahead_bytes = self.read_ahead_bytes.clamp(1, u32::MAX as usize >> 3);
        self
    }
}

/// Settings of the side that calls.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Longest item that is read or written, in bytes of CBOR. Default [`MESSAGE_BYTES_MAX`].
    pub message_bytes_max: usize,
    /// Time for a call, from the opening of its stream to its end; `None` leaves it to the server's cap. Default
    /// [`CALL_TIMEOUT`].
    pub call_timeout: Option<Duration>,
    /// Peers that one multi-call asks at once, at least one. Default [`MULTI_CALLS_MAX`].
    pub multi_calls_max: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            message_bytes_max: MESSAGE_BYTES_MAX,
            call_timeout: Some(CALL_TIMEOUT),
            multi_calls_max: MULTI_CALLS_MAX,
        }
    }
}

impl ClientConfig {
    /// The settings with each brought within what timers hold.
    #[must_use]
    pub(super) fn bounded(mut self) -> Self {
        self.call_timeout = self.call_timeout.map(|span| span.min(SPAN_MAX));
        self.message_bytes_max = self.message_bytes_max.min(u32::MAX as usize);
        self.multi_calls_max = self.multi_calls_max.max(1);
        self
    }
}
