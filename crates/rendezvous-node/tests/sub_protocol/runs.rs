//! What a run function does, and what becomes of the session.

use std::{future::pending, io};

use rendezvous_node::{
    DisconnectReason,
    sub_protocol::{
        Breach, End, Ended, Messages, Negotiated, ReceiveError, SendError, SessionError, StreamFailure, end_session,
        expect_message, pipe_to, session, some_peer,
    },
};
use tokio::task::JoinHandle;
use tokio_util::compat::TokioAsyncReadCompatExt as _;

use crate::harness::{CODES, STREAM_BYTES, agreed, discard, ended};

fn start(protocol: Negotiated) -> (Messages, JoinHandle<Ended>) {
    let (messages, session) = pipe_to(protocol, some_peer());
    (messages, tokio::spawn(session))
}

/// How a session ends, and what the other side is told, if the run function is this.
async fn both_sides(protocol: Negotiated) -> (Ended, Result<(), ReceiveError>) {
    let (mut messages, session) = start(protocol);
    let told = messages.recv().await.map(drop);
    drop(messages);
    (ended(session).await, told)
}

#[tokio::test]
async fn a_run_function_receives_in_order_and_ends_the_session_by_returning() {
    let (mut messages, session) = start(agreed(|_, mut messages| async move {
        for (code, content) in [(2, 1_u8), (3, 2), (4, 3)] {
            expect_message(&mut messages, code, &[content]).await.map_err(SessionError::application)?;
        }
        Ok(End::Finished)
    }));
    for (code, content) in [(2, 1_u8), (3, 2), (4, 3)] {
        messages.send(code, &[content]).await.expect("it is received");
    }
    assert_eq!(messages.recv().await, Err(ReceiveError::PeerEnded(End::Finished)));
    drop(messages);
    assert!(matches!(ended(session).await, Ended::ByUs(End::Finished)));
}

#[tokio::test]
async fn a_run_function_sends_the_codes_of_its_version_and_no_other() {
    let (mut messages, session) = start(agreed(|_, messages| async move {
        let refused = messages.send_items(CODES, [(); 0]).await;
        assert_eq!(refused, Err(SendError::Code { code: CODES, codes: CODES }));
        messages.send_items(CODES - 1, ["foo", "bar"]).await?;
        Ok(End::Finished)
    }));
    expect_message(&mut messages, CODES - 1, &["foo", "bar"]).await.expect("the other was not sent");
    drop(messages);
    assert!(matches!(ended(session).await, Ended::ByUs(End::Finished)));
}

#[tokio::test]
async fn the_other_side_is_told_the_end() {
    for end in [
        End::Finished,
        End::Session(DisconnectReason::UselessPeer),
        End::Disconnect(DisconnectReason::TooManyPeers),
        End::Disconnect(DisconnectReason::Other(99)),
    ] {
        let (ended, told) = both_sides(agreed(move |_, _| async move { Ok(end) })).await;
        assert!(matches!(ended, Ended::ByUs(how) if how == end), "{ended}");
        assert_eq!(told, Err(ReceiveError::PeerEnded(end)));
        let disconnects = matches!(end, End::Disconnect(_)).then(|| end.reason());
        assert_eq!((ended.disconnects(), ended.reason()), (disconnects, end.reason()));
    }
}

#[tokio::test]
async fn the_other_side_ends_a_session_for_a_reason() {
    for end in [End::Finished, End::Session(DisconnectReason::Timeout), End::Disconnect(DisconnectReason::Quitting)] {
        let (messages, session) = start(discard());
        messages.send(1, "foo").await.expect("it is received");
        end_session(messages, end).await;
        let ended = ended(session).await;
        assert!(matches!(ended, Ended::ByPeer(how) if how == end), "{ended}");
        assert_eq!(ended.reason(), end.reason());
        assert_eq!(ended.disconnects(), matches!(end, End::Disconnect(_)).then(|| end.reason()));
    }
}

#[tokio::test]
async fn whatever_it_returns_the_other_sides_end_is_told_of() {
    // A run function that takes the end of the session for its own.
    let (messages, session) = start(agreed(|_, mut messages| async move {
        while messages.recv().await.is_ok() {}
        Ok(End::Finished)
    }));
    end_session(messages, End::Session(DisconnectReason::Quitting)).await;
    let ended = ended(session).await;
    assert!(matches!(ended, Ended::ByPeer(End::Session(DisconnectReason::Quitting))), "{ended}");
}

#[tokio::test]
async fn a_wish_to_disconnect_outlives_the_session() {
    let (messages, session) = start(agreed(|_, mut messages| async move {
        while messages.recv().await.is_ok() {}
        Ok(End::Disconnect(DisconnectReason::UselessPeer))
    }));
    end_session(messages, End::Finished).await;
    assert_eq!(ended(session).await.disconnects(), Some(DisconnectReason::UselessPeer));
}

#[tokio::test]
async fn an_error_of_ones_own_ends_this_session_only() {
    let errors: [fn() -> SessionError; 2] = [
        || SessionError::application(io::Error::other("the disk is full")),
        || SendError::Code { code: 9, codes: CODES }.into(),
    ];
    for error in errors {
        let (ended, told) = both_sides(agreed(move |_, _| async move { Err(error()) })).await;
        assert!(matches!(&ended, Ended::Failed(_)), "{ended}");
        assert_eq!((ended.disconnects(), ended.reason()), (None, DisconnectReason::SubProtocol));
        assert_eq!(told, Err(ReceiveError::PeerEnded(End::Session(DisconnectReason::SubProtocol))));
        assert_eq!(ended.to_string(), format!("failed: {}", error()));
    }
}

#[tokio::test]
async fn an_error_of_ones_own_is_told_of_whatever_the_other_side_did() {
    let (messages, session) = start(agreed(|_, mut messages| async move {
        while messages.recv().await.is_ok() {}
        Err(SessionError::application("the disk is full"))
    }));
    end_session(messages, End::Finished).await;
    let ended = ended(session).await;
    assert!(matches!(ended, Ended::Failed(SessionError::Application(_))), "{ended}");
}

#[tokio::test]
async fn content_that_cannot_be_read_is_a_breach() {
    let (mut messages, session) = start(agreed(|_, mut messages| async move {
        let _: String = messages.recv().await?.decode()?;
        Ok(End::Finished)
    }));
    messages.send(3, &7).await.expect("it is received");
    let told = ReceiveError::PeerEnded(End::Disconnect(DisconnectReason::ProtocolBreach));
    assert_eq!(messages.recv().await, Err(told));
    let ended = ended(session).await;
    assert!(matches!(&ended, Ended::Breach(Breach::Content(error)) if error.code == 3), "{ended}");
    assert_eq!(ended.disconnects(), Some(DisconnectReason::ProtocolBreach));
}

#[tokio::test]
async fn a_stream_that_is_closed_without_an_end_has_failed() {
    let (messages, session) = start(discard());
    drop(messages);
    let ended = ended(session).await;
    assert!(matches!(ended, Ended::Stream(StreamFailure::Closed)), "{ended}");
    assert_eq!((ended.disconnects(), ended.reason()), (None, DisconnectReason::Network));
}

/// A protocol whose run functions tell each other a network id, and part when it differs.
fn with_handshake(network: &'static str) -> Negotiated {
    agreed(move |_, mut messages| async move {
        messages.send(0, &("hello", network)).await?;
        let message = messages.recv().await?;
        let (_, theirs): (String, String) = message.decode()?;
        if theirs != network {
            return Ok(End::Disconnect(DisconnectReason::IncompatibleVersion));
        }
        messages.send(1, "welcome").await?;
        expect_message(&mut messages, 1, "welcome").await.map_err(SessionError::application)?;
        Ok(End::Finished)
    })
}

/// How the sessions of two run functions with each other end.
async fn together(ours: Negotiated, theirs: Negotiated) -> [Ended; 2] {
    let (here, there) = tokio::io::duplex(STREAM_BYTES);
    let here = tokio::spawn(session::run(here.compat(), ours, some_peer(), None, pending()));
    let there = tokio::spawn(session::run(there.compat(), theirs, some_peer(), None, pending()));
    [ended(here).await, ended(there).await]
}

#[tokio::test]
async fn two_run_functions_speak_with_each_other() {
    for ended in together(with_handshake("420"), with_handshake("420")).await {
        assert!(matches!(ended, Ended::ByUs(End::Finished)), "{ended}");
    }
    for ended in together(with_handshake("420"), with_handshake("421")).await {
        assert_eq!(ended.disconnects(), Some(DisconnectReason::IncompatibleVersion), "{ended}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_on_several_threads_all_end() {
    let echo = || {
        agreed(|_, mut messages| async move {
            loop {
                let message = messages.recv().await?;
                messages.send_bytes(message.code, &message.payload).await?;
            }
        })
    };
    let ask = |rounds: usize| {
        agreed(move |_, messages| async move {
            let (mut reader, writer) = messages.split();
            let sending = async {
                for index in 0..rounds {
                    writer.send_bytes(1, &vec![7; index * 37]).await?;
                }
                Ok::<(), SessionError>(())
            };
            let receiving = async {
                for index in 0..rounds {
                    assert_eq!(reader.recv().await?.size(), index * 37);
                }
                Ok::<(), SessionError>(())
            };
            futures::try_join!(sending, receiving)?;
            Ok(End::Session(DisconnectReason::Requested))
        })
    };
    let sessions = (0..100).map(|rounds| tokio::spawn(together(ask(rounds), echo())));
    for ended in futures::future::join_all(sessions).await {
        let [asked, echoed] = ended.expect("no panic");
        assert!(matches!(asked, Ended::ByUs(End::Session(DisconnectReason::Requested))), "{asked}");
        assert!(matches!(echoed, Ended::ByPeer(End::Session(DisconnectReason::Requested))), "{echoed}");
    }
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("in a destructor");
        }
    }
}

#[tokio::test]
async fn a_panic_stays_in_its_session() {
    let (other, other_session) = start(discard());
    let cases: [(Negotiated, &str); 5] = [
        (agreed(|_, _| async { panic!("a text") }), "a text"),
        (agreed(|_, _| async { panic!("a text with {}", 1 + 1) }), "a text with 2"),
        (agreed(|_, _| async { std::panic::panic_any(PanicsWhenDropped) }), "panic without a text"),
        (
            agreed(|peer, _| {
                assert_ne!(peer.version, 1, "before there is a future");
                async { Ok(End::Finished) }
            }),
            "assertion `left != right` failed: before there is a future\n  left: 1\n right: 1",
        ),
        (
            agreed(|_, _| async {
                let _guard = PanicsWhenDropped;
                Ok(End::Finished)
            }),
            "in a destructor",
        ),
    ];
    for (protocol, expected) in cases {
        let (ended, told) = both_sides(protocol).await;
        assert!(matches!(&ended, Ended::Panicked(text) if **text == *expected), "{ended}");
        assert_eq!((ended.disconnects(), ended.reason()), (None, DisconnectReason::SubProtocol));
        assert_eq!(told, Err(ReceiveError::PeerEnded(End::Session(DisconnectReason::SubProtocol))));
    }
    other.send(1, "foo").await.expect("it is received");
    end_session(other, End::Finished).await;
    assert!(matches!(ended(other_session).await, Ended::ByPeer(End::Finished)));
}
