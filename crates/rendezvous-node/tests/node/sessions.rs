//! Sub-protocols between nodes.

use std::sync::{Arc, Mutex, mpsc};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::{StreamProtocol, identity::Keypair};
use rendezvous_node::{
    Departure, DisconnectReason, Event, Node, PeerInfo,
    sub_protocol::{End, Messages, Peer, SessionError, SubProtocol, Version},
};

use crate::{
    common::{
        address, check_order, dropped, event, identified, in_time, join, listening, session_ended, session_started,
        sub_protocol, two, until_dropped,
    },
    raw::Raw,
};

/// Sends and receives in turn, and finishes.
fn talking() -> SubProtocol {
    sub_protocol("talks", async |_: Peer, mut messages: Messages| {
        for round in 0..100_u32 {
            messages.send(0, &round).await?;
            assert_eq!(messages.recv().await?.decode::<u32>()?, round);
        }
        Ok(End::Finished)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_a_sub_protocol_does_the_others_go_on() {
    in_time(async {
        let (release, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let builder = || {
            let gate = gate.clone();
            Node::builder()
                .sub_protocol(sub_protocol("panics", async |_: Peer, _: Messages| panic!("on purpose")))
                .sub_protocol(sub_protocol("fails", async |_: Peer, _: Messages| {
                    Err(SessionError::application("on purpose"))
                }))
                .sub_protocol(sub_protocol("deaf", async |_: Peer, messages: Messages| {
                    let nobody_reads_this = "x".repeat(100_000);
                    loop {
                        messages.send(0, &nobody_reads_this).await?;
                    }
                }))
                .sub_protocol(sub_protocol("blocks", move |_: Peer, _: Messages| {
                    let gate = gate.clone();
                    async move {
                        let _ = gate.lock().expect("nobody panics with it").recv();
                        Ok(End::Finished)
                    }
                }))
                .sub_protocol(talking())
        };
        let [first, second] = two(builder).await;
        let mut events = [first.events(), second.events()];
        join(&second, &first).await;
        for events in &mut events {
            let mut ended = Vec::new();
            while ended.len() < 3 {
                let next = event(events, |event| match event {
                    Event::SessionEnded { sub_protocol, how, .. } => Some((sub_protocol, how)),
                    _ => None,
                });
                ended.push(next.await);
            }
            ended.sort();
            let [(fails, _), (panics, _), (talks, how)] = &ended[..] else { panic!("{ended:?}") };
            assert_eq!([fails, panics, talks], ["fails", "panics", "talks"], "{ended:?}");
            assert!(how.contains("finished"), "{ended:?}");
        }
        let info = first.peer(second.id()).await.expect("it runs").expect("it is connected");
        assert_eq!(info.sessions, [("blocks".to_owned(), 1), ("deaf".to_owned(), 1)]);
        // The sessions that do not end of themselves end with the peer, as far as their threads let them.
        drop(release);
        first.disconnect(second.id(), DisconnectReason::Requested).await.expect("it runs");
        for (events, other) in events.iter_mut().zip([second.id(), first.id()]) {
            dropped(events, other).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_highest_common_version_is_spoken() {
    in_time(async {
        let versions = |numbers: &'static [u32]| {
            let run = async |peer: Peer, _: Messages| Ok(End::Session(DisconnectReason::Other(peer.version as u8)));
            let version = |number| Version { number, codes: 1 };
            let first = SubProtocol::new("it", version(numbers[0]), run).expect("the name is right");
            numbers[1..].iter().fold(first, |it, number| it.with_version(version(*number), run).expect("it is another"))
        };
        for swapped in [false, true] {
            let mut numbers: [&[u32]; 2] = [&[1, 2, 4], &[3, 2, 1, 5]];
            if swapped {
                numbers.reverse();
            }
            let keys = {
                let mut keys = [Keypair::generate_ed25519(), Keypair::generate_ed25519()];
                keys.sort_by_key(|key| key.public().to_peer_id());
                keys.map(rendezvous_node::Identity::Given)
            };
            let [first, second] = keys;
            let first = crate::common::start(Node::builder().identity(first).sub_protocol(versions(numbers[0]))).await;
            let second =
                crate::common::start(Node::builder().identity(second).sub_protocol(versions(numbers[1]))).await;
            let mut events = [first.events(), second.events()];
            join(&first, &second).await;
            for events in &mut events {
                assert_eq!(session_started(events, "it").await, 2);
                assert_eq!(session_ended(events, "it").await.1, DisconnectReason::Other(2));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn without_a_common_version_there_is_no_session() {
    in_time(async {
        let of = |number| {
            SubProtocol::new("it", Version { number, codes: 1 }, async |_: Peer, _: Messages| Ok(End::Finished))
                .expect("the name is right")
        };
        let first = crate::common::start(Node::builder().sub_protocol(of(1)).sub_protocol(talking())).await;
        let second = crate::common::start(Node::builder().sub_protocol(of(2)).sub_protocol(talking())).await;
        let mut events = [first.events(), second.events()];
        join(&first, &second).await;
        for events in &mut events {
            let ended = event(events, |event| match event {
                Event::SessionStarted { sub_protocol, .. } => {
                    assert_eq!(sub_protocol, "talks");
                    None
                }
                Event::SessionEnded { .. } => Some(()),
                _ => None,
            });
            ended.await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sub_protocol_that_disconnects_the_peer_ends_the_others_for_its_reason() {
    in_time(async {
        let reason = DisconnectReason::IncompatibleVersion;
        for _ in 0..10 {
            // The one that receives disconnects: one side waits for the other, and both sides may do it.
            let judge = || {
                sub_protocol("judges", move |_: Peer, mut messages: Messages| async move {
                    messages.send(0, "").await?;
                    messages.recv().await?;
                    Ok(End::Disconnect(reason))
                })
            };
            let [first, second] = two(|| Node::builder().sub_protocol(judge()).sub_protocol(listening("other"))).await;
            let mut events = [first.events(), second.events()];
            join(&first, &second).await;
            for (events, other) in events.iter_mut().zip([second.id(), first.id()]) {
                let all = until_dropped(events, other).await;
                check_order(&all);
                for event in &all {
                    if let Event::SessionEnded { reason: it, .. } = event {
                        assert_eq!(*it, reason, "{all:#?}");
                    }
                }
                let Some(Event::PeerDropped { departure, .. }) = all.last() else { panic!("{all:#?}") };
                assert!(matches!(departure, Departure::Local(it) | Departure::Remote(it) if *it == reason), "{all:#?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_breach_of_the_protocol_disconnects_the_peer() {
    in_time(async {
        let [node, _] = two(|| Node::builder().sub_protocol(listening("it"))).await;
        let mut events = node.events();
        let mut peer = Raw::new(key(|id| id < node.id()), true, true);
        peer.dial(node.id(), address(&node).await).await;
        let mut stream = peer.open(node.id(), "/rendezvous/sub/it/1").await;
        let writing = async {
            stream.write_all(&[3, 0, 77, 0]).await?;
            stream.flush().await
        };
        peer.during(writing).await.expect("it is connected");
        let id = peer.id();
        let departure = peer.during(dropped(&mut events, id)).await;
        assert_eq!(departure, Departure::Local(DisconnectReason::ProtocolBreach));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn run_functions_are_told_whom_they_are_with() {
    in_time(async {
        for _ in 0..10 {
            let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
            let builder = || {
                let tell = tell.clone();
                Node::builder().name("somebody").sub_protocol(sub_protocol("it", move |peer: Peer, _: Messages| {
                    let _ = tell.send(peer);
                    async { Ok(End::Finished) }
                }))
            };
            let [first, second] = two(builder).await;
            join(&first, &second).await;
            let mut peers = [told.recv().await.expect("it runs"), told.recv().await.expect("it runs")];
            peers.sort_by_key(|peer| peer.id);
            assert_eq!(peers.each_ref().map(|peer| peer.id), [first.id(), second.id()]);
            assert!(peers.iter().all(|peer| peer.agent == "somebody" && peer.version == 1), "{peers:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_does_not_say_what_it_is_has_sessions_all_the_same() {
    in_time(async {
        let [node, _] = two(|| Node::builder().sub_protocol(listening("it"))).await;
        let mut events = node.events();
        let mut peer = Raw::new(key(|id| id < node.id()), false, true);
        peer.dial(node.id(), address(&node).await).await;
        let _stream = peer.open(node.id(), "/rendezvous/sub/it/1").await;
        peer.during(session_started(&mut events, "it")).await;
    })
    .await;
}

#[tokio::test]
async fn there_is_one_session_however_many_streams_a_peer_opens() {
    in_time(async {
        let [node, _] = two(|| Node::builder().sub_protocol(listening("it"))).await;
        let mut events = node.events();
        let mut peer = Raw::new(key(|id| id < node.id()), true, true);
        peer.dial(node.id(), address(&node).await).await;
        let _stream = peer.open(node.id(), "/rendezvous/sub/it/1").await;
        peer.during(session_started(&mut events, "it")).await;
        for _ in 0..100 {
            let mut other = peer.open(node.id(), "/rendezvous/sub/it/1").await;
            let end = peer.during(other.read(&mut [0; 1])).await;
            assert!(!matches!(end, Ok(1..)), "{end:?}");
        }
        let info = peer.during(node.peers()).await.expect("it runs").pop().expect("it is connected");
        assert_eq!(info.sessions, [("it".to_owned(), 1)]);
        let id = peer.id();
        node.disconnect(id, DisconnectReason::Requested).await.expect("it runs");
        let all = peer.during(until_dropped(&mut events, id)).await;
        assert!(!all.iter().any(|event| matches!(event, Event::SessionStarted { .. })), "{all:#?}");
    })
    .await;
}

#[tokio::test]
async fn the_side_that_does_not_open_streams_takes_none_of_its_own_kind() {
    in_time(async {
        let [_, node] = two(|| Node::builder().sub_protocol(listening("it"))).await;
        let mut events = node.events();
        let mut peer = Raw::new(key(|id| id > node.id()), true, true);
        peer.dial(node.id(), address(&node).await).await;
        let mut stream = peer.open(node.id(), "/rendezvous/sub/it/1").await;
        let end = peer.during(stream.read(&mut [0; 1])).await;
        assert!(!matches!(end, Ok(1..)), "{end:?}");
        let (id, info) = (peer.id(), peer.during(node.peers()).await.expect("it runs").pop());
        assert!(info.expect("it is connected").sessions.is_empty());
        node.disconnect(id, DisconnectReason::Requested).await.expect("it runs");
        let all = peer.during(until_dropped(&mut events, id)).await;
        assert!(!all.iter().any(|event| matches!(event, Event::SessionStarted { .. })), "{all:#?}");
    })
    .await;
}

#[tokio::test]
async fn a_session_whose_connection_is_lost_begins_anew_on_another_when_the_peer_opens() {
    in_time(async {
        let [node, _] = two(|| Node::builder().sub_protocol(listening("it"))).await;
        let (mut events, at) = (node.events(), address(&node).await);
        let mut peer = Raw::new(key(|id| id < node.id()), true, true);
        peer.dial(node.id(), at.clone()).await;
        let second = peer.dial(node.id(), at).await;
        peer.during(connections(&node, 2)).await;
        let _lost = peer.open(node.id(), "/rendezvous/sub/it/1").await;
        peer.during(session_started(&mut events, "it")).await;
        peer.swarm.close_connection(second);
        peer.during(connections(&node, 1)).await;
        let _stream = peer.open(node.id(), "/rendezvous/sub/it/1").await;
        assert_eq!(peer.during(session_ended(&mut events, "it")).await.1, DisconnectReason::Network);
        peer.during(session_started(&mut events, "it")).await;
    })
    .await;
}

#[tokio::test]
async fn a_session_whose_connection_is_lost_begins_anew_on_another_when_the_node_opens() {
    in_time(async {
        let (it, [_, node]) = ("/rendezvous/sub/it/1", two(|| Node::builder().sub_protocol(listening("it"))).await);
        let (mut events, at) = (node.events(), address(&node).await);
        let mut peer = Raw::new(key(|id| id > node.id()), true, true);
        let mut incoming =
            peer.swarm.behaviour().streams.control().accept(StreamProtocol::new(it)).expect("nobody else takes it");
        let connections = [peer.dial(node.id(), at.clone()).await, peer.dial(node.id(), at).await];
        let (_, connection, _stream) = peer.during(incoming.next()).await.expect("the node opens it");
        peer.during(session_started(&mut events, "it")).await;
        peer.during(self::connections(&node, 2)).await;
        assert!(connections.contains(&connection));
        peer.swarm.close_connection(connection);
        let (_, another, _stream) = peer.during(incoming.next()).await.expect("the node opens it again");
        assert_ne!(another, connection);
        assert_eq!(peer.during(session_ended(&mut events, "it")).await.1, DisconnectReason::Network);
        peer.during(session_started(&mut events, "it")).await;
    })
    .await;
}

#[tokio::test]
async fn a_session_that_has_finished_begins_anew_when_the_peer_connects_anew_and_not_before() {
    in_time(async {
        let [first, second] = two(|| Node::builder().sub_protocol(talking())).await;
        let (mut events, mut also) = (first.events(), first.events());
        for _ in 0..5 {
            join(&first, &second).await;
            identified(&mut also, second.id()).await;
            session_ended(&mut also, "talks").await;
            let info: Option<PeerInfo> = first.peer(second.id()).await.expect("it runs");
            assert!(info.expect("it is connected").sessions.is_empty());
            first.disconnect(second.id(), DisconnectReason::Requested).await.expect("it runs");
            let all = until_dropped(&mut events, second.id()).await;
            check_order(&all);
            assert_eq!(all.iter().filter(|event| matches!(event, Event::SessionStarted { .. })).count(), 1);
            dropped(&mut also, second.id()).await;
        }
    })
    .await;
}

/// Waits until a node has so many connections to its only peer.
async fn connections(node: &Node, count: usize) {
    while node.peers().await.expect("it runs").first().is_none_or(|peer| peer.connections != count) {
        tokio::task::yield_now().await;
    }
}

/// A key whose id is on the side of a node's that is asked for: the smaller opens the streams.
fn key(is: impl Fn(libp2p::PeerId) -> bool) -> Keypair {
    core::iter::repeat_with(Keypair::generate_ed25519).find(|key| is(key.public().to_peer_id())).expect("it is endless")
}
