//! What the behaviour and all connections have in common.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use futures::task::AtomicWaker;
use libp2p_identity::PeerId;
use rendezvous_core::{
    Time,
    server::{Refusal, Register, Registered, RequestReader, Server, Settled, Unregister},
};
use rendezvous_wire::Ttl;

use super::config::Config;
use crate::clock::Clock;

/// The point behind its lock, and what needs no lock.
#[derive(Debug)]
pub(super) struct Shared {
    server: Mutex<Server>,
    pub(super) reader: RequestReader,
    pub(super) config: Config,
    pub(super) clock: Clock,
    /// When the behaviour's timer goes off, in milliseconds as [`Time`] counts them.
    armed: AtomicU64,
    /// Wakes the behaviour: the timer is to go off earlier, or there are events.
    waker: AtomicWaker,
    pub(super) counters: Counters,
}

/// Counted without the lock.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) streams: AtomicU64,
    pub(super) streams_refused: AtomicU64,
    pub(super) bad_frames: AtomicU64,
    pub(super) slow_senders: AtomicU64,
    pub(super) slow_readers: AtomicU64,
    pub(super) idle_streams: AtomicU64,
    pub(super) spent_streams: AtomicU64,
    pub(super) pages_awaited: AtomicU64,
    pub(super) agents_awaited: AtomicU64,
}

/// What the shell has met since its start: for each of its limits how often it was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShellStats {
    /// Streams accepted.
    pub streams: u64,
    /// Streams reset because the connection had [`Config::streams_per_connection_max`].
    pub streams_refused: u64,
    /// Streams closed because of a frame that is too long or none, or a message of no known type.
    pub bad_frames: u64,
    /// Streams closed because a frame was not complete within [`Config::frame_timeout`].
    pub slow_senders: u64,
    /// Streams closed because an answer was not taken within [`Config::write_timeout`].
    pub slow_readers: u64,
    /// Streams closed because they were silent for [`Config::idle_timeout`].
    pub idle_streams: u64,
    /// Streams closed because they had carried [`Config::requests_per_stream_max`].
    pub spent_streams: u64,
    /// Answers that waited because the connection had [`Config::pages_per_connection_max`] under way.
    pub pages_awaited: u64,
    /// Answers that waited for the requester's agent version.
    pub agents_awaited: u64,
}

impl Counters {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> ShellStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ShellStats {
            streams: read(&self.streams),
            streams_refused: read(&self.streams_refused),
            bad_frames: read(&self.bad_frames),
            slow_senders: read(&self.slow_senders),
            slow_readers: read(&self.slow_readers),
            idle_streams: read(&self.idle_streams),
            spent_streams: read(&self.spent_streams),
            pages_awaited: read(&self.pages_awaited),
            agents_awaited: read(&self.agents_awaited),
        }
    }
}

impl Shared {
    pub(super) fn new(config: Config, seed: [u8; 16]) -> Self {
        let config = config.bounded();
        let clock = Clock::start();
        let server = Server::new(clock.now(), config.server.clone(), seed);
        Self {
            reader: server.reader(),
            server: Mutex::new(server),
            config,
            clock,
            armed: AtomicU64::new(u64::MAX),
            waker: AtomicWaker::new(),
            counters: Counters::default(),
        }
    }

    /// The point, for as short as can be. A panic under the lock would be a bug of ours; it must not take the other
    /// connections along, and every operation leaves the registry consistent before it can panic in the next one.
    pub(super) fn lock(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// REGISTER, up to the point where it can be answered.
    pub(super) fn register(&self, peer: &PeerId, register: Register<'_>) -> Result<Ttl, Refusal> {
        self.with_server(|server, now| match server.handle_register(now, peer, register)? {
            Registered::Done(ttl) => Ok(ttl),
            Registered::Pending(id) => {
                let settled = commit(server, now).into_iter().find(|settled| settled.id == id);
                settled.map_or(Err(Refusal::StoreFailed), |settled| settled.result)?.ok_or(Refusal::StoreFailed)
            }
        })
    }

    pub(super) fn unregister(&self, peer: &PeerId, unregister: &Unregister<'_>) {
        self.with_server(|server, now| {
            server.handle_unregister(now, peer, unregister);
            commit(server, now);
        });
    }

    /// Acts on the point, and wakes the behaviour if that gave it something to do.
    pub(super) fn with_server<R>(&self, act: impl FnOnce(&mut Server, Time) -> R) -> R {
        let now = self.clock.now();
        let mut server = self.lock();
        let result = act(&mut server, now);
        let next = server.poll_timeout();
        drop(server);
        let is_earlier = next.is_some_and(|next| next.as_unix_millis() < self.armed.load(Ordering::Acquire));
        if is_earlier || self.config.server.events_max > 0 {
            self.waker.wake();
        }
        result
    }

    /// Says when the behaviour's timer goes off. To be called with the lock held, so that no change slips between.
    pub(super) fn set_armed(&self, _held: &MutexGuard<'_, Server>, time: Option<Time>) {
        self.armed.store(time.map_or(u64::MAX, Time::as_unix_millis), Ordering::Release);
    }

    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    pub(super) fn register_waker(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }
}

/// The commit seam: where changes would be written to a log. A registry in memory has nothing to wait for, so what was
/// checked is committed on the spot; without `deferred_commit` there is nothing to do at all.
fn commit(server: &mut Server, now: Time) -> Vec<Settled> {
    let mut settled = Vec::new();
    while let Some(batch) = server.poll_commit() {
        settled.extend(server.handle_committed(now, batch.id, Ok(())));
    }
    settled
}
