//! Starting and stopping.

use std::{
    net::{TcpListener, UdpSocket},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _};
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use rendezvous_node::{
    ConnectError, Departure, DisconnectReason, Event, Node, NotRunning, StartError,
    rpc::{ApplicationError, Context, Service},
    sub_protocol::{End, Messages, Peer},
};

use crate::common::{
    added, address, dropped, in_time, join, listening, quic, session_started, start, sub_protocol, tcp, two,
};

#[tokio::test]
async fn a_node_that_runs_is_not_started() {
    in_time(async {
        let node = start(Node::builder()).await;
        assert!(matches!(node.start().await, Err(StartError::Running)));
        let same = node.clone();
        assert!(matches!(same.start().await, Err(StartError::Running)));
        assert!(node.is_running());
        same.stop().await;
        assert!(!node.is_running());
    })
    .await;
}

#[test]
fn a_node_is_not_started_outside_a_runtime() {
    let node = Node::builder().listen(tcp()).build().expect("the settings are right");
    let started = futures::executor::block_on(node.start());
    assert!(matches!(started, Err(StartError::NoRuntime)), "{started:?}");
    assert!(!node.is_running());
    // It can be elsewhere, one time after the other.
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there is room");
        runtime.block_on(in_time(async {
            node.start().await.expect("it is within a runtime");
            node.stop().await;
        }));
    }
}

#[tokio::test]
async fn what_is_not_started_does_nothing() {
    in_time(async {
        let (node, peer) = (Node::builder().build().expect("the settings are right"), PeerId::random());
        node.stop().await;
        assert!(!node.is_running());
        assert_eq!(node.info().await.err(), Some(NotRunning));
        assert_eq!(node.peers().await.err(), Some(NotRunning));
        assert_eq!(node.discovery().err(), Some(NotRunning));
        assert_eq!(node.add_peer(peer, []).await, Err(NotRunning));
        assert_eq!(node.disconnect(peer, DisconnectReason::Requested).await, Err(NotRunning));
        assert!(matches!(node.connect(peer, []).await, Err(ConnectError::NotRunning(NotRunning))));
    })
    .await;
}

#[tokio::test]
async fn a_node_that_cannot_listen_does_not_run_and_leaves_nothing() {
    in_time(async {
        let taken = TcpListener::bind("127.0.0.1:0").expect("loopback can be listened on");
        let free = TcpListener::bind("127.0.0.1:0").expect("loopback can be listened on");
        let [taken_at, free_at] = [&taken, &free].map(|it| it.local_addr().expect("it listens"));
        drop(free);
        let of = |port| format!("/ip4/127.0.0.1/tcp/{port}").parse::<Multiaddr>().expect("it is an address");
        let builder = Node::builder().listen(of(free_at.port())).listen(of(taken_at.port())).listen(quic());
        let node = builder.build().expect("the settings are right");
        for _ in 0..10 {
            let error = node.start().await.expect_err("the port is taken");
            assert!(
                matches!(&error, StartError::Listen { address, .. } if *address == of(taken_at.port())),
                "{error:?}"
            );
            assert!(!node.is_running());
            drop(TcpListener::bind(free_at).expect("the other port is free again"));
        }
        drop(taken);
        node.start().await.expect("the port is free");
        node.stop().await;
        let strange = Node::builder().listen("/memory/7".parse().expect("it is an address"));
        let error =
            strange.build().expect("an address is an address").start().await.expect_err("there is no such transport");
        assert!(matches!(error, StartError::Listen { .. }), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_node_stops_once_however_often_it_is_told() {
    in_time(async {
        let node = start(Node::builder()).await;
        let same = node.clone();
        tokio::join!(node.stop(), same.stop());
        node.stop().await;
        assert!(!same.is_running());
        node.start().await.expect("it starts again");
        node.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_stop_that_is_not_waited_for_goes_on() {
    in_time(async {
        let node = start(Node::builder()).await;
        assert!(node.stop().now_or_never().is_none());
        assert!(matches!(node.start().await, Err(StartError::Running)), "it is still stopping");
        node.stop().await;
        node.start().await.expect("it has stopped");
    })
    .await;
}

#[tokio::test]
async fn who_waits_for_a_dial_is_told_that_the_node_stops() {
    in_time(async {
        let silent = TcpListener::bind("127.0.0.1:0").expect("loopback can be listened on");
        let port = silent.local_addr().expect("it listens").port();
        let at = format!("/ip4/127.0.0.1/tcp/{port}").parse::<Multiaddr>().expect("it is an address");
        let node = start(Node::builder().dial_timeout(Duration::from_secs(600))).await;
        let (dial, ()) = tokio::join!(node.connect(PeerId::random(), [at]), async {
            // The dial is commanded before.
            node.info().await.expect("it runs");
            node.stop().await;
        });
        assert!(matches!(dial, Err(ConnectError::NotRunning(NotRunning))), "{dial:?}");
    })
    .await;
}

#[tokio::test]
async fn a_node_stops_with_its_last_handle() {
    in_time(async {
        let [first, second] = two(|| Node::builder().sub_protocol(listening("it"))).await;
        let (mut first_events, mut second_events) = (first.events(), second.events());
        join(&first, &second).await;
        session_started(&mut second_events, "it").await;
        let (same, id) = (first.clone(), first.id());
        drop(first);
        assert!(same.is_running());
        drop(same);
        assert_eq!(dropped(&mut second_events, id).await, Departure::Remote(DisconnectReason::Quitting));
        let rest: Vec<Event> = first_events.by_ref().collect().await;
        let departure = Departure::Local(DisconnectReason::Quitting);
        assert!(rest.contains(&Event::PeerDropped { peer: second.id(), departure }), "{rest:#?}");
    })
    .await;
}

#[tokio::test]
async fn services_sub_protocols_and_readers_of_events_outlive_a_stop() {
    in_time(async {
        let [first, second] = two(|| Node::builder().sub_protocol(listening("it"))).await;
        let (mut first_events, mut second_events) = (first.events(), second.events());
        let echo = Service::new("echo").unary("echo", async |_: Context, it: u32| Ok::<_, ApplicationError>(it));
        first.services().register(echo).expect("it is the only one");
        for round in 0..5_u32 {
            join(&second, &first).await;
            for events in [&mut first_events, &mut second_events] {
                session_started(events, "it").await;
            }
            assert_eq!(
                second.rpc().call::<_, u32>(first.id(), "echo", "echo", &round).await.expect("it answers"),
                round
            );
            first.stop().await;
            assert_eq!(dropped(&mut first_events, second.id()).await, Departure::Local(DisconnectReason::Quitting));
            assert_eq!(dropped(&mut second_events, first.id()).await, Departure::Remote(DisconnectReason::Quitting));
            first.start().await.expect("it starts again");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_stops_although_a_sub_protocol_blocks_its_thread() {
    in_time(async {
        let (release, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let blocking = sub_protocol("blocks", move |_: Peer, _: Messages| {
            let gate = gate.clone();
            async move {
                let _ = gate.lock().expect("nobody panics with it").recv();
                Ok(End::Finished)
            }
        });
        let node = start(Node::builder().sub_protocol(blocking)).await;
        let other = start(Node::builder().sub_protocol(listening("blocks"))).await;
        let mut events = node.events();
        join(&other, &node).await;
        session_started(&mut events, "blocks").await;
        node.stop().await;
        dropped(&mut events, other.id()).await;
        node.start().await.expect("it starts again");
        drop(release);
        node.stop().await;
    })
    .await;
}

#[tokio::test]
async fn nodes_meet_over_each_transport_and_again_at_the_same_port() {
    in_time(async {
        let mut addresses = vec![tcp(), quic()];
        if TcpListener::bind("[::1]:0").is_ok() && UdpSocket::bind("[::1]:0").is_ok() {
            addresses.extend(["/ip6/::1/tcp/0", "/ip6/::1/udp/0/quic-v1"].map(|it| it.parse().expect("an address")));
        }
        for listen in addresses {
            let server = Node::builder().listen(listen.clone()).build().expect("the settings are right");
            server.start().await.expect("loopback can be listened on");
            let client = Node::builder().listen(listen).build().expect("the settings are right");
            client.start().await.expect("loopback can be listened on");
            join(&client, &server).await;
            let at = address(&server).await;
            server.stop().await;
            let bare = at.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect();
            let again = Node::builder().listen(bare).build().expect("the settings are right");
            for _ in 0..3 {
                again.start().await.expect("the port is free");
                let mut events = again.events();
                client.dial(&address(&again).await).await.expect("it is there");
                added(&mut events, client.id()).await;
                again.stop().await;
            }
        }
    })
    .await;
}
