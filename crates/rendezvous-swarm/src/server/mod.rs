//! The rendezvous point as a behaviour: [`Behaviour`].
//!
//! # What strangers share
//! Streams, the bytes of pages and of buffered requests, and streams in negotiation have a total over all connections
//! ([`Config::streams_max`], [`Config::pages_bytes_max`], [`Config::requests_bytes_max`], [`Config::negotiating_max`]). The
//! share of each IP prefix (/24 of IPv4, /56 of IPv6) is the total divided by the prefixes that hold some of it, plus one.
//! Connections without an IP address (a relay, a memory transport) count as one prefix together. Networks in
//! [`Config::exempt`] have no share: they are bounded by the totals, and pay last.
//!
//! While there is room, anybody may hold more than the share. When there is little, those above it pay: their idle streams
//! are reset, then busy ones, in favour of requesters within the share. So a prefix cannot keep others out, and prefixes in
//! number `n` leave a newcomer at least one part in `n + 2`: 65,536 prefixes are needed to keep all streams from it.
//! [`ShellStats`] counts each limit that is met, and a log line names its setting once per prefix and minute.

mod agent;
mod alarm;
mod behaviour;
mod budget;
mod config;
mod frames;
mod handler;
mod shared;
mod slice;
mod stream;
mod turns;
mod writer;

#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;

pub use behaviour::Behaviour;
pub use config::{
    COMMIT_TIMEOUT, Config, FRAME_TIMEOUT, IDLE_TIMEOUT, NEGOTIATING_MAX, NEGOTIATION_TIMEOUT, PAGES_BYTES_MAX,
    PAGES_PER_CONNECTION_MAX, PIPELINED_BYTES_MAX, PIPELINED_REQUESTS_MAX, REQUESTS_BYTES_MAX, STREAMS_MAX,
    STREAMS_PER_CONNECTION_MAX, WRITE_BYTES, WRITE_TIMEOUT,
};
pub use handler::{Handler, Notice, Upgrade};
pub use rendezvous_core::server::{Event, ExemptNetworks, Refusal, ServerConfig, Stats};
pub use rendezvous_store::{LoadError, Opened, Store};
#[doc(no_inline)]
pub use rendezvous_wire::{Dialect, Dialects};
pub use shared::ShellStats;
