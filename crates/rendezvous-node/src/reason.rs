//! Why peers part.

use core::fmt;

/// Why a peer is disconnected. The codes are those of devp2p, which users of its event feeds know.
///
/// ```
/// use rendezvous_node::DisconnectReason;
///
/// assert_eq!(DisconnectReason::TooManyPeers.code(), 4);
/// assert_eq!(DisconnectReason::from_code(4), DisconnectReason::TooManyPeers);
/// assert_eq!(DisconnectReason::from_code(77), DisconnectReason::Other(77));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// It was asked for (0).
    Requested,
    /// The connection failed (1).
    Network,
    /// The other side broke a protocol (2).
    ProtocolBreach,
    /// No sub-protocol is shared (3).
    UselessPeer,
    /// The cap on peers is reached (4).
    TooManyPeers,
    /// There is a connection already (5).
    AlreadyConnected,
    /// No version is shared (6).
    IncompatibleVersion,
    /// The other side has shown no valid identity (7).
    InvalidIdentity,
    /// The node stops (8).
    Quitting,
    /// Another peer than expected was at the address (9).
    UnexpectedIdentity,
    /// The node itself was at the address (10).
    SelfConnection,
    /// Nothing was heard for too long (11).
    Timeout,
    /// A sub-protocol failed (16).
    SubProtocol,
    /// A code that has no name here.
    Other(u8),
}

impl DisconnectReason {
    /// Every reason that has a name.
    pub const NAMED: [Self; 13] = [
        Self::Requested,
        Self::Network,
        Self::ProtocolBreach,
        Self::UselessPeer,
        Self::TooManyPeers,
        Self::AlreadyConnected,
        Self::IncompatibleVersion,
        Self::InvalidIdentity,
        Self::Quitting,
        Self::UnexpectedIdentity,
        Self::SelfConnection,
        Self::Timeout,
        Self::SubProtocol,
    ];

    /// The number that stands for it on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Requested => 0,
            Self::Network => 1,
            Self::ProtocolBreach => 2,
            Self::UselessPeer => 3,
            Self::TooManyPeers => 4,
            Self::AlreadyConnected => 5,
            Self::IncompatibleVersion => 6,
            Self::InvalidIdentity => 7,
            Self::Quitting => 8,
            Self::UnexpectedIdentity => 9,
            Self::SelfConnection => 10,
            Self::Timeout => 11,
            Self::SubProtocol => 16,
            Self::Other(code) => code,
        }
    }

    /// The reason that a number stands for.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        Self::NAMED.into_iter().find(|reason| reason.code() == code).unwrap_or(Self::Other(code))
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requested => "disconnect requested",
            Self::Network => "network error",
            Self::ProtocolBreach => "breach of protocol",
            Self::UselessPeer => "useless peer",
            Self::TooManyPeers => "too many peers",
            Self::AlreadyConnected => "already connected",
            Self::IncompatibleVersion => "incompatible version",
            Self::InvalidIdentity => "invalid identity",
            Self::Quitting => "node is quitting",
            Self::UnexpectedIdentity => "unexpected identity",
            Self::SelfConnection => "connected to self",
            Self::Timeout => "timed out",
            Self::SubProtocol => "sub-protocol error",
            Self::Other(code) => return write!(f, "reason {code}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_as_what_it_was_written_for() {
        for code in 0..=u8::MAX {
            assert_eq!(DisconnectReason::from_code(code).code(), code);
        }
        for reason in DisconnectReason::NAMED {
            assert_eq!(DisconnectReason::from_code(reason.code()), reason);
        }
    }
}
