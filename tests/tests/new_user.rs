//! The first session of a new user, with the binary as it is built: a point, two clients, one leaves and comes back, the
//! point restarts, and both are found again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use rendezvous_tests::program::{Running, build, command};
use serde_json::Value;

#[test]
fn a_new_users_session() {
    let binary = build();
    let place = place();
    let key = |name: &str| place.join(name).to_str().expect("the path is UTF-8").to_owned();
    let start = |args: &[&str]| Running::start(&binary, args);

    // A point, in the first terminal. It says which command to paste into the next.
    let point_key = key("point");
    let serve = |address: &str| start(&["serve", "--listen", address, "--key", &point_key, "--ephemeral"]);
    let point = serve("/ip4/127.0.0.1/tcp/0");
    let peer = point.line_with("peer id: ");
    let address = point.line_with("listening: ");
    assert!(address.ends_with(&format!("/p2p/{peer}")), "{address}");
    let pasted = point.line_with("try: ");
    assert!(pasted.ends_with(&format!("--point {address}")), "{pasted}");

    // The first client is registered, finds itself, and marks it.
    let client = |name: &str| {
        let key = key(name);
        start(&["client", "--point", &address, "--namespace", "chat", "--every", "1", "--json", "--key", &key])
    };
    let ada = client("ada");
    ada.event("registered", |_| true);
    let own = ada.event("found", |event| event["self"] == true);
    let ada_peer = own["peer"].as_str().expect("a peer").to_owned();

    // The second finds both, and the first finds the second.
    let bob = client("bob");
    let own = bob.event("found", |event| event["self"] == true);
    let bob_peer = own["peer"].as_str().expect("a peer").to_owned();
    ada.event("found", |event| event["peer"] == bob_peer);
    let listed = list(&binary, &address);
    assert_eq!(listed, sorted([&ada_peer, &bob_peer]));

    // The second leaves, and the first sees it go.
    assert_eq!(bob.stop().code(), Some(0));
    ada.event("gone", |event| event["peer"] == bob_peer);
    assert_eq!(list(&binary, &address), std::slice::from_ref(&ada_peer));

    // With its key it comes back as who it was.
    let bob = client("bob");
    bob.event("found", |event| event["peer"] == ada_peer);
    ada.event("found", |event| event["peer"] == bob_peer);

    // The point goes away and comes back with nothing. Both clients notice, and register again by themselves.
    assert_eq!(point.stop().code(), Some(0));
    for client in [&ada, &bob] {
        client.event("away", |_| true);
    }
    let (listen, _) = address.split_once("/p2p/").expect("it has a peer id");
    let point = serve(listen);
    assert_eq!(point.line_with("peer id: "), peer);
    for client in [&ada, &bob] {
        client.event("back", |_| true);
        client.event("registered", |_| true);
        client.event("found", |event| event["self"] == true);
    }
    assert_eq!(list(&binary, &address), sorted([&ada_peer, &bob_peer]));

    // All leave, and nobody is left.
    for client in [ada, bob] {
        assert_eq!(client.stop().code(), Some(0));
    }
    assert!(list(&binary, &address).is_empty());
    assert_eq!(point.stop().code(), Some(0));
}

/// An empty directory.
fn place() -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-user");
    if place.exists() {
        fs::remove_dir_all(&place).expect("the target directory can be written");
    }
    fs::create_dir_all(&place).expect("the target directory can be written");
    place
}

/// Who is registered, in order.
fn list(binary: &Path, address: &str) -> Vec<String> {
    let args = ["discover", "--point", address, "--namespace", "chat", "--json"];
    let output = command(binary, &args).stderr(Stdio::null()).output().expect("the binary runs");
    assert!(output.status.success(), "{}", output.status);
    let lines = String::from_utf8(output.stdout).expect("it prints text");
    let peers = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("it is JSON"));
    sorted(&peers.map(|line| line["peer"].as_str().expect("a peer").to_owned()).collect::<Vec<_>>())
}

fn sorted<'a>(peers: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let mut peers: Vec<String> = peers.into_iter().cloned().collect();
    peers.sort();
    peers
}
