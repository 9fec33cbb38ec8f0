//! A swarm in a task of its own: TCP on loopback, noise, yamux, identify, and one behaviour to be tested.

use std::{collections::VecDeque, fmt, time::Duration};

use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, identify,
    identity::Keypair,
    noise,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use rendezvous_swarm::{client, server};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

/// A behaviour that a [`Node`] runs.
pub trait Role: NetworkBehaviour<ToSwarm: fmt::Debug + Send> + Send {
    /// What identify reports of a peer.
    fn identified(&mut self, peer: PeerId, agent_version: &str) {
        let _ = (peer, agent_version);
    }
}

impl Role for server::Behaviour {
    fn identified(&mut self, peer: PeerId, agent_version: &str) {
        self.peer_agent(peer, agent_version);
    }
}

impl Role for client::Behaviour {}
impl Role for libp2p_rendezvous::client::Behaviour {}
impl Role for libp2p_rendezvous::server::Behaviour {}
impl Role for libp2p_stream::Behaviour {}

pub use self::behaviour::{Behaviour, BehaviourEvent};

mod behaviour {
    #![expect(missing_docs, reason = "the derived event has none")]

    use libp2p::{identify, swarm::NetworkBehaviour};

    /// What every node consists of.
    #[derive(NetworkBehaviour)]
    pub struct Behaviour<R: NetworkBehaviour> {
        /// The behaviour that is tested.
        pub role: R,
        pub(super) identify: identify::Behaviour,
    }
}

/// Something about connections and peers that a node was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// There is a connection to this peer.
    Connected(PeerId),
    /// The last connection to this peer is gone.
    Disconnected(PeerId),
    /// A peer could not be dialled.
    DialFailed(Option<PeerId>),
    /// Identify has reported of this peer, and the behaviour was told.
    Identified(PeerId),
    /// A behaviour has reported an address of another peer.
    AddressOf(PeerId, Multiaddr),
}

type Act<R> = Box<dyn FnOnce(&mut Swarm<Behaviour<R>>) + Send>;

/// A running swarm. It ends when this is dropped.
pub struct Node<R: Role> {
    /// Its id.
    pub peer: PeerId,
    /// Its key.
    pub key: Keypair,
    /// Where it listens; also its external address, unless it is [`hidden`](Options::hidden).
    pub address: Multiaddr,
    acts: mpsc::UnboundedSender<Act<R>>,
    events: mpsc::UnboundedReceiver<R::ToSwarm>,
    facts: mpsc::UnboundedReceiver<Fact>,
    facts_unseen: VecDeque<Fact>,
    task: Option<JoinHandle<()>>,
}

/// How a node differs from an ordinary one.
#[derive(Clone, Debug)]
pub struct Options {
    key: Keypair,
    agent_version: Option<String>,
    is_hidden: bool,
    listens_on: Multiaddr,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            key: Keypair::generate_ed25519(),
            agent_version: None,
            is_hidden: false,
            listens_on: "/ip4/127.0.0.1/tcp/0".parse().expect("an address"),
        }
    }
}

impl Options {
    /// With this key.
    #[must_use]
    pub fn key(self, key: Keypair) -> Self {
        Self { key, ..self }
    }

    /// With another agent version than libp2p's own.
    #[must_use]
    pub fn agent_version(self, agent_version: &str) -> Self {
        Self { agent_version: Some(agent_version.to_owned()), ..self }
    }

    /// Without an external address.
    #[must_use]
    pub fn hidden(self) -> Self {
        Self { is_hidden: true, ..self }
    }

    /// Listening where another node has listened.
    #[must_use]
    pub fn listens_on(self, address: &Multiaddr) -> Self {
        Self { listens_on: address.clone(), ..self }
    }
}

impl<R: Role> Node<R> {
    /// Starts an ordinary node, which listens and has its listen address as external address.
    pub async fn start(role: impl FnOnce(&Keypair) -> R) -> Self {
        Self::start_with(Options::default(), role).await
    }

    /// Starts a node.
    pub async fn start_with(options: Options, role: impl FnOnce(&Keypair) -> R) -> Self {
        let Options { key, agent_version, is_hidden, listens_on } = options;
        let mut about = identify::Config::new("/rendezvous-tests/1.0.0".to_owned(), key.public());
        if let Some(agent_version) = agent_version {
            about = about.with_agent_version(agent_version);
        }
        let behaviour = Behaviour { role: role(&key), identify: identify::Behaviour::new(about) };
        let mut swarm = SwarmBuilder::with_existing_identity(key.clone())
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .expect("noise is configured by any key")
            .with_behaviour(|_| behaviour)
            .expect("the behaviour is there")
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
            .build();
        swarm.listen_on(listens_on).expect("loopback can be listened on");
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        if !is_hidden {
            swarm.add_external_address(address.clone());
        }
        let peer = *swarm.local_peer_id();
        let (acts, acts_to_do) = mpsc::unbounded_channel();
        let (events_out, events) = mpsc::unbounded_channel();
        let (facts_out, facts) = mpsc::unbounded_channel();
        let task = Some(tokio::spawn(run(swarm, acts_to_do, events_out, facts_out)));
        Self { peer, key, address, acts, events, facts, facts_unseen: VecDeque::new(), task }
    }

    /// Acts on the swarm.
    pub async fn with<T: Send + 'static>(&self, act: impl FnOnce(&mut Swarm<Behaviour<R>>) -> T + Send + 'static) -> T {
        let (result_out, result) = oneshot::channel();
        let act: Act<R> = Box::new(move |swarm| {
            let _ = result_out.send(act(swarm));
        });
        self.acts.send(act).unwrap_or_else(|_| panic!("the node has ended"));
        result.await.expect("the node runs")
    }

    /// Acts on the behaviour that is tested.
    pub async fn role<T: Send + 'static>(&self, act: impl FnOnce(&mut R) -> T + Send + 'static) -> T {
        self.with(|swarm| act(&mut swarm.behaviour_mut().role)).await
    }

    /// The next event of the behaviour that is tested. None is passed over.
    pub async fn event(&mut self) -> R::ToSwarm {
        self.events.recv().await.expect("the node runs")
    }

    /// An event that has come already.
    pub fn event_now(&mut self) -> Option<R::ToSwarm> {
        self.events.try_recv().ok()
    }

    /// The facts that have been told and not been waited for.
    pub fn facts_now(&mut self) -> Vec<Fact> {
        while let Ok(fact) = self.facts.try_recv() {
            self.facts_unseen.push_back(fact);
        }
        self.facts_unseen.drain(..).collect()
    }

    /// Waits until this is told, or finds that it was; other facts are kept.
    pub async fn fact(&mut self, fact: &Fact) {
        self.fact_where(|told| (told == fact).then_some(())).await;
    }

    /// Waits for a fact of a kind, or finds that it was told; other facts are kept.
    pub async fn fact_where<T>(&mut self, mut is: impl FnMut(&Fact) -> Option<T>) -> T {
        for at in 0..self.facts_unseen.len() {
            if let Some(found) = is(&self.facts_unseen[at]) {
                self.facts_unseen.remove(at);
                return found;
            }
        }
        loop {
            let fact = self.facts.recv().await.expect("the node runs");
            if let Some(found) = is(&fact) {
                return found;
            }
            self.facts_unseen.push_back(fact);
        }
    }

    /// Connects to another node, and waits until identify has reported on both sides.
    pub async fn connect<S: Role>(&mut self, other: &mut Node<S>) {
        let address = other.address.clone();
        self.with(|swarm| swarm.dial(address)).await.expect("a dial");
        self.fact(&Fact::Identified(other.peer)).await;
        other.fact(&Fact::Identified(self.peer)).await;
    }

    /// Stops the node and waits until it is gone.
    pub async fn stop(mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            assert!(task.await.is_err_and(|error| error.is_cancelled()), "a node runs until it is stopped");
        }
    }

    /// Waits until the node's task ends by itself, which only a panic in one of its behaviours brings about.
    pub async fn panics(mut self) -> bool {
        match self.task.take() {
            Some(task) => task.await.is_err_and(|error| error.is_panic()),
            None => false,
        }
    }
}

impl<R: Role> Drop for Node<R> {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl<R: Role> fmt::Debug for Node<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("peer", &self.peer).field("address", &self.address).finish_non_exhaustive()
    }
}

async fn run<R: Role>(
    mut swarm: Swarm<Behaviour<R>>,
    mut acts: mpsc::UnboundedReceiver<Act<R>>,
    events: mpsc::UnboundedSender<R::ToSwarm>,
    facts: mpsc::UnboundedSender<Fact>,
) {
    loop {
        let event = tokio::select! {
            act = acts.recv() => {
                // The node outlives its handle only where a test awaits its end.
                let Some(act) = act else { std::future::pending().await };
                act(&mut swarm);
                continue;
            }
            event = swarm.select_next_some() => event,
        };
        let fact = match event {
            SwarmEvent::Behaviour(BehaviourEvent::Role(event)) => {
                let _ = events.send(event);
                continue;
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. })) => {
                swarm.behaviour_mut().role.identified(peer_id, &info.agent_version);
                Fact::Identified(peer_id)
            }
            SwarmEvent::ConnectionEstablished { peer_id, .. } => Fact::Connected(peer_id),
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => Fact::Disconnected(peer_id),
            SwarmEvent::OutgoingConnectionError { peer_id, .. } => Fact::DialFailed(peer_id),
            SwarmEvent::NewExternalAddrOfPeer { peer_id, address } => Fact::AddressOf(peer_id, address),
            _ => continue,
        };
        let _ = facts.send(fact);
    }
}
