//! What can go wrong in a session, and whose fault it is.

use std::{error::Error, io};

use super::{end::End, message::DecodeError};

/// Why nothing is received.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// The other side has ended the session.
    #[error("ended by the other side: {0}")]
    PeerEnded(End),
    /// The session is over on this side.
    #[error("session is over")]
    Over,
    /// The other side broke the protocol.
    #[error("other side broke the protocol: {0}")]
    Breach(#[from] Breach),
    /// The stream failed.
    #[error(transparent)]
    Stream(StreamFailure),
}

/// Why a message is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The version has no such message; nothing was written.
    #[error("message code {code} is out of range: the version has {codes} codes")]
    Code {
        /// The code.
        code: u16,
        /// Number of codes that the version has.
        codes: u16,
    },
    /// The content is above the limit; nothing was written.
    #[error("message of {len_bytes} bytes is longer than {max_bytes}")]
    TooLong {
        /// Length of the content.
        len_bytes: usize,
        /// Longest that is sent.
        max_bytes: usize,
    },
    /// The value has no CBOR; nothing was written.
    #[error("value cannot be encoded: {0}")]
    Encode(Box<str>),
    /// The other side has ended the session.
    #[error("ended by the other side: {0}")]
    PeerEnded(End),
    /// The session is over on this side, or the other side broke the protocol.
    #[error("session is over")]
    Over,
    /// The stream failed. The other side may or may not have the message.
    #[error(transparent)]
    Stream(StreamFailure),
}

/// What the other side did that no implementation does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// The length of a frame is no varint.
    #[error("frame length is not a varint")]
    Prefix,
    /// A message is above the limit. Nothing was allocated for it.
    #[error("message of {len_bytes} bytes is longer than {max_bytes}")]
    TooLong {
        /// Length of the content, as announced.
        len_bytes: u64,
        /// Longest that is received.
        max_bytes: usize,
    },
    /// A frame is too short for a message number.
    #[error("frame without a message number")]
    Short,
    /// The version has no such message.
    #[error("message code {code} is out of range: the version has {codes} codes")]
    Code {
        /// The code.
        code: u16,
        /// Number of codes that the version has.
        codes: u16,
    },
    /// An end frame says nothing that can be understood.
    #[error("malformed end frame")]
    End,
    /// The content of a message is not what the run function reads.
    #[error(transparent)]
    Content(#[from] DecodeError),
}

/// How a stream failed. Nobody broke a rule: this is what a network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StreamFailure {
    /// It was closed without an end frame.
    #[error("stream was closed without an end")]
    Closed,
    /// Reading or writing failed; an end inside a frame is an [`io::ErrorKind::UnexpectedEof`].
    #[error("stream failed: {0}")]
    Io(io::ErrorKind),
    /// A message that had begun was not complete in time.
    #[error("message did not arrive in time")]
    ReadDeadline,
    /// A message was not taken in time.
    #[error("message was not taken in time")]
    WriteDeadline,
}

/// What a run function fails with. Every error of [`Messages`](super::Messages) and of [`Message`](super::Message)
/// becomes one by `?`.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Nothing is received.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// A message is not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The content of a message cannot be read, which is a breach by the other side.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// An error of the run function's own; see [`Self::application`].
    #[error(transparent)]
    Application(Box<dyn Error + Send + Sync>),
}

impl SessionError {
    /// An error of the run function's own, to be used with `map_err`.
    pub fn application(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Application(error.into())
    }
}
