//! Mending a store's directory.

use std::{ops::ControlFlow, path::Path};

use super::{
    Embedded,
    database::Settings,
    directory::{Directory, io_error},
    table::Table,
};
use crate::{
    engine::Write,
    error::LoadError,
    format::{self, REGISTRATION_PREFIX, SUMMARY_KEY, Summary},
};

/// Entries that are copied at once.
const COPIED_PER_WRITE: usize = 4_096;

/// More than a point gives out between two commits, and little of what there is.
const POSITIONS_SKIPPED: u64 = 1 << 32;

impl Embedded {
    /// Makes a damaged store usable again: copies the registrations that are whole to a new database, which takes the place
    /// of the old one. Returns how many were kept, and how many are known to be lost. Where the last commits are lost, what
    /// they renewed or withdrew is as it was before them. Peers whose registrations are missing register again within their
    /// TTL. All cookies stay good.
    ///
    /// # Errors
    /// [`LoadError`] if the directory is in use, or the operating system refuses.
    pub fn repair(directory: &Path) -> Result<(u64, u64), LoadError> {
        let mut directory = Directory::open_damaged(directory)?;
        let (mark, settings) = (directory.mark(), Settings::default());
        let path = directory.next_database().map_err(io_error("remove from", directory.path()))?;
        let mut salvage = Salvage::new(Table::create(&path, settings)?);
        match Table::open_damaged(&directory.database(), settings) {
            Ok(old) => salvage.take(&old)?,
            // Of what cannot be read at all nothing is kept.
            Err(LoadError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
        let mut summary = salvage.summary;
        summary.serial = summary.serial.max(mark.serial) + 1;
        // The positions of registrations that are lost may be in cookies, and must not be given out again.
        summary.position = summary.position.max(mark.position).saturating_add(POSITIONS_SKIPPED);
        salvage.writes.push((SUMMARY_KEY.to_vec(), Some(summary.encode())));
        salvage.write()?;
        salvage.new.sync().map_err(refused)?;
        directory.switch_to_next_database()?;
        directory.set_mark(&summary);
        let lost = salvage.changed.max(salvage.expected.saturating_sub(summary.registrations));
        Ok((summary.registrations, lost))
    }
}

/// What is whole of a database, on its way to a new one.
struct Salvage {
    new: Table,
    writes: Vec<Write>,
    summary: Summary,
    /// Registrations whose bytes have changed.
    changed: u64,
    /// Registrations that should be there.
    expected: u64,
}

impl Salvage {
    fn new(new: Table) -> Self {
        Self { new, writes: Vec::new(), summary: Summary::default(), changed: 0, expected: 0 }
    }

    fn take(&mut self, old: &Table) -> Result<(), LoadError> {
        let found = old.get(SUMMARY_KEY).ok().flatten().and_then(|value| Summary::decode(&value).ok());
        if let Some(found) = found {
            self.expected = found.registrations;
            self.summary = Summary { registrations: 0, sum: 0, ..found };
        }
        // A part that cannot be read ends a scan: what comes after it is read from the other end.
        let mut last = Vec::new();
        let mut failed = Ok(());
        let forwards = old.scan(REGISTRATION_PREFIX, false, &mut |key, value| {
            last = key.to_vec();
            failed = self.take_one(key, value);
            flow(failed.is_ok())
        });
        if forwards.is_err() && failed.is_ok() {
            let backwards = old.scan(REGISTRATION_PREFIX, true, &mut |key, value| {
                if key <= last.as_slice() {
                    return ControlFlow::Break(());
                }
                failed = self.take_one(key, value);
                flow(failed.is_ok())
            });
            if let Err(error) = backwards {
                tracing::warn!(%error, "a part of the store cannot be read");
            }
        }
        failed
    }

    fn take_one(&mut self, key: &[u8], value: &[u8]) -> Result<(), LoadError> {
        let Some(kept) = format::kept(key, value) else {
            self.changed += 1;
            return Ok(());
        };
        self.summary.position = self.summary.position.max(kept.position);
        self.summary.replace(None, Some(value));
        self.writes.push((key.to_vec(), Some(value.to_vec())));
        if self.writes.len() == COPIED_PER_WRITE { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), LoadError> {
        let writes = core::mem::take(&mut self.writes);
        self.new.write(&writes).map_err(refused)
    }
}

const fn flow(goes_on: bool) -> ControlFlow<()> {
    if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

fn refused(error: fjall::Error) -> LoadError {
    LoadError::Engine(Box::new(error))
}
