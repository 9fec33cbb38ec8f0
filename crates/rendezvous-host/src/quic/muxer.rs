//! A QUIC connection within its bounds.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite, future::BoxFuture};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};

use crate::{
    guard::ConnectionGuard,
    muxer::{CloseDeadline, poll_turn, take_turn},
    throttle::Throttle,
};

/// A QUIC connection whose streams and bytes are charged, and whose close ends in time.
pub(crate) struct Muxer {
    connection: quinn::Connection,
    guard: ConnectionGuard,
    window: Arc<SendWindow>,
    inbound: Option<BoxFuture<'static, Opened>>,
    outbound: Option<BoxFuture<'static, Opened>>,
    closed: Option<BoxFuture<'static, quinn::ConnectionError>>,
    throttle: Throttle,
    close: CloseDeadline,
}

/// The two halves of a stream.
type Opened = Result<(quinn::SendStream, quinn::RecvStream), quinn::ConnectionError>;

impl Muxer {
    pub(crate) fn new(connection: quinn::Connection, guard: ConnectionGuard) -> Self {
        let close = CloseDeadline::new(guard.guard().config().close_timeout);
        let (throttle, inbound, outbound, closed) = (Throttle::default(), None, None, None);
        let window = Arc::new(SendWindow { connection: connection.clone(), has_grown: AtomicBool::new(false) });
        Self { connection, guard, window, inbound, outbound, closed, throttle, close }
    }
}

/// How much a connection may have unacknowledged.
struct SendWindow {
    connection: quinn::Connection,
    has_grown: AtomicBool,
}

impl SendWindow {
    /// Lets the window grow, once, if all connections together have room for it.
    fn grow(&self, guard: &ConnectionGuard) {
        let config = guard.guard().config();
        let growth = config.unsent_per_connection_max.saturating_sub(config.quic_window);
        if growth == 0 || self.has_grown.load(Ordering::Relaxed) || !guard.reserve_unsent(growth) {
            return;
        }
        self.has_grown.store(true, Ordering::Relaxed);
        self.connection.set_send_window(u64::try_from(config.unsent_per_connection_max).unwrap_or(u64::MAX));
    }
}

impl StreamMuxer for Muxer {
    type Substream = Substream;
    type Error = io::Error;

    fn poll_inbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Substream>> {
        let this = self.get_mut();
        ready!(poll_turn(cx));
        ready!(this.throttle.poll_may_read(cx, &this.guard));
        let inbound = this.inbound.get_or_insert_with(|| {
            let connection = this.connection.clone();
            Box::pin(async move { connection.accept_bi().await })
        });
        let opened = ready!(inbound.as_mut().poll(cx));
        this.inbound = None;
        take_turn(cx);
        this.guard.charge_input(1, 0);
        Poll::Ready(Ok(Substream::new(opened?, this.guard.clone(), this.window.clone())))
    }

    fn poll_outbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Substream>> {
        let this = self.get_mut();
        let outbound = this.outbound.get_or_insert_with(|| {
            let connection = this.connection.clone();
            Box::pin(async move { connection.open_bi().await })
        });
        let opened = ready!(outbound.as_mut().poll(cx));
        this.outbound = None;
        Poll::Ready(Ok(Substream::new(opened?, this.guard.clone(), this.window.clone())))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.close.poll_over(cx, &this.guard).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let closed = this.closed.get_or_insert_with(|| {
            this.connection.close(0_u32.into(), &[]);
            let connection = this.connection.clone();
            Box::pin(async move { connection.closed().await })
        });
        match ready!(closed.as_mut().poll(cx)) {
            quinn::ConnectionError::LocallyClosed => Poll::Ready(Ok(())),
            error => Poll::Ready(Err(error.into())),
        }
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let this = self.get_mut();
        this.guard.begin_poll(cx)?;
        Poll::Pending
    }
}

/// A stream of a QUIC connection.
pub(crate) struct Substream {
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    /// Whether this side has ended its half, or why it could not.
    close: Option<Result<(), io::ErrorKind>>,
    guard: ConnectionGuard,
    window: Arc<SendWindow>,
    throttle: Throttle,
}

impl Substream {
    fn new(
        (send, receive): (quinn::SendStream, quinn::RecvStream),
        guard: ConnectionGuard,
        window: Arc<SendWindow>,
    ) -> Self {
        Self { send, receive, close: None, guard, window, throttle: Throttle::default() }
    }
}

impl AsyncRead for Substream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if let Some(Err(_)) = this.close {
            // The other side has reset the stream.
            return Poll::Ready(Ok(0));
        }
        ready!(this.throttle.poll_may_read(cx, &this.guard));
        let read = ready!(AsyncRead::poll_read(Pin::new(&mut this.receive), cx, buffer))?;
        this.guard.charge_input(0, read);
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for Substream {
    /// Waits while as much is unacknowledged as the connection may hold.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let written = AsyncWrite::poll_write(Pin::new(&mut self.send), cx, buffer);
        if written.is_pending() {
            self.window.grow(&self.guard);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), cx)
    }

    /// May be called again after it has ended.
    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let send = &mut this.send;
        let closed = this.close.get_or_insert_with(|| send.finish().map_err(|error| io::Error::from(error).kind()));
        Poll::Ready(closed.map_err(io::Error::from))
    }
}
