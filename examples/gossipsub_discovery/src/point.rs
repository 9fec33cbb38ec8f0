//! The rendezvous point.

use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, identify, noise,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use rendezvous_swarm::server::{self, Dialects, ShellStats};
use tokio::{
    sync::oneshot,
    task::{JoinError, JoinHandle},
};

use crate::report::Failure;

#[derive(NetworkBehaviour)]
struct Behaviour {
    point: server::Behaviour,
    identify: identify::Behaviour,
}

/// A rendezvous point that serves the dialect of Waku alone.
pub(crate) struct Point {
    pub(crate) id: PeerId,
    pub(crate) address: Multiaddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<ShellStats>,
}

impl Point {
    pub(crate) async fn start() -> Result<Self, Failure> {
        let mut config = server::Config::default();
        config.dialects = Dialects::WAKU;
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
            .with_behaviour(|key| Behaviour {
                point: server::Behaviour::new(config),
                identify: identify::Behaviour::new(identify::Config::new("/example/1.0.0".into(), key.public())),
            })?
            .build();
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        let id = *swarm.local_peer_id();
        let (stop, stopped) = oneshot::channel();
        Ok(Self { id, address, stop, task: tokio::spawn(serve(swarm, stopped)) })
    }

    /// Stops it; what it has met.
    pub(crate) async fn stop(self) -> Result<ShellStats, JoinError> {
        drop(self.stop);
        self.task.await
    }
}

async fn serve(mut swarm: Swarm<Behaviour>, mut stopped: oneshot::Receiver<()>) -> ShellStats {
    loop {
        tokio::select! {
            event = swarm.select_next_some() => {
                // What identify finds out shows the point which flavour of record a peer reads.
                if let SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. })) = event {
                    swarm.behaviour_mut().point.peer_agent(peer_id, &info.agent_version);
                }
            }
            _ = &mut stopped => return swarm.behaviour().point.shell_stats(),
        }
    }
}
