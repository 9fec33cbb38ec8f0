//! Streams between real swarms.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod streams_common;

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _, poll};
use libp2p::{PeerId, StreamProtocol, identity::Keypair};
use rendezvous_node::streams::{AlreadyAccepted, Incoming, OPEN_TIMEOUT, OpenError, Stats, Stream};
use streams_common::{ECHO, Event, Network, OTHER, Options, Peer, Raw, config, dropped, exchange, within};
use tokio::time::Instant;

async fn next(incoming: &mut Incoming) -> Stream {
    incoming.next().await.unwrap().2
}

/// Whether nothing is left of connections, opens and streams.
fn is_empty(stats: &Stats) -> bool {
    [stats.peers, stats.connections, stats.opens, stats.opens_queued, stats.inbound] == [0; 5]
}

#[tokio::test]
async fn either_side_of_a_connection_opens_streams() {
    within(async {
        let (mut a, mut b) = (Peer::start().await, Peer::start().await);
        let mut at_a = a.control.accept(ECHO).unwrap();
        let mut at_b = b.control.accept(ECHO).unwrap();
        let connection = a.dial(&b.address).await;
        b.connected().await;
        for (from, to, incoming) in [(&a, &b, &mut at_b), (&b, &a, &mut at_a)] {
            let mut out = from.control.open(to.id, ECHO).await.unwrap();
            let (peer, id, mut back) = incoming.next().await.unwrap();
            assert_eq!((peer, id), (from.id, back.connection()));
            assert_eq!((out.peer(), back.peer()), (to.id, from.id));
            assert_eq!((out.protocol(), back.protocol()), (&ECHO, &ECHO));
            let read = tokio::join!(exchange(&mut out, b"ping"), exchange(&mut back, b"pong"));
            assert_eq!(read, (b"pong".to_vec(), b"ping".to_vec()));
        }
        let out = a.control.open(b.id, ECHO).await.unwrap();
        assert_eq!(out.connection(), connection);
        assert_eq!((a.control.stats().opened, a.control.stats().accepted), (2, 1));
    })
    .await;
}

#[tokio::test]
async fn streams_over_quic() {
    within(async {
        let options = || Options { is_quic: true, config: config(|config| config.queue_max = 1), ..Options::default() };
        let (mut a, mut b) = (Peer::with(options()).await, Peer::with(options()).await);
        let mut echo = b.control.accept(ECHO).unwrap();
        a.connect(&mut b).await;
        let mut out = a.control.open(b.id, ECHO).await.unwrap();
        let mut back = next(&mut echo).await;
        let read = tokio::join!(exchange(&mut out, b"ping"), exchange(&mut back, b"pong"));
        assert_eq!(read, (b"pong".to_vec(), b"ping".to_vec()));
        assert!(matches!(a.control.open(b.id, OTHER).await, Err(OpenError::Unsupported { .. })));

        let mut waiting = a.control.open(b.id, ECHO).await.unwrap();
        dropped(&mut a.control.open(b.id, ECHO).await.unwrap()).await;
        assert_eq!(b.control.stats().queue_refused, 1);
        drop(echo);
        dropped(&mut waiting).await;
        drop((out, back, waiting));
        a.disconnect(b.id);
        a.closed().await;
        b.closed().await;
        assert!(is_empty(&a.control.stats()) && is_empty(&b.control.stats()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_open_at_once_while_acceptors_come_and_go() {
    within(async {
        let (mut a, mut b) = (Peer::limited(|config| config.opens_per_peer_max = 8).await, Peer::start().await);
        a.connect(&mut b).await;
        let acceptor = b.control.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let mut echo = acceptor.accept(ECHO).unwrap();
                for _ in 0..3 {
                    echo.next().await.unwrap();
                }
            }
        });
        let openers = (0..16).map(|_| {
            let (control, peer) = (a.control.clone(), b.id);
            tokio::spawn(async move {
                for _ in 0..100 {
                    match control.open(peer, ECHO).await {
                        Ok(_) | Err(OpenError::Unsupported { .. }) => {}
                        Err(OpenError::TooManyOfPeer { .. }) => tokio::task::yield_now().await,
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        });
        for opened in futures::future::join_all(openers).await {
            opened.unwrap();
        }
        let stats = a.control.stats();
        assert_eq!((stats.opens, stats.opens_queued, stats.opens_timed_out), (0, 0, 0), "{stats:?}");
        accepting.abort();
        assert!(accepting.await.unwrap_err().is_cancelled());
        a.disconnect(b.id);
        b.closed().await;
        let stats = b.control.stats();
        assert!(is_empty(&stats) && stats.protocols == 0, "{stats:?}");
    })
    .await;
}

#[tokio::test]
async fn one_acceptor_takes_several_protocols_and_another_the_rest() {
    within(async {
        const VERSIONS: [StreamProtocol; 2] = [StreamProtocol::new("/sub/2"), StreamProtocol::new("/sub/1")];
        let (mut a, mut b) = (Peer::start().await, Peer::start().await);
        let mut versions = b.control.accept_all(VERSIONS).unwrap();
        let mut echo = b.control.accept(ECHO).unwrap();
        assert_eq!(versions.protocols(), VERSIONS);
        let [_, old] = VERSIONS;
        assert_eq!(b.control.accept_all([OTHER, old.clone()]).unwrap_err(), AlreadyAccepted { protocol: old });
        assert_eq!(b.control.stats().protocols, 3);
        a.connect(&mut b).await;
        for protocol in VERSIONS {
            let _out = a.control.open(b.id, protocol.clone()).await.unwrap();
            assert_eq!(*next(&mut versions).await.protocol(), protocol);
        }
        let _out = a.control.open(b.id, ECHO).await.unwrap();
        assert_eq!(*next(&mut echo).await.protocol(), ECHO);
    })
    .await;
}

#[tokio::test]
async fn an_acceptor_of_nothing_ends_at_once() {
    let peer = Peer::start().await;
    assert!(within(peer.control.accept_all([]).unwrap().next()).await.is_none());
}

#[tokio::test]
async fn what_is_not_connected_is_not_dialled() {
    within(async {
        let (mut a, mut b) = (Peer::start().await, Peer::start().await);
        let stranger = PeerId::random();
        let refused = a.control.open(stranger, ECHO).await.unwrap_err();
        assert!(matches!(refused, OpenError::NotConnected { peer } if peer == stranger), "{refused}");
        a.connect(&mut b).await;
        a.disconnect(b.id);
        a.closed().await;
        let refused = a.control.open(b.id, ECHO).await.unwrap_err();
        assert!(matches!(refused, OpenError::NotConnected { .. }), "{refused}");
        assert!(is_empty(&a.control.stats()));
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_stands_offers_what_is_accepted_at_the_time() {
    within(async {
        let (mut a, mut b) = (Peer::start().await, Peer::start().await);
        a.connect(&mut b).await;
        let refused = a.control.open(b.id, ECHO).await.unwrap_err();
        assert!(matches!(refused, OpenError::Unsupported { protocol } if protocol == ECHO));

        let mut echo = b.control.accept(ECHO).unwrap();
        let _served = a.control.open(b.id, ECHO).await.unwrap();
        let _serving = next(&mut echo).await;
        let mut waiting = a.control.open(b.id, ECHO).await.unwrap();
        drop(echo);
        dropped(&mut waiting).await;
        let refused = a.control.open(b.id, ECHO).await.unwrap_err();
        assert!(matches!(refused, OpenError::Unsupported { .. }), "{refused}");

        let mut again = b.control.accept(ECHO).unwrap();
        let mut out = a.control.open(b.id, ECHO).await.unwrap();
        out.write_all(b"!").await.unwrap();
        let mut byte = [0];
        next(&mut again).await.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"!");
    })
    .await;
}

#[tokio::test]
async fn a_change_of_what_is_accepted_is_announced_on_connections_that_stand() {
    within(async {
        let options = || Options { identifies: true, ..Options::default() };
        let (mut a, mut b) = (Peer::with(options()).await, Peer::with(options()).await);
        a.dial(&b.address).await;
        let mut announced = async |is_offered: bool| {
            loop {
                if let Event::Identified(protocols) = a.events.recv().await.unwrap() {
                    assert_eq!(protocols.contains(&ECHO), is_offered, "{protocols:?}");
                    break;
                }
            }
        };
        announced(false).await;
        // A push goes to those alone who have been heard of.
        while !matches!(b.events.recv().await.unwrap(), Event::Identified(_)) {}
        let echo = b.control.accept(ECHO).unwrap();
        announced(true).await;
        drop(echo);
        announced(false).await;
    })
    .await;
}

#[tokio::test]
async fn an_open_ends_with_the_last_connection_and_moves_on_from_others() {
    within(async {
        let key = Keypair::generate_ed25519();
        let (mut old, mut new) = (Raw::start(&key).await, Raw::start(&key).await);
        let mut peer = Peer::start().await;
        peer.dial(&old.address).await;
        peer.dial(&new.address).await;
        let opening = peer.control.open(old.id, ECHO);
        let lose = async {
            new.came.recv().await.unwrap();
            new.hang_up();
            old.came.recv().await.unwrap();
            old.hang_up();
        };
        let (lost, ()) = tokio::join!(opening, lose);
        assert!(matches!(lost, Err(OpenError::ConnectionLost)), "{lost:?}");
        peer.closed().await;
        peer.closed().await;
        assert!(is_empty(&peer.control.stats()));
    })
    .await;
}

#[tokio::test]
async fn the_end_of_a_connection_is_not_taken_for_that_of_its_stream() {
    within(async {
        // Over QUIC a stream tells of the end before its connection does.
        let mut silent = Raw::on(Network::Quic, &Keypair::generate_ed25519()).await;
        let mut peer = Peer::with(Options { is_quic: true, ..Options::default() }).await;
        peer.dial(&silent.address).await;
        let opening = peer.control.open(silent.id, ECHO);
        let lose = async {
            silent.came.recv().await.unwrap();
            silent.hang_up();
        };
        let (lost, ()) = tokio::join!(opening, lose);
        assert!(matches!(lost, Err(OpenError::ConnectionLost)), "{lost:?}");
    })
    .await;
}

#[tokio::test]
async fn an_open_ends_when_this_side_disconnects() {
    within(async {
        let mut silent = Raw::start(&Keypair::generate_ed25519()).await;
        let mut peer = Peer::start().await;
        peer.dial(&silent.address).await;
        let opening = peer.control.open(silent.id, ECHO);
        let lose = async {
            silent.came.recv().await.unwrap();
            peer.disconnect(silent.id);
        };
        let (lost, ()) = tokio::join!(opening, lose);
        assert!(matches!(lost, Err(OpenError::ConnectionLost)), "{lost:?}");
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_fails_alone_is_told_from_a_lost_connection() {
    within(async {
        let mut silent = Raw::start(&Keypair::generate_ed25519()).await;
        let mut peer = Peer::start().await;
        peer.dial(&silent.address).await;
        let opening = peer.control.open(silent.id, ECHO);
        let answer = async {
            silent.came.recv().await.unwrap();
            silent.talk_nonsense();
        };
        let (failed, ()) = tokio::join!(opening, answer);
        assert!(matches!(failed, Err(OpenError::Io(_))), "{failed:?}");
        let opening = peer.control.open(silent.id, ECHO);
        let answer = async {
            silent.came.recv().await.unwrap();
            silent.reset();
        };
        let (failed, ()) = tokio::join!(opening, answer);
        assert!(matches!(failed, Err(OpenError::Unsupported { .. })), "{failed:?}");
        assert_eq!(peer.control.stats().connections, 1);
    })
    .await;
}

#[tokio::test]
async fn an_open_at_a_peer_that_never_negotiates_ends_in_time() {
    let silent = Raw::start(&Keypair::generate_ed25519()).await;
    let mut peer = Peer::start().await;
    peer.dial(&silent.address).await;
    // Time goes on by itself whenever all tasks wait.
    tokio::time::pause();
    let start = Instant::now();
    let late = peer.control.open(silent.id, ECHO).await;
    assert!(matches!(late, Err(OpenError::TimedOut { after: OPEN_TIMEOUT })), "{late:?}");
    assert!(start.elapsed() >= OPEN_TIMEOUT && start.elapsed() < 2 * OPEN_TIMEOUT);
    assert_eq!((peer.control.stats().opens, peer.control.stats().opens_timed_out), (0, 1));
}

#[tokio::test]
async fn a_dropped_open_leaves_nothing() {
    within(async {
        let mut silent = Raw::start(&Keypair::generate_ed25519()).await;
        let mut peer = Peer::limited(|config| config.opens_per_peer_max = 1).await;
        peer.dial(&silent.address).await;
        let sizes = || (peer.control.stats().opens, peer.control.stats().opens_queued);

        let mut negotiated = Box::pin(peer.control.open(silent.id, ECHO));
        assert!(poll!(&mut negotiated).is_pending());
        silent.came.recv().await.unwrap();
        assert_eq!(sizes(), (1, 0));
        drop(negotiated);
        assert_eq!(sizes(), (0, 0));

        // The connection has its most negotiations, so that the next open waits in the queue.
        let mut queued = Box::pin(peer.control.open(silent.id, ECHO));
        assert!(poll!(&mut queued).is_pending());
        assert_eq!(sizes(), (1, 1));
        drop(queued);
        assert_eq!(sizes(), (0, 0));

        let mut last = Box::pin(peer.control.open(silent.id, ECHO));
        assert!(poll!(&mut last).is_pending());
        silent.reset();
        silent.came.recv().await.unwrap();
        assert_eq!(sizes(), (1, 0));
        assert!(silent.came.try_recv().is_err(), "what was dropped in the queue is not opened");
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_comes_when_its_open_is_dropped_goes_too() {
    within(async {
        let (mut a, mut b) = (Peer::start().await, Peer::start().await);
        let mut echo = b.control.accept(ECHO).unwrap();
        a.connect(&mut b).await;
        let mut opening = Box::pin(a.control.open(b.id, ECHO));
        assert!(poll!(&mut opening).is_pending());
        let (_, _, mut served) = echo.next().await.unwrap();
        drop(opening);
        dropped(&mut served).await;
        assert_eq!(a.control.stats().opens, 0);
    })
    .await;
}

#[tokio::test]
async fn with_the_swarm_opens_and_acceptors_end() {
    within(async {
        let mut silent = Raw::start(&Keypair::generate_ed25519()).await;
        let mut peer = Peer::start().await;
        let control = peer.control.clone();
        let mut echo = control.accept(ECHO).unwrap();
        peer.dial(&silent.address).await;
        let opening = control.open(silent.id, ECHO);
        let stop = async {
            silent.came.recv().await.unwrap();
            peer.stop().await;
        };
        let (lost, ()) = tokio::join!(opening, stop);
        assert!(matches!(lost, Err(OpenError::ConnectionLost)), "{lost:?}");
        assert!(echo.next().await.is_none());
        assert!(control.accept(OTHER).unwrap().next().await.is_none());
        assert!(matches!(control.open(silent.id, ECHO).await, Err(OpenError::NotConnected { .. })));
        assert!(is_empty(&control.stats()));
    })
    .await;
}

#[tokio::test]
async fn of_a_connection_that_another_behaviour_denies_nothing_is_kept() {
    within(async {
        let mut closed = Peer::with(Options { denies: true, ..Options::default() }).await;
        let peer = Peer::start().await;
        peer.begin_dial(&closed.address);
        while !matches!(closed.events.recv().await.unwrap(), Event::Denied) {}
        assert!(is_empty(&closed.control.stats()));
    })
    .await;
}

#[tokio::test]
async fn of_a_thousand_connections_nothing_is_kept() {
    const CONNECTIONS: usize = 1000;
    within(async {
        let mut server = Peer::start().await;
        let mut echo = server.control.accept(ECHO).unwrap();
        for round in 0..CONNECTIONS {
            let mut client = Peer::start().await;
            client.dial(&server.address).await;
            let _out = client.control.open(server.id, ECHO).await.unwrap();
            let _served = next(&mut echo).await;
            // Some go on their own, some are sent away, and some go in the middle of an open.
            match round % 3 {
                0 => drop(client),
                1 => server.disconnect(client.id),
                _ => {
                    let control = server.control.clone();
                    let opening = tokio::spawn(async move { control.open(client.id, OTHER).await });
                    client.disconnect(server.id);
                    assert!(opening.await.unwrap().is_err());
                }
            }
            server.closed().await;
        }
        let stats = server.control.stats();
        assert!(is_empty(&stats), "{stats:?}");
        assert_eq!(stats.accepted, CONNECTIONS as u64);
    })
    .await;
}
