//! What a session may take: bytes and time.

use std::time::Duration;

/// Longest message content: 10 MiB, as the protocols over devp2p have it, so that one that is ported keeps its messages.
/// A session takes that much only when its peer has sent that much.
pub const MESSAGE_BYTES_MAX: usize = 10 << 20;

/// Time in which a message must have left: 20 seconds, as in devp2p. A peer that reads nothing for so long is lost.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(20);

/// Time in which a message that has begun must have come: 30 seconds, as in devp2p.
pub const READ_DEADLINE: Duration = Duration::from_secs(30);

/// Time for parting: the end frame must have left, and the other side have closed. Longer than a round trip to anywhere,
/// and short enough for a node that stops.
pub const END_DEADLINE: Duration = Duration::from_secs(2);

/// Limits of the sessions of a [`SubProtocol`](super::SubProtocol).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Content of a message in bytes, sent or received. Default [`MESSAGE_BYTES_MAX`].
    pub message_bytes_max: usize,
    /// From when a message is the next to be written until the stream has taken it. Default [`WRITE_DEADLINE`].
    pub write_deadline: Duration,
    /// From the first byte of a message until the last; time in which nobody receives does not count. How long the first
    /// byte may take is the run function's business. Default [`READ_DEADLINE`].
    pub read_deadline: Duration,
    /// For parting, once the run function has returned. Default [`END_DEADLINE`].
    pub end_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: MESSAGE_BYTES_MAX,
            write_deadline: WRITE_DEADLINE,
            read_deadline: READ_DEADLINE,
            end_deadline: END_DEADLINE,
        }
    }
}
