//! What a node tells of itself and of its peers when it is asked.

use core::time::Duration;

use libp2p::{Multiaddr, PeerId};

use crate::sub_protocol::Direction;

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Its id.
    pub id: PeerId,
    /// What it calls itself.
    pub name: String,
    /// Where it listens, without the peer id.
    pub listen_addrs: Vec<Multiaddr>,
    /// Where others can reach it: what it advertises.
    pub external_addrs: Vec<Multiaddr>,
    /// Its sub-protocols, with their versions, the highest first.
    pub sub_protocols: Vec<(String, Vec<u32>)>,
    /// Names of its RPC services.
    pub services: Vec<String>,
    /// Whether it serves as a rendezvous point.
    pub serves_rendezvous: bool,
    /// The rendezvous points that it uses.
    pub points: Vec<PeerId>,
    /// Peers that are connected and admitted.
    pub peers: usize,
    /// Most of them.
    pub peers_max: usize,
}

impl NodeInfo {
    /// Where it listens, with the peer id: what another node is given to connect to it.
    ///
    /// Of each address one, the loopback ones last.
    pub fn addresses(&self) -> impl Iterator<Item = Multiaddr> {
        let is_loopback = |address: &&Multiaddr| rendezvous_discovery::AddressKind::Loopback.is(address);
        let (loopback, others): (Vec<_>, Vec<_>) = self.listen_addrs.iter().partition(is_loopback);
        let id = self.id;
        others.into_iter().chain(loopback).filter_map(move |address| address.clone().with_p2p(id).ok())
    }
}

/// What a node knows of a peer that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Its id.
    pub id: PeerId,
    /// What it calls itself, which nothing proves; empty until it has said so.
    pub name: String,
    /// Where it is connected.
    pub remote_addr: Multiaddr,
    /// Who opened that connection.
    pub direction: Direction,
    /// Connections to it.
    pub connections: usize,
    /// For how long it has been connected.
    pub connected_for: Duration,
    /// Whether it is kept connected.
    pub is_static: bool,
    /// Whether it is admitted above the cap.
    pub is_trusted: bool,
    /// Time of the last ping, there and back; `None` before the first.
    pub round_trip: Option<Duration>,
    /// Its addresses, as it has told them; nothing proves them.
    pub listen_addrs: Vec<Multiaddr>,
    /// Protocols that it speaks, as it has told them.
    pub protocols: Vec<String>,
    /// Sub-protocols of which a session runs, with the versions in use.
    pub sessions: Vec<(String, u32)>,
}
