//! Behaviours for [`libp2p_swarm`]: [`server::Behaviour`] is a rendezvous point.

mod clock;
pub mod server;

use libp2p_swarm::StreamProtocol;

/// Protocol that is spoken.
pub const PROTOCOL: StreamProtocol = StreamProtocol::new(rendezvous_wire::PROTOCOL);

/// Listed by a point that keeps a record of each flavour.
pub const DUAL_PROTOCOL: StreamProtocol = StreamProtocol::new("/rendezvous/dual/1.0.0");
