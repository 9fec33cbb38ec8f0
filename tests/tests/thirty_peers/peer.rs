//! A peer of the test: a node in a runtime of its own, so that it can die with it and be counted with it.

use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use libp2p::{Multiaddr, PeerId};
use rendezvous_discovery::{FindEvent, Namespace, Timing};
use rendezvous_node::{
    Builder, Identity, Node,
    rpc::{ApplicationError, Service},
};
use rendezvous_swarm::{
    client::{self, ClientConfig},
    server,
};
use rendezvous_wire::Ttl;
use tokio::{runtime::Runtime, task::JoinHandle};

use crate::world::World;

/// Lifetime of registrations.
pub(crate) const TTL: Duration = Duration::from_secs(8);

const TIMING: Timing = Timing { ttr: Duration::from_secs(1), tta: Duration::from_secs(3), ttl: TTL };

/// A node that runs.
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    node: Node,
    /// Tasks of the test, which end with the streams that they read.
    readers: Vec<JoinHandle<()>>,
    runtime: Runtime,
}

impl Peer {
    /// A rendezvous point that listens on this port.
    pub(crate) fn point(seed: u64, port: u16) -> Self {
        let mut config = server::Config::default();
        config.server.ttl_min = Ttl::from_secs(1);
        let builder = Node::builder().serve_rendezvous(config).peers_max(64).inbound_max(64);
        Self::start(builder.identity(Identity::Seed(seed)), port)
    }

    /// A peer that registers at these points, and tells the world whom it finds there.
    pub(crate) fn member(seed: u64, points: &[Multiaddr], namespace: &Namespace, world: &Arc<World>) -> Self {
        let client = ClientConfig {
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(4),
            request_timeout: Duration::from_secs(3),
            ..ClientConfig::default()
        };
        let mut builder = Node::builder()
            .identity(Identity::Seed(seed))
            .timing(TIMING)
            .rendezvous_client(client::Config { client, ..client::Config::default() })
            .redial(Duration::from_millis(200), Duration::from_secs(1))
            .peers_max(64)
            .inbound_max(64);
        for point in points {
            builder = builder.point(point.clone());
        }
        let mut peer = Self::start(builder, 0);
        let echo = |_, text: String| async move { Ok::<_, ApplicationError>(text) };
        peer.node.services().register(Service::new("echo").unary("echo", echo)).expect("it is the only service");
        let info = peer.runtime.block_on(peer.node.info()).expect("it runs");
        world.joined(peer.id, info.listen_addrs.first().expect("it listens").clone());
        let discovery = peer.node.discovery().expect("it runs");
        let mut advertisement = discovery.advertise(namespace.clone()).expect("it runs");
        let mut found = discovery.find(namespace.clone()).expect("it runs");
        let (world, by) = (world.clone(), peer.id);
        let finds = peer.runtime.spawn(async move {
            while let Some(event) = found.next().await {
                match event {
                    FindEvent::Found(peer) => world.found(by, peer.id(), peer.addresses(), true),
                    FindEvent::Updated(peer) => world.found(by, peer.id(), peer.addresses(), false),
                    FindEvent::Expired(peer) => world.expired(by, peer.id()),
                }
            }
        });
        let advertises = peer.runtime.spawn(async move { while advertisement.next().await.is_some() {} });
        peer.readers.extend([finds, advertises]);
        peer
    }

    fn start(builder: Builder, port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("threads can be made");
        let listen = format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("it is an address");
        let node = builder.listen(listen).build().expect("the settings are right");
        runtime.block_on(node.start()).expect("loopback can be listened on");
        Self { id: node.id(), node, readers: Vec::new(), runtime }
    }

    /// Where it can be dialled.
    pub(crate) fn address(&self) -> Multiaddr {
        let info = self.runtime.block_on(self.node.info()).expect("it runs");
        info.addresses().next().expect("it listens")
    }

    /// Calls all of these at the addresses that it has found, and gives the errors.
    pub(crate) fn call_all(&self, peers: &[PeerId]) -> Vec<String> {
        let rpc = self.node.rpc().with_timeout(Duration::from_secs(20));
        let text = self.id.to_string();
        self.runtime.block_on(async {
            let calls = rpc.multi_call::<_, String>(peers.iter().copied(), "echo", "echo", &text);
            let results = calls.collect::<Vec<_>>().await;
            let wrong = |(peer, result): (PeerId, Result<String, _>)| match result {
                Ok(echoed) if echoed == text => None,
                Ok(echoed) => Some(format!("{peer} answers {echoed}")),
                Err(error) => Some(format!("{peer}: {error:?}")),
            };
            results.into_iter().filter_map(wrong).collect()
        })
    }

    /// Restarts the node, as an operator does.
    pub(crate) fn restart(&self) {
        self.runtime.block_on(async {
            self.node.stop().await;
            self.node.start().await.expect("its port is free again");
        });
    }

    /// Leaves in good order. How long it took, and the tasks that are left.
    pub(crate) fn leave(self) -> (Duration, usize) {
        let start = Instant::now();
        self.runtime.block_on(self.node.stop());
        let took = start.elapsed();
        for reader in self.readers {
            self.runtime.block_on(reader).expect("a reader ends with its stream");
        }
        // A task that has told its end is on the runtime's list for a moment yet.
        let limit = Instant::now() + Duration::from_secs(2);
        while self.runtime.metrics().num_alive_tasks() > 0 && Instant::now() < limit {
            std::thread::yield_now();
        }
        (took, self.runtime.metrics().num_alive_tasks())
    }

    /// Dies: nobody is told.
    pub(crate) fn die(self) {
        self.runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

/// A port of loopback on which nobody listens.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    listener.local_addr().expect("it is bound").port()
}
