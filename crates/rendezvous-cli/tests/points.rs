//! Several points: what one does not do, another does.

mod common;

use std::net::TcpListener;

use common::{Point, Running, fields, fresh_key, run, text};

const ADDRESS: &str = "/ip4/192.0.2.1/tcp/4001";

/// A peer id that nobody has.
const NOBODY: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";

/// A point that is not there.
fn dead() -> String {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it is bound").port();
    format!("/ip4/127.0.0.1/tcp/{free}/p2p/{NOBODY}")
}

fn register(points: &[&str], key: &str) -> common::Ended {
    let points = points.iter().flat_map(|point| ["--point", point]);
    let args = ["register", "--once", "--namespace", "chat", "--address", ADDRESS, "--key", key];
    run(&args.into_iter().chain(points).collect::<Vec<_>>())
}

/// The points of a listed registration.
fn points(line: &str) -> Vec<String> {
    let value: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
    value["points"].as_array().expect("points").iter().map(|it| it.as_str().expect("a point").to_owned()).collect()
}

#[test]
fn what_one_point_does_is_done_and_the_others_are_remarked_on() {
    let (one, two, dead) = (Point::start(&[]), Point::start(&[]), dead());
    let key = fresh_key("several");
    let all = [dead.as_str(), &one.address, &two.address];
    let ended = register(&all, &key);
    let mut lines = ended.succeeded().stdout.clone();
    lines.sort();
    let mut expected = [&one, &two].map(|point| format!("registered: chat at {} for 7200 s", point.address));
    expected.sort();
    assert_eq!(lines, expected);
    assert!(ended.stderr.iter().any(|note| note.contains(&dead) && note.contains("nobody listens")), "{ended:?}");

    register(&[&two.address], &fresh_key("other")).succeeded();
    let flags = ["--point", &dead, "--point", &one.address, "--point", &two.address, "--namespace", "chat"];
    let ended = run(&[&["discover", "--json"], &flags[..]].concat());
    let found = &ended.succeeded().stdout;
    assert_eq!(found.len(), 2, "each peer once: {found:?}");
    assert_eq!(fields(&found[0]), ["addresses", "flavour", "namespace", "peer", "points", "seq", "ttl"]);
    let mut listing: Vec<_> = found.iter().map(|line| points(line)).collect();
    listing.sort_by_key(Vec::len);
    listing[1].sort();
    let mut both = vec![one.address.clone(), two.address.clone()];
    both.sort();
    assert_eq!(listing, [vec![two.address.clone()], both]);
    assert!(ended.stderr.iter().any(|note| note.contains(&dead)), "{ended:?}");
    let readable = run(&[&["discover", "--limit", "1"], &flags[..]].concat());
    assert!(readable.succeeded().stdout.iter().any(|line| line.trim().starts_with("at /ip4/")), "{readable:?}");

    let ended = run(&[&["unregister", "--key", &key], &flags[..]].concat());
    assert_eq!(ended.succeeded().stdout.len(), 2, "{ended:?}");
    assert!(ended.stderr.iter().any(|note| note.contains(&dead)), "{ended:?}");
    let ended = run(&[&["discover", "--json"], &flags[..]].concat());
    assert_eq!(ended.succeeded().stdout.len(), 1);
}

#[test]
fn where_no_point_does_it_the_first_error_is_the_end() {
    let refusing = Point::start(&["--min-ttl", "10000"]);
    let dead = dead();
    let ended = register(&[&dead, &refusing.address], &fresh_key("none"));
    let code = ended.code.expect("it has ended");
    assert!([3, 4].contains(&code), "whichever failed first: {ended:?}");
    let notes: Vec<_> = ended.stderr.iter().filter(|line| line.starts_with("note: ")).collect();
    assert!(notes.iter().any(|note| note.contains("E_INVALID_TTL")), "{ended:?}");
    assert!(notes.iter().any(|note| note.contains("nobody listens")), "{ended:?}");
}

#[test]
fn two_addresses_of_one_peer_are_one_point() {
    let point = Point::start(&[]);
    let port = TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it is bound").port();
    let nowhere = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", point.peer);
    let ended = register(&[&nowhere, &point.address], &fresh_key("addresses"));
    assert_eq!(ended.succeeded().stdout, [format!("registered: chat at {nowhere} for 7200 s")]);
    let found = run(&["discover", "--point", &nowhere, "--point", &point.address, "--namespace", "chat", "--json"]);
    assert_eq!(fields(&found.succeeded().stdout[0]), ["addresses", "flavour", "namespace", "peer", "seq", "ttl"]);
}

/// The next object of this event.
#[track_caller]
fn event(client: &Running, name: &str) -> String {
    loop {
        let line = client.line();
        if text(&line, "event") == name {
            return line;
        }
    }
}

#[test]
fn a_client_stays_with_the_points_that_are_left() {
    let (one, two) = (Point::start(&[]), Point::start(&[]));
    let args = ["client", "--namespace", "chat", "--every", "1", "--json", "--address", ADDRESS];
    let client = Running::start(&[&args[..], &["--point", &one.address, "--point", &two.address]].concat());
    let registered = [event(&client, "registered"), event(&client, "registered")].map(|line| text(&line, "point"));
    assert!(registered.contains(&one.address) && registered.contains(&two.address), "{registered:?}");
    drop(one);
    event(&client, "away");
    register(&[&two.address], &fresh_key("newcomer")).succeeded();
    let found = loop {
        let found = event(&client, "found");
        if !found.contains("\"self\":true") {
            break found;
        }
    };
    assert_eq!(points(&found), std::slice::from_ref(&two.address));
    client.signal("INT");
    let ended = client.ended();
    let last = ended.succeeded().stdout.last().expect("it says so");
    assert_eq!((text(last, "event"), text(last, "point")), ("unregistered".to_owned(), two.address.clone()));
}
