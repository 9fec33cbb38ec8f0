//! `rendezvous client`: registered, and looking around.

mod common;

use common::{Point, Running, fields, fresh_key, run, text};

/// A client that looks around each second.
fn client(point: &Point, more: &[&str]) -> Running {
    let args = ["client", "--point", &point.address, "--namespace", "chat", "--every", "1"];
    Running::start(&[&args, more].concat())
}

/// The next object of this event about this peer, if one is given.
#[track_caller]
fn event(client: &Running, name: &str, peer: Option<&str>) -> String {
    loop {
        let line = client.line();
        if text(&line, "event") == name && peer.is_none_or(|peer| text(&line, "peer") == peer) {
            return line;
        }
    }
}

#[test]
fn two_clients_mark_themselves_and_see_each_other_come_and_go() {
    let point = Point::start(&[]);
    let one = client(&point, &["--json"]);
    let registered = one.line();
    assert_eq!(fields(&registered), ["addresses", "event", "namespace", "point", "ttl"]);
    assert_eq!(text(&registered, "event"), "registered");
    let own = one.line();
    assert_eq!(fields(&own), ["addresses", "event", "flavour", "namespace", "peer", "self", "seq", "ttl"]);
    assert_eq!(text(&own, "event"), "found");
    let first = text(&own, "peer");

    let two = client(&point, &[]);
    assert_eq!(two.line(), format!("registered: chat at {} for 7200 s", point.address));
    two.line_with(&format!("+ {first}  chat  "));
    let own = two.line_with("+ ");
    assert!(own.ends_with(" s left  (this peer)"), "{own}");
    let second = own.split_whitespace().nth(1).expect("the peer").to_owned();

    let found = event(&one, "found", Some(&second));
    assert_eq!(fields(&found), ["addresses", "event", "flavour", "namespace", "peer", "seq", "ttl"]);
    two.signal("INT");
    let ended = two.ended();
    let last = ended.succeeded().stdout.last().cloned();
    assert_eq!(last, Some(format!("unregistered: chat at {}", point.address)), "{ended:?}");
    event(&one, "gone", Some(&second));

    one.signal("TERM");
    let ended = one.ended();
    assert_eq!(text(ended.succeeded().stdout.last().expect("a line"), "event"), "unregistered");
    let listed = run(&["discover", "--point", &point.address, "--namespace", "chat"]);
    assert_eq!(listed.succeeded().stdout, [""; 0]);
}

#[test]
fn after_a_restart_of_the_point_it_registers_again_at_once() {
    let key = fresh_key("restarted");
    let point = Point::start_with_key(&key, &[]);
    let client = client(&point, &["--json"]);
    let own = text(&event(&client, "found", None), "peer");
    let (address, _) = point.stop();
    event(&client, "away", None);
    let again = Point::start_at(&address, &key);
    event(&client, "back", None);
    assert!(event(&client, "gone", Some(&own)).contains("\"self\":true"));
    event(&client, "registered", None);
    event(&client, "found", Some(&own));
    let listed = run(&["discover", "--point", &again.address, "--namespace", "chat", "--json"]);
    assert_eq!(listed.succeeded().stdout.iter().map(|line| text(line, "peer")).collect::<Vec<_>>(), [own]);
}

#[test]
fn without_refresh_the_registration_ends_with_its_lifetime_and_the_client_stays() {
    let point = Point::start(&["--min-ttl", "1"]);
    let client = client(&point, &["--ttl", "2", "--no-refresh", "--json"]);
    let own = text(&event(&client, "found", None), "peer");
    event(&client, "lapsed", None);
    client.note_with("--no-refresh leaves it so");
    event(&client, "gone", Some(&own));
    let other = Running::start(&["register", "--point", &point.address, "--namespace", "chat"]);
    other.line();
    event(&client, "found", None);
    client.signal("INT");
    client.ended().succeeded();
}

#[test]
fn a_refusal_that_would_stay_ends_it() {
    let point = Point::start(&["--min-ttl", "100"]);
    let ended = run(&["client", "--point", &point.address, "--address", "/ip4/192.0.2.1/tcp/1", "--ttl", "99"]);
    assert!(ended.error(3).contains("E_INVALID_TTL (102)"), "{ended:?}");
}
