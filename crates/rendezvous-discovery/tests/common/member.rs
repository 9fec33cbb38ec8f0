//! A peer with a manager whose rendezvous source is in its swarm.

use std::time::Duration;

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use rendezvous_discovery::{
    Advertisement, AdvertisementEvent, DiscoveryManager, FailureKind, SourceId, Timing, rendezvous,
};
use rendezvous_swarm::client;

use super::{Node, Spawn, nowhere, on_tokio, public_address};

/// A peer that looks for others, and is looked for, by rendezvous points.
pub struct Member {
    pub node: Node<rendezvous::Behaviour>,
    pub manager: DiscoveryManager,
    pub source: SourceId,
    /// The address that it registers.
    pub address: Multiaddr,
}

/// Asked four times a second, as nim-libp2p's tutorial does.
pub fn brisk() -> Timing {
    Timing { ttr: Duration::from_millis(250), ..Timing::default() }
}

impl Member {
    pub async fn of(points: &[(PeerId, Multiaddr)]) -> Self {
        Self::with(on_tokio, brisk(), points).await
    }

    pub async fn timed(timing: Timing, points: &[(PeerId, Multiaddr)]) -> Self {
        Self::with(on_tokio, timing, points).await
    }

    pub async fn with(spawn: Spawn, timing: Timing, points: &[(PeerId, Multiaddr)]) -> Self {
        Self::configured(spawn, rendezvous::Config { timing, ..Default::default() }, points).await
    }

    pub async fn configured(spawn: Spawn, config: rendezvous::Config, points: &[(PeerId, Multiaddr)]) -> Self {
        // A dead point is not waited for longer than a test can wait.
        let client = client::ClientConfig {
            request_timeout: Duration::from_secs(2),
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(1),
            ..Default::default()
        };
        let mut source = None;
        let node = Node::start(spawn, |key| {
            let client = client::Behaviour::new(key.clone(), client::Config { client, ..Default::default() });
            let (mut behaviour, end) = rendezvous::source(client, config);
            for (point, address) in points {
                behaviour.add_point(*point, [address.clone()]).unwrap();
            }
            source = Some(end);
            behaviour
        })
        .await;
        let address = public_address();
        let external = address.clone();
        node.with(|swarm| swarm.add_external_address(external)).await;
        let (manager, driver) = DiscoveryManager::new(rendezvous_discovery::Config::default());
        let source = manager.add_source(source.unwrap()).unwrap();
        spawn(Box::pin(driver));
        Self { node, manager, source, address }
    }

    pub fn id(&self) -> PeerId {
        self.node.id
    }

    pub async fn add_point(&self, point: PeerId, address: Multiaddr) {
        self.node.with(move |swarm| swarm.behaviour_mut().add_point(point, [address]).unwrap()).await;
    }

    pub async fn remove_point(&self, point: PeerId) -> bool {
        self.node.with(move |swarm| swarm.behaviour_mut().remove_point(&point)).await
    }

    /// Registers another address in the place of the one before.
    pub async fn move_to(&mut self, address: Multiaddr) {
        let before = std::mem::replace(&mut self.address, address.clone());
        self.node
            .with(move |swarm| {
                swarm.remove_external_address(&before);
                swarm.add_external_address(address);
            })
            .await;
    }
}

/// A point that is not there.
pub fn dead_point() -> (PeerId, Multiaddr) {
    (super::peer_id(), nowhere())
}

/// Waits until a place has advertised it, passing over what other places say.
pub async fn advertised_at(advertisement: &mut Advertisement, point: PeerId) -> Duration {
    use futures::StreamExt as _;
    loop {
        match advertisement.next().await.unwrap() {
            AdvertisementEvent::Advertised { place: Some(place), ttl, .. } if place == point => return ttl,
            _ => {}
        }
    }
}

/// Waits until it has failed at a place, passing over what other places say.
pub async fn failed_at(advertisement: &mut Advertisement, point: PeerId) -> FailureKind {
    use futures::StreamExt as _;
    loop {
        match advertisement.next().await.unwrap() {
            AdvertisementEvent::Failed { place: Some(place), failure, .. } if place == point => return failure.kind,
            _ => {}
        }
    }
}
