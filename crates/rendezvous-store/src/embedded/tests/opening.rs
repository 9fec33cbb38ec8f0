//! Who may open a directory, and which.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rendezvous_core::{Time, server::ServerConfig};
use rendezvous_record::Flavour;
use rendezvous_sim::fixtures::EPOCH;

use super::{ROOMY, TIGHT, common::point::Point, files, run, scratch};
use crate::{Damage, Embedded, LoadError, Store as _, embedded::directory::Directory, format};

fn open(directory: &Path) -> Result<Embedded, LoadError> {
    Embedded::open(directory)
}

fn assert_in_use<T>(opened: Result<T, LoadError>) {
    assert!(matches!(opened, Err(LoadError::InUse { .. })));
}

#[test]
fn a_directory_in_use_is_refused() {
    let place = scratch();
    let store = open(place.path()).unwrap();
    for _ in 0..2 {
        assert_in_use(open(place.path()));
        assert_in_use(Embedded::check(place.path()));
        assert_in_use(Embedded::stats(place.path(), EPOCH));
        assert_in_use(Embedded::repair(place.path()));
    }
    drop(store);
    for _ in 0..20 {
        drop(open(place.path()).expect("what was dropped is free at once"));
    }
    Embedded::check(place.path()).unwrap();
}

/// Holds a directory open until it is killed.
#[test]
#[ignore = "it is what a test here runs as a process of its own"]
fn holder() {
    let Some(directory) = env::var_os("STORE_DIRECTORY").map(PathBuf::from) else { return };
    let mut point = Point::open(open(&directory).unwrap(), EPOCH).unwrap();
    point.register(1, Flavour::Standard, "a", 3_600).unwrap();
    println!("\n#open");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn held(directory: &Path) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "embedded::tests::opening::holder", "--ignored", "--nocapture"]);
    let piped =
        command.env("STORE_DIRECTORY", directory).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = piped.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let is_open = lines.map_while(Result::ok).any(|line| line == "#open");
    assert!(is_open);
    child
}

#[test]
fn a_directory_in_use_by_another_process_is_refused_until_that_ends() {
    let place = scratch();
    let mut child = held(place.path());
    assert_in_use(open(place.path()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(Point::open(open(place.path()).unwrap(), EPOCH).unwrap().opened.registrations, 1);

    let mut child = held(place.path());
    assert_in_use(Embedded::repair(place.path()));
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    child.wait().unwrap();
    drop(open(place.path()).unwrap());
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let place = scratch();
    fs::write(place.path().join("letter.txt"), b"dear").unwrap();
    fs::create_dir(place.path().join("pictures")).unwrap();
    for opened in [open(place.path()).map(drop), Embedded::check(place.path()).map(drop)] {
        let error = opened.unwrap_err();
        assert!(matches!(&error, LoadError::NotAStore { directory } if directory == place.path()), "{error}");
    }
    assert!(matches!(Embedded::repair(place.path()), Err(LoadError::NotAStore { .. })));
    assert_eq!(files(place.path()), [Path::new("letter.txt")]);
}

#[test]
fn a_store_among_other_files_is_opened() {
    let place = scratch();
    // As in the root of a file system.
    fs::create_dir(place.path().join("lost+found")).unwrap();
    let mut point = Point::open(open(place.path()).unwrap(), EPOCH).unwrap();
    point.register(1, Flavour::Standard, "a", 3_600).unwrap();
    drop(point);
    fs::write(place.path().join("notes.txt"), b"mine").unwrap();
    assert_eq!(Point::open(open(place.path()).unwrap(), EPOCH).unwrap().opened.registrations, 1);
    assert_eq!(Embedded::check(place.path()).unwrap().registrations, 1);
    assert_eq!(Embedded::repair(place.path()).unwrap(), (1, 0));
    assert!(place.path().join("notes.txt").exists());
}

#[test]
fn what_is_no_directory_is_refused() {
    let place = scratch();
    let file = place.path().join("file");
    fs::write(&file, b"").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = open(&path).map(drop).unwrap_err();
        assert!(matches!(&error, LoadError::Io { path: found, .. } if *found == path), "{error}");
    }
    let missing = place.path().join("missing");
    for error in [Embedded::check(&missing).map(drop).unwrap_err(), Embedded::repair(&missing).map(drop).unwrap_err()] {
        assert!(matches!(error, LoadError::Io { .. }), "{error}");
    }
    assert!(!missing.exists());
    fs::create_dir(&missing).unwrap();
    assert!(matches!(Embedded::check(&missing), Err(LoadError::NotAStore { .. })));
    assert_eq!(files(&missing), Vec::<PathBuf>::new());
}

#[cfg(unix)]
#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = scratch();
    let directory = place.path().join("store");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o555)).unwrap();
    // Of whom everything is allowed to, nothing is to be seen.
    if fs::write(directory.join("probe"), b"").is_err() {
        let error = open(&directory).map(drop).unwrap_err();
        assert!(matches!(error, LoadError::Io { .. }), "{error}");
    }
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_later_format_is_told_from_damage() {
    let place = scratch();
    run(place.path(), ROOMY, |_| {});
    let body = "rendezvous-store 2\nshards 16\n";
    let text = format!("{body}{:016x}\n", format::checksum(b"format", body.as_bytes()));
    fs::write(place.path().join("format"), text).unwrap();
    for opened in [open(place.path()).map(drop), Embedded::check(place.path()).map(drop)] {
        assert!(matches!(opened, Err(LoadError::Format { found: 2, known: 1 })));
    }
    assert!(matches!(Embedded::repair(place.path()), Err(LoadError::Format { found: 2, known: 1 })));
}

#[test]
fn a_name_that_is_not_plain_is_checked_too() {
    let place = scratch();
    let directory = place.path().join("store");
    run(&directory, TIGHT, |_| {});
    let whole = Embedded::check(&directory).unwrap();
    fs::create_dir(place.path().join("other")).unwrap();
    for name in ["other/../store", "store/.", "store/keyspaces/..", "./store/"] {
        let path = place.path().join(name);
        if path.exists() {
            assert_eq!(Embedded::check(&path).unwrap(), whole, "{name}");
        }
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2, "no copy is left");
}

/// Ended in the middle of being made, once under each of the steps.
#[test]
fn a_directory_that_was_being_made_is_made() {
    for left in [&["lock"][..], &["lock", "mark"], &["lock", "mark", "format.new"]] {
        let place = scratch();
        for name in left {
            fs::write(place.path().join(name), b"").unwrap();
        }
        drop(open(place.path()).unwrap());
    }
    let place = scratch();
    drop(Directory::open_or_create(place.path()).unwrap());
    fs::create_dir_all(place.path().join("db.new/keyspaces")).unwrap();
    fs::write(place.path().join("db.new/0.jnl"), b"").unwrap();
    drop(open(place.path()).unwrap());
    assert!(!place.path().join("db.new").exists());
}

#[test]
fn what_a_switch_of_databases_leaves_is_removed() {
    let place = scratch();
    run(place.path(), ROOMY, |_| {});
    fs::create_dir_all(place.path().join("db-2/keyspaces")).unwrap();
    Embedded::check(place.path()).unwrap();
    assert!(place.path().join("db-2").exists(), "a check changes nothing");
    drop(open(place.path()).unwrap());
    assert!(!place.path().join("db-2").exists());
}

#[test]
fn a_database_that_is_gone_is_missed() {
    let place = scratch();
    run(place.path(), ROOMY, |_| {});
    fs::remove_dir_all(place.path().join("db-1")).unwrap();
    for _ in 0..2 {
        let error = open(place.path()).map(drop).unwrap_err();
        assert!(matches!(error, LoadError::Damaged(Damage::Commits { commits: 10.. })), "{error}");
    }
    let (kept, _) = Embedded::repair(place.path()).unwrap();
    assert_eq!(kept, 0);
    drop(open(place.path()).unwrap());
}

/// Positions of registrations that a repair has lost may be in cookies: they are not given out again.
#[test]
fn a_repair_goes_on_above_all_positions() {
    let place = scratch();
    run(place.path(), ROOMY, |_| {});
    let before = open(place.path()).unwrap().last().unwrap().unwrap().position;
    fs::remove_dir_all(place.path().join("db-1")).unwrap();
    Embedded::repair(place.path()).unwrap();
    let mut store = open(place.path()).unwrap();
    assert!(store.last().unwrap().unwrap().position > before);
    let now = Time::from_unix_millis(0);
    let (server, opened) = crate::open(&mut store, now, ServerConfig::default(), [1; 16], &mut |_| {}).unwrap();
    assert_eq!((server.stats().registrations, opened.registrations), (0, 0));
}
