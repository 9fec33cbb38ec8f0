//! One session, from its stream to its end.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures::{AsyncRead, AsyncWrite, FutureExt as _};

use super::{
    channel::{Cause, Channel, Farewell, Observer},
    definition::{Negotiated, Outcome},
    end::{End, Ended},
    error::{Breach, SendError, SessionError, StreamFailure},
    messages::Messages,
    peer::Peer,
};
use crate::DisconnectReason;

/// How the running came to its end.
enum Run {
    Returned(Outcome),
    Stopped(End),
    Panicked(Box<str>),
}

/// Runs a session over a stream on which the protocol has been agreed, until it has ended and the stream is closed.
///
/// 1. The run function is called with the peer and the messages. It ends by returning; by a panic, which goes no further;
///    or when `stop` is ready, with which it is dropped.
/// 2. The other side is told of the end, unless the end was its own.
/// 3. The stream is closed, within [`Limits::end_deadline`](super::Limits::end_deadline). Readers and writers that the
///    run function has given away fail from then on.
///
/// When this future is dropped, the run function is too, and the other side sees the stream fail.
///
/// Whether the peer is to be disconnected is for the caller to see by [`Ended::disconnects`]. A `stop` that never comes is
/// [`std::future::pending`].
pub async fn run<S, F>(io: S, protocol: Negotiated, mut peer: Peer, observer: Option<Observer>, stop: F) -> Ended
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Future<Output = End> + Send,
{
    peer.version = protocol.version().number;
    let channel = Arc::new(Channel::new(Box::new(io), protocol.version().codes, protocol.limits(), observer));
    let run = supervise(&protocol, peer, Messages::new(Arc::clone(&channel)), stop).await;
    if matches!(channel.cause(), Some(Cause::Write(_))) {
        channel.find_end().await;
    }
    let cause = channel.cause();
    channel.record(Cause::Here);
    let ended = judge(run, cause);
    channel.part(farewell(&ended)).await;
    tracing::debug!(protocol = protocol.name(), %ended, "session ended");
    ended
}

/// Calls the run function and waits for it, or for `stop`.
async fn supervise(
    protocol: &Negotiated,
    peer: Peer,
    messages: Messages,
    stop: impl Future<Output = End> + Send,
) -> Run {
    // What a panic leaves behind is the run function's own, and is dropped; the channel holds no lock while it runs.
    let started = async { protocol.run(peer, messages).await };
    let mut running = Box::pin(AssertUnwindSafe(started).catch_unwind());
    let run = tokio::select! {
        biased;
        end = stop => Run::Stopped(end),
        returned = &mut running => match returned {
            Ok(outcome) => Run::Returned(outcome),
            Err(panic) => Run::Panicked(text_of(panic)),
        },
    };
    // What the run function holds may panic when it is dropped.
    match catch_unwind(AssertUnwindSafe(|| drop(running))) {
        Ok(()) => run,
        Err(panic) => Run::Panicked(text_of(panic)),
    }
}

/// What the end of the running and what became of the stream come to together.
fn judge(run: Run, cause: Option<Cause>) -> Ended {
    match (run, cause) {
        (Run::Panicked(text), _) => Ended::Panicked(text),
        (Run::Stopped(end), _) => Ended::ByUs(end),
        (Run::Returned(_), Some(Cause::Breach(breach))) => Ended::Breach(breach),
        // A wish to be rid of the peer outlives the session.
        (Run::Returned(Ok(end @ End::Disconnect(_))), _) => Ended::ByUs(end),
        (Run::Returned(Err(SessionError::Decode(error))), _) => Ended::Breach(Breach::Content(error)),
        (Run::Returned(Err(error)), _) if is_ours(&error) => Ended::Failed(error),
        (Run::Returned(_), Some(Cause::PeerEnded(end))) => Ended::ByPeer(end),
        (Run::Returned(_), Some(Cause::Read(failure) | Cause::Write(failure))) => Ended::Stream(failure),
        (Run::Returned(Ok(end)), None | Some(Cause::Here)) => Ended::ByUs(end),
        (Run::Returned(Err(error)), None | Some(Cause::Here)) => Ended::Failed(error),
    }
}

/// Whether an error is this side's own, whatever the other side and the stream did.
const fn is_ours(error: &SessionError) -> bool {
    matches!(
        error,
        SessionError::Application(_)
            | SessionError::Send(SendError::Code { .. } | SendError::TooLong { .. } | SendError::Encode(_))
    )
}

const fn farewell(ended: &Ended) -> Farewell {
    let (tell, linger) = match ended {
        Ended::ByUs(end) => (Some(*end), true),
        Ended::Failed(_) | Ended::Panicked(_) => (Some(End::Session(DisconnectReason::SubProtocol)), true),
        // Nothing that still comes is of interest.
        Ended::Breach(_) => (Some(End::Disconnect(DisconnectReason::ProtocolBreach)), false),
        Ended::Stream(StreamFailure::ReadDeadline) => (Some(End::Session(DisconnectReason::Timeout)), false),
        Ended::ByPeer(_) | Ended::Stream(_) => (None, false),
    };
    Farewell { tell, linger }
}

fn text_of(panic: Box<dyn Any + Send>) -> Box<str> {
    match panic.downcast::<String>() {
        Ok(text) => text.as_str().into(),
        Err(panic) => match panic.downcast::<&'static str>() {
            Ok(text) => (*text).into(),
            Err(panic) => {
                // Dropping a value of unknown type could panic again, here where nothing catches it.
                core::mem::forget(panic);
                "panic without a text".into()
            }
        },
    }
}
