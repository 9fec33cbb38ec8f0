//! The layer between noise and yamux, which sees every frame of a connection go by.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};

use crate::{
    frames::{FrameScanner, Scanned},
    guard::ConnectionGuard,
    throttle::Throttle,
};

/// Counts the frames that are received and sent, and stops reading while the connection's bucket is in debt. Writing goes on
/// meanwhile: answers that are due are not held back.
pub(crate) struct Meter<S> {
    io: S,
    guard: ConnectionGuard,
    received: FrameScanner,
    sent: FrameScanner,
    throttle: Throttle,
}

impl<S> Meter<S> {
    pub(crate) fn new(io: S, guard: ConnectionGuard) -> Self {
        Self {
            io,
            guard,
            received: FrameScanner::default(),
            sent: FrameScanner::default(),
            throttle: Throttle::default(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Meter<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.throttle.poll_may_read(cx, &this.guard));
        let read = ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
        let bytes = &buffer[..read];
        let received = &mut this.received;
        this.guard.received(read, |on_scanned| received.scan(bytes, on_scanned))?;
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Meter<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let Poll::Ready(written) = Pin::new(&mut this.io).poll_write(cx, buffer) else {
            this.guard.blocked();
            return Poll::Pending;
        };
        let written = written?;
        let mut body_bytes = 0;
        this.sent.scan(&buffer[..written], |scanned| {
            if let Scanned::Body(bytes) = scanned {
                body_bytes += bytes;
            }
        });
        this.guard.sent(body_bytes);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        if flushed.is_pending() {
            self.guard.blocked();
        } else {
            self.guard.sent(0);
        }
        flushed
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}
