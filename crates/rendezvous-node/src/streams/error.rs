//! Why no stream is opened, and why no acceptor is made.

use std::{io, time::Duration};

use libp2p::{PeerId, StreamProtocol};

/// Why [`Control::open`](super::Control::open) has brought no stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no connection with the peer. Nothing was sent.
    #[error("not connected to {peer}")]
    NotConnected {
        /// The peer.
        peer: PeerId,
    },
    /// The peer does not offer the protocol, or has let the stream go instead of an answer, which libp2p takes for the
    /// same.
    #[error("the peer does not support {protocol}")]
    Unsupported {
        /// The protocol.
        protocol: StreamProtocol,
    },
    /// [`Config::open_timeout`](super::Config::open_timeout) is over.
    #[error("no stream within {after:?}")]
    TimedOut {
        /// The setting.
        after: Duration,
    },
    /// The connection was lost while the stream was being opened, and so was every other with the peer.
    #[error("the connection was lost while the stream was being opened")]
    ConnectionLost,
    /// [`Config::opens_per_peer_max`](super::Config::opens_per_peer_max) opens wait for the peer. Nothing was sent.
    #[error("too many streams of this peer are being opened: {max} is the most")]
    TooManyOfPeer {
        /// The limit.
        max: usize,
    },
    /// [`Config::opens_max`](super::Config::opens_max) opens wait. Nothing was sent.
    #[error("too many streams are being opened: {max} is the most")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// The stream failed while its protocol was negotiated, and the connection did not fail with it.
    #[error("the stream failed while its protocol was negotiated")]
    Io(#[from] io::Error),
}

/// Why [`Control::accept`](super::Control::accept) has made no acceptor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("streams of {protocol} are accepted elsewhere")]
pub struct AlreadyAccepted {
    /// The protocol that has an acceptor.
    pub protocol: StreamProtocol,
}
