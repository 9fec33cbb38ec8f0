//! The thread that makes changes durable.

use std::{
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use futures::channel::oneshot;
use rendezvous_core::server::{ChangeId, CommitFailed, Refusal, Settled};
use rendezvous_store::{CommitError, Store};
use rendezvous_wire::Ttl;

use super::shared::Shared;

/// What a change comes to; see [`Settled`].
pub(super) type Outcome = Result<Option<Ttl>, Refusal>;

/// What is between the requests that wait and the thread that writes.
#[derive(Debug, Default)]
pub(super) struct Desk {
    signal: Mutex<Signal>,
    /// The thread waits here.
    called: Condvar,
    /// Requests whose change waits to be committed.
    waiting: Mutex<HashMap<ChangeId, oneshot::Sender<Outcome>>>,
    /// Why the last commit has failed; `None` while the store works.
    failure: Mutex<Option<String>>,
    pub(super) commits: AtomicU64,
    pub(super) commits_failed: AtomicU64,
    pub(super) changes: AtomicU64,
}

#[derive(Debug, Default)]
struct Signal {
    has_work: bool,
    is_closed: bool,
}

impl Desk {
    /// Has what waits be written.
    pub(super) fn call(&self) {
        locked(&self.signal).has_work = true;
        self.called.notify_one();
    }

    /// What a change will come to. To be called before the lock of the point is given back, so that it has not come to it yet.
    pub(super) fn outcome(&self, id: ChangeId) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        // Without a thread nothing is ever settled, and the sender that is dropped says so.
        if !locked(&self.signal).is_closed {
            locked(&self.waiting).insert(id, sender);
        }
        receiver
    }

    pub(super) fn failure(&self) -> Option<String> {
        locked(&self.failure).clone()
    }

    /// Waits for work; `false` when there will be none.
    fn next(&self) -> bool {
        let mut signal = locked(&self.signal);
        while !signal.has_work && !signal.is_closed {
            signal = self.called.wait(signal).unwrap_or_else(PoisonError::into_inner);
        }
        core::mem::take(&mut signal.has_work)
    }

    fn close(&self) {
        locked(&self.signal).is_closed = true;
        self.called.notify_one();
    }

    fn settle(&self, settled: Vec<Settled>) {
        let mut waiting = locked(&self.waiting);
        for Settled { id, result } in settled {
            if let Some(request) = waiting.remove(&id) {
                // Whoever asked may have left, or have been answered that it takes too long.
                let _ = request.send(result);
            }
        }
    }

    /// Nothing more is settled.
    fn abandon(&self) {
        locked(&self.waiting).clear();
    }
}

/// The thread; it ends, with what waits written, when this is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(shared: Arc<Shared>, store: Box<dyn Store>) -> io::Result<Self> {
        let of_thread = shared.clone();
        let thread =
            thread::Builder::new().name("rendezvous-store".to_owned()).spawn(move || run(&of_thread, store))?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.desk.close();
        if let Some(thread) = self.thread.take() {
            // It contains the panics of the store, and has none of its own.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, mut store: Box<dyn Store>) {
    let mut goes_on = true;
    while goes_on {
        goes_on = shared.desk.next();
        commit_all(shared, store.as_mut());
    }
    shared.desk.abandon();
}

/// Writes what waits, as one group; then what has come meanwhile, as the next.
fn commit_all(shared: &Shared, store: &mut dyn Store) {
    let desk = &shared.desk;
    loop {
        let Some(batch) = shared.lock().poll_commit() else { return };
        let now = shared.clock.now();
        let stored = catch_unwind(AssertUnwindSafe(|| store.commit(now, &batch.changes)));
        let failure = match stored {
            Ok(Ok(())) => None,
            // Why it has failed in the first place says more.
            Ok(Err(error @ CommitError::Recovering)) => desk.failure().or_else(|| Some(error.to_string())),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the store has panicked".to_owned()),
        };
        desk.commits.fetch_add(1, Ordering::Relaxed);
        desk.changes.fetch_add(batch.changes.len() as u64, Ordering::Relaxed);
        desk.commits_failed.fetch_add(u64::from(failure.is_some()), Ordering::Relaxed);
        let result = if failure.is_some() { Err(CommitFailed) } else { Ok(()) };
        *locked(&desk.failure) = failure;
        let settled = shared.with_server(|server, now| server.handle_committed(now, batch.id, result));
        desk.settle(settled);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
