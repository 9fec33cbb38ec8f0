//! What is held for one connection, and what it costs.

use std::{
    collections::{HashMap, VecDeque},
    fmt, io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::task::AtomicWaker;
use rendezvous_core::server::Origin;
use tokio::time::Instant;

use super::{Guard, OfOrigin, count, lock, work::Bucket};
use crate::{
    config::FRAME_COST_BYTES,
    cost,
    frames::{Header, Scanned},
};

/// Work that one poll of a connection may cause before other tasks have their turn.
const WORK_PER_POLL: Duration = Duration::from_micros(500);

/// Work of a connection that is reported to the valve together.
const WORK_REPORTED_MIN: Duration = Duration::from_micros(200);

/// Why a connection is closed by the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Closing {
    #[error("the peer has sent more than this side may hold unread")]
    Unread,
    #[error("all connections together held too much, and this one the most")]
    Pressure,
    #[error("the peer takes nothing that is written to it")]
    Stalled,
}

impl From<Closing> for io::Error {
    fn from(closing: Closing) -> Self {
        Self::other(closing)
    }
}

/// Handle to the bounds of one connection. Clones are handles to the same; what is held is given back with the last.
#[derive(Clone)]
pub(crate) struct ConnectionGuard(Arc<Inner>);

pub(crate) struct Inner {
    guard: Guard,
    of_origin: Arc<OfOrigin>,
    id: u64,
    state: Mutex<State>,
    /// Unread and unsent bytes, as they count in the totals.
    held: AtomicUsize,
    /// Wakes the task of the connection, so that it notices that it is to close.
    task: AtomicWaker,
}

struct State {
    bucket: Bucket,
    /// Work since the muxer was last polled.
    work_in_poll: Duration,
    /// Work that the valve has not been told of.
    work_unreported: Duration,
    unread: usize,
    unsent: usize,
    /// Streams that yamux holds unread frames for.
    streams: HashMap<u32, Unread>,
    /// Those who wait until less is unsent.
    writers: Vec<Waker>,
    /// When the socket last took bytes, while it takes none.
    stalled_since: Option<Instant>,
    closing: Option<Closing>,
}

/// Unread frames of a stream.
#[derive(Debug, Default)]
struct Unread {
    /// Bytes left of each frame's body, the oldest first.
    frames: VecDeque<u32>,
    bytes: usize,
}

impl Unread {
    fn cost(&self) -> usize {
        self.bytes + self.frames.len() * FRAME_COST_BYTES
    }

    /// The oldest bytes have been read. Returns the cost that has gone with them.
    fn consume(&mut self, mut bytes: usize) -> usize {
        let before = self.cost();
        self.bytes -= bytes.min(self.bytes);
        while bytes > 0
            && let Some(left) = self.frames.front_mut()
        {
            let taken = bytes.min(*left as usize);
            bytes -= taken;
            *left -= u32::try_from(taken).unwrap_or(u32::MAX);
            if *left == 0 {
                self.frames.pop_front();
            }
        }
        before - self.cost()
    }
}

impl ConnectionGuard {
    pub(super) fn new(guard: Guard, of_origin: Arc<OfOrigin>) -> Self {
        let now = Instant::now();
        let counters = &guard.0.counters;
        counters.connections.fetch_add(1, Ordering::Relaxed);
        let id = counters.next_connection.fetch_add(1, Ordering::Relaxed);
        let state = State {
            bucket: Bucket::full(now, guard.rates().connection),
            work_in_poll: Duration::ZERO,
            work_unreported: Duration::ZERO,
            unread: 0,
            unsent: 0,
            streams: HashMap::new(),
            writers: Vec::new(),
            stalled_since: None,
            closing: None,
        };
        let inner = Arc::new(Inner {
            guard,
            of_origin,
            id,
            state: Mutex::new(state),
            held: AtomicUsize::new(0),
            task: AtomicWaker::new(),
        });
        lock(&inner.of_origin.connections).insert(id, Arc::downgrade(&inner));
        Self(inner)
    }

    pub(super) fn from_inner(inner: Arc<Inner>) -> Self {
        Self(inner)
    }

    pub(super) fn origin(&self) -> Origin {
        self.0.of_origin.origin
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// Marks the connection as one to be closed, gives back what it holds, and wakes its task. Returns the bytes that it
    /// held, or `None` if it was marked already; the first reason is kept.
    pub(super) fn close(&self, closing: Closing) -> Option<usize> {
        let (held, writers) = {
            let mut state = lock(&self.0.state);
            if state.closing.is_some() {
                return None;
            }
            state.closing = Some(closing);
            let held = state.unread + state.unsent;
            self.0.set_held(&mut state, 0, 0);
            (held, std::mem::take(&mut state.writers))
        };
        self.0.task.wake();
        writers.into_iter().for_each(Waker::wake);
        Some(held)
    }

    /// To be called at the start of each poll of the muxer.
    ///
    /// # Errors
    /// The reason if the connection is to be closed.
    pub(crate) fn begin_poll(&self, cx: &Context<'_>) -> Result<(), Closing> {
        self.0.task.register(cx.waker());
        let mut state = lock(&self.0.state);
        state.work_in_poll = Duration::ZERO;
        state.closing.map_or(Ok(()), Err)
    }

    /// The time for which nothing may be read, because a bucket is in debt; `None` if reading may go on.
    ///
    /// A wait of zero is a turn for other tasks.
    pub(crate) fn read_delay(&self) -> Option<Duration> {
        let now = Instant::now();
        let rates = self.0.guard.rates();
        let mut state = lock(&self.0.state);
        let own = state.bucket.wait(now, rates.connection);
        let delay = match self.origin() {
            Origin::Exempt => own,
            _ => own.max(lock(&self.0.of_origin.bucket).wait(now, rates.origin)),
        };
        if delay > Duration::ZERO {
            count(&self.0.guard.0.counters.throttled);
            return Some(delay);
        }
        (state.work_in_poll >= WORK_PER_POLL).then_some(Duration::ZERO)
    }

    fn charge(&self, state: &mut State, work: Duration) {
        let now = Instant::now();
        let rates = self.0.guard.rates();
        state.work_in_poll += work;
        state.bucket.charge(now, rates.connection, work);
        if self.origin() != Origin::Exempt {
            lock(&self.0.of_origin.bucket).charge(now, rates.origin, work);
        }
        // All connections share the valve, so a light one comes to it rarely.
        state.work_unreported += work;
        if state.work_unreported >= WORK_REPORTED_MIN {
            self.0.guard.add_work(now, std::mem::take(&mut state.work_unreported));
        }
    }

    /// Charges streams that the peer has opened, and bytes that it has sent, where frames cannot be seen.
    pub(crate) fn charge_input(&self, streams: u32, bytes: usize) {
        self.charge(&mut lock(&self.0.state), cost::of(streams, 1, bytes));
    }

    /// Takes note of frames that were received.
    ///
    /// # Errors
    /// The reason if the connection is to be closed.
    pub(crate) fn received(&self, bytes: usize, scan: impl FnOnce(&mut dyn FnMut(Scanned))) -> Result<(), Closing> {
        let (mut frames, mut opened, mut added) = (0, 0, 0);
        let mut state = lock(&self.0.state);
        scan(&mut |scanned| {
            let Scanned::Header(header) = scanned else { return };
            frames += 1;
            if header.opens_stream() {
                opened += 1;
                state.streams.entry(header.stream()).or_default();
            }
            added += state.add_frame(&header);
        });
        self.charge(&mut state, cost::of(opened, frames, bytes));
        if let Some(closing) = state.closing {
            return Err(closing);
        }
        if added == 0 {
            return Ok(());
        }
        let (unread, unsent) = (state.unread + added, state.unsent);
        self.0.set_held(&mut state, unread, unsent);
        drop(state);
        let max = self.0.guard.0.config.unread_per_connection_max;
        if unread > max {
            if self.close(Closing::Unread).is_some() {
                count(&self.0.guard.0.counters.closed_unread);
                self.0.guard.notice(
                    "transport.unread_per_connection_max",
                    self.origin(),
                    format_args!("closed a connection with {unread} bytes that nobody has read: {max} are the most"),
                );
            }
            return Err(Closing::Unread);
        }
        if self.0.guard.is_over() {
            self.0.guard.relieve();
        }
        Ok(())
    }

    /// This side has opened a stream, and may receive frames for it.
    pub(crate) fn opened(&self, stream: u32) {
        lock(&self.0.state).streams.entry(stream).or_default();
    }

    /// Bytes of a stream have been read.
    pub(crate) fn consumed(&self, stream: u32, bytes: usize) {
        let mut state = lock(&self.0.state);
        let Some(gone) = state.streams.get_mut(&stream).map(|unread| unread.consume(bytes)) else { return };
        let (unread, unsent) = (state.unread.saturating_sub(gone), state.unsent);
        self.0.set_held(&mut state, unread, unsent);
    }

    /// A stream has been dropped, and its unread frames with it.
    pub(crate) fn dropped(&self, stream: u32) {
        let mut state = lock(&self.0.state);
        let Some(gone) = state.streams.remove(&stream).map(|unread| unread.cost()) else { return };
        let (unread, unsent) = (state.unread.saturating_sub(gone), state.unsent);
        self.0.set_held(&mut state, unread, unsent);
    }

    /// Waits until fewer than `max` bytes are unsent.
    pub(crate) fn poll_unsent_below(&self, cx: &Context<'_>, max: usize) -> Poll<()> {
        let mut state = lock(&self.0.state);
        if state.closing.is_some() || state.unsent < max {
            return Poll::Ready(());
        }
        if !state.writers.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.writers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Bytes were handed to the muxer.
    pub(crate) fn written(&self, bytes: usize) {
        let mut state = lock(&self.0.state);
        let (unread, unsent) = (state.unread, state.unsent + bytes);
        self.0.set_held(&mut state, unread, unsent);
        drop(state);
        if self.0.guard.is_over() {
            self.0.guard.relieve();
        }
    }

    /// Takes room for bytes that may be unsent for as long as the connection lives, unless that leaves less than half of the
    /// total. Returns whether there was room.
    pub(crate) fn reserve_unsent(&self, bytes: usize) -> bool {
        let mut state = lock(&self.0.state);
        let totals = &self.0.guard.0;
        if totals.unsent.load(Ordering::Relaxed).saturating_add(bytes) > totals.config.unsent_max / 2 {
            return false;
        }
        let (unread, unsent) = (state.unread, state.unsent + bytes);
        self.0.set_held(&mut state, unread, unsent);
        true
    }

    /// The socket has taken bytes, `body_bytes` of them from frames with a body.
    pub(crate) fn sent(&self, body_bytes: usize) {
        let writers = {
            let mut state = lock(&self.0.state);
            state.stalled_since = None;
            let (unread, unsent) = (state.unread, state.unsent.saturating_sub(body_bytes));
            self.0.set_held(&mut state, unread, unsent);
            std::mem::take(&mut state.writers)
        };
        writers.into_iter().for_each(Waker::wake);
    }

    /// The socket takes nothing at this time.
    pub(crate) fn blocked(&self) {
        lock(&self.0.state).stalled_since.get_or_insert_with(Instant::now);
    }

    /// When the connection is to be closed if the socket goes on to take nothing.
    pub(crate) fn stalled_at(&self) -> Option<Instant> {
        let since = lock(&self.0.state).stalled_since?;
        Some(since + self.0.guard.0.config.stall_timeout)
    }

    /// Closes the connection because the socket has taken nothing for too long.
    pub(crate) fn stall(&self) -> Closing {
        if self.close(Closing::Stalled).is_some() {
            count(&self.0.guard.0.counters.closed_stalled);
            let timeout = self.0.guard.0.config.stall_timeout;
            self.0.guard.notice(
                "transport.stall_timeout",
                self.origin(),
                format_args!("closed a connection that took nothing for {timeout:?}"),
            );
        }
        Closing::Stalled
    }

    #[cfg(test)]
    pub(crate) fn unread_and_unsent(&self) -> (usize, usize) {
        let state = lock(&self.0.state);
        (state.unread, state.unsent)
    }
}

impl State {
    /// Adds a received frame to its stream, and returns what it costs. Frames of unknown streams are dropped by yamux.
    fn add_frame(&mut self, header: &Header) -> usize {
        let bytes = header.body_bytes();
        if bytes == 0 {
            return 0;
        }
        let Some(unread) = self.streams.get_mut(&header.stream()) else { return 0 };
        unread.frames.push_back(u32::try_from(bytes).unwrap_or(u32::MAX));
        unread.bytes += bytes;
        bytes + FRAME_COST_BYTES
    }
}

impl Inner {
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Sets what is held, in this connection, its origin and the totals. A connection that is to be closed holds nothing.
    fn set_held(&self, state: &mut State, unread: usize, unsent: usize) {
        let (unread, unsent) = if state.closing.is_some() { (0, 0) } else { (unread, unsent) };
        let totals = &self.guard.0;
        shift(&totals.unread, state.unread, unread);
        shift(&totals.unsent, state.unsent, unsent);
        shift(&self.of_origin.held, state.unread + state.unsent, unread + unsent);
        self.held.store(unread + unsent, Ordering::Relaxed);
        (state.unread, state.unsent) = (unread, unsent);
    }
}

/// Changes a sum by what one of its terms changes by.
fn shift(sum: &AtomicUsize, before: usize, after: usize) {
    if after >= before {
        sum.fetch_add(after - before, Ordering::Relaxed);
    } else {
        sum.fetch_sub(before - after, Ordering::Relaxed);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let held = self.state.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let totals = &self.guard.0;
        shift(&totals.unread, held.unread, 0);
        shift(&totals.unsent, held.unsent, 0);
        shift(&self.of_origin.held, held.unread + held.unsent, 0);
        lock(&self.of_origin.connections).remove(&self.id);
        totals.counters.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for ConnectionGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionGuard").field("origin", &self.origin()).field("held", &self.0.held()).finish()
    }
}
