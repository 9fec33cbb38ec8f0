//! The [libp2p rendezvous protocol] as behaviours for [`libp2p_swarm`].
//!
//! - [`server::Behaviour`] is a rendezvous point: others register with it and discover each other there.
//! - [`client::Behaviour`] keeps this peer registered with points, and asks them who else is.
//! - [`limits::Behaviour`] bounds the connections that others open: in total, per peer and per IP prefix. It closes idle ones.
//!
//! The first two are shells around the state machines of [`rendezvous_core`]: they translate and hold no policy. Requests
//! and answers are read, verified and written in the tasks of their connections, not in the swarm's loop. None needs a
//! particular runtime.
//!
//! ```
//! use libp2p_identity::Keypair;
//! use libp2p_swarm::NetworkBehaviour;
//! use rendezvous_swarm::{client, limits, server};
//!
//! #[derive(NetworkBehaviour)]
//! #[behaviour(prelude = "libp2p_swarm::derive_prelude")]
//! struct Behaviour {
//!     limits: limits::Behaviour,
//!     point: server::Behaviour,
//!     rendezvous: client::Behaviour,
//! }
//!
//! let key = Keypair::generate_ed25519();
//! let mut behaviour = Behaviour {
//!     limits: limits::Behaviour::new(limits::Config::default()),
//!     point: server::Behaviour::new(server::Config::default()),
//!     rendezvous: client::Behaviour::new(key, client::Config::default()),
//! };
//! // Connections that nobody uses are closed.
//! behaviour.limits.watch(behaviour.point.activity());
//! assert_eq!(behaviour.point.stats().registrations, 0);
//! ```
//!
//! Of ping's events, hand failures other than `Unsupported` to [`limits::Behaviour::peer_unresponsive`]; of identify's, the
//! agent version to [`server::Behaviour::peer_agent`].
//!
//! # Neighbours
//! `rendezvous-core` is the protocol without IO; `rendezvous-wire` its messages; `rendezvous-record` the signed records.
//!
//! [libp2p rendezvous protocol]: https://github.com/libp2p/specs/blob/master/rendezvous/README.md

mod activity;
pub mod client;
mod clock;
mod convert;
pub mod limits;
mod notices;
mod prefix;
pub mod server;

use libp2p_swarm::StreamProtocol;

pub use rendezvous_core::RecordKind;

pub use self::{
    activity::Activity,
    convert::{ConvertError, from_signed_envelope, to_peer_record},
    prefix::{origin_of, remote_ip},
};

/// Protocol that is spoken.
pub const PROTOCOL: StreamProtocol = StreamProtocol::new(rendezvous_wire::PROTOCOL);

/// The older dialect of Waku, which points serve beside it where that is switched on.
pub const WAKU_PROTOCOL: StreamProtocol = StreamProtocol::new(rendezvous_wire::waku::PROTOCOL);

/// Listed by a point that keeps a record of each envelope flavour.
pub const DUAL_PROTOCOL: StreamProtocol = StreamProtocol::new("/rendezvous/dual/1.0.0");
