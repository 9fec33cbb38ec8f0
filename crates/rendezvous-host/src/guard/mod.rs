//! What all connections have in common: the bytes that are held for them, the work that they cause, and who pays when
//! either is too much.

mod connection;
#[cfg(test)]
mod tests;
mod work;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rendezvous_core::{
    Time,
    server::{NoticeLimiter, Origin},
};
use tokio::time::Instant;

pub(crate) use self::connection::{Closing, ConnectionGuard};
use self::work::{Bucket, Rates, Valve};
use crate::config::Config;

/// Origins that are remembered before those without a connection are looked through.
const ORIGINS_MIN: usize = 1_024;

/// Bounds that all connections of a [`transport`](crate::transport) share. A clone is another handle to the same ones.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

struct Inner {
    config: Config,
    start: Instant,
    origins: Mutex<Origins>,
    valve: Mutex<Valve>,
    /// [`Rates`] that are in force.
    connection_rate: AtomicU64,
    origin_rate: AtomicU64,
    unread: AtomicUsize,
    unsent: AtomicUsize,
    notices: Mutex<NoticeLimiter>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Origins {
    known: HashMap<Origin, Arc<OfOrigin>>,
    /// The number of origins at which those that are not needed are dropped.
    purge_at: usize,
}

/// What the connections of one origin have in common.
#[derive(Debug)]
pub(crate) struct OfOrigin {
    origin: Origin,
    bucket: Mutex<Bucket>,
    held: AtomicUsize,
    connections: Mutex<HashMap<u64, Weak<connection::Inner>>>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    next_connection: AtomicU64,
    pub(crate) connections: AtomicUsize,
    pub(crate) handshakes_evicted: AtomicU64,
    pub(crate) handshakes_delayed: AtomicU64,
    pub(crate) closed_unread: AtomicU64,
    pub(crate) closed_under_pressure: AtomicU64,
    pub(crate) closed_stalled: AtomicU64,
    pub(crate) closes_cut_short: AtomicU64,
    pub(crate) throttled: AtomicU64,
    pub(crate) handshakes_tcp: AtomicUsize,
    pub(crate) handshakes_quic: AtomicUsize,
}

/// What the transport holds, and how often each of its limits was met since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections whose handshake is done, in both directions.
    pub connections: usize,
    /// Inbound handshakes over TCP in flight.
    pub handshakes_tcp: usize,
    /// Inbound handshakes over QUIC in flight.
    pub handshakes_quic: usize,
    /// Received bytes that nobody has read, and the cost of their frames.
    pub unread_bytes: usize,
    /// Bytes that are written and have not left.
    pub unsent_bytes: usize,
    /// Handshakes given up for others because all places were taken ([`Config::handshakes_max`]).
    pub handshakes_evicted: u64,
    /// Handshakes that waited for their turn ([`Config::handshakes_per_second_max`]).
    pub handshakes_delayed: u64,
    /// Connections closed above [`Config::unread_per_connection_max`].
    pub closed_unread: u64,
    /// Connections closed because all together were above [`Config::unread_max`] or [`Config::unsent_max`].
    pub closed_under_pressure: u64,
    /// Connections closed because they took nothing for [`Config::stall_timeout`].
    pub closed_stalled: u64,
    /// Connections whose close was not answered within [`Config::close_timeout`].
    pub closes_cut_short: u64,
    /// Times that reading from a connection was put off because its bucket, or its prefix's, was empty
    /// ([`Config::work_per_second_max`]).
    pub throttled: u64,
    /// Whether connections that cause much work are slowed at this time.
    pub is_squeezing: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each critical section leaves its numbers consistent, whatever panics elsewhere.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Guard {
    /// Bounds with nothing held. Must be called where tokio's clock runs, which may be anywhere.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let start = Instant::now();
        let valve = Valve::new(start, config.work_per_second_max);
        let rates = valve.rates();
        Self(Arc::new(Inner {
            config,
            start,
            origins: Mutex::new(Origins { known: HashMap::new(), purge_at: ORIGINS_MIN }),
            valve: Mutex::new(valve),
            connection_rate: AtomicU64::new(rates.connection),
            origin_rate: AtomicU64::new(rates.origin),
            unread: AtomicUsize::new(0),
            unsent: AtomicUsize::new(0),
            notices: Mutex::default(),
            counters: Counters::default(),
        }))
    }

    /// What is held, and what was met.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counters = &self.0.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let held = |amount: &AtomicUsize| amount.load(Ordering::Relaxed);
        Stats {
            connections: held(&counters.connections),
            handshakes_tcp: held(&counters.handshakes_tcp),
            handshakes_quic: held(&counters.handshakes_quic),
            unread_bytes: held(&self.0.unread),
            unsent_bytes: held(&self.0.unsent),
            handshakes_evicted: read(&counters.handshakes_evicted),
            handshakes_delayed: read(&counters.handshakes_delayed),
            closed_unread: read(&counters.closed_unread),
            closed_under_pressure: read(&counters.closed_under_pressure),
            closed_stalled: read(&counters.closed_stalled),
            closes_cut_short: read(&counters.closes_cut_short),
            throttled: read(&counters.throttled),
            is_squeezing: lock(&self.0.valve).is_squeezing(),
        }
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Inbound handshakes over QUIC in flight.
    pub(crate) fn quic_handshakes(&self) -> usize {
        self.0.counters.handshakes_quic.load(Ordering::Relaxed)
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// A connection whose handshake is done.
    pub(crate) fn connect(&self, origin: Origin) -> ConnectionGuard {
        ConnectionGuard::new(self.clone(), self.of_origin(origin))
    }

    /// Logs that a limit was met, unless it was logged for this origin within the last minute.
    pub(crate) fn notice(&self, setting: &'static str, origin: Origin, outcome: fmt::Arguments<'_>) {
        let elapsed = Instant::now().saturating_duration_since(self.0.start);
        let now = Time::from_unix_millis(0) + elapsed;
        if lock(&self.0.notices).admit(now, setting, origin) {
            tracing::warn!(%origin, setting, "{outcome}");
        }
    }

    fn rates(&self) -> Rates {
        Rates {
            connection: self.0.connection_rate.load(Ordering::Relaxed),
            origin: self.0.origin_rate.load(Ordering::Relaxed),
        }
    }

    /// Adds work to the total, which may change the rates.
    fn add_work(&self, now: Instant, work: Duration) {
        let mut valve = lock(&self.0.valve);
        if valve.charge(now, work) {
            let rates = valve.rates();
            self.0.connection_rate.store(rates.connection, Ordering::Relaxed);
            self.0.origin_rate.store(rates.origin, Ordering::Relaxed);
        }
    }

    fn of_origin(&self, origin: Origin) -> Arc<OfOrigin> {
        let now = Instant::now();
        let rate = self.rates().origin;
        let mut origins = lock(&self.0.origins);
        if origins.known.len() >= origins.purge_at {
            origins.known.retain(|_, entry| {
                // Whoever holds another handle has a connection; a bucket that is not full is remembered.
                Arc::strong_count(entry) > 1 || !lock(&entry.bucket).is_full(now, rate)
            });
            origins.purge_at = ORIGINS_MIN.max(2 * origins.known.len());
        }
        let entry = origins.known.entry(origin).or_insert_with(|| {
            let bucket = Mutex::new(Bucket::full(now, rate));
            Arc::new(OfOrigin { origin, bucket, held: AtomicUsize::new(0), connections: Mutex::default() })
        });
        entry.clone()
    }

    /// Whether all connections together hold more than they may.
    fn is_over(&self) -> bool {
        self.0.unread.load(Ordering::Relaxed) > self.0.config.unread_max
            || self.0.unsent.load(Ordering::Relaxed) > self.0.config.unsent_max
    }

    /// Closes connections until what is held is within the totals: of the origin that holds the most, the connection that
    /// holds the most. A connection gives back what it holds as soon as it is chosen.
    fn relieve(&self) {
        while self.is_over() {
            let Some(fattest) = self.fattest() else { return };
            let Some(held) = fattest.close(Closing::Pressure) else { continue };
            count(&self.0.counters.closed_under_pressure);
            self.notice(
                "memory_max",
                fattest.origin(),
                format_args!("closed a connection that held {held} bytes: all connections together held too much"),
            );
        }
    }

    fn fattest(&self) -> Option<ConnectionGuard> {
        let origin = {
            let origins = lock(&self.0.origins);
            let by_held = origins.known.values().max_by_key(|entry| entry.held.load(Ordering::Relaxed));
            by_held.filter(|entry| entry.held.load(Ordering::Relaxed) > 0).cloned()
        }?;
        let connections: Vec<_> = lock(&origin.connections).values().filter_map(Weak::upgrade).collect();
        let fattest = connections.into_iter().filter(|inner| inner.held() > 0).max_by_key(|inner| inner.held())?;
        Some(ConnectionGuard::from_inner(fattest))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("stats", &self.stats()).finish()
    }
}
