//! `rendezvous serve`, run as an operator runs it.

mod common;

use std::{fs, net::TcpListener};

use common::{Point, Running, fields, fresh, fresh_key, program, run, text};

const LOOPBACK: &str = "/ip4/127.0.0.1/tcp/0";

#[test]
fn it_prints_its_id_its_addresses_and_the_command_to_try_in_this_order() {
    let key = fresh_key("order");
    let point = Running::start(&["serve", "--listen", LOOPBACK, "--listen", "/ip4/127.0.0.1/tcp/0", "--key", &key]);
    let peer = point.line().strip_prefix("peer id: ").expect("the peer id").to_owned();
    let listening =
        [point.line(), point.line()].map(|line| line.strip_prefix("listening: ").expect("an address").to_owned());
    for address in &listening {
        assert!(address.starts_with("/ip4/127.0.0.1/tcp/") && address.ends_with(&format!("/p2p/{peer}")), "{address}");
    }
    let store = point.line();
    assert!(store.starts_with("store: ") && store.ends_with("/rendezvous/store with 0 registrations"), "{store}");
    let program = env!("CARGO_BIN_EXE_rendezvous");
    assert_eq!(point.line(), format!("try: {program} register --point {}", listening[0]));
}

#[test]
fn the_command_to_try_works() {
    let point = Running::start(&["serve", "--listen", LOOPBACK, "--key", &fresh_key("try")]);
    let command = point.line_with("try: ");
    let args: Vec<&str> = command.split(' ').skip(2).collect();
    let client = Running::start(&args);
    assert!(client.line().starts_with("registered: rendezvous at "));
}

#[test]
fn a_wildcard_is_told_as_the_addresses_of_the_interfaces() {
    let point = Running::start(&["serve", "--listen", "/ip4/0.0.0.0/tcp/0", "--key", &fresh_key("wildcard")]);
    let mut listening = Vec::new();
    let tried = loop {
        let line = point.line();
        match line.strip_prefix("listening: ") {
            Some(address) => listening.push(address.to_owned()),
            None if line.starts_with("try: ") => break line,
            None => assert!(line.starts_with("peer id: ") || line.starts_with("store: "), "{line}"),
        }
    };
    assert!(listening.iter().any(|address| address.starts_with("/ip4/127.0.0.1/tcp/")), "{listening:?}");
    assert!(listening.iter().all(|address| !address.contains("/0.0.0.0/")), "{listening:?}");
    assert!(listening.iter().any(|address| tried.ends_with(&format!("register --point {address}"))), "{tried}");
}

#[test]
fn the_key_is_made_once_and_kept_in_the_data_directory() {
    let directory = fresh("persist");
    let data = directory.join("made").join("by serve");
    let ids = [(); 2].map(|()| {
        let args = ["serve", "--listen", LOOPBACK, "--data-dir", data.to_str().expect("UTF-8")];
        let point = Running::start(&args);
        let id = point.line_with("peer id: ");
        point.signal("INT");
        point.ended().succeeded();
        id
    });
    assert_eq!(ids[0], ids[1]);
    let mut files: Vec<_> =
        fs::read_dir(&data).expect("it is there").map(|entry| entry.expect("readable").file_name()).collect();
    files.sort();
    assert_eq!(files, ["key", "store"], "nothing is left beside them");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(data.join("key")).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let bytes = fs::read(data.join("key")).expect("it is there");
    let key = libp2p::identity::Keypair::from_protobuf_encoding(&bytes).expect("it is a key as libp2p writes it");
    assert_eq!(format!("peer id: {}", key.public().to_peer_id()), ids[0]);
}

#[test]
fn without_a_directory_the_key_is_in_the_users_data_directory() {
    let home = fresh("xdg");
    let point = Running::spawn(program().env("XDG_DATA_HOME", &home).args(["serve", "--listen", LOOPBACK]));
    point.line_with("peer id: ");
    assert!(home.join("rendezvous").join("key").is_file());
}

#[test]
fn two_starts_at_once_agree_on_one_key() {
    let key = fresh_key("race");
    let points: Vec<Running> =
        (0..4).map(|_| Running::start(&["serve", "--listen", LOOPBACK, "--key", &key])).collect();
    let ids: Vec<String> = points.iter().map(|point| point.line_with("peer id: ")).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn a_damaged_key_is_an_error_and_stays_as_it_is() {
    let key = fresh_key("damaged");
    for damage in [&b"not a key"[..], b"", &[0x08, 0x01, 0x12, 0x40, 0xff], &[0; 100_000]] {
        fs::write(&key, damage).expect("the target directory can be written");
        let ended = run(&["serve", "--listen", LOOPBACK, "--key", &key]);
        assert!(ended.error(1).contains(&key), "{ended:?}");
        assert_eq!(fs::read(&key).expect("it is there"), damage);
    }
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_used_and_told_of() {
    use std::os::unix::fs::PermissionsExt;
    let key = fresh_key("open");
    let id = Point::start_with_key(&key, &[]).peer;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let point = Point::start_with_key(&key, &[]);
    assert_eq!(point.peer, id);
    assert!(point.running.note_with("other users").contains("chmod 600"));
}

#[test]
fn a_key_that_cannot_be_read_or_written_is_an_error_of_one_line() {
    let directory = fresh("unreadable");
    let directory = directory.to_str().expect("UTF-8");
    run(&["serve", "--listen", LOOPBACK, "--key", directory]).error(1);
    let file = fresh_key("a-file");
    fs::write(&file, "x").expect("the target directory can be written");
    run(&["serve", "--listen", LOOPBACK, "--key", &format!("{file}/key")]).error(1);
    run(&["serve", "--listen", LOOPBACK, "--data-dir", &file]).error(1);
}

#[test]
fn a_busy_port_is_an_error_of_one_line_whoever_has_it() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = format!("/ip4/127.0.0.1/tcp/{}", other.local_addr().expect("it is bound").port());
    let ended = run(&["serve", "--listen", &address, "--key", &fresh_key("busy")]);
    assert!(ended.error(1).contains("the port is in use"), "{ended:?}");

    // The transport would share the port with another of its kind.
    let point = Point::start(&[]);
    let address = point.address.split("/p2p/").next().expect("an address").to_owned();
    let ended = run(&["serve", "--listen", &address, "--key", &fresh_key("busy")]);
    assert!(ended.error(1).contains("the port is in use"), "{ended:?}");
}

#[test]
fn ctrl_c_and_sigterm_end_it_with_status_0() {
    for signal in ["INT", "TERM"] {
        let point = Point::start(&[]);
        point.running.signal(signal);
        let ended = point.running.ended();
        assert_eq!(ended.succeeded().stderr, [""; 0], "{signal}");
    }
}

#[test]
fn statistics_are_printed_when_they_have_changed() {
    let point = Point::start(&["--stats-interval", "1"]);
    let args = ["register", "--point", &point.address, "--namespace", "chat", "--address", "/ip4/192.0.2.1/tcp/1"];
    run(&[&args[..], &["--once"]].concat()).succeeded();
    let line = point.running.line();
    assert!(line.starts_with("statistics: 1 registration in 1 namespace (chat 1); so far 1 register, "), "{line}");
    // Nothing happens, so that nothing is printed until the end.
    point.running.signal("TERM");
    assert_eq!(point.running.ended().succeeded().stdout, [""; 0]);
}

#[test]
fn json_has_a_line_for_the_start_the_statistics_and_the_end() {
    let key = fresh_key("json");
    let args = ["serve", "--listen", LOOPBACK, "--key", &key, "--json", "--stats-interval", "1"];
    let point = Running::start(&args);
    let start = point.line();
    assert_eq!(fields(&start), ["addresses", "ended", "event", "peer_id", "registrations", "store"]);
    assert_eq!(text(&start, "event"), "start");
    let value: serde_json::Value = serde_json::from_str(&start).expect("it is JSON");
    let address = value["addresses"][0].as_str().expect("an address");
    assert!(address.ends_with(&format!("/p2p/{}", text(&start, "peer_id"))), "{address}");

    run(&["discover", "--point", address]).succeeded();
    let stats = point.line();
    let held = ["connections", "discovers", "event", "expiries", "limits_met", "namespaces"];
    let counters = ["refusals", "refused", "registers", "registrations", "renewals", "store", "top"];
    assert_eq!(fields(&stats), [&held[..], &counters[..], &["transport", "unregisters"]].concat());
    assert_eq!(text(&stats, "event"), "stats");
    point.signal("TERM");
    let ended = point.ended();
    assert_eq!(ended.succeeded().stdout, ["{\"event\":\"shutdown\"}"]);
}

#[test]
fn bounds_that_leave_nothing_are_wrong_usage() {
    let ended = run(&["serve", "--min-ttl", "100", "--max-ttl", "99"]);
    assert!(ended.error(2).contains("--min-ttl 100"), "{ended:?}");
    assert!(run(&["serve", "--min-ttl", "0"]).error(2).contains("--min-ttl"));
    assert!(run(&["serve", "--listen", "127.0.0.1:1"]).error(2).contains("multiaddr"));
}

#[test]
fn stats_lists_the_namespaces_the_fullest_first() {
    for json in [false, true] {
        let more: &[&str] = if json { &["--json"] } else { &[] };
        let key = fresh_key("listed");
        let args = ["serve", "--listen", LOOPBACK, "--key", &key, "--stats", "--stats-interval", "1"];
        let point = Running::start(&[&args, more].concat());
        let address = match json {
            false => point.line_with("listening: ").replace("listening: ", ""),
            true => {
                let start: serde_json::Value = serde_json::from_str(&point.line()).expect("it is JSON");
                start["addresses"][0].as_str().expect("an address").to_owned()
            }
        };
        for namespace in ["once", "twice", "twice"] {
            let args = ["register", "--point", &address, "--namespace", namespace, "--once"];
            run(&[&args[..], &["--address", "/ip4/192.0.2.1/tcp/1"]].concat()).succeeded();
        }
        if json {
            let expected = serde_json::json!([
                { "namespace": "twice", "registrations": 2 },
                { "namespace": "once", "registrations": 1 },
            ]);
            while serde_json::from_str::<serde_json::Value>(&point.line()).expect("it is JSON")["top"] != expected {}
        } else {
            point.line_with("statistics: 3 registrations in 2 namespaces; so far ");
            assert_eq!([point.line(), point.line()], ["         2  twice", "         1  once"]);
        }
    }
}
