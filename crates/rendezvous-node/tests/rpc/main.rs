//! Calls between peers in memory, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rpc_calls;
mod rpc_cancel;
mod rpc_errors;
mod rpc_hostile;
mod rpc_limits;
mod rpc_multi;
mod rpc_services;
mod rpc_streams;
mod rpc_wire;
mod support;
