//! A point and its clients: register, discover, unregister.

mod common;

use common::{Ended, Point, Running, fields, fresh_key, run, text};

const ADDRESS: &str = "/ip4/192.0.2.1/tcp/4001";

fn register(point: &Point, args: &[&str]) -> Ended {
    run(&[&["register", "--point", &point.address, "--address", ADDRESS, "--once"], args].concat())
}

/// The registrations that the point lists, as lines of JSON.
fn discover(point: &Point, args: &[&str]) -> Vec<String> {
    let mut ended = run(&[&["discover", "--point", &point.address, "--json"], args].concat());
    ended.succeeded();
    std::mem::take(&mut ended.stdout)
}

#[test]
fn two_peers_register_and_are_found_until_they_unregister() {
    let point = Point::start(&[]);
    let keys = [fresh_key("one"), fresh_key("two")];
    for key in &keys {
        let ended = register(&point, &["--namespace", "chat", "--key", key]);
        assert_eq!(ended.succeeded().stdout, [format!("registered: chat at {} for 7200 s", point.address)]);
    }
    let found = discover(&point, &["--namespace", "chat"]);
    assert_eq!(found.len(), 2, "{found:?}");
    let seen_by_one = discover(&point, &["--namespace", "chat", "--key", &keys[0]]);
    assert_eq!(seen_by_one.len(), 1, "a peer's own registration is left out");

    let args = ["unregister", "--point", &point.address, "--namespace", "chat", "--key", &keys[0]];
    let ended = run(&args);
    assert_eq!(ended.succeeded().stdout, [format!("unregistered: chat at {}", point.address)]);
    assert_eq!(ended.stderr, [""; 0]);
    let left = discover(&point, &["--namespace", "chat"]);
    assert_eq!(left.len(), 1);
    assert_eq!(text(&left[0], "peer"), text(&seen_by_one[0], "peer"));

    // A renewal of what is there changes nothing for who is found.
    register(&point, &["--namespace", "chat", "--key", &keys[1]]).succeeded();
    assert_eq!(discover(&point, &["--namespace", "chat"]).len(), 1);
}

#[test]
fn json_has_exactly_the_fields_and_readable_lines_say_the_same() {
    let point = Point::start(&[]);
    let registered = register(&point, &["--json", "--ttl", "600"]);
    let [line] = registered.succeeded().stdout.as_slice() else { panic!("one line: {registered:?}") };
    assert_eq!(fields(line), ["addresses", "event", "namespace", "point", "ttl"]);
    assert_eq!((text(line, "event"), text(line, "point")), ("registered".to_owned(), point.address.clone()));

    let found = discover(&point, &[]);
    assert_eq!(found.len(), 1);
    assert_eq!(fields(&found[0]), ["addresses", "flavour", "namespace", "peer", "seq", "ttl"]);
    let value: serde_json::Value = serde_json::from_str(&found[0]).expect("it is JSON");
    assert_eq!(value["addresses"], serde_json::json!([ADDRESS]));
    assert_eq!((value["namespace"].as_str(), value["flavour"].as_str()), (Some("rendezvous"), Some("standard")));
    assert!(value["ttl"].as_u64().is_some_and(|ttl| (1..=600).contains(&ttl)), "{value}");
    assert!(value["seq"].as_u64().is_some_and(|seq| seq > 1_600_000_000_000_000_000), "{value}");

    let readable = run(&["discover", "--point", &point.address]);
    let [first, second] = readable.succeeded().stdout.as_slice() else { panic!("two lines: {readable:?}") };
    let peer = value["peer"].as_str().expect("a peer");
    assert!(first.starts_with(&format!("{peer}  rendezvous  ")) && first.ends_with(" s left"), "{first}");
    assert_eq!(second.trim(), ADDRESS);
    assert_eq!(readable.stderr, ["note: 1 registration under rendezvous"]);
}

#[test]
fn all_finds_every_namespace_and_a_namespace_finds_its_own() {
    let point = Point::start(&[]);
    for namespace in ["a", "b", "c"] {
        register(&point, &["--namespace", namespace]).succeeded();
    }
    let mut namespaces: Vec<String> = discover(&point, &["--all"]).iter().map(|line| text(line, "namespace")).collect();
    namespaces.sort();
    assert_eq!(namespaces, ["a", "b", "c"]);
    assert_eq!(discover(&point, &["--namespace", "b"]).len(), 1);
    let ended = run(&["discover", "--point", &point.address, "--namespace", "d"]);
    assert_eq!(
        (&ended.succeeded().stdout[..], &ended.stderr[..]),
        (&[][..], &["note: nobody is registered under d".to_owned()][..])
    );
}

#[test]
fn limit_is_the_number_in_all() {
    let point = Point::start(&[]);
    for _ in 0..3 {
        register(&point, &[]).succeeded();
    }
    for (limit, found) in [("1", 1), ("2", 2), ("3", 3), ("1000000", 3)] {
        assert_eq!(discover(&point, &["--limit", limit]).len(), found, "--limit {limit}");
    }
}

#[test]
fn what_stays_registered_is_withdrawn_on_ctrl_c_and_on_sigterm() {
    let point = Point::start(&[]);
    for signal in ["INT", "TERM"] {
        let client = Running::start(&["register", "--point", &point.address, "--namespace", "chat"]);
        let note = client.note_with("no --address");
        assert!(note.contains("/ip4/127.0.0.1/tcp/"), "a point on loopback is given loopback: {note}");
        assert_eq!(client.line(), format!("registered: chat at {} for 7200 s", point.address));
        assert_eq!(discover(&point, &["--namespace", "chat"]).len(), 1);
        client.signal(signal);
        let ended = client.ended();
        assert_eq!(ended.succeeded().stdout, [format!("unregistered: chat at {}", point.address)], "{ended:?}");
        assert_eq!(discover(&point, &["--namespace", "chat"]), [""; 0]);
    }
}

#[test]
fn a_registration_is_renewed_before_it_ends() {
    let point = Point::start(&["--min-ttl", "1"]);
    let args = ["register", "--point", &point.address, "--address", ADDRESS, "--ttl", "3", "--json"];
    let client = Running::start(&args);
    assert_eq!(text(&client.line(), "event"), "registered");
    for _ in 0..2 {
        let line = client.line();
        assert_eq!(fields(&line), ["event", "namespace", "point", "ttl"]);
        assert_eq!(text(&line, "event"), "renewed");
    }
    client.signal("INT");
    let ended = client.ended();
    let last = ended.succeeded().stdout.last().expect("it says so");
    assert_eq!(text(last, "event"), "unregistered");
}

#[test]
fn a_client_that_stays_tries_on_where_the_point_is_away() {
    let key = fresh_key("away");
    let point = Point::start_with_key(&key, &[]);
    let address = point.address.clone();
    drop(point);
    let client = Running::start(&["register", "--point", &address, "--address", ADDRESS, "--json"]);
    let line = client.line();
    assert_eq!(fields(&line), ["error", "event", "namespace", "point", "retry_secs"]);
    assert_eq!(text(&line, "event"), "failed");
    assert!(text(&line, "error").contains("nobody listens there"), "{line}");
    client.signal("INT");
    let ended = client.ended();
    assert_eq!(ended.succeeded().stdout, [""; 0], "there was nothing to withdraw");
}

#[test]
fn an_end_without_the_point_says_what_is_left() {
    let point = Point::start(&[]);
    let client = Running::start(&["register", "--point", &point.address, "--address", ADDRESS]);
    client.line();
    drop(point);
    client.signal("INT");
    client.note_with("until its lifetime ends");
    client.ended().succeeded();
}

#[cfg(unix)]
#[test]
fn a_second_ctrl_c_ends_it_at_once() {
    let point = Point::start(&[]);
    let client = Running::start(&["register", "--point", &point.address, "--address", ADDRESS]);
    client.line();
    point.running.signal("STOP");
    client.signal("INT");
    client.note_with("a second Ctrl-C");
    client.signal("INT");
    assert_eq!(client.ended().code, Some(130));
}

#[test]
fn a_client_keeps_its_identity_in_its_key_file() {
    let point = Point::start(&[]);
    let key = fresh_key("identity");
    let peers = [(); 2].map(|()| {
        register(&point, &["--key", &key]).succeeded();
        let found = discover(&point, &[]);
        assert_eq!(found.len(), 1, "the second registration renews the first");
        text(&found[0], "peer")
    });
    assert_eq!(peers[0], peers[1]);
}

#[test]
fn a_new_key_has_nothing_to_unregister_and_is_told_so() {
    let point = Point::start(&[]);
    let args = ["unregister", "--point", &point.address, "--namespace", "chat", "--key", &fresh_key("new"), "--json"];
    let ended = run(&args);
    assert_eq!(fields(&ended.succeeded().stdout[0]), ["event", "namespace", "point"]);
    assert!(ended.stderr[0].contains("the key is new"), "{ended:?}");
}
