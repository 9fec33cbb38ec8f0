//! Bytes that change by themselves, files cut short, files that vanish.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rendezvous_core::Time;
use rendezvous_record::Flavour;
use rendezvous_sim::{desk::Found, fixtures::EPOCH};

use super::{
    ROOMY, TIGHT,
    common::{
        point::Point,
        scenario::{expected, scenario},
    },
    copy, files, run, scratch,
};
use crate::{Embedded, LoadError, embedded::database::Settings};

/// A store to be damaged again and again.
struct Sample {
    /// Files from its directory, with their bytes.
    files: Vec<(PathBuf, Vec<u8>)>,
    now: Time,
    expected: [Vec<Found>; 3],
    settings: Settings,
}

impl Sample {
    fn new(settings: Settings, is_killed: bool) -> Self {
        let place = tempfile::tempdir().unwrap();
        let (directory, kept) = (place.path().join("store"), place.path().join("kept"));
        let now = run(&directory, settings, |directory| {
            if is_killed {
                copy(directory, &kept);
            }
        });
        if !is_killed {
            copy(&directory, &kept);
        }
        let files = files(&kept).into_iter().map(|file| (file.clone(), fs::read(kept.join(file)).unwrap()));
        Self { files: files.collect(), now, expected: expected(&scenario()), settings }
    }

    /// Writes the store to a directory, with one file otherwise.
    fn write(&self, directory: &Path, changed: &Path, bytes: Option<&[u8]>) {
        let _ = fs::remove_dir_all(directory);
        for (file, whole) in &self.files {
            let Some(bytes) = (if file == changed { bytes } else { Some(&whole[..]) }) else { continue };
            let target = directory.join(file);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(target, bytes).unwrap();
        }
    }

    /// With one file otherwise: opening the store gives all that was there, or says what is not.
    fn check(&self, directory: &Path, changed: &Path, bytes: Option<&[u8]>, what: &str) {
        self.write(directory, changed, bytes);
        let opened = Embedded::open_with(directory.to_owned(), self.settings);
        match opened.and_then(|store| Point::open(store, self.now)) {
            Ok(mut point) => assert_eq!(point.listing(), self.expected, "{} {what}", changed.display()),
            Err(error) => assert_says_what_is_lost(&error, &format!("{} {what}", changed.display())),
        }
    }

    /// With one file otherwise: a check changes nothing, and after a repair what is whole is there.
    fn repair(&self, directory: &Path, changed: &Path, bytes: Option<&[u8]>, what: &str) {
        let what = format!("{} {what}", changed.display());
        self.write(directory, changed, bytes);
        let before = contents(directory);
        let report = Embedded::check(directory);
        assert_eq!(contents(directory), before, "{what}");
        assert_eq!(fs::read_dir(directory.parent().unwrap()).unwrap().count(), 1, "the copy is removed");
        let registrations = self.expected[0].len() as u64;
        match &report {
            Ok(report) => assert_eq!((report.registrations, report.bad_records), (registrations, 0), "{what}"),
            Err(error) => assert_says_what_is_lost(error, &what),
        }
        let (kept, lost) = match Embedded::repair(directory) {
            // A later program's store is not this one's to repair.
            Err(LoadError::Format { .. }) => return,
            repaired => repaired.unwrap(),
        };
        assert!(kept + lost <= registrations || report.is_err(), "{what}: {kept} {lost}");
        assert!(report.is_err() || kept == registrations, "{what}: {kept} {lost}");
        let report = Embedded::check(directory).unwrap();
        assert_eq!((report.registrations, report.bad_records), (kept, 0), "{what}");
        let mut point = Point::open(Embedded::open(directory).unwrap(), self.now).unwrap();
        point.register(77, Flavour::Standard, "after", 3_600).unwrap();
        let after = point.listing();
        drop(point);
        assert_eq!(Point::open(Embedded::open(directory).unwrap(), self.now).unwrap().listing(), after);
    }

    /// Has every file changed, cut short and removed in turn, in so many places of a large one.
    fn for_each_change(&self, in_large: usize, mut act: impl FnMut(&Path, Option<&[u8]>, &str)) {
        for (file, whole) in &self.files {
            for at in places(whole.len(), in_large) {
                let mut bytes = whole.clone();
                bytes[at] ^= [1 << (at % 8), 0xff][at / 8 % 2];
                act(file, Some(&bytes), &format!("changed at {at} of {}", whole.len()));
            }
            for len in places(whole.len(), in_large / 4) {
                act(file, Some(&whole[..len]), &format!("cut to {len} of {}", whole.len()));
            }
            act(file, None, "removed");
        }
    }
}

fn assert_says_what_is_lost(error: &LoadError, what: &str) {
    assert!(matches!(error, LoadError::Damaged(_) | LoadError::Format { .. }), "{what}: {error:?}");
    let line = error.to_string();
    assert!(!line.contains('\n') && line.len() < 200, "{what}: {line}");
}

/// Every place in a small file; in a large one so many, and both its ends.
fn places(len: usize, in_large: usize) -> Vec<usize> {
    if len <= in_large {
        return (0..len).collect();
    }
    let ends = in_large.min(len / 2) / 4;
    let mut places: Vec<usize> =
        (0..len).step_by(len.div_ceil(in_large)).chain(0..ends).chain(len - ends..len).collect();
    places.sort_unstable();
    places.dedup();
    places
}

fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(directory).into_iter().map(|file| (file.clone(), fs::read(directory.join(file)).unwrap())).collect()
}

fn check(sample: &Sample, in_large: usize) {
    let place = scratch();
    let directory = place.path().join("store");
    sample.for_each_change(in_large, |file, bytes, what| sample.check(&directory, file, bytes, what));
}

#[test]
fn a_changed_byte_in_a_log_is_noticed() {
    check(&Sample::new(ROOMY, false), 120);
}

#[test]
fn a_changed_byte_in_tables_is_noticed() {
    check(&Sample::new(TIGHT, false), 120);
}

#[test]
fn a_changed_byte_in_what_a_killed_process_leaves_is_noticed() {
    check(&Sample::new(TIGHT, true), 120);
}

#[test]
#[ignore = "some minutes: every byte and every length of every file"]
fn every_changed_byte_is_noticed() {
    for settings in [ROOMY, TIGHT] {
        for is_killed in [false, true] {
            check(&Sample::new(settings, is_killed), usize::MAX);
        }
    }
}

#[test]
fn a_damaged_store_is_checked_without_a_change_and_repaired() {
    for settings in [ROOMY, TIGHT] {
        let (sample, place) = (Sample::new(settings, true), scratch());
        let directory = place.path().join("store");
        let mut number = 0;
        sample.for_each_change(24, |file, bytes, what| {
            number += 1;
            if number % 20 == 0 || bytes.is_none() {
                sample.repair(&directory, file, bytes, what);
            }
        });
    }
}

#[test]
fn two_files_damaged_at_once_are_repaired() {
    let (sample, place) = (Sample::new(TIGHT, true), scratch());
    let directory = place.path().join("store");
    sample.write(&directory, Path::new("format"), Some(b"rendezvous-store 1\ndb-7\n0123456789abcdef\n"));
    fs::write(directory.join("mark"), b"").unwrap();
    assert!(Embedded::check(&directory).is_err());
    let registrations = sample.expected[0].len() as u64;
    assert_eq!(Embedded::repair(&directory).unwrap(), (registrations, 0), "no registration was in these files");
    let mut point = Point::open(Embedded::open(&directory).unwrap(), sample.now).unwrap();
    assert_eq!(point.listing(), sample.expected);
}

/// The format file names the database in use; when it named another one, which was not there, the one in use was taken for
/// what an interrupted switch had left, and removed.
#[test]
fn a_database_is_not_removed_when_the_format_file_names_another() {
    let (sample, place) = (Sample::new(ROOMY, false), scratch());
    let directory = place.path().join("store");
    for number in [0, 2, 3] {
        let text = format!("rendezvous-store 1\ndb-{number}\n");
        sample.write(&directory, Path::new("format"), Some(text.as_bytes()));
        let opened = Embedded::open(&directory).map(|_| ());
        assert_says_what_is_lost(&opened.unwrap_err(), &text);
        assert!(directory.join("db-1/version").exists());
    }
}

/// A loss of power leaves some sectors of what was being written. The mark is not synced either, and is as it was before.
#[test]
fn a_last_commit_of_which_parts_are_missing_is_dropped() {
    let place = scratch();
    let directory = place.path().join("store");
    run(&directory, ROOMY, |_| {});
    let log = directory.join("db-1/0.jnl");
    let used = |bytes: &[u8]| bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let mut point = Point::open(Embedded::open(&directory).unwrap(), EPOCH).unwrap();
    let (mark, before, start) =
        (fs::read(directory.join("mark")).unwrap(), point.listing(), used(&fs::read(&log).unwrap()));
    point.register(21, Flavour::Standard, "torn", 3_600).unwrap();
    let now = point.now();
    drop(point);
    let whole = fs::read(&log).unwrap();
    let kept = place.path().join("kept");
    copy(&directory, &kept);
    let end = used(&whole);
    assert!(end - start > 300);
    for from in (start..end).step_by(7) {
        for len in [16, 64, 200] {
            let _ = fs::remove_dir_all(&directory);
            copy(&kept, &directory);
            let mut bytes = whole[..end].to_vec();
            bytes.resize(end + 100, 0);
            bytes[from..(from + len).min(end)].fill(0);
            fs::write(&log, bytes).unwrap();
            fs::write(directory.join("mark"), &mark).unwrap();
            let mut point = Point::open(Embedded::open(&directory).unwrap(), now).unwrap();
            assert_eq!(point.listing(), before, "{len} from {from} of {start}..{end}");
            point.register(22, Flavour::Standard, "after", 3_600).unwrap();
            let after = point.listing();
            drop(point);
            assert_eq!(Point::open(Embedded::open(&directory).unwrap(), now).unwrap().listing(), after);
        }
    }
}

#[test]
fn what_stands_before_a_change_in_the_log_is_kept_by_a_repair() {
    let (sample, place) = (Sample::new(ROOMY, true), scratch());
    let directory = place.path().join("store");
    let (log, whole) = sample.files.iter().find(|(file, _)| file.ends_with("0.jnl")).unwrap();
    let kept = (0..whole.len() - 64).step_by(101).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        sample.write(&directory, log, Some(&bytes));
        Embedded::repair(&directory).unwrap().0
    });
    let kept: Vec<u64> = kept.collect();
    assert!(kept.iter().max() > Some(&3), "{kept:?}");
}

/// The database asked for as much memory as the changed number of sections said, which ended the process.
#[test]
fn a_table_with_a_changed_number_of_sections_is_noticed() {
    let (sample, place) = (Sample::new(TIGHT, true), scratch());
    let directory = place.path().join("store");
    for (file, whole) in
        sample.files.iter().filter(|(file, _)| file.parent().is_some_and(|path| path.ends_with("tables")))
    {
        let mut bytes = whole.clone();
        let at = bytes.windows(4).rposition(|window| window == b"TOC!").unwrap() + 4;
        bytes[at..at + 4].fill(0xff);
        sample.write(&directory, file, Some(&bytes));
        let error = Embedded::open(&directory).map(drop).unwrap_err();
        assert!(error.to_string().contains(&format!("tables/{}", file.file_name().unwrap().display())), "{error}");
        sample.repair(&directory, file, Some(&bytes), "number of sections");
    }
}
