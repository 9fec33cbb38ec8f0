//! Messages over pipes, and the helpers for tests.

use std::time::Duration;

use futures::{FutureExt as _, future::join};
use rendezvous_node::{
    DisconnectReason,
    sub_protocol::{
        DecodeErrorKind, End, Limits, Message, PIPE_BYTES, ReceiveError, SendError, StreamFailure, end_session,
        expect_code, expect_message, pipe, pipe_with,
    },
};
use serde::Serializer;

/// More than a pipe holds.
static LONG: [u8; PIPE_BYTES + 1] = [7; PIPE_BYTES + 1];

const CLOSED: StreamFailure = StreamFailure::Closed;

#[tokio::test]
async fn what_was_sent_before_the_end_is_received() {
    let (ours, mut theirs) = pipe();
    ours.send(8, &[[0_u8, 0]]).await.expect("there is room");
    ours.send(5, &[[1_u8, 1]]).await.expect("there is room");
    drop(ours);
    let mut came = Vec::new();
    let error = loop {
        match theirs.recv().await {
            Ok(message) => came.push((message.code, message.decode::<[[u8; 2]; 1]>().expect("as sent")[0])),
            Err(error) => break error,
        }
    };
    assert_eq!(came, [(8, [0, 0]), (5, [1, 1])]);
    assert_eq!(error, ReceiveError::Stream(CLOSED));
    assert_eq!(theirs.recv().await, Err(ReceiveError::Stream(CLOSED)), "it stays so");
}

#[tokio::test]
async fn closing_one_end_releases_a_send_of_the_other() {
    for waits in [false, true] {
        let (ours, theirs) = pipe();
        let mut send = Box::pin(ours.send_bytes(1, &LONG));
        if waits {
            assert_eq!(send.as_mut().now_or_never(), None, "the pipe does not hold it");
        }
        drop(theirs);
        assert_eq!(send.await, Err(SendError::Stream(CLOSED)));
        assert_eq!(ours.send_bytes(1, b"").await, Err(SendError::Stream(CLOSED)), "it stays so");
    }
}

#[tokio::test]
async fn closing_one_end_releases_a_receive_of_the_other() {
    let (ours, mut theirs) = pipe();
    let mut receive = Box::pin(theirs.recv());
    assert_eq!(receive.as_mut().now_or_never(), None, "nothing was sent");
    drop(ours);
    assert_eq!(receive.await, Err(ReceiveError::Stream(CLOSED)));
}

#[tokio::test(start_paused = true)]
async fn both_ends_may_end_at_once() {
    let (ours, theirs) = pipe();
    let (reader, writer) = theirs.split();
    let writers: Vec<_> = (0..10).map(|_| writer.clone()).collect();
    drop((reader, writer));
    for writer in writers {
        tokio::spawn(async move { drop(writer) });
    }
    drop(ours);

    let (ours, theirs) = pipe();
    let started = tokio::time::Instant::now();
    join(end_session(ours, End::Finished), end_session(theirs, End::Finished)).await;
    assert_eq!(started.elapsed(), Duration::ZERO, "neither waits for the other");
}

#[tokio::test]
async fn an_end_is_told_to_the_other() {
    for end in [End::Finished, End::Session(DisconnectReason::Timeout), End::Disconnect(DisconnectReason::Quitting)] {
        let (ours, mut theirs) = pipe();
        ours.send_bytes(3, b"last").await.expect("there is room");
        let ending = tokio::spawn(end_session(ours, end));
        assert_eq!(&theirs.recv().await.expect("it was sent before the end").payload[..], b"last");
        assert_eq!(theirs.recv().await, Err(ReceiveError::PeerEnded(end)));
        assert_eq!(theirs.recv().await, Err(ReceiveError::PeerEnded(end)), "it stays so");
        assert_eq!(theirs.send_bytes(3, b"").await, Err(SendError::PeerEnded(end)));
        drop(theirs);
        ending.await.expect("no panic");
    }
}

#[tokio::test]
async fn items_are_one_array() {
    let (ours, mut theirs) = pipe();
    ours.send_items(1, ["foo", "bar"]).await.expect("there is room");
    ours.send_items(2, (1..4_u8).filter(|n| n % 2 == 1)).await.expect("there is room");
    ours.send_items(3, [(); 0]).await.expect("there is room");
    ours.send(4, &("foo", 2)).await.expect("there is room");
    expect_message(&mut theirs, 1, &["foo", "bar"]).await.expect("as sent");
    expect_message(&mut theirs, 2, &[1, 3]).await.expect("as sent");
    assert_eq!(&theirs.recv().await.expect("it was sent").payload[..], [0x80]);
    assert_eq!(theirs.recv().await.expect("it was sent").decode(), Ok((String::from("foo"), 2)));
}

#[tokio::test]
async fn a_message_has_a_code_a_size_and_content() {
    let (ours, mut theirs) = pipe();
    ours.send_bytes(0, b"").await.expect("there is room");
    ours.send_bytes(u16::MAX - 1, b"\x63foo").await.expect("there is room");
    let empty = theirs.recv().await.expect("it was sent");
    assert_eq!((empty.code, empty.size()), (0, 0));
    assert_eq!(empty.decode::<u8>().map_err(|error| error.kind), Err(DecodeErrorKind::Truncated));
    empty.discard();
    let message = theirs.recv().await.expect("it was sent");
    assert_eq!((message.code, message.size()), (65_534, 4));
    assert_eq!(message.decode::<String>().as_deref(), Ok("foo"));
    assert_eq!(format!("{message:?}"), "Message { code: 65534, size: 4 }");
}

#[tokio::test]
async fn a_code_out_of_range_is_not_sent() {
    let (ours, mut theirs) = pipe_with(2, Limits::default());
    let refused = Err(SendError::Code { code: 2, codes: 2 });
    assert_eq!(ours.send(2, "foo").await, refused);
    assert_eq!(ours.send_items(2, ["foo"]).await, refused);
    assert_eq!(ours.send_bytes(2, b"foo").await, refused);
    assert_eq!(ours.send(u16::MAX, "foo").await, Err(SendError::Code { code: u16::MAX, codes: 2 }));
    ours.send(1, "foo").await.expect("it is in range");
    expect_message(&mut theirs, 1, "foo").await.expect("nothing came before");
}

#[tokio::test]
async fn content_above_the_limit_is_not_sent() {
    let mut limits = Limits::default();
    limits.message_bytes_max = 10;
    let (ours, mut theirs) = pipe_with(2, limits);
    let refused = Err(SendError::TooLong { len_bytes: 11, max_bytes: 10 });
    assert_eq!(ours.send_bytes(1, &[7; 11]).await, refused);
    assert_eq!(ours.send(1, "ten bytes.").await, refused, "one byte of CBOR is before the text");
    ours.send_bytes(1, &[7; 10]).await.expect("it is the longest");
    assert_eq!(theirs.recv().await.expect("nothing came before").size(), 10);
}

#[tokio::test]
async fn a_value_without_cbor_is_not_sent() {
    struct Unserializable;
    impl serde::Serialize for Unserializable {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no such value"))
        }
    }
    let (ours, mut theirs) = pipe();
    assert_eq!(ours.send(1, &Unserializable).await, Err(SendError::Encode("no such value".into())));
    ours.send(1, "foo").await.expect("there is room");
    expect_message(&mut theirs, 1, "foo").await.expect("nothing came before");
}

#[tokio::test]
async fn messages_that_nobody_receives_hold_the_sender_back() {
    let (ours, _theirs) = pipe();
    let mut sent = 0;
    while ours.send_bytes(1, &[7; 1_000]).now_or_never().is_some() {
        sent += 1_000;
    }
    assert!((PIPE_BYTES - 2_000..=PIPE_BYTES).contains(&sent), "{sent}");
}

#[tokio::test]
async fn a_send_that_is_dropped_tears_no_message() {
    let (ours, mut theirs) = pipe();
    assert_eq!(ours.send_bytes(1, &LONG).now_or_never(), None, "the pipe does not hold it");
    let (sent, came) = join(ours.send_bytes(2, b"next"), async { [theirs.recv().await, theirs.recv().await] }).await;
    sent.expect("it is received");
    let came = came.map(|message| message.map(|Message { code, payload }| (code, payload.to_vec())));
    assert_eq!(came, [Ok((1, LONG.to_vec())), Ok((2, b"next".to_vec()))]);
}

#[tokio::test]
async fn sends_that_are_dropped_do_not_pile_up() {
    let (ours, mut theirs) = pipe();
    for _ in 0..1_000 {
        assert_eq!(ours.send_bytes(1, &LONG).now_or_never(), None, "the pipe does not hold it");
    }
    let (sent, came) = join(ours.send_bytes(2, b"next"), async { [theirs.recv().await, theirs.recv().await] }).await;
    sent.expect("it is received");
    assert_eq!(came.map(|message| message.map(|message| message.code)), [Ok(1), Ok(2)], "the first was begun");
}

#[tokio::test]
async fn many_writers_write_whole_messages() {
    let (ours, mut theirs) = pipe();
    let (_reader, writer) = ours.split();
    for code in 0..8_u16 {
        let writer = writer.clone();
        tokio::spawn(async move {
            for index in 0..50_usize {
                let content = vec![code as u8; index * 100];
                writer.send_bytes(code, &content).await.expect("it is received");
            }
        });
    }
    let mut next = [0_usize; 8];
    for _ in 0..8 * 50 {
        let message = theirs.recv().await.expect("all are sent");
        let index = &mut next[usize::from(message.code)];
        assert_eq!(message.size(), *index * 100, "those of one writer come in order");
        assert!(message.payload.iter().all(|&byte| u16::from(byte) == message.code));
        *index += 1;
    }
}

#[tokio::test]
async fn what_came_instead_is_shown() {
    let (ours, mut theirs) = pipe();
    ours.send(3, &("foo", [1_u8, 2])).await.expect("there is room");
    let error = expect_message(&mut theirs, 4, "bar").await.expect_err("another code");
    assert_eq!(error.to_string(), r#"expected message 4, came message 3 with ["foo", [1, 2]]"#);

    ours.send(3, "foo").await.expect("there is room");
    let error = expect_message(&mut theirs, 3, &Some(false)).await.expect_err("other content");
    assert_eq!(error.to_string(), r#"expected message 3 with false, came "foo""#);

    ours.send_bytes(3, &[0xff, 0x00]).await.expect("there is room");
    let error = expect_message(&mut theirs, 3, "foo").await.expect_err("other content");
    assert_eq!(error.to_string(), r#"expected message 3 with "foo", came 2 bytes that are no CBOR: ff00"#);

    ours.send(3, "foo").await.expect("there is room");
    assert_eq!(expect_code(&mut theirs, 3).await.expect("it was sent").size(), 4);

    drop(ours);
    let error = expect_message(&mut theirs, 3, "foo").await.expect_err("nothing comes");
    assert_eq!(error.to_string(), "no message: stream was closed without an end");
}
