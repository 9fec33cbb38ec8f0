//! What the session does around the run function.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::FutureExt as _;
use rendezvous_node::{
    DisconnectReason,
    sub_protocol::{
        Direction, End, Ended, Messages, Observer, Peer, ReceiveError, SendError, Traffic, end_session, expect_message,
        pipe_to, session, some_peer,
    },
};
use tokio::{
    io::AsyncWriteExt as _,
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};
use tokio_util::compat::TokioAsyncReadCompatExt as _;

use crate::harness::{STREAM_BYTES, agreed, discard, ended, frame, raw, rest};

#[tokio::test]
async fn bytes_on_the_wire_are_those_of_the_documentation() {
    let (mut stream, session) = raw(agreed(|_, messages| async move {
        messages.send(0, "foo").await?;
        messages.send_bytes(6, b"").await?;
        Ok(End::Disconnect(DisconnectReason::TooManyPeers))
    }));
    let expected = b"\x06\x00\x01\x63foo\x02\x00\x07\x04\x00\x00\x01\x04";
    assert_eq!(rest(&mut stream).await, expected);
    drop(stream);
    ended(session).await;
}

#[tokio::test]
async fn a_run_function_is_told_whom_it_is_with() {
    let (tx, mut rx) = mpsc::unbounded_channel();
    let protocol = agreed(move |peer: Peer, _| {
        let told = tx.send(peer).map_err(rendezvous_node::sub_protocol::SessionError::application);
        async move { told.map(|()| End::Finished) }
    });
    let mut peer = some_peer();
    peer.agent = "agent/1.0".into();
    peer.direction = Direction::Outbound;
    let (messages, session) = pipe_to(protocol, peer.clone());
    drop(messages);
    session.await;
    peer.version = 1;
    assert_eq!(rx.recv().await, Some(peer));
}

#[tokio::test]
async fn an_observer_is_told_of_each_message_that_passes() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let observer: Observer = {
        let seen = Arc::clone(&seen);
        Arc::new(move |traffic| seen.lock().expect("no panic").push(traffic))
    };
    let protocol = agreed(|_, mut messages| async move {
        messages.recv().await?;
        messages.send_bytes(7, &[1; 100]).await?;
        assert!(messages.send_bytes(100, b"no such message").await.is_err());
        messages.recv().await?;
        Ok(End::Finished)
    });
    let (ours, mut theirs) = tokio::io::duplex(STREAM_BYTES);
    theirs.write_all(&frame(3, b"abc")).await.expect("there is room");
    theirs.write_all(&frame(1, b"")).await.expect("there is room");
    theirs.write_all(&frame(5, b"not received")).await.expect("there is room");
    theirs.shutdown().await.expect("in memory");
    session::run(ours.compat(), protocol, some_peer(), Some(observer), pending()).await;
    let expected = [
        Traffic::Received { code: 2, size_bytes: 3 },
        Traffic::Sent { code: 7, size_bytes: 100 },
        Traffic::Received { code: 0, size_bytes: 0 },
    ];
    assert_eq!(*seen.lock().expect("no panic"), expected);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_stopped_from_outside() {
    for end in [End::Session(DisconnectReason::Requested), End::Disconnect(DisconnectReason::Quitting)] {
        let (dropped, was_dropped) = oneshot::channel::<()>();
        let dropped = Mutex::new(Some(dropped));
        let protocol = agreed(move |_, _messages| {
            let dropped = dropped.lock().expect("no panic").take();
            async move {
                pending::<()>().await;
                drop(dropped);
                Ok(End::Finished)
            }
        });
        let (ours, mut theirs) = tokio::io::duplex(STREAM_BYTES);
        let (stop, stopped) = oneshot::channel();
        let stopped = stopped.map(|end| end.expect("it is sent"));
        let session = tokio::spawn(session::run(ours.compat(), protocol, some_peer(), None, stopped));
        stop.send(end).expect("the session waits for it");
        let scope = u8::from(matches!(end, End::Disconnect(_)));
        assert_eq!(rest(&mut theirs).await, frame(0, &[scope, end.reason().code()]));
        drop(theirs);
        let ended = ended(session).await;
        assert!(matches!(ended, Ended::ByUs(how) if how == end), "{ended}");
        was_dropped.await.expect_err("the run function is dropped with what it holds");
    }
}

#[tokio::test(start_paused = true)]
async fn causes_of_an_end_that_come_together_end_the_session_once() {
    // Every subset of the causes, in whatever order the runtime takes them.
    for causes in 0..1_u32 << 5 {
        let has = |cause: u32| causes & 1 << cause != 0;
        let returns = has(0);
        let protocol = agreed(move |_, mut messages: Messages| async move {
            if returns {
                return Ok(End::Session(DisconnectReason::UselessPeer));
            }
            loop {
                messages.recv().await?;
            }
        });
        let (ours, mut theirs) = tokio::io::duplex(STREAM_BYTES);
        let (stop, stopped) = oneshot::channel();
        let stopped = async move {
            match stopped.await {
                Ok(end) => end,
                Err(_) => pending().await,
            }
        };
        let session = tokio::spawn(session::run(ours.compat(), protocol, some_peer(), None, stopped));
        if has(1) {
            stop.send(End::Disconnect(DisconnectReason::Requested)).expect("the session waits for it");
        }
        tokio::spawn(async move {
            for (cause, bytes) in [(2, frame(1, b"foo")), (3, frame(0, &[1, 8])), (4, frame(99, b""))] {
                if causes & 1 << cause != 0 {
                    let _ = theirs.write_all(&bytes).await;
                }
            }
            // The connection is lost.
            drop(theirs);
        });
        let ended = timeout(Duration::from_secs(10), session).await.expect("it ends").expect("it does not panic");
        let expected = match () {
            () if has(1) => matches!(ended, Ended::ByUs(End::Disconnect(DisconnectReason::Requested))),
            () if has(0) => matches!(ended, Ended::ByUs(End::Session(DisconnectReason::UselessPeer))),
            () if has(3) => matches!(ended, Ended::ByPeer(End::Disconnect(DisconnectReason::Quitting))),
            () if has(4) => matches!(ended, Ended::Breach(_)),
            () => matches!(ended, Ended::Stream(_)),
        };
        assert!(expected, "causes {causes:05b}: {ended}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_a_send_runs_into_is_found() {
    let protocol = agreed(|_, messages| async move {
        loop {
            messages.send_bytes(1, &[7; STREAM_BYTES]).await?;
        }
    });
    let (mut stream, session) = raw(protocol);
    stream.write_all(&frame(2, b"one more message")).await.expect("there is room");
    stream.write_all(&frame(0, &[0, 4])).await.expect("there is room");
    drop(stream);
    let ended = ended(session).await;
    assert!(matches!(ended, Ended::ByPeer(End::Session(DisconnectReason::TooManyPeers))), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn what_was_given_away_fails_when_the_session_is_over() {
    let (tx, mut rx) = mpsc::unbounded_channel();
    let protocol = agreed(move |_, messages: Messages| {
        let given = tx.send(messages.split());
        async move {
            given.map_err(|_| rendezvous_node::sub_protocol::SessionError::application("nobody takes it"))?;
            tokio::task::yield_now().await;
            Ok(End::Finished)
        }
    });
    let (mut stream, session) = raw(protocol);
    let (mut reader, writer) = rx.recv().await.expect("it is given away");
    let receiving = tokio::spawn(async move { (reader.recv().await, reader) });
    let sending = {
        let writer = writer.clone();
        tokio::spawn(async move { writer.send_bytes(1, &[7; 10 * STREAM_BYTES]).await })
    };
    let (came, mut reader) = receiving.await.expect("no panic");
    assert_eq!(came, Err(ReceiveError::Over));
    assert_eq!(sending.await.expect("no panic"), Err(SendError::Over));
    // What was begun is completed before the end, so that the other side can tell it.
    let bytes = rest(&mut stream).await;
    assert!(bytes.ends_with(&frame(0, &[])));
    drop(stream);
    assert!(matches!(ended(session).await, Ended::ByUs(End::Finished)));
    assert_eq!(reader.recv().await, Err(ReceiveError::Over));
    assert_eq!(writer.send_bytes(1, b"").await, Err(SendError::Over));
}

#[tokio::test(start_paused = true)]
async fn a_send_that_nobody_polls_does_not_hold_up_the_end() {
    let (tx, mut rx) = mpsc::unbounded_channel();
    let protocol = agreed(move |_, messages: Messages| {
        let (_reader, writer) = messages.split();
        let mut sending = Box::pin(async move { writer.send_bytes(1, &[7; 10 * STREAM_BYTES]).await });
        let tx = tx.clone();
        async move {
            assert_eq!(sending.as_mut().now_or_never(), None, "the stream does not hold it");
            tx.send(sending).map_err(|_| rendezvous_node::sub_protocol::SessionError::application("nobody"))?;
            Ok(End::Finished)
        }
    });
    let (_stream, session) = raw(protocol);
    let started = Instant::now();
    assert!(matches!(ended(session).await, Ended::ByUs(End::Finished)));
    assert_eq!(started.elapsed(), rendezvous_node::sub_protocol::END_DEADLINE);
    let sending = rx.recv().await.expect("it is given away");
    assert_eq!(sending.await, Err(SendError::Over));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_never_reads_harms_no_other() {
    let (mut stuck_stream, stuck) = raw(agreed(|_, _messages| pending()));
    let flood = tokio::spawn(async move {
        loop {
            if stuck_stream.write_all(&frame(1, &[7; 1_000])).await.is_err() {
                return;
            }
        }
    });
    let echo = agreed(|_, mut messages| async move {
        loop {
            let message = messages.recv().await?;
            messages.send_bytes(message.code, &message.payload).await?;
        }
    });
    let (mut messages, session) = pipe_to(echo, some_peer());
    let session = tokio::spawn(session);
    let started = Instant::now();
    for index in 0..1_000_u16 {
        messages.send(1, &index).await.expect("it is received");
        expect_message(&mut messages, 1, &index).await.expect("it comes back");
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
    end_session(messages, End::Finished).await;
    assert!(matches!(ended(session).await, Ended::ByPeer(End::Finished)));
    assert!(!stuck.is_finished() && !flood.is_finished());
    stuck.abort();
    flood.await.expect("it sees the stream close");
}

#[tokio::test(start_paused = true)]
async fn a_receive_that_is_dropped_loses_nothing() {
    let protocol = agreed(|_, mut messages| async move {
        let mut came = Vec::new();
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        while came.len() < 3 {
            tokio::select! {
                biased;
                message = messages.recv() => came.push(message?.payload.to_vec()),
                _ = ticks.tick() => {}
            }
        }
        assert_eq!(came, [&b"one"[..], b"two", &[7; 300]]);
        Ok(End::Finished)
    });
    let (mut stream, session) = raw(protocol);
    let bytes = [frame(1, b"one"), frame(1, b"two"), frame(1, &[7; 300])].concat();
    // Each byte comes alone, while receives begin and are dropped.
    let mut ticks = tokio::time::interval(Duration::from_micros(3_700));
    for byte in bytes {
        ticks.tick().await;
        stream.write_all(&[byte]).await.expect("there is room");
    }
    assert_eq!(rest(&mut stream).await, frame(0, &[]));
    drop(stream);
    let ended = ended(session).await;
    assert!(matches!(ended, Ended::ByUs(End::Finished)), "{ended}");
}

#[tokio::test]
async fn a_session_on_another_thread_may_be_waited_for() {
    fn is_send<T: Send>(_: &T) {}
    let (messages, session) = pipe_to(discard(), some_peer());
    is_send(&session);
    drop(messages);
    session.await;
}
