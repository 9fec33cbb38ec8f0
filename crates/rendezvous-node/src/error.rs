//! Why a node does not do what it is told.

use std::io;

use libp2p::{Multiaddr, PeerId, StreamProtocol};

use crate::identity::IdentityError;

/// Why settings make no node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The address of a peer does not say whose it is.
    #[error("{address} names no peer: it must end with /p2p/ and the peer's id")]
    NoPeerId {
        /// The address.
        address: Multiaddr,
    },
    /// Two sub-protocols have one name.
    #[error("the sub-protocol {name} is there twice: give one its versions by `with_version`")]
    DuplicateSubProtocol {
        /// The name.
        name: String,
    },
    /// Calls are to go by a protocol that the node speaks already.
    #[error("calls cannot go by {protocol}, which the node uses for something else")]
    RpcProtocol {
        /// The protocol.
        protocol: StreamProtocol,
    },
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// It runs already.
    #[error("the node runs already")]
    Running,
    /// Whoever starts it is not within a Tokio runtime.
    #[error("a node starts within a Tokio runtime")]
    NoRuntime,
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// Why.
        source: io::Error,
    },
    /// The transports cannot be set up.
    #[error("cannot set up the transports")]
    Transport(#[source] io::Error),
}

/// The node does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node does not run")]
pub struct NotRunning;

/// Why there is no connection to a peer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The node does not run, or was stopped meanwhile.
    #[error(transparent)]
    NotRunning(#[from] NotRunning),
    /// No address of the peer is known.
    #[error("no address of {peer} is known")]
    NoAddresses {
        /// The peer.
        peer: PeerId,
    },
    /// The peer is this node.
    #[error("{peer} is this node")]
    Own {
        /// The peer.
        peer: PeerId,
    },
    /// The cap on peers is reached.
    #[error("there are {max} peers already, which is the most")]
    TooManyPeers {
        /// The cap.
        max: usize,
    },
    /// Another peer was at the address.
    #[error("{found} was there instead")]
    UnexpectedIdentity {
        /// Who was there.
        found: PeerId,
    },
    /// Nobody could be reached.
    #[error("{peer} cannot be reached")]
    Unreachable {
        /// The peer.
        peer: PeerId,
        /// Why.
        source: io::Error,
    },
}
