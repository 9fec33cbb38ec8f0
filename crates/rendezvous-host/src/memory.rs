//! How a point's memory is shared out.

/// Memory that a connection costs while it does nothing: its tasks, the buffers of noise and yamux or of QUIC, and its entries
/// in the behaviours; measured at 41 KiB over TCP.
pub const CONNECTION_COST_BYTES: usize = 48 << 10;

/// Memory that a stream costs which waits for a request.
pub const STREAM_COST_BYTES: usize = 4 << 10;

/// Memory beyond the registrations, by default.
pub const MEMORY_MAX: usize = 1 << 30;

/// Shares of a point's memory beyond its registrations, which together are the whole.
///
/// ```
/// use rendezvous_host::{MEMORY_MAX, MemoryShares};
///
/// let shares = MemoryShares::of(MEMORY_MAX);
/// assert!(shares.connections_max >= 10_000);
/// assert!(shares.total_bytes() <= MEMORY_MAX);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryShares {
    /// Connections, at [`CONNECTION_COST_BYTES`] each: a half.
    pub connections_max: usize,
    /// Streams in flight, at [`STREAM_COST_BYTES`] each: an eighth.
    pub streams_max: usize,
    /// Answers to DISCOVER under way: an eighth.
    pub page_bytes_max: usize,
    /// Received bytes that nobody has read: a sixteenth.
    pub unread_bytes_max: usize,
    /// Written bytes that have not left: a sixteenth.
    pub unsent_bytes_max: usize,
    /// Requests that are not complete: a sixteenth.
    pub request_bytes_max: usize,
    /// Changes that wait for the store: a sixteenth.
    pub pending_bytes_max: usize,
}

impl MemoryShares {
    /// The shares of this many bytes.
    #[must_use]
    pub fn of(memory_max: usize) -> Self {
        Self {
            connections_max: (memory_max / 2 / CONNECTION_COST_BYTES).max(1),
            streams_max: (memory_max / 8 / STREAM_COST_BYTES).max(1),
            page_bytes_max: memory_max / 8,
            unread_bytes_max: memory_max / 16,
            unsent_bytes_max: memory_max / 16,
            request_bytes_max: memory_max / 16,
            pending_bytes_max: memory_max / 16,
        }
    }

    /// What the shares come to.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.connections_max * CONNECTION_COST_BYTES
            + self.streams_max * STREAM_COST_BYTES
            + self.page_bytes_max
            + self.unread_bytes_max
            + self.unsent_bytes_max
            + self.request_bytes_max
            + self.pending_bytes_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_no_more_than_the_whole_and_nearly_as_much() {
        for memory_max in [64 << 20, 100_000_000, MEMORY_MAX, 5 << 30] {
            let total = MemoryShares::of(memory_max).total_bytes();
            assert!(total <= memory_max && total > memory_max - memory_max / 100, "{total} of {memory_max}");
        }
    }
}
