//! The directory's files, as failures and decay leave them.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test panics where it fails")]

#[path = "../../../tests/common/mod.rs"]
mod common;
mod decay;
#[cfg(target_os = "linux")]
mod faults;
mod opening;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use self::common::{
    point::Point,
    scenario::{Step, scenario},
};
use super::{Embedded, database::Settings};
use rendezvous_core::Time;
use rendezvous_sim::fixtures::EPOCH;
use tempfile::TempDir;

/// With so little memory each commit or two becomes a file, and files are merged.
const TIGHT: Settings = Settings { memtable_bytes: 1_000, recovery_pause: Duration::ZERO };
const ROOMY: Settings = Settings { memtable_bytes: 16 << 20, recovery_pause: Duration::ZERO };

/// Runs the scenario in a directory, and has `last` see it before the store is closed. Returns when that was.
fn run(directory: &Path, settings: Settings, last: impl FnOnce(&Path)) -> Time {
    let open = |now| Point::open(Embedded::open_with(directory.to_owned(), settings).unwrap(), now).unwrap();
    let mut point = open(EPOCH);
    for step in scenario() {
        if let Step::Reopen(secs) = step {
            let now = point.now() + Duration::from_secs(secs);
            drop(point);
            point = open(now);
        } else {
            step.run(&mut point).unwrap();
        }
    }
    last(directory);
    point.now()
}

/// All files below a directory, from there, in order.
fn files(directory: &Path) -> Vec<PathBuf> {
    fn collect(directory: &Path, root: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, root, files);
            } else {
                files.push(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    let mut all = Vec::new();
    collect(directory, directory, &mut all);
    all.sort();
    all
}

/// Copies a directory. The log is made larger than what is in it; of the zeros at its end a few are enough.
fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(&file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        let mut bytes = fs::read(from.join(&file)).unwrap();
        if file.extension().is_some_and(|extension| extension == "jnl") {
            let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            bytes.truncate(used + 64);
        }
        fs::write(target, bytes).unwrap();
    }
}

/// A directory in memory, if there is such a place: for what does not depend on the disk.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
