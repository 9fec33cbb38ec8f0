//! One request and its answer on a stream.

use std::{
    future::Future,
    io,
    pin::pin,
    time::{Duration, Instant},
};

use asynchronous_codec::FramedRead;
use bytes::Bytes;
use futures::{
    AsyncWriteExt, StreamExt,
    future::{Either, select},
};
use futures_timer::Delay;
use libp2p_swarm::Stream;
use rendezvous_core::client::{RequestId, RequestKind};
use rendezvous_wire::{
    CodecError, Dialect, FrameCodec, Namespace,
    frame::{FrameError, RESPONSE_BYTES_MAX},
};

/// Time that a point has to close the stream of an UNREGISTER. Dropping the stream at once may reset it before the
/// request is delivered; a point that keeps it open has read it by then or never will.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Time for which a point must keep a stream open behind its first answer to be taken for one that reads further
/// requests on it.
const KEPT_OPEN: Duration = Duration::from_secs(1);

/// A stream with what has been read of it.
pub(super) type Framed = FramedRead<Stream, FrameCodec>;

pub(super) fn framed(stream: Stream) -> Framed {
    FramedRead::new(stream, FrameCodec::new(RESPONSE_BYTES_MAX))
}

/// A request on its way through a connection's handler.
#[derive(Debug)]
pub struct Request {
    pub(super) id: RequestId,
    pub(super) dialect: Dialect,
    pub(super) kind: RequestKind,
    pub(super) namespace: Option<Namespace>,
    pub(super) frame: Bytes,
    pub(super) deadline: Instant,
}

impl Request {
    pub(super) fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// On which kind of stream an exchange runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// On a stream of its own, half-closed behind the request: what every implementation reads.
    OneShot,
    /// On a new stream that may be kept.
    Kept,
    /// On a stream that has carried an exchange before.
    Reused,
}

/// An exchange that has ended, and the stream if it can carry another one.
pub(super) struct Ended {
    pub(super) request: Request,
    pub(super) mode: Mode,
    pub(super) outcome: Outcome,
    pub(super) stream: Option<Framed>,
}

/// How an exchange ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The payload of the frame that came.
    Answered(Bytes),
    /// Written; no answer was to come.
    Sent,
    /// The stream ended or failed before the request was out.
    NotSent,
    /// The stream ended or failed before a whole answer.
    Closed,
    Malformed(FrameError),
    TimedOut,
}

/// Sends a request and waits for what comes, until the request's deadline.
pub(super) async fn run(mut stream: Framed, request: Request, mode: Mode) -> Ended {
    let is_answered = request.kind != RequestKind::Unregister;
    let exchange = async {
        if is_answered { ask(&mut stream, &request.frame, mode).await } else { tell(&mut stream, &request.frame).await }
    };
    let outcome = within(request.time_left(), exchange).await.unwrap_or(Outcome::TimedOut);
    let can_go_on = mode != Mode::OneShot && matches!(outcome, Outcome::Answered(_)) && stream.read_buffer().is_empty();
    Ended { request, mode, outcome, stream: can_go_on.then_some(stream) }
}

/// Waits whether the point keeps a stream open; gives it back if so.
pub(super) async fn watch(mut stream: Framed) -> Option<Framed> {
    let has_ended = within(KEPT_OPEN, stream.next()).await.is_some();
    (!has_ended && stream.read_buffer().is_empty()).then_some(stream)
}

async fn ask(stream: &mut Framed, frame: &[u8], mode: Mode) -> Outcome {
    if write(stream, frame, mode == Mode::OneShot).await.is_err() {
        // A point that closes or resets the stream early is one that gave no answer. Unless it gave one before:
        // whoever refuses without reading the request may have written first.
        return match stream.next().await {
            Some(Ok(payload)) => Outcome::Answered(payload),
            _ => Outcome::Closed,
        };
    }
    match stream.next().await {
        Some(Ok(payload)) => Outcome::Answered(payload),
        Some(Err(CodecError::Frame(error))) => Outcome::Malformed(error),
        Some(Err(CodecError::Io(_))) | None => Outcome::Closed,
    }
}

async fn tell(stream: &mut Framed, frame: &[u8]) -> Outcome {
    if write(stream, frame, true).await.is_err() {
        return Outcome::NotSent;
    }
    // Whatever comes, or nothing: the request is out.
    within(CLOSE_WAIT, stream.next()).await;
    Outcome::Sent
}

async fn write(stream: &mut Stream, frame: &[u8], is_last: bool) -> io::Result<()> {
    stream.write_all(frame).await?;
    if is_last { stream.close().await } else { stream.flush().await }
}

/// What a future gives, unless it takes longer than that.
async fn within<F: Future>(time: Duration, future: F) -> Option<F::Output> {
    match select(pin!(future), Delay::new(time)).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}
