//! What the tests of nodes share.

use std::time::Duration;

use futures::StreamExt as _;
use libp2p::{Multiaddr, PeerId};
use rendezvous_node::{Builder, Event, Events, Node};

/// Runs a test that awaits events, and fails it where one does not come within a minute.
pub(crate) async fn in_time<F: Future>(test: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), test).await.expect("what the test waits for happens")
}

pub(crate) fn tcp() -> Multiaddr {
    "/ip4/127.0.0.1/tcp/0".parse().expect("it is an address")
}

pub(crate) fn quic() -> Multiaddr {
    "/ip4/127.0.0.1/udp/0/quic-v1".parse().expect("it is an address")
}

/// A node on loopback that runs.
pub(crate) async fn start(builder: Builder) -> Node {
    let node = builder.listen(tcp()).build().expect("the settings are right");
    node.start().await.expect("loopback can be listened on");
    node
}

/// An address at which a node can be dialled, with its id.
pub(crate) async fn address(node: &Node) -> Multiaddr {
    let info = node.info().await.expect("it runs");
    info.addresses().next().expect("it listens")
}

/// The first event from which something follows.
pub(crate) async fn event<T>(events: &mut Events, mut is: impl FnMut(Event) -> Option<T>) -> T {
    loop {
        let event = events.next().await.expect("the node lives");
        assert!(!matches!(event, Event::Missed(_)), "a test reads its events");
        if let Some(found) = is(event) {
            return found;
        }
    }
}

/// Waits until this peer is added.
pub(crate) async fn added(events: &mut Events, peer: PeerId) {
    event(events, |event| matches!(event, Event::PeerAdded { peer: it, .. } if it == peer).then_some(())).await;
}
