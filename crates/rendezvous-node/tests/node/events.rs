//! What a node tells, and in which order.

use std::mem::{Discriminant, discriminant};

use futures::StreamExt as _;
use libp2p::identity::Keypair;
use rendezvous_node::{
    Departure, DisconnectReason, EVENTS_MAX, Event, Node,
    sub_protocol::{End, Messages, Peer, SubProtocol},
};

use crate::{
    common::{address, check_order, in_time, join, listening, sub_protocol, two, until_dropped},
    raw::Raw,
};

/// Sends a message, receives one, and waits for another that does not come.
fn exchange() -> SubProtocol {
    sub_protocol("exchange", async |_: Peer, mut messages: Messages| {
        messages.send(3, "foo").await?;
        messages.recv().await?;
        messages.recv().await?;
        Ok(End::Finished)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_s_events_are_in_order() {
    in_time(async {
        let [first, second] = two(|| Node::builder().sub_protocol(exchange()).sub_protocol(listening("other"))).await;
        let mut events = [first.events(), second.events()];
        let mut also = [first.events(), second.events()];
        join(&second, &first).await;
        for events in &mut also {
            let (mut is_sent, mut is_received) = (false, false);
            crate::common::event(events, |event| {
                is_sent |= matches!(event, Event::MessageSent { code: 3, size_bytes: 4, .. });
                is_received |= matches!(event, Event::MessageReceived { code: 3, size_bytes: 4, .. });
                (is_sent && is_received).then_some(())
            })
            .await;
        }
        first.disconnect(second.id(), DisconnectReason::UselessPeer).await.expect("it runs");
        for (events, other) in events.iter_mut().zip([second.id(), first.id()]) {
            let all = until_dropped(events, other).await;
            check_order(&all);
            let of_exchange = |event: &&Event| {
                !matches!(event, Event::SessionStarted { sub_protocol, .. } | Event::SessionEnded { sub_protocol, .. }
                    if sub_protocol == "other")
            };
            let mut kinds: Vec<Discriminant<Event>> = all.iter().filter(of_exchange).map(discriminant).collect();
            assert_eq!(kinds.len(), 7, "{all:#?}");
            // Which of the two messages is first is not said.
            kinds.remove(3);
            let is = |place: usize, event: &dyn Fn(&Event) -> bool| {
                all.iter().filter(of_exchange).enumerate().any(|(at, it)| at == place && event(it))
            };
            assert!(is(0, &|event| matches!(event, Event::PeerAdded { .. })), "{all:#?}");
            assert!(is(1, &|event| matches!(event, Event::PeerIdentified { .. })), "{all:#?}");
            assert!(is(2, &|event| matches!(event, Event::SessionStarted { version: 1, .. })), "{all:#?}");
            let reason = DisconnectReason::UselessPeer;
            assert!(
                is(5, &|event| matches!(event, Event::SessionEnded { reason: it, .. } if *it == reason)),
                "{all:#?}"
            );
            assert!(is(6, &|event| matches!(event, Event::PeerDropped { .. })), "{all:#?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_peer_that_is_lost_is_told_behind_the_ends_of_its_sessions() {
    in_time(async {
        let builder = || Node::builder().sub_protocol(listening("one")).sub_protocol(listening("two"));
        let [node, _] = two(builder).await;
        let mut events = node.events();
        let at = address(&node).await;
        let mut keypair = Keypair::generate_ed25519();
        while keypair.public().to_peer_id() > node.id() {
            keypair = Keypair::generate_ed25519();
        }
        let mut peer = Raw::new(keypair, true, true);
        peer.dial(node.id(), at).await;
        let _one = peer.open(node.id(), "/rendezvous/sub/one/1").await;
        let _two = peer.open(node.id(), "/rendezvous/sub/two/1").await;
        let started = async {
            while node.peers().await.expect("it runs").first().is_none_or(|peer| peer.sessions.len() < 2) {
                tokio::task::yield_now().await;
            }
        };
        let id = peer.id();
        peer.during(started).await;
        drop(peer);
        let all = until_dropped(&mut events, id).await;
        check_order(&all);
        assert_eq!(all.iter().filter(|event| matches!(event, Event::SessionEnded { .. })).count(), 2, "{all:#?}");
        assert_eq!(all.last(), Some(&Event::PeerDropped { peer: id, departure: Departure::Lost }));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_in_order_whatever_comes_and_goes() {
    in_time(async {
        let [first, second] = two(|| Node::builder().sub_protocol(exchange()).sub_protocol(listening("other"))).await;
        let events = [first.events(), second.events()];
        let to_second = address(&second).await;
        for round in 0..40 {
            first.dial(&to_second).await.expect("it is there");
            let by = if round % 2 == 0 { (&first, second.id()) } else { (&second, first.id()) };
            by.0.disconnect(by.1, DisconnectReason::Requested).await.expect("it runs");
        }
        first.stop().await;
        second.stop().await;
        drop((first, second));
        for events in events {
            let all: Vec<Event> = events.collect().await;
            check_order(&all);
            let count = |is: fn(&Event) -> bool| all.iter().filter(|event| is(event)).count();
            assert_eq!(
                count(|event| matches!(event, Event::PeerAdded { .. })),
                count(|event| matches!(event, Event::PeerDropped { .. })),
                "all who were added are dropped at the end"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_too_slowly_is_told_how_much_is_missed() {
    in_time(async {
        const MESSAGES: u64 = 2 * EVENTS_MAX as u64;
        let talk = || {
            sub_protocol("talk", async |_: Peer, mut messages: Messages| {
                for _ in 0..MESSAGES {
                    messages.send(0, "foo").await?;
                    messages.recv().await?;
                }
                Ok(End::Finished)
            })
        };
        let [first, second] = two(|| Node::builder().sub_protocol(talk())).await;
        let mut slow = first.events();
        let mut quick = first.events();
        join(&first, &second).await;
        // What it may miss itself is not the last event.
        while let Some(event) = quick.next().await {
            if matches!(event, Event::SessionEnded { .. }) {
                break;
            }
        }
        let first_event = slow.next().await.expect("the node lives");
        let Event::Missed(missed) = first_event else { panic!("{first_event:?}") };
        assert!(missed >= MESSAGES, "{missed}");
        assert!(matches!(slow.next().await, Some(event) if !matches!(event, Event::Missed(_))), "what is left is read");
    })
    .await;
}
