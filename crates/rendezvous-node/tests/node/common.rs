//! What the tests of nodes share.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt as _;
use libp2p::{Multiaddr, PeerId};
use rendezvous_node::{
    Builder, Departure, DisconnectReason, Event, Events, Node,
    sub_protocol::{End, Messages, Peer, SessionError, SubProtocol, Version},
};

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

/// Two nodes that run, the one with the smaller id first: it opens the streams of sessions.
pub(crate) async fn two(builder: impl Fn() -> Builder) -> [Node; 2] {
    let mut nodes = [start(builder()).await, start(builder()).await];
    nodes.sort_by_key(Node::id);
    nodes
}

/// An address at which a node can be dialled, with its id.
pub(crate) async fn address(node: &Node) -> Multiaddr {
    let info = node.info().await.expect("it runs");
    info.addresses().next().expect("it listens")
}

/// Connects one node to another; both have added each other then.
pub(crate) async fn join(from: &Node, to: &Node) {
    let mut events = to.events();
    from.dial(&address(to).await).await.expect("it is there");
    added(&mut events, from.id()).await;
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

/// Waits until this peer has told what it is.
pub(crate) async fn identified(events: &mut Events, peer: PeerId) -> String {
    event(events, |event| match event {
        Event::PeerIdentified { peer: it, name } if it == peer => Some(name),
        _ => None,
    })
    .await
}

/// Waits until this peer is dropped.
pub(crate) async fn dropped(events: &mut Events, peer: PeerId) -> Departure {
    event(events, |event| match event {
        Event::PeerDropped { peer: it, departure } if it == peer => Some(departure),
        _ => None,
    })
    .await
}

/// Waits until somebody is refused.
pub(crate) async fn refused(events: &mut Events) -> (PeerId, DisconnectReason) {
    event(events, |event| match event {
        Event::PeerRefused { peer, reason } => Some((peer, reason)),
        _ => None,
    })
    .await
}

/// Waits until a session of this sub-protocol has begun; gives its version.
pub(crate) async fn session_started(events: &mut Events, name: &str) -> u32 {
    event(events, |event| match event {
        Event::SessionStarted { sub_protocol, version, .. } if sub_protocol == name => Some(version),
        _ => None,
    })
    .await
}

/// Waits until a session of this sub-protocol has ended; tells how and why.
pub(crate) async fn session_ended(events: &mut Events, name: &str) -> (String, DisconnectReason) {
    event(events, |event| match event {
        Event::SessionEnded { sub_protocol, how, reason, .. } if sub_protocol == name => Some((how, reason)),
        _ => None,
    })
    .await
}

/// What has happened until this peer was dropped.
pub(crate) async fn until_dropped(events: &mut Events, peer: PeerId) -> Vec<Event> {
    let mut all = Vec::new();
    event(events, |event| {
        let is_last = matches!(event, Event::PeerDropped { peer: it, .. } if it == peer);
        all.push(event);
        is_last.then_some(())
    })
    .await;
    all
}

/// Checks that each peer is added before it does anything and dropped once behind all of it, and that of each sub-protocol it
/// has one session at a time, in which its messages are.
pub(crate) fn check_order(events: &[Event]) {
    let mut peers: BTreeMap<PeerId, BTreeMap<String, bool>> = BTreeMap::new();
    for event in events {
        let here = |peer: &PeerId| peers.contains_key(peer);
        match event {
            Event::PeerAdded { peer, .. } => {
                assert!(peers.insert(*peer, BTreeMap::new()).is_none(), "added twice: {events:#?}");
            }
            Event::PeerDropped { peer, .. } => {
                let sessions = peers.remove(peer).expect("who is dropped was added");
                assert!(sessions.values().all(|runs| !runs), "sessions end first: {events:#?}");
            }
            Event::PeerIdentified { peer, .. } => assert!(here(peer), "{events:#?}"),
            Event::SessionStarted { peer, sub_protocol, .. } => {
                let sessions = peers.get_mut(peer).expect("it was added");
                assert_ne!(sessions.insert(sub_protocol.clone(), true), Some(true), "one at a time: {events:#?}");
            }
            Event::SessionEnded { peer, sub_protocol, .. } => {
                let sessions = peers.get_mut(peer).expect("it was not yet dropped");
                assert_eq!(sessions.insert(sub_protocol.clone(), false), Some(true), "{events:#?}");
            }
            Event::MessageSent { peer, sub_protocol, .. } | Event::MessageReceived { peer, sub_protocol, .. } => {
                assert_eq!(peers.get(peer).and_then(|sessions| sessions.get(sub_protocol)), Some(&true));
            }
            _ => {}
        }
    }
}

/// A sub-protocol of one version with four codes.
pub(crate) fn sub_protocol<F, R>(name: &str, run: F) -> SubProtocol
where
    F: Fn(Peer, Messages) -> R + Send + Sync + 'static,
    R: Future<Output = Result<End, SessionError>> + Send + 'static,
{
    SubProtocol::new(name, Version { number: 1, codes: 4 }, run).expect("the name is right")
}

/// A sub-protocol that receives for as long as there is something, and then says that it has finished.
pub(crate) fn listening(name: &str) -> SubProtocol {
    sub_protocol(name, async |_, mut messages: Messages| {
        loop {
            messages.recv().await?;
        }
    })
}
