//! The rendezvous point as a behaviour: [`Behaviour`].

mod agent;
mod alarm;
mod behaviour;
mod config;
mod frames;
mod handler;
mod shared;
mod stream;
mod turns;

#[cfg(test)]
mod tests;

pub use behaviour::Behaviour;
pub use config::{
    Config, FRAME_TIMEOUT, IDLE_TIMEOUT, NEGOTIATION_TIMEOUT, PAGES_PER_CONNECTION_MAX, STREAMS_PER_CONNECTION_MAX,
    WRITE_BYTES, WRITE_TIMEOUT,
};
pub use handler::{AgentKnown, Handler, Upgrade};
pub use rendezvous_core::server::{Event, Refusal, ServerConfig, Stats};
pub use shared::ShellStats;
