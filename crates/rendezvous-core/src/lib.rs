//! The libp2p rendezvous protocol without IO.

pub mod client;
pub mod server;
mod time;

pub use time::Time;
