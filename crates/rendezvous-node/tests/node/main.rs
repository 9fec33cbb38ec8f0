//! Nodes on loopback, over TCP and QUIC.

mod basics;
mod calls;
mod caps;
mod common;
mod dialling;
mod discovering;
mod events;
mod info;
mod kept;
mod life;
mod pings;
mod raw;
mod reasons;
mod remains;
mod rpc_protocol;
mod sessions;
mod streams_of_ones_own;
mod unreachable;
