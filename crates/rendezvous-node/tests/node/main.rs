//! Nodes on loopback, over TCP and QUIC.

mod basics;
mod common;
