//! A node of a DHT: it learns where others are by identify, as nodes do.

use libp2p::identify;
use libp2p_identity::Keypair;
use libp2p_kad::store::MemoryStore;
use libp2p_swarm::NetworkBehaviour;
use rendezvous_discovery::kad;

/// Kademlia and identify.
#[derive(NetworkBehaviour)]
pub struct Identified {
    pub kad: kad::Behaviour<MemoryStore>,
    pub identify: identify::Behaviour,
}

impl Identified {
    pub fn new(key: &Keypair, kad: kad::Behaviour<MemoryStore>) -> Self {
        let identify = identify::Config::new("/rendezvous-test".into(), key.public());
        Self { kad, identify: identify::Behaviour::new(identify) }
    }
}
