//! Settings of the shell around the point.

use std::{num::NonZeroU32, time::Duration};

use rendezvous_core::server::{ExemptNetworks, ServerConfig};
use rendezvous_wire::{Dialects, frame};

use crate::clock::SPAN_MAX;

/// Streams in flight on one connection. A rust-libp2p client opens up to 100 at once, one for each request: when its
/// addresses change it registers again in all its namespaces, and a request that is reset it does not repeat.
pub const STREAMS_PER_CONNECTION_MAX: usize = 128;

/// Streams in flight on all connections together: 512 connections with the most of each. What is held of requests is at
/// most a frame of [`Config::request_bytes_max`] and 4 KiB for each of these.
pub const STREAMS_MAX: usize = 1 << 16;

/// Time for a frame, from its first byte to its last.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// Time that a stream may be silent between frames: clients of the Go family poll every two minutes on one stream and
/// do not come back when it is closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Time for each [`WRITE_BYTES`] of an answer to be taken by its reader: whoever does not read is cut after it, and
/// whoever reads 6.5 KiB a second gets a page of 1 MiB.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer that [`Config::write_timeout`] is for.
pub const WRITE_BYTES: usize = 64 << 10;

/// Answers to DISCOVER that one connection may have under way, from the lookup until they are written: at 1 MiB each,
/// what a peer that reads nothing makes this point hold.
pub const PAGES_PER_CONNECTION_MAX: usize = 8;

/// Time for a change to become durable: above what a disk under load takes, and below what clients wait for an answer.
pub const COMMIT_TIMEOUT: Duration = Duration::from_secs(8);

/// Bytes of the answers to DISCOVER that all connections together may have under way: 256 MiB, which is 32 connections
/// with the most of the longest each.
pub const PAGES_BYTES_MAX: usize = 256 << 20;

/// Bytes of requests that are not complete, on all connections together: a chunk for each of [`STREAMS_MAX`] streams, and as
/// much again for those that are longer.
pub const REQUESTS_BYTES_MAX: usize = 512 << 20;

/// Requests of one stream that may wait behind one: rust-libp2p, go, js and nim send the next one when they have the answer.
pub const PIPELINED_REQUESTS_MAX: usize = 128;

/// Bytes that may wait behind a request of the same stream: 512 requests of ordinary size, or the longest one.
pub const PIPELINED_BYTES_MAX: usize = 64 << 10;

/// Streams in negotiation on all connections together: 128 connections with the most that a swarm allows each. A
/// negotiation lasts a round trip.
pub const NEGOTIATING_MAX: usize = 1 << 14;

/// Time for the protocol of a stream to be negotiated.
pub const NEGOTIATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of [`Behaviour`](super::Behaviour). A time of more than a day counts as a day.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Settings of the point itself. [`ServerConfig::deferred_commit`] is set by whether there is a store.
    pub server: ServerConfig,
    /// Dialects that are served from the start; [`Behaviour::serve`](super::Behaviour::serve) changes that. Default
    /// `/rendezvous/1.0.0` alone.
    pub dialects: Dialects,
    /// Longest request payload in bytes. Default [`frame::REQUEST_BYTES_MAX`].
    pub request_bytes_max: usize,
    /// Streams in flight on one connection; another one is reset. Default [`STREAMS_PER_CONNECTION_MAX`].
    pub streams_per_connection_max: usize,
    /// Streams in flight on all connections together. Default [`STREAMS_MAX`].
    ///
    /// The share of each IP prefix is this number divided by the prefixes that have streams, plus one. From three quarters
    /// on, prefixes above their share lose idle streams, the longest idle ones first. At the total, a new stream of a prefix
    /// within its share takes the place of one of the prefix with most; another one is reset.
    pub streams_max: usize,
    /// Answers to DISCOVER that one connection may have under way, at least one; others wait. Default
    /// [`PAGES_PER_CONNECTION_MAX`].
    pub pages_per_connection_max: usize,
    /// Bytes of the answers to DISCOVER that all connections together may have under way, from the lookup until they are
    /// written. During its lookup an answer counts as what it can need, at most [`ServerConfig::page_bytes_max`], and for
    /// one such answer there is always room. The buffers take up to twice that, and 4 KiB each. Default [`PAGES_BYTES_MAX`].
    ///
    /// Above half of it pages get shorter. The share of an IP prefix is calculated as for [`Self::streams_max`]. A prefix
    /// within its share has pages of at least 40 KiB: if there is no room, streams of prefixes above their share are
    /// reset. In the last eighth a prefix above its share is refused with
    /// [`Refusal::Overloaded`](super::Refusal::Overloaded).
    pub pages_bytes_max: usize,
    /// Bytes of requests that are not complete, or that wait behind another one of their stream, on all connections together,
    /// counted in chunks of 4 KiB. Requests that come whole, as most do, count for nothing. At the total, a stream of a
    /// prefix above its share is reset. Default [`REQUESTS_BYTES_MAX`].
    pub requests_bytes_max: usize,
    /// Requests that may wait behind one of the same stream; a stream with more is reset. At least 6 are needed by clients
    /// that pipeline. Default [`PIPELINED_REQUESTS_MAX`].
    pub pipelined_requests_max: usize,
    /// Bytes that may wait behind a request of the same stream, or [`Self::request_bytes_max`] and 4 KiB if that is more; a
    /// stream with more is reset. Default [`PIPELINED_BYTES_MAX`].
    pub pipelined_bytes_max: usize,
    /// Streams on all connections together whose protocol, this or another one, is being negotiated. The swarm accepts up
    /// to 128 for each connection; when they are more than this in total, connections of IP prefixes above their share
    /// are closed, those with most such streams first. Default [`NEGOTIATING_MAX`].
    pub negotiating_max: usize,
    /// Networks without a share per IP prefix: behind a proxy or a container bridge every client has the same prefix.
    /// Totals and bounds per connection apply to them. Default none.
    pub exempt: ExemptNetworks,
    /// Requests that one stream may carry, after which it is closed. Default `None`: as many as come.
    pub requests_per_stream_max: Option<NonZeroU32>,
    /// Time for a frame, from its first byte to its last. Default [`FRAME_TIMEOUT`].
    pub frame_timeout: Duration,
    /// Time that a stream may be silent between frames. Default [`IDLE_TIMEOUT`].
    pub idle_timeout: Duration,
    /// Time for each begun [`WRITE_BYTES`] of an answer to be taken. While more than half of [`Self::pages_bytes_max`] is
    /// taken it is less for prefixes above their share: down to a tenth when all of it is. Default [`WRITE_TIMEOUT`].
    pub write_timeout: Duration,
    /// Time for the store to take a registration, after which it is refused with `E_INTERNAL_ERROR`; it may be carried out
    /// all the same. Default [`COMMIT_TIMEOUT`].
    pub commit_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: ServerConfig::default(),
            dialects: Dialects::default(),
            request_bytes_max: frame::REQUEST_BYTES_MAX,
            streams_per_connection_max: STREAMS_PER_CONNECTION_MAX,
            streams_max: STREAMS_MAX,
            pages_per_connection_max: PAGES_PER_CONNECTION_MAX,
            pages_bytes_max: PAGES_BYTES_MAX,
            requests_bytes_max: REQUESTS_BYTES_MAX,
            pipelined_requests_max: PIPELINED_REQUESTS_MAX,
            pipelined_bytes_max: PIPELINED_BYTES_MAX,
            negotiating_max: NEGOTIATING_MAX,
            exempt: ExemptNetworks::default(),
            requests_per_stream_max: None,
            frame_timeout: FRAME_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            commit_timeout: COMMIT_TIMEOUT,
        }
    }
}

impl Config {
    /// The settings with each brought within what timers hold.
    #[must_use]
    pub(super) fn bounded(mut self) -> Self {
        let timeouts =
            [&mut self.frame_timeout, &mut self.idle_timeout, &mut self.write_timeout, &mut self.commit_timeout];
        for timeout in timeouts {
            *timeout = (*timeout).min(SPAN_MAX);
        }
        self
    }
}
