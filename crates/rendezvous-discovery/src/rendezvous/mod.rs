//! Rendezvous points as a source.
//!
//! The behaviour goes into a swarm, the source into a manager. Points are told beforehand, or come and go while it runs:
//!
//! ```
//! use libp2p_identity::Keypair;
//! use rendezvous_discovery::{DiscoveryManager, rendezvous};
//! use rendezvous_swarm::client;
//!
//! let key = Keypair::generate_ed25519();
//! let point = Keypair::generate_ed25519().public().to_peer_id();
//!
//! let client = client::Behaviour::new(key, client::Config::default());
//! let (mut behaviour, source) = rendezvous::source(client, rendezvous::Config::default());
//! behaviour.add_point(point, ["/ip4/192.0.2.1/tcp/4001".parse()?])?;
//!
//! let (manager, driver) = DiscoveryManager::new(Default::default());
//! manager.add_source(source)?;
//! // … the behaviour goes into a swarm, and the driver is spawned.
//! # drop((behaviour, driver));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Timing
//! A name is registered at all points at once, and again every [`tta`](crate::Timing::tta), so that a point that has
//! forgotten lists this peer again. Independently of that it is refreshed before the granted lifetime ends. Points that do
//! not answer are left alone for the client's back-off by both. A query is a lookup at all points that polls every
//! [`ttr`](crate::Timing::ttr), jittered by an eighth; [`Urgency::Now`](crate::Urgency::Now) polls the points in back-off too.
//!
//! # What is told
//! Verified records, with their addresses and scaled `seq`; what points list without a signature, in the legacy mode, has no
//! `seq`. A peer holds until no point lists it any more: the lookup knows the lifetimes, and tells when they end.
//!
//! # Bounds
//! Each name that is looked for is a lookup, and so is everything. The client has room for 64 of them, and for 1024 pairs of
//! lookup and point: a request beyond that fails on this side, and is made again every [`ttr`](crate::Timing::ttr). What one
//! lookup keeps is bounded by [`Config::lookup`].
//!
//! A point whose listing does not end is read up to the client's limits of a walk
//! ([`WalkLimit`](rendezvous_swarm::client::WalkLimit)). What it listed until then is told, and counts as an answer. Nobody is
//! gone for being absent from it. The point is polled again after the client's back-off for listings, 30 s to 1 h; a request
//! with [`Urgency::Now`](crate::Urgency::Now) does not shorten that.

mod points;
mod translate;

pub use self::translate::{Config, Translator};
use crate::bridge::{self, Bridge, BridgeSource};
use rendezvous_swarm::client;

/// The behaviour that goes into the swarm.
pub type Behaviour = Bridge<client::Behaviour, Translator>;

/// What the source is called.
pub const NAME: crate::SourceName = crate::SourceName::new("rendezvous");

/// A client of rendezvous points, to go into a swarm, and the source that it is, to go into a manager.
#[must_use]
pub fn source(client: client::Behaviour, config: Config) -> (Behaviour, BridgeSource) {
    bridge::bridge(client, Translator::new(config))
}
