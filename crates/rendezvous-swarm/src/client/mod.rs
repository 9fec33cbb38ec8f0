//! The client: keeps this peer registered with rendezvous points and asks them who else is.
//!
//! [`Behaviour`] puts the state machine of [`rendezvous_core::client`] on libp2p's connections. Its commands return the
//! ids that come back in its [`Event`]s; what becomes of a registration or a query is told there, and in the
//! documentation of the state machine.
//!
//! ```
//! use libp2p_identity::Keypair;
//! use rendezvous_swarm::client::{self, From, Namespace};
//!
//! let key = Keypair::generate_ed25519();
//! let point = Keypair::generate_ed25519().public().to_peer_id();
//!
//! let mut rendezvous = client::Behaviour::new(key, client::Config::default());
//! rendezvous.add_point_address(point, "/ip4/192.0.2.1/tcp/4001".parse()?)?;
//! let chat = Namespace::new("chat")?;
//! let registration = rendezvous.register(chat.clone(), [point], None);
//! let query = rendezvous.discover(point, Some(chat), None, From::Fresh);
//! // … and then it goes into a swarm, which is polled.
//! # let _ = (registration, query);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Addresses
//! The swarm's confirmed external addresses are registered, and again as they change. A peer that has none is told so
//! ([`Event::NoAddresses`]), and registers as soon as it has; [`Behaviour::set_addresses`] pins others.
//!
//! # Points
//! A point that is not connected is dialled. Its addresses come from [`Behaviour::add_point_address`], from the swarm's
//! other behaviours, or from a record that another point listed.
//!
//! # Points in the older form of the protocol
//! With [`ClientConfig::legacy_peer_info`], points of py-libp2p and berty's Go are registered with without a signature. What
//! they list is told apart from verified registrations ([`Unverified`]), is not reported to the swarm, and is not offered
//! to dials.
//!
//! # Discovered peers
//! The addresses of a discovered peer are reported to the swarm, and offered to dials by peer id until the peer's
//! registration ends. Nothing is dialled by itself: whom to dial, and how many, is the application's choice. The
//! addresses are others' choice, though: so many of one peer, and so many per second over all, are offered and no more
//! ([`OfferLimits`]); [`Behaviour::offer_stats`] counts what was withheld.
//!
//! # Streams
//! Each request has a stream of its own, half-closed behind it, as all implementations read it. The first one on a
//! connection is not half-closed: a point that answers it and then keeps the stream open for a second reads
//! further requests on it, and from then on streams are kept and reused. Which it is, is remembered for the point
//! ([`PointMemory::keeps_streams`]), so that later connections start with it. A request that fails on a kept stream is sent
//! once more on a new one. UNREGISTER, which has no answer, is always sent on a stream of its own, and counts as sent
//! when the point has closed it, or after two seconds.
//!
//! # Points that do not stop
//! A point can answer with pages for ever, or with pages that are as dear to verify as can be. The state machine limits each
//! walk and the CPU time of each point's answers ([`WalkLimit`], [`ClientConfig::work_share_percent`]). A limit that is met
//! is told by the event, counted in [`Stats`], and logged at `warn`, at most once a minute for each point and limit.
//!
//! # Bounds
//! The state machine bounds the requests in flight, in total and per point, and thereby what waits in the behaviour and
//! in its handlers.

mod behaviour;
mod commands;
mod config;
mod drive;
mod exchange;
mod handler;
mod kept;
mod links;
mod notices;
mod offers;
mod points;
mod readers;

#[doc(no_inline)]
pub use rendezvous_core::client::{
    Answer, ClientConfig, CutWalks, Discovered, Event, Failure, Fault, FoundRecord, From, Gone, GoneWhy, LookupConfig,
    LookupId, MalformedAnswer, Merged, PointMemory, QueryId, RegistrationId, RequestId, Skipped, Stats, Unverified,
    WalkLimit,
};
#[doc(no_inline)]
pub use rendezvous_wire::{Dialect, Limit, Namespace, Ttl};

pub use self::{
    behaviour::Behaviour,
    config::Config,
    exchange::Request,
    handler::{Command, Handler, Report},
    offers::{OfferLimits, OfferStats},
    points::{ADDRESSES_PER_POINT_MAX, POINTS_MAX, PointAddressError},
};
