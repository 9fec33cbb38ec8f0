//! The items of a call as its method sees them.

use std::{
    fmt,
    future::{Future as _, poll_fn},
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::Stream;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{
    cbor::{self, DecodeError},
    error::SendError,
    frame::{FrameKind, payload},
    status::Failure,
};

/// Items of the request that are still CBOR, each with its share of what may be read ahead. The end of the request ends
/// it; the end of the call does so too, but then the method is dropped first.
pub(super) type Input = mpsc::UnboundedReceiver<(Bytes, OwnedSemaphorePermit)>;

/// The one item of a request that has one.
pub(super) async fn only<A: DeserializeOwned>(mut input: Input) -> Result<A, Failure> {
    let Some((item, _)) = input.recv().await else {
        return Err(Failure::Malformed("request is empty".to_owned()));
    };
    // Read before the end has come, so that its bytes are not kept.
    let item = cbor::read(&item).map_err(unreadable)?;
    match input.recv().await {
        Some(_) => Err(Failure::Malformed("request goes on after its item".to_owned())),
        None => Ok(item),
    }
}

fn unreadable(error: DecodeError) -> Failure {
    Failure::Malformed(error.to_string())
}

/// The items of a request, as they arrive: a [`Stream`] of them.
///
/// It ends where the caller has said that the request ends. A request that breaks off, or that holds an item of another type,
/// has no end: the method is dropped instead. Only in a task that the method has started does the stream end then too,
/// and [`Context::is_cancelled`](super::Context::is_cancelled) is true.
///
/// What the method does not take, the caller cannot send, but for
/// [`ServerConfig::read_ahead_bytes`](super::ServerConfig::read_ahead_bytes).
pub struct Incoming<A> {
    input: Input,
    /// Where an item that cannot be read is told of.
    broken: Option<oneshot::Sender<Failure>>,
    /// Cancelled when the call has ended.
    over: CancellationToken,
    state: State,
    of: PhantomData<fn() -> A>,
}

enum State {
    /// Items come.
    Whole,
    /// An item could not be read, and there is no end before the call's.
    Broken(Pin<Box<WaitForCancellationFutureOwned>>),
}

impl<A> Incoming<A> {
    /// The items, and what tells that one of them cannot be read.
    pub(super) fn new(input: Input, over: CancellationToken) -> (Self, oneshot::Receiver<Failure>) {
        let (broken, told) = oneshot::channel();
        (Self { input, broken: Some(broken), over, state: State::Whole, of: PhantomData }, told)
    }
}

impl<A: DeserializeOwned> Incoming<A> {
    /// The next item, or `None` at the end of the request.
    pub async fn next(&mut self) -> Option<A> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<A: DeserializeOwned> Stream for Incoming<A> {
    type Item = A;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<A>> {
        let this = &mut *self;
        if let State::Whole = this.state {
            let Some((item, _)) = ready!(this.input.poll_recv(cx)) else { return Poll::Ready(None) };
            match cbor::read(&item) {
                Ok(item) => return Poll::Ready(Some(item)),
                Err(error) => {
                    // Nobody to tell means that the call is over already.
                    let _ = this.broken.take().map(|broken| broken.send(unreadable(error)));
                    this.state = State::Broken(Box::pin(this.over.clone().cancelled_owned()));
                }
            }
        }
        let State::Broken(over) = &mut this.state else { return Poll::Pending };
        over.as_mut().poll(cx).map(|()| None)
    }
}

impl<A> fmt::Debug for Incoming<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}

/// Where a method's answer goes: frames that wait to be written.
#[derive(Clone)]
pub(super) struct Output {
    pub(super) frames: mpsc::Sender<Bytes>,
    pub(super) message_bytes_max: usize,
}

impl Output {
    pub(super) async fn put<R: Serialize>(&self, item: R) -> Result<(), Failure> {
        let frame = payload(FrameKind::Item, &item, self.message_bytes_max)?;
        drop(item);
        self.frames.send(frame).await.map_err(|_| Failure::Gone)
    }
}

/// Where a method sends the items of its answer. The answer ends when the method returns.
pub struct Outgoing<R> {
    output: Output,
    fault: Fault,
    of: PhantomData<fn(R)>,
}

/// Why the last item could not be sent, if it could not: a method that passes this on as its own error has it told to the
/// caller as what it is.
pub(super) type Fault = Arc<Mutex<Option<Failure>>>;

impl<R> Outgoing<R> {
    pub(super) fn new(output: Output) -> (Self, Fault) {
        let fault = Fault::default();
        (Self { output, fault: fault.clone(), of: PhantomData }, fault)
    }
}

impl<R: Serialize> Outgoing<R> {
    /// Sends an item; waits while the caller does not read.
    ///
    /// # Errors
    /// [`SendError::TooLarge`] and [`SendError::Encode`] for this item, after which others can be sent;
    /// [`SendError::Ended`] in a task that has outlived the call.
    pub async fn send(&mut self, item: R) -> Result<(), SendError> {
        let frame = payload(FrameKind::Item, &item, self.output.message_bytes_max);
        drop(item);
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = frame.as_ref().err().cloned().map(Failure::from);
        self.output.frames.send(frame?).await.map_err(|_| SendError::Ended)
    }
}

impl<R> fmt::Debug for Outgoing<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").finish_non_exhaustive()
    }
}
