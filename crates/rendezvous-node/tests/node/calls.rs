//! Calls between nodes.

use std::{error::Error as _, time::Duration};

use futures::StreamExt as _;
use libp2p::PeerId;
use rendezvous_node::{
    ConnectError, DisconnectReason, Node, NotRunning,
    rpc::{ApplicationError, CallError, Context, Service},
};

use crate::common::{address, dropped, identified, in_time, join, start, two};

fn echo() -> Service {
    Service::new("echo")
        .unary("echo", async |_: Context, text: String| Ok::<_, ApplicationError>(text))
        .unary("whoami", async |context: Context, (): ()| Ok::<_, ApplicationError>(context.caller().to_string()))
        .unary("panics", async |_: Context, (): ()| -> Result<(), ApplicationError> { panic!("on purpose") })
        .unary("hangs", async |_: Context, (): ()| -> Result<(), ApplicationError> { std::future::pending().await })
}

async fn serving(nodes: &[Node]) {
    for node in nodes {
        node.services().register(echo()).expect("it is the only one");
    }
}

async fn call(from: &Node, to: &Node) -> Result<String, CallError> {
    from.rpc().call(to.id(), "echo", "echo", &"hello".to_owned()).await
}

#[tokio::test]
async fn a_peer_that_is_not_connected_is_called_where_it_was_last() {
    in_time(async {
        let nodes = two(Node::builder).await;
        serving(&nodes).await;
        let [first, second] = nodes;
        let mut events = first.events();
        join(&first, &second).await;
        identified(&mut events, second.id()).await;
        first.disconnect(second.id(), DisconnectReason::Requested).await.expect("it runs");
        dropped(&mut events, second.id()).await;
        let calls = futures::future::join_all((0..20).map(|_| call(&first, &second))).await;
        assert!(calls.into_iter().all(|answer| answer.is_ok_and(|text| text == "hello")));
        assert_eq!(first.peers().await.expect("it runs").len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_peer_of_whom_nothing_is_known_is_unreachable() {
    in_time(async {
        let node = start(Node::builder()).await;
        let peer = PeerId::random();
        let error = node.rpc().call::<_, ()>(peer, "echo", "echo", &()).await.expect_err("nobody knows where it is");
        let CallError::Unreachable(source) = error else { panic!("{error:?}") };
        let source = source.downcast_ref::<ConnectError>().expect("connecting fails");
        assert!(matches!(source, ConnectError::NoAddresses { peer: it } if *it == peer), "{source:?}");
    })
    .await;
}

#[tokio::test]
async fn nobody_is_called_by_a_node_that_does_not_run_and_it_calls_again_when_it_does() {
    in_time(async {
        let nodes = two(Node::builder).await;
        serving(&nodes).await;
        let [first, second] = nodes;
        let (rpc, at) = (first.rpc(), address(&second).await);
        join(&first, &second).await;
        first.stop().await;
        let error = rpc.call::<_, String>(second.id(), "echo", "echo", &"").await.expect_err("it does not run");
        assert!(matches!(&error, CallError::Unreachable(source) if source.is::<NotRunning>()), "{error:?}");
        assert!(error.source().is_some());
        first.start().await.expect("it starts again");
        first.dial(&at).await.expect("it is there");
        assert_eq!(rpc.call::<_, String>(second.id(), "echo", "echo", &"again").await.expect("it answers"), "again");
        drop(first);
        let error = rpc.call::<_, String>(second.id(), "echo", "echo", &"").await.expect_err("the node is gone");
        assert!(matches!(error, CallError::Unreachable(_)), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_node_calls_itself() {
    in_time(async {
        let node = start(Node::builder()).await;
        node.services().register(echo()).expect("it is the only one");
        assert_eq!(call(&node, &node).await.expect("it answers"), "hello");
    })
    .await;
}

#[tokio::test]
async fn calls_are_granted_by_who_calls() {
    in_time(async {
        let nodes = [start(Node::builder()).await, start(Node::builder()).await, start(Node::builder()).await];
        serving(&nodes).await;
        let [server, friend, stranger] = nodes;
        join(&friend, &server).await;
        join(&stranger, &server).await;
        let who = friend.id();
        server.services().set_authorization(move |caller, service, _| caller == who && service == "echo");
        let told: String = friend.rpc().call(server.id(), "echo", "whoami", &()).await.expect("it may");
        assert_eq!(told, friend.id().to_string());
        let error = call(&stranger, &server).await.expect_err("it may not");
        assert!(matches!(error, CallError::NotAuthorized), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_method_that_panics_harms_nobody_else() {
    in_time(async {
        let nodes = two(Node::builder).await;
        serving(&nodes).await;
        let [first, second] = nodes;
        join(&first, &second).await;
        for _ in 0..10 {
            let error = first.rpc().call::<_, ()>(second.id(), "echo", "panics", &()).await.expect_err("it panics");
            assert!(matches!(error, CallError::Panicked), "{error:?}");
            assert_eq!(call(&first, &second).await.expect("it answers"), "hello");
        }
    })
    .await;
}

#[tokio::test]
async fn many_peers_are_called_at_once_with_one_result_each() {
    in_time(async {
        let nodes = [start(Node::builder()).await, start(Node::builder()).await, start(Node::builder()).await];
        serving(&nodes).await;
        for node in &nodes[1..] {
            join(&nodes[0], node).await;
        }
        let nobody = PeerId::random();
        let peers = nodes.iter().map(Node::id).chain([nobody]);
        let answers = nodes[0].rpc().multi_call::<_, String>(peers, "echo", "echo", &"all".to_owned());
        let answers: Vec<_> = answers.collect().await;
        assert_eq!(answers.len(), 4);
        for (peer, answer) in answers {
            assert_eq!(answer.is_err(), peer == nobody, "{answer:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn calls_under_way_end_with_the_node_that_serves_them_and_with_the_one_that_makes_them() {
    in_time(async {
        let nodes = two(Node::builder).await;
        serving(&nodes).await;
        let [first, second] = nodes;
        join(&first, &second).await;
        let served = async {
            while second.services().calls() == 0 {
                tokio::task::yield_now().await;
            }
        };
        let rpc = first.rpc().with_timeout(Duration::from_secs(600));
        let (call, ()) = tokio::join!(rpc.call::<_, ()>(second.id(), "echo", "hangs", &()), async {
            served.await;
            second.stop().await;
        });
        assert!(matches!(call, Err(CallError::Broken(_))), "{call:?}");
        second.start().await.expect("it starts again");
        join(&first, &second).await;
        let (call, ()) = tokio::join!(rpc.call::<_, ()>(second.id(), "echo", "hangs", &()), async {
            while second.services().calls() == 0 {
                tokio::task::yield_now().await;
            }
            first.stop().await;
        });
        assert!(call.is_err(), "{call:?}");
        while second.services().calls() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn calls_under_way_end_when_either_side_disconnects_the_other() {
    in_time(async {
        let nodes = two(Node::builder).await;
        serving(&nodes).await;
        for (caller, server) in [(0, 1), (1, 0)] {
            for by_caller in [false, true] {
                let (caller, server) = (&nodes[caller], &nodes[server]);
                let mut events = [caller.events(), server.events()];
                join(caller, server).await;
                let rpc = caller.rpc().with_timeout(Duration::from_secs(600));
                let (call, ()) = tokio::join!(rpc.call::<_, ()>(server.id(), "echo", "hangs", &()), async {
                    while server.services().calls() == 0 {
                        tokio::task::yield_now().await;
                    }
                    let (by, of) = if by_caller { (caller, server) } else { (server, caller) };
                    by.disconnect(of.id(), DisconnectReason::Requested).await.expect("it runs");
                });
                assert!(matches!(call, Err(CallError::Broken(_))), "{call:?}");
                while server.services().calls() > 0 {
                    tokio::task::yield_now().await;
                }
                dropped(&mut events[0], server.id()).await;
                dropped(&mut events[1], caller.id()).await;
            }
        }
    })
    .await;
}
