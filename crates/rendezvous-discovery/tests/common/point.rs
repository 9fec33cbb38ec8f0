//! Rendezvous points, and peers that are none.

use futures::StreamExt;
use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::{StreamProtocol, SwarmEvent, dummy};
use rendezvous_core::server::{Access, Pattern, Policy};
use rendezvous_discovery::Namespace;
use rendezvous_swarm::server;
use rendezvous_wire::Ttl;

use super::{Node, Spawn, on_tokio};

/// A rendezvous point that takes the shortest lifetimes there are.
pub struct Point {
    pub node: Node<server::Behaviour>,
}

impl Point {
    pub async fn new() -> Self {
        Self::on(on_tokio).await
    }

    pub async fn on(spawn: Spawn) -> Self {
        Self { node: Node::start(spawn, |_| server::Behaviour::new(config())).await }
    }

    /// A point at which nobody may register under this name.
    pub async fn closed_to(name: &Namespace) -> Self {
        let mut config = config();
        let policy = Policy { register: Access::Nobody, ..Policy::new(Pattern::Exact(name.clone())) };
        config.server.policies.push(policy);
        Self { node: Node::start(on_tokio, |_| server::Behaviour::new(config)).await }
    }

    /// Who and where.
    pub fn place(&self) -> (PeerId, Multiaddr) {
        (self.node.id, self.node.address.clone())
    }

    /// Waits until a peer is registered.
    pub async fn registered(&mut self, peer: PeerId, name: &Namespace) {
        self.until(|event| matches!(event, server::Event::Registered { peer: it, namespace, .. } if *it == peer && namespace == name))
            .await;
    }

    /// Waits until a peer has withdrawn.
    pub async fn unregistered(&mut self, peer: PeerId, name: &Namespace) {
        self.until(|event| matches!(event, server::Event::Unregistered { peer: it, namespace } if *it == peer && namespace == name))
            .await;
    }

    /// Passes over events until one is looked for.
    pub async fn until(&mut self, is_it: impl Fn(&server::Event) -> bool) -> server::Event {
        self.node
            .until(|event| match event {
                SwarmEvent::Behaviour(event) if is_it(&event) => Some(event),
                _ => None,
            })
            .await
    }

    /// Restarts without a store: it has forgotten everything.
    pub async fn restart(self) -> Self {
        Self { node: self.node.restart(|_| server::Behaviour::new(config())).await }
    }

    pub async fn lists(&self, peer: PeerId, name: &Namespace) -> bool {
        let name = name.clone();
        self.node.with(move |swarm| swarm.behaviour().is_registered(&peer, &name)).await
    }

    pub async fn stats(&self) -> server::Stats {
        self.node.with(|swarm| swarm.behaviour().stats()).await
    }
}

fn config() -> server::Config {
    let mut config = server::Config::default();
    config.server.ttl_min = Ttl::from_secs(1);
    config.server.events_max = 4_096;
    config
}

/// A peer that does not speak the protocol.
pub async fn stranger() -> Node<dummy::Behaviour> {
    Node::start(on_tokio, |_| dummy::Behaviour).await
}

/// A point that takes requests and says nothing.
pub async fn silent_point() -> Node<libp2p_stream::Behaviour> {
    let behaviour = libp2p_stream::Behaviour::new();
    let mut control = behaviour.new_control();
    let mut streams = control.accept(StreamProtocol::new(rendezvous_wire::PROTOCOL)).unwrap();
    on_tokio(Box::pin(async move {
        let mut kept = Vec::new();
        while let Some((_, stream)) = streams.next().await {
            kept.push(stream);
        }
    }));
    Node::start(on_tokio, |_| behaviour).await
}

/// Waits until these peers, and no others, have been found.
pub async fn everybody(find: &mut rendezvous_discovery::Find, peers: &[PeerId]) {
    let mut missing: std::collections::BTreeSet<_> = peers.iter().copied().collect();
    while !missing.is_empty() {
        let event = find.next().await.unwrap();
        assert!(missing.remove(&event.peer().id()), "{event:?}");
    }
}
