//! What peers tell.

use std::{error::Error, fmt};

use libp2p::StreamProtocol;

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// What has come to pass at a peer, which is known by its number.
pub(crate) enum Report {
    /// It is connected to all others, has found all of them, and has its part of the mesh.
    Ready { number: usize, found: usize, connected: usize, mesh: usize },
    /// A message has come.
    Received { number: usize, text: String },
    /// The point has told which protocols it speaks.
    Offered { number: usize, protocols: Vec<StreamProtocol> },
    /// It has ended before it was stopped.
    Failed { number: usize, failure: Failure },
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { number, found, connected, mesh } => {
                write!(f, "peer {number} has found {found} peers, is connected to {connected}, ")?;
                write!(f, "and has {mesh} in its mesh")
            }
            Self::Received { number, text } => write!(f, "peer {number} has received: {text}"),
            Self::Offered { number, protocols } => {
                let protocols: Vec<_> = protocols.iter().map(StreamProtocol::as_ref).collect();
                write!(f, "peer {number} is offered {}", protocols.join(", "))
            }
            Self::Failed { number, failure } => write!(f, "peer {number} has failed: {failure}"),
        }
    }
}
