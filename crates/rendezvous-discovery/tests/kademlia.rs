//! Provider records of a DHT as a source: three nodes, one of which serves the others to begin with.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::time::Duration;

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_kad::{self as kademlia, Mode, store::MemoryStore, store::RecordStore};
use rendezvous_discovery::{
    AdvertisementEvent, Config, DiscoveryManager, FailureKind, FindEvent, Namespace, Timing, kad,
};

use common::{Node, dht::Identified, found, namespace, nowhere, on_tokio, peer_id, waiting, within};
use futures::StreamExt;

/// A node of a DHT with a manager.
struct Member {
    node: Node<Identified>,
    manager: DiscoveryManager,
}

/// Asked often, so that what is not found again ends after the shortest time.
const TTR: Duration = Duration::from_millis(500);

impl Member {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(configure: impl FnOnce(&mut kademlia::Config)) -> Self {
        let mut config = kademlia::Config::new(libp2p_swarm::StreamProtocol::new("/rendezvous-test/kad"));
        config.set_query_timeout(Duration::from_secs(5)).set_periodic_bootstrap_interval(None);
        configure(&mut config);
        let mut source = None;
        let node = Node::start(on_tokio, |key| {
            let id = key.public().to_peer_id();
            let mut kademlia = kademlia::Behaviour::with_config(id, MemoryStore::new(id), config);
            kademlia.set_mode(Some(Mode::Server));
            let timing = Timing { ttr: TTR, ..kad::Config::default().timing };
            let (behaviour, end) = kad::source(kademlia, kad::Config { timing });
            source = Some(end);
            Identified::new(key, behaviour)
        })
        .await;
        // Whoever is told of it is told where it is.
        let address = node.address.clone();
        node.with(move |swarm| swarm.add_external_address(address)).await;
        let (manager, driver) = DiscoveryManager::new(Config { local_peer: Some(node.id), ..Config::default() });
        manager.add_source(source.unwrap()).unwrap();
        on_tokio(Box::pin(driver));
        Self { node, manager }
    }

    /// Comes to know another node, as from a list of nodes to begin with.
    async fn meet(&self, other: &Self) {
        self.know(other.node.id, other.node.address.clone()).await;
    }

    async fn know(&self, peer: PeerId, address: Multiaddr) {
        self.node.with(move |swarm| swarm.behaviour_mut().kad.inner_mut().add_address(&peer, address)).await;
    }

    /// Whether this node has a record that the peer provides the name.
    async fn lists(&self, peer: PeerId, name: &Namespace) -> bool {
        let key = kad::key(name);
        self.node
            .with(move |swarm| {
                let store = swarm.behaviour_mut().kad.inner_mut().store_mut();
                store.providers(&key).iter().any(|record| record.provider == peer)
            })
            .await
    }
}

#[test]
fn the_key_is_that_of_go_libp2p() {
    // The multihash of SHA2-256 (0x12, 32 bytes), as computed by another implementation of it.
    let digest = "a8592e9abf90a309e06966803099e65183edd61a2a2332a33a27dc3766fc7f73";
    let key = kad::key(&namespace("rendezvous-discovery")).to_vec();
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, format!("1220{digest}"));
}

#[tokio::test]
async fn who_provides_a_name_is_found_by_it_with_its_addresses() {
    within(async {
        let [boot, hider, seeker] = [Member::new().await, Member::new().await, Member::new().await];
        hider.meet(&boot).await;
        seeker.meet(&boot).await;
        let chat = namespace("chat");
        let mut advertisement = hider.manager.advertise(chat.clone()).unwrap();
        let (source, ttl) = advertisement.advertised().await.unwrap();
        assert_eq!((source, ttl), (kad::NAME, rendezvous_discovery::TTL));
        let mut find = seeker.manager.find(chat.clone()).unwrap();
        let peer = found(&mut find).await;
        assert_eq!((peer.id(), peer.seq()), (hider.node.id, None));
        // Where it is was known to the node to begin with alone: it was searched for.
        assert_eq!(addresses(&peer), std::slice::from_ref(&hider.node.address));
        // The one who provides it asks too, and does not find itself.
        assert_eq!(hider.manager.refresh(chat.clone()).await.unwrap(), []);
        // A name that nobody provides is answered with nobody.
        assert_eq!(seeker.manager.refresh(namespace("nobody's")).await.unwrap(), []);
        assert_eq!(waiting(&mut find), []);
    })
    .await;
}

/// Without the peer's own id behind them.
fn addresses(peer: &rendezvous_discovery::Peer) -> Vec<Multiaddr> {
    use libp2p_core::multiaddr::Protocol;
    let direct = |address: &Multiaddr| address.iter().filter(|it| !matches!(it, Protocol::P2p(_))).collect();
    peer.addresses().iter().map(direct).collect()
}

#[tokio::test]
async fn what_is_wanted_before_anybody_is_known_is_done_when_somebody_is() {
    within(async {
        let [boot, hider, seeker] = [Member::new().await, Member::new().await, Member::new().await];
        let chat = namespace("chat");
        let mut advertisement = hider.manager.advertise(chat.clone()).unwrap();
        let AdvertisementEvent::Failed { failure, .. } = advertisement.next().await.unwrap() else {
            panic!("nobody is known");
        };
        assert_eq!(failure.kind, FailureKind::Unreachable);
        let mut find = seeker.manager.find(chat).unwrap();
        hider.meet(&boot).await;
        // It is not waited for the next half hour.
        advertisement.advertised().await.unwrap();
        seeker.meet(&boot).await;
        assert_eq!(found(&mut find).await.id(), hider.node.id);
    })
    .await;
}

#[tokio::test]
async fn where_nobody_answers_nothing_is_advertised_and_it_is_done_when_somebody_does() {
    within(async {
        let [boot, hider] = [Member::new().await, Member::new().await];
        hider.know(peer_id(), nowhere()).await;
        let chat = namespace("chat");
        let mut advertisement = hider.manager.advertise(chat.clone()).unwrap();
        let AdvertisementEvent::Failed { failure, .. } = advertisement.next().await.unwrap() else {
            panic!("nobody has been told");
        };
        assert_eq!(failure.kind, FailureKind::Unreachable);
        hider.meet(&boot).await;
        advertisement.advertised().await.unwrap();
        while !boot.lists(hider.node.id, &chat).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_name_that_is_withdrawn_is_provided_no_longer_and_one_that_is_wanted_again_is() {
    within(async {
        let [boot, hider] = [Member::new().await, Member::new().await];
        hider.meet(&boot).await;
        let chat = namespace("chat");
        let mut advertisement = hider.manager.advertise(chat.clone()).unwrap();
        advertisement.advertised().await.unwrap();
        assert!(hider.lists(hider.node.id, &chat).await);
        advertisement.withdraw().await;
        assert!(!hider.lists(hider.node.id, &chat).await);
        // In quick turn, while queries are under way: what was wanted last counts.
        for _ in 0..20 {
            let advertisement = hider.manager.advertise(chat.clone()).unwrap();
            tokio::task::yield_now().await;
            advertisement.withdraw().await;
            assert!(!hider.lists(hider.node.id, &chat).await);
        }
        let mut advertisement = hider.manager.advertise(chat.clone()).unwrap();
        advertisement.advertised().await.unwrap();
        assert!(hider.lists(hider.node.id, &chat).await);
        hider.manager.stop().await;
        while hider.lists(hider.node.id, &chat).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn who_is_not_found_again_ends() {
    within(async {
        // Records are kept for a second.
        let boot = Member::with(|config| {
            config.set_provider_record_ttl(Some(Duration::from_secs(1)));
        })
        .await;
        let [hider, seeker] = [Member::new().await, Member::new().await];
        hider.meet(&boot).await;
        seeker.meet(&boot).await;
        let chat = namespace("chat");
        let mut advertisement = hider.manager.advertise(chat.clone()).unwrap();
        advertisement.advertised().await.unwrap();
        let mut find = seeker.manager.find(chat).unwrap();
        let peer = found(&mut find).await;
        hider.node.kill().await;
        let gone = loop {
            match find.next().await.unwrap() {
                FindEvent::Expired(peer) => break peer,
                FindEvent::Updated(_) => {}
                FindEvent::Found(other) => panic!("{other:?}"),
            }
        };
        assert_eq!(gone.id(), peer.id());
    })
    .await;
}
