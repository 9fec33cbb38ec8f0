//! The limits of connections in real swarms.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    convert::Infallible,
    net::TcpStream,
    task::{Context, Poll},
    time::Duration,
};

use futures::StreamExt as _;
use libp2p::{
    Multiaddr, Swarm, Transport as _,
    core::{
        Endpoint,
        muxing::StreamMuxerBox,
        transport::{Boxed, MemoryTransport, PortUse, timeout::TransportTimeout},
        upgrade::Version,
    },
    multiaddr::Protocol,
    plaintext, tcp, yamux,
};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{
    Config as SwarmConfig, ConnectionDenied, ConnectionId, FromSwarm, ListenError, NetworkBehaviour, SwarmEvent,
    THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use rendezvous_swarm::{
    limits::{self, Config, Exceeded, Stats},
    server,
};
use tokio::sync::oneshot;

/// Longest time that a whole test may take.
const TEST_MAX: Duration = Duration::from_secs(60);

/// Time for a handshake where one is to come to its end within a test.
const SHORT: Duration = Duration::from_millis(100);

async fn within<F: Future>(test: F) -> F::Output {
    tokio::time::timeout(TEST_MAX, test).await.expect("the test hangs")
}

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

#[derive(Clone, Copy)]
enum Network {
    Memory,
    Loopback,
}

impl Network {
    fn transport(self, key: &Keypair, handshake_timeout: Duration) -> Boxed<(PeerId, StreamMuxerBox)> {
        let (security, muxer) = (plaintext::Config::new(key), yamux::Config::default());
        let transport = match self {
            Self::Memory => {
                MemoryTransport::default().upgrade(Version::V1).authenticate(security).multiplex(muxer).boxed()
            }
            Self::Loopback => {
                tcp::tokio::Transport::default().upgrade(Version::V1).authenticate(security).multiplex(muxer).boxed()
            }
        };
        TransportTimeout::new(transport, handshake_timeout).boxed()
    }

    fn address(self) -> Multiaddr {
        let address = match self {
            Self::Memory => "/memory/0",
            Self::Loopback => "/ip4/127.0.0.1/tcp/0",
        };
        address.parse().unwrap()
    }
}

/// Denies established connections while it is closed.
#[derive(Default)]
struct Gate {
    is_closed: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the gate is closed")]
struct GateClosed;

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.is_closed { Err(ConnectionDenied::new(GateClosed)) } else { Ok(dummy::ConnectionHandler) }
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.is_closed { Err(ConnectionDenied::new(GateClosed)) } else { Ok(dummy::ConnectionHandler) }
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    before: Gate,
    limits: limits::Behaviour,
    point: server::Behaviour,
    behind: Gate,
}

/// What became of a connection.
#[derive(Debug, PartialEq, Eq)]
enum Met {
    Established,
    Exceeded(Exceeded),
    DeniedByGate,
    HandshakeFailed,
    Closed,
    DialFailed,
}

struct Limited {
    swarm: Swarm<Behaviour>,
    network: Network,
    address: Multiaddr,
}

impl Limited {
    async fn start(network: Network, config: Config) -> Self {
        Self::with_handshake_timeout(network, config, 2 * TEST_MAX).await
    }

    async fn with_handshake_timeout(network: Network, config: Config, handshake_timeout: Duration) -> Self {
        let key = Keypair::generate_ed25519();
        let point = server::Behaviour::new(server::Config::default());
        let limits = limits::Behaviour::new(config);
        let behaviour = Behaviour { before: Gate::default(), limits, point, behind: Gate::default() };
        let swarm_config = SwarmConfig::with_tokio_executor().with_idle_connection_timeout(2 * TEST_MAX);
        let transport = network.transport(&key, handshake_timeout);
        let mut swarm = Swarm::new(transport, behaviour, key.public().to_peer_id(), swarm_config);
        swarm.listen_on(network.address()).unwrap();
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        Self { swarm, network, address }
    }

    /// What becomes of the next connection of which something does.
    async fn met(&mut self) -> Met {
        loop {
            match self.swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => return Met::Established,
                SwarmEvent::ConnectionClosed { .. } => return Met::Closed,
                SwarmEvent::OutgoingConnectionError { .. } => return Met::DialFailed,
                SwarmEvent::IncomingConnectionError { error: ListenError::Denied { cause }, .. } => {
                    return match cause.downcast::<Exceeded>() {
                        Ok(exceeded) => Met::Exceeded(exceeded),
                        Err(cause) => {
                            cause.downcast::<GateClosed>().unwrap();
                            Met::DeniedByGate
                        }
                    };
                }
                SwarmEvent::IncomingConnectionError { .. } => return Met::HandshakeFailed,
                _ => {}
            }
        }
    }

    /// A peer that dials, and what becomes of it.
    async fn dialled(&mut self, peer: &Keypair) -> (Peer, Met) {
        let peer = Peer::dial(self.network, peer, self.address.clone());
        (peer, self.met().await)
    }

    async fn dialled_by_another(&mut self) -> (Peer, Met) {
        self.dialled(&Keypair::generate_ed25519()).await
    }

    /// Somebody who connects and says nothing.
    fn silent(&self) -> TcpStream {
        let port = self.address.iter().find_map(|protocol| match protocol {
            Protocol::Tcp(port) => Some(port),
            _ => None,
        });
        TcpStream::connect(("127.0.0.1", port.unwrap())).unwrap()
    }

    fn stats(&self) -> Stats {
        self.swarm.behaviour().limits.stats()
    }

    /// The numbers of what is connected, of the peers and of the prefixes.
    fn held(&self) -> [usize; 6] {
        let Stats { pending, established, pending_outbound, established_outbound, peers, prefixes, .. } = self.stats();
        [pending, established, pending_outbound, established_outbound, peers, prefixes]
    }
}

/// A peer with one connection, which it closes when this is dropped.
struct Peer(#[expect(dead_code, reason = "dropped, it ends the peer")] oneshot::Sender<Infallible>);

impl Peer {
    fn dial(network: Network, key: &Keypair, address: Multiaddr) -> Self {
        let config = SwarmConfig::with_tokio_executor().with_idle_connection_timeout(2 * TEST_MAX);
        let transport = network.transport(key, 2 * TEST_MAX);
        let mut swarm = Swarm::new(transport, dummy::Behaviour, key.public().to_peer_id(), config);
        swarm.dial(address).unwrap();
        let (alive, mut ended) = oneshot::channel();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = &mut ended => return,
                    _ = swarm.select_next_some() => {}
                }
            }
        });
        Self(alive)
    }
}

#[tokio::test]
async fn a_connection_above_the_limit_is_denied_and_one_after_a_close_admitted() {
    within(async {
        let mut limited = Limited::start(Network::Memory, config(|config| config.connections_max = 2)).await;
        let (first, met) = limited.dialled_by_another().await;
        assert_eq!(met, Met::Established);
        let (_second, met) = limited.dialled_by_another().await;
        assert_eq!(met, Met::Established);
        let (_third, met) = limited.dialled_by_another().await;
        assert_eq!(met, Met::Exceeded(Exceeded::Connections { max: 2 }));
        drop(first);
        assert_eq!(limited.met().await, Met::Closed);
        let (_fourth, met) = limited.dialled_by_another().await;
        assert_eq!(met, Met::Established);
        assert_eq!(limited.held(), [0, 2, 0, 0, 2, 0]);
        assert_eq!(limited.stats().connections_denied, 1);
    })
    .await;
}

#[tokio::test]
async fn a_peer_above_its_limit_is_denied_and_others_are_admitted() {
    within(async {
        let mut limited = Limited::start(Network::Memory, config(|config| config.connections_per_peer_max = 1)).await;
        let key = Keypair::generate_ed25519();
        let (first, met) = limited.dialled(&key).await;
        assert_eq!(met, Met::Established);
        let (_second, met) = limited.dialled(&key).await;
        assert_eq!(met, Met::Exceeded(Exceeded::ConnectionsPerPeer { max: 1 }));
        let (other, met) = limited.dialled_by_another().await;
        assert_eq!(met, Met::Established);
        drop((first, other));
        assert_eq!([limited.met().await, limited.met().await], [Met::Closed, Met::Closed]);
        assert_eq!(limited.held(), [0; 6]);
    })
    .await;
}

#[tokio::test]
async fn over_tcp_a_prefix_above_its_limit_is_denied_and_a_trusted_peer_admitted() {
    within(async {
        let mut limited =
            Limited::start(Network::Loopback, config(|config| config.connections_per_prefix_max = 2)).await;
        let (first, met) = limited.dialled_by_another().await;
        assert_eq!(met, Met::Established);
        let (second, met) = limited.dialled_by_another().await;
        assert_eq!(met, Met::Established);
        let (_third, met) = limited.dialled_by_another().await;
        assert_eq!(met, Met::Exceeded(Exceeded::ConnectionsPerPrefix { max: 2 }));

        let trusted = Keypair::generate_ed25519();
        limited.swarm.behaviour_mut().limits.bypass(trusted.public().to_peer_id());
        let (_fourth, met) = limited.dialled_by_another().await;
        assert_eq!(met, Met::Exceeded(Exceeded::ConnectionsPerPrefix { max: 2 }));
        let (trusted, met) = limited.dialled(&trusted).await;
        assert_eq!(met, Met::Established);
        assert_eq!(limited.held(), [0, 3, 0, 0, 3, 1]);

        drop((first, second, trusted));
        for _ in 0..3 {
            assert_eq!(limited.met().await, Met::Closed);
        }
        assert_eq!(limited.held(), [0; 6]);
        let (_fifth, met) = limited.dialled_by_another().await;
        assert_eq!(met, Met::Established);
        assert_eq!(limited.stats().connections_per_prefix_denied, 2);
    })
    .await;
}

#[tokio::test]
async fn over_tcp_those_who_say_nothing_hold_a_bounded_number_of_handshakes() {
    within(async {
        let mut limited = Limited::start(Network::Loopback, config(|config| config.pending_per_prefix_max = 2)).await;
        let silent = [limited.silent(), limited.silent()];
        let (_other, met) = limited.dialled_by_another().await;
        assert_eq!(met, Met::Exceeded(Exceeded::PendingPerPrefix { max: 2 }));
        assert_eq!(limited.held(), [2, 0, 0, 0, 0, 1]);
        drop(silent);
        assert_eq!([limited.met().await, limited.met().await], [Met::HandshakeFailed, Met::HandshakeFailed]);
        assert_eq!(limited.held(), [0; 6]);
        let (_other, met) = limited.dialled_by_another().await;
        assert_eq!(met, Met::Established);
    })
    .await;
}

#[tokio::test]
async fn over_tcp_the_timeout_of_the_transport_gives_handshakes_back() {
    within(async {
        let config = config(|config| config.pending_max = 1);
        let mut limited = Limited::with_handshake_timeout(Network::Loopback, config, SHORT).await;
        let _silent = limited.silent();
        assert_eq!(limited.met().await, Met::HandshakeFailed);
        assert_eq!(limited.held(), [0; 6]);
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_another_behaviour_denies_leaves_no_trace() {
    within(async {
        for network in [Network::Memory, Network::Loopback] {
            let mut limited = Limited::start(network, config(|config| config.connections_max = 1)).await;
            for is_before in [false, true] {
                let behaviour = limited.swarm.behaviour_mut();
                (behaviour.before.is_closed, behaviour.behind.is_closed) = (is_before, !is_before);
                let (_peer, met) = limited.dialled_by_another().await;
                assert_eq!(met, Met::DeniedByGate);
                assert_eq!(limited.held(), [0; 6]);
            }
            let behaviour = limited.swarm.behaviour_mut();
            (behaviour.before.is_closed, behaviour.behind.is_closed) = (false, false);
            let (_peer, met) = limited.dialled_by_another().await;
            assert_eq!(met, Met::Established);
        }
    })
    .await;
}

#[tokio::test]
async fn dials_are_counted_until_they_fail_or_their_connections_close() {
    within(async {
        let mut limited = Limited::start(Network::Memory, config(|config| config.connections_max = 0)).await;
        let mut other = Limited::start(Network::Memory, Config::default()).await;
        let dialled = other.address.clone();
        limited.swarm.dial(dialled.clone()).unwrap();
        assert_eq!(limited.held(), [0, 0, 1, 0, 0, 0]);
        assert_eq!(futures::join!(limited.met(), other.met()), (Met::Established, Met::Established));
        assert_eq!(limited.held(), [0, 0, 0, 1, 0, 0]);
        drop(other);
        assert_eq!(limited.met().await, Met::Closed);
        assert_eq!(limited.held(), [0; 6]);

        // Nobody listens there any more.
        limited.swarm.dial(dialled).unwrap();
        assert_eq!(limited.met().await, Met::DialFailed);
        assert_eq!(limited.held(), [0; 6]);

        // Denied by another behaviour, after this one has counted it.
        let mut other = Limited::start(Network::Memory, Config::default()).await;
        limited.swarm.behaviour_mut().behind.is_closed = true;
        limited.swarm.dial(other.address.clone()).unwrap();
        let met = tokio::select! {
            met = limited.met() => met,
            // It may have its side established, and closed again.
            () = async { loop { other.met().await; } } => Met::Established,
        };
        assert_eq!(met, Met::DialFailed);
        assert_eq!(limited.held(), [0; 6]);
        assert_eq!(limited.stats(), Stats::default());
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_and_its_place_is_free_again() {
    within(async {
        let config = config(|config| {
            config.connections_max = 1;
            config.idle_timeout = SHORT;
        });
        let mut limited = Limited::start(Network::Memory, config).await;
        let behaviour = limited.swarm.behaviour_mut();
        let activity = behaviour.point.activity();
        behaviour.limits.watch(activity);
        for _ in 0..2 {
            let (_silent, met) = limited.dialled_by_another().await;
            assert_eq!(met, Met::Established);
            assert_eq!(limited.met().await, Met::Closed);
        }
        assert_eq!((limited.held(), limited.stats().idle_closed), ([0; 6], 2));
    })
    .await;
}

#[tokio::test]
async fn a_peer_whose_pings_fail_is_closed() {
    within(async {
        let mut limited = Limited::start(Network::Memory, Config::default()).await;
        let key = Keypair::generate_ed25519();
        let _peer = Peer::dial(limited.network, &key, limited.address.clone());
        let connection = loop {
            if let SwarmEvent::ConnectionEstablished { connection_id, .. } = limited.swarm.select_next_some().await {
                break connection_id;
            }
        };
        assert!(limited.swarm.behaviour_mut().limits.peer_unresponsive(connection));
        assert_eq!(limited.met().await, Met::Closed);
        assert_eq!((limited.held(), limited.stats().unresponsive_closed), ([0; 6], 1));
    })
    .await;
}
