//! Nodes on loopback, over TCP and QUIC.

mod basics;
mod common;
mod rpc_protocol;
mod streams_of_ones_own;
mod unreachable;
