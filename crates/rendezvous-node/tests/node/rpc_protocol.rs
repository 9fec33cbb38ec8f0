//! The protocol by which calls go.

use rendezvous_node::{
    BuildError, Identity, Kademlia, Node, StreamProtocol,
    rpc::{ApplicationError, CallError, Service},
    sub_protocol::{End, SubProtocol, Version},
};

use crate::common::{address, in_time, start};

const OURS: StreamProtocol = StreamProtocol::new("/p2p/rpc/ldej");

fn echo() -> Service {
    Service::new("echo").unary("echo", |_, text: String| async move { Ok::<_, ApplicationError>(text) })
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_reach_the_nodes_that_were_told_the_same() {
    in_time(async {
        let ours = |seed| Node::builder().identity(Identity::Seed(seed)).rpc_protocol(OURS);
        let (first, second) = (start(ours(1)).await, start(ours(2)).await);
        let other = start(Node::builder()).await;
        for node in [&first, &second, &other] {
            node.services().register(echo()).expect("it is the only one");
        }
        for peer in [&second, &other] {
            first.dial(&address(peer).await).await.expect("it is there");
        }
        let call = |from: &Node, to: &Node| from.rpc().call::<_, String>(to.id(), "echo", "echo", "hello");
        assert_eq!(call(&first, &second).await.expect("it answers"), "hello");
        assert_eq!(call(&second, &first).await.expect("it answers"), "hello");
        assert!(matches!(call(&first, &other).await, Err(CallError::Unsupported)));
        assert!(matches!(call(&other, &first).await, Err(CallError::Unsupported)));
        for node in [first, second, other] {
            node.stop().await;
        }
    })
    .await;
}

#[test]
fn a_protocol_that_the_node_uses_otherwise_is_refused() {
    let foo = SubProtocol::new("foo", Version { number: 1, codes: 1 }, |_, _| async { Ok(End::Finished) });
    let builder = Node::builder().sub_protocol(foo.expect("it is a sub-protocol")).kademlia(Kademlia::default());
    for taken in ["/rendezvous/sub/foo/1", "/ipfs/kad/1.0.0", "/ipfs/id/1.0.0", "/rendezvous/1.0.0"] {
        let error = builder.clone().rpc_protocol(StreamProtocol::new(taken)).build().expect_err("it is taken");
        assert!(matches!(error, BuildError::RpcProtocol { protocol } if protocol == taken), "{taken}");
    }
    builder.rpc_protocol(OURS).build().expect("it is free");
}
