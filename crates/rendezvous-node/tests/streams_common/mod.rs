//! Peers in memory: whole ones, and such as never negotiate.

#![allow(dead_code, reason = "no test file needs all of it")]
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod raw;

use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, Transport as _, connection_limits,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, MemoryTransport},
        upgrade::Version,
    },
    identify,
    identity::Keypair,
    plaintext, quic,
    swarm::{
        Config as SwarmConfig, ConnectionId, NetworkBehaviour, SwarmEvent, behaviour::toggle::Toggle,
        dial_opts::DialOpts,
    },
    yamux,
};
use rendezvous_node::streams::{self, Config, Control, Stream};
use tokio::{sync::mpsc, task::JoinHandle};

pub use raw::Raw;

pub const ECHO: StreamProtocol = StreamProtocol::new("/echo/1");
pub const OTHER: StreamProtocol = StreamProtocol::new("/other/1");

/// Longest time that a whole test may take.
const TEST_MAX: Duration = Duration::from_secs(120);

pub async fn within<F: Future>(test: F) -> F::Output {
    tokio::time::timeout(TEST_MAX, test).await.expect("the test hangs")
}

pub fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

#[derive(Clone, Copy, Debug)]
pub enum Network {
    Memory,
    /// On the loopback.
    Quic,
}

impl Network {
    pub fn transport(self, key: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)> {
        match self {
            Self::Memory => {
                let (security, muxer) = (plaintext::Config::new(key), yamux::Config::default());
                MemoryTransport::default().upgrade(Version::V1).authenticate(security).multiplex(muxer).boxed()
            }
            Self::Quic => {
                let transport = quic::tokio::Transport::new(quic::Config::new(key));
                transport.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed()
            }
        }
    }

    pub fn address(self) -> Multiaddr {
        let address = match self {
            Self::Memory => "/memory/0",
            Self::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
        };
        address.parse().unwrap()
    }
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    streams: streams::Behaviour,
    identify: Toggle<identify::Behaviour>,
    // Behind the streams, which have a handler already when it denies.
    limits: connection_limits::Behaviour,
}

#[derive(Debug)]
enum Command {
    Dial(Multiaddr),
    Disconnect(PeerId),
}

/// What a peer's swarm tells.
#[derive(Debug)]
pub enum Event {
    Connected(PeerId, ConnectionId),
    Closed(PeerId),
    /// A connection was denied, or a dial has failed.
    Denied,
    /// The other side has announced these protocols.
    Identified(Vec<StreamProtocol>),
}

/// A swarm in a task of its own, which ends when this is dropped.
#[derive(Debug)]
pub struct Peer {
    pub id: PeerId,
    pub address: Multiaddr,
    pub control: Control,
    pub events: mpsc::UnboundedReceiver<Event>,
    commands: mpsc::UnboundedSender<Command>,
    task: JoinHandle<()>,
}

#[derive(Default)]
pub struct Options {
    pub config: Config,
    pub identifies: bool,
    pub denies: bool,
    /// Over QUIC on the loopback, and not in memory.
    pub is_quic: bool,
}

impl Peer {
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn limited(change: impl FnOnce(&mut Config)) -> Self {
        Self::with(Options { config: config(change), ..Options::default() }).await
    }

    pub async fn with(options: Options) -> Self {
        let key = Keypair::generate_ed25519();
        let id = key.public().to_peer_id();
        let streams = streams::Behaviour::new(options.config);
        let control = streams.control();
        let identify = identify::Config::new("/test/1".to_owned(), key.public());
        let limits = connection_limits::ConnectionLimits::default();
        let behaviour = Behaviour {
            streams,
            identify: options.identifies.then(|| identify::Behaviour::new(identify)).into(),
            limits: connection_limits::Behaviour::new(
                limits.with_max_established_incoming(options.denies.then_some(0)),
            ),
        };
        let swarm_config = SwarmConfig::with_tokio_executor().with_idle_connection_timeout(TEST_MAX);
        let network = if options.is_quic { Network::Quic } else { Network::Memory };
        let (transport, address) = (network.transport(&key), network.address());
        let mut swarm = Swarm::new(transport, behaviour, id, swarm_config);
        swarm.listen_on(address).unwrap();
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        let (teller, events) = mpsc::unbounded_channel();
        let (commands, orders) = mpsc::unbounded_channel();
        let task = tokio::spawn(drive(swarm, orders, teller));
        Self { id, address, control, events, commands, task }
    }

    /// Connects to an address, and tells of the connection.
    pub async fn dial(&mut self, address: &Multiaddr) -> ConnectionId {
        self.commands.send(Command::Dial(address.clone())).unwrap();
        match self.events.recv().await {
            Some(Event::Connected(_, connection)) => connection,
            event => panic!("{event:?}"),
        }
    }

    /// Connects to another, and waits until both know of it.
    pub async fn connect(&mut self, other: &mut Self) {
        self.dial(&other.address).await;
        other.connected().await;
    }

    pub fn begin_dial(&self, address: &Multiaddr) {
        self.commands.send(Command::Dial(address.clone())).unwrap();
    }

    pub async fn connected(&mut self) {
        while !matches!(self.events.recv().await.unwrap(), Event::Connected(..)) {}
    }

    pub async fn closed(&mut self) {
        while !matches!(self.events.recv().await.unwrap(), Event::Closed(_)) {}
    }

    pub fn disconnect(&self, peer: PeerId) {
        self.commands.send(Command::Disconnect(peer)).unwrap();
    }

    /// Drops the swarm; gives its events, which end when it is gone.
    pub async fn stop(mut self) {
        self.task.abort();
        while self.events.recv().await.is_some() {}
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn drive(
    mut swarm: Swarm<Behaviour>,
    mut orders: mpsc::UnboundedReceiver<Command>,
    teller: mpsc::UnboundedSender<Event>,
) {
    loop {
        let event = tokio::select! {
            Some(order) = orders.recv() => {
                match order {
                    Command::Dial(address) => {
                        swarm.dial(DialOpts::unknown_peer_id().address(address).build()).unwrap();
                    }
                    Command::Disconnect(peer) => swarm.disconnect_peer_id(peer).unwrap(),
                }
                continue;
            }
            event = swarm.select_next_some() => event,
        };
        let told = match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                Event::Connected(peer_id, connection_id)
            }
            SwarmEvent::ConnectionClosed { peer_id, .. } => Event::Closed(peer_id),
            SwarmEvent::IncomingConnectionError { .. } | SwarmEvent::OutgoingConnectionError { .. } => Event::Denied,
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { info, .. })) => {
                Event::Identified(info.protocols)
            }
            _ => continue,
        };
        // A test that looks at no more events is no reason to stop.
        let _ = teller.send(told);
    }
}

/// Sends a few bytes and their end, and reads those of the other side.
pub async fn exchange(stream: &mut Stream, sent: &[u8]) -> Vec<u8> {
    stream.write_all(sent).await.unwrap();
    stream.close().await.unwrap();
    let mut read = Vec::new();
    stream.read_to_end(&mut read).await.unwrap();
    read
}

/// Waits until the other side has let a stream go.
pub async fn dropped(stream: &mut Stream) {
    let mut byte = [0];
    assert!(matches!(stream.read(&mut byte).await, Ok(0) | Err(_)), "it was not to be served");
}
