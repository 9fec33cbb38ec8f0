//! Peers that are no nodes.

use std::time::Duration;

use futures::{AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, Transport as _,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    identify,
    identity::Keypair,
    noise, ping,
    swarm::{
        Config, ConnectionId, NetworkBehaviour, SwarmEvent,
        behaviour::toggle::Toggle,
        dial_opts::{DialOpts, PeerCondition},
    },
    tcp, yamux,
};
use rendezvous_node::streams;

/// What such a peer may speak.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) streams: streams::Behaviour,
    identify: Toggle<identify::Behaviour>,
    ping: Toggle<ping::Behaviour>,
}

/// A peer that does what the test does with it.
pub(crate) struct Raw {
    pub(crate) swarm: Swarm<Behaviour>,
}

impl Raw {
    /// A peer that only moves while it is polled, its connections included: unpolled it is stalled.
    pub(crate) fn new(keypair: Keypair, identifies: bool, answers_pings: bool) -> Self {
        let identify = identify::Config::new("test".to_owned(), keypair.public());
        let behaviour = Behaviour {
            streams: streams::Behaviour::default(),
            identify: identifies.then(|| identify::Behaviour::new(identify)).into(),
            ping: answers_pings.then(ping::Behaviour::default).into(),
        };
        let config = Config::without_executor().with_idle_connection_timeout(Duration::from_secs(600));
        let id = keypair.public().to_peer_id();
        Self { swarm: Swarm::new(transport(&keypair), behaviour, id, config) }
    }

    pub(crate) fn id(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    /// Connects to a node, once more if it is connected.
    pub(crate) async fn dial(&mut self, node: PeerId, address: Multiaddr) -> ConnectionId {
        let options = DialOpts::peer_id(node).addresses(vec![address]).condition(PeerCondition::Always).build();
        let id = options.connection_id();
        self.swarm.dial(options).expect("it can be tried");
        loop {
            match self.swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { connection_id, .. } if connection_id == id => return id,
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
    }

    /// Moves it while something is awaited.
    pub(crate) async fn during<F: Future>(&mut self, what: F) -> F::Output {
        let mut what = core::pin::pin!(what);
        loop {
            tokio::select! {
                _ = self.swarm.select_next_some() => {}
                output = &mut what => return output,
            }
        }
    }

    /// Opens a stream to a node, on its newest connection.
    pub(crate) async fn open(&mut self, node: PeerId, protocol: &'static str) -> streams::Stream {
        let control = self.swarm.behaviour().streams.control();
        let opened = async move {
            let mut stream = control.open(node, StreamProtocol::new(protocol)).await?;
            // What is proposed is sent with the first bytes.
            stream.flush().await.map(|()| stream).map_err(streams::OpenError::Io)
        };
        self.during(opened).await.expect("the node speaks it")
    }
}

fn transport(keypair: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)> {
    tcp::tokio::Transport::new(tcp::Config::default())
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(keypair).expect("the key can sign"))
        .multiplex(yamux::Config::default())
        .boxed()
}
