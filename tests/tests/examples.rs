//! Each example runs by the command it opens with and says what it is to say.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use rendezvous_tests::program::cargo;

/// Time that an example with peers in it may take from its first line to its end: many times what it needs.
const RUN_MAX: Duration = Duration::from_secs(30);

fn cargo_run(package: &str) -> Command {
    cargo(&["run", "--quiet", "--package", package])
}

/// What `cargo run -p <package>` prints.
fn run(package: &str) -> String {
    let output = cargo_run(package).output().expect("cargo runs");
    let stdout = String::from_utf8(output.stdout).expect("examples print text");
    assert!(
        output.status.success(),
        "{package}: {}\n{stdout}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}

/// The same of an example that is to end by itself within [`RUN_MAX`]. The first line starts the clock, since before it there
/// may be a build.
fn run_in_time(package: &str) -> String {
    let mut running = cargo_run(package).stdout(Stdio::piped()).spawn().expect("cargo runs");
    let stdout = BufReader::new(running.stdout.take().expect("it is piped"));
    let (sender, lines) = mpsc::channel();
    let reader = thread::spawn(move || stdout.lines().try_for_each(|line| sender.send(line.expect("it is text"))));
    let mut said: String = lines.recv().into_iter().map(|line| line + "\n").collect();
    let deadline = Instant::now() + RUN_MAX;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => said += &(line + "\n"),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                // On Unix, cargo has become the example.
                running.kill().expect("it runs");
                panic!("{package} has not ended within {RUN_MAX:?}\n{said}");
            }
        }
    }
    let status = running.wait().expect("it was started");
    assert!(status.success(), "{package}: {status}\n{said}");
    reader.join().expect("what is printed is text").expect("everything was read");
    said
}

/// The first lines of an example's source: its purpose and its command.
fn opening(path: &str) -> String {
    let path = format!("{}/../examples/{path}/src/main.rs", env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(path).expect("the example is there");
    source.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n")
}

#[test]
fn codec_only() {
    assert!(opening("codec_only").contains("cargo run -p example-codec-only"));
    let said = run("example-codec-only");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "REGISTER in \"chat\" for 7200 s, an envelope of 17 bytes",
            "DISCOVER of Some(\"chat\"), at most 10",
            "OK: granted 7200 s",
            "found a record of 17 bytes",
        ]
    );
}

#[test]
fn custom_transport() {
    assert!(opening("custom_transport").contains("cargo run -p example-custom-transport"));
    let said = run("example-custom-transport");
    assert!(said.contains("the newcomer finds 2 peers\n"), "{said}");
    assert!(said.contains("/ip4/192.0.2.1/tcp/4001") && said.contains("/ip4/192.0.2.2/tcp/4001"), "{said}");
    assert!(said.contains("the newcomer finds 1 peer after one has left\n"), "{said}");
}

#[test]
fn custom_transport_does_without_libp2p_swarm() {
    let args = ["tree", "--package", "example-custom-transport", "--edges", "normal", "--prefix", "none"];
    let output = cargo(&args).output().expect("cargo runs");
    let tree = String::from_utf8(output.stdout).expect("cargo prints text");
    assert!(tree.contains("async-std"), "{tree}");
    for absent in ["libp2p-swarm", "libp2p-core", "tokio "] {
        assert!(!tree.contains(absent), "{absent} is in the tree");
    }
}

#[test]
fn behaviours() {
    assert!(opening("behaviours").contains("cargo run -p example-behaviours"));
    let said = run("example-behaviours");
    assert!(said.contains("first   registered for 7200 s\n"), "{said}");
    assert!(said.contains("second  connected to "), "{said}");
    let source = format!("{}/../examples/behaviours/src/main.rs", env!("CARGO_MANIFEST_DIR"));
    let lines = std::fs::read_to_string(source).expect("the example is there").lines().count();
    assert!(lines < 100, "{lines} lines");
}

#[test]
fn bounded_point() {
    assert!(opening("bounded_point").contains("cargo run -p example-bounded-point"));
    let said = run("example-bounded-point");
    assert!(said.contains("member   registered for 7200 s\n"), "{said}");
    assert!(said.contains("visitor  found the member: true\n"), "{said}");
    assert_short("bounded_point");
}

/// Files of an example are to be read at a sitting.
fn assert_short(path: &str) {
    let directory = format!("{}/../examples/{path}/src", env!("CARGO_MANIFEST_DIR"));
    for entry in std::fs::read_dir(directory).expect("the example is there") {
        let path = entry.expect("it can be read").path();
        let lines = std::fs::read_to_string(&path).expect("it is text").lines().count();
        assert!(lines < 200, "{}: {lines} lines", path.display());
    }
}

#[test]
fn discovery_manager() {
    assert!(opening("discovery_manager").contains("cargo run -p example-discovery-manager"));
    assert_short("discovery_manager");
    let said = run_in_time("example-discovery-manager");
    let newcomer = said.lines().find_map(|line| line.strip_prefix("newcomer ")).expect("the newcomer says who it is");
    // "member 1 of OddClub is greeted by 12D3…: …", in the order in which it happens.
    let greetings: Vec<_> = said.lines().filter_map(|line| line.split_once(" is greeted by ")).collect();
    assert_eq!(greetings.len(), 6, "{said}");
    assert!(greetings.iter().all(|(_, by)| by.starts_with(&format!("{newcomer}: "))), "{said}");
    let (odd, even) = greetings.split_at(3);
    for (club, numbers, greetings) in [("OddClub", [1, 3, 5], odd), ("EvenGang", [0, 2, 4], even)] {
        let greeted: BTreeSet<String> = greetings.iter().map(|(member, _)| (*member).to_owned()).collect();
        assert_eq!(greeted, numbers.map(|number| format!("member {number} of {club}")).into(), "{said}");
    }
    let end = ["6 members stopped", "the newcomer finds 0 of them at the boot node", "stopped"];
    assert!(said.ends_with(&format!("{}\n", end.join("\n"))), "{said}");
}

#[test]
fn gossipsub_discovery() {
    const MAIN: &str = "/rendezvous/1.0.0";
    const WAKU: &str = "/vac/waku/rendezvous/0.0.1";

    assert!(opening("gossipsub_discovery").contains("cargo run -p example-gossipsub-discovery"));
    assert_short("gossipsub_discovery");
    let said = run_in_time("example-gossipsub-discovery");
    let lines_of = |number: usize| {
        let prefix = format!("peer {number} ");
        said.lines().filter_map(move |line| line.strip_prefix(&prefix).map(str::to_owned)).collect::<Vec<_>>()
    };
    for number in 0..8 {
        let lines = lines_of(number);
        let received = lines.iter().filter(|line| *line == "has received: hello, everybody").count();
        assert_eq!(received, usize::from(number != 0), "peer {number} of\n{said}");
        let found = "has found 7 peers, is connected to 7, and has ";
        assert_eq!(lines.iter().filter(|line| line.starts_with(found)).count(), 1, "peer {number} of\n{said}");
        let offered = lines.iter().find_map(|line| line.strip_prefix("is offered ")).expect("identify has told");
        let offered: Vec<_> = offered.split(", ").collect();
        assert!(offered.contains(&WAKU), "{said}");
        assert!(!offered.iter().any(|protocol| protocol.starts_with("/rendezvous/")), "{said}");
    }
    assert!(said.contains(&format!("point has negotiated 0 streams of {MAIN}\n")), "{said}");
    assert!(said.ends_with(&format!("discovery went over {WAKU}\n")), "{said}");
}

#[test]
fn sub_protocol() {
    assert!(opening("sub_protocol").contains("cargo run -p example-sub-protocol"));
    let said = run("example-sub-protocol");
    for once in ["says \"foo\"\n", "answers \"bar\"\n", "both nodes have stopped\n"] {
        assert_eq!(said.matches(once).count(), 1, "{once}: {said}");
    }
    for node in ["listener", "dialler"] {
        assert!(said.contains(&format!("{node}: the session of foo is over, by ")), "{said}");
    }
}
