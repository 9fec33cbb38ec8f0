//! A gossipsub peer with discovery beside it.

use std::time::Duration;

use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder,
    gossipsub::{self, IdentTopic, MessageAuthenticity},
    identify,
    identity::Keypair,
    noise,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use rendezvous_discovery::{
    Config, DiscoveryManager, Namespace, Timing, connector,
    rendezvous::{self, Behaviour as Rendezvous},
};
use rendezvous_swarm::client::{self, Dialect};
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinHandle},
};

use crate::report::{Failure, Report};

/// Topic of the messages, and the name under which those who are subscribed to it find each other.
const TOPIC: &str = "room";

/// Peers of the mesh that gossipsub aims at: fewer than there are, so that messages have to be passed on.
const MESH: usize = 3;

const MESH_LOW: usize = 2;

/// Registrations of the dialect last 20 seconds, and are made anew in half of that.
const TIMING: Timing =
    Timing { ttr: Duration::from_millis(500), tta: Duration::from_secs(10), ttl: Duration::from_secs(20) };

#[derive(NetworkBehaviour)]
struct Behaviour {
    /// Registers and looks up, as the manager tells it.
    rendezvous: Rendezvous,
    /// Connects to whom the manager finds.
    connector: connector::Behaviour,
    gossipsub: gossipsub::Behaviour,
    identify: identify::Behaviour,
}

/// A peer that runs.
pub(crate) struct Peer {
    /// What it is to publish; without this it stops.
    texts: mpsc::Sender<String>,
    task: JoinHandle<()>,
}

impl Peer {
    /// Starts a peer that knows the point alone, and is ready when it has found so many others.
    pub(crate) fn start(
        number: usize,
        others: usize,
        point: PeerId,
        point_address: Multiaddr,
        reports: mpsc::Sender<Report>,
    ) -> Result<Self, Failure> {
        let key = Keypair::generate_ed25519();
        let namespace = Namespace::new(TOPIC)?;
        let local_peer = Some(key.public().to_peer_id());
        let (manager, driver) = DiscoveryManager::new(Config { local_peer, ..Config::default() });
        tokio::spawn(driver);

        let mut client = client::Behaviour::new(key.clone(), client::Config::default());
        client.set_point_dialect(point, Dialect::Waku);
        let config = rendezvous::Config { timing: TIMING, ..rendezvous::Config::default() };
        let (mut rendezvous, source) = rendezvous::source(client, config);
        rendezvous.add_point(point, [point_address])?;
        manager.add_source(source)?;
        let connector = connector::Behaviour::new(manager.find(namespace.clone())?, connector::Config::default());
        let advertisement = manager.advertise(namespace)?;

        let (texts, to_publish) = mpsc::channel(1);
        let swarm = swarm(key, rendezvous, connector)?;
        let running = Running { number, others, point, swarm, reports: reports.clone() };
        let task = tokio::spawn(async move {
            if let Err(failure) = running.run(to_publish).await {
                // Nobody may be left to read it.
                let _ = reports.send(Report::Failed { number, failure }).await;
            }
            // Until here it is advertised.
            drop(advertisement);
        });
        Ok(Self { texts, task })
    }

    /// Publishes a message.
    pub(crate) async fn publish(&self, text: &str) -> Result<(), Failure> {
        Ok(self.texts.send(text.to_owned()).await?)
    }

    /// Stops it.
    pub(crate) async fn stop(self) -> Result<(), JoinError> {
        drop(self.texts);
        self.task.await
    }
}

struct Running {
    number: usize,
    others: usize,
    point: PeerId,
    swarm: Swarm<Behaviour>,
    reports: mpsc::Sender<Report>,
}

impl Running {
    async fn run(mut self, mut to_publish: mpsc::Receiver<String>) -> Result<(), Failure> {
        let mut is_ready = false;
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event).await?,
                text = to_publish.recv() => match text {
                    Some(text) => {
                        self.swarm.behaviour_mut().gossipsub.publish(IdentTopic::new(TOPIC), text)?;
                    }
                    None => return Ok(()),
                },
            }
            if !is_ready && let Some(ready) = self.ready() {
                is_ready = true;
                self.reports.send(ready).await?;
            }
        }
    }

    async fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) -> Result<(), Failure> {
        let number = self.number;
        match event {
            // Registered are external addresses; here the one it listens on is one.
            SwarmEvent::NewListenAddr { address, .. } => self.swarm.add_external_address(address),
            SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(gossipsub::Event::Message { message, .. })) => {
                let text = String::from_utf8_lossy(&message.data).into_owned();
                self.reports.send(Report::Received { number, text }).await?;
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }))
                if peer_id == self.point =>
            {
                self.reports.send(Report::Offered { number, protocols: info.protocols }).await?;
            }
            _ => {}
        }
        Ok(())
    }

    fn ready(&self) -> Option<Report> {
        let Behaviour { connector, gossipsub, .. } = self.swarm.behaviour();
        let connector::Stats { known: found, connected: found_and_connected, .. } = connector.stats();
        let connected = self.swarm.connected_peers().filter(|peer| **peer != self.point).count();
        let mesh = gossipsub.mesh_peers(&IdentTopic::new(TOPIC).hash()).count();
        let is_ready = found == self.others && found_and_connected == found && mesh >= MESH_LOW;
        is_ready.then_some(Report::Ready { number: self.number, found, connected, mesh })
    }
}

/// A swarm that listens on loopback.
fn swarm(key: Keypair, rendezvous: Rendezvous, connector: connector::Behaviour) -> Result<Swarm<Behaviour>, Failure> {
    let config = gossipsub::ConfigBuilder::default()
        .heartbeat_initial_delay(Duration::from_millis(500))
        // The publisher hands a message to its part of the mesh alone.
        .flood_publish(false)
        .mesh_outbound_min(1)
        .mesh_n_low(MESH_LOW)
        .mesh_n(MESH)
        .mesh_n_high(MESH + 1)
        .build()?;
    let mut gossipsub = gossipsub::Behaviour::new(MessageAuthenticity::Signed(key.clone()), config)?;
    gossipsub.subscribe(&IdentTopic::new(TOPIC))?;
    let mut swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key| Behaviour {
            rendezvous,
            connector,
            gossipsub,
            identify: identify::Behaviour::new(identify::Config::new("/example/1.0.0".into(), key.public())),
        })?
        .build();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    Ok(swarm)
}
