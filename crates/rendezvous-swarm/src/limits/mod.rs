//! Bounds on the connections that others open: [`Behaviour`].
//!
//! ```
//! use rendezvous_swarm::limits;
//!
//! let mut config = limits::Config::default();
//! config.connections_per_prefix_max = 64;
//! let limits = limits::Behaviour::new(config);
//! assert_eq!(limits.stats().established, 0);
//! ```
//!
//! # What is bounded
//! Inbound connections: handshakes in flight, in total and per IP prefix ([`IpPrefix`]: /24 of IPv4, /56 of IPv6), and
//! established connections in total, per peer and per prefix. A peer id costs nothing to make, so the bound per peer is
//! one for mistakes; the bounds per prefix are what one party cannot get around at will.
//!
//! Outbound connections are this side's own choice. They are counted in [`Stats`], and neither denied nor counted
//! against the limits.
//!
//! # Where a connection comes from
//! Its prefix is that of the address which the transport reports of the other side. A relayed connection has none, since
//! that address is the relay's; it counts in total, per peer, and with all others without a prefix as if they had one.
//! Loopback is a prefix like others. Behind a proxy or a container bridge all connections come from one prefix: name its
//! network in [`Config::exempt`]. A connection that moves to another address keeps the prefix under which it was admitted.
//!
//! # When a connection is denied
//! The swarm asks before the handshake, when only the address is known, and after it, when the peer is known. The first
//! time the handshakes are counted, and where a prefix or the whole has its connections already, the handshake is saved:
//! unless there are peers that [bypass](Behaviour::bypass) these limits, since the one that comes may be one of them.
//! The second time all limits of established connections are checked.
//!
//! A denied connection is closed. The reason is an [`Exceeded`] in the [`ConnectionDenied`](libp2p_swarm::ConnectionDenied)
//! that the swarm reports, and is counted in [`Stats`].
//!
//! # When a connection is closed
//! Only with [`Behaviour::watch`], which tells when connections were used:
//! - after [`Config::idle_timeout`] without use, unless a stream is open that has carried a request;
//! - from three quarters of [`Config::connections_max`] on, after [`Config::pressure_idle`] without use, if its prefix is above
//!   its share: the longest idle ones of the largest prefix first;
//! - at [`Config::connections_max`], if a newcomer is within its share: the idlest connection of the largest prefix above its
//!   share goes. So a newcomer from another prefix gets in, unless the connections come from as many prefixes as there are
//!   places, or an eighth of the places are closing at the time.
//!
//! And with [`Behaviour::peer_unresponsive`], to be called for each failed ping.
//!
//! # Handshakes
//! How long a handshake may take is not decided here but by the transport, for instance by
//! [`TransportTimeout`](libp2p_core::transport::timeout::TransportTimeout). Without a timeout, [`Config::pending_max`]
//! connections that stay silent keep everybody out for ever; with one, it takes as many again in each such time, and
//! from as many prefixes as [`Config::pending_per_prefix_max`] requires.
//!
//! # Order
//! Behaviours are asked in the order of their fields, and the first that denies decides. Placed first, this one spares the
//! others the connections that it denies. In any place its counts are exact: a connection that another behaviour denies is
//! given back.
//!
//! # Why not `libp2p-connection-limits`
//! It bounds connections in total and per peer: it knows no prefixes, so that one host with a new key for each connection
//! takes all the room there is, and it does not count what it denies.

mod behaviour;
mod config;
mod tally;

#[cfg(test)]
mod tests;

pub use rendezvous_core::server::{ExemptNetworks, IpPrefix};

pub use self::{
    behaviour::Behaviour,
    config::{
        CONNECTIONS_MAX, CONNECTIONS_PER_PEER_MAX, CONNECTIONS_PER_PREFIX_MAX, Config, Exceeded, IDLE_TIMEOUT,
        PENDING_MAX, PENDING_PER_PREFIX_MAX, PRESSURE_IDLE, Stats,
    },
};
