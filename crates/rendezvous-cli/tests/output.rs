//! Commands that go on for long, while nobody reads what they print or the disk that it goes to is full.

#![cfg(target_os = "linux")]

mod common;

use std::{
    fs::File,
    io::{BufRead, BufReader, PipeReader, PipeWriter, Read},
    process::{Child, Command, Stdio},
};

use common::{Point, Running, fresh_key, program, run, text};

const ADDRESS: &str = "/ip4/192.0.2.1/tcp/1";

/// A pipe that is full, so that a write to it blocks until somebody reads, and the number of bytes in it.
fn full_pipe() -> (PipeReader, PipeWriter, usize) {
    let (reader, writer) = std::io::pipe().expect("there are pipes");
    // `dd` opens the pipe once more, so that the flag by which it stops when the pipe is full is its own.
    let filled = Command::new("dd")
        .args(["if=/dev/zero", "of=/dev/stdout", "bs=1", "count=1048576", "oflag=nonblock", "conv=notrunc"])
        .stdin(Stdio::null())
        .stdout(writer.try_clone().expect("it is open"))
        .stderr(Stdio::piped())
        .output()
        .expect("there is a `dd`");
    let report = String::from_utf8_lossy(&filled.stderr).into_owned();
    let count = report.lines().find_map(|line| line.strip_suffix("+0 records out")).expect("it says how many");
    let count: usize = count.parse().expect("it is a number");
    assert!((1..1 << 20).contains(&count), "{report}");
    (reader, writer, count)
}

/// A process that does not survive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Registers in a namespace of this name, which a point must answer.
fn register(address: &str, namespace: &str) {
    let args = ["register", "--once", "--point", address, "--address", ADDRESS, "--namespace", namespace];
    run(&args).succeeded();
}

fn discovered(address: &str) -> Vec<String> {
    let mut found = run(&["discover", "--all", "--json", "--point", address]);
    found.succeeded();
    std::mem::take(&mut found.stdout)
}

/// The address of a point whose standard output is not there to tell it: on a port that was free just now.
fn free_address() -> (String, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().expect("it is bound").port());
    let key = fresh_key("output");
    run(&["key", "new", &key]).succeeded();
    let peer = text(&run(&["key", "show", &key, "--json"]).succeeded().stdout[0], "peer");
    (format!("{address}/p2p/{peer}"), key)
}

fn serve(address: &str, key: &str, more: &[&str]) -> Command {
    let listen = address.split("/p2p/").next().expect("an address");
    let mut command = program();
    command.args(["serve", "--ephemeral", "--stats-interval", "1", "--listen", listen, "--key", key]).args(more);
    command.stdin(Stdio::null());
    command
}

/// Waits until the point answers, by asking it.
fn is_up(address: &str) {
    let up = (0..1_000).any(|_| run(&["discover", "--point", address]).code == Some(0));
    assert!(up, "the point answers");
}

#[test]
fn a_full_disk_behind_standard_output_is_noted_once_and_the_point_goes_on() {
    let (address, key) = free_address();
    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    let mut command = serve(&address, &key, &[]);
    let mut point = Killed(command.stdout(full).stderr(Stdio::piped()).spawn().expect("the binary runs"));
    let mut notes = BufReader::new(point.0.stderr.take().expect("it is piped")).lines();
    let note = notes.next().expect("a note").expect("it is text");
    assert!(note.starts_with("note: standard output cannot be written: ") && note.contains("No space"), "{note}");
    is_up(&address);
    for namespace in ["one", "two"] {
        register(&address, namespace);
    }
    assert_eq!(discovered(&address).len(), 2);
    signal(&point.0, "TERM");
    assert!(point.0.wait().expect("it is a child").success());
    assert_eq!(notes.count(), 0, "once");
}

#[test]
fn a_pipe_that_nobody_reads_does_not_stop_the_point_nor_its_end() {
    let (address, key) = free_address();
    let (reader, writer, _) = full_pipe();
    let mut command = serve(&address, &key, &["--stats"]);
    let stdout = writer.try_clone().expect("it is open");
    let mut point = Killed(command.stdout(stdout).stderr(Stdio::null()).spawn().expect("the binary runs"));
    drop((command, writer));
    is_up(&address);
    for number in 0..4 {
        register(&address, &format!("n{number}"));
    }
    assert_eq!(discovered(&address).len(), 4);
    signal(&point.0, "TERM");
    assert!(point.0.wait().expect("it is a child").success());
    drop(reader);
}

#[test]
fn a_reader_that_comes_late_gets_whole_lines_in_order() {
    let (address, key) = free_address();
    let (mut reader, writer, filled) = full_pipe();
    let mut command = serve(&address, &key, &["--json"]);
    let stdout = writer.try_clone().expect("it is open");
    let point = Killed(command.stdout(stdout).stderr(Stdio::null()).spawn().expect("the binary runs"));
    drop((command, writer));
    is_up(&address);
    let mut filling = vec![0; filled];
    reader.read_exact(&mut filling).expect("it is there");
    let mut lines = BufReader::new(reader).lines().map(|line| line.expect("it is text"));
    assert_eq!(text(&lines.next().expect("a line"), "event"), "start");
    signal(&point.0, "TERM");
    let events: Vec<String> = lines.map(|line| text(&line, "event")).collect();
    assert_eq!(events.last().map(String::as_str), Some("shutdown"));
}

#[test]
fn a_closed_standard_output_is_no_matter_to_a_point() {
    let (address, key) = free_address();
    let (reader, writer) = std::io::pipe().expect("there are pipes");
    drop(reader);
    let mut command = serve(&address, &key, &[]);
    let mut point = Killed(command.stdout(writer).stderr(Stdio::piped()).spawn().expect("the binary runs"));
    is_up(&address);
    register(&address, "one");
    assert_eq!(discovered(&address).len(), 1);
    signal(&point.0, "TERM");
    assert!(point.0.wait().expect("it is a child").success());
    let mut notes = String::new();
    point.0.stderr.take().expect("it is piped").read_to_string(&mut notes).expect("it is text");
    assert_eq!(notes, "");
}

#[test]
fn a_client_whose_output_nobody_reads_renews_and_withdraws() {
    let point = Point::start(&["--min-ttl", "1"]);
    let key = fresh_key("unread");
    let (reader, writer, _) = full_pipe();
    let mut command = program();
    command.args(["client", "--point", &point.address, "--address", ADDRESS, "--ttl", "6", "--key", &key]);
    command.stdin(Stdio::null()).stdout(writer.try_clone().expect("it is open")).stderr(Stdio::null());
    let mut client = Killed(command.spawn().expect("the binary runs"));
    drop((command, writer));
    // A watch sees it come. What it does not see is an end, for several lifetimes of six seconds.
    let watch = Running::start(&["discover", "--json", "--every", "1", "--point", &point.address]);
    assert_eq!(text(&watch.line(), "event"), "found");
    let other = ["register", "--point", &point.address, "--address", ADDRESS, "--ttl", "8", "--json"];
    let other = Running::start(&other);
    for event in ["registered", "renewed", "renewed", "renewed"] {
        assert_eq!(text(&other.line(), "event"), event);
    }
    assert_eq!(text(&watch.line(), "event"), "found", "the other one, and nobody has gone");
    signal(&client.0, "TERM");
    assert!(client.0.wait().expect("it is a child").success());
    assert_eq!(text(&watch.line(), "event"), "gone");
    drop(reader);
}

#[test]
fn a_watch_ends_quietly_when_its_reader_goes_and_with_an_error_when_the_disk_is_full() {
    let point = Point::start(&[]);
    register(&point.address, "one");
    let args = ["discover", "--all", "--every", "1", "--point", &point.address];
    let (reader, writer) = std::io::pipe().expect("there are pipes");
    drop(reader);
    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    for (stdout, code, error) in [(Stdio::from(writer), 0, false), (Stdio::from(full), 1, true)] {
        let mut command = program();
        let output = command.args(args).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).output();
        let output = output.expect("the binary runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), stderr.contains("error: ")), (Some(code), error), "{stderr}");
    }
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status();
    assert!(status.expect("there is a `kill`").success());
}
