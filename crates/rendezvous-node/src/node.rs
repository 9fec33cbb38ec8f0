//! The handle: [`Node`].

use std::{
    collections::HashMap,
    fmt, io,
    sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError},
};

use futures::StreamExt as _;
use libp2p::{Multiaddr, PeerId, TransportError, identity::Keypair, swarm::SwarmEvent};
use rendezvous_discovery::{Config as DiscoveryConfig, DiscoveryManager, Query};
use tokio::{
    sync::{Mutex, broadcast, mpsc, oneshot},
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    DisconnectReason,
    behaviour::{self, Assembled},
    driver::{Command, Connecting, Done, Driver, Inbound, Listening, Stage},
    error::{ConnectError, NotRunning, StartError},
    event::{EVENTS_MAX, Event, Events},
    goodbye,
    info::{NodeInfo, PeerInfo},
    opener::NodeOpener,
    peers::{KeptAs, Peers},
    rpc::{Rpc, Services},
    settings::{Builder, Settings, split},
    streams,
    sub_protocol::SubProtocol,
};

/// Commands that wait for the node's task: a caller waits when there are as many.
const COMMANDS_MAX: usize = 64;

/// A peer: its identity, its connections, and what it does on them.
///
/// Clones are handles of the same node. It does nothing until it is [started](Self::start), and can be stopped and started
/// again; sub-protocols, services and readers of events stay. See the [crate's documentation](crate) for an example.
#[derive(Clone)]
pub struct Node {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    keypair: Keypair,
    pub(crate) settings: Arc<Settings>,
    events: broadcast::Sender<Event>,
    services: Services,
    /// Held while the node is started or stopped.
    task: Mutex<Option<JoinHandle<()>>>,
    /// What is there while the node runs.
    running: StdMutex<Option<Running>>,
}

/// How to talk to a node that runs.
#[derive(Clone)]
pub(crate) struct Running {
    commands: mpsc::Sender<Command>,
    pub(crate) control: streams::Control,
    stop: CancellationToken,
    discovery: DiscoveryManager,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn running(&self) -> Result<Running, NotRunning> {
        self.lock().clone().ok_or(NotRunning)
    }

    pub(crate) async fn connect(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> Result<(), ConnectError> {
        let running = self.running()?;
        ask(&running, |reply| Command::Connect { peer, addresses, reply }).await?
    }
}

/// Gives a command and waits for its answer.
async fn ask<T>(running: &Running, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, NotRunning> {
    let (reply, answer) = oneshot::channel();
    running.commands.send(command(reply)).await.map_err(|_| NotRunning)?;
    answer.await.map_err(|_| NotRunning)
}

impl Node {
    /// Settings to make a node of.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(keypair: Keypair, settings: Settings) -> Self {
        let services = Services::new(settings.rpc_server.clone());
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let (task, running) = (Mutex::new(None), StdMutex::new(None));
        Self { shared: Arc::new(Shared { keypair, settings: Arc::new(settings), events, services, task, running }) }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.shared.keypair.public().to_peer_id()
    }

    /// What has happened from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.shared.events.subscribe())
    }

    /// Starts the node: it listens when this returns, and connects to whom it is to be connected.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(&self) -> Result<(), StartError> {
        let mut task = self.shared.task.lock().await;
        if task.as_ref().is_some_and(|task| !task.is_finished()) {
            return Err(StartError::Running);
        }
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(StartError::NoRuntime);
        }
        let Shared { keypair, settings, events, services, .. } = &*self.shared;
        let Assembled { swarm, sources, tasks: connections, cancel } = behaviour::assemble(keypair, settings)?;
        let control = swarm.behaviour().streams.control();
        let sub_protocols = settings.sub_protocols.iter().flat_map(SubProtocol::protocol_ids);
        let inbound = Inbound {
            sub_protocols: control.accept_all(sub_protocols).expect("names of sub-protocols are different"),
            calls: control.accept(settings.rpc_protocol.clone()).expect("the settings give it to calls alone"),
            goodbyes: control.accept(goodbye::PROTOCOL).expect("nobody else accepts goodbyes"),
        };
        let (discovery, discovering) =
            DiscoveryManager::new(DiscoveryConfig { local_peer: Some(self.id()), ..DiscoveryConfig::default() });
        for source in sources {
            discovery.add_source(source).expect("the manager was made just before");
        }
        let (commands_in, commands) = mpsc::channel(COMMANDS_MAX);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            discovering.await;
            Done::Other
        });
        let mut driver = Driver {
            swarm,
            settings: settings.clone(),
            discovery: discovery.clone(),
            services: services.clone(),
            events: events.clone(),
            commands,
            control: control.clone(),
            inbound,
            peers: Peers::new(settings.peers_max, settings.inbound_max()),
            listening: Listening::default(),
            connecting: Connecting::new(),
            leaving: Vec::new(),
            connected_points: Vec::new(),
            tasks,
            awaited: 0,
            stage: Stage::Running,
            stop: stop.clone(),
            connections,
            cancel,
        };
        if let Err(error) = driver.set_up().await {
            driver.end().await;
            return Err(error);
        }
        *self.shared.lock() = Some(Running { commands: commands_in, control, stop, discovery });
        *task = Some(tokio::spawn(driver.run()));
        Ok(())
    }

    /// Stops the node: what it advertises is withdrawn, sessions end, peers are told, and connections and sockets are closed.
    /// All of that is done when this returns, which is at most some ten seconds later. A node that does not run stays so.
    pub async fn stop(&self) {
        let mut task = self.shared.task.lock().await;
        let running = self.shared.lock().take();
        if let Some(running) = running {
            // Nothing is awaited between taking it out and this: who gives up waiting has told it to stop.
            running.stop.cancel();
        }
        // It is not taken out before it has ended: who gives up waiting here leaves a node that is still stopping.
        if let Some(running) = task.as_mut()
            && let Err(error) = running.await
        {
            tracing::error!(%error, "the node's task has failed");
        }
        *task = None;
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shared.lock().as_ref().is_some_and(|running| !running.commands.is_closed())
    }

    /// Connects to a peer, at these addresses and those that are known.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        &self,
        peer: PeerId,
        addresses: impl IntoIterator<Item = Multiaddr>,
    ) -> Result<(), ConnectError> {
        self.shared.connect(peer, addresses.into_iter().collect()).await
    }

    /// Connects to the peer that an address names at its end.
    ///
    /// # Errors
    /// [`ConnectError`]; [`ConnectError::NoAddresses`] names this node if the address names nobody.
    pub async fn dial(&self, address: &Multiaddr) -> Result<PeerId, ConnectError> {
        let (peer, bare) = split(address).ok_or(ConnectError::NoAddresses { peer: self.id() })?;
        self.shared.connect(peer, vec![bare]).await?;
        Ok(peer)
    }

    /// Tells a peer that it is disconnected for a reason, and disconnects it. `false` if it is not connected. One that is
    /// static is connected again.
    ///
    /// # Errors
    /// [`NotRunning`].
    pub async fn disconnect(&self, peer: PeerId, reason: DisconnectReason) -> Result<bool, NotRunning> {
        ask(&self.shared.running()?, |reply| Command::Disconnect { peer, reason, reply }).await
    }

    /// Keeps a peer connected from now on: it is dialled, and dialled again with back-off, and admitted above the cap.
    ///
    /// # Errors
    /// [`NotRunning`].
    pub async fn add_peer(
        &self,
        peer: PeerId,
        addresses: impl IntoIterator<Item = Multiaddr>,
    ) -> Result<(), NotRunning> {
        let addresses = addresses.into_iter().collect();
        self.tell(Command::Keep { peer, addresses }).await
    }

    /// Keeps a peer connected no longer, and disconnects it. `false` if it was not kept.
    ///
    /// # Errors
    /// [`NotRunning`].
    pub async fn remove_peer(&self, peer: PeerId) -> Result<bool, NotRunning> {
        let running = self.shared.running()?;
        let was_kept = ask(&running, |reply| Command::Release { peer, reply }).await?;
        let reason = DisconnectReason::Requested;
        ask(&running, |reply| Command::Disconnect { peer, reason, reply }).await?;
        Ok(was_kept)
    }

    /// Admits a peer above the cap from now on.
    ///
    /// # Errors
    /// [`NotRunning`].
    pub async fn add_trusted(&self, peer: PeerId) -> Result<(), NotRunning> {
        self.tell(Command::Trust { peer }).await
    }

    /// Admits a peer above the cap no longer; it stays connected. `false` if it was not trusted.
    ///
    /// # Errors
    /// [`NotRunning`].
    pub async fn remove_trusted(&self, peer: PeerId) -> Result<bool, NotRunning> {
        ask(&self.shared.running()?, |reply| Command::Distrust { peer, reply }).await
    }

    /// Uses a rendezvous point from now on. It is kept connected.
    ///
    /// # Errors
    /// [`NotRunning`].
    pub async fn add_point(
        &self,
        peer: PeerId,
        addresses: impl IntoIterator<Item = Multiaddr>,
    ) -> Result<(), NotRunning> {
        let addresses = addresses.into_iter().collect();
        self.tell(Command::AddPoint { peer, addresses }).await
    }

    /// Uses a rendezvous point no longer; what stands there is withdrawn. `false` if it was not used.
    ///
    /// # Errors
    /// [`NotRunning`].
    pub async fn remove_point(&self, peer: PeerId) -> Result<bool, NotRunning> {
        ask(&self.shared.running()?, |reply| Command::RemovePoint { peer, reply }).await
    }

    /// The peers that are connected and admitted.
    ///
    /// # Errors
    /// [`NotRunning`].
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, NotRunning> {
        ask(&self.shared.running()?, |reply| Command::Peers { reply }).await
    }

    /// A peer that is connected and admitted; `None` if it is not.
    ///
    /// # Errors
    /// [`NotRunning`].
    pub async fn peer(&self, peer: PeerId) -> Result<Option<PeerInfo>, NotRunning> {
        ask(&self.shared.running()?, |reply| Command::Peer { peer, reply }).await
    }

    /// What this node is.
    ///
    /// # Errors
    /// [`NotRunning`].
    pub async fn info(&self) -> Result<NodeInfo, NotRunning> {
        ask(&self.shared.running()?, |reply| Command::Info { reply }).await
    }

    /// The discovery manager of this run: by rendezvous points, and by Kademlia and mDNS where they are switched on. Sources of
    /// one's own may be added to it.
    ///
    /// # Errors
    /// [`NotRunning`].
    pub fn discovery(&self) -> Result<DiscoveryManager, NotRunning> {
        Ok(self.shared.running()?.discovery)
    }

    /// Connects to whom a query finds, within the bounds of
    /// [`connected_max`](Builder::connected_max) and its back-off, for as long as the node runs.
    ///
    /// # Errors
    /// [`NotRunning`].
    pub async fn connect_to(&self, query: impl Into<Query>) -> Result<(), NotRunning> {
        let found = self.discovery()?.find(query).map_err(|_| NotRunning)?;
        self.tell(Command::ConnectTo { found }).await
    }

    /// The streams of this run, to open and accept protocols of one's own that are no sub-protocols. Opening never dials:
    /// [connect](Self::connect) first. What is accepted ends with the run, and is to be accepted anew in the next.
    ///
    /// The node itself accepts the protocols of its sub-protocols, of calls and of goodbyes: whoever asks for one of these has
    /// [`AlreadyAccepted`](streams::AlreadyAccepted). Streams of peers that are being turned away may come, too, for as long as
    /// they are told why.
    ///
    /// ```
    /// use futures::StreamExt as _;
    /// use libp2p::StreamProtocol;
    /// use rendezvous_node::Node;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let node = Node::builder().build()?;
    /// node.start().await?;
    /// let mut greetings = node.streams()?.accept(StreamProtocol::new("/greeting/1.0.0"))?;
    /// node.stop().await;
    /// assert!(greetings.next().await.is_none());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`NotRunning`].
    pub fn streams(&self) -> Result<streams::Control, NotRunning> {
        Ok(self.shared.running()?.control)
    }

    /// The services that others may call. They stay over stops and starts.
    #[must_use]
    pub fn services(&self) -> &Services {
        &self.shared.services
    }

    /// Calls services of others, and this node's own. It works while the node runs.
    #[must_use]
    pub fn rpc(&self) -> Rpc {
        let opener = Arc::new(NodeOpener::new(&self.shared, self.id()));
        Rpc::new(opener, self.shared.services.clone(), self.shared.settings.rpc_client.clone())
    }

    async fn tell(&self, command: Command) -> Result<(), NotRunning> {
        self.shared.running()?.commands.send(command).await.map_err(|_| NotRunning)
    }
}

impl Driver {
    /// Does what the settings say, and waits until every listener has an address.
    async fn set_up(&mut self) -> Result<(), StartError> {
        let settings = self.settings.clone();
        self.look_for_room();
        settings.trusted.iter().for_each(|peer| self.trust(*peer));
        for (peer, addresses) in settings.static_peers.iter().chain(&settings.bootstrap) {
            self.keep(*peer, KeptAs::Static, addresses);
        }
        for (peer, addresses) in &settings.points {
            self.keep(*peer, KeptAs::Point, addresses);
        }
        settings.external.iter().for_each(|address| self.swarm.add_external_address(address.clone()));
        let mut waiting = HashMap::new();
        for address in &settings.listen {
            let listener = self.swarm.listen_on(address.clone()).map_err(|error| StartError::Listen {
                address: address.clone(),
                source: match error {
                    TransportError::Other(source) => source,
                    TransportError::MultiaddrNotSupported(_) => io::ErrorKind::Unsupported.into(),
                },
            })?;
            waiting.insert(listener, address.clone());
        }
        while !waiting.is_empty() {
            let event = self.swarm.select_next_some().await;
            match &event {
                SwarmEvent::NewListenAddr { listener_id, .. } => {
                    waiting.remove(listener_id);
                }
                SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                    if let Some(address) = waiting.remove(listener_id) {
                        let kind = reason.as_ref().err().map_or(io::ErrorKind::AddrNotAvailable, io::Error::kind);
                        return Err(StartError::Listen { address, source: kind.into() });
                    }
                }
                _ => {}
            }
            self.on_swarm_event(event);
        }
        Ok(())
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("id", &self.id()).field("is_running", &self.is_running()).finish_non_exhaustive()
    }
}
