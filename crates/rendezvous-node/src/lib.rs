//! One object that is a peer: identity, connections, discovery, sub-protocols and RPC.
//!
//! A [`Node`] is made of a few settings, started, and stopped. It listens and dials, keeps to its caps on peers, knows why each
//! of them goes, speaks sub-protocols with those who do too, serves calls and makes them, lets itself be found and finds others.
//! It is what `p2p.Server` is to users of devp2p, and a host with go-libp2p-gorpc to those of go-libp2p, over libp2p.
//!
//! It is not a swarm to be put together: an application with behaviours of its own takes the crates below, and from here
//! [`sub_protocol`], [`rpc`] and [`streams`], which work without a node. It relays nothing, holes in NATs are not made, and
//! nothing is stored but a [key in a file](Identity::File).
//!
//! # Two nodes
//! ```
//! use futures::StreamExt as _;
//! use rendezvous_node::{
//!     Event, Node,
//!     rpc::{ApplicationError, Context, Service},
//!     sub_protocol::{End, Messages, SubProtocol, Version},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Each side sends "foo", and reads that of the other.
//! let foo = SubProtocol::new("foo", Version { number: 1, codes: 1 }, async |_peer, mut messages: Messages| {
//!     messages.send(0, "foo").await?;
//!     assert_eq!(messages.recv().await?.decode::<String>()?, "foo");
//!     Ok(End::Finished)
//! })?;
//! let listen: libp2p::Multiaddr = "/ip4/127.0.0.1/tcp/0".parse()?;
//! let settings = Node::builder().listen(listen).sub_protocol(foo);
//! let [server, client] = [settings.clone().name("server").build()?, settings.name("client").build()?];
//! server.services().register(Service::new("Echo").unary("Echo", async |context: Context, text: String| {
//!     Ok::<_, ApplicationError>(format!("{text}, {}", context.caller()))
//! }))?;
//! let mut events = client.events();
//! server.start().await?;
//! client.start().await?;
//!
//! let address = server.info().await?.addresses().next().expect("it listens");
//! let peer = client.dial(&address).await?;
//! let answer: String = client.rpc().call(peer, "Echo", "Echo", &"hello").await?;
//! assert_eq!(answer, format!("hello, {}", client.id()));
//! while let Some(event) = events.next().await {
//!     if let Event::SessionEnded { sub_protocol, how, .. } = event {
//!         assert_eq!((sub_protocol.as_str(), how.contains("finished")), ("foo", true));
//!         break;
//!     }
//! }
//! client.stop().await;
//! server.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Peers
//! - A peer is **admitted** while there is room: [`peers_max`](Builder::peers_max) in all, of which those that have come by
//!   themselves take [two thirds](Builder::inbound_max). Whoever is turned away is told why
//!   ([`DisconnectReason::TooManyPeers`]) before the connection is closed, and is no peer meanwhile.
//! - **Static** peers are kept connected, and dialled again with back-off; so are rendezvous points and peers to start from. They
//!   are admitted above the cap, and so are **trusted** ones. All of it can change [while the node runs](Node::add_peer).
//!   Limits of handshakes hold for them too, since who it is shows at their end.
//! - Who disconnects a peer [says why](Node::disconnect), and both sides report it as a [`Departure`]. The codes are those of
//!   devp2p. The word is one byte on a stream of `/rendezvous/goodbye/1.0.0`; other implementations of libp2p, which do not
//!   know it, see the connection end.
//! - A peer that answers no pings goes with [`DisconnectReason::Timeout`]; one that does not speak ping stays.
//! - [`Events`] tell of a peer in this order: added; identified; each session's begin, messages and end; dropped. Each
//!   peer that is added is dropped, also by a stop, and each session that has begun ends before. A session may begin ahead of
//!   the identification where the other side never identifies itself.
//!
//! # Sub-protocols
//! Of each [sub-protocol](sub_protocol) that is shared there is one session with a peer, in the highest version that both know.
//! The peer with the smaller id opens its stream. A session that has ended begins anew when the peer connects anew; one whose
//! connection is lost while the peer has another goes on, from its begin, on that one. When one of a peer's sessions has it
//! disconnected, the others end for the same reason.
//!
//! A panic stays in its session. A run function that blocks its thread takes that thread from the runtime, as everywhere in
//! tokio: the others go on as long as there are more.
//!
//! # RPC
//! [`Node::services`] are what others may call, [`Node::rpc`] calls: see [`rpc`]. A peer that is not connected is dialled where
//! it is known to be. Calls under way end with their connection.
//!
//! # Discovery
//! [`Node::discovery`] advertises names and finds who does, by [rendezvous points](Builder::point), by a
//! [Kademlia DHT](Builder::kademlia) and by [multicast DNS](#features); see [`discovery`]. [`Node::connect_to`] dials who is found.
//! A node is itself a rendezvous point where it [is told to be](Builder::serve_rendezvous); then its cap on peers is the number
//! of its clients, and is to be set accordingly. Lookups of the DHT count as peers too: a node that is full asks those whom it has.
//!
//! # Limits
//! | What | Setting | Default |
//! |---|---|---|
//! | peers | [`peers_max`](Builder::peers_max) | [`PEERS_MAX`]: 25 |
//! | peers that have come by themselves | [`inbound_max`](Builder::inbound_max) | two thirds: 17 |
//! | inbound handshakes at once | [`pending_max`](Builder::pending_max) | [`PENDING_MAX`]: 50, 64 from an IP prefix |
//! | inbound connections, those that are told to go among them | [`limits`](Builder::limits) | twice the peers, and the handshakes |
//! | inbound connections of a peer, and from an IP prefix | [`limits`](Builder::limits) | 8, and 256 |
//! | time for a dial or a handshake | [`dial_timeout`](Builder::dial_timeout) | 10 s |
//! | time of a connection that nobody uses | [`idle_timeout`](Builder::idle_timeout) | none |
//! | pings that fail in a row | [`PINGS_FAILED_MAX`] | 2, [each 15 s, within 20 s](Builder::ping) |
//! | wait before a peer that is kept is dialled again | [`redial`](Builder::redial) | 1 s to 60 s |
//! | dials at once to peers that are kept, and that were found | – | 16, and 8 |
//! | peers connected because they were found | [`connected_max`](Builder::connected_max) | 25 |
//! | addresses that a peer tells | – | 16 |
//! | sessions with a peer | the sub-protocols of the settings | one each |
//! | content of a message, time to write it, to read it | [`sub_protocol::Limits`] | 10 MiB, 20 s, 30 s |
//! | streams of a connection, in all, waiting opens | [`streams`](Builder::streams) | 256, 16 384, 64 for a peer and 4 096 |
//! | calls served for a peer, in all | [`rpc`](Builder::rpc) | 32, 512 |
//! | item of a call; time of a call | [`rpc`](Builder::rpc) | 1 MiB; 60 s, at most 600 s |
//! | events that wait for a reader | [`EVENTS_MAX`] | 1 024, then [`Event::Missed`] |
//! | commands that wait for the node | – | 64, then the caller waits |
//! | time to tell a peer why it goes | – | 1 s |
//!
//! # Stop
//! [`Node::stop`] withdraws what is advertised (at most 6 s), ends the sessions and tells every peer (at most 3 s), and ends all
//! tasks and connections (at most 2 s for each of the two). When it returns, ports can be had again and the node can be started
//! again. What a run function blocks in its thread is left to itself. Over QUIC a socket without a port of the node's own, as of a
//! node that only dials, stays for the few round trips that its protocol asks for.
//!
//! With the last handle a node stops by itself. A [service](Node::services) or run function that holds a handle of its own
//! node keeps it alive.
//!
//! # Features
//! - `mdns`: peers of the local network, by multicast DNS. Off by default.
//!
//! # Neighbours
//! `rendezvous-swarm` is the protocol between a client and a point, as behaviours, and the limits of connections;
//! `rendezvous-discovery` the manager and its sources; `rendezvous-cli` a point as a program.

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
mod room;
pub mod rpc;
mod settings;
pub mod streams;
pub mod sub_protocol;

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
