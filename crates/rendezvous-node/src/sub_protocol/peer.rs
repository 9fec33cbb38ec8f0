//! The other side of a session.

use libp2p::{Multiaddr, PeerId};

/// Whom a session is with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Its identity, which the connection has proven.
    pub id: PeerId,
    /// What it calls itself; empty until it has said so. Nothing proves it.
    pub agent: String,
    /// Where it is connected from, or where it was reached.
    pub remote_addr: Multiaddr,
    /// Who opened the connection.
    pub direction: Direction,
    /// Version of the sub-protocol that is in use; the session sets it.
    pub version: u32,
}

impl Peer {
    /// A peer of which nothing else is known yet.
    #[must_use]
    pub const fn new(id: PeerId, remote_addr: Multiaddr, direction: Direction) -> Self {
        Self { id, agent: String::new(), remote_addr, direction, version: 0 }
    }
}

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The other side.
    Inbound,
    /// This side.
    Outbound,
}
