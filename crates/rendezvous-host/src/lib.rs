//! The transport under a rendezvous point or node: TCP with noise and yamux, and QUIC, with a bound on everything that a
//! connection can cost.
//!
//! The crates of libp2p bound the number of streams, and little else. Here every connection, every IP prefix and all
//! connections together have a share of each of these:
//!
//! | resource | bound | what happens above it |
//! |---|---|---|
//! | inbound handshakes in flight | [`Config::handshakes_max`] | the oldest of the prefix with the most is given up |
//! | inbound handshakes begun | [`Config::handshakes_per_second_max`] | they wait; the prefix that has begun the fewest is next |
//! | received bytes that nobody reads | [`Config::unread_per_connection_max`], [`Config::unread_max`] | the connection is closed; of all, the one that holds the most |
//! | written bytes that have not left | [`Config::unsent_per_connection_max`], [`Config::unsent_max`] | writers wait; of all, the connection that holds the most is closed |
//! | a peer that takes nothing | [`Config::stall_timeout`] | the connection is closed |
//! | a close that is not answered | [`Config::close_timeout`] | the connection is dropped |
//! | CPU time | [`Config::work_per_second_max`] | reading from the heaviest connections is put off |
//!
//! It knows nothing of rendezvous. Connections that behaviours should deny are denied by
//! [`limits::Behaviour`](rendezvous_swarm::limits::Behaviour), beside it.
//!
//! ```
//! use libp2p::{PeerId, Swarm, identity::Keypair, swarm};
//! use rendezvous_host::{Config, Guard, transport};
//! use rendezvous_swarm::server;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = Keypair::generate_ed25519();
//! let guard = Guard::new(Config::default());
//! let point = server::Behaviour::new(server::Config::default());
//! let config = swarm::Config::with_tokio_executor();
//! let swarm = Swarm::new(transport(&key, &guard)?, point, key.public().to_peer_id(), config);
//! assert_eq!(guard.stats().connections, 0);
//! # drop(swarm);
//! # Ok(())
//! # }
//! ```

mod config;
pub mod cost;
mod frames;
mod guard;
mod handshake;
mod memory;
mod meter;
mod muxer;
mod quic;
mod throttle;
mod transport;

pub use self::{
    config::{
        CLOSE_TIMEOUT, Config, FRAME_COST_BYTES, HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, HANDSHAKES_PER_SECOND_MAX,
        NODE_QUIC_WINDOW, NODE_UNREAD_PER_CONNECTION_MAX, NODE_UNSENT_PER_CONNECTION_MAX, NODE_WINDOW_GROWTH_MAX,
        QUIC_STREAMS_MAX, QUIC_WINDOW, STALL_TIMEOUT, UNREAD_MAX, UNREAD_PER_CONNECTION_MAX, UNSENT_MAX,
        UNSENT_PER_CONNECTION_MAX, WORK_PER_CORE, YAMUX_STREAMS_MAX,
    },
    guard::{Guard, Stats},
    memory::{CONNECTION_COST_BYTES, MEMORY_MAX, MemoryShares, STREAM_COST_BYTES},
    quic::QuicError,
    transport::{TransportError, transport},
};
