//! Calls of methods between peers.
//!
//! A peer offers [`Services`], which are named sets of methods with types; others call them through an [`Rpc`]. A method takes
//! one item or a stream of them, and gives one or a stream. Items are any types of serde.
//!
//! This module knows no network: an [`Opener`] opens streams to other peers, and [`Services::serve`] serves those that others
//! have opened. A node does both over libp2p.
//!
//! ```
//! use libp2p_identity::PeerId;
//! use rendezvous_node::rpc::{ApplicationError, ClientConfig, Context, Incoming, Outgoing};
//! use rendezvous_node::rpc::{Rpc, ServerConfig, Service, Services};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let services = Services::new(ServerConfig::default());
//! services.register(
//!     Service::new("Echo")
//!         .unary("Echo", async |_: Context, text: String| Ok::<_, ApplicationError>(text))
//!         .bidirectional("All", async |_: Context, mut texts: Incoming<String>, mut answer: Outgoing<String>| {
//!             while let Some(text) = texts.next().await {
//!                 answer.send(text).await?;
//!             }
//!             Ok::<_, ApplicationError>(())
//!         }),
//! )?;
//!
//! // This client reaches its own services; a node's reaches those of others as well.
//! let me = PeerId::random();
//! let rpc = Rpc::local(me, services, ClientConfig::default());
//!
//! let echo: String = rpc.call(me, "Echo", "Echo", "hello").await?;
//! assert_eq!(echo, "hello");
//!
//! for (peer, echo) in rpc.multi_call::<_, String>([me, me], "Echo", "Echo", "hello").all().await {
//!     assert_eq!((peer, echo?.as_str()), (me, "hello"));
//! }
//!
//! let (mut texts, mut answers) = rpc.bidirectional::<String, String>(me, "Echo", "All").await?;
//! texts.send("one".to_owned()).await?;
//! assert_eq!(answers.next().await.transpose()?.as_deref(), Some("one"));
//! texts.finish().await?;
//! assert!(answers.next().await.is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Cancels and deadlines
//! Whoever drops a [`Call`], a [`CallHandle`], [`Answers`] or unfinished [`Requests`] cancels the call: its stream is dropped,
//! the other side sees that, and drops the method's future. A method's deadline is sent along as the time that is left, and kept
//! by both sides; the server cuts it to [`ServerConfig::call_timeout_max`].
//!
//! # Back-pressure
//! Nothing is queued for a side that does not read. Beside what the transport holds, a call keeps two items of its answer,
//! and of its request one item more than [`ServerConfig::read_ahead_bytes`], which are read so that a cancel behind them is seen.
//! A cancel further back is seen as the method takes items, or at the deadline.
//!
//! # Authorization
//! [`Services::set_authorization`] says which peer may call which method. It is not asked for what a peer calls of itself.
//!
//! # Panics
//! A method that panics fails its own call, with [`CallError::Panicked`]. That needs unwinding, the default: where a panic aborts,
//! it aborts the process.
//!
//! # Wire format
//! The protocol is [`PROTOCOL`]. Each stream carries one call, from the peer that has opened it, the caller, to the other one,
//! the callee. Both directions are sequences of frames:
//!
//! ```text
//! frame  = length kind body
//! length = bytes of kind and body together, an unsigned LEB128 varint of at most 64 bits
//! kind   = 1 byte
//! ```
//!
//! | kind | name | from | body |
//! |---|---|---|---|
//! | 1 | header | caller | a map, see below |
//! | 2 | item | both | a value |
//! | 3 | end | both | nothing; what is there is ignored |
//! | 4 | error | callee | a map, see below |
//! | 5 | cancel | caller | nothing; what is there is ignored |
//! | 128–255 | | both | anything: a kind that is not known is passed over |
//!
//! Bodies of kinds 1, 2 and 4 are exactly one data item of CBOR ([RFC 8949]), nested at most [`DEPTH_MAX`] deep. Maps have text
//! keys in any order, and keys that are not known are ignored.
//!
//! The caller sends one header, then its items, then an end. The callee sends its items, then an end, or an error in the place
//! of the items that are missing and of the end. It may do so before the caller's end, and then reads no further.
//! How many items there are is the method's: a unary method has one in each direction. Any other frame breaks the protocol.
//!
//! A direction is **not** closed behind its end. Before the end of the answer, a closed or reset direction of the caller's is a cancel, as
//! is a cancel frame: muxers differ in which of them a dropped stream becomes. The callee then drops the method, and
//! answers nothing. After the end of the answer the callee closes its direction, and both sides drop the stream. A caller
//! that cancels may drop the stream without a cancel frame, as this one does. A stream that ends before the answer does is
//! a call that has failed.
//!
//! The header:
//!
//! | key | type | |
//! |---|---|---|
//! | `service` | text | 1 to 255 bytes |
//! | `method` | text | 1 to 255 bytes |
//! | `timeout_ms` | unsigned, optional | time that is left for the call, in milliseconds; without it, as much as the callee allows |
//!
//! The error:
//!
//! | key | type | |
//! |---|---|---|
//! | `status` | unsigned | see [`Status`]; numbers that are not known are errors all the same |
//! | `code` | unsigned of 32 bits, optional | of status 5, the application's number |
//! | `message` | text, optional | up to 16 KiB |
//! | `max_bytes` | unsigned, optional | of statuses 6 and 7, the bound that was passed |
//!
//! For example, with a time of one second, `Arith.Sum` of 1 and 2, in hexadecimal; and an answer, or another one:
//!
//! ```text
//! caller  29 01 a3 67 "service" 65 "Arith" 66 "method" 63 "Sum" 6a "timeout_ms" 19 03e8
//!         02 02 01    02 02 02    01 03
//! callee  02 02 03    01 03
//! callee  0a 04 a1 66 "status" 03
//! ```
//!
//! # Bounds
//! A frame is refused by its length, before it has come. Numbers of items that CBOR announces are not believed, and nesting is
//! bounded. Every read and every write of a server has a deadline: the header's, the call's, or the write's. The calls that
//! are served at once are bounded per peer and in total. [`ServerConfig`] and [`ClientConfig`] name the bounds.
//!
//! [RFC 8949]: https://www.rfc-editor.org/rfc/rfc8949

mod answers;
mod call;
mod cbor;
mod client;
mod config;
mod context;
mod error;
mod flow;
mod frame;
mod multi;
mod opener;
mod pipe;
mod requests;
mod service;
mod services;
mod session;
mod slots;
mod status;

pub use self::{
    answers::Answers,
    call::{Call, CallHandle, Canceller},
    cbor::{DEPTH_MAX, DecodeError},
    client::Rpc,
    config::{
        CALL_TIMEOUT, CALL_TIMEOUT_MAX, CALLS_MAX, CALLS_PER_PEER_MAX, ClientConfig, ERROR_MESSAGE_BYTES_MAX,
        HEADER_BYTES_MAX, HEADER_TIMEOUT, MESSAGE_BYTES_MAX, MULTI_CALLS_MAX, NAME_BYTES_MAX, READ_AHEAD_BYTES,
        ServerConfig, WRITE_TIMEOUT,
    },
    context::Context,
    error::{ApplicationError, CallError, ErrorKind, MalformedAnswer, Message, SendError, Side},
    flow::{Incoming, Outgoing},
    frame::FrameKind,
    multi::MultiCall,
    opener::{OpenError, Opener},
    pipe::Pipe,
    requests::Requests,
    service::{MethodKind, Service},
    services::{RegisterError, ServiceInfo, Services},
    status::Status,
};

/// Protocol of the streams, each of which carries one call, unless a node is
/// [told another](crate::Builder::rpc_protocol).
pub const PROTOCOL: &str = "/rendezvous/rpc/1.0.0";
