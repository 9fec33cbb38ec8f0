//! The Waku dialect on the command line, and settings that are read again at run time.

mod common;

use std::fs;

use common::{Point, Running, fresh, fresh_key, run, text};

const WAKU: &str = "/vac/waku/rendezvous/0.0.1";

/// A client command that speaks the Waku dialect, with one address to advertise.
fn register_waku(point: &Point) -> Running {
    let (key, address) = (fresh_key("waku"), "/ip4/192.0.2.1/tcp/1");
    let args = ["register", "--dialect", "waku", "--point", &point.address, "--key", &key, "--address", address];
    Running::start(&args)
}

#[test]
fn a_registration_of_either_dialect_is_found_in_both() {
    let point = Point::start(&["--dialects", "rendezvous,waku"]);
    let waku = register_waku(&point);
    let line = waku.line_with("registered: rendezvous at ");
    assert!(line.contains("20 s"), "{line}");
    let main = ["register", "--once", "--point", &point.address, "--key", &fresh_key("main")];
    run(&[&main[..], &["--address", "/ip4/192.0.2.2/tcp/1"]].concat()).succeeded();
    for dialect in ["waku", "rendezvous"] {
        let ended = run(&["discover", "--json", "--dialect", dialect, "--point", &point.address]);
        let found = &ended.succeeded().stdout;
        assert_eq!(found.len(), 2, "{dialect}: {found:?}");
        let one = run(&["discover", "--json", "--limit", "1", "--dialect", dialect, "--point", &point.address]);
        assert_eq!(one.succeeded().stdout.len(), 1, "{dialect}: {one:?}");
    }
    // It leaves in good order: there is nothing to be sent.
    waku.signal("INT");
    waku.ended().succeeded();
}

#[test]
fn a_dialect_that_is_not_served_is_status_5_and_names_its_protocol() {
    let point = Point::start(&[]);
    let ended = run(&["discover", "--dialect", "waku", "--point", &point.address]);
    assert!(ended.error(5).contains(WAKU), "{ended:?}");
    let point = Point::start(&["--dialects", "waku"]);
    let ended = run(&["discover", "--point", &point.address]);
    assert!(ended.error(5).contains("/rendezvous/1.0.0"), "{ended:?}");
}

#[test]
fn there_is_no_unregister_in_the_waku_dialect() {
    let point = "/ip4/192.0.2.1/tcp/1/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
    let ended = run(&["unregister", "--dialect", "waku", "--namespace", "chat", "--point", point]);
    assert!(ended.error(2).contains("20 s at most"), "{ended:?}");
}

#[test]
fn a_wrong_dialect_is_told() {
    let ended = run(&["serve", "--dialects", "rendezvous,status", "--check-config"]);
    assert!(ended.error(2).contains("\"waku\""), "{ended:?}");
}

#[test]
fn a_frame_of_the_dialect_is_shown() {
    let ended = run(&["inspect", "0c080222080a04666f6f311032"]);
    let lines = &ended.succeeded().stdout;
    assert_eq!(lines[0], "frame at byte 0, 13 bytes: DISCOVER, waku dialect");
    assert!(lines.iter().any(|line| line.ends_with("1 type: DISCOVER (2)")), "{lines:?}");
    let ended = run(&["inspect", "--json", "0c080222080a04666f6f311032"]);
    assert_eq!(text(&ended.succeeded().stdout[0], "dialect"), "waku");
}

#[cfg(unix)]
#[test]
fn a_hang_up_starts_and_stops_dialects_and_names_what_needs_a_restart() {
    let path = fresh("hang-up").join("rendezvous.toml");
    let write = |text: &str| fs::write(&path, text).expect("the target directory can be written");
    write("dialects = ['rendezvous']\n");
    let point = Point::start(&["--config", path.to_str().expect("UTF-8"), "--stats-interval", "86400"]);
    let speaks = |dialect: &str| run(&["discover", "--dialect", dialect, "--point", &point.address]).code == Some(0);
    assert!(speaks("rendezvous") && !speaks("waku"));
    let read_again = || {
        point.running.signal("HUP");
        point.running.line_with("settings read again")
    };

    write("dialects = ['rendezvous', 'waku']\n[ttl]\nmin_secs = 61\n[[policy]]\nprefix = 'a'\n");
    let line =
        "settings read again: rendezvous, waku served; changed, and in force after a restart: ttl.min_secs, policy";
    assert_eq!(read_again(), line);
    assert!(speaks("rendezvous") && speaks("waku"));

    write("dialects = ['waku']\n");
    assert_eq!(read_again(), "settings read again: waku served");
    assert!(!speaks("rendezvous") && speaks("waku"));
    assert_eq!(read_again(), "settings read again: nothing has changed");

    write("dialects = ['wako']\n");
    point.running.signal("HUP");
    let note = point.running.note_with("stay as they are");
    assert!(note.contains("rendezvous.toml:1"), "{note}");
    assert!(!speaks("rendezvous") && speaks("waku"));
    point.running.signal("INT");
    point.running.ended().succeeded();
}

#[cfg(unix)]
#[test]
fn a_hang_up_is_told_as_json_too() {
    let path = fresh("hang-up-json").join("rendezvous.toml");
    fs::write(&path, "").expect("the target directory can be written");
    let file = path.to_str().expect("UTF-8");
    let args =
        ["serve", "--json", "--listen", "/ip4/127.0.0.1/tcp/0", "--key", &fresh_key("hang-up"), "--config", file];
    let point = Running::start(&args);
    assert_eq!(text(&point.line(), "event"), "start");
    fs::write(&path, "dialects = ['waku']\n[page]\nregistrations_max = 7\n").expect("it can be written");
    point.signal("HUP");
    let line = point.line_with(r#"{"event":"reloaded""#);
    assert_eq!(line, r#"{"event":"reloaded","dialects":["waku"],"restart":["page.registrations_max"]}"#);
}
