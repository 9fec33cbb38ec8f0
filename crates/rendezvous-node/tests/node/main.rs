//! Nodes on loopback, over TCP and QUIC.

mod basics;
mod common;
mod streams_of_ones_own;
mod rpc_protocol;
mod unreachable;
