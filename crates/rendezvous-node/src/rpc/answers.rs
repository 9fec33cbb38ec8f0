//! The answer of a call as its caller sees it.

use std::{
    fmt,
    future::{Future as _, poll_fn},
    io,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::Stream;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    cbor,
    error::{CallError, MalformedAnswer, Message, Side},
    frame::{FrameKind, FrameReader, FrameWriter},
};

/// The items of an answer that are still CBOR.
pub(super) struct RawAnswers {
    reader: FrameReader,
    /// What is left to write of the request, where it is known in whole.
    request: Option<FrameWriter>,
    /// Why the request could not be written. The answer says more, if there is one.
    write_error: Option<io::Error>,
    timer: Option<Pin<Box<Sleep>>>,
    message_bytes_max: usize,
    is_over: bool,
}

impl RawAnswers {
    pub(super) fn new(
        reader: FrameReader,
        request: Option<FrameWriter>,
        deadline: Option<Instant>,
        message_bytes_max: usize,
    ) -> Self {
        let timer = deadline.map(|deadline| Box::pin(sleep_until(deadline)));
        Self { reader, request, write_error: None, timer, message_bytes_max, is_over: false }
    }

    /// The one item of an answer that has one.
    pub(super) async fn only(mut self) -> Result<Bytes, CallError> {
        let malformed = |what| Err(CallError::MalformedAnswer(what));
        let Some(item) = self.next().await.transpose()? else { return malformed(MalformedAnswer::NoItem) };
        match self.next().await.transpose()? {
            Some(_) => malformed(MalformedAnswer::ExtraItem),
            None => Ok(item),
        }
    }

    async fn next(&mut self) -> Option<Result<Bytes, CallError>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CallError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let result = ready!(self.poll_item(cx));
        if !matches!(result, Ok(Some(_))) {
            self.close();
        }
        Poll::Ready(result.transpose())
    }

    /// The next item, or `None` at the end.
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, CallError>> {
        if let Some(request) = &mut self.request
            && let Poll::Ready(written) = request.poll_flush(cx)
        {
            self.write_error = written.err();
            self.request = None;
        }
        let frame = match self.reader.poll_next(cx) {
            Poll::Ready(Ok(Some(frame))) => frame,
            Poll::Ready(Ok(None)) => {
                let error = self.write_error.take().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                return Poll::Ready(Err(CallError::Broken(error)));
            }
            // The stream was dropped on this side, by the half that sends.
            Poll::Ready(Err(_)) if self.reader.half().is_closed() => {
                return Poll::Ready(Err(CallError::Cancelled { side: Side::Caller }));
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
            Poll::Pending => {
                let timer = self.timer.as_mut();
                return timer.map_or(Poll::Pending, |timer| {
                    timer.as_mut().poll(cx).map(|()| Err(CallError::TimedOut { side: Side::Caller }))
                });
            }
        };
        Poll::Ready(match frame.kind {
            FrameKind::Item if frame.body.len() > self.message_bytes_max => {
                Err(CallError::too_large(Message::Answer, self.message_bytes_max))
            }
            FrameKind::Item => Ok(Some(frame.body)),
            FrameKind::End => Ok(None),
            FrameKind::Error => Err(match cbor::read(&frame.body) {
                Ok(body) => CallError::from_body(body),
                Err(error) => CallError::MalformedAnswer(MalformedAnswer::Error(error)),
            }),
            kind => Err(CallError::MalformedAnswer(MalformedAnswer::Unexpected(kind))),
        })
    }

    /// Drops the stream, which tells the other side that nothing more is wanted.
    fn close(&mut self) {
        self.is_over = true;
        self.request = None;
        self.reader.half().close();
    }
}

impl Drop for RawAnswers {
    fn drop(&mut self) {
        self.close();
    }
}

/// The items of an answer, as they arrive: a [`Stream`] of them that ends after an error, or where the answer ends.
///
/// Dropping it cancels the call. While nothing is taken from it, the method at the other side has to wait.
pub struct Answers<R> {
    raw: RawAnswers,
    of: PhantomData<fn() -> R>,
}

impl<R> Answers<R> {
    pub(super) fn new(raw: RawAnswers) -> Self {
        Self { raw, of: PhantomData }
    }

    pub(super) async fn only(self) -> Result<R, CallError>
    where
        R: DeserializeOwned,
    {
        read(&self.raw.only().await?)
    }
}

impl<R: DeserializeOwned> Answers<R> {
    /// The next item, or `None` after the end or an error.
    pub async fn next(&mut self) -> Option<Result<R, CallError>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<R: DeserializeOwned> Stream for Answers<R> {
    type Item = Result<R, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.raw.poll_next(cx)).map(|item| read(&item?));
        if matches!(item, Some(Err(_))) {
            self.raw.close();
        }
        Poll::Ready(item)
    }
}

impl<R> fmt::Debug for Answers<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").field("is_over", &self.raw.is_over).finish_non_exhaustive()
    }
}

fn read<R: DeserializeOwned>(item: &[u8]) -> Result<R, CallError> {
    cbor::read(item).map_err(|error| CallError::MalformedAnswer(MalformedAnswer::Item(error)))
}
