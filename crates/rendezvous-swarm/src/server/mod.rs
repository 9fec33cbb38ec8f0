//! The rendezvous point as a behaviour: [`Behaviour`].

mod agent;
mod alarm;
mod behaviour;
mod budget;
mod config;
mod frames;
mod handler;
mod shared;
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
