//! What a run function does, and what becomes of the session.

use std::io;

use rendezvous_node::{
    DisconnectReason,
    sub_protocol::{
        Breach, End, Ended, Messages, Negotiated, ReceiveError, SendError, SessionError, StreamFailure, end_session,
        expect_message, pipe_to, some_peer,
    },
};
use tokio::task::JoinHandle;

use crate::harness::{CODES, agreed, discard, ended};

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
