//! The rendezvous point as a behaviour: [`Behaviour`].

mod agent;
mod alarm;
mod behaviour;
mod config;
mod handler;
mod shared;
mod stream;

pub use behaviour::Behaviour;
pub use config::{Config, FRAME_TIMEOUT, IDLE_TIMEOUT, NEGOTIATION_TIMEOUT, STREAMS_PER_CONNECTION_MAX, WRITE_TIMEOUT};
pub use handler::{AgentKnown, Handler, Upgrade};
pub use rendezvous_core::server::{Event, Refusal, ServerConfig, Stats};
pub use shared::ShellStats;
