//! How sessions end.

use core::fmt;

use super::error::{Breach, SessionError, StreamFailure};
use crate::DisconnectReason;

/// How one side ends a session, in the words that the other side is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// All is said.
    Finished,
    /// The session ends for a reason; the peer stays connected.
    Session(DisconnectReason),
    /// The peer is disconnected for a reason, and all its sessions end.
    Disconnect(DisconnectReason),
}

impl End {
    /// The reason, which for a session that is finished is that it was asked for.
    #[must_use]
    pub const fn reason(self) -> DisconnectReason {
        match self {
            Self::Finished => DisconnectReason::Requested,
            Self::Session(reason) | Self::Disconnect(reason) => reason,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::Session(reason) => write!(f, "session ended: {reason}"),
            Self::Disconnect(reason) => write!(f, "peer disconnected: {reason}"),
        }
    }
}

/// How a session ended.
#[derive(Debug)]
pub enum Ended {
    /// This side ended it: the run function returned, or the node stopped it.
    ByUs(End),
    /// The other side ended it.
    ByPeer(End),
    /// The run function returned an error that is this side's own: a message that may not be sent, or
    /// [`SessionError::Application`]. The other side was told that the sub-protocol failed.
    Failed(SessionError),
    /// The run function panicked with this text. The other side was told that the sub-protocol failed.
    Panicked(Box<str>),
    /// The stream failed, or was closed without an end.
    Stream(StreamFailure),
    /// The other side broke the protocol, and was told so.
    Breach(Breach),
}

impl Ended {
    /// The reason for which the peer is to be disconnected, if it is: one of the two sides wants it, or a breach.
    #[must_use]
    pub const fn disconnects(&self) -> Option<DisconnectReason> {
        match self {
            Self::ByUs(End::Disconnect(reason)) | Self::ByPeer(End::Disconnect(reason)) => Some(*reason),
            Self::Breach(_) => Some(DisconnectReason::ProtocolBreach),
            Self::ByUs(_) | Self::ByPeer(_) | Self::Failed(_) | Self::Panicked(_) | Self::Stream(_) => None,
        }
    }

    /// The reason of the end, in the terms of the events of peers.
    #[must_use]
    pub const fn reason(&self) -> DisconnectReason {
        match self {
            Self::ByUs(end) | Self::ByPeer(end) => end.reason(),
            Self::Failed(_) | Self::Panicked(_) => DisconnectReason::SubProtocol,
            Self::Stream(StreamFailure::ReadDeadline | StreamFailure::WriteDeadline) => DisconnectReason::Timeout,
            Self::Stream(StreamFailure::Closed | StreamFailure::Io(_)) => DisconnectReason::Network,
            Self::Breach(_) => DisconnectReason::ProtocolBreach,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByUs(end) => write!(f, "by this side: {end}"),
            Self::ByPeer(end) => write!(f, "by the other side: {end}"),
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Panicked(text) => write!(f, "panicked: {text}"),
            Self::Stream(failure) => failure.fmt(f),
            Self::Breach(breach) => write!(f, "other side broke the protocol: {breach}"),
        }
    }
}
