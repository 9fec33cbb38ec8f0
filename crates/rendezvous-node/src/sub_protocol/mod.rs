//! Sub-protocols: messages with codes between two peers, after the manner of devp2p.
//!
//! A [`SubProtocol`] is a name, versions with a number of message codes each, and a run function. The node opens a stream
//! for it with each peer that knows it too, in the highest version that both know, and calls the run function with the
//! [`Peer`] and the [`Messages`]. When the run function returns, the session with this peer ends, and the other side is
//! told the reason.
//!
//! One peer sends "foo", the other answers "bar":
//!
//! ```
//! use rendezvous_node::sub_protocol::{
//!     End, Ended, Messages, SessionError, SubProtocol, Version, expect_message, pipe_to, some_peer,
//! };
//!
//! const FOO: u16 = 0;
//! const BAR: u16 = 1;
//!
//! async fn answer(mut messages: Messages) -> Result<End, SessionError> {
//!     let message = messages.recv().await?;
//!     assert_eq!((message.code, message.decode::<String>()?.as_str()), (FOO, "foo"));
//!     messages.send(BAR, "bar").await?;
//!     Ok(End::Finished)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let foobar = SubProtocol::new("foobar", Version { number: 1, codes: 2 }, |_peer, messages| answer(messages))?;
//!
//! // In a node it is among the settings. In a test, a session is run at one end of a pipe …
//! let negotiated = foobar.highest_common(&foobar.protocol_ids()).expect("the peer knows it too");
//! let (mut messages, session) = pipe_to(negotiated, some_peer());
//! let session = tokio::spawn(session);
//!
//! // … and the test is the peer at the other end.
//! messages.send(FOO, "foo").await?;
//! expect_message(&mut messages, BAR, "bar").await?;
//! assert!(matches!(session.await?, Ended::ByUs(End::Finished)));
//! # Ok(())
//! # }
//! ```
//!
//! # Sessions
//! - A session cannot harm another: it has its own stream, whose back-pressure is all the queue there is, and a panic
//!   stays in it.
//! - The run function receives for as long as it likes. Everything else that waits for the other side has a deadline,
//!   see [`Limits`].
//! - Codes and sizes are checked on both sides. To send a message that the version does not have is an error of this
//!   side ([`SendError`]); to receive one is a [`Breach`], after which the peer is disconnected. So is content that
//!   [`Message::decode`] cannot read, if the run function returns that error.
//! - By `?` every error here becomes a [`SessionError`], and [`Ended`] tells whose doing the end was.
//!
//! # Wire format
//! A session is one libp2p stream, whose protocol id is `/rendezvous/sub/<name>/<version>`: the name of 1 to 64 ASCII
//! letters, digits, `-`, `_` and `.`, the version in decimal without leading zeros. Each side sends a sequence of frames,
//! and may begin at once.
//!
//! ```text
//! frame    = length number body
//! length   = the bytes of number and body together, as an unsigned LEB128 varint of at most 10 bytes
//! number   = 2 bytes, big-endian: 0 for an end, 1 + code for a message
//! body     = content          in a message; its length is at most the limit, by default 10 MiB (10 485 760 bytes)
//!          | (nothing)        in an end: finished
//!          | scope reason     in an end: 1 byte each; what follows them is ignored
//! scope    = 0: this session ends | 1: the peer is disconnected
//! reason   = a code of DisconnectReason
//! ```
//!
//! - Content is whatever the sub-protocol says; what [`Messages::send`] writes is one CBOR item (RFC 8949), and what
//!   [`Messages::send_items`] writes is one CBOR array.
//! - A code at or above the version's number of codes, content above the limit, a length that is no varint, a frame
//!   shorter than its number, and an end with another scope or with a scope and no reason are breaches. The side that
//!   sees one sends an end of scope 1 with reason 2 (breach of protocol) and closes the stream.
//! - An end is a side's last frame. After it the side closes its direction of the stream, and waits for a moment (by
//!   default 2 seconds) for the other side to close too. After the other side's end nothing need be sent.
//! - A stream that is closed without an end has failed.
//!
//! For example, message 0 with the text "foo" is `06 00 01 63 66 6f 6f`, and the end because of too many peers is
//! `04 00 00 01 04`.
//!
//! # For the node
//! [`SubProtocol::protocol_ids`] are what it listens for; [`SubProtocol::highest_common`] chooses what it opens, and
//! [`SubProtocol::negotiated`] tells what was opened; [`session::run`] is the task of a stream, and
//! [`Ended::disconnects`] whether the peer is to go.

mod channel;
mod definition;
mod end;
mod error;
mod halves;
mod limits;
mod message;
mod messages;
mod peer;
pub mod session;
mod testing;
mod wire;

pub use self::{
    channel::{Observer, Traffic},
    definition::{InvalidSubProtocol, NAME_BYTES_MAX, Negotiated, SubProtocol, Version},
    end::{End, Ended},
    error::{Breach, ReceiveError, SendError, SessionError, StreamFailure},
    limits::{END_DEADLINE, Limits, MESSAGE_BYTES_MAX, READ_DEADLINE, WRITE_DEADLINE},
    message::{CBOR_DEPTH_MAX, DecodeError, DecodeErrorKind, Message},
    messages::{Messages, Reader, Writer},
    peer::{Direction, Peer},
    testing::{PIPE_BYTES, Unexpected, end_session, expect_code, expect_message, pipe, pipe_to, pipe_with, some_peer},
};
