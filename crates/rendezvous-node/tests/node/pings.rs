//! Peers that answer no longer.

use std::time::Duration;

use libp2p::identity::Keypair;
use rendezvous_node::{Departure, DisconnectReason, Node};

use crate::{
    common::{added, address, dropped, in_time, join, start},
    raw::Raw,
};

async fn impatient() -> Node {
    start(Node::builder().ping(Duration::from_millis(20), Duration::from_millis(200))).await
}

#[tokio::test]
async fn who_answers_no_longer_is_dropped_and_who_never_could_is_not() {
    in_time(async {
        let node = impatient().await;
        let (mut events, at) = (node.events(), address(&node).await);
        let (mut mute, mut stalled) =
            (Raw::new(Keypair::generate_ed25519(), true, false), Raw::new(Keypair::generate_ed25519(), true, true));
        mute.dial(node.id(), at.clone()).await;
        let dropping = async {
            stalled.dial(node.id(), at.clone()).await;
            let id = stalled.id();
            stalled.during(added(&mut events, id)).await;
            // A negotiation that stalls has a deadline of its own, of ten seconds.
            let answered = async {
                while node.peer(id).await.expect("it runs").is_none_or(|peer| peer.round_trip.is_none()) {
                    tokio::task::yield_now().await;
                }
            };
            stalled.during(answered).await;
            // From here on it is not polled.
            let departure = dropped(&mut events, stalled.id()).await;
            assert_eq!(departure, Departure::Local(DisconnectReason::Timeout));
        };
        mute.during(dropping).await;
        let peers: Vec<_> = node.peers().await.expect("it runs").into_iter().map(|peer| peer.id).collect();
        assert_eq!(peers, [mute.id()]);
    })
    .await;
}

#[tokio::test]
async fn of_two_connections_the_one_that_answers_no_longer_is_closed() {
    in_time(async {
        let node = impatient().await;
        let at = address(&node).await;
        let keypair = Keypair::generate_ed25519();
        let (mut stalled, mut lively) = (Raw::new(keypair.clone(), true, true), Raw::new(keypair, true, true));
        stalled.dial(node.id(), at.clone()).await;
        lively.dial(node.id(), at).await;
        let count = async |count| {
            while node.peers().await.expect("it runs").first().is_none_or(|peer| peer.connections != count) {
                tokio::task::yield_now().await;
            }
        };
        lively.during(count(2)).await;
        lively.during(count(1)).await;
        let info = node.peers().await.expect("it runs").pop().expect("it is connected");
        assert!(info.round_trip.is_some());
    })
    .await;
}

#[tokio::test]
async fn pings_keep_a_peer_and_tell_how_far_it_is() {
    in_time(async {
        let [node, peer] = [impatient().await, start(Node::builder()).await];
        join(&peer, &node).await;
        let mut times = Vec::new();
        while times.len() < 5 {
            let info = node.peer(peer.id()).await.expect("it runs").expect("it is connected");
            if let Some(time) = info.round_trip
                && times.last() != Some(&time)
            {
                times.push(time);
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}
