//! A stream as a channel of messages, shared by the session, its reader and its writers.

use std::{fmt, sync::Arc};

use futures::AsyncReadExt as _;
use tokio::{
    sync::Mutex,
    time::{error::Elapsed, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    end::End,
    error::{Breach, ReceiveError, SendError, StreamFailure},
    halves::{Incoming, Outgoing, Unreadable},
    limits::Limits,
    message::Message,
    wire::{self, Frame},
};
use crate::io::Io;

/// A message that passed, as an [`Observer`] is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Traffic {
    /// The stream has taken a message.
    Sent {
        /// Its code.
        code: u16,
        /// Length of its content.
        size_bytes: usize,
    },
    /// The run function has received a message.
    Received {
        /// Its code.
        code: u16,
        /// Length of its content.
        size_bytes: usize,
    },
}

/// Is told of each message of a session, in the session's task; it is not to block.
pub type Observer = Arc<dyn Fn(Traffic) + Send + Sync>;

/// Why no more messages pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The run function has returned, or was stopped.
    Here,
    PeerEnded(End),
    Breach(Breach),
    Read(StreamFailure),
    /// Writing failed; there may be messages left to read, and an end that says more.
    Write(StreamFailure),
}

/// How to part from the other side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Farewell {
    /// What the other side is told.
    pub(super) tell: Option<End>,
    /// Whether to read until it has closed too: some streams lose what is in flight when one side goes at once.
    pub(super) linger: bool,
}

pub(super) struct Channel {
    codes: u16,
    limits: Limits,
    observer: Option<Observer>,
    incoming: Mutex<Incoming>,
    outgoing: Mutex<Outgoing>,
    cause: std::sync::Mutex<Option<Cause>>,
    /// Cancelled as soon as there is a cause.
    over: CancellationToken,
}

impl Channel {
    pub(super) fn new(io: Io, codes: u16, limits: Limits, observer: Option<Observer>) -> Self {
        let (reading, writing) = io.split();
        Self {
            codes,
            limits,
            observer,
            incoming: Mutex::new(Incoming::new(reading, &limits)),
            outgoing: Mutex::new(Outgoing::new(writing)),
            cause: std::sync::Mutex::new(None),
            over: CancellationToken::new(),
        }
    }

    pub(super) async fn receive(&self) -> Result<Message, ReceiveError> {
        match self.cause() {
            None | Some(Cause::Write(_)) => {}
            Some(cause) => return Err(cause.into()),
        }
        // What has come is received even when a write has failed meanwhile.
        let message = tokio::select! {
            biased;
            message = self.next_message() => message?,
            () = self.over.cancelled() => return Err(self.cause().unwrap_or(Cause::Here).into()),
        };
        if let Some(observer) = &self.observer {
            observer(Traffic::Received { code: message.code, size_bytes: message.size() });
        }
        Ok(message)
    }

    async fn next_message(&self) -> Result<Message, ReceiveError> {
        let payload = self.incoming.lock().await.frame().await;
        let frame = payload.and_then(|payload| Frame::parse(payload, self.codes).map_err(Unreadable::Breach));
        let cause = match frame {
            Ok(Frame::Message(message)) => return Ok(message),
            Ok(Frame::End(end)) => Cause::PeerEnded(end),
            Err(Unreadable::Breach(breach)) => Cause::Breach(breach),
            Err(Unreadable::Stream(failure)) => Cause::Read(failure),
        };
        self.record(cause.clone());
        Err(cause.into())
    }

    /// A code that may be sent.
    pub(super) const fn check_code(&self, code: u16) -> Result<(), SendError> {
        if code < self.codes { Ok(()) } else { Err(SendError::Code { code, codes: self.codes }) }
    }

    /// Sends a frame that [`wire::start_message`] has begun.
    pub(super) async fn send(&self, code: u16, payload: &[u8]) -> Result<(), SendError> {
        self.check_code(code)?;
        let size_bytes = payload.len() - wire::NUMBER_BYTES;
        let max_bytes = self.limits.message_bytes_max;
        if size_bytes > max_bytes {
            return Err(SendError::TooLong { len_bytes: size_bytes, max_bytes });
        }
        tokio::select! {
            biased;
            () = self.over.cancelled() => return Err(self.cause().unwrap_or(Cause::Here).into()),
            written = self.write(payload) => written?,
        }
        if let Some(observer) = &self.observer {
            observer(Traffic::Sent { code, size_bytes });
        }
        Ok(())
    }

    async fn write(&self, payload: &[u8]) -> Result<(), SendError> {
        // Waiting for other writers has no deadline of its own: each of them has one.
        let mut outgoing = self.outgoing.lock().await;
        let written = timeout(self.limits.write_deadline, outgoing.write(payload)).await;
        written.unwrap_or(Err(StreamFailure::WriteDeadline)).map_err(|failure| {
            let cause = Cause::Write(failure);
            self.record(cause.clone());
            cause.into()
        })
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        self.lock_cause().clone()
    }

    /// Ends the passing of messages. The first cause stays, but for that of a write, which an end or a breach that is read
    /// later explains.
    pub(super) fn record(&self, cause: Cause) {
        let mut current = self.lock_cause();
        let is_better = match *current {
            None => true,
            Some(Cause::Write(_)) => !matches!(cause, Cause::Read(_) | Cause::Write(_)),
            Some(_) => false,
        };
        if is_better {
            *current = Some(cause);
        }
        drop(current);
        self.over.cancel();
    }

    fn lock_cause(&self) -> std::sync::MutexGuard<'_, Option<Cause>> {
        // Nothing panics while it is held.
        self.cause.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Reads on for the end that a failed write may have run into.
    pub(super) async fn find_end(&self) {
        let reading = async { while self.next_message().await.is_ok() {} };
        let _: Result<(), Elapsed> = timeout(self.limits.end_deadline, reading).await;
    }

    /// Says the last word, closes, and lets go of the stream, whoever still holds a reader or writer.
    pub(super) async fn part(&self, farewell: Farewell) {
        self.over.cancel();
        let parting = async {
            let mut outgoing = self.outgoing.lock().await;
            if let Some(end) = farewell.tell {
                outgoing.write(&wire::encode_end(end)).await?;
            }
            outgoing.finish().await?;
            if farewell.linger {
                while self.next_message().await.is_ok() {}
            }
            Ok::<(), StreamFailure>(())
        };
        match timeout(self.limits.end_deadline, parting).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => tracing::trace!(%failure, "session parted without a last word"),
            Err(Elapsed { .. }) => tracing::trace!("session parted before the other side did"),
        }
        // The token makes other holders of these locks let go when they are polled. One that is not polled any more is not
        // waited for: the stream is then dropped when the last reader or writer is.
        if let Ok(mut incoming) = self.incoming.try_lock() {
            incoming.close();
        }
        if let Ok(mut outgoing) = self.outgoing.try_lock() {
            outgoing.close();
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("codes", &self.codes).field("cause", &self.cause()).finish_non_exhaustive()
    }
}

impl From<Cause> for ReceiveError {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Here => Self::Over,
            Cause::PeerEnded(end) => Self::PeerEnded(end),
            Cause::Breach(breach) => Self::Breach(breach),
            Cause::Read(failure) | Cause::Write(failure) => Self::Stream(failure),
        }
    }
}

impl From<Cause> for SendError {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Here | Cause::Breach(_) => Self::Over,
            Cause::PeerEnded(end) => Self::PeerEnded(end),
            Cause::Read(failure) | Cause::Write(failure) => Self::Stream(failure),
        }
    }
}
