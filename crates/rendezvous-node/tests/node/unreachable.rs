//! What is said of a peer that is not there.

use std::{error::Error as _, net::TcpListener};

use rendezvous_node::{ConnectError, Identity, Multiaddr, Node, rpc::CallError};

use crate::common::{in_time, start};

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_is_one_line_with_each_address_once() {
    in_time(async {
        // Nobody listens on a port that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("loopback has ports").port();
        let peer = Identity::Seed(9).keypair().expect("seeds are keys").public().to_peer_id();
        let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("it is an address");
        let node = start(Node::builder()).await;
        let with_peer = address.clone().with_p2p(peer).expect("it names nobody");
        let error = node.connect(peer, [address.clone(), with_peer]).await.expect_err("nobody is there");
        let ConnectError::Unreachable { source, .. } = &error else { panic!("{error:?}") };
        let text = source.to_string();
        assert!(text.starts_with(&format!("{address}: ")) && text.lines().count() == 1, "{text}");
        assert_eq!(text.matches("127.0.0.1").count(), 1, "{text}");
        // A call that does not connect says so without repeating itself.
        node.add_peer(peer, [address.clone()]).await.expect("it runs");
        let error = node.rpc().call::<_, String>(peer, "echo", "echo", "hello").await.expect_err("nobody is there");
        assert!(matches!(error, CallError::Unreachable(_)), "{error:?}");
        let cause = error.source().expect("it says why").to_string();
        assert!(cause.starts_with(&address.to_string()), "{cause}");
        node.stop().await;
    })
    .await;
}
