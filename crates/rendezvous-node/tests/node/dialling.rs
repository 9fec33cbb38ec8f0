//! Connections that are wanted, and what comes of it.

use std::{net::TcpListener, time::Duration};

use libp2p::{Multiaddr, PeerId, identity::Keypair, multiaddr::Protocol};
use rendezvous_node::{ConnectError, Departure, DisconnectReason, Event, Identity, Node};

use crate::{
    common::{added, address, check_order, dropped, event, in_time, join, listening, start, two, until_dropped},
    raw::Raw,
};

fn bare(address: &Multiaddr) -> Multiaddr {
    address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}

fn by_name(address: &Multiaddr) -> Multiaddr {
    let named = |part| if matches!(part, Protocol::Ip4(_)) { Protocol::Dns4("localhost".into()) } else { part };
    bare(address).iter().map(named).collect()
}

/// Somebody who takes connections and says nothing, and where.
fn silent() -> (TcpListener, Multiaddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be listened on");
    let port = listener.local_addr().expect("it listens").port();
    (listener, format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("it is an address"))
}

#[tokio::test]
async fn another_peer_at_the_address_is_found_out() {
    in_time(async {
        let [first, second] = two(Node::builder).await;
        let error = first.connect(PeerId::random(), [bare(&address(&second).await)]).await.expect_err("it is another");
        assert!(matches!(error, ConnectError::UnexpectedIdentity { found } if found == second.id()), "{error:?}");
        assert!(first.peers().await.expect("it runs").is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_node_does_not_connect_to_itself() {
    in_time(async {
        let node = start(Node::builder()).await;
        let own = address(&node).await;
        let error = node.dial(&own).await.expect_err("it is its own address");
        assert!(matches!(error, ConnectError::Own { peer } if peer == node.id()), "{error:?}");
        let error = node.connect(PeerId::random(), [bare(&own)]).await.expect_err("nobody else is there");
        assert!(matches!(error, ConnectError::NoAddresses { .. }), "{error:?}");
        node.connect(PeerId::random(), [by_name(&own)]).await.expect_err("nobody else is there");
        assert!(node.peers().await.expect("it runs").is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_peer_of_whom_no_address_is_known_is_not_connected() {
    in_time(async {
        let (node, peer) = (start(Node::builder()).await, PeerId::random());
        let error = node.connect(peer, []).await.expect_err("nobody knows where it is");
        assert!(matches!(error, ConnectError::NoAddresses { peer: it } if it == peer), "{error:?}");
        let error = node.dial(&bare(&address(&node).await)).await.expect_err("it names nobody");
        assert!(matches!(error, ConnectError::NoAddresses { peer } if peer == node.id()), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_unreachable() {
    in_time(async {
        let (node, peer) = (start(Node::builder().dial_timeout(Duration::from_millis(100))).await, PeerId::random());
        let (listener, nobody) = silent();
        let error = node.connect(peer, [nobody.clone()]).await.expect_err("it says nothing");
        assert!(matches!(error, ConnectError::Unreachable { peer: it, .. } if it == peer), "{error:?}");
        drop(listener);
        let error = node.connect(peer, [nobody]).await.expect_err("nobody listens");
        assert!(matches!(error, ConnectError::Unreachable { peer: it, .. } if it == peer), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn everybody_who_waits_for_a_peer_is_answered() {
    in_time(async {
        let [first, second] = two(Node::builder).await;
        let at = address(&second).await;
        let dials = futures::future::join_all((0..32).map(|_| first.dial(&at))).await;
        assert!(dials.into_iter().all(|dial| dial.is_ok()));
        first.dial(&at).await.expect("it is connected");
        let info = first.peer(second.id()).await.expect("it runs").expect("it is connected");
        assert_eq!(info.connections, 1);
        let failed = futures::future::join_all((0..32).map(|_| first.connect(PeerId::random(), []))).await;
        assert!(failed.into_iter().all(|dial| dial.is_err()));
    })
    .await;
}

#[tokio::test]
async fn an_address_is_tried_although_a_dial_to_another_is_under_way() {
    in_time(async {
        let peer = start(Node::builder()).await;
        let at = address(&peer).await;
        let (_listener, nowhere) = silent();
        let node = start(Node::builder().dial_timeout(Duration::from_millis(200))).await;
        let (bad, good) = tokio::join!(node.connect(peer.id(), [nowhere]), node.dial(&at));
        assert!(matches!(bad, Err(ConnectError::Unreachable { .. })), "{bad:?}");
        good.expect("it is there");
    })
    .await;
}

#[tokio::test]
async fn an_address_is_tried_although_the_node_dials_another_by_itself() {
    in_time(async {
        let peer = start(Node::builder()).await;
        let at = address(&peer).await;
        let (_listener, nowhere) = silent();
        let node = start(
            Node::builder()
                .dial_timeout(Duration::from_millis(200))
                .static_peer(nowhere.with(Protocol::P2p(peer.id())))
                .redial(Duration::from_secs(600), Duration::from_secs(600)),
        )
        .await;
        node.dial(&at).await.expect("it is there");
    })
    .await;
}

#[tokio::test]
async fn a_static_peer_is_found_without_being_told_where_it_is() {
    in_time(async {
        let [first, second] = two(|| Node::builder().redial(Duration::from_secs(600), Duration::from_secs(600))).await;
        let mut events = first.events();
        first.add_peer(second.id(), [bare(&address(&second).await)]).await.expect("it runs");
        added(&mut events, second.id()).await;
        first.disconnect(second.id(), DisconnectReason::Requested).await.expect("it runs");
        dropped(&mut events, second.id()).await;
        first.connect(second.id(), []).await.expect("it was told before");
    })
    .await;
}

#[tokio::test]
async fn who_connects_to_a_peer_that_is_being_disconnected_is_connected_anew() {
    in_time(async {
        let [first, second] = two(Node::builder).await;
        let at = address(&second).await;
        let mut events = first.events();
        for _ in 0..20 {
            first.dial(&at).await.expect("it is there");
            added(&mut events, second.id()).await;
            first.disconnect(second.id(), DisconnectReason::UselessPeer).await.expect("it runs");
            first.dial(&at).await.expect("it is there again");
            assert_eq!(dropped(&mut events, second.id()).await, Departure::Local(DisconnectReason::UselessPeer));
            added(&mut events, second.id()).await;
            first.disconnect(second.id(), DisconnectReason::Requested).await.expect("it runs");
            assert_eq!(dropped(&mut events, second.id()).await, Departure::Local(DisconnectReason::Requested));
        }
    })
    .await;
}

#[tokio::test]
async fn the_place_of_a_peer_that_is_being_disconnected_is_its_own() {
    in_time(async {
        let [first, second] = two(|| Node::builder().peers_max(1)).await;
        join(&first, &second).await;
        first.disconnect(second.id(), DisconnectReason::Requested).await.expect("it runs");
        first.dial(&address(&second).await).await.expect("there is room for the same peer");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_dial_each_other_at_once_are_one_peer_with_one_session() {
    in_time(async {
        for _ in 0..10 {
            let [first, second] = two(|| Node::builder().sub_protocol(listening("it"))).await;
            let (mut first_events, mut second_events) = (first.events(), second.events());
            let (to_first, to_second) = (address(&first).await, address(&second).await);
            let (there, back) = tokio::join!(first.dial(&to_second), second.dial(&to_first));
            there.and(back).expect("both are there");
            for events in [&mut first_events, &mut second_events] {
                crate::common::session_started(events, "it").await;
            }
            for node in [&first, &second] {
                assert_eq!(node.info().await.expect("it runs").peers, 1);
            }
            first.stop().await;
            let rest = until_dropped(&mut second_events, first.id()).await;
            assert!(!rest.iter().any(|event| matches!(event, Event::SessionStarted { .. })), "{rest:#?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_peer_of_several_connections_is_one_peer_until_the_last_is_gone() {
    in_time(async {
        let node = start(Node::builder()).await;
        let mut events = node.events();
        let mut peer = Raw::new(Keypair::generate_ed25519(), true, true);
        let (id, at) = (peer.id(), address(&node).await);
        let connections = [peer.dial(node.id(), at.clone()).await, peer.dial(node.id(), at).await];
        let count = async |count| {
            while node.peer(id).await.expect("it runs").is_none_or(|peer| peer.connections != count) {
                tokio::task::yield_now().await;
            }
        };
        peer.during(count(2)).await;
        assert_eq!(node.info().await.expect("it runs").peers, 1);
        assert!(peer.swarm.close_connection(connections[0]));
        peer.during(count(1)).await;
        assert!(peer.swarm.close_connection(connections[1]));
        let all = peer.during(until_dropped(&mut events, id)).await;
        check_order(&all);
        assert_eq!(all.last(), Some(&Event::PeerDropped { peer: id, departure: Departure::Lost }));
        assert!(node.peers().await.expect("it runs").is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_dial_that_nobody_waits_for_any_more_harms_nobody() {
    in_time(async {
        let [first, second] = two(Node::builder).await;
        let at = address(&second).await;
        for _ in 0..50 {
            let dial = first.dial(&at);
            let mut dial = core::pin::pin!(dial);
            assert!(futures::poll!(&mut dial).is_pending());
        }
        first.dial(&at).await.expect("it is there");
    })
    .await;
}

#[tokio::test]
async fn names_in_addresses_are_looked_up() {
    in_time(async {
        let [first, second] = two(Node::builder).await;
        let at = by_name(&address(&second).await).with_p2p(second.id()).expect("it names nobody else");
        first.dial(&at).await.expect("it is there");
    })
    .await;
}

#[tokio::test]
async fn a_peer_is_told_with_the_address_at_which_it_is() {
    in_time(async {
        let [first, second] = two(|| Node::builder().identity(Identity::Generated)).await;
        let mut events = first.events();
        let at = address(&second).await;
        first.dial(&at).await.expect("it is there");
        let remote = event(&mut events, |event| match event {
            Event::PeerAdded { remote_addr, .. } => Some(remote_addr),
            _ => None,
        });
        assert_eq!(bare(&remote.await), bare(&at));
    })
    .await;
}
