//! `rendezvous store`: look into the store of a point that does not run, and mend it.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::{Args, Subcommand};
use rendezvous_core::Time;
use rendezvous_store::{Embedded, Report, Stats};
use serde::Serialize;

use super::{StoreError, directory};
use crate::{
    error::Error,
    help,
    output::{Output, count, printable},
};

/// Namespaces that `stats` lists, the fullest first.
const NAMESPACES_SHOWN: usize = 20;

#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Read everything, and verify it: exit status 0 means that nothing is lost.
    #[command(after_help = help::STORE_CHECK)]
    Check(Target),
    /// Count what is kept.
    #[command(after_help = help::STORE_STATS)]
    Stats(Target),
    /// Make a damaged store usable again, with what is whole.
    #[command(after_help = help::STORE_REPAIR)]
    Repair(Target),
}

#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The data directory of the point, as `serve` has it.
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &Store) -> Result<(), Error> {
    let (Store::Check(target) | Store::Stats(target) | Store::Repair(target)) = command;
    let data_dir = target.directory.as_path();
    let store = directory(data_dir);
    if !store.is_dir() {
        return Err(Error::NoStore(data_dir.to_owned()));
    }
    let failed = StoreError::of(data_dir);
    let mut output = Output::new(target.json);
    match command {
        Store::Check(_) => {
            let report = Embedded::check(&store).map_err(failed)?;
            if report.bad_records > 0 {
                return Err(Error::BadRecords { bad: report.bad_records, records: report.records });
            }
            let checked = Checked::from(report);
            output.result(&checked, &checked)?;
        }
        Store::Stats(_) => {
            let stats = Embedded::stats(&store, now()).map_err(failed)?;
            let held = Held::new(&stats, data_dir);
            output.result(&held, &held)?;
        }
        Store::Repair(_) => {
            let (kept, dropped) = Embedded::repair(&store).map_err(failed)?;
            let repaired = Repaired { kept, dropped };
            output.result(&repaired, &repaired)?;
        }
    }
    output.flush()
}

#[derive(Debug, Serialize)]
struct Checked {
    registrations: u64,
    records: u64,
    commits: u64,
}

impl From<Report> for Checked {
    fn from(report: Report) -> Self {
        let Report { registrations, records, commits, .. } = report;
        Self { registrations, records, commits }
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (registrations, records) = (count(self.registrations, "registration"), count(self.records, "record"));
        write!(f, "sound: {registrations}, {records}, all as they were written and signed")
    }
}

#[derive(Debug, Serialize)]
struct Held {
    directory: String,
    registrations: u64,
    ended: u64,
    records: u64,
    record_bytes: u64,
    peers: u64,
    namespaces: usize,
    disk_bytes: u64,
    commits: u64,
    position: u64,
    /// Milliseconds of the Unix epoch.
    last_commit_ms: Option<u64>,
    fullest: Vec<Namespace>,
}

#[derive(Debug, Serialize)]
struct Namespace {
    namespace: String,
    registrations: u64,
}

impl Held {
    fn new(stats: &Stats, data_dir: &Path) -> Self {
        let mut fullest: Vec<_> = stats
            .namespaces
            .iter()
            .map(|(name, count)| Namespace { namespace: name.as_str().to_owned(), registrations: *count })
            .collect();
        fullest.sort_by_key(|namespace| core::cmp::Reverse(namespace.registrations));
        fullest.truncate(NAMESPACES_SHOWN);
        Self {
            directory: directory(data_dir).display().to_string(),
            registrations: stats.registrations,
            ended: stats.ended,
            records: stats.records,
            record_bytes: stats.record_bytes,
            peers: stats.peers,
            namespaces: stats.namespaces.len(),
            disk_bytes: stats.disk_bytes,
            commits: stats.commits,
            position: stats.position,
            last_commit_ms: stats.last_commit.map(Time::as_unix_millis),
            fullest,
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "store: {}", printable(&self.directory))?;
        let ended = if self.ended > 0 { format!(", {} of them ended", self.ended) } else { String::new() };
        writeln!(f, "registrations: {}{ended}", self.registrations)?;
        writeln!(f, "records: {}, {} bytes", self.records, self.record_bytes)?;
        writeln!(f, "peers: {}", self.peers)?;
        writeln!(f, "namespaces: {}", self.namespaces)?;
        for Namespace { namespace, registrations } in &self.fullest {
            writeln!(f, "  {registrations} {}", printable(namespace))?;
        }
        writeln!(f, "on disk: {} bytes", self.disk_bytes)?;
        write!(f, "commits: {}", self.commits)
    }
}

#[derive(Debug, Serialize)]
struct Repaired {
    kept: u64,
    dropped: u64,
}

impl fmt::Display for Repaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "repaired: {} kept, {} dropped", count(self.kept, "registration"), self.dropped)
    }
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time::from_unix_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
