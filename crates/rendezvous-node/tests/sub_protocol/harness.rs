//! Sessions whose other side is bytes.

use std::future::Future;

use rendezvous_node::sub_protocol::{
    End, Ended, Limits, Messages, Negotiated, Peer, SessionError, SubProtocol, Version, session, some_peer,
};
use tokio::{
    io::{AsyncReadExt as _, DuplexStream},
    task::JoinHandle,
};
use tokio_util::compat::TokioAsyncReadCompatExt as _;

/// What the streams here hold in each direction.
pub(crate) const STREAM_BYTES: usize = 4 << 10;

/// Number of codes of the protocols here.
pub(crate) const CODES: u16 = 8;

/// A protocol with one version, as it is agreed on.
pub(crate) fn agreed<F, R>(run: F) -> Negotiated
where
    F: Fn(Peer, Messages) -> R + Send + Sync + 'static,
    R: Future<Output = Result<End, SessionError>> + Send + 'static,
{
    agreed_with(Limits::default(), run)
}

pub(crate) fn agreed_with<F, R>(limits: Limits, run: F) -> Negotiated
where
    F: Fn(Peer, Messages) -> R + Send + Sync + 'static,
    R: Future<Output = Result<End, SessionError>> + Send + 'static,
{
    let protocol = SubProtocol::new("test", Version { number: 1, codes: CODES }, run).expect("valid");
    let protocol = protocol.with_limits(limits);
    protocol.highest_common(&protocol.protocol_ids()).expect("it has a version")
}

/// A protocol that receives until it cannot.
pub(crate) fn discard() -> Negotiated {
    agreed(|_, mut messages| async move {
        loop {
            messages.recv().await?.discard();
        }
    })
}

/// Starts a session, and returns the stream at its other side.
pub(crate) fn raw(protocol: Negotiated) -> (DuplexStream, JoinHandle<Ended>) {
    let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
    let session = session::run(ours.compat(), protocol, some_peer(), None, std::future::pending());
    (theirs, tokio::spawn(session))
}

pub(crate) async fn ended(session: JoinHandle<Ended>) -> Ended {
    session.await.expect("sessions do not panic")
}

/// The frame of a message, or of an end when the number is zero.
pub(crate) fn frame(number: u16, body: &[u8]) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.extend(body);
    let mut bytes = Vec::new();
    rendezvous_wire::frame::append(&payload, &mut bytes);
    bytes
}

/// All that the session still writes.
pub(crate) async fn rest(stream: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("in memory");
    bytes
}

/// The end for a breach, as it stands on the wire.
pub(crate) const BREACH_END: [u8; 5] = [4, 0, 0, 1, 2];
