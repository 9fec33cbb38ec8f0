//! A point in a swarm of its own, and clients that speak to it in frames, all in memory.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part of this")]
#![allow(unreachable_pub, reason = "a module of tests is reachable from nowhere")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod client;
mod frames;
mod point;

use std::time::Duration;

use futures::StreamExt as _;
use libp2p::{
    Multiaddr, Swarm, Transport as _,
    core::{muxing::StreamMuxerBox, transport::Boxed, transport::MemoryTransport, upgrade::Version},
    plaintext, yamux,
};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{Config, NetworkBehaviour, SwarmEvent};
use tokio::sync::{mpsc, oneshot};

pub use self::{
    client::{Client, Conversation},
    frames::{Answer, DISCOVER_ALL, Listed, discover, malformed, record, register, unregister},
    point::{Point, PointBehaviour, PointBehaviourEvent, point_swarm},
};

/// Longest time that a whole test may take; a test that is well takes a fraction of it.
const TEST_MAX: Duration = Duration::from_secs(60);

/// Runs a test, which fails when it hangs.
pub async fn within<F: Future>(test: F) -> F::Output {
    tokio::time::timeout(TEST_MAX, test).await.expect("the test hangs")
}

/// Connections in memory.
fn transport(key: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)> {
    MemoryTransport::default()
        .upgrade(Version::V1)
        .authenticate(plaintext::Config::new(key))
        .multiplex(yamux::Config::default())
        .boxed()
}

/// A swarm that closes no connection for being idle within a test: a test that waits for that hangs, and fails.
pub fn swarm<B: NetworkBehaviour>(key: &Keypair, behaviour: B) -> Swarm<B> {
    let config = Config::with_tokio_executor().with_idle_connection_timeout(2 * TEST_MAX);
    Swarm::new(transport(key), behaviour, key.public().to_peer_id(), config)
}

/// Listens somewhere in memory.
pub async fn listen<B: NetworkBehaviour>(swarm: &mut Swarm<B>) -> Multiaddr {
    swarm.listen_on("/memory/0".parse().unwrap()).unwrap();
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return address;
        }
    }
}

/// A client of a point whose swarm only this polls, and only until they are connected.
pub async fn connected_to(point: &mut Swarm<PointBehaviour>) -> Client {
    let (address, id) = (listen(point).await, *point.local_peer_id());
    let until_connected =
        async { while !matches!(point.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {} };
    futures::join!(Client::dial(id, address), until_connected).0
}

/// Something that the task of a swarm is to do with it.
type Job<B> = Box<dyn FnOnce(&mut Swarm<B>) + Send>;

/// A swarm that is polled in a task, and stopped with this.
struct Driven<B: NetworkBehaviour>(mpsc::UnboundedSender<Job<B>>);

impl<B> Driven<B>
where
    B: NetworkBehaviour + Send,
    B::ToSwarm: Send,
{
    /// Polls a swarm, and hands on what it tells.
    fn start(mut swarm: Swarm<B>) -> (Self, mpsc::UnboundedReceiver<SwarmEvent<B::ToSwarm>>) {
        let (jobs, mut todo) = mpsc::unbounded_channel::<Job<B>>();
        let (told, events) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    job = todo.recv() => match job {
                        Some(job) => job(&mut swarm),
                        None => return,
                    },
                    event = swarm.select_next_some() => {
                        // A test need not listen.
                        let _ = told.send(event);
                    }
                }
            }
        });
        (Self(jobs), events)
    }

    /// What this makes of the swarm.
    async fn with<R: Send + 'static>(&self, act: impl FnOnce(&mut Swarm<B>) -> R + Send + 'static) -> R {
        let (tell, told) = oneshot::channel();
        let job = Box::new(move |swarm: &mut Swarm<B>| drop(tell.send(act(swarm))));
        assert!(self.0.send(job).is_ok(), "the task of the swarm has ended");
        told.await.unwrap()
    }
}
