//! Bounds of a connection over QUIC, which multiplexes by itself.
//!
//! What a peer may send unread is bounded by the windows that quinn advertises. How much of an answer quinn takes before
//! the peer has acknowledged it cannot be set through libp2p-quic: up to 10 MB for a connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::{
    core::muxing::{StreamMuxer, StreamMuxerEvent},
    quic,
};
use tokio::time::{Instant, Sleep};

use crate::{guard::ConnectionGuard, muxer::CloseDeadline};

/// A QUIC connection whose streams and bytes are charged, and whose close ends in time.
pub(crate) struct Muxer {
    connection: quic::Connection,
    guard: ConnectionGuard,
    delay: Delay,
    close: CloseDeadline,
}

impl Muxer {
    pub(crate) fn new(connection: quic::Connection, guard: ConnectionGuard) -> Self {
        let close = CloseDeadline::new(guard.guard().config().close_timeout);
        Self { connection, guard, delay: Delay::default(), close }
    }
}

/// Puts reading off while the connection's bucket is in debt.
#[derive(Default)]
struct Delay(Option<Pin<Box<Sleep>>>);

impl Delay {
    fn poll_over(&mut self, cx: &mut Context<'_>, guard: &ConnectionGuard) -> Poll<()> {
        loop {
            if let Some(delay) = &mut self.0 {
                ready!(delay.as_mut().poll(cx));
                self.0 = None;
            }
            match guard.read_delay() {
                None => return Poll::Ready(()),
                Some(wait) if wait.is_zero() => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(wait) => self.0 = Some(Box::pin(tokio::time::sleep_until(Instant::now() + wait))),
            }
        }
    }
}

impl StreamMuxer for Muxer {
    type Substream = Substream;
    type Error = io::Error;

    fn poll_inbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Substream>> {
        let this = self.get_mut();
        ready!(this.delay.poll_over(cx, &this.guard));
        let stream = ready!(Pin::new(&mut this.connection).poll_inbound(cx)).map_err(io::Error::other)?;
        this.guard.charge_input(1, 0);
        Poll::Ready(Ok(Substream::new(stream, this.guard.clone())))
    }

    fn poll_outbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Substream>> {
        let this = self.get_mut();
        let stream = ready!(Pin::new(&mut this.connection).poll_outbound(cx)).map_err(io::Error::other)?;
        Poll::Ready(Ok(Substream::new(stream, this.guard.clone())))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.close.poll_over(cx, &this.guard).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.connection).poll_close(cx).map_err(io::Error::other)
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let this = self.get_mut();
        this.guard.begin_poll(cx)?;
        Pin::new(&mut this.connection).poll(cx).map_err(io::Error::other)
    }
}

/// A stream of a QUIC connection.
pub(crate) struct Substream {
    stream: quic::Stream,
    guard: ConnectionGuard,
    delay: Delay,
}

impl Substream {
    fn new(stream: quic::Stream, guard: ConnectionGuard) -> Self {
        Self { stream, guard, delay: Delay::default() }
    }
}

impl AsyncRead for Substream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.delay.poll_over(cx, &this.guard));
        let read = ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        this.guard.charge_input(0, read);
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for Substream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
