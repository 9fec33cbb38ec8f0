//! Peers that are found.

use std::time::Duration;

use futures::StreamExt as _;
use libp2p::{Multiaddr, StreamProtocol};
use rendezvous_node::{
    Builder, DisconnectReason, Event, Kademlia, Node,
    discovery::{Advertisement, Find, FindEvent, Namespace, Query, Timing},
};

use rendezvous_swarm::server::{self, Dialects};

use crate::common::{address, dropped, event, identified, in_time, join, start};

fn often() -> Timing {
    Timing { ttr: Duration::from_millis(20), tta: Duration::from_millis(500), ..Timing::default() }
}

async fn point() -> Node {
    start(Node::builder().peers_max(50).serve_rendezvous(Default::default())).await
}

async fn user_of(point: &Node) -> Builder {
    Node::builder().timing(often()).point(address(point).await)
}

fn chat() -> Namespace {
    Namespace::new("chat").expect("it is a name")
}

async fn advertise(node: &Node) -> Advertisement {
    let mut advertisement = node.discovery().expect("it runs").advertise(chat()).expect("it runs");
    advertisement.advertised().await.expect("a source takes it");
    advertisement
}

fn find(node: &Node) -> Find {
    node.discovery().expect("it runs").find(chat()).expect("it runs")
}

/// Waits until a peer is found; gives its addresses.
async fn found(find: &mut Find, node: &Node) -> Vec<Multiaddr> {
    loop {
        match find.next().await.expect("the node runs") {
            FindEvent::Found(peer) | FindEvent::Updated(peer) if peer.id() == node.id() => {
                return peer.addresses().to_vec();
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn who_advertises_is_found_and_called_until_it_stops() {
    in_time(async {
        let point = point().await;
        let [advertiser, finder] = [start(user_of(&point).await).await, start(user_of(&point).await).await];
        let _advertisement = advertise(&advertiser).await;
        let at = found(&mut find(&finder), &advertiser).await;
        assert_eq!(at.len(), 1, "{at:?}");
        finder.connect(advertiser.id(), at).await.expect("it is there");
        advertiser.stop().await;
        // Another asks, who has found nobody before.
        let another = start(user_of(&point).await).await;
        let left = another.discovery().expect("it runs").refresh(chat()).await.expect("it runs");
        assert!(left.is_empty(), "what a node advertises is withdrawn when it stops: {left:?}");
    })
    .await;
}

#[tokio::test]
async fn nodes_find_each_other_at_a_point_that_speaks_the_dialect_of_waku_alone() {
    in_time(async {
        let mut config = server::Config::default();
        config.dialects = Dialects::WAKU;
        let point = start(Node::builder().serve_rendezvous(config)).await;
        let point_address = address(&point).await;
        let node = || start(Node::builder().timing(often()).waku_point(point_address.clone()));
        let [advertiser, finder] = [node().await, node().await];
        let _advertisement = advertise(&advertiser).await;
        let at = found(&mut find(&finder), &advertiser).await;
        finder.connect(advertiser.id(), at).await.expect("it is there");
    })
    .await;
}

#[tokio::test]
async fn a_point_is_used_and_left_while_a_node_runs() {
    in_time(async {
        let point = point().await;
        let node = start(Node::builder().timing(often())).await;
        let (id, at) = rendezvous_at(&point).await;
        let mut events = node.events();
        node.add_point(id, [at]).await.expect("it runs");
        drop(advertise(&node).await);
        assert_eq!(node.info().await.expect("it runs").points, [id]);
        crate::common::added(&mut events, id).await;
        assert!(node.remove_point(id).await.expect("it runs"));
        assert!(!node.remove_point(id).await.expect("it runs"), "once only");
        assert!(node.info().await.expect("it runs").points.is_empty());
        let info = node.peer(id).await.expect("it runs").expect("it stays connected");
        assert!(!info.is_static);
    })
    .await;
}

#[tokio::test]
async fn found_peers_are_connected_within_their_bound() {
    in_time(async {
        let point = point().await;
        let mut advertisers = Vec::new();
        for _ in 0..3 {
            let node = start(user_of(&point).await).await;
            let advertisement = advertise(&node).await;
            advertisers.push((node, advertisement));
        }
        let finder = start(user_of(&point).await.connected_max(2)).await;
        let mut events = finder.events();
        let mut finding = find(&finder);
        finder.connect_to(chat()).await.expect("it runs");
        let mut connected = Vec::new();
        while connected.len() < 2 {
            let next = event(&mut events, |event| match event {
                Event::PeerAdded { peer, .. } if peer != point.id() => Some(peer),
                _ => None,
            });
            connected.push(next.await);
        }
        for _ in 0..3 {
            finding.next().await.expect("all are found");
        }
        let peers = finder.discovery().expect("it runs").refresh(chat()).await.expect("it runs");
        assert_eq!(peers.iter().filter(|peer| peer.id() != finder.id()).count(), 3);
        assert_eq!(finder.peers().await.expect("it runs").len(), 3, "two of them, and the point");
        assert!(connected.iter().all(|peer| advertisers.iter().any(|(node, _)| node.id() == *peer)));
    })
    .await;
}

#[tokio::test]
async fn nobody_is_dialled_to_be_turned_away() {
    in_time(async {
        let point = point().await;
        let other = start(Node::builder()).await;
        let mut advertisers = Vec::new();
        for _ in 0..3 {
            let node = start(user_of(&point).await).await;
            let (advertisement, events) = (advertise(&node).await, node.events());
            advertisers.push((node, advertisement, events));
        }
        let redial = Duration::from_millis(20);
        let full = user_of(&point).await.peers_max(0).static_peer(address(&other).await).redial(redial, redial);
        let full = start(full).await;
        let (mut events, id) = (full.events(), full.id());
        full.connect_to(chat()).await.expect("it runs");
        let mut finding = find(&full);
        for (node, ..) in &advertisers {
            found(&mut finding, node).await;
        }
        // As a clock serves a peer that is dialled again each time.
        for _ in 0..5 {
            full.disconnect(other.id(), DisconnectReason::Requested).await.expect("it runs");
            crate::common::added(&mut events, other.id()).await;
        }
        full.stop().await;
        drop(full);
        let told: Vec<Event> = events.collect().await;
        assert!(!told.iter().any(|event| matches!(event, Event::PeerRefused { .. })), "{told:#?}");
        for (node, advertisement, events) in advertisers {
            drop((node, advertisement));
            let told: Vec<Event> = events.collect().await;
            assert!(
                !told.iter().any(|event| matches!(event, Event::PeerAdded { peer, .. } if *peer == id)),
                "{told:#?}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn connected_peers_that_serve_are_used_as_points_while_they_are_connected() {
    in_time(async {
        let point = point().await;
        let node = start(Node::builder().timing(often()).use_connected_points(true)).await;
        let mut events = node.events();
        join(&node, &point).await;
        identified(&mut events, point.id()).await;
        assert_eq!(node.info().await.expect("it runs").points, [point.id()]);
        drop(advertise(&node).await);
        node.disconnect(point.id(), DisconnectReason::Requested).await.expect("it runs");
        dropped(&mut events, point.id()).await;
        assert!(node.info().await.expect("it runs").points.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_point_that_was_named_is_used_beyond_its_connection() {
    in_time(async {
        let point = point().await;
        let node = start(
            Node::builder().use_connected_points(true).redial(Duration::from_secs(600), Duration::from_secs(600)),
        )
        .await;
        let mut events = node.events();
        join(&node, &point).await;
        identified(&mut events, point.id()).await;
        let (id, at) = rendezvous_at(&point).await;
        node.add_point(id, [at]).await.expect("it runs");
        node.disconnect(id, DisconnectReason::Requested).await.expect("it runs");
        dropped(&mut events, id).await;
        assert_eq!(node.info().await.expect("it runs").points, [id]);
    })
    .await;
}

#[tokio::test]
async fn what_is_advertised_are_the_addresses_that_were_named() {
    in_time(async {
        let point = point().await;
        let named: Multiaddr = "/ip4/192.0.2.7/tcp/4001".parse().expect("it is an address");
        let advertiser = start(user_of(&point).await.external(named.clone())).await;
        let finder = start(user_of(&point).await).await;
        let _advertisement = advertise(&advertiser).await;
        assert_eq!(found(&mut find(&finder), &advertiser).await, [named]);
    })
    .await;
}

#[tokio::test]
async fn peers_of_a_dht_are_found_by_those_who_know_one_of_them() {
    in_time(async {
        let dht =
            || Kademlia { protocol: StreamProtocol::new("/test/kad/1.0.0"), timing: often(), ..Kademlia::default() };
        let first = start(Node::builder().kademlia(dht())).await;
        let joining = async || Node::builder().kademlia(dht()).bootstrap(address(&first).await);
        let [second, third] = [start(joining().await).await, start(joining().await).await];
        let _advertisement = advertise(&second).await;
        let query = Query::from(chat());
        let mut finding = third.discovery().expect("it runs").find(query).expect("it runs");
        let at = found(&mut finding, &second).await;
        third.connect(second.id(), at).await.expect("it is there");
    })
    .await;
}

async fn rendezvous_at(point: &Node) -> (libp2p::PeerId, Multiaddr) {
    let info = point.info().await.expect("it runs");
    (info.id, info.listen_addrs[0].clone())
}
