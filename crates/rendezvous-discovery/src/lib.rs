//! Finds peers by several sources as if they were one, and lets this peer be found by them: rendezvous points, the provider
//! records of a Kademlia DHT, multicast DNS, a list, and sources of the user's own.
//!
//! # What it is, and what it is not
//! A [`DiscoveryManager`] knows what the application wants, tells it to every [`Source`], merges what they report, and gives it
//! out as streams: a [`Find`] for those who look, an [`Advertisement`] for those who want to be found. It opens no connection,
//! has no thread and needs no runtime: what does the work is a [`Driver`], a future for any executor, and for the sources that are
//! behaviours of a swarm, the swarm. It dials nobody; the [`connector`] does, as a behaviour of its own, with bounds.
//!
//! It is no registry and no DHT: those are the behaviours that its sources wrap. And it vouches for nobody: what is signed is
//! that a peer has these addresses, not that it is honest.
//!
//! # How it is driven
//! 1. [`DiscoveryManager::new`] gives a handle and a [`Driver`]. Spawn the driver, or poll it along with others.
//! 2. Make the sources. Those of [`rendezvous`], [`kad`] and `mdns` come in two halves: the behaviour
//!    goes into the swarm, which is polled as ever; the source goes to [`DiscoveryManager::add_source`].
//! 3. [`DiscoveryManager::find`] and read the stream; [`DiscoveryManager::advertise`] and keep the handle.
//! 4. Drop a stream or a handle, and what was asked for it is asked no longer, what was advertised is withdrawn.
//! 5. [`DiscoveryManager::stop`] withdraws everything and waits for it, as long as driver and swarm are polled. Without it, the
//!    driver does the same when the last handle is gone.
//!
//! ```
//! use futures::StreamExt;
//! use libp2p_identity::Keypair;
//! use rendezvous_discovery::{Config, DiscoveryManager, FindEvent, Namespace, StaticList};
//!
//! # futures::executor::block_on(async {
//! let chat = Namespace::new("chat")?;
//! let friend = Keypair::generate_ed25519().public().to_peer_id();
//! let mut list = StaticList::default();
//! list.add(friend, ["/ip4/192.0.2.1/tcp/4001".parse()?], [chat.clone()]);
//!
//! let (manager, driver) = DiscoveryManager::new(Config::default());
//! manager.add_source(list)?;
//! let mut find = manager.find(chat)?;
//!
//! let application = async {
//!     if let Some(FindEvent::Found(peer)) = find.next().await {
//!         assert_eq!((peer.id(), peer.addresses().len()), (friend, 1));
//!     }
//!     manager.stop().await;
//! };
//! // Elsewhere the driver is spawned.
//! futures::join!(driver, application);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # Sources
//! | source | advertises | asked for a name | asked for everything | signed | how long what it tells holds |
//! |---|---|---|---|---|---|
//! | [`rendezvous`] | yes | yes | yes | yes | until no point lists it |
//! | [`kad`] (feature `kad`) | yes | yes | no | no | three times `ttr`, at least 10 s |
//! | `mdns` (feature `mdns`) | by being there | no | yes | no | until mDNS says that it is gone |
//! | [`StaticList`] | no | yes | yes | no | for as long as it is a source |
//! | a [`Source`] of one's own | as it likes | as it likes | as it likes | as it says | as it says, 72 h at most |
//!
//! A behaviour of one's own becomes a source by a [`bridge`]. Sources may call the manager from wherever they are called.
//!
//! # Rules
//! **What is wanted.** A [`Query`] is a condition on the attributes of a peer. Of the names that it mentions, each is a request
//! to every source; where peers under other names could match, everything is requested. Queries share requests.
//!
//! **When.** A request is made at once and then every [`ttr`](Timing::ttr), an advertisement at once and then every
//! [`tta`](Timing::tta), for a lifetime of [`ttl`](Timing::ttl): one minute, one minute and two hours, unless a source says
//! otherwise. [`DiscoveryManager::refresh`] and [`Find::ask_now`] do not wait for that.
//!
//! **What a peer is.** All that sources tell of it, together. Of signed records the one with the highest sequence number counts,
//! of several such the one that lasts longest; its addresses come first, those that nobody has signed behind them.
//!
//! **What is told.** A peer is told once for each combination of record, addresses and attributes of sources' own, however many
//! sources tell it and however often. It is [`Expired`](FindEvent::Expired) when no source tells of it any more, when its time has
//! ended, or when it matches no longer.
//!
//! **Who does not read** misses nothing that still stands. A stream is a position in what has changed: what is told next is how it
//! stands then, and a peer that came and went meanwhile is not told.
//!
//! **Who tells too much** is not heard. A source has room of its own; what is new beyond it is not taken, and counted in
//! [`Stats::refused`]. What is there stays until its time ends.
//!
//! **This peer** is found like any other, unless [`Config::local_peer`] says who it is.
//!
//! # Bounds
//! | what | most | beyond it |
//! |---|---|---|
//! | peers and names of one source | [`Config::listings_per_source_max`], 20 000 | not taken, counted |
//! | names of one peer of one source | 64 | not taken, counted |
//! | addresses of a peer | [`ADDRESSES_MAX`], each [`ADDRESS_BYTES_MAX`] bytes | the first count |
//! | time that something holds unless it is told again | [`TTL_MAX`] | ends |
//! | what a query has told and not taken back | the peers that are known | — |
//! | events of an advertisement that wait | one for each source and place, 1024 | the oldest is dropped |
//! | reports that wait between a swarm and the driver | one for each peer and name, 65 536 | not told, [counted](bridge::Bridge::reports_dropped) |
//! | commands that wait between the driver and a swarm | two for each name and kind | — |
//! | reports of a source before the others' turn | 64 | — |
//! | dials at once, connections, peers of a [`connector`] | 8, 64, 4096: [`connector::Config`] | wait; not taken, counted |
//!
//! # Features
//! - `kad` (default): [`kad`].
//! - `mdns`: `mdns`, which runs on tokio.
//!
//! # Neighbours
//! `rendezvous-swarm` has the client and the server of rendezvous points as behaviours, `rendezvous-core` their state machines.
//! `rendezvous-node` puts a manager, a connector and the rest of a peer together.

mod address;
mod advertisement;
mod attribute;
pub mod bridge;
mod cache;
mod config;
pub mod connector;
mod driver;
mod error;
mod event;
mod find;
#[cfg(feature = "kad")]
pub mod kad;
mod manager;
#[cfg(feature = "mdns")]
pub mod mdns;
mod peer;
mod query;
pub mod rendezvous;
mod shared;
mod source;
mod state;
mod static_list;
mod stats;

#[doc(no_inline)]
pub use rendezvous_wire::Namespace;

pub use self::{
    address::AddressKind,
    advertisement::Advertisement,
    attribute::{Attribute, Attributes, Value},
    config::{ADDRESS_BYTES_MAX, ADDRESSES_MAX, Config, INTERVAL_MIN, TTL_MAX},
    driver::Driver,
    error::Stopped,
    event::{AdvertisementEvent, FindEvent},
    find::Find,
    manager::DiscoveryManager,
    peer::Peer,
    query::{Predicate, Query},
    source::{Failure, FailureKind, Found, Report, Source, SourceId, SourceName, TTA, TTL, TTR, Timing, Urgency},
    static_list::StaticList,
    stats::Stats,
};
