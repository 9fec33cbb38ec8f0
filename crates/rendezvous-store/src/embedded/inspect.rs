//! Looking into a store's directory.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use libp2p_identity::PeerId;
use rendezvous_core::{
    RecordKind, Time,
    server::{Kept, KeptRecord},
};
use rendezvous_record::{Limits, VerifiedRecord};
use rendezvous_wire::{Namespace, PeerInfo};

use super::{
    Embedded,
    database::{Database, Settings},
    directory::{Directory, io_error},
    ledger_of,
};
use crate::{error::LoadError, format::Summary};

/// Largest record that a point can have admitted; a check must not find fault with what a setting allowed.
const RECORD_LIMITS: Limits = Limits { envelope_bytes_max: 32 << 10, addresses_max: usize::MAX };

/// What [`Embedded::check`] has found: every registration is there, and as it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Registrations of (peer, namespace).
    pub registrations: u64,
    /// Records; a registration has one or two.
    pub records: u64,
    /// Records that do not verify, or are not of the peer that they are kept for.
    pub bad_records: u64,
    /// Number of commits that the store has taken.
    pub commits: u64,
}

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Registrations of (peer, namespace).
    pub registrations: u64,
    /// Of these, those whose last record has ended at the time given.
    pub ended: u64,
    /// Records; a registration has one or two.
    pub records: u64,
    /// Bytes of all records.
    pub record_bytes: u64,
    /// Peers that are registered.
    pub peers: u64,
    /// Namespaces, with their numbers of registrations.
    pub namespaces: BTreeMap<Namespace, u64>,
    /// Bytes of all files.
    pub disk_bytes: u64,
    /// Highest position given out.
    pub position: u64,
    /// The point's time at the last commit; `None` if there was none.
    pub last_commit: Option<Time>,
    /// Number of commits that the store has taken.
    pub commits: u64,
}

impl Embedded {
    /// Reads a store that is not in use, and verifies every record. It reads a copy, made beside the directory for as long as
    /// it takes: opening a database that was not closed in order changes its files, and damaged ones most of all.
    ///
    /// # Errors
    /// [`LoadError`] as [`Embedded::open`], and with [`Damage`](crate::Damage) for anything that is not as it was written.
    pub fn check(directory: &Path) -> Result<Report, LoadError> {
        let mut report = Report::default();
        let summary = read_copy(directory, &mut |kept| {
            report.registrations += 1;
            for record in &kept.records {
                report.records += 1;
                report.bad_records += u64::from(!is_good(&kept.peer, record));
            }
        })?;
        report.commits = summary.serial;
        Ok(report)
    }

    /// Counts what a store that is not in use holds at `now`, from a copy as [`Self::check`] makes it.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn stats(directory: &Path, now: Time) -> Result<Stats, LoadError> {
        let mut stats = Stats::default();
        let mut peers = BTreeSet::new();
        let summary = read_copy(directory, &mut |kept| {
            stats.registrations += 1;
            stats.ended += u64::from(kept.records.iter().all(|record| record.ends <= now));
            stats.records += kept.records.len() as u64;
            stats.record_bytes += kept.records.iter().map(|record| record.record.len() as u64).sum::<u64>();
            peers.insert(kept.peer);
            *stats.namespaces.entry(kept.namespace).or_default() += 1;
        })?;
        stats.peers = peers.len() as u64;
        stats.position = summary.position;
        stats.last_commit = (summary.serial > 0).then_some(summary.time);
        stats.commits = summary.serial;
        stats.disk_bytes = bytes_in(directory).map_err(io_error("read", directory))?;
        Ok(stats)
    }
}

/// Whether a record is what its kind says, and of its peer.
fn is_good(peer: &PeerId, record: &KeptRecord) -> bool {
    match record.kind {
        RecordKind::Signed(flavour) => VerifiedRecord::verify(record.record.clone(), &RECORD_LIMITS)
            .is_ok_and(|verified| verified.peer_id() == *peer && verified.flavour() == flavour),
        RecordKind::Unsigned => PeerInfo::decode(&record.record).is_ok_and(|info| info.id() == peer.to_bytes()),
    }
}

/// Reads a copy of a store, which is removed at the end.
fn read_copy(directory: &Path, each: &mut dyn FnMut(Kept)) -> Result<Summary, LoadError> {
    // Held for as long as it takes.
    let original = Directory::open(directory)?;
    let copy = Copy::of(&original)?;
    let mut ledger = ledger_of(Database::open(Directory::open(&copy.0)?, Settings::default())?)?;
    ledger.read(&mut |_, _, kept| each(kept))?;
    Ok(ledger.summary().copied().unwrap_or_default())
}

/// A copy of a store, which is removed when this is dropped.
struct Copy(PathBuf);

impl Copy {
    fn of(store: &Directory) -> Result<Self, LoadError> {
        let path = store.path();
        // It must not be made within the directory, however that is called.
        let path = path.canonicalize().map_err(io_error("find", path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let free = |number: u32| {
            let copy = path.with_file_name(format!("{name}.copy-{}-{number}", std::process::id()));
            match fs::create_dir(&copy) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                Err(error) => Some(Err(io_error("make", &copy)(error))),
                Ok(()) => Some(Ok(Self(copy))),
            }
        };
        let copy = (0..).find_map(free).expect("one of the names is free")?;
        copy_store(store, &copy.0).map_err(io_error("copy to", &copy.0))?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "cannot remove the copy");
        }
    }
}

fn copy_store(store: &Directory, to: &Path) -> io::Result<()> {
    for file in Directory::FILES {
        fs::copy(store.path().join(file), to.join(file))?;
    }
    let database = store.database();
    match database.file_name() {
        Some(name) if database.try_exists()? => copy_directory(&database, &to.join(name)),
        _ => Ok(()),
    }
}

fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn bytes_in(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_in(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
