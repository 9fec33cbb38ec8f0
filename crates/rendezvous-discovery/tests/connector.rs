//! Connections to peers that are found: few at a time, with a back-off, and for as long as somebody wants them.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::SwarmEvent;
use rendezvous_discovery::{
    Config, DiscoveryManager, Query, StaticList,
    connector::{self, Behaviour, Stats},
};

use common::{Node, namespace, nowhere, on_tokio, peer_id, within};

/// A manager that knows these peers under a name.
fn knowing(peers: &[(PeerId, Multiaddr)]) -> DiscoveryManager {
    let mut list = StaticList::default();
    for (peer, address) in peers {
        list.add(*peer, [address.clone()], [namespace("chat")]);
    }
    let (manager, driver) = DiscoveryManager::new(Config::default());
    manager.add_source(list).unwrap();
    on_tokio(Box::pin(driver));
    manager
}

async fn connector(manager: &DiscoveryManager, config: connector::Config) -> Node<Behaviour> {
    let find = manager.find(namespace("chat")).unwrap();
    Node::start(on_tokio, |_| Behaviour::new(find, config)).await
}

/// A peer that is dialled.
async fn target() -> Node<Behaviour> {
    Node::start(on_tokio, |_| Behaviour::without_query(connector::Config::default())).await
}

fn place(node: &Node<Behaviour>) -> (PeerId, Multiaddr) {
    (node.id, node.address.clone())
}

async fn stats(node: &Node<Behaviour>) -> Stats {
    node.with(|swarm| swarm.behaviour().stats()).await
}

fn connected(event: &SwarmEvent<rendezvous_discovery::FindEvent>) -> Option<PeerId> {
    match event {
        SwarmEvent::ConnectionEstablished { peer_id, .. } => Some(*peer_id),
        _ => None,
    }
}

fn closed(event: &SwarmEvent<rendezvous_discovery::FindEvent>) -> Option<PeerId> {
    match event {
        SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => Some(*peer_id),
        _ => None,
    }
}

#[tokio::test]
async fn found_peers_are_connected_up_to_the_bound_and_another_takes_the_place_of_one_that_goes() {
    within(async {
        let mut targets = Vec::new();
        for _ in 0..5 {
            targets.push(target().await);
        }
        let manager = knowing(&targets.iter().map(place).collect::<Vec<_>>());
        let config = connector::Config { connected_max: 3, ..connector::Config::default() };
        let mut node = connector(&manager, config).await;
        let mut there = BTreeSet::new();
        while there.len() < 3 {
            there.insert(node.until(|event| connected(&event)).await);
        }
        let gone = *there.first().unwrap();
        node.with(move |swarm| swarm.disconnect_peer_id(gone)).await.unwrap();
        let next = node.until(|event| connected(&event)).await;
        assert!(!there.contains(&next), "whoever has gone has a back-off");
        let Stats { known, connected, .. } = stats(&node).await;
        assert_eq!((known, connected), (5, 3));
    })
    .await;
}

#[tokio::test]
async fn a_thousand_listed_addresses_are_no_burst_of_dials() {
    within(async {
        let listed: Vec<_> = (0..1_000).map(|_| (peer_id(), nowhere())).collect();
        let manager = knowing(&listed);
        let config = connector::Config { dials_max: 4, backoff_min: Duration::from_secs(3_600), ..Default::default() };
        let mut node = connector(&manager, config).await;
        let (mut dialling, mut most) = (BTreeSet::new(), 0);
        let mut dialled = BTreeMap::<PeerId, usize>::new();
        while dialled.len() < 1_000 || !dialling.is_empty() {
            match node.event().await {
                SwarmEvent::Dialing { peer_id: Some(peer), .. } => {
                    dialling.insert(peer);
                    most = most.max(dialling.len());
                    *dialled.entry(peer).or_default() += 1;
                }
                SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), .. } => {
                    dialling.remove(&peer);
                }
                _ => {}
            }
        }
        assert!(most <= 4, "{most} at once");
        assert!(dialled.values().all(|times| *times == 1), "nobody twice within the back-off");
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_fails_is_dialled_again_after_its_back_off_and_no_sooner() {
    within(async {
        let manager = knowing(&[(peer_id(), nowhere())]);
        let backoff_min = Duration::from_millis(200);
        let config = connector::Config { backoff_min, backoff_max: 2 * backoff_min, ..Default::default() };
        let mut node = connector(&manager, config).await;
        let is_dial = |event: SwarmEvent<_>| matches!(event, SwarmEvent::Dialing { .. }).then(std::time::Instant::now);
        let mut last = node.until(is_dial).await;
        for _ in 0..4 {
            let next = node.until(is_dial).await;
            assert!(next - last >= backoff_min, "{:?}", next - last);
            last = next;
        }
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_ends_is_made_again_after_a_back_off() {
    within(async {
        let mut target = target().await;
        let manager = knowing(&[place(&target)]);
        let config = connector::Config { backoff_min: Duration::from_millis(100), ..Default::default() };
        let node = connector(&manager, config).await;
        for _ in 0..3 {
            let peer = target.until(|event| connected(&event)).await;
            assert_eq!(peer, node.id);
            target.with(move |swarm| swarm.disconnect_peer_id(peer)).await.unwrap();
            target.until(|event| closed(&event)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn who_is_kept_is_connected_until_released_whatever_queries_say() {
    within(async {
        let mut target = target().await;
        let (manager, driver) = DiscoveryManager::new(Config::default());
        on_tokio(Box::pin(driver));
        let mut list = StaticList::default();
        list.add(target.id, [nowhere()], [namespace("chat")]);
        let source = manager.add_source(list).unwrap();
        let config = connector::Config { known_max: 1, backoff_min: Duration::from_millis(50), ..Default::default() };
        let mut node = connector(&manager, config).await;
        let (peer, address) = place(&target);
        node.with(move |swarm| swarm.behaviour_mut().keep(peer, &[address])).await;
        assert_eq!(target.until(|event| connected(&event)).await, node.id);
        // The list that had found it is gone; the connection comes back all the same.
        assert!(manager.remove_source(source));
        node.until(|event| {
            matches!(event, SwarmEvent::Behaviour(rendezvous_discovery::FindEvent::Expired(_))).then_some(())
        })
        .await;
        let other = node.id;
        target.with(move |swarm| swarm.disconnect_peer_id(other)).await.unwrap();
        target.until(|event| closed(&event)).await;
        assert_eq!(target.until(|event| connected(&event)).await, node.id);
        node.with(move |swarm| swarm.behaviour_mut().release(&peer)).await;
        assert_eq!(stats(&node).await, Stats::default());
    })
    .await;
}

#[tokio::test]
async fn a_manager_that_ends_ends_the_dials_for_it_and_not_the_behaviour() {
    within(async {
        let listed: Vec<_> = (0..10).map(|_| (peer_id(), nowhere())).collect();
        let manager = knowing(&listed);
        let mut node = connector(&manager, connector::Config::default()).await;
        let mut failures = 0;
        while failures < 10 {
            failures +=
                node.until(|event| matches!(event, SwarmEvent::OutgoingConnectionError { .. }).then_some(1)).await;
        }
        assert_eq!(stats(&node).await.known, 10);
        manager.stop().await;
        while stats(&node).await.known > 0 {
            tokio::task::yield_now().await;
        }
        // Another manager takes its place.
        let target = target().await;
        let manager = knowing(&[place(&target)]);
        let find = manager.find(Query::everything()).unwrap();
        node.with(move |swarm| swarm.behaviour_mut().add(find)).await;
        assert_eq!(node.until(|event| connected(&event)).await, target.id);
    })
    .await;
}
