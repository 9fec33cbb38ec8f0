//! A point that keeps its registrations, and the commands that look into its store.

mod common;

use std::{fs, path::Path};

use common::{Running, fresh, fresh_key, run};

const LOOPBACK: &str = "/ip4/127.0.0.1/tcp/0";

/// A data directory, and a point on it.
struct Data {
    directory: String,
    key: String,
}

impl Data {
    fn new(name: &str) -> Self {
        let directory = fresh(name).join("data");
        Self { directory: directory.to_str().expect("UTF-8").to_owned(), key: fresh_key(name) }
    }

    fn serve(&self, args: &[&str]) -> Running {
        let serve = ["serve", "--listen", LOOPBACK, "--key", &self.key, "--data-dir", &self.directory];
        Running::start(&[&serve, args].concat())
    }

    /// Registers so many peers, once each.
    fn fill(&self, peers: usize) {
        let point = self.serve(&[]);
        let address = point.line_with("listening: ")["listening: ".len()..].to_owned();
        for _ in 0..peers {
            run(&["register", "--namespace", "chat", "--once", "--point", &address]).succeeded();
        }
        stop(point);
    }

    fn store(&self, command: &str) -> common::Ended {
        run(&["store", command, &self.directory])
    }

    /// The file of the log, which holds what was registered last.
    fn journal(&self) -> std::path::PathBuf {
        let database = Path::new(&self.directory).join("store").join("db-1");
        let mut files = fs::read_dir(database).expect("it is there").map(|entry| entry.expect("readable").path());
        files.find(|path| path.extension().is_some_and(|extension| extension == "jnl")).expect("there is a log")
    }
}

fn stop(point: Running) {
    point.signal("TERM");
    point.ended().succeeded();
}

#[test]
fn registrations_outlive_the_process_and_are_counted_and_checked() {
    let data = Data::new("store-kept");
    data.fill(3);
    let checked = data.store("check");
    assert_eq!(checked.succeeded().stdout, ["sound: 3 registrations, 6 records, all as they were written and signed"]);
    let stats = data.store("stats");
    let lines = &stats.succeeded().stdout;
    for line in ["registrations: 3", "peers: 3", "namespaces: 1", "  3 chat"] {
        assert!(lines.iter().any(|found| found == line), "{line}: {lines:?}");
    }
    let point = data.serve(&[]);
    let address = point.line_with("listening: ")["listening: ".len()..].to_owned();
    assert!(point.line_with("store: ").ends_with("with 3 registrations"));
    let found = run(&["discover", "--namespace", "chat", "--point", &address]);
    assert_eq!(found.succeeded().stdout.iter().filter(|line| line.contains("12D3KooW")).count(), 3, "{found:?}");
    stop(point);
}

#[test]
fn what_is_ephemeral_leaves_nothing_behind() {
    let data = Data::new("store-ephemeral");
    let point = data.serve(&["--ephemeral"]);
    assert_eq!(point.line_with("store: "), "store: none, registrations end with this process");
    stop(point);
    assert!(!Path::new(&data.directory).join("store").exists());
}

#[test]
fn a_second_process_on_the_same_directory_is_refused_in_one_line() {
    let data = Data::new("store-twice");
    let point = data.serve(&[]);
    point.line_with("try: ");
    for ended in [data.serve(&[]).ended(), data.store("check"), data.store("stats"), data.store("repair")] {
        let line = ended.error(1);
        assert!(line.contains("is in use by another process; stop the other process, or name another"), "{line}");
    }
    stop(point);
    data.store("check").succeeded();
}

#[test]
fn a_damaged_store_is_not_served_and_says_what_to_do_and_repair_goes_on_with_the_rest() {
    let data = Data::new("store-damaged");
    data.fill(3);
    let journal = data.journal();
    let mut bytes = fs::read(&journal).expect("it is there");
    let used = bytes.iter().rposition(|byte| *byte != 0).expect("something is written");
    // The last commit is cut short, as no crash does it: it was acknowledged. It was the second record of a client that
    // registers both flavours, so each registration still has one.
    bytes.truncate(used - 10);
    fs::write(&journal, &bytes).expect("it can be written");
    for ended in [data.store("check"), data.serve(&[]).ended()] {
        let line = ended.error(1);
        assert!(line.contains("the store is damaged: the last 1 commits are missing"), "{line}");
        assert!(line.contains("run `rendezvous store repair"), "{line}");
    }
    let repaired = data.store("repair");
    assert_eq!(repaired.succeeded().stdout, ["repaired: 3 registrations kept, 0 dropped"]);
    let point = data.serve(&[]);
    assert!(point.line_with("store: ").ends_with("with 3 registrations"));
    stop(point);
}

#[test]
fn a_directory_without_a_store_is_told_from_an_empty_one() {
    let empty = fresh("store-none");
    let directory = empty.to_str().expect("UTF-8");
    let ended = run(&["store", "check", directory]);
    assert!(ended.error(1).contains("give the directory that `serve` has as --data-dir"), "{ended:?}");
    assert_eq!(fs::read_dir(&empty).expect("it is there").count(), 0);
    let data = Data::new("store-empty");
    data.fill(0);
    let checked = data.store("check");
    assert_eq!(checked.succeeded().stdout, ["sound: 0 registrations, 0 records, all as they were written and signed"]);
}
