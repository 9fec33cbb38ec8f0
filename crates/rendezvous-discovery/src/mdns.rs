//! Peers of the local network, by multicast DNS, as a source (feature `mdns`).
//!
//! mDNS knows no names: its peers are found by queries that mention none, such as
//! `Query::source(mdns::NAME)`. It runs on tokio, as libp2p's mDNS does. This peer is found by others as long as the behaviour is in the swarm, and
//! [`advertise`](crate::DiscoveryManager::advertise) changes nothing about that.

use std::collections::BTreeMap;

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_mdns::{Event, tokio::Behaviour as Mdns};

use crate::{
    SourceName,
    bridge::{self, Abilities, Bridge, BridgeSource, Command, Outbox, Translate},
    config::{ADDRESSES_MAX, TTL_MAX},
    source::{Found, Report, Timing},
};

/// The behaviour that goes into the swarm.
pub type Behaviour = Bridge<Mdns, Translator>;

/// What the source is called.
pub const NAME: SourceName = SourceName::new("mdns");

/// Most peers of the network that are known at once; what is new beyond it is not taken.
pub const PEERS_MAX: usize = 4_096;

/// mDNS, to go into a swarm, and the source that it is, to go into a manager.
#[must_use]
pub fn source(mdns: Mdns) -> (Behaviour, BridgeSource) {
    bridge::bridge(mdns, Translator::default())
}

/// Translates between a manager and mDNS.
#[derive(Debug, Default)]
pub struct Translator {
    /// Who is there, and where. The behaviour tells of addresses one by one.
    peers: BTreeMap<PeerId, Vec<Multiaddr>>,
}

impl Translator {
    fn found(&mut self, peer: PeerId, address: Multiaddr) -> bool {
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&peer) {
            return false;
        }
        let addresses = self.peers.entry(peer).or_default();
        let is_new = addresses.len() < ADDRESSES_MAX && !addresses.contains(&address);
        if is_new {
            addresses.push(address);
        }
        is_new
    }

    fn expired(&mut self, peer: PeerId, address: &Multiaddr) {
        if let Some(addresses) = self.peers.get_mut(&peer) {
            addresses.retain(|known| known != address);
            if addresses.is_empty() {
                self.peers.remove(&peer);
            }
        }
    }

    fn tell(&self, peer: PeerId, out: &mut Outbox) {
        out.push(match self.peers.get(&peer) {
            // The behaviour tells when it ends.
            Some(addresses) => Report::Found(Found::new(peer, None, TTL_MAX).with_addresses(addresses.iter().cloned())),
            None => Report::Gone { peer, namespace: None },
        });
    }
}

impl Translate<Mdns> for Translator {
    fn name(&self) -> SourceName {
        NAME
    }

    fn timing(&self) -> Timing {
        // It tells by itself; it is asked to repeat itself before what it has told ends.
        Timing { ttr: TTL_MAX / 2, ..Timing::default() }
    }

    fn abilities(&self) -> Abilities {
        Abilities { advertises: false, finds_by_name: false, finds_all: true }
    }

    fn on_command(&mut self, _: &mut Mdns, command: Command, out: &mut Outbox) {
        if let Command::Request(namespace, _) = command {
            self.peers.keys().for_each(|peer| self.tell(*peer, out));
            out.push(Report::Requested { namespace });
        }
    }

    fn on_event(&mut self, _: &mut Mdns, event: &Event, out: &mut Outbox) {
        match event {
            Event::Discovered(found) => {
                for (peer, address) in found {
                    if self.found(*peer, address.clone()) {
                        self.tell(*peer, out);
                    }
                }
            }
            Event::Expired(expired) => {
                for (peer, address) in expired {
                    self.expired(*peer, address);
                    self.tell(*peer, out);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use libp2p_identity::Keypair;

    use super::*;

    fn told(out: &mut Outbox) -> Option<Option<usize>> {
        out.pop(std::time::Instant::now()).map(|report| match report {
            Report::Found(found) => Some(found.addresses.len()),
            _ => None,
        })
    }

    #[tokio::test]
    async fn addresses_told_one_by_one_are_one_peer_until_the_last_expires() {
        let peer = Keypair::generate_ed25519().public().to_peer_id();
        let local = Keypair::generate_ed25519().public().to_peer_id();
        let mut mdns = Mdns::new(libp2p_mdns::Config::default(), local).expect("interfaces can be watched");
        let [a, b] = ["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/udp/1/quic-v1"].map(|it| it.parse().expect("an address"));
        let (a, b): (Multiaddr, Multiaddr) = (a, b);
        let mut translator = Translator::default();
        let mut out = Outbox::default();
        translator.on_event(&mut mdns, &Event::Discovered(vec![(peer, a.clone()), (peer, b.clone())]), &mut out);
        assert_eq!((told(&mut out), told(&mut out)), (Some(Some(2)), None));
        translator.on_event(&mut mdns, &Event::Discovered(vec![(peer, a.clone())]), &mut out);
        assert_eq!(told(&mut out), None, "nothing is new");
        translator.on_event(&mut mdns, &Event::Expired(vec![(peer, a)]), &mut out);
        assert_eq!(told(&mut out), Some(Some(1)));
        translator.on_event(&mut mdns, &Event::Expired(vec![(peer, b)]), &mut out);
        assert_eq!(told(&mut out), Some(None));
        assert!(translator.peers.is_empty());
    }
}
