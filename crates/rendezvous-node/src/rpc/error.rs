//! What goes wrong, and on which side.

use std::{convert::Infallible, error::Error, fmt, io};

use super::{
    cbor::{DecodeError, EncodeError},
    frame::{ErrorBody, FrameKind, ReadError},
    status::Status,
};

/// One of the two sides of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The one that calls.
    Caller,
    /// The one that is called.
    Callee,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Caller => "caller",
            Self::Callee => "callee",
        })
    }
}

/// What the items of one direction make up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// What the caller sends.
    Request,
    /// What the callee sends.
    Answer,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Answer => "answer",
        })
    }
}

/// The coarse kinds of [`CallError`], which are those of go-libp2p-gorpc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// It has arisen on the side that calls, or on the way.
    Client,
    /// It has arisen on the side that is called, outside the method.
    Server,
    /// The method has returned it.
    Application,
    /// The caller may not call the method.
    NotAuthorized,
}

/// What a method returns when it fails; its caller gets the same.
///
/// The error type of a method is any that converts into this one.
///
/// ```
/// use rendezvous_node::rpc::ApplicationError;
///
/// enum DivideError {
///     ByZero,
/// }
///
/// impl From<DivideError> for ApplicationError {
///     fn from(error: DivideError) -> Self {
///         match error {
///             DivideError::ByZero => Self::new(1, "division by zero"),
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{message} (code {code})")]
#[non_exhaustive]
pub struct ApplicationError {
    /// The application's number for it.
    pub code: u32,
    /// What has happened. Longer than [`ERROR_MESSAGE_BYTES_MAX`](super::ERROR_MESSAGE_BYTES_MAX) it is cut on its way.
    pub message: String,
}

impl ApplicationError {
    /// An error with this number and text.
    #[must_use]
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<Infallible> for ApplicationError {
    fn from(error: Infallible) -> Self {
        match error {}
    }
}

impl From<SendError> for ApplicationError {
    /// With code 0. The caller is told of an item that is too large as such, not by this.
    fn from(error: SendError) -> Self {
        Self::new(0, error.to_string())
    }
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No connection to the peer.
    #[error("peer cannot be reached")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    /// The peer does not speak [`PROTOCOL`](super::PROTOCOL).
    #[error("peer does not serve calls")]
    Unsupported,
    /// The stream has failed before the end of the answer: the peer has left, or has dropped the call.
    #[error("stream of the call has failed")]
    Broken(#[source] io::Error),
    /// The peer has no such service.
    #[error("no such service")]
    NoService,
    /// The service has no such method.
    #[error("no such method")]
    NoMethod,
    /// The peer does not let this one call the method.
    #[error("not authorized")]
    NotAuthorized,
    /// The method has failed, with this.
    #[error(transparent)]
    Application(ApplicationError),
    /// The answer breaks the protocol, or is of another type than expected; either the peer's fault, or both sides do not
    /// mean the same method.
    #[error("malformed answer")]
    MalformedAnswer(#[source] MalformedAnswer),
    /// The peer says that the request breaks the protocol, or is of another type than it expects.
    #[error("malformed request: {reason}")]
    MalformedRequest {
        /// What the peer has found.
        reason: String,
    },
    /// The request's type refuses to be encoded.
    #[error("request cannot be encoded: {reason}")]
    Encode {
        /// What it says.
        reason: String,
    },
    /// An item is larger than one side allows.
    #[error("{message} is too large for the {side}")]
    TooLarge {
        /// Which one.
        message: Message,
        /// Whose bound was passed.
        side: Side,
        /// That bound, where it is known.
        max_bytes: Option<u64>,
    },
    /// The time was over.
    #[error("timed out at the {side}")]
    TimedOut {
        /// Who has seen it first.
        side: Side,
    },
    /// The call was cancelled.
    #[error("cancelled by the {side}")]
    Cancelled {
        /// By whom.
        side: Side,
    },
    /// The peer serves as many calls as it can, or as it grants to one peer.
    #[error("peer is overloaded: {reason}")]
    Overloaded {
        /// Which limit it is.
        reason: String,
    },
    /// The method has panicked.
    #[error("method has panicked")]
    Panicked,
    /// The peer could not answer, for another reason of its own.
    #[error("peer has failed: {reason}")]
    Internal {
        /// What it says.
        reason: String,
    },
    /// The peer has answered with a status that has no name here.
    #[error("status {status}: {message}")]
    Other {
        /// The status.
        status: u64,
        /// What the peer says about it.
        message: String,
    },
}

impl CallError {
    /// The coarse kind.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Application(_) => ErrorKind::Application,
            Self::NotAuthorized => ErrorKind::NotAuthorized,
            Self::Unreachable(_)
            | Self::Unsupported
            | Self::Broken(_)
            | Self::MalformedAnswer(_)
            | Self::Encode { .. }
            | Self::TooLarge { side: Side::Caller, .. }
            | Self::TimedOut { side: Side::Caller }
            | Self::Cancelled { side: Side::Caller } => ErrorKind::Client,
            Self::NoService
            | Self::NoMethod
            | Self::MalformedRequest { .. }
            | Self::TooLarge { side: Side::Callee, .. }
            | Self::TimedOut { side: Side::Callee }
            | Self::Cancelled { side: Side::Callee }
            | Self::Overloaded { .. }
            | Self::Panicked
            | Self::Internal { .. }
            | Self::Other { .. } => ErrorKind::Server,
        }
    }

    /// What the callee's error frame says.
    pub(super) fn from_body(body: ErrorBody) -> Self {
        let ErrorBody { status, code, message, max_bytes } = body;
        let side = Side::Callee;
        match Status::from_code(status) {
            Status::Malformed => Self::MalformedRequest { reason: message },
            Status::NoService => Self::NoService,
            Status::NoMethod => Self::NoMethod,
            Status::NotAuthorized => Self::NotAuthorized,
            Status::Application => Self::Application(ApplicationError { code: code.unwrap_or_default(), message }),
            Status::RequestTooLarge => Self::TooLarge { message: Message::Request, side, max_bytes },
            Status::AnswerTooLarge => Self::TooLarge { message: Message::Answer, side, max_bytes },
            Status::TimedOut => Self::TimedOut { side },
            Status::Cancelled => Self::Cancelled { side },
            Status::Overloaded => Self::Overloaded { reason: message },
            Status::Panicked => Self::Panicked,
            Status::Internal => Self::Internal { reason: message },
            Status::Other(status) => Self::Other { status, message },
        }
    }
}

impl From<EncodeError> for CallError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::TooLarge { max_bytes } => Self::too_large(Message::Request, max_bytes),
            EncodeError::Refused { reason } => Self::Encode { reason },
        }
    }
}

impl From<ReadError> for CallError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::TooLong { max_bytes } => Self::too_large(Message::Answer, max_bytes),
            ReadError::Malformed(reason) => Self::MalformedAnswer(MalformedAnswer::Frame { reason }),
            ReadError::Io(error) => Self::Broken(error),
        }
    }
}

impl CallError {
    pub(super) fn too_large(message: Message, max_bytes: usize) -> Self {
        Self::TooLarge { message, side: Side::Caller, max_bytes: Some(max_bytes as u64) }
    }
}

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedAnswer {
    /// Bytes that are no frame.
    #[error("{reason}")]
    Frame {
        /// What is wrong with them.
        reason: &'static str,
    },
    /// A frame that has no place in an answer.
    #[error("unexpected frame of kind {}", .0.code())]
    Unexpected(FrameKind),
    /// An item that is not of the expected type.
    #[error("unreadable item")]
    Item(#[source] DecodeError),
    /// An error frame that cannot be read.
    #[error("unreadable error")]
    Error(#[source] DecodeError),
    /// No item, where there is one in the answer.
    #[error("answer is empty")]
    NoItem,
    /// Several items, where there is one in the answer.
    #[error("answer goes on after its item")]
    ExtraItem,
}

/// Why an item was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The call is over, or the other side wants no more items; the answer tells why.
    #[error("call is over")]
    Ended,
    /// The item's type refuses to be encoded.
    #[error("item cannot be encoded: {reason}")]
    Encode {
        /// What it says.
        reason: String,
    },
    /// The item is larger than this side allows.
    #[error("item takes more than {max_bytes} bytes")]
    TooLarge {
        /// The bound.
        max_bytes: usize,
    },
    /// The other side has not taken it before the time of the call was over.
    #[error("timed out")]
    TimedOut,
}

impl From<EncodeError> for SendError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::TooLarge { max_bytes } => Self::TooLarge { max_bytes },
            EncodeError::Refused { reason } => Self::Encode { reason },
        }
    }
}
