//! One object that is a peer: identity, connections, discovery, sub-protocols and RPC.

mod io;
mod reason;
pub mod rpc;
pub mod streams;
pub mod sub_protocol;

pub use self::reason::DisconnectReason;
