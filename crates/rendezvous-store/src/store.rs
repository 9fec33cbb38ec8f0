//! What a store is, and how a point is opened with one.

use rendezvous_core::{
    Time,
    server::{Change, Kept, Server, ServerConfig},
};

use crate::error::{CommitError, Damage, LoadError};

/// Where a point keeps its registrations. One point at a time uses it.
///
/// Its methods block, and are called from one thread.
pub trait Store: Send {
    /// Whether anything is there after a restart. If not, the point commits in memory and [`Self::commit`] is never called.
    fn is_durable(&self) -> bool {
        true
    }

    /// What was known when the store last took something; `None` if it never has.
    ///
    /// # Errors
    /// [`LoadError`] if that cannot be told.
    fn last(&mut self) -> Result<Option<Last>, LoadError>;

    /// Reads all that is kept and hands it out, each (peer, namespace) once, in any order. Records that have ended by `now`
    /// are left out, and dropped from the store. Called once, before the first commit.
    ///
    /// # Errors
    /// [`LoadError`] if it cannot be read, or is not what was written: then what was handed out must not be served.
    fn load(&mut self, now: Time, each: &mut dyn FnMut(Kept) -> Result<(), Damage>) -> Result<Loaded, LoadError>;

    /// Makes changes durable, in their order, all or none. When it has returned `Ok`, they survive.
    ///
    /// # Errors
    /// [`CommitError`] if they are not durable. The store may be asked again at any time, and works again once what stood
    /// in its way is gone. If the point ends before that, what was refused may be there after the restart, as a whole.
    fn commit(&mut self, now: Time, changes: &[Change]) -> Result<(), CommitError>;
}

/// What a store last knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// Highest position given out.
    pub position: u64,
    /// The point's time at its last commit.
    pub time: Time,
    /// Number of registrations.
    pub registrations: u64,
}

/// What [`Store::load`] has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Registrations handed out.
    pub registrations: u64,
    /// Records that had ended, and are dropped.
    pub ended: u64,
}

/// How a point was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The point's time, from which its clock is to go on: the wall clock, or the time of the last commit if that is later.
    ///
    /// So a clock that was set back while the point did not run makes no registration live longer than from one to the
    /// other, and brings none back that had ended by the last commit.
    pub now: Time,
    /// Registrations that go on.
    pub registrations: u64,
    /// Records that had ended meanwhile.
    pub ended: u64,
}

/// Opens a point with what a store has kept. `wall` is the wall clock; `seed` as for
/// [`Server::new`](rendezvous_core::server::Server::new). `progress` is told how many registrations have been read, now and
/// then.
///
/// # Errors
/// [`LoadError`] if the store cannot be read, or is not what was written.
pub fn open(
    store: &mut dyn Store,
    wall: Time,
    mut config: ServerConfig,
    seed: [u8; 16],
    progress: &mut dyn FnMut(u64),
) -> Result<(Server, Opened), LoadError> {
    let last = store.last()?;
    let now = last.map_or(wall, |last| last.time.max(wall));
    config.deferred_commit = store.is_durable();
    let mut restore = Server::restore(now, config, seed);
    let mut read = 0;
    let loaded = store.load(now, &mut |kept| {
        restore.put(&kept)?;
        read += 1;
        if read % PROGRESS_EVERY == 0 {
            progress(read);
        }
        Ok(())
    })?;
    let server = restore.finish(last.map(|last| last.position));
    Ok((server, Opened { now, registrations: loaded.registrations, ended: loaded.ended }))
}

/// Registrations from one call of `progress` to the next.
const PROGRESS_EVERY: u64 = 4_096;
