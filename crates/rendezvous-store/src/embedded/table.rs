//! The table of entries in the database: what is asked of fjall, and what its errors mean.

use std::{
    io,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    thread,
    time::Duration,
};

use fjall::{KeyspaceCreateOptions, PersistMode};

use super::{
    database::Settings,
    directory::io_error,
    files::{self, Bears},
    log,
};
use crate::{
    engine::Write,
    error::{CommitError, Damage, LoadError},
};

/// The one table.
const ENTRIES: &str = "entries";

/// Memory for blocks that have been read. Registrations are served from the point's own memory; the database is read for the
/// old value of what changes.
const CACHE_BYTES: u64 = 16 << 20;

/// Bytes written before what is in memory becomes a file.
pub(super) const MEMTABLE_BYTES: u64 = 16 << 20;

/// Files that have not been merged yet, above which a commit waits. Well below the number at which the database lets it wait
/// by itself, without an end if merging fails.
const UNMERGED_FILES_MAX: usize = 16;

/// How often it is asked whether the database has finished.
const POLL_PAUSE: Duration = Duration::from_millis(1);

/// Bytes of log that are read again at the next start.
const JOURNAL_BYTES_MAX: u64 = 128 << 20;

/// Tables that are kept open. A process shares its limit of descriptors among connections and files, and fjall would keep
/// 900. Measured: 400,000 registrations make 12. A table that is not open costs an `open` when it is read.
const TABLES_OPEN_MAX: usize = 48;

/// Entries that are copied at once.
const COPIED_PER_WRITE: usize = 4_096;

/// Takes a key and its value, and says whether to go on.
pub(super) type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// A database that is open. Its panics come as errors: on files that have changed it may panic.
pub(super) struct Table {
    database: fjall::Database,
    entries: fjall::Keyspace,
    memtable_bytes: u64,
    /// Bytes written since what was in memory last became a file.
    bytes_in_memory: u64,
}

impl Table {
    /// Makes a database where there is none.
    pub(super) fn create(path: &Path, settings: Settings) -> Result<Self, LoadError> {
        let open = || {
            let database = fjall::Database::builder(path)
                .cache_size(CACHE_BYTES)
                .max_journaling_size(JOURNAL_BYTES_MAX)
                .max_cached_files(Some(TABLES_OPEN_MAX))
                .worker_threads(2)
                .open()?;
            // Memory is written out when `rest` says so.
            let options = || KeyspaceCreateOptions::default().max_memtable_size(u64::MAX);
            let entries = database.keyspace(ENTRIES, options)?;
            Ok(Self { database, entries, memtable_bytes: settings.memtable_bytes, bytes_in_memory: 0 })
        };
        contained(open).map_err(|error| match error {
            fjall::Error::Locked => LoadError::InUse { directory: path.to_owned() },
            error => load_error("open the database in", path, error),
        })
    }

    /// Opens one that is there.
    pub(super) fn open(path: &Path, settings: Settings) -> Result<Self, LoadError> {
        files::check(path, Bears::Nothing)?;
        log::cut_torn_end(path).map_err(io_error("read the log in", path))?;
        Self::create(path, settings)
    }

    /// Opens one that is damaged, as far as that goes.
    pub(super) fn open_damaged(path: &Path, settings: Settings) -> Result<Self, LoadError> {
        files::check(path, Bears::Parts)?;
        log::cut_at_changes(path).map_err(io_error("read the log in", path))?;
        Self::create(path, settings)
    }

    /// Whether the database still takes something.
    fn is_well(&self) -> fjall::Result<()> {
        self.database.persist(PersistMode::Buffer)
    }

    pub(super) fn write(&mut self, writes: &[Write]) -> fjall::Result<()> {
        contained(|| self.rest())?;
        // The log is handed to the operating system here, and no later: only then can a failed write be told from a failed
        // fsync.
        let mut batch = self.database.batch().durability(Some(PersistMode::Buffer));
        for (key, value) in writes {
            self.bytes_in_memory += (key.len() + value.as_ref().map_or(0, Vec::len)) as u64;
            match value {
                Some(value) => batch.insert(&self.entries, key.as_slice(), value.as_slice()),
                None => batch.remove(&self.entries, key.as_slice()),
            }
        }
        contained(|| batch.commit())
    }

    /// Has nothing else touch the log while a commit is written: else an fsync that failed elsewhere could hide its failure
    /// from the commit's own. And the database, which lets writers wait in loops of its own, never has a reason to.
    fn rest(&mut self) -> fjall::Result<()> {
        if self.bytes_in_memory >= self.memtable_bytes {
            self.entries.rotate_memtable()?;
            self.bytes_in_memory = 0;
        }
        while self.database.outstanding_flushes() > 0
            || self.entries.sealed_memtable_count() > 0
            || self.entries.l0_table_count() > UNMERGED_FILES_MAX
        {
            self.is_well()?;
            thread::sleep(POLL_PAUSE);
        }
        Ok(())
    }

    /// Copies all entries to an empty table, and makes them durable there.
    pub(super) fn copy_to(&self, new: &mut Self) -> fjall::Result<()> {
        let mut writes = Vec::new();
        let mut written = Ok(());
        self.scan(&[], false, &mut |key, value| {
            writes.push((key.to_vec(), Some(value.to_vec())));
            if writes.len() < COPIED_PER_WRITE {
                return ControlFlow::Continue(());
            }
            written = new.write(&writes);
            writes.clear();
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        written?;
        new.write(&writes)?;
        new.sync()
    }

    pub(super) fn sync(&self) -> fjall::Result<()> {
        contained(|| self.database.persist(PersistMode::SyncAll))
    }

    pub(super) fn get(&self, key: &[u8]) -> fjall::Result<Option<Vec<u8>>> {
        contained(|| Ok(self.entries.get(key)?.map(|value| value.to_vec())))
    }

    /// Hands out entries in the order of their keys, or from the last to the first.
    pub(super) fn scan(&self, prefix: &[u8], is_backwards: bool, each: Each<'_>) -> fjall::Result<()> {
        let mut entries = contained(|| Ok(self.entries.prefix(prefix)))?;
        let mut next = || {
            let entry = if is_backwards { entries.next_back() } else { entries.next() };
            entry.map(fjall::Guard::into_inner).transpose()
        };
        while let Some((key, value)) = contained(&mut next)? {
            if each(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// What the database does, with a panic as an error: on files that have changed it may panic.
fn contained<T>(act: impl FnOnce() -> fjall::Result<T>) -> fjall::Result<T> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or(Err(fjall::Error::Unrecoverable))
}

/// The operating system's refusal; `Err` where the files are at fault, be it that one is missing or too short.
fn refusal(error: fjall::Error) -> Result<io::Error, fjall::Error> {
    match error {
        fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) if !is_of_files(&source) => {
            Ok(source)
        }
        error => Err(error),
    }
}

/// Told by the kind alone: some come wrapped, without their number.
fn is_of_files(error: &io::Error) -> bool {
    use io::ErrorKind::{
        AlreadyExists, InvalidData, InvalidInput, IsADirectory, NotADirectory, NotFound, Other, UnexpectedEof,
    };
    let kinds = [AlreadyExists, InvalidData, InvalidInput, IsADirectory, NotADirectory, NotFound, Other, UnexpectedEof];
    kinds.contains(&error.kind())
}

pub(super) fn load_error(action: &'static str, path: &Path, error: fjall::Error) -> LoadError {
    match refusal(error) {
        Ok(source) => LoadError::Io { action, path: path.to_owned(), source },
        Err(error) => Damage::Database(what_is_wrong(&error)).into(),
    }
}

pub(super) fn commit_error(error: fjall::Error) -> CommitError {
    match refusal(error) {
        Ok(source) => refused(source),
        // Of writing, or of what a thread of the database's own has met: what is in the files is not at fault.
        Err(fjall::Error::Io(source)) => refused(source),
        Err(fjall::Error::Poisoned) => CommitError::Engine("a write in the background has failed".into()),
        Err(error @ (fjall::Error::Locked | fjall::Error::Unrecoverable)) => CommitError::Engine(Box::new(error)),
        Err(error) => Damage::Database(what_is_wrong(&error)).into(),
    }
}

fn what_is_wrong(error: &fjall::Error) -> String {
    match error {
        fjall::Error::Storage(fjall::LsmError::ChecksumMismatch { .. }) => "a checksum does not match".to_owned(),
        fjall::Error::Storage(error) => format!("{error:?}"),
        fjall::Error::Unrecoverable => "it has panicked or given up".to_owned(),
        error => format!("{error:?}"),
    }
}

pub(super) fn refused(source: io::Error) -> CommitError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => CommitError::NoSpace,
        _ => CommitError::Engine(Box::new(source)),
    }
}
