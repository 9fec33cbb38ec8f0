//! What connections do at a point: noted by `server::Behaviour`, read by `limits::Behaviour`.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use libp2p_swarm::ConnectionId;

use crate::clock::Ticks;

/// When the connections of a point were used last: a handle, of which clones share their contents.
///
/// A point notes each request and each stream that ends. [`limits::Behaviour::watch`](crate::limits::Behaviour::watch) reads
/// it, to close idle connections. An application whose connections serve other protocols too notes their use with
/// [`Self::note_use`].
///
/// It has one entry for each connection of the point, and none of a closed one.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    meters: Mutex<HashMap<ConnectionId, Arc<Meter>>>,
    ticks: Ticks,
}

/// The use of one connection.
#[derive(Debug)]
pub(crate) struct Meter {
    last_use_millis: AtomicU64,
    /// Streams that have carried a request and are open.
    streams: AtomicUsize,
    ticks: Ticks,
}

/// A stream that has carried a request, until it is dropped.
#[derive(Debug)]
pub(crate) struct UsedStream(Arc<Meter>);

impl Activity {
    /// An application has used a connection: its idle time begins anew. Nothing is kept of a connection that the point
    /// does not know.
    pub fn note_use(&self, connection: ConnectionId) {
        if let Some(meter) = self.meters().get(&connection) {
            meter.note();
        }
    }

    /// A record that shows a manual clock.
    #[cfg(test)]
    pub(crate) fn with_ticks(ticks: Ticks) -> Self {
        Self(Arc::new(Inner { meters: Mutex::default(), ticks }))
    }

    pub(crate) fn ticks(&self) -> &Ticks {
        &self.0.ticks
    }

    pub(crate) fn opened(&self, connection: ConnectionId) -> Arc<Meter> {
        let ticks = self.0.ticks.clone();
        let last_use_millis = AtomicU64::new(ticks.now_millis());
        let meter = Arc::new(Meter { last_use_millis, streams: AtomicUsize::new(0), ticks });
        self.meters().insert(connection, meter.clone());
        meter
    }

    pub(crate) fn closed(&self, connection: ConnectionId) {
        self.meters().remove(&connection);
    }

    /// When a connection was used last, and whether a stream is open on it that has carried a request. `None` if the
    /// point does not know it.
    pub(crate) fn last_use(&self, connection: ConnectionId) -> Option<(u64, bool)> {
        let meters = self.meters();
        let meter = meters.get(&connection)?;
        Some((meter.last_use_millis.load(Relaxed), meter.streams.load(Relaxed) > 0))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.meters().len()
    }

    fn meters(&self) -> MutexGuard<'_, HashMap<ConnectionId, Arc<Meter>>> {
        self.0.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Meter {
    /// The connection is used now.
    pub(crate) fn note(&self) {
        self.last_use_millis.store(self.ticks.now_millis(), Relaxed);
    }

    /// A stream carries its first request.
    pub(crate) fn used_stream(self: &Arc<Self>) -> UsedStream {
        self.streams.fetch_add(1, Relaxed);
        UsedStream(self.clone())
    }
}

impl Drop for UsedStream {
    fn drop(&mut self) {
        self.0.note();
        self.0.streams.fetch_sub(1, Relaxed);
    }
}
