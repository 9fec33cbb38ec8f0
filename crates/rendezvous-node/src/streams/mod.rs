//! Byte streams between peers that are connected: [`Behaviour`] in the swarm, and a [`Control`] for everybody else.
//!
//! ```
//! use futures::{AsyncWriteExt as _, StreamExt as _};
//! use libp2p::{PeerId, StreamProtocol};
//! use rendezvous_node::streams;
//!
//! const GREETING: StreamProtocol = StreamProtocol::new("/greeting/1.0.0");
//!
//! async fn greet(control: &streams::Control, peer: PeerId) -> Result<(), streams::OpenError> {
//!     let mut stream = control.open(peer, GREETING).await?;
//!     stream.write_all(b"hello").await?;
//!     Ok(stream.close().await?)
//! }
//!
//! async fn serve(mut greetings: streams::Incoming) {
//!     while let Some((peer, _connection, stream)) = greetings.next().await {
//!         println!("{peer} opened a stream of {}", stream.protocol());
//!     }
//! }
//!
//! let behaviour = streams::Behaviour::new(streams::Config::default());
//! let control = behaviour.control();
//! let greetings = control.accept(GREETING).expect("nobody else accepts them");
//! assert_eq!(control.stats().protocols, 1);
//! # drop((behaviour, greetings));
//! ```
//!
//! # Opening
//! [`Control::open`] asks the newest connection that the swarm has with the peer; it never dials. Where that connection
//! closes before the stream is there, the next newest is asked, and when none is left the answer is
//! [`OpenError::ConnectionLost`]. Every open ends within [`Config::open_timeout`], also when nobody polls the swarm.
//!
//! An open ends when the peer has agreed to the protocol. In a swarm that is set to negotiate lazily it ends before that,
//! and a protocol that the peer does not support shows when the stream is first read.
//!
//! # Accepting
//! [`Control::accept`] offers a protocol for as long as its [`Incoming`] lives. Connections that stand offer it too, and
//! announce the change where they carry an identify protocol. A stream that is not taken at once waits in a queue of
//! [`Config::queue_max`].
//!
//! # Bounds
//! | What | Setting | Beyond it |
//! |---|---|---|
//! | Opens that wait, per peer | [`Config::opens_per_peer_max`] | [`OpenError::TooManyOfPeer`] |
//! | Opens that wait, in all | [`Config::opens_max`] | [`OpenError::TooMany`] |
//! | Streams that wait at an acceptor | [`Config::queue_max`] | the new stream is reset |
//! | Streams of one peer that wait | [`Config::queue_per_peer_max`] | the new stream is reset |
//! | Inbound streams alive, per connection | [`Config::inbound_per_connection_max`] | the new stream is reset |
//! | Inbound streams alive, in all | [`Config::inbound_max`] | the new stream is reset |
//!
//! [`Stats`] counts how often each bound was met. A stream is reset by dropping it: over yamux the other side reads an
//! error or the end, over QUIC the end. A stream counts as alive until its [`Stream`] is dropped, whatever has become of its
//! connection. Outbound streams are this side's own choice, and only their opening is bounded. Inbound streams that are still
//! negotiated are bounded by the swarm, per connection.
//!
//! A future of an open that is dropped gives its place back at once. A negotiation that it had begun goes on in the
//! connection until the peer answers or the time is up, and then drops the stream; a connection has no more than
//! [`Config::opens_per_peer_max`] of these, and further opens wait for them.
//!
//! Of a closed connection and of a peer without connections nothing is kept.
//!
//! # Lifetimes
//! Streams, and opens that wait, keep their connection alive, as is libp2p's default. With the [`Behaviour`] all opens
//! end, and every [`Incoming`] ends behind the streams that it holds.
//!
//! # Why not `libp2p-stream`
//! It keeps an entry for every connection that there ever was, bounds nothing, drops a stream whose acceptor does not
//! wait at that instant, and an open waits for ever where the dial behind it is dropped or never begun.

mod acceptors;
mod behaviour;
mod config;
mod control;
mod error;
mod handler;
mod incoming;
mod link;
mod shared;
mod stream;
mod table;
mod upgrade;

pub use self::{
    behaviour::Behaviour,
    config::{
        Config, INBOUND_MAX, INBOUND_PER_CONNECTION_MAX, OPEN_TIMEOUT, OPENS_MAX, OPENS_PER_PEER_MAX, QUEUE_MAX,
        QUEUE_PER_PEER_MAX, Stats, TIMEOUT_MAX,
    },
    control::Control,
    error::{AlreadyAccepted, OpenError},
    handler::{Handler, Opening},
    incoming::Incoming,
    stream::Stream,
    upgrade::{Protocols, Upgrade},
};
