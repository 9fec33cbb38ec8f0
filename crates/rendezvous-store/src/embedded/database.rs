//! The database in a store's directory.

use core::fmt;
use std::{
    fs,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use super::{
    directory::{Directory, Mark, io_error},
    table::{self, Table, commit_error, load_error, refused},
};
use crate::{
    engine::{Engine, Write},
    error::{CommitError, LoadError},
    format::Summary,
};

/// Time from one attempt to bring the database back to the next.
const RECOVERY_PAUSE: Duration = Duration::from_secs(1);

/// What tests make small.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) memtable_bytes: u64,
    pub(super) recovery_pause: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { memtable_bytes: table::MEMTABLE_BYTES, recovery_pause: RECOVERY_PAUSE }
    }
}

pub(super) struct Database {
    /// `None` after a failure, until it is brought back.
    open: Option<Table>,
    /// Its lock is released after the database is closed.
    directory: Directory,
    settings: Settings,
    failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    /// After a failed fsync the operating system may believe to be written what is not. Then the log must not be written on:
    /// a hole in it would cut off what comes after.
    of_sync: bool,
    tried: Option<Instant>,
}

impl Database {
    pub(super) fn open(directory: Directory, settings: Settings) -> Result<Self, LoadError> {
        let path = directory.database();
        if !path.try_exists().map_err(io_error("read", &path))? {
            // Under its name it is whole, whenever the process ends.
            let unfinished = directory.unfinished_database().map_err(io_error("remove", &path))?;
            drop(Table::create(&unfinished, settings)?);
            directory.finish_database(&unfinished).map_err(io_error("make", &path))?;
        }
        let open = Table::open(&path, settings)?;
        directory.remove_other_databases();
        Ok(Self { directory, settings, open: Some(open), failure: None })
    }

    pub(super) const fn mark(&self) -> Mark {
        self.directory.mark()
    }

    fn opened(&self) -> Result<&Table, CommitError> {
        self.open.as_ref().ok_or(CommitError::Recovering)
    }

    /// Closes the database: what it holds in memory is not to be trusted.
    fn fail(&mut self, of_sync: bool, error: fjall::Error) -> CommitError {
        self.open = None;
        let of_sync = of_sync || self.failure.is_some_and(|failure| failure.of_sync);
        self.failure = Some(Failure { of_sync, tried: None });
        commit_error(error)
    }

    /// Copies everything into a new database, so that the old one's log is not written on.
    fn replace(&mut self, old: &Table) -> Result<Table, CommitError> {
        let path = self.directory.next_database().map_err(refused)?;
        let new = Table::create(&path, self.settings).map_err(recovery_error).and_then(|mut new| {
            old.copy_to(&mut new).map_err(commit_error)?;
            Ok(new)
        });
        if new.is_err() {
            // It may be what fills the disk.
            let _ = fs::remove_dir_all(&path);
        }
        let new = new?;
        self.directory.switch_to_next_database().map_err(recovery_error)?;
        Ok(new)
    }
}

impl Engine for Database {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, CommitError> {
        self.opened()?.get(key).map_err(commit_error)
    }

    fn scan(&mut self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), LoadError> {
        let open = self.opened().map_err(|error| LoadError::Engine(Box::new(error)))?;
        let read = open.scan(prefix, false, &mut |key, value| {
            each(key, value);
            ControlFlow::Continue(())
        });
        read.map_err(|error| load_error("read the database in", self.directory.path(), error))
    }

    fn write(&mut self, writes: &[Write]) -> Result<(), CommitError> {
        let open = self.open.as_mut().ok_or(CommitError::Recovering)?;
        if let Err(error) = open.write(writes) {
            return Err(self.fail(false, error));
        }
        if let Err(error) = open.sync() {
            return Err(self.fail(true, error));
        }
        Ok(())
    }

    fn acknowledged(&mut self, summary: &Summary) {
        self.directory.set_mark(summary);
    }

    fn recover(&mut self) -> Result<(), CommitError> {
        let Some(failure) = &mut self.failure else { return Ok(()) };
        if failure.tried.is_some_and(|tried| tried.elapsed() < self.settings.recovery_pause) {
            return Err(CommitError::Recovering);
        }
        failure.tried = Some(Instant::now());
        let of_sync = failure.of_sync;
        let mut open = Table::open(&self.directory.database(), self.settings).map_err(recovery_error)?;
        if of_sync {
            open = self.replace(&open)?;
        }
        tracing::info!("the store works again");
        self.open = Some(open);
        self.failure = None;
        Ok(())
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_open = self.open.is_some();
        f.debug_struct("Database").field("directory", &self.directory.path()).field("is_open", &is_open).finish()
    }
}

fn recovery_error(error: LoadError) -> CommitError {
    match error {
        LoadError::Damaged(damage) => CommitError::Damaged(damage),
        LoadError::Io { source, .. } => refused(source),
        error => CommitError::Engine(Box::new(error)),
    }
}
