//! What the behaviour and all connections have in common.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Instant,
};

use futures::{channel::oneshot, task::AtomicWaker};
use libp2p_identity::PeerId;
use rendezvous_core::{
    Time,
    server::{
        Origin, Refusal, Register, Registered, Rejected, RequestReader, Requester, Server, Unregister, WakuReader,
    },
};
use rendezvous_store::{LoadError, Opened, Store};
use rendezvous_wire::{Dialect, Dialects, MessageType, Ttl};

use super::{
    budget::{Budgets, Exceeded, Resource},
    config::Config,
    writer::{Desk, Outcome},
};
use crate::{clock::Clock, notices::Notices};

/// Bytes of the length in front of a frame, at most.
const FRAME_PREFIX_BYTES_MAX: usize = 10;

/// The point behind its lock, and what needs no lock.
#[derive(Debug)]
pub(super) struct Shared {
    server: Mutex<Server>,
    pub(super) reader: RequestReader,
    pub(super) waku_reader: WakuReader,
    /// The dialects that are served, as [`Dialects::bits`].
    dialects: AtomicU8,
    pub(super) config: Config,
    pub(super) clock: Clock,
    /// What all connections share.
    pub(super) budgets: Arc<Budgets>,
    notices: Notices,
    /// When the behaviour's timer goes off, in milliseconds as [`Time`] counts them.
    armed: AtomicU64,
    /// Wakes the behaviour: the timer is to go off earlier, or there are events.
    waker: AtomicWaker,
    pub(super) counters: Counters,
    pub(super) desk: Desk,
}

/// How far a REGISTER has come.
#[derive(Debug)]
pub(super) enum Answer {
    Now(Ttl),
    /// When its change is durable.
    Later(oneshot::Receiver<Outcome>),
}

/// Counted without the lock.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// By [`Dialect::index`].
    pub(super) streams: [AtomicU64; Dialect::ALL.len()],
    pub(super) streams_refused: AtomicU64,
    pub(super) streams_refused_in_all: AtomicU64,
    pub(super) bad_frames: AtomicU64,
    pub(super) slow_senders: AtomicU64,
    pub(super) slow_readers: AtomicU64,
    pub(super) idle_streams: AtomicU64,
    pub(super) spent_streams: AtomicU64,
    pub(super) pages_awaited: AtomicU64,
    pub(super) pages_refused: AtomicU64,
    pub(super) pages_shrunk: AtomicU64,
    pub(super) requests_refused: AtomicU64,
    pub(super) pipelined_refused: AtomicU64,
    pub(super) negotiating_closed: AtomicU64,
    pub(super) agents_awaited: AtomicU64,
    pub(super) slow_commits: AtomicU64,
}

/// What the shell has met since its start, for each of its limits how often it was reached, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShellStats {
    /// Streams accepted.
    pub streams: u64,
    /// Of these, by the dialect that was negotiated, at its [`Dialect::index`].
    pub streams_by_dialect: [u64; Dialect::ALL.len()],
    /// Streams reset because the connection had [`Config::streams_per_connection_max`].
    pub streams_refused: u64,
    /// Streams reset because all connections together had [`Config::streams_max`], and their IP prefix had its share.
    pub streams_refused_in_all: u64,
    /// Streams reset because their IP prefix was above its share: idle ones near [`Config::streams_max`], and others where
    /// somebody within the share needed room.
    pub streams_evicted: u64,
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
    /// Answers refused because all connections together had [`Config::pages_bytes_max`] under way, and the requester's IP
    /// prefix its share.
    pub pages_refused: u64,
    /// Answers that had less room than they can need, because there was little.
    pub pages_shrunk: u64,
    /// Streams reset because all connections together held [`Config::requests_bytes_max`] of requests that are not complete.
    pub requests_refused: u64,
    /// Streams reset because more came behind a request that waited than [`Config::pipelined_requests_max`] or
    /// [`Config::pipelined_bytes_max`].
    pub pipelined_refused: u64,
    /// Connections closed because all connections together had more streams in negotiation than [`Config::negotiating_max`].
    pub negotiating_closed: u64,
    /// Answers that waited for the requester's agent version.
    pub agents_awaited: u64,
    /// Registrations refused because the store had not taken them within [`Config::commit_timeout`].
    pub slow_commits: u64,
    /// Groups of changes handed to the store.
    pub commits: u64,
    /// Of these, those that the store did not take.
    pub commits_failed: u64,
    /// Changes in them.
    pub changes: u64,
    /// Streams in flight on all connections together, at this time.
    pub streams_open: usize,
    /// Bytes of the answers to DISCOVER that are under way, at this time.
    pub pages_bytes: usize,
    /// Bytes of requests that are not complete or wait, at this time.
    pub requests_bytes: usize,
    /// Streams in negotiation on all connections together, at this time.
    pub negotiating: usize,
}

impl Counters {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self, desk: &Desk) -> ShellStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let streams_by_dialect = self.streams.each_ref().map(read);
        ShellStats {
            streams: streams_by_dialect.iter().sum(),
            streams_by_dialect,
            streams_refused: read(&self.streams_refused),
            streams_refused_in_all: read(&self.streams_refused_in_all),
            bad_frames: read(&self.bad_frames),
            slow_senders: read(&self.slow_senders),
            slow_readers: read(&self.slow_readers),
            idle_streams: read(&self.idle_streams),
            spent_streams: read(&self.spent_streams),
            pages_awaited: read(&self.pages_awaited),
            pages_refused: read(&self.pages_refused),
            pages_shrunk: read(&self.pages_shrunk),
            requests_refused: read(&self.requests_refused),
            pipelined_refused: read(&self.pipelined_refused),
            negotiating_closed: read(&self.negotiating_closed),
            agents_awaited: read(&self.agents_awaited),
            slow_commits: read(&self.slow_commits),
            commits: read(&desk.commits),
            commits_failed: read(&desk.commits_failed),
            changes: read(&desk.changes),
            ..ShellStats::default()
        }
    }
}

impl Shared {
    /// A point in memory, where changes are committed at once.
    pub(super) fn new(config: Config, seed: [u8; 16]) -> Self {
        let mut config = config.bounded();
        config.server.deferred_commit = false;
        let clock = Clock::start();
        let server = Server::new(clock.now(), config.server.clone(), seed);
        Self::with(config, clock, server)
    }

    /// A point that goes on with what a store has kept.
    pub(super) fn open(
        config: Config,
        seed: [u8; 16],
        store: &mut dyn Store,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(Self, Opened), LoadError> {
        let config = config.bounded();
        // Time goes on while the store is read.
        let started = Instant::now();
        let (server, opened) = rendezvous_store::open(store, Clock::wall(), config.server.clone(), seed, progress)?;
        Ok((Self::with(config, Clock::started(opened.now, started), server), opened))
    }

    fn with(config: Config, clock: Clock, server: Server) -> Self {
        let page_bytes_max = server.page_bytes_max() + FRAME_PREFIX_BYTES_MAX;
        Self {
            budgets: Arc::new(Budgets::new(
                config.streams_max,
                config.pages_bytes_max.max(page_bytes_max),
                config.requests_bytes_max,
                config.negotiating_max,
            )),
            notices: Notices::default(),
            reader: server.reader(),
            waku_reader: server.waku_reader(),
            dialects: AtomicU8::new(config.dialects.bits()),
            server: Mutex::new(server),
            config,
            clock,
            armed: AtomicU64::new(u64::MAX),
            waker: AtomicWaker::new(),
            counters: Counters::default(),
            desk: Desk::default(),
        }
    }

    /// What the shell has met, and what it holds.
    pub(super) fn shell_stats(&self) -> ShellStats {
        let budgets = &self.budgets;
        ShellStats {
            streams_evicted: budgets.evicted.load(Ordering::Relaxed),
            streams_open: budgets.used(Resource::Streams),
            pages_bytes: budgets.used(Resource::PageBytes),
            requests_bytes: budgets.used(Resource::RequestBytes),
            negotiating: budgets.used(Resource::Negotiations),
            ..self.counters.snapshot(&self.desk)
        }
    }

    /// The point, for as short as can be. A panic under the lock would be a bug of ours; it must not take the other
    /// connections along, and every operation leaves the registry consistent before it can panic in the next one.
    pub(super) fn lock(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The dialects that are served.
    pub(super) fn dialects(&self) -> Dialects {
        Dialects::from_bits_truncate(self.dialects.load(Ordering::Acquire))
    }

    /// Starts or stops serving a dialect; whether that is a change.
    pub(super) fn serve(&self, dialect: Dialect, is_served: bool) -> bool {
        let bit = Dialects::NONE.with(dialect).bits();
        let before = match is_served {
            true => self.dialects.fetch_or(bit, Ordering::AcqRel),
            false => self.dialects.fetch_and(!bit, Ordering::AcqRel),
        };
        (before & bit != 0) != is_served
    }

    /// Takes the tokens of a request, where rates are set.
    pub(super) fn arrival(&self, requester: &Requester) -> Result<(), Refusal> {
        let config = &self.config.server;
        if config.rate_per_peer.is_none() && config.rate_per_prefix.is_none() {
            return Ok(());
        }
        self.with_server(|server, now| server.handle_arrival(now, requester))
    }

    /// REGISTER, up to the point where it is answered or waits for the store.
    pub(super) fn register(&self, requester: &Requester, register: Register<'_>) -> Result<Answer, Refusal> {
        self.with_server(|server, now| match server.handle_register(now, requester, register)? {
            Registered::Done(ttl) => Ok(Answer::Now(ttl)),
            Registered::Pending(id) => Ok(Answer::Later(self.desk.outcome(id))),
        })
    }

    /// UNREGISTER; what it comes to, if that is not known at once.
    pub(super) fn unregister(&self, peer: &PeerId, unregister: &Unregister<'_>) -> Option<oneshot::Receiver<Outcome>> {
        self.with_server(|server, now| {
            let last = server.handle_unregister(now, peer, unregister)?;
            Some(self.desk.outcome(last))
        })
    }

    /// Counts a request that its reader has rejected.
    pub(super) fn note_rejected(&self, peer: &PeerId, rejected: &Rejected) {
        self.with_server(|server, _| server.handle_rejected(peer, rejected));
    }

    /// Logs that a limit was met. `setting` is the setting that changes it.
    pub(super) fn note_limit(&self, setting: &'static str, origin: Origin, what: &str) {
        self.notices.limit(self.clock.now(), setting, origin, what);
    }

    /// Logs that a total was used up, or the share of it.
    pub(super) fn note_exceeded(&self, setting: &'static str, origin: Origin, exceeded: Exceeded, what: &str) {
        match exceeded {
            Exceeded::Share => self.notices.share(self.clock.now(), setting, origin, what),
            Exceeded::Total => self.notices.limit(self.clock.now(), setting, origin, what),
        }
    }

    /// Refuses a DISCOVER because there is no room for its answer.
    pub(super) fn refuse_page(&self, peer: &PeerId, origin: Origin, exceeded: Exceeded) -> Refusal {
        Counters::count(&self.counters.pages_refused);
        self.note_exceeded("streams.pages_bytes_max", origin, exceeded, "DISCOVERs are refused");
        let rejected = Rejected { kind: Some(MessageType::Discover), refusal: Refusal::Overloaded };
        self.note_rejected(peer, &rejected);
        rejected.refusal
    }

    /// Acts on the point, and wakes the behaviour if that gave it something to do.
    pub(super) fn with_server<R>(&self, act: impl FnOnce(&mut Server, Time) -> R) -> R {
        let now = self.clock.now();
        let mut server = self.lock();
        let result = act(&mut server, now);
        let next = server.poll_timeout();
        let has_commit = server.has_commit();
        drop(server);
        if has_commit {
            self.desk.call();
        }
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
