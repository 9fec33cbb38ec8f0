//! Swarms that run in tasks of their own on either runtime, and managers whose rendezvous source is in one of them.

#![allow(dead_code, reason = "each test binary uses a part of this")]
#![allow(unreachable_pub, reason = "a module of tests is reachable from nowhere")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

pub mod dht;
pub mod member;
pub mod point;

use std::{
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures::{
    StreamExt,
    channel::{mpsc, oneshot},
    future::Either,
};
use futures_timer::Delay;
use libp2p::{
    Transport as _,
    core::{
        transport::{ListenerId, MemoryTransport},
        upgrade::Version,
    },
    noise, yamux,
};
use libp2p_core::Multiaddr;
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{Config, NetworkBehaviour, Swarm, SwarmEvent};
use rendezvous_discovery::{Find, FindEvent, Namespace, Peer};

/// Longest time that a whole test may take; a test that is well takes a fraction of it.
const TEST_MAX: Duration = Duration::from_secs(60);

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How a runtime starts a task.
pub type Spawn = fn(Task);

pub fn on_tokio(task: Task) {
    drop(tokio::spawn(task));
}

pub fn on_async_std(task: Task) {
    drop(async_std::task::spawn(task));
}

/// Runs a test, which fails when it hangs.
pub async fn within<F: Future>(test: F) -> F::Output {
    match futures::future::select(std::pin::pin!(test), Delay::new(TEST_MAX)).await {
        Either::Left((output, _)) => output,
        Either::Right(_) => panic!("the test hangs"),
    }
}

pub fn namespace(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

pub fn peer_id() -> PeerId {
    Keypair::generate_ed25519().public().to_peer_id()
}

/// An address that a peer could be told to be reached at, another one each time.
pub fn public_address() -> Multiaddr {
    static PORTS: AtomicU64 = AtomicU64::new(1_024);
    format!("/ip4/192.0.2.1/tcp/{}", PORTS.fetch_add(1, Ordering::Relaxed)).parse().unwrap()
}

/// An address at which nobody listens.
pub fn nowhere() -> Multiaddr {
    "/memory/4611686018427387904".parse().unwrap()
}

/// What a test has a swarm do.
type Order<B> = Box<dyn FnOnce(&mut Swarm<B>) + Send>;

/// A swarm in a task of its own, over connections within the process.
pub struct Node<B: NetworkBehaviour> {
    pub id: PeerId,
    /// Where it listens.
    pub address: Multiaddr,
    key: Keypair,
    orders: mpsc::UnboundedSender<Order<B>>,
    events: mpsc::UnboundedReceiver<SwarmEvent<B::ToSwarm>>,
    gone: oneshot::Receiver<()>,
}

impl<B> Node<B>
where
    B: NetworkBehaviour<ToSwarm: Send> + Send,
{
    pub async fn start(spawn: Spawn, behaviour: impl FnOnce(&Keypair) -> B) -> Self {
        Self::start_as(spawn, Keypair::generate_ed25519(), "/memory/0".parse().unwrap(), behaviour).await
    }

    async fn start_as(spawn: Spawn, key: Keypair, at: Multiaddr, behaviour: impl FnOnce(&Keypair) -> B) -> Self {
        let transport = MemoryTransport::default()
            .upgrade(Version::V1Lazy)
            .authenticate(noise::Config::new(&key).unwrap())
            .multiplex(yamux::Config::default())
            .boxed();
        let id = key.public().to_peer_id();
        let config = Config::with_executor(spawn).with_idle_connection_timeout(Duration::from_secs(60));
        let mut swarm = Swarm::new(transport, behaviour(&key), id, config);
        let listener = swarm.listen_on(at).unwrap();
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        let (orders, ordered) = mpsc::unbounded();
        let (told, events) = mpsc::unbounded();
        let (ended, gone) = oneshot::channel();
        spawn(Box::pin(run(swarm, listener, ordered, told, ended)));
        Self { id, address, key, orders, events, gone }
    }

    /// Does something with the swarm in its task.
    pub async fn with<R: Send + 'static>(&self, act: impl FnOnce(&mut Swarm<B>) -> R + Send + 'static) -> R {
        let (sender, result) = oneshot::channel();
        let order = move |swarm: &mut Swarm<B>| drop(sender.send(act(swarm)));
        self.orders.unbounded_send(Box::new(order)).unwrap();
        result.await.unwrap()
    }

    /// The next event of the swarm.
    pub async fn event(&mut self) -> SwarmEvent<B::ToSwarm> {
        self.events.next().await.unwrap()
    }

    /// Passes over events of the swarm until one is looked for.
    pub async fn until<T>(&mut self, is_it: impl Fn(SwarmEvent<B::ToSwarm>) -> Option<T>) -> T {
        loop {
            if let Some(found) = is_it(self.event().await) {
                return found;
            }
        }
    }

    /// An event that was told already.
    pub fn try_event(&mut self) -> Option<SwarmEvent<B::ToSwarm>> {
        self.events.try_recv().ok()
    }

    /// Drops the swarm and starts another, of the same peer at the same address.
    pub async fn restart(self, behaviour: impl FnOnce(&Keypair) -> B) -> Self {
        let (key, address) = (self.key.clone(), self.address.clone());
        self.kill().await;
        Self::start_as(on_tokio, key, address, behaviour).await
    }

    /// Drops the swarm, with its connections and its listener, and waits until that is done.
    pub async fn kill(self) {
        drop((self.orders, self.events));
        let _ = self.gone.await;
    }
}

async fn run<B: NetworkBehaviour>(
    mut swarm: Swarm<B>,
    listener: ListenerId,
    mut ordered: mpsc::UnboundedReceiver<Order<B>>,
    told: mpsc::UnboundedSender<SwarmEvent<B::ToSwarm>>,
    ended: oneshot::Sender<()>,
) {
    loop {
        match futures::future::select(ordered.next(), swarm.next()).await {
            Either::Left((Some(order), _)) => order(&mut swarm),
            Either::Right((Some(event), _)) => drop(told.unbounded_send(event)),
            Either::Left((None, _)) | Either::Right((None, _)) => break,
        }
    }
    // Its port is free again only so.
    swarm.remove_listener(listener);
    drop(swarm);
    let _ = ended.send(());
}

/// The next peer that is found; nothing else may be told before.
pub async fn found(find: &mut Find) -> Peer {
    match find.next().await {
        Some(FindEvent::Found(peer)) => peer,
        other => panic!("{other:?}"),
    }
}

/// The next event, which must be that a peer has expired.
pub async fn expired(find: &mut Find) -> Peer {
    match find.next().await {
        Some(FindEvent::Expired(peer)) => peer,
        other => panic!("{other:?}"),
    }
}

/// The next event, which must be that a peer has changed.
pub async fn updated(find: &mut Find) -> Peer {
    match find.next().await {
        Some(FindEvent::Updated(peer)) => peer,
        other => panic!("{other:?}"),
    }
}

/// The events that wait.
pub fn waiting(find: &mut Find) -> Vec<FindEvent> {
    use futures::FutureExt as _;
    std::iter::from_fn(|| find.next().now_or_never().flatten()).collect()
}
