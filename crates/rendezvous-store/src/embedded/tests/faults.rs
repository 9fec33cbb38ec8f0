//! Calls of the operating system that fail, and a process that ends in between them: the child is this test itself, with
//! `tests/faults.c` preloaded.

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use rendezvous_core::Time;
use rendezvous_record::Flavour;
use rendezvous_sim::fixtures::EPOCH;
use tempfile::TempDir;

use super::{
    ROOMY, TIGHT,
    common::{
        point::Point,
        scenario::{Step, expected, scenario},
    },
    scratch,
};
use crate::{CommitError, Embedded, LoadError, Store as _};

/// As often something is tried that may fail: more often than calls are made to.
const TRIES: usize = 60;

const NO_SPACE: &str = "28";
const IO: &str = "5";

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// So many calls fail with this error.
    Fail {
        error: &'static str,
        count: usize,
    },
    Kill,
    Tear,
}

/// Runs the scenario in the directory that the environment names, telling on the standard output what is acknowledged.
#[test]
#[ignore = "it is what the tests here run as a process of its own"]
fn child() {
    let Some(directory) = env::var_os("STORE_DIRECTORY").map(PathBuf::from) else { return };
    let settings = if env::var_os("STORE_IS_TIGHT").is_some() { TIGHT } else { ROOMY };
    let tell = |line: &str| io::stdout().write_all(format!("\n#{line}\n").as_bytes()).unwrap();
    let open = |now: Time| {
        for _ in 0..TRIES {
            match Embedded::open_with(directory.clone(), settings).and_then(|store| Point::open(store, now)) {
                Ok(point) => return Some(point),
                Err(LoadError::Io { .. } | LoadError::Engine(_)) => {}
                Err(error) => tell(&format!("unexpected {error}")),
            }
        }
        None
    };
    let works_again = |point: &mut Point<Embedded>| (0..TRIES).any(|_| point.store.commit(point.desk.now, &[]).is_ok());
    let Some(mut point) = open(EPOCH) else { return tell("unexpected: it cannot be opened") };
    for (number, step) in scenario().into_iter().enumerate() {
        if let Step::Reopen(secs) = step {
            if !works_again(&mut point) {
                return tell("unexpected: it does not work again");
            }
            let now = point.now() + Duration::from_secs(secs);
            drop(point);
            let Some(opened) = open(now) else { return tell("unexpected: it cannot be opened again") };
            point = opened;
            tell(&format!("acknowledged {number}"));
            continue;
        }
        match step.run(&mut point) {
            Ok(()) => tell(&format!("acknowledged {number}")),
            Err(CommitError::NoSpace) => tell(&format!("no space {number}")),
            Err(CommitError::Engine(_)) => tell(&format!("refused {number}")),
            Err(error) => tell(&format!("unexpected {error}")),
        }
    }
    tell(if works_again(&mut point) { "done" } else { "unexpected: it does not work again" });
}

/// The library, built once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = LIBRARY.get_or_init(|| {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("faults.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults.c");
        let status = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&path).arg(source).status();
        assert!(status.unwrap().success());
        (place, path)
    });
    path
}

struct Run {
    /// What the child has told.
    lines: Vec<String>,
    directory: PathBuf,
    place: TempDir,
}

fn run(is_tight: bool, fault: Option<(usize, Fault)>) -> Run {
    let place = scratch();
    let directory = place.path().canonicalize().unwrap().join("store");
    // What hangs is ended, and has then not told that it is done.
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", "60"]).arg(env::current_exe().unwrap());
    command.args(["--exact", "embedded::tests::faults::child", "--ignored", "--nocapture"]);
    command.env("LD_PRELOAD", library()).env("FAULTS_BELOW", &directory).env("STORE_DIRECTORY", &directory);
    command.env("FAULTS_LOG", place.path().join("log")).stderr(Stdio::null());
    if is_tight {
        command.env("STORE_IS_TIGHT", "1");
    }
    if let Some((at, fault)) = fault {
        command.env("FAULTS_AT", at.to_string());
        match fault {
            Fault::Fail { error, count } => {
                command.env("FAULTS_MODE", "fail").env("FAULTS_ERRNO", error).env("FAULTS_COUNT", count.to_string())
            }
            Fault::Kill => command.env("FAULTS_MODE", "kill"),
            Fault::Tear => command.env("FAULTS_MODE", "tear"),
        };
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| line.strip_prefix('#')).map(str::to_owned);
    Run { lines: lines.collect(), directory, place }
}

impl Run {
    /// The calls that the library has counted.
    fn calls(&self) -> Vec<String> {
        let log = fs::read_to_string(self.place.path().join("log")).unwrap();
        log.lines().map(str::to_owned).collect()
    }

    fn acknowledged(&self) -> Vec<usize> {
        let numbers = self.lines.iter().filter_map(|line| line.strip_prefix("acknowledged "));
        numbers.map(|number| number.parse().unwrap()).collect()
    }

    /// Opens what the child has left, and compares.
    fn check(&self, what: &str) {
        assert!(!self.lines.iter().any(|line| line.starts_with("unexpected")), "{what}: {:?}", self.lines);
        let (steps, acknowledged) = (scenario(), self.acknowledged());
        let is_done = self.lines.iter().any(|line| line == "done");
        let happens = |number: usize| acknowledged.contains(&number) || matches!(steps[number], Step::Pass(_));
        let mut happened: Vec<Step> = Vec::new();
        let last = acknowledged.last().map_or(0, |last| last + 1);
        let range = if is_done { 0..steps.len() } else { 0..last };
        happened.extend(range.filter(|&number| happens(number)).map(|number| steps[number].clone()));
        let now = happened.iter().fold(EPOCH, |now, step| match step {
            Step::Pass(secs) | Step::Reopen(secs) => now + Duration::from_secs(*secs),
            _ => now,
        });
        let open = || Embedded::open(&self.directory).and_then(|store| Point::open(store, now));
        let mut point = open().unwrap_or_else(|error| panic!("{what}: {error}, after {:?}", self.lines));
        if point.listing() != expected(&happened) {
            assert!(!is_done, "{what}: what was acknowledged is there, and nothing else, after {:?}", self.lines);
            happened.push(steps[last].clone());
            drop(point);
            let secs = if let Step::Reopen(secs) = steps[last] { secs } else { 0 };
            let store = Embedded::open(&self.directory).unwrap();
            point = Point::open(store, now + Duration::from_secs(secs)).unwrap();
            assert_eq!(point.listing(), expected(&happened), "{what}, after {:?}", self.lines);
        }
        point.register(9, Flavour::Standard, "after", 3_600).unwrap();
        let (listing, now) = (point.listing(), point.now());
        drop(point);
        let mut point = Point::open(Embedded::open(&self.directory).unwrap(), now).unwrap();
        assert_eq!(point.listing(), listing, "{what}: new commits work");
    }
}

fn calls(is_tight: bool) -> usize {
    let run = run(is_tight, None);
    assert!(run.lines.iter().any(|line| line == "done"), "{:?}", run.lines);
    run.check("undisturbed");
    run.calls().iter().filter(|call| !call.starts_with("stdout")).count()
}

/// Returns how many commits were refused for lack of space.
fn disturb(is_tight: bool, fault: Fault, step: usize) -> usize {
    let calls = calls(is_tight);
    assert!(calls > 60, "{calls}");
    let mut full = 0;
    for at in (1..=calls).step_by(step) {
        let run = run(is_tight, Some((at, fault)));
        let has_ended = matches!(fault, Fault::Kill | Fault::Tear);
        let is_done = run.lines.iter().any(|line| line == "done");
        let what = format!("{fault:?} at call {at} of {calls}");
        assert!(has_ended || is_done, "{what}: {:?}", run.lines);
        run.check(&what);
        full += run.lines.iter().filter(|line| line.starts_with("no space")).count();
    }
    full
}

/// Of the calls while little is kept in memory, one of so many is disturbed.
const STEP: usize = 9;

#[test]
fn a_call_that_fails_once_loses_nothing() {
    disturb(false, Fault::Fail { error: IO, count: 1 }, 2);
    disturb(true, Fault::Fail { error: IO, count: 1 }, STEP);
}

#[test]
fn a_full_disk_refuses_until_there_is_room() {
    assert!(disturb(false, Fault::Fail { error: NO_SPACE, count: 12 }, 3) > 0);
    assert!(disturb(true, Fault::Fail { error: NO_SPACE, count: 12 }, STEP) > 0);
}

#[test]
fn a_process_that_ends_at_any_call_leaves_whole_commits() {
    disturb(false, Fault::Kill, 2);
    disturb(true, Fault::Kill, STEP);
}

#[test]
fn a_write_that_is_torn_leaves_whole_commits() {
    disturb(false, Fault::Tear, 2);
    disturb(true, Fault::Tear, STEP);
}

#[test]
#[ignore = "some minutes: every call, in every way"]
fn every_call_is_disturbed() {
    for is_tight in [false, true] {
        for (error, count) in [(IO, 1), (IO, 2), (IO, 7), (NO_SPACE, 1), (NO_SPACE, 3), (NO_SPACE, 25)] {
            disturb(is_tight, Fault::Fail { error, count }, 1);
        }
        disturb(is_tight, Fault::Kill, 1);
        disturb(is_tight, Fault::Tear, 1);
    }
}

#[test]
fn an_acknowledgement_comes_after_the_sync_of_what_it_acknowledges() {
    for is_tight in [false, true] {
        let (mut is_dirty, mut syncs, mut acknowledged) = (false, 0, 0);
        let run = run(is_tight, None);
        for call in run.calls() {
            let is_of_log = call.ends_with(".jnl");
            if call.starts_with("write ") && is_of_log {
                is_dirty = true;
            } else if call.starts_with("sync 0 ") && is_of_log {
                is_dirty = false;
                syncs += 1;
            } else if call.contains("#acknowledged") || call.starts_with("stdout") {
                assert!(!is_dirty, "{call}");
                acknowledged += 1;
            }
        }
        assert!(syncs >= 11 && acknowledged >= 13, "{syncs} {acknowledged}");
    }
}
