//! The stream of bytes under a call, and its two halves.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite, task::AtomicWaker};

use crate::io::Io;

/// A stream of bytes in both directions, whatever it is made of. One carries one call.
pub struct Pipe(Io);

impl Pipe {
    /// A pipe over this stream. Dropping it must let the other side see an end, in order or not.
    pub fn new(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self(Box::new(io))
    }

    /// The two directions. The stream lives until both are dropped, or one of them closes it.
    pub(super) fn split(self) -> (ReadHalf, WriteHalf) {
        let shared =
            Arc::new(Shared { io: Mutex::new(Some(self.0)), reader: AtomicWaker::new(), writer: AtomicWaker::new() });
        (ReadHalf(shared.clone()), WriteHalf(shared))
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").finish_non_exhaustive()
    }
}

/// The direction to here.
pub(super) struct ReadHalf(Arc<Shared>);

/// The direction to the other side.
pub(super) struct WriteHalf(Arc<Shared>);

/// What the halves have in common. Unlike with the halves of `futures`, either one can drop the stream, which is what tells
/// the other side of a cancel.
struct Shared {
    io: Mutex<Option<Io>>,
    /// Who waits in each direction, to be told that the stream was closed.
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Shared {
    fn poll<T>(
        &self,
        waiting: &AtomicWaker,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut Io>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        waiting.register(cx.waker());
        match &mut *self.lock() {
            Some(io) => poll(Pin::new(io), cx),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn close(&self) {
        let io = self.lock().take();
        // Outside the lock: a stream may do anything when it is dropped.
        drop(io);
        self.reader.wake();
        self.writer.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Io>> {
        self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadHalf {
    /// Drops the stream under both halves.
    pub(super) fn close(&self) {
        self.0.close();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.lock().is_none()
    }
}

impl WriteHalf {
    /// Drops the stream under both halves.
    pub(super) fn close(&self) {
        self.0.close();
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.poll(&self.0.reader, cx, |io, cx| io.poll_read(cx, buffer))
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll(&self.0.writer, cx, |io, cx| io.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll(&self.0.writer, cx, |io, cx| io.poll_flush(cx))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll(&self.0.writer, cx, |io, cx| io.poll_close(cx))
    }
}
