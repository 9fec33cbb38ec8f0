//! What a requester reads.

use rendezvous_record::Flavours;

/// The form in which a requester is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Signed envelopes of these flavours.
    Envelopes(Flavours),
    /// `PeerInfo` without a signature: what was registered so, and what is made from signed records. Only where
    /// [`ServerConfig::legacy_peer_info`](super::ServerConfig) is set; else it tells nothing.
    PeerInfo,
}

impl From<Flavours> for Reads {
    fn from(flavours: Flavours) -> Self {
        Self::Envelopes(flavours)
    }
}

/// What an agent version, as identify reports it, tells of what its sender reads; `None` if nothing.
///
/// rust-libp2p's own rendezvous client fails a whole answer on one record of the standard flavour; py-libp2p's reads
/// `PeerInfo`, and takes an envelope for one.
#[must_use]
pub fn reads_of_agent(agent_version: &str) -> Option<Reads> {
    if agent_version.starts_with("rust-libp2p/") {
        Some(Reads::Envelopes(Flavours::LEGACY))
    } else if agent_version.starts_with("py-libp2p/") {
        Some(Reads::PeerInfo)
    } else {
        None
    }
}
