//! With the published `libp2p-rendezvous` 0.18: its client at our point, our client at its point, and both families at
//! one point.
//!
//! It reads and writes records of the legacy flavour alone, drops the stream of a request that it cannot read, and fails
//! a whole answer on one record of the standard flavour.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "interop_rust/both_flavours.rs"]
mod both_flavours;
#[path = "interop_rust/dialling.rs"]
mod dialling;
#[path = "interop_rust/our_client.rs"]
mod our_client;
#[path = "interop_rust/refusals.rs"]
mod refusals;
#[path = "interop_rust/their_client.rs"]
mod their_client;
