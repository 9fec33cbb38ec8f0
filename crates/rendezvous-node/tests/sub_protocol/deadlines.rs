//! Everything that waits for the other side ends in time, in virtual time.

use std::{future::pending, time::Duration};

use rendezvous_node::{
    DisconnectReason,
    sub_protocol::{
        END_DEADLINE, End, Ended, Limits, READ_DEADLINE, ReceiveError, SendError, SessionError, StreamFailure,
        WRITE_DEADLINE,
    },
};
use tokio::{
    io::AsyncWriteExt as _,
    time::{Instant, interval, timeout},
};

use crate::harness::{STREAM_BYTES, agreed, agreed_with, discard, ended, frame, raw, rest};

const SECOND: Duration = Duration::from_secs(1);

/// A second of virtual time.
async fn second() {
    let _ = timeout(SECOND, pending::<()>()).await;
}

#[tokio::test(start_paused = true)]
async fn a_send_that_is_not_taken_fails_in_time() {
    let protocol = agreed(|_, messages| async move {
        let started = Instant::now();
        let sent = messages.send_bytes(1, &[7; 10 * STREAM_BYTES]).await;
        assert_eq!(sent, Err(SendError::Stream(StreamFailure::WriteDeadline)));
        assert_eq!(started.elapsed(), WRITE_DEADLINE);
        assert_eq!(messages.send_bytes(1, b"").await, sent, "the stream is lost");
        assert_eq!(started.elapsed(), WRITE_DEADLINE);
        sent?;
        Ok(End::Finished)
    });
    let (_stream, session) = raw(protocol);
    let started = Instant::now();
    let ended = ended(session).await;
    assert!(matches!(ended, Ended::Stream(StreamFailure::WriteDeadline)), "{ended}");
    assert_eq!(ended.reason(), DisconnectReason::Timeout);
    // Once for an end that may have come, once for closing.
    assert!(started.elapsed() <= WRITE_DEADLINE + 2 * END_DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn a_send_that_is_not_taken_is_the_cause_also_when_the_other_side_closes() {
    let protocol = agreed(|_, messages| async move {
        messages.send_bytes(1, &[7; 10 * STREAM_BYTES]).await?;
        Ok(End::Finished)
    });
    let (mut stream, session) = raw(protocol);
    stream.shutdown().await.expect("in memory");
    let ended = ended(session).await;
    assert!(matches!(ended, Ended::Stream(StreamFailure::WriteDeadline)), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn sends_that_wait_for_a_stuck_one_fail_with_it() {
    let protocol = agreed(|_, messages| async move {
        let started = Instant::now();
        let (_reader, writer) = messages.split();
        let long = [7; 10 * STREAM_BYTES];
        let sends = (0..10).map(|_| writer.send_bytes(1, &long));
        for sent in futures::future::join_all(sends).await {
            assert_eq!(sent, Err(SendError::Stream(StreamFailure::WriteDeadline)));
        }
        assert_eq!(started.elapsed(), WRITE_DEADLINE);
        Ok(End::Finished)
    });
    let (_stream, session) = raw(protocol);
    let ended = ended(session).await;
    assert!(matches!(ended, Ended::Stream(StreamFailure::WriteDeadline)), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_has_begun_must_be_complete_in_time() {
    for begun in [1, 2, 3, 50] {
        let (mut stream, session) = raw(discard());
        let started = Instant::now();
        stream.write_all(&frame(1, &[7; 100])[..begun]).await.expect("there is room");
        assert_eq!(rest(&mut stream).await, frame(0, &[0, 11]), "it is told that it was too slow");
        assert_eq!(started.elapsed(), READ_DEADLINE);
        let ended = ended(session).await;
        assert!(matches!(ended, Ended::Stream(StreamFailure::ReadDeadline)), "{ended}");
        assert_eq!(ended.reason(), DisconnectReason::Timeout);
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_dribble_in_buy_no_time() {
    // Two ways to receive: to wait, and to begin anew every 700 ms.
    for patience in [Duration::MAX, Duration::from_millis(700)] {
        let protocol = agreed(move |_, mut messages| async move {
            let started = Instant::now();
            loop {
                if let Ok(message) = timeout(patience, messages.recv()).await {
                    assert_eq!(message, Err(ReceiveError::Stream(StreamFailure::ReadDeadline)));
                    assert_eq!(started.elapsed(), READ_DEADLINE);
                    return message.map(|_| End::Finished).map_err(SessionError::from);
                }
            }
        });
        let (mut stream, session) = raw(protocol);
        let bytes = frame(1, &[7; 100]);
        let mut ticks = interval(SECOND);
        for byte in bytes {
            ticks.tick().await;
            if stream.write_all(&[byte]).await.is_err() {
                break;
            }
        }
        let ended = ended(session).await;
        assert!(matches!(ended, Ended::Stream(StreamFailure::ReadDeadline)), "{ended}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_message_has_the_whole_time() {
    let protocol = agreed(|_, mut messages| async move {
        for _ in 0..5 {
            messages.recv().await?;
        }
        Ok(End::Finished)
    });
    let (mut stream, session) = raw(protocol);
    for _ in 0..5 {
        let bytes = frame(1, &[7; 27]);
        for byte in bytes {
            stream.write_all(&[byte]).await.expect("there is room");
            second().await;
        }
    }
    assert_eq!(rest(&mut stream).await, frame(0, &[]));
    drop(stream);
    assert!(matches!(ended(session).await, Ended::ByUs(End::Finished)));
}

#[tokio::test(start_paused = true)]
async fn time_in_which_nobody_receives_does_not_count() {
    let protocol = agreed(|_, mut messages| async move {
        // The second message begins with the bytes of the first read.
        messages.recv().await?;
        for _ in 0..3_600 {
            second().await;
        }
        assert_eq!(messages.recv().await?.size(), 2 * STREAM_BYTES);
        Ok(End::Finished)
    });
    let (mut stream, session) = raw(protocol);
    let bytes = [frame(1, b""), frame(1, &[7; 2 * STREAM_BYTES])].concat();
    stream.write_all(&bytes).await.expect("it is received");
    drop(stream);
    let ended = ended(session).await;
    assert!(matches!(ended, Ended::ByUs(End::Finished)), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn silence_has_no_deadline() {
    let protocol = agreed(|_, mut messages| async move {
        messages.recv().await?;
        Ok(End::Finished)
    });
    let (mut stream, session) = raw(protocol);
    for _ in 0..24 * 3_600 {
        second().await;
    }
    assert!(!session.is_finished());
    stream.write_all(&frame(1, b"at last")).await.expect("there is room");
    assert_eq!(rest(&mut stream).await, frame(0, &[]));
    drop(stream);
    assert!(matches!(ended(session).await, Ended::ByUs(End::Finished)));
}

#[tokio::test(start_paused = true)]
async fn parting_waits_for_the_other_side_but_not_for_long() {
    // One that reads and does not close, one that does neither, and one that floods.
    for (sends_first, floods) in [(false, false), (true, false), (false, true)] {
        let protocol = agreed(move |_, messages| async move {
            if sends_first {
                let sent = timeout(SECOND, messages.send_bytes(1, &[7; 10 * STREAM_BYTES])).await;
                assert!(sent.is_err(), "nobody reads");
            }
            Ok(End::Session(DisconnectReason::UselessPeer))
        });
        let (mut stream, session) = raw(protocol);
        let started = Instant::now();
        if floods {
            while stream.write_all(&frame(1, &[7; 1_000])).await.is_ok() {
                let _ = timeout(Duration::from_millis(1), pending::<()>()).await;
            }
        }
        let ended = ended(session).await;
        assert!(matches!(ended, Ended::ByUs(End::Session(DisconnectReason::UselessPeer))), "{ended}");
        let expected = if sends_first { SECOND + END_DEADLINE } else { END_DEADLINE };
        assert_eq!(started.elapsed().as_secs(), expected.as_secs());
    }
}

#[tokio::test(start_paused = true)]
async fn parting_is_at_once_when_the_other_side_closes() {
    let (mut stream, session) = raw(agreed(|_, _| async { Ok(End::Finished) }));
    let started = Instant::now();
    assert_eq!(rest(&mut stream).await, frame(0, &[]));
    stream.shutdown().await.expect("in memory");
    assert!(matches!(ended(session).await, Ended::ByUs(End::Finished)));
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn deadlines_are_settings() {
    let mut limits = Limits::default();
    limits.write_deadline = 3 * SECOND;
    limits.read_deadline = 5 * SECOND;
    limits.end_deadline = 7 * SECOND;
    let elapsed = async |sends: bool, returns: bool| {
        let (mut stream, session) = raw(agreed_with(limits, move |_, mut messages| async move {
            if sends {
                messages.send_bytes(1, &[7; 10 * STREAM_BYTES]).await?;
            } else if !returns {
                messages.recv().await?;
            }
            Ok(End::Finished)
        }));
        if !sends && !returns {
            stream.write_all(&frame(1, b"begun")[..4]).await.expect("there is room");
        }
        let started = Instant::now();
        ended(session).await;
        started.elapsed().as_secs()
    };
    assert_eq!(elapsed(false, false).await, 5);
    assert_eq!(elapsed(false, true).await, 7);
    assert!((3..=3 + 2 * 7).contains(&elapsed(true, false).await));
}
