//! What can be wrong with bytes from the network. All of it is the sender's fault.

use crate::MessageType;

/// Why bytes are not a protobuf message of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The bytes end inside a field, or a length points past the end of its message.
    #[error("message ends inside a field")]
    Truncated,
    /// A varint has more than ten bytes or more than 64 bits.
    #[error("varint is longer than 64 bits")]
    Varint,
    /// A tag names field 0, a number above the protobuf maximum, or a wire type that is not in use.
    #[error("field tag is not valid")]
    Tag,
    /// A known field has another wire type than its definition.
    #[error("field {field} has the wrong wire type")]
    WireType {
        /// Number of the field in its message.
        field: u32,
    },
}

/// Why a payload is not a message.
///
/// `kind` is set where the message's type could be told before the fault, so that a server can answer with a status
/// rather than close the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("malformed message: {reason}")]
pub struct DecodeError {
    /// The type of the message, as far as it could be told.
    pub kind: Option<MessageType>,
    /// What is wrong.
    pub reason: Malformed,
}

/// Why a payload is not a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RequestError {
    /// The bytes are not a message.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// The message is well-formed and is not a request: a response, or of a type that this protocol does not have.
    #[error("{0} is not a request")]
    NotARequest(MessageType),
}

impl RequestError {
    /// The type of the refused message, where it could be told.
    #[must_use]
    pub fn kind(&self) -> Option<MessageType> {
        match self {
            Self::Malformed(error) => error.kind,
            Self::NotARequest(kind) => Some(*kind),
        }
    }
}

/// Why a payload is not a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ResponseError {
    /// The bytes are not a message.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// The message is well-formed and is not a response: a request, or of a type that this protocol does not have.
    #[error("{0} is not a response")]
    NotAResponse(MessageType),
}

/// Why bytes are no [`PeerInfo`](crate::PeerInfo).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotPeerInfo {
    /// They are no message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// They have a signature, as a signed envelope does.
    #[error("peer info has a signature")]
    Signed,
    /// There is no id, or one that is no multihash, as a public key is none.
    #[error("peer info has no peer id")]
    Id,
}
