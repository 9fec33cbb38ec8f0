//! Why a request came to nothing, and whose fault that is.

use rendezvous_wire::{MessageType, ResponseError, Status, frame::FrameError};

use super::{outbound::RequestKind, walk::WalkLimit};

/// Why a request failed.
///
/// The shell reports the first six; the others arise in the client itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The point answered with a status other than OK.
    #[error("point refused with {status}: {text}")]
    Refused {
        /// The status, never OK.
        status: Status,
        /// The point's words, bounded and without control characters
        /// ([`STATUS_TEXT_CHARS_MAX`](super::STATUS_TEXT_CHARS_MAX)).
        text: String,
    },
    /// No connection to the point; the request was not sent.
    #[error("point is unreachable")]
    Unreachable,
    /// The point is connected and does not speak the protocol.
    #[error("point does not speak the rendezvous protocol")]
    Unsupported,
    /// No answer until the deadline.
    #[error("no answer in time")]
    TimedOut,
    /// The point closed or reset the stream in place of an answer.
    #[error("point closed the stream without an answer")]
    ClosedWithoutAnswer,
    /// The point answered with bytes that are no answer.
    #[error("malformed answer: {0}")]
    Malformed(#[from] MalformedAnswer),
    /// The point's listing was given up at a limit. The client tells this in [`Event`](super::Event)s as `cut`; a shell
    /// that reports it as a failure uses this.
    #[error("{0}")]
    Listing(#[from] WalkLimit),
    /// The key cannot sign a peer record.
    #[error("key cannot sign a peer record")]
    CannotSign,
    /// A bound of the client's own is reached: [`STANDINGS_MAX`](super::STANDINGS_MAX) or
    /// [`PENDING_MAX`](super::PENDING_MAX).
    #[error("too much is pending")]
    AtCapacity,
    /// The client is shutting down.
    #[error("client is shutting down")]
    ShutDown,
}

/// Who can do something about a [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The point refuses by its own rules; asking otherwise, or later, may help.
    Refused,
    /// The point misbehaves.
    Point,
    /// The way to the point, or a point that is down.
    Network,
    /// The application: its key, its bounds, its shutdown.
    Local,
}

impl Failure {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Refused { .. } => Fault::Refused,
            Self::Unsupported | Self::ClosedWithoutAnswer | Self::Malformed(_) | Self::Listing(_) => Fault::Point,
            Self::Unreachable | Self::TimedOut => Fault::Network,
            Self::CannotSign | Self::AtCapacity | Self::ShutDown => Fault::Local,
        }
    }

    /// Whether this is how a point fails that cannot read the record's flavour: a status of 101 (nim, waku-spec), 200
    /// (py), 300 (js), or a stream closed without a word (rust-libp2p).
    pub(super) const fn hints_at_flavour(&self) -> bool {
        match self {
            Self::Refused { status, .. } => {
                matches!(status, Status::InvalidSignedPeerRecord | Status::NotAuthorized | Status::InternalError)
            }
            Self::ClosedWithoutAnswer => true,
            _ => false,
        }
    }

    pub(super) const fn is_ttl_refusal(&self) -> bool {
        matches!(self, Self::Refused { status: Status::InvalidTtl, .. })
    }

    /// Whether a REGISTER that failed so may nevertheless stand at the point: a point whose store has failed says that it
    /// has not taken it, and may find it there when it starts again.
    pub(super) const fn leaves_doubt(&self) -> bool {
        matches!(
            self,
            Self::TimedOut
                | Self::ClosedWithoutAnswer
                | Self::Malformed(_)
                | Self::Refused { status: Status::InternalError, .. }
        )
    }

    /// Whether a new connection is a reason to try again before the back-off is over.
    pub(super) const fn may_pass_with_connection(&self) -> bool {
        matches!(self, Self::Unreachable | Self::Unsupported | Self::TimedOut | Self::ClosedWithoutAnswer)
    }
}

/// Why bytes are no answer to the request. The fault is the point's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedAnswer {
    /// The bytes are no frame, or one that is too long.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The payload is no message, or a message that is no response.
    #[error(transparent)]
    Response(#[from] ResponseError),
    /// The response is one to another kind of request, or the request has none.
    #[error("{answered} is no answer to {request}")]
    WrongKind {
        /// What was asked.
        request: RequestKind,
        /// What came.
        answered: MessageType,
    },
}
