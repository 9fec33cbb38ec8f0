//! What a node tells of itself and of its peers.

use libp2p::Multiaddr;
use rendezvous_node::{
    Identity, Node, PEERS_MAX,
    rpc::{self, Service},
    sub_protocol::{Direction, Messages, Peer, SubProtocol, Version},
};

use crate::common::{address, identified, in_time, join, listening, session_started, start, two};

fn versions() -> SubProtocol {
    let run = async |_: Peer, mut messages: Messages| loop {
        messages.recv().await?;
    };
    let first = SubProtocol::new("many", Version { number: 1, codes: 1 }, run).expect("the name is right");
    first.with_version(Version { number: 4, codes: 1 }, run).expect("it is another version")
}

#[tokio::test]
async fn a_node_tells_what_it_is() {
    in_time(async {
        let point = start(Node::builder().serve_rendezvous(Default::default())).await;
        let external: Multiaddr = "/ip4/192.0.2.1/tcp/4001".parse().expect("it is an address");
        let builder = Node::builder()
            .identity(Identity::Seed(9))
            .name("it/1")
            .external(external.clone())
            .sub_protocol(listening("one"))
            .sub_protocol(versions())
            .point(address(&point).await);
        let node = start(builder).await;
        node.services().register(Service::new("nothing")).expect("it is the only one");
        let info = node.info().await.expect("it runs");
        assert_eq!((info.id, info.name.as_str()), (node.id(), "it/1"));
        assert_eq!(info.external_addrs, [external]);
        assert_eq!(info.listen_addrs.len(), 1);
        let own = info.listen_addrs[0].clone().with_p2p(node.id()).expect("it names nobody else");
        assert_eq!(info.addresses().collect::<Vec<_>>(), [own]);
        assert_eq!(info.sub_protocols, [("one".to_owned(), vec![1]), ("many".to_owned(), vec![4, 1])]);
        assert_eq!(info.services, ["nothing"]);
        assert_eq!(info.points, [point.id()]);
        assert!(!info.serves_rendezvous && point.info().await.expect("it runs").serves_rendezvous);
        assert_eq!(info.peers_max, PEERS_MAX);
    })
    .await;
}

#[tokio::test]
async fn what_is_listened_on_is_advertised_where_nothing_else_is_named() {
    in_time(async {
        let info = start(Node::builder()).await.info().await.expect("it runs");
        assert_eq!(info.external_addrs, info.listen_addrs);
    })
    .await;
}

#[tokio::test]
async fn a_peer_is_known_by_what_it_tells_and_by_its_connection() {
    in_time(async {
        let [first, second] = two(|| Node::builder().name("it/2").sub_protocol(listening("one"))).await;
        let (mut first_events, mut second_events) = (first.events(), second.events());
        join(&first, &second).await;
        assert_eq!(identified(&mut first_events, second.id()).await, "it/2");
        assert_eq!(identified(&mut second_events, first.id()).await, "it/2");
        session_started(&mut first_events, "one").await;
        session_started(&mut second_events, "one").await;
        let info = first.peer(second.id()).await.expect("it runs").expect("it is connected");
        assert_eq!((info.id, info.name.as_str(), info.connections), (second.id(), "it/2", 1));
        assert_eq!(info.direction, Direction::Outbound);
        assert!(!info.is_static && !info.is_trusted);
        assert_eq!(info.sessions, [("one".to_owned(), 1)]);
        assert_eq!(info.listen_addrs, second.info().await.expect("it runs").listen_addrs);
        for protocol in ["/rendezvous/sub/one/1", rpc::PROTOCOL, "/rendezvous/goodbye/1.0.0"] {
            assert!(info.protocols.iter().any(|it| it == protocol), "{:?}", info.protocols);
        }
        let info = second.peers().await.expect("it runs").pop().expect("it is connected");
        assert_eq!((info.id, info.direction), (first.id(), Direction::Inbound));
        assert_eq!(second.info().await.expect("it runs").peers, 1);
        assert_eq!(first.peer(first.id()).await.expect("it runs"), None);
    })
    .await;
}
