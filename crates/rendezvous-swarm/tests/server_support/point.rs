//! The point's side.

use libp2p::{Multiaddr, Swarm, connection_limits, identify, swarm::behaviour::toggle::Toggle};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{NetworkBehaviour, SwarmEvent};
use rendezvous_swarm::server::{self, Event, ShellStats, Stats};
use tokio::sync::mpsc;

use super::{Driven, listen, swarm};

#[derive(NetworkBehaviour)]
pub struct PointBehaviour {
    pub point: server::Behaviour,
    pub identify: identify::Behaviour,
    /// Stands behind the point, and so denies connections that the point has made a handler for.
    pub limits: Toggle<connection_limits::Behaviour>,
}

/// A point in a swarm that nobody polls yet.
pub fn point_swarm(config: server::Config, connections_per_peer_max: Option<u32>) -> Swarm<PointBehaviour> {
    let key = Keypair::generate_ed25519();
    let limits = connections_per_peer_max.map(|max| {
        let limits = connection_limits::ConnectionLimits::default().with_max_established_per_peer(Some(max));
        connection_limits::Behaviour::new(limits)
    });
    let behaviour = PointBehaviour {
        point: server::Behaviour::new(config),
        identify: identify::Behaviour::new(identify::Config::new("/test/1.0.0".into(), key.public())),
        limits: limits.into(),
    };
    swarm(&key, behaviour)
}

/// A point that is polled in a task of its own.
pub struct Point {
    pub id: PeerId,
    pub address: Multiaddr,
    swarm: Driven<PointBehaviour>,
    events: mpsc::UnboundedReceiver<SwarmEvent<PointBehaviourEvent>>,
}

impl Point {
    pub async fn start(config: server::Config) -> Self {
        Self::with_connections_max(config, None).await
    }

    /// A point whose swarm denies a peer more connections than these.
    pub async fn with_connections_max(config: server::Config, per_peer: Option<u32>) -> Self {
        let mut swarm = point_swarm(config, per_peer);
        let (address, id) = (listen(&mut swarm).await, *swarm.local_peer_id());
        let (swarm, events) = Driven::start(swarm);
        Self { id, address, swarm, events }
    }

    /// What this makes of the behaviour.
    pub async fn with<R: Send + 'static>(&self, act: impl FnOnce(&mut server::Behaviour) -> R + Send + 'static) -> R {
        self.swarm.with(|swarm| act(&mut swarm.behaviour_mut().point)).await
    }

    pub async fn stats(&self) -> Stats {
        self.with(|point| point.stats()).await
    }

    pub async fn shell_stats(&self) -> ShellStats {
        self.with(|point| point.shell_stats()).await
    }

    /// What the behaviour shows of itself: how many peers it remembers is told nowhere else.
    pub async fn debug(&self) -> String {
        self.with(|point| format!("{point:?}")).await
    }

    /// Asks until it is so: for what no event tells.
    pub async fn until(&self, is_so: impl Fn(&server::Behaviour) -> bool + Clone + Send + 'static) {
        loop {
            let is_so = is_so.clone();
            if self.with(move |point| is_so(point)).await {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Waits until no peer is connected.
    pub async fn until_alone(&self) {
        while self.swarm.with(|swarm| swarm.connected_peers().next().is_some()).await {
            tokio::task::yield_now().await;
        }
    }

    /// The next event of the point.
    pub async fn event(&mut self) -> Event {
        loop {
            if let SwarmEvent::Behaviour(PointBehaviourEvent::Point(event)) =
                self.events.recv().await.expect("the point lives")
            {
                return event;
            }
        }
    }

    /// Waits until the swarm has denied a connection.
    pub async fn until_denied(&mut self) {
        while !matches!(self.events.recv().await, Some(SwarmEvent::IncomingConnectionError { .. })) {}
    }

    /// Events of the point that nobody has taken.
    pub fn events_left(&mut self) -> usize {
        std::iter::from_fn(|| self.events.try_recv().ok())
            .filter(|event| matches!(event, SwarmEvent::Behaviour(PointBehaviourEvent::Point(_))))
            .count()
    }
}
