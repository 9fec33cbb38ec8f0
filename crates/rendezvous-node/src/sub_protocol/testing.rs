//! Helpers for the tests of sub-protocols.

use std::{fmt, future::Future, sync::Arc};

use ciborium::Value;
use libp2p::{Multiaddr, PeerId};
use serde::Serialize;
use tokio_util::compat::TokioAsyncReadCompatExt as _;

use super::{
    channel::{Channel, Farewell},
    definition::Negotiated,
    end::{End, Ended},
    error::{ReceiveError, SendError},
    limits::Limits,
    message::{self, Message},
    messages::{Messages, Reader},
    peer::{Direction, Peer},
    session,
};

/// What a pipe holds in each direction: 64 KiB. A message that does not fit waits for its receiver.
pub const PIPE_BYTES: usize = 64 << 10;

/// Bytes of a payload that is no CBOR which [`Unexpected`] shows.
const SHOWN_BYTES: usize = 64;

/// Two connected ends in memory, with every code and the limits that are the default.
///
/// A run function can be called with one of them. Once one end is dropped, the other fails, after what was sent before.
#[must_use]
pub fn pipe() -> (Messages, Messages) {
    pipe_with(u16::MAX, Limits::default())
}

/// As [`pipe`], with so many codes and other limits.
#[must_use]
pub fn pipe_with(codes: u16, limits: Limits) -> (Messages, Messages) {
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    let end = |io| Messages::new(Arc::new(Channel::new(Box::new(io), codes, limits, None)));
    (end(ours.compat()), end(theirs.compat()))
}

/// A session at one end of a pipe, as the node runs it, and the messages at the other end.
///
/// The session runs as its future is polled: spawn it, or join it with what uses the messages.
pub fn pipe_to(protocol: Negotiated, peer: Peer) -> (Messages, impl Future<Output = Ended> + Send + 'static) {
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    let (codes, limits) = (protocol.version().codes, protocol.limits());
    let messages = Messages::new(Arc::new(Channel::new(Box::new(theirs.compat()), codes, limits, None)));
    (messages, session::run(ours.compat(), protocol, peer, None, std::future::pending()))
}

/// Some peer that has opened a connection.
#[must_use]
pub fn some_peer() -> Peer {
    Peer::new(PeerId::random(), Multiaddr::empty(), Direction::Inbound)
}

/// Ends a session from an end of a pipe, as the other side does when its run function returns.
pub async fn end_session(messages: Messages, end: End) {
    messages.into_channel().part(Farewell { tell: Some(end), linger: true }).await;
}

/// Receives a message, which must have this code and this value as its content.
///
/// # Errors
/// [`Unexpected`], which says what came instead.
pub async fn expect_message<T: Serialize + ?Sized>(
    messages: &mut impl AsMut<Reader>,
    code: u16,
    content: &T,
) -> Result<(), Unexpected> {
    let mut expected = Vec::new();
    message::encode(content, &mut expected)?;
    let message = expect_code(messages, code).await?;
    if message.payload == expected {
        Ok(())
    } else {
        Err(Unexpected::Content { code, expected: show(&expected), came: show(&message.payload) })
    }
}

/// Receives a message, which must have this code, whatever its content.
///
/// # Errors
/// [`Unexpected`], which says what came instead.
pub async fn expect_code(messages: &mut impl AsMut<Reader>, code: u16) -> Result<Message, Unexpected> {
    let message = messages.as_mut().recv().await?;
    if message.code == code {
        Ok(message)
    } else {
        Err(Unexpected::Code { expected: code, came: message.code, content: show(&message.payload) })
    }
}

/// Something else came than was expected.
#[derive(Debug, thiserror::Error)]
pub enum Unexpected {
    /// Nothing came.
    #[error("no message: {0}")]
    Receive(#[from] ReceiveError),
    /// The value that is expected could not be sent.
    #[error("the expected content is none: {0}")]
    NoContent(#[from] SendError),
    /// A message with another code came.
    #[error("expected message {expected}, came message {came} with {content}")]
    Code {
        /// The code that was expected.
        expected: u16,
        /// The code that came.
        came: u16,
        /// The content that came with it, readable.
        content: String,
    },
    /// The content is another.
    #[error("expected message {code} with {expected}, came {came}")]
    Content {
        /// The code, which is the expected one.
        code: u16,
        /// The content that was expected, readable.
        expected: String,
        /// The content that came, readable.
        came: String,
    },
}

/// Content for a person: the value if it is CBOR, or else its first bytes.
fn show(content: &[u8]) -> String {
    let mut rest = content;
    match ciborium::de::from_reader_with_recursion_limit(&mut rest, message::CBOR_DEPTH_MAX) {
        Ok(value) if rest.is_empty() => Shown(&value).to_string(),
        _ => format!("{} bytes that are no CBOR: {}", content.len(), Hex(&content[..content.len().min(SHOWN_BYTES)])),
    }
}

/// A value in the manner of CBOR's diagnostic notation.
struct Shown<'a>(&'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = |index| if index == 0 { "" } else { ", " };
        match self.0 {
            Value::Integer(integer) => write!(f, "{}", i128::from(*integer)),
            Value::Bytes(bytes) => write!(f, "h'{}'", Hex(bytes)),
            Value::Float(float) => write!(f, "{float:?}"),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Bool(bool) => write!(f, "{bool}"),
            Value::Null => f.write_str("null"),
            Value::Tag(tag, value) => write!(f, "{tag}({})", Self(value)),
            Value::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{}", separator(index), Shown(item))?;
                }
                f.write_str("]")
            }
            Value::Map(entries) => {
                f.write_str("{")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{}: {}", separator(index), Shown(key), Shown(value))?;
                }
                f.write_str("}")
            }
            // The type may come to have more kinds.
            other => write!(f, "{other:?}"),
        }
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
