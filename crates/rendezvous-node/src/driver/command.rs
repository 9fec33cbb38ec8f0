//! What a node's handle tells its driver.

use libp2p::{Multiaddr, PeerId};
use rendezvous_discovery::Find;
use tokio::sync::oneshot;

use super::connecting::Reply;
use crate::{
    DisconnectReason,
    info::{NodeInfo, PeerInfo},
};

/// A command. Whoever gave it may have gone when it is answered.
pub(crate) enum Command {
    Connect { peer: PeerId, addresses: Vec<Multiaddr>, reply: Reply },
    Disconnect { peer: PeerId, reason: DisconnectReason, reply: oneshot::Sender<bool> },
    Keep { peer: PeerId, addresses: Vec<Multiaddr> },
    Release { peer: PeerId, reply: oneshot::Sender<bool> },
    Trust { peer: PeerId },
    Distrust { peer: PeerId, reply: oneshot::Sender<bool> },
    AddPoint { peer: PeerId, addresses: Vec<Multiaddr> },
    RemovePoint { peer: PeerId, reply: oneshot::Sender<bool> },
    ConnectTo { found: Find },
    Peers { reply: oneshot::Sender<Vec<PeerInfo>> },
    Peer { peer: PeerId, reply: oneshot::Sender<Option<PeerInfo>> },
    Info { reply: oneshot::Sender<NodeInfo> },
}
