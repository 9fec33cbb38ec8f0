//! What can go wrong with a store, and whose fault it is.

use std::{error::Error, io, path::PathBuf};

use rendezvous_core::server::NotRestorable;

/// Why a store cannot be opened or read. All are matters of this machine, none of a peer's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Another process has it open.
    #[error("{} is in use by another process", directory.display())]
    InUse {
        /// The store's directory.
        directory: PathBuf,
    },
    /// It holds other files, or nothing.
    #[error("{} does not hold a store", directory.display())]
    NotAStore {
        /// The directory.
        directory: PathBuf,
    },
    /// It was written by a program that knows another format.
    #[error("the store is of format {found}, and this program reads format {known}")]
    Format {
        /// Its format.
        found: u32,
        /// What this program reads.
        known: u32,
    },
    /// It is not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(#[from] Damage),
    /// The operating system refuses.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// What keeps the bytes refuses.
    #[error("cannot read the store: {0}")]
    Engine(#[source] Box<dyn Error + Send + Sync>),
}

/// What is not as it was written. It says what is lost, as far as that can be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// Registrations are missing, or are older or newer than the last commit left them.
    #[error("{found} of {expected} registrations are there, and they are not those of the last commit")]
    Registrations {
        /// How many should be there.
        expected: u64,
        /// How many are.
        found: u64,
    },
    /// Registrations' bytes have changed.
    #[error("the bytes of {damaged} of {expected} registrations have changed")]
    Checksums {
        /// How many do not match their checksums.
        damaged: u64,
        /// How many should be there.
        expected: u64,
    },
    /// The last commits are missing.
    #[error("the last {commits} commits are missing: what they registered, renewed or withdrew is lost")]
    Commits {
        /// How many.
        commits: u64,
    },
    /// The entry that tells what all others must come to is gone, or its bytes have changed.
    #[error("the entry that tells what should be there is missing or has changed: what is lost cannot be told")]
    Summary,
    /// A file of the store is missing, or its bytes have changed.
    #[error("the file {file} is missing or has changed: {lost}")]
    File {
        /// Which, from the store's directory.
        file: String,
        /// What is lost by it.
        lost: String,
    },
    /// The database finds its files changed.
    #[error("the database cannot read its files ({0}): what is lost cannot be told")]
    Database(String),
    /// A registration that no point can have written.
    #[error("a registration cannot have been written by a point: {0}")]
    NotRestorable(#[from] NotRestorable),
}

/// Why changes are not durable. The point's own fault, and answered `E_INTERNAL_ERROR`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// There is no room left.
    #[error("no space is left on the store's disk")]
    NoSpace,
    /// The store has failed a moment ago and has not been tried again yet.
    #[error("the store has failed, and is tried again shortly")]
    Recovering,
    /// The store is damaged, and takes nothing until the point is started again.
    #[error("the store is damaged: {0}")]
    Damaged(#[from] Damage),
    /// What keeps the bytes refuses.
    #[error("the store has failed: {0}")]
    Engine(#[source] Box<dyn Error + Send + Sync>),
}
