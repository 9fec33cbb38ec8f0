//! The store in a directory of its own.

mod database;
mod directory;
mod files;
mod inspect;
mod log;
mod repair;
mod table;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use rendezvous_core::{
    Time,
    server::{Change, Kept},
};

pub use self::inspect::{Report, Stats};
use self::{
    database::{Database, Settings},
    directory::Directory,
};
use crate::{
    error::{CommitError, Damage, LoadError},
    ledger::Ledger,
    store::{Last, Loaded, Store},
};

/// Keeps registrations in a directory, in a database of its own (fjall). What [`Store::commit`] has returned `Ok` for
/// survives a crash and a loss of power.
///
/// Beside the database the directory holds a lock, which keeps a second process out; the file `format`, which tells the
/// version of what is there; and the file `mark`, by which commits that are missing at the end are noticed: a log cut short
/// looks, by itself, like one that ended there.
///
/// When a write fails it goes back to what was acknowledged, and tries again at the next commit, at most once a second.
#[derive(Debug)]
pub struct Embedded {
    directory: PathBuf,
    ledger: Ledger<Database>,
}

impl Embedded {
    /// Opens the store in a directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`LoadError`] if another process has it open, it is of another format, or damaged, or the operating system refuses.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, LoadError> {
        Self::open_with(directory.into(), Settings::default())
    }

    fn open_with(directory: PathBuf, settings: Settings) -> Result<Self, LoadError> {
        let database = Database::open(Directory::open_or_create(&directory)?, settings)?;
        Ok(Self { directory, ledger: ledger_of(database)? })
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Store for Embedded {
    fn last(&mut self) -> Result<Option<Last>, LoadError> {
        self.ledger.last()
    }

    fn load(&mut self, now: Time, each: &mut dyn FnMut(Kept) -> Result<(), Damage>) -> Result<Loaded, LoadError> {
        self.ledger.load(now, each)
    }

    fn commit(&mut self, now: Time, changes: &[Change]) -> Result<(), CommitError> {
        self.ledger.commit(now, changes)
    }
}

/// The ledger in a database, if no commit is missing at its end.
fn ledger_of(database: Database) -> Result<Ledger<Database>, LoadError> {
    let mark = database.mark();
    let ledger = Ledger::open(database)?;
    let serial = ledger.summary().map_or(0, |summary| summary.serial);
    if serial < mark.serial {
        return Err(Damage::Commits { commits: mark.serial - serial }.into());
    }
    Ok(ledger)
}
