//! The limits of streams between real swarms, each with its counter.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod streams_common;

use futures::{StreamExt as _, poll};
use libp2p::identity::Keypair;
use rendezvous_node::streams::{Incoming, OpenError, Stats, Stream};
use streams_common::{ECHO, OTHER, Peer, Raw, dropped, within};

/// Opens a stream that the other side takes.
async fn served(from: &Peer, to: &Peer, incoming: &mut Incoming) -> (Stream, Stream) {
    let out = from.control.open(to.id, ECHO).await.unwrap();
    (out, incoming.next().await.unwrap().2)
}

/// Opens a stream that the other side resets.
async fn refused(from: &Peer, to: &Peer) {
    dropped(&mut from.control.open(to.id, ECHO).await.unwrap()).await;
}

#[tokio::test]
async fn opens_per_peer_and_in_all() {
    within(async {
        let [first, second] = [0; 2].map(|_| Keypair::generate_ed25519());
        let (first, second) = (Raw::start(&first).await, Raw::start(&second).await);
        let mut peer = Peer::limited(|config| {
            config.opens_per_peer_max = 2;
            config.opens_max = 3;
        })
        .await;
        peer.dial(&first.address).await;
        peer.dial(&second.address).await;
        let open = |to: &Raw| Box::pin(peer.control.open(to.id, ECHO));

        let mut waiting = [open(&first), open(&first)];
        for opening in &mut waiting {
            assert!(poll!(opening).is_pending());
        }
        assert!(matches!(open(&first).await, Err(OpenError::TooManyOfPeer { max: 2 })));
        let mut third = open(&second);
        assert!(poll!(&mut third).is_pending());
        assert!(matches!(open(&second).await, Err(OpenError::TooMany { max: 3 })));
        let stats = peer.control.stats();
        assert_eq!((stats.opens, stats.opens_per_peer_refused, stats.opens_refused), (3, 1, 1));

        // A place that was refused in all is not lost at the peer.
        drop(waiting);
        let mut again = [open(&second), open(&first)];
        for opening in &mut again {
            assert!(poll!(opening).is_pending());
        }
        assert!(matches!(open(&second).await, Err(OpenError::TooManyOfPeer { max: 2 })));
        assert_eq!(peer.control.stats().opens, 3);
    })
    .await;
}

#[tokio::test]
async fn streams_that_wait_at_an_acceptor() {
    within(async {
        let (mut a, mut b) = (Peer::start().await, Peer::limited(|config| config.queue_max = 2).await);
        let mut echo = b.control.accept(ECHO).unwrap();
        let mut other = b.control.accept(OTHER).unwrap();
        a.connect(&mut b).await;
        let waiting = [(); 2].map(|()| a.control.open(b.id, ECHO));
        let waiting = futures::future::try_join_all(waiting).await.unwrap();
        refused(&a, &b).await;
        let stats = b.control.stats();
        assert_eq!((stats.accepted, stats.queue_refused, stats.inbound), (2, 1, 2), "{stats:?}");

        // Others have queues of their own, and what is taken makes room.
        let _out = a.control.open(b.id, OTHER).await.unwrap();
        let _taken = other.next().await.unwrap();
        let _first = echo.next().await.unwrap();
        let _third = a.control.open(b.id, ECHO).await.unwrap();
        let _both = [echo.next().await.unwrap(), echo.next().await.unwrap()];
        assert_eq!(b.control.stats().queue_refused, 1);
        drop(waiting);
    })
    .await;
}

#[tokio::test]
async fn inbound_streams_of_a_connection() {
    within(async {
        let (mut a, mut c) = (Peer::start().await, Peer::start().await);
        let mut b = Peer::limited(|config| config.inbound_per_connection_max = 2).await;
        let mut echo = b.control.accept(ECHO).unwrap();
        a.connect(&mut b).await;
        c.connect(&mut b).await;
        let (_out, first) = served(&a, &b, &mut echo).await;
        let (_other_out, second) = served(&a, &b, &mut echo).await;
        refused(&a, &b).await;
        let _elsewhere = served(&c, &b, &mut echo).await;
        let stats = b.control.stats();
        assert_eq!((stats.inbound, stats.inbound_per_connection_refused, stats.inbound_refused), (3, 1, 0));

        drop(first);
        let _again = served(&a, &b, &mut echo).await;
        refused(&a, &b).await;
        drop(second);
        assert_eq!(b.control.stats().inbound, 2);
        assert_eq!(b.control.stats().inbound_per_connection_refused, 2);
    })
    .await;
}

#[tokio::test]
async fn inbound_streams_in_all_outlive_their_connections() {
    within(async {
        let (mut a, mut c) = (Peer::start().await, Peer::start().await);
        let mut b = Peer::limited(|config| config.inbound_max = 2).await;
        let mut echo = b.control.accept(ECHO).unwrap();
        a.connect(&mut b).await;
        c.connect(&mut b).await;
        let (_out, first) = served(&a, &b, &mut echo).await;
        let _second = served(&c, &b, &mut echo).await;
        refused(&c, &b).await;
        let stats = b.control.stats();
        assert_eq!((stats.inbound, stats.inbound_per_connection_refused, stats.inbound_refused), (2, 0, 1));

        a.disconnect(b.id);
        b.closed().await;
        let Stats { peers, connections, inbound, .. } = b.control.stats();
        assert_eq!((peers, connections, inbound), (1, 1, 2), "whoever holds a stream holds its place");
        refused(&c, &b).await;
        drop(first);
        let _again = served(&c, &b, &mut echo).await;
        assert_eq!(b.control.stats().inbound_refused, 2);
    })
    .await;
}

#[tokio::test]
async fn at_zero_nothing_is_opened_or_admitted() {
    within(async {
        let mut a = Peer::limited(|config| config.inbound_max = 0).await;
        let mut b = Peer::limited(|config| config.opens_per_peer_max = 0).await;
        let _echo = a.control.accept(ECHO).unwrap();
        let mut c = Peer::limited(|config| config.opens_max = usize::MAX).await;
        b.connect(&mut a).await;
        c.connect(&mut a).await;
        assert!(matches!(b.control.open(a.id, ECHO).await, Err(OpenError::TooManyOfPeer { max: 0 })));
        refused(&c, &a).await;
        assert_eq!(a.control.stats().inbound_refused, 1);
    })
    .await;
}
