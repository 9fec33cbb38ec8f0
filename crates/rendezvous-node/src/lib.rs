//! One object that is a peer: identity, connections, discovery, sub-protocols and RPC.

mod behaviour;
mod dht_store;
mod driver;
mod error;
mod event;
mod goodbye;
mod identity;
mod info;
mod io;
mod node;
mod opener;
mod peers;
mod reason;
pub mod rpc;
mod settings;
pub mod streams;
pub mod sub_protocol;
mod transport;

#[doc(no_inline)]
pub use libp2p::{Multiaddr, PeerId, StreamProtocol, multiaddr, swarm::InvalidProtocol};
#[doc(no_inline)]
pub use rendezvous_discovery as discovery;
#[doc(no_inline)]
pub use rendezvous_swarm as rendezvous;

pub use self::{
    error::{BuildError, ConnectError, NotRunning, StartError},
    event::{Departure, EVENTS_MAX, Event, Events},
    identity::{Identity, IdentityError},
    info::{NodeInfo, PeerInfo},
    node::Node,
    reason::DisconnectReason,
    settings::{Builder, Kademlia, PEERS_MAX, PENDING_MAX, PINGS_FAILED_MAX},
};
