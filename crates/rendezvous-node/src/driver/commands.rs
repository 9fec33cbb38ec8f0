//! What is commanded.

use std::time::Instant;

use super::{Command, Driver};
use crate::{info::NodeInfo, sub_protocol::SubProtocol};

impl Driver {
    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::Connect { peer, addresses, reply } => self.connect(peer, addresses, reply),
            Command::Disconnect { peer, reason, reply } => {
                let _ = reply.send(self.disconnect(peer, reason));
            }
            Command::Keep { peer, addresses } => {
                let addresses = self.peers.keep(peer, &addresses).to_vec();
                let behaviour = self.swarm.behaviour_mut();
                behaviour.limits.bypass(peer);
                behaviour.kept.keep(peer, &addresses);
            }
            Command::Release { peer, reply } => {
                let is_released = self.peers.release(&peer);
                let behaviour = self.swarm.behaviour_mut();
                behaviour.kept.release(&peer);
                if !self.peers.is_trusted(&peer) {
                    behaviour.limits.unbypass(&peer);
                }
                let _ = reply.send(is_released);
            }
            Command::Trust { peer } => {
                self.peers.trust(peer);
                self.swarm.behaviour_mut().limits.bypass(peer);
            }
            Command::Distrust { peer, reply } => {
                let _ = reply.send(self.peers.distrust(&peer));
                if !self.peers.is_kept(&peer) {
                    self.swarm.behaviour_mut().limits.unbypass(&peer);
                }
            }
            Command::AddPoint { peer, addresses } => {
                let behaviour = self.swarm.behaviour_mut();
                if let Err(error) = behaviour.rendezvous.add_point(peer, addresses.iter().cloned()) {
                    tracing::warn!(point = %peer, %error, "an address of a rendezvous point is left out");
                }
                behaviour.kept.keep(peer, &addresses);
            }
            Command::RemovePoint { peer, reply } => {
                let behaviour = self.swarm.behaviour_mut();
                let is_removed = behaviour.rendezvous.remove_point(&peer);
                if !self.peers.is_kept(&peer) {
                    behaviour.kept.release(&peer);
                }
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
            Command::Stop => self.begin_stop(),
        }
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
