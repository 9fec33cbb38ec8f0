//! Every way in which a command can fail has its exit status and one line that says what to do.

mod common;

use std::{io::Write, net::TcpListener, process::Stdio, time::Instant};

use common::{Point, Running, fresh_key, program, run, write_private};

/// A peer id that nobody has.
const NOBODY: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";

/// The commands of a client, without the point.
const COMMANDS: [&[&str]; 3] = [
    &["register", "--once", "--address", "/ip4/192.0.2.1/tcp/1"],
    &["discover"],
    &["unregister", "--namespace", "chat"],
];

#[test]
fn wrong_usage_is_2() {
    let point = format!("/ip4/127.0.0.1/tcp/1/p2p/{NOBODY}");
    let long = "x".repeat(256);
    let cases: [(&[&str], &str); 11] = [
        (&["discover"], "--point"),
        (&["discover", "--point", "127.0.0.1:1"], "expected a multiaddr"),
        (&["discover", "--point", "/ip4/127.0.0.1/tcp/1"], "/p2p/<peer id>"),
        (&["discover", "--point", &point, "--namespace", ""], "namespace is empty"),
        (&["discover", "--point", &point, "--namespace", &long], "256 bytes"),
        (&["discover", "--point", &point, "--all", "--namespace", "chat"], "--all"),
        (&["discover", "--point", &point, "--limit", "0"], "--limit"),
        (&["register", "--point", &point, "--ttl", "259201"], "--ttl"),
        (&["register", "--point", &point, "--address", "/ip4/0.0.0.0/tcp/1"], "0.0.0.0"),
        (&["unregister", "--point", &point], "--namespace"),
        (&["discover", "--pont", &point], "--point"),
    ];
    for (args, part) in cases {
        let ended = run(args);
        assert!(ended.error(2).contains(part), "{args:?}: {ended:?}");
    }
}

#[test]
fn an_address_of_another_peer_and_the_points_own_key_are_wrong_usage() {
    let key = fresh_key("own");
    let point = Point::start_with_key(&key, &[]);
    for command in COMMANDS {
        let ended = run(&[command, &["--point", &point.address, "--key", &key]].concat());
        assert!(ended.error(2).contains("use another --key"), "{ended:?}");
    }
    let foreign = format!("/ip4/192.0.2.1/tcp/1/p2p/{NOBODY}");
    let ended = run(&["register", "--point", &point.address, "--address", &foreign]);
    assert!(ended.error(2).contains(NOBODY), "{ended:?}");
}

#[test]
fn a_refusal_is_3_with_status_and_text_whether_or_not_it_would_stay() {
    let point = Point::start(&["--min-ttl", "100"]);
    let args = ["register", "--point", &point.address, "--address", "/ip4/192.0.2.1/tcp/1", "--ttl", "99"];
    for more in [&["--once"][..], &[]] {
        let ended = run(&[&args[..], more].concat());
        let line = ended.error(3);
        assert!(line.contains("E_INVALID_TTL (102)") && line.contains("100") && line.contains("--ttl"), "{line}");
    }
}

#[test]
fn a_closed_port_is_4() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it is bound").port();
    let point = format!("/ip4/127.0.0.1/tcp/{free}/p2p/{NOBODY}");
    for command in COMMANDS {
        let ended = run(&[command, &["--point", &point, "--key", &made_key()]].concat());
        assert!(ended.error(4).contains("nobody listens there"), "{ended:?}");
    }
}

#[test]
fn a_peer_that_accepts_and_stays_silent_is_4_within_the_time() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let point = format!("/ip4/127.0.0.1/tcp/{}/p2p/{NOBODY}", silent.local_addr().expect("it is bound").port());
    for command in COMMANDS {
        let start = Instant::now();
        let ended = run(&[command, &["--point", &point, "--timeout", "1", "--key", &made_key()]].concat());
        assert!(ended.error(4).contains("within 1 s"), "{ended:?}");
        assert!(start.elapsed().as_secs() < 20, "it is bounded");
    }
}

#[test]
fn another_peer_at_the_address_is_4_and_is_named() {
    let point = Point::start(&[]);
    let elsewhere = point.address.replace(&point.peer, NOBODY);
    for command in COMMANDS {
        let ended = run(&[command, &["--point", &elsewhere, "--key", &made_key()]].concat());
        assert!(ended.error(4).contains(&point.peer), "{ended:?}");
    }
}

#[test]
fn a_peer_without_the_protocol_is_5() {
    // A client listens, and is no point.
    let point = Point::start(&[]);
    let client = Running::start(&["register", "--point", &point.address, "--json"]);
    let registered: serde_json::Value = serde_json::from_str(&client.line()).expect("it is JSON");
    let found = run(&["discover", "--point", &point.address, "--json"]);
    let found: serde_json::Value = serde_json::from_str(&found.succeeded().stdout[0]).expect("it is JSON");
    let (peer, addresses) =
        (found["peer"].as_str().expect("a peer"), found["addresses"].as_array().expect("addresses"));
    assert_eq!(registered["addresses"].as_array(), Some(addresses));
    let loopback =
        addresses.iter().filter_map(|address| address.as_str()).find(|address| address.contains("/127.0.0.1/"));
    let no_point = format!("{}/p2p/{peer}", loopback.expect("the point is on loopback"));

    let stays: &[&str] = &["register", "--address", "/ip4/192.0.2.1/tcp/1"];
    for command in [&COMMANDS[..], &[stays]].concat() {
        let ended = run(&[command, &["--point", &no_point, "--key", &made_key()]].concat());
        assert!(ended.error(5).contains("/rendezvous/1.0.0"), "{command:?}: {ended:?}");
    }
}

#[test]
fn what_is_no_libp2p_peer_is_5() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let point = format!("/ip4/127.0.0.1/tcp/{}/p2p/{NOBODY}", other.local_addr().expect("it is bound").port());
    std::thread::spawn(move || {
        // Closed with something unread, a connection would be reset before the answer is read.
        let mut open = Vec::new();
        let page = format!("HTTP/1.1 400 Bad Request\r\n\r\n{}", "no ".repeat(100));
        for mut stream in other.incoming().map_while(Result::ok) {
            let _ = stream.write_all(page.as_bytes());
            open.push(stream);
        }
    });
    let ended = run(&["discover", "--point", &point]);
    assert!(ended.error(5).contains("no libp2p peer"), "{ended:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let point = Point::start(&[]);
    run(&["register", "--point", &point.address, "--address", "/ip4/192.0.2.1/tcp/1", "--once"]).succeeded();
    let (reader, writer) = std::io::pipe().expect("there are pipes");
    drop(reader);
    let mut command = program();
    command.args(["discover", "--point", &point.address]).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
    let output = command.output().expect("the binary runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stderr.contains("error")), (Some(0), false), "{stderr}");
}

/// A key file that is there, so that nothing is said about a new one.
fn made_key() -> String {
    let path = fresh_key("made");
    let key = libp2p::identity::Keypair::generate_ed25519();
    write_private(&path, &key.to_protobuf_encoding().expect("it can be written"));
    path
}
