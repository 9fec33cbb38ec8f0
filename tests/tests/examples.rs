//! Each example runs by the command it opens with and says what it is to say.

use std::process::Command;

/// What `cargo run -p <package>` prints.
fn run(package: &str) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--package", package])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    let stdout = String::from_utf8(output.stdout).expect("examples print text");
    assert!(
        output.status.success(),
        "{package}: {}\n{stdout}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
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
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", "example-custom-transport", "--edges", "normal", "--prefix", "none"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
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
