//! `rendezvous discover --every`: who comes, changes and goes.

mod common;

use common::{Point, Running, fields, fresh_key, run, text};

const ADDRESS: &str = "/ip4/192.0.2.7/tcp/4001";
const OTHER: &str = "/ip4/192.0.2.8/udp/4001/quic-v1";

/// Polls each second, by objects.
fn watch(point: &Point, more: &[&str]) -> Running {
    let args = ["discover", "--point", &point.address, "--namespace", "chat", "--every", "1", "--json"];
    Running::start(&[&args, more].concat())
}

fn register(point: &Point, key: &str, address: &str) {
    let args = ["register", "--point", &point.address, "--namespace", "chat", "--once", "--key", key];
    run(&[&args[..], &["--address", address]].concat()).succeeded();
}

fn unregister(point: &Point, key: &str) {
    run(&["unregister", "--point", &point.address, "--namespace", "chat", "--key", key]).succeeded();
}

#[test]
fn only_what_is_new_changed_or_gone_is_printed() {
    let point = Point::start(&[]);
    let (one, two) = (fresh_key("one"), fresh_key("two"));
    register(&point, &one, ADDRESS);
    for more in [&[][..], &["--fresh"]] {
        let watch = watch(&point, more);
        let found = watch.line();
        assert_eq!(fields(&found), ["addresses", "event", "flavour", "namespace", "peer", "seq", "ttl"]);
        assert_eq!(text(&found, "event"), "found");
        let peer = text(&found, "peer");

        register(&point, &two, ADDRESS);
        let found = watch.line();
        assert_eq!(text(&found, "event"), "found");
        assert_ne!(text(&found, "peer"), peer);

        // A renewal is nothing new: the next line is about what comes after it.
        register(&point, &one, ADDRESS);
        register(&point, &one, OTHER);
        let changed = watch.line();
        assert_eq!((text(&changed, "event"), text(&changed, "peer")), ("changed".to_owned(), peer));
        assert!(changed.contains(OTHER), "{changed}");

        unregister(&point, &two);
        let gone = watch.line();
        assert_eq!(fields(&gone), ["event", "namespace", "peer", "reason"]);
        assert_eq!((text(&gone, "event"), text(&gone, "peer")), ("gone".to_owned(), text(&found, "peer")));
        assert_eq!(text(&gone, "reason"), "no longer listed");

        watch.signal("INT");
        let ended = watch.ended();
        assert_eq!(ended.succeeded().stdout, [""; 0], "{ended:?}");
        register(&point, &one, ADDRESS);
    }
}

#[test]
fn readable_lines_are_marked_by_what_has_happened() {
    let point = Point::start(&["--min-ttl", "1"]);
    let key = fresh_key("readable");
    let watch = Running::start(&["discover", "--point", &point.address, "--namespace", "chat", "--every", "1"]);
    watch.note_with("nobody is registered so far");
    register(&point, &key, ADDRESS);
    let found = watch.line();
    assert!(found.starts_with("+ 12D3Koo") && found.contains("  chat  ") && found.ends_with(" s left"), "{found}");
    assert_eq!(watch.line().trim(), ADDRESS);
    register(&point, &key, OTHER);
    assert_eq!(watch.line().get(..9), Some("~ 12D3Koo"));
    assert_eq!(watch.line().trim(), OTHER);
    // It ends by itself, which the client's clock or the point's listing tells first.
    let args = ["register", "--point", &point.address, "--namespace", "chat", "--once", "--key", &key, "--ttl", "1"];
    run(&[&args[..], &["--address", OTHER]].concat()).succeeded();
    let gone = watch.line();
    let is_over = gone.ends_with("  no longer listed") || gone.ends_with("  lifetime ended");
    assert!(gone.starts_with("- 12D3Koo") && is_over, "{gone}");
    watch.signal("TERM");
    watch.ended().succeeded();
}

#[test]
fn a_point_that_is_away_is_told_once_and_when_it_is_back() {
    let key = fresh_key("away");
    let point = Point::start_with_key(&key, &[]);
    register(&point, &fresh_key("peer"), ADDRESS);
    let watch = watch(&point, &[]);
    let peer = text(&watch.line(), "peer");
    let stopped = point.stop();
    let away = watch.line();
    assert_eq!(fields(&away), ["error", "event", "point", "retry_secs"]);
    let again = Point::start_at(&stopped.0, &key);
    assert_eq!((text(&away, "event"), text(&away, "point")), ("away".to_owned(), again.address.clone()));
    let back = watch.line();
    assert_eq!(
        (fields(&back), text(&back, "event")),
        (vec!["event".to_owned(), "point".to_owned()], "back".to_owned())
    );
    // The point says that nobody is there, and so does this.
    let gone = watch.line();
    assert_eq!((text(&gone, "event"), text(&gone, "peer")), ("gone".to_owned(), peer));
    watch.signal("INT");
    let ended = watch.ended();
    let notes: Vec<_> = ended.succeeded().stderr.iter().filter(|note| note.contains("cannot reach")).collect();
    assert_eq!(notes.len(), 1, "{ended:?}");
}

#[test]
fn it_waits_for_a_point_that_is_not_there_yet_and_ends_where_there_is_none() {
    let key = fresh_key("later");
    let point = Point::start_with_key(&key, &[]);
    let address = point.address.clone();
    let (kept, point) = point.stop();
    let watch = Running::start(&["discover", "--point", &address, "--every", "1"]);
    watch.note_with("nobody listens there");
    let again = Point::start_at(&kept, &key);
    watch.note_with("is back");
    assert_eq!(again.peer, point);

    let client = Running::start(&["register", "--point", &address, "--json"]);
    let registered: serde_json::Value = serde_json::from_str(&client.line()).expect("it is JSON");
    let found = run(&["discover", "--point", &address, "--json"]);
    let peer = text(&found.succeeded().stdout[0], "peer");
    let of_client = registered["addresses"].as_array().expect("addresses").iter().filter_map(|it| it.as_str());
    let of_client = of_client.filter(|it| it.contains("/127.0.0.1/tcp/")).map(|it| format!("{it}/p2p/{peer}"));
    let of_client: Vec<String> = of_client.collect();
    let ended = run(&["discover", "--point", &of_client[0], "--every", "1"]);
    assert!(ended.error(5).contains("/rendezvous/1.0.0"), "{ended:?}");
}

#[test]
fn what_makes_no_sense_together_is_wrong_usage() {
    let point = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
    for args in [&["--fresh"][..], &["--every", "0"], &["--every", "1", "--limit", "1"]] {
        let ended = run(&[&["discover", "--point", point], args].concat());
        ended.error(2);
    }
}
