//! How many peers there may be, and who is admitted above that.

use std::time::Duration;

use futures::StreamExt as _;
use libp2p::{StreamProtocol, identity::Keypair, swarm::SwarmEvent};
use rendezvous_node::{Builder, ConnectError, Departure, DisconnectReason, Node};
use tokio::net::TcpStream;

use crate::{
    common::{added, address, dropped, in_time, join, refused, start},
    raw::Raw,
};

fn one_peer() -> Builder {
    Node::builder().peers_max(1)
}

#[tokio::test]
async fn who_is_one_too_many_is_told_so_on_both_sides() {
    in_time(async {
        let [full, first, second] =
            [start(one_peer()).await, start(Node::builder()).await, start(Node::builder()).await];
        join(&first, &full).await;
        let (mut full_events, mut second_events) = (full.events(), second.events());
        second.dial(&address(&full).await).await.expect("the connection comes about, to be told");
        assert_eq!(refused(&mut full_events).await, (second.id(), DisconnectReason::TooManyPeers));
        let departure = dropped(&mut second_events, full.id()).await;
        assert_eq!(departure, Departure::Remote(DisconnectReason::TooManyPeers));
        let peers: Vec<_> = full.peers().await.expect("it runs").into_iter().map(|peer| peer.id).collect();
        assert_eq!(peers, [first.id()]);
    })
    .await;
}

#[tokio::test]
async fn who_is_turned_away_does_not_come_in_again_while_it_is_told_so() {
    in_time(async {
        let [full, first] = [start(one_peer()).await, start(Node::builder()).await];
        join(&first, &full).await;
        let mut raw = Raw::new(Keypair::generate_ed25519(), false, false);
        // It does not read what it is told, and so holds the connection for as long as it may.
        let goodbye = StreamProtocol::new("/rendezvous/goodbye/1.0.0");
        let _goodbyes = raw.swarm.behaviour().streams.control().accept(goodbye).expect("nobody else accepts them");
        let address = address(&full).await;
        let told = raw.dial(full.id(), address.clone()).await;
        let again = raw.dial(full.id(), address).await;
        let mut closed = Vec::new();
        while closed.len() < 2 {
            if let SwarmEvent::ConnectionClosed { connection_id, .. } = raw.swarm.select_next_some().await {
                closed.push(connection_id);
            }
        }
        assert_eq!(closed, [again, told]);
        assert_eq!(full.peers().await.expect("it runs").len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_place_that_falls_free_is_taken() {
    in_time(async {
        let [full, first, second] =
            [start(one_peer()).await, start(Node::builder()).await, start(Node::builder()).await];
        join(&first, &full).await;
        let mut events = full.events();
        first.stop().await;
        dropped(&mut events, first.id()).await;
        join(&second, &full).await;
    })
    .await;
}

#[tokio::test]
async fn strangers_take_two_thirds_of_the_room_and_no_more() {
    in_time(async {
        let node = start(Node::builder().peers_max(3)).await;
        let mut events = node.events();
        let strangers = [start(Node::builder()).await, start(Node::builder()).await];
        for stranger in &strangers {
            join(stranger, &node).await;
        }
        let stranger = start(Node::builder()).await;
        stranger.dial(&address(&node).await).await.expect("it is told on the connection");
        assert_eq!(refused(&mut events).await.0, stranger.id());
        let chosen = start(Node::builder()).await;
        node.dial(&address(&chosen).await).await.expect("there is room for whom the node chooses");
        let another = start(Node::builder()).await;
        let error = node.dial(&address(&another).await).await.expect_err("there is no more room");
        assert!(matches!(error, ConnectError::TooManyPeers { max: 3 }), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn the_bound_on_strangers_can_be_set() {
    in_time(async {
        let node = start(Node::builder().inbound_max(0)).await;
        let (mut events, stranger) = (node.events(), start(Node::builder()).await);
        stranger.dial(&address(&node).await).await.expect("it is told on the connection");
        assert_eq!(refused(&mut events).await.0, stranger.id());
    })
    .await;
}

#[tokio::test]
async fn static_and_trusted_peers_are_admitted_above_the_cap() {
    in_time(async {
        let [kept, trusted, stranger] =
            [start(Node::builder()).await, start(Node::builder()).await, start(Node::builder()).await];
        let builder = Node::builder().peers_max(0).static_peer(address(&kept).await).trusted_peer(trusted.id());
        let full = start(builder).await;
        let mut events = full.events();
        stranger.dial(&address(&full).await).await.expect("it is told on the connection");
        assert_eq!(refused(&mut events).await.0, stranger.id());
        join(&trusted, &full).await;
        kept.dial(&address(&full).await).await.expect("it is kept");
        let mut admitted: Vec<_> = full.peers().await.expect("it runs");
        admitted.sort_by_key(|peer| peer.is_trusted);
        assert_eq!(admitted.iter().map(|peer| peer.id).collect::<Vec<_>>(), [kept.id(), trusted.id()]);
        assert!(admitted[0].is_static && admitted[1].is_trusted && !admitted[1].is_static);
    })
    .await;
}

#[tokio::test]
async fn trust_is_given_and_taken_while_a_node_runs() {
    in_time(async {
        let [full, peer] = [start(Node::builder().peers_max(0)).await, start(Node::builder()).await];
        full.add_trusted(peer.id()).await.expect("it runs");
        let mut events = full.events();
        join(&peer, &full).await;
        assert!(full.remove_trusted(peer.id()).await.expect("it runs"));
        assert!(!full.remove_trusted(peer.id()).await.expect("it runs"), "once only");
        let info = full.peer(peer.id()).await.expect("it runs").expect("it stays connected");
        assert!(!info.is_trusted);
        full.disconnect(peer.id(), DisconnectReason::Requested).await.expect("it runs");
        dropped(&mut events, peer.id()).await;
        peer.dial(&address(&full).await).await.expect("it is told on the connection");
        assert_eq!(refused(&mut events).await.0, peer.id());
    })
    .await;
}

#[tokio::test]
async fn points_and_peers_to_start_from_are_kept_whoever_else_is_there() {
    in_time(async {
        let [point, first] =
            [start(Node::builder().serve_rendezvous(Default::default())).await, start(Node::builder()).await];
        let builder = Node::builder().peers_max(0).point(address(&point).await).bootstrap(address(&first).await);
        let node = builder.listen(crate::common::tcp()).build().expect("the settings are right");
        let mut events = node.events();
        node.start().await.expect("loopback can be listened on");
        let mut waiting = vec![point.id(), first.id()];
        while !waiting.is_empty() {
            let peer = crate::common::event(&mut events, |event| match event {
                rendezvous_node::Event::PeerAdded { peer, .. } => Some(peer),
                _ => None,
            });
            let peer = peer.await;
            waiting.retain(|it| *it != peer);
        }
        assert!(node.peers().await.expect("it runs").iter().all(|peer| peer.is_static));
        assert!(!node.remove_peer(point.id()).await.expect("it runs"), "it is kept as a point");
        added(&mut events, point.id()).await;
    })
    .await;
}

#[tokio::test]
async fn handshakes_that_do_not_go_on_keep_others_out_until_they_end_and_not_longer() {
    in_time(async {
        // A static peer has no way in either: who it is shows in the handshake.
        let peer = start(Node::builder()).await;
        let node =
            start(Node::builder().pending_max(2).trusted_peer(peer.id()).dial_timeout(Duration::from_secs(60))).await;
        let address = address(&node).await;
        let at = address.iter().find_map(|part| match part {
            libp2p::multiaddr::Protocol::Tcp(port) => Some(port),
            _ => None,
        });
        let at = ("127.0.0.1", at.expect("it listens on TCP"));
        let silent =
            [TcpStream::connect(at).await.expect("it listens"), TcpStream::connect(at).await.expect("it listens")];
        let error = peer.dial(&address).await.expect_err("there is no room for another handshake");
        assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
        // Handshakes are for others: this node dials as it likes.
        node.dial(&crate::common::address(&peer).await).await.expect("it is there");
        let another = start(Node::builder()).await;
        another.dial(&address).await.expect_err("it is as before");
        drop(silent);
        while another.dial(&address).await.is_err() {}
    })
    .await;
}

#[tokio::test]
async fn handshakes_that_do_not_go_on_end() {
    in_time(async {
        let node = start(Node::builder().pending_max(1).dial_timeout(Duration::from_millis(100))).await;
        let address = address(&node).await;
        let at = address.iter().find_map(|part| match part {
            libp2p::multiaddr::Protocol::Tcp(port) => Some(port),
            _ => None,
        });
        let _silent = TcpStream::connect(("127.0.0.1", at.expect("it listens on TCP"))).await.expect("it listens");
        let peer = start(Node::builder()).await;
        while peer.dial(&address).await.is_err() {}
    })
    .await;
}

#[tokio::test]
async fn connections_from_one_network_are_bounded() {
    in_time(async {
        let mut limits = rendezvous_swarm::limits::Config::default();
        limits.connections_per_prefix_max = 1;
        let [node, first, second] =
            [start(Node::builder().limits(limits)).await, start(Node::builder()).await, start(Node::builder()).await];
        join(&first, &node).await;
        second.dial(&address(&node).await).await.expect_err("the network has its connection");
        node.add_trusted(second.id()).await.expect("it runs");
        join(&second, &node).await;
    })
    .await;
}
