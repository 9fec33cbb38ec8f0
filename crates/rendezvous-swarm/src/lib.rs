//! libp2p-swarm behaviours for the rendezvous protocol.

pub mod client;
