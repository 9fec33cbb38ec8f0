//! Peers that are kept connected.

use std::time::Duration;

use libp2p::multiaddr::Protocol;
use rendezvous_node::{Builder, Departure, DisconnectReason, Event, Identity, Node};

use crate::common::{added, address, dropped, event, in_time, start, tcp};

fn quickly() -> Builder {
    Node::builder().redial(Duration::from_millis(10), Duration::from_millis(20))
}

#[tokio::test]
async fn a_static_peer_is_dialled_and_dialled_again_when_it_comes_back() {
    in_time(async {
        let peer = start(Node::builder().identity(Identity::Seed(1))).await;
        let at = address(&peer).await;
        let node = start(quickly().static_peer(at.clone())).await;
        let mut events = node.events();
        if node.peers().await.expect("it runs").is_empty() {
            added(&mut events, peer.id()).await;
        }
        for _ in 0..3 {
            peer.stop().await;
            assert_eq!(dropped(&mut events, peer.id()).await, Departure::Remote(DisconnectReason::Quitting));
            peer.start().await.expect("it starts again");
            // It is elsewhere, since the system chooses the port.
            node.add_peer(peer.id(), [bare(&address(&peer).await)]).await.expect("it runs");
            added(&mut events, peer.id()).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_static_peer_that_is_away_at_first_is_connected_when_it_comes() {
    in_time(async {
        let peer = start(Node::builder().identity(Identity::Seed(2))).await;
        let at = address(&peer).await;
        peer.stop().await;
        let node = start(quickly().static_peer(at.clone())).await;
        let mut events = node.events();
        let peer =
            Node::builder().identity(Identity::Seed(2)).listen(bare(&at)).build().expect("the settings are right");
        peer.start().await.expect("the port is free again");
        added(&mut events, peer.id()).await;
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_is_added_is_connected_again_when_it_was_disconnected() {
    in_time(async {
        let [node, peer] = [start(quickly()).await, start(Node::builder()).await];
        let mut events = node.events();
        node.add_peer(peer.id(), [bare(&address(&peer).await)]).await.expect("it runs");
        added(&mut events, peer.id()).await;
        assert!(node.disconnect(peer.id(), DisconnectReason::Requested).await.expect("it runs"));
        assert_eq!(dropped(&mut events, peer.id()).await, Departure::Local(DisconnectReason::Requested));
        added(&mut events, peer.id()).await;
        let info = node.peer(peer.id()).await.expect("it runs").expect("it is connected");
        assert!(info.is_static);
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_is_removed_is_disconnected_and_not_dialled_again() {
    in_time(async {
        let [node, peer, other] = [
            start(quickly()).await,
            start(Node::builder()).await,
            start(Node::builder().identity(Identity::Seed(3))).await,
        ];
        let mut events = node.events();
        node.add_peer(peer.id(), [bare(&address(&peer).await)]).await.expect("it runs");
        node.add_peer(other.id(), [bare(&address(&other).await)]).await.expect("it runs");
        added(&mut events, peer.id()).await;
        assert!(node.remove_peer(peer.id()).await.expect("it runs"));
        assert_eq!(dropped(&mut events, peer.id()).await, Departure::Local(DisconnectReason::Requested));
        assert!(!node.remove_peer(peer.id()).await.expect("it runs"), "it is kept no longer");
        // As a clock serves a peer that is dialled again each time.
        for _ in 0..5 {
            node.disconnect(other.id(), DisconnectReason::Requested).await.expect("it runs");
            event(&mut events, |event| match event {
                Event::PeerAdded { peer: it, .. } => {
                    assert_ne!(it, peer.id(), "it was removed");
                    Some(())
                }
                _ => None,
            })
            .await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_list_of_peers_that_names_the_node_itself_is_the_same_list() {
    in_time(async {
        let identity = Identity::Seed(4);
        let id = identity.keypair().expect("seeds are keys").public().to_peer_id();
        let own = tcp().with(Protocol::P2p(id));
        let node = start(quickly().identity(identity).static_peer(own.clone()).point(own.clone()).bootstrap(own)).await;
        node.add_peer(id, [tcp()]).await.expect("it runs");
        assert!(!node.remove_peer(id).await.expect("it runs"), "nobody keeps himself connected");
    })
    .await;
}

fn bare(address: &libp2p::Multiaddr) -> libp2p::Multiaddr {
    address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}
