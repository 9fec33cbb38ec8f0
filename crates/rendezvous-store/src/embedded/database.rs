//! The database in a store's directory.

use core::fmt;
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

use fjall::{KeyspaceCreateOptions, PersistMode};

use super::directory::{Directory, Mark};
use crate::{
    engine::{Engine, Write},
    error::{CommitError, Damage, LoadError},
    format::Summary,
};

/// The one table.
const ENTRIES: &str = "entries";

/// Memory for blocks that have been read. Registrations are served from the point's own memory; the database is read for the
/// old value of what changes.
const CACHE_BYTES: u64 = 16 << 20;

/// Bytes in memory before they are written as a file: each such write is also the longest that a commit may have to wait for.
const MEMTABLE_BYTES: u64 = 16 << 20;

/// Bytes of log that are read again at the next start.
const JOURNAL_BYTES_MAX: u64 = 128 << 20;

/// Time from one attempt to bring the database back to the next.
const RECOVERY_PAUSE: Duration = Duration::from_secs(1);

/// Entries that are copied at once.
const COPIED_PER_WRITE: usize = 4_096;

pub(super) struct Database {
    directory: Directory,
    /// `None` after a failure, until it is brought back.
    open: Option<Opened>,
    failure: Option<Failure>,
}

#[derive(Clone)]
struct Opened {
    database: fjall::Database,
    entries: fjall::Keyspace,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    /// After a failed fsync the operating system may believe to be written what is not. Then the log must not be written on:
    /// a hole in it would cut off what comes after.
    of_sync: bool,
    tried: Option<Instant>,
}

impl Database {
    pub(super) fn open(directory: Directory) -> Result<Self, LoadError> {
        let open = Opened::at(&directory.database())?;
        Ok(Self { directory, open: Some(open), failure: None })
    }

    pub(super) const fn mark(&self) -> Mark {
        self.directory.mark()
    }

    fn opened(&self) -> Result<&Opened, CommitError> {
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
    fn replace(&mut self, old: &Opened) -> Result<Opened, CommitError> {
        let path = self.directory.next_database().map_err(|error| commit_error(error.into()))?;
        let new = Opened::at(&path).map_err(|error| CommitError::Engine(Box::new(error)))?;
        let mut batch = new.database.batch();
        for entry in old.entries.iter() {
            let (key, value) = entry.into_inner().map_err(commit_error)?;
            batch.insert(&new.entries, key, value);
            if batch.len() == COPIED_PER_WRITE {
                batch.commit().map_err(commit_error)?;
                batch = new.database.batch();
            }
        }
        batch.commit().map_err(commit_error)?;
        new.database.persist(PersistMode::SyncAll).map_err(commit_error)?;
        self.directory.switch_to_next_database().map_err(|error| CommitError::Engine(Box::new(error)))?;
        Ok(new)
    }
}

impl Opened {
    fn at(path: &Path) -> Result<Self, LoadError> {
        let open = || {
            let database = fjall::Database::builder(path)
                .cache_size(CACHE_BYTES)
                .max_journaling_size(JOURNAL_BYTES_MAX)
                .worker_threads(2)
                .open()?;
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
            let entries = database.keyspace(ENTRIES, options)?;
            Ok(Self { database, entries })
        };
        contained(open).map_err(|error| match error {
            fjall::Error::Locked => LoadError::InUse { directory: path.to_owned() },
            fjall::Error::Io(source) if is_refusal(&source) => {
                LoadError::Io { action: "open the database in", path: path.to_owned(), source }
            }
            error => Damage::Database(error.to_string()).into(),
        })
    }

    fn write(&self, writes: &[Write]) -> fjall::Result<()> {
        // The log is handed to the operating system here, and no later: only then can a failed write be told from a failed
        // fsync.
        let mut batch = self.database.batch().durability(Some(PersistMode::Buffer));
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(&self.entries, key.as_slice(), value.as_slice()),
                None => batch.remove(&self.entries, key.as_slice()),
            }
        }
        batch.commit()
    }
}

impl Engine for Database {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, CommitError> {
        let open = self.opened()?;
        contained(|| open.entries.get(key)).map(|value| value.map(|value| value.to_vec())).map_err(commit_error)
    }

    fn scan(&mut self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), LoadError> {
        let open = self.opened().map_err(|error| LoadError::Engine(Box::new(error)))?;
        let read = || {
            for entry in open.entries.prefix(prefix) {
                let (key, value) = entry.into_inner()?;
                each(&key, &value);
            }
            Ok(())
        };
        contained(read).map_err(|error| match error {
            fjall::Error::Io(source) if is_refusal(&source) => {
                LoadError::Io { action: "read the database in", path: self.directory.path().to_owned(), source }
            }
            error => Damage::Database(error.to_string()).into(),
        })
    }

    fn write(&mut self, writes: &[Write]) -> Result<(), CommitError> {
        let open = self.opened()?.clone();
        if let Err(error) = contained(|| open.write(writes)) {
            drop(open);
            return Err(self.fail(false, error));
        }
        if let Err(error) = contained(|| open.database.persist(PersistMode::SyncAll)) {
            drop(open);
            return Err(self.fail(true, error));
        }
        Ok(())
    }

    fn acknowledged(&mut self, summary: &Summary) {
        self.directory.set_mark(summary);
    }

    fn recover(&mut self) -> Result<(), CommitError> {
        let Some(failure) = &mut self.failure else { return Ok(()) };
        if failure.tried.is_some_and(|tried| tried.elapsed() < RECOVERY_PAUSE) {
            return Err(CommitError::Recovering);
        }
        failure.tried = Some(Instant::now());
        let of_sync = failure.of_sync;
        let mut open = Opened::at(&self.directory.database()).map_err(|error| match error {
            LoadError::Damaged(damage) => CommitError::Damaged(damage),
            error => CommitError::Engine(Box::new(error)),
        })?;
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

/// What the database does, with a panic as an error: on files that have changed it may panic.
fn contained<T>(act: impl FnOnce() -> fjall::Result<T>) -> fjall::Result<T> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or(Err(fjall::Error::Unrecoverable))
}

/// Whether the operating system refuses, and the file is not at fault.
fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull)
}

fn commit_error(error: fjall::Error) -> CommitError {
    let source = match &error {
        fjall::Error::Io(source) => Some(source),
        fjall::Error::Storage(fjall::LsmError::Io(source)) => Some(source),
        _ => None,
    };
    match source.map(io::Error::kind) {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => CommitError::NoSpace,
        _ => CommitError::Engine(Box::new(error)),
    }
}
