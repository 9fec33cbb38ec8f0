//! Yamux over a metered connection.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt,
    future::{Ready, ready as ready_future},
    io, iter,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::{
    muxing::{StreamMuxer, StreamMuxerEvent},
    upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
};
use rendezvous_core::server::Origin;
use tokio::{task::coop, time::Sleep};

use crate::{
    guard::{ConnectionGuard, Guard, count},
    meter::Meter,
};

/// Streams that were opened by the other side and not yet taken by the connection's handlers. As many as a peer may open
/// before it must wait for this side in libp2p's own yamux.
const BACKLOG_MAX: usize = 256;

/// Streams of one connection, whatever the settings say: their windows then come to 2 GiB.
const STREAMS_MAX: usize = 8_192;

/// Upgrades an authenticated connection to yamux within its bounds.
#[derive(Clone)]
pub(crate) struct Upgrade {
    yamux: yamux::Config,
    guard: Guard,
    origin: Origin,
}

impl Upgrade {
    pub(crate) fn new(guard: Guard, origin: Origin) -> Self {
        let streams_max = guard.config().streams_max.clamp(1, STREAMS_MAX);
        let mut yamux = yamux::Config::default();
        // The window of a stream begins at 256 KiB and grows within the total, by measures that the other side can forge
        // (it may delay its answers to pings). So the total leaves no more to grow than the settings say. The order
        // matters: each setter checks the two numbers.
        let windows = streams_max * yamux::DEFAULT_CREDIT as usize;
        yamux.set_max_connection_receive_window(None);
        yamux.set_max_num_streams(streams_max);
        yamux.set_max_connection_receive_window(Some(windows.saturating_add(guard.config().window_growth_max)));
        Self { yamux, guard, origin }
    }

    fn muxer<C: AsyncRead + AsyncWrite + Unpin>(self, io: C, mode: yamux::Mode) -> Muxer<C> {
        let guard = self.guard.connect(self.origin);
        let close = CloseDeadline::new(self.guard.config().close_timeout);
        let connection = yamux::Connection::new(Meter::new(io, guard.clone()), self.yamux, mode);
        Muxer { connection, guard, backlog: VecDeque::new(), taker: None, stall: None, close }
    }
}

impl UpgradeInfo for Upgrade {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, io: C, _: Self::Info) -> Self::Future {
        ready_future(Ok(self.muxer(io, yamux::Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, io: C, _: Self::Info) -> Self::Future {
        ready_future(Ok(self.muxer(io, yamux::Mode::Client)))
    }
}

/// Yamux whose unread and unsent bytes are bounded, and whose close ends in time.
pub(crate) struct Muxer<C> {
    connection: yamux::Connection<Meter<C>>,
    guard: ConnectionGuard,
    /// Streams that wait to be taken, at most [`BACKLOG_MAX`].
    backlog: VecDeque<Substream>,
    /// Whoever waits for a stream.
    taker: Option<Waker>,
    /// When the socket takes nothing: the end of the other side's time.
    stall: Option<Pin<Box<Sleep>>>,
    close: CloseDeadline,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Substream>> {
        match ready!(self.connection.poll_next_inbound(cx)) {
            Some(Ok(stream)) => Poll::Ready(Ok(Substream::new(stream, self.guard.clone()))),
            Some(Err(error)) => Poll::Ready(Err(into_io(error))),
            None => Poll::Ready(Err(into_io(yamux::ConnectionError::Closed))),
        }
    }

    /// Ready when the other side has taken nothing for too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.guard.stalled_at() else {
            self.stall = None;
            return Poll::Pending;
        };
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if stall.deadline() != at {
            stall.as_mut().reset(at);
        }
        stall.as_mut().poll(cx)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Substream;
    type Error = io::Error;

    fn poll_inbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Substream>> {
        let this = self.get_mut();
        ready!(poll_turn(cx));
        if let Some(stream) = this.backlog.pop_front() {
            take_turn(cx);
            return Poll::Ready(Ok(stream));
        }
        let next = this.poll_next(cx);
        match &next {
            Poll::Ready(_) => take_turn(cx),
            Poll::Pending => this.taker = Some(cx.waker().clone()),
        }
        next
    }

    fn poll_outbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Substream>> {
        let this = self.get_mut();
        let stream = ready!(this.connection.poll_new_outbound(cx)).map_err(into_io)?;
        this.guard.opened(stream.id().val());
        Poll::Ready(Ok(Substream::new(stream, this.guard.clone())))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.close.poll_over(cx, &this.guard).is_ready() {
            return Poll::Ready(Ok(()));
        }
        this.connection.poll_close(cx).map_err(into_io)
    }

    /// Yamux makes progress only while it is asked for streams. Those that come meanwhile wait to be taken.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let this = self.get_mut();
        this.guard.begin_poll(cx)?;
        if this.poll_stalled(cx).is_ready() {
            return Poll::Ready(Err(this.guard.stall().into()));
        }
        while let Poll::Ready(stream) = this.poll_next(cx)? {
            if this.backlog.len() >= BACKLOG_MAX {
                tracing::debug!("stream reset: {BACKLOG_MAX} others wait to be served");
                continue;
            }
            this.backlog.push_back(stream);
            if let Some(taker) = this.taker.take() {
                taker.wake();
            }
        }
        // Reading and writing may have begun a stall, or ended one.
        if this.poll_stalled(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Units of a task's budget that a new stream takes. A task has 128 each time that it runs, so it takes eight streams, with
/// all the work that their first requests cause, before other tasks have their turn.
const STREAM_TURN_UNITS: u32 = 16;

/// Ready if the task may take one more stream before others have their turn.
pub(crate) fn poll_turn(cx: &mut Context<'_>) -> Poll<()> {
    if coop::has_budget_remaining() {
        return Poll::Ready(());
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// The task has taken a stream.
pub(crate) fn take_turn(cx: &mut Context<'_>) {
    for _ in 0..STREAM_TURN_UNITS {
        let Poll::Ready(unit) = coop::poll_proceed(cx) else { return };
        unit.made_progress();
    }
}

fn into_io(error: yamux::ConnectionError) -> io::Error {
    match error {
        yamux::ConnectionError::Io(error) => error,
        error => io::Error::other(error),
    }
}

/// A stream of yamux.
pub(crate) struct Substream {
    stream: yamux::Stream,
    id: u32,
    guard: ConnectionGuard,
}

impl Substream {
    fn new(stream: yamux::Stream, guard: ConnectionGuard) -> Self {
        Self { id: stream.id().val(), stream, guard }
    }

    fn unsent_max(&self) -> usize {
        self.guard.guard().config().unsent_per_connection_max.max(1)
    }
}

impl Drop for Substream {
    fn drop(&mut self) {
        self.guard.dropped(self.id);
    }
}

impl AsyncRead for Substream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if read > 0 {
            self.guard.consumed(self.id, read);
        }
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for Substream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.guard.poll_unsent_below(cx, self.unsent_max()));
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buffer))?;
        self.guard.written(written);
        Poll::Ready(Ok(written))
    }

    /// Waits until most of what the connection has written has left, so that whoever flushes knows that the other side
    /// takes it.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.guard.poll_unsent_below(cx, self.unsent_max().div_ceil(2)).map(Ok)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

impl fmt::Debug for Substream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(f)
    }
}

/// Ends a close that the other side does not answer.
#[derive(Debug)]
pub(crate) struct CloseDeadline {
    timeout: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl CloseDeadline {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, deadline: None }
    }

    /// Ready when the close has taken its time. The time begins with the first call.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>, guard: &ConnectionGuard) -> Poll<()> {
        let timeout = self.timeout;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(deadline.as_mut().poll(cx));
        count(&guard.guard().counters().closes_cut_short);
        Poll::Ready(())
    }
}
