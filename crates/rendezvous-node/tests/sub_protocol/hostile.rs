//! The other side sends whatever it likes.

use std::{future::Future, io, time::Duration};

use proptest::{collection::vec, prelude::*};
use rendezvous_node::sub_protocol::{
    Breach, CBOR_DEPTH_MAX, DecodeErrorKind, End, Ended, Limits, MESSAGE_BYTES_MAX, StreamFailure,
};
use tokio::{io::AsyncWriteExt as _, time::timeout};

use crate::harness::{BREACH_END, CODES, agreed, agreed_with, discard, ended, frame, raw, rest};

/// How a session ends that is sent these bytes and then nothing, and what it writes.
async fn fed(bytes: &[u8]) -> (Ended, Vec<u8>) {
    let (mut stream, session) = raw(discard());
    // A session that has had enough closes the stream.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let written = rest(&mut stream).await;
    (ended(session).await, written)
}

async fn assert_breach(bytes: &[u8], expected: Breach) {
    let (ended, written) = fed(bytes).await;
    assert!(matches!(&ended, Ended::Breach(breach) if *breach == expected), "{ended} for {bytes:x?}");
    assert_eq!(written, BREACH_END);
}

/// A length prefix.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[tokio::test]
async fn a_length_above_the_limit_is_a_breach_before_its_bytes_come() {
    let max_bytes = MESSAGE_BYTES_MAX;
    for len_bytes in [max_bytes as u64 + 1, 1 << 32, i64::MAX as u64, u64::MAX - 2] {
        assert_breach(&varint(len_bytes + 2), Breach::TooLong { len_bytes, max_bytes }).await;
    }
    let (ended, _) = fed(&varint(max_bytes as u64 + 2)).await;
    assert!(matches!(ended, Ended::Stream(_)), "the longest is waited for: {ended}");
}

#[tokio::test]
async fn a_length_above_a_lower_limit_is_a_breach() {
    let mut limits = Limits::default();
    limits.message_bytes_max = 10;
    let receive = |_, mut messages: rendezvous_node::sub_protocol::Messages| async move {
        assert_eq!(messages.recv().await?.size(), 10);
        messages.recv().await?;
        Ok(End::Finished)
    };
    let (mut stream, session) = raw(agreed_with(limits, receive));
    stream.write_all(&frame(1, &[7; 10])).await.expect("there is room");
    stream.write_all(&frame(1, &[7; 11])).await.expect("there is room");
    assert_eq!(rest(&mut stream).await, BREACH_END);
    let ended = ended(session).await;
    assert!(matches!(ended, Ended::Breach(Breach::TooLong { len_bytes: 11, max_bytes: 10 })), "{ended}");
}

#[tokio::test]
async fn a_length_that_is_no_varint_is_a_breach() {
    assert_breach(&[0x80; 10], Breach::Prefix).await;
    assert_breach(&[0xff; 11], Breach::Prefix).await;
}

#[tokio::test]
async fn a_frame_without_a_number_is_a_breach() {
    assert_breach(&[0], Breach::Short).await;
    assert_breach(&[1, 0], Breach::Short).await;
    assert_breach(&[&frame(1, b"foo")[..], &[0]].concat(), Breach::Short).await;
}

#[tokio::test]
async fn a_code_out_of_range_is_a_breach() {
    for code in [CODES, CODES + 1, 255, 256, u16::MAX - 1] {
        assert_breach(&frame(code + 1, b"foo"), Breach::Code { code, codes: CODES }).await;
    }
    let (ended, _) = fed(&frame(CODES, b"foo")).await;
    assert!(matches!(ended, Ended::Stream(StreamFailure::Closed)), "the last code is received: {ended}");
}

#[tokio::test]
async fn an_end_that_says_nothing_is_a_breach() {
    for body in [&[0][..], &[1], &[2], &[2, 0], &[0xff, 0xff, 0xff]] {
        assert_breach(&frame(0, body), Breach::End).await;
    }
}

#[tokio::test]
async fn a_breach_is_told_of_whatever_the_run_function_returns() {
    let protocol = agreed(|_, mut messages| async move {
        while messages.recv().await.is_ok() {}
        Ok(End::Disconnect(rendezvous_node::DisconnectReason::UselessPeer))
    });
    let (mut stream, session) = raw(protocol);
    stream.write_all(&[0]).await.expect("there is room");
    let ended = ended(session).await;
    assert!(matches!(ended, Ended::Breach(Breach::Short)), "{ended}");
}

#[tokio::test]
async fn deep_nesting_is_a_breach_and_no_overflow() {
    let protocol = agreed(|_, mut messages| async move {
        let _: ciborium::Value = messages.recv().await?.decode()?;
        Ok(End::Finished)
    });
    let (mut stream, session) = raw(protocol);
    stream.write_all(&frame(1, &vec![0x81; 100 * CBOR_DEPTH_MAX])).await.expect("it is received");
    assert_eq!(rest(&mut stream).await, BREACH_END);
    let ended = ended(session).await;
    assert!(
        matches!(&ended, Ended::Breach(Breach::Content(error)) if error.kind == DecodeErrorKind::TooDeep),
        "{ended}"
    );
}

#[tokio::test]
async fn a_stream_that_ends_anywhere_is_understood() {
    let frames = [frame(1, b"foo"), frame(CODES, &[7; 200]), frame(2, b"")];
    let bytes = frames.concat();
    let boundaries = [0, frames[0].len(), frames[0].len() + frames[1].len(), bytes.len()];
    for len in 0..=bytes.len() {
        let (ended, written) = fed(&bytes[..len]).await;
        let expected = if boundaries.contains(&len) {
            StreamFailure::Closed
        } else {
            StreamFailure::Io(io::ErrorKind::UnexpectedEof)
        };
        assert!(matches!(ended, Ended::Stream(failure) if failure == expected), "{len} bytes: {ended}");
        assert_eq!(written, b"", "a stream that fails is told nothing");
    }
}

#[tokio::test]
async fn nothing_after_an_end_is_looked_at() {
    let (ended, written) = fed(&[&frame(0, &[])[..], &[0xff; 100]].concat()).await;
    assert!(matches!(ended, Ended::ByPeer(End::Finished)), "{ended}");
    assert_eq!(written, b"");
}

/// Runs a future in virtual time.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime starts").block_on(future)
}

/// Frames that are nearly right, and bytes that are not.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..CODES + 3, vec(any::<u8>(), 0..40)).prop_map(|(number, body)| frame(number, &body)),
        1 => vec(any::<u8>(), 0..20),
        1 => any::<u64>().prop_map(varint),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_make_a_session_panic_or_stay(pieces in vec(piece(), 0..6), chunk in 1_usize..50) {
        let ended = block_on(async {
            let (mut stream, session) = raw(agreed(|_, mut messages| async move {
                loop {
                    let message = messages.recv().await?;
                    // Content is read as a value of any type, and it is no matter if it is none.
                    let _ = message.decode::<ciborium::Value>();
                    messages.send_bytes(message.code, &message.payload).await?;
                }
            }));
            for chunk in pieces.concat().chunks(chunk) {
                if stream.write_all(chunk).await.is_err() {
                    break;
                }
            }
            drop(stream);
            timeout(Duration::from_secs(60), session).await.expect("it ends").expect("it does not panic")
        });
        prop_assert!(matches!(ended, Ended::ByPeer(_) | Ended::Breach(_) | Ended::Stream(_)), "{}", ended);
    }

    #[test]
    fn what_is_sent_is_received(contents in vec(vec(any::<u8>(), 0..3_000), 0..8), codes in vec(0..CODES, 8)) {
        let expected: Vec<_> = codes.into_iter().zip(contents).collect();
        let came = block_on(async {
            let sent = expected.clone();
            let (ours, mut theirs) = rendezvous_node::sub_protocol::pipe();
            let sending = async move {
                for (code, content) in sent {
                    ours.send_bytes(code, &content).await.expect("it is received");
                }
            };
            let receiving = async {
                let mut came = Vec::new();
                while let Ok(message) = theirs.recv().await {
                    came.push((message.code, message.payload.to_vec()));
                }
                came
            };
            futures::join!(sending, receiving).1
        });
        prop_assert_eq!(came, expected);
    }
}
