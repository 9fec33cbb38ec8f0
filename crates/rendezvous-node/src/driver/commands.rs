//! What is commanded.

use std::time::Instant;

use libp2p::{Multiaddr, PeerId};

use super::{Command, Driver};
use crate::{info::NodeInfo, peers::KeptAs, sub_protocol::SubProtocol};

impl Driver {
    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::Connect { peer, addresses, reply } => self.connect(peer, addresses, reply),
            Command::Disconnect { peer, reason, reply } => {
                let _ = reply.send(self.disconnect(peer, reason));
            }
            Command::Keep { peer, addresses } => self.keep(peer, KeptAs::Static, &addresses),
            Command::Release { peer, reply } => {
                let _ = reply.send(self.release(&peer, KeptAs::Static));
            }
            Command::Trust { peer } => self.trust(peer),
            Command::Distrust { peer, reply } => {
                let _ = reply.send(self.peers.distrust(&peer));
                self.exempt(peer);
            }
            Command::AddPoint { peer, addresses } => {
                let behaviour = self.swarm.behaviour_mut();
                if let Err(error) = behaviour.rendezvous.add_point(peer, addresses.iter().cloned()) {
                    tracing::warn!(point = %peer, %error, "an address of a rendezvous point is left out");
                }
                // It is used even when it is not connected from now on.
                self.connected_points.retain(|point| *point != peer);
                self.keep(peer, KeptAs::Point, &addresses);
            }
            Command::RemovePoint { peer, reply } => {
                let is_removed = self.swarm.behaviour_mut().rendezvous.remove_point(&peer);
                self.connected_points.retain(|point| *point != peer);
                self.release(&peer, KeptAs::Point);
                let _ = reply.send(is_removed);
            }
            Command::ConnectTo { found } => self.swarm.behaviour_mut().found.add(found),
            Command::Peers { reply } => {
                let now = Instant::now();
                let _ = reply.send(self.peers.admitted().filter_map(|peer| self.peers.info(now, &peer)).collect());
            }
            Command::Peer { peer, reply } => {
                let _ = reply.send(self.peers.info(Instant::now(), &peer));
            }
            Command::Info { reply } => {
                let _ = reply.send(self.info());
            }
        }
    }

    /// Keeps a peer connected, and admits it above every cap.
    pub(crate) fn keep(&mut self, peer: PeerId, kept_as: KeptAs, addresses: &[Multiaddr]) {
        // One list of peers may be given to all of them.
        if peer == *self.swarm.local_peer_id() {
            return;
        }
        let addresses = self.peers.keep(peer, kept_as, addresses);
        self.swarm.behaviour_mut().kept.keep(peer, addresses);
        self.exempt(peer);
    }

    fn release(&mut self, peer: &PeerId, kept_as: KeptAs) -> bool {
        let was_kept = self.peers.release(peer, kept_as);
        if !self.peers.is_kept(peer) {
            self.swarm.behaviour_mut().kept.release(peer);
        }
        self.exempt(*peer);
        was_kept
    }

    pub(crate) fn trust(&mut self, peer: PeerId) {
        self.peers.trust(peer);
        self.exempt(peer);
    }

    /// Tells those who deny connections whether they are to admit this peer.
    fn exempt(&mut self, peer: PeerId) {
        let behaviour = self.swarm.behaviour_mut();
        if self.peers.is_exempt(&peer) {
            behaviour.limits.bypass(peer);
            behaviour.room.exempt.insert(peer);
        } else {
            behaviour.limits.unbypass(&peer);
            behaviour.room.exempt.remove(&peer);
        }
        self.look_for_room();
    }

    fn info(&self) -> NodeInfo {
        let behaviour = self.swarm.behaviour();
        let versions = |sub_protocol: &SubProtocol| sub_protocol.versions().map(|version| version.number).collect();
        NodeInfo {
            id: *self.swarm.local_peer_id(),
            name: self.settings.name.clone(),
            listen_addrs: self.listening.addresses().to_vec(),
            external_addrs: self.swarm.external_addresses().cloned().collect(),
            sub_protocols: self
                .settings
                .sub_protocols
                .iter()
                .map(|sub_protocol| (sub_protocol.name().to_owned(), versions(sub_protocol)))
                .collect(),
            services: self.services.list().into_iter().map(|service| service.name).collect(),
            serves_rendezvous: behaviour.point.is_enabled(),
            points: behaviour.rendezvous.points().copied().collect(),
            peers: self.peers.admitted().count(),
            peers_max: self.settings.peers_max,
        }
    }
}
