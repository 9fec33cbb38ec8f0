//! Why peers part, as both sides are told.

use rendezvous_node::{Departure, DisconnectReason, Node};

use crate::common::{dropped, in_time, join, start, two};

#[tokio::test]
async fn each_reason_is_told_to_the_other_side() {
    in_time(async {
        let [first, second] = two(Node::builder).await;
        let (mut first_events, mut second_events) = (first.events(), second.events());
        for reason in DisconnectReason::NAMED.into_iter().chain([77, 255].map(DisconnectReason::Other)) {
            join(&first, &second).await;
            assert!(first.disconnect(second.id(), reason).await.expect("it runs"));
            assert_eq!(dropped(&mut first_events, second.id()).await, Departure::Local(reason));
            assert_eq!(dropped(&mut second_events, first.id()).await, Departure::Remote(reason));
            join(&first, &second).await;
            assert!(second.disconnect(first.id(), reason).await.expect("it runs"));
            assert_eq!(dropped(&mut first_events, second.id()).await, Departure::Remote(reason));
            assert_eq!(dropped(&mut second_events, first.id()).await, Departure::Local(reason));
        }
    })
    .await;
}

#[tokio::test]
async fn who_is_disconnected_twice_is_told_and_reported_with_what_was_said_first() {
    in_time(async {
        let [first, second] = two(Node::builder).await;
        join(&first, &second).await;
        let (mut first_events, mut second_events) = (first.events(), second.events());
        let [is_first, is_second] = futures::future::join_all(
            [DisconnectReason::UselessPeer, DisconnectReason::Quitting].map(|it| first.disconnect(second.id(), it)),
        )
        .await
        .try_into()
        .expect("there are two");
        assert!(is_first.expect("it runs") && is_second.expect("it runs"));
        let reason = DisconnectReason::UselessPeer;
        assert_eq!(dropped(&mut first_events, second.id()).await, Departure::Local(reason));
        assert_eq!(dropped(&mut second_events, first.id()).await, Departure::Remote(reason));
    })
    .await;
}

#[tokio::test]
async fn both_sides_may_disconnect_at_once() {
    in_time(async {
        let [first, second] = two(Node::builder).await;
        let (mut first_events, mut second_events) = (first.events(), second.events());
        for _ in 0..20 {
            join(&first, &second).await;
            let reason = DisconnectReason::UselessPeer;
            let (a, b) = tokio::join!(first.disconnect(second.id(), reason), second.disconnect(first.id(), reason));
            assert!(a.expect("it runs") || b.expect("it runs"));
            for departure in
                [dropped(&mut first_events, second.id()).await, dropped(&mut second_events, first.id()).await]
            {
                assert!(
                    matches!(departure, Departure::Local(it) | Departure::Remote(it) if it == reason),
                    "{departure}"
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn nobody_is_disconnected_who_is_not_connected() {
    in_time(async {
        let [first, second] = two(Node::builder).await;
        assert!(!first.disconnect(second.id(), DisconnectReason::Requested).await.expect("it runs"));
        join(&first, &second).await;
        let mut events = first.events();
        second.stop().await;
        assert_eq!(dropped(&mut events, second.id()).await, Departure::Remote(DisconnectReason::Quitting));
        assert!(!first.disconnect(second.id(), DisconnectReason::Requested).await.expect("it runs"));
    })
    .await;
}

#[tokio::test]
async fn dropping_one_peer_leaves_the_other() {
    in_time(async {
        let [first, second] = two(Node::builder).await;
        let third = start(Node::builder()).await;
        join(&second, &first).await;
        join(&third, &first).await;
        let mut events = first.events();
        first.disconnect(second.id(), DisconnectReason::UselessPeer).await.expect("it runs");
        dropped(&mut events, second.id()).await;
        let peers: Vec<_> = first.peers().await.expect("it runs").into_iter().map(|peer| peer.id).collect();
        assert_eq!(peers, [third.id()]);
    })
    .await;
}

/// With several threads the end of the connection, which follows the goodbye, can overtake it on the way to the node's task.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_end_of_a_connection_does_not_overtake_its_reason() {
    in_time(async {
        let [first, second] = two(Node::builder).await;
        let mut events = second.events();
        for _ in 0..200 {
            join(&first, &second).await;
            first.stop().await;
            assert_eq!(dropped(&mut events, first.id()).await, Departure::Remote(DisconnectReason::Quitting));
            first.start().await.expect("it starts again");
        }
    })
    .await;
}
