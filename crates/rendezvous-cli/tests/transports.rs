//! TCP and QUIC, IPv4 and IPv6, numbers and names.

mod common;

use std::net::{TcpListener, UdpSocket};

use common::{Running, fresh_key, run, text};

/// A point that listens on all of loopback, and its addresses.
fn everywhere() -> (Running, Vec<String>) {
    let hosts: &[&str] =
        if TcpListener::bind("[::1]:0").is_ok() { &["ip4/127.0.0.1", "ip6/::1"] } else { &["ip4/127.0.0.1"] };
    let listen: Vec<String> =
        hosts.iter().flat_map(|host| ["tcp/0", "udp/0/quic-v1"].map(|carrier| format!("/{host}/{carrier}"))).collect();
    let key = fresh_key("everywhere");
    let mut args = vec!["serve", "--key", &key];
    for address in &listen {
        args.extend(["--listen", address]);
    }
    let point = Running::start(&args);
    let addresses = listen.iter().map(|_| point.line_with("listening: ").replace("listening: ", "")).collect();
    (point, addresses)
}

#[test]
fn a_point_is_reached_by_every_carrier_and_family_and_by_name() {
    let (_point, addresses) = everywhere();
    let mut tried = addresses.clone();
    for address in &addresses {
        if address.starts_with("/ip4/127.0.0.1/") {
            tried.extend(["dns", "dns4"].map(|dns| address.replace("/ip4/127.0.0.1/", &format!("/{dns}/localhost/"))));
        } else {
            tried.push(address.replace("/ip6/::1/", "/dns6/localhost/"));
        }
    }
    assert!(tried.len() >= 6 && tried.iter().any(|it| it.contains("/dns4/localhost/udp/")), "{tried:?}");
    for (number, address) in tried.iter().enumerate() {
        let listed = run(&["discover", "--point", address, "--json"]);
        assert_eq!(listed.succeeded().stdout.len(), number, "{address}");
        let own = ["register", "--point", address, "--once", "--address", "/ip4/192.0.2.1/tcp/1"];
        run(&own).succeeded();
    }
}

#[test]
fn what_a_client_listens_on_and_advertises_has_quic_as_well() {
    let (_point, addresses) = everywhere();
    let quic = addresses.iter().find(|address| address.contains("/quic-v1")).expect("it listens on QUIC");
    let client = Running::start(&["client", "--point", quic, "--json"]);
    let registered = client.line();
    assert_eq!(text(&registered, "point"), *quic);
    assert!(registered.contains("/ip4/127.0.0.1/tcp/") && registered.contains("/quic-v1\""), "{registered}");
    client.signal("INT");
    client.ended().succeeded();
}

#[test]
fn an_address_that_is_asked_for_and_cannot_be_listened_on_is_an_error() {
    let holder = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let busy = format!("/ip4/127.0.0.1/udp/{}/quic-v1", holder.local_addr().expect("it is bound").port());
    let key = fresh_key("busy");
    let ended = run(&["serve", "--listen", "/ip4/127.0.0.1/tcp/0", "--listen", &busy, "--key", &key]);
    assert!(ended.error(1).contains("the port is in use"), "{ended:?}");
}

#[test]
fn nobody_at_a_quic_address_is_4_within_the_time() {
    let free = UdpSocket::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it is bound").port();
    let point = format!("/ip4/127.0.0.1/udp/{free}/quic-v1/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5");
    let ended = run(&["discover", "--point", &point, "--timeout", "1"]);
    assert!(ended.error(4).contains("no connection within 1 s"), "{ended:?}");
}

#[test]
fn another_peer_at_a_quic_address_is_4_and_is_named() {
    let (_point, addresses) = everywhere();
    let quic = addresses.iter().find(|address| address.contains("/quic-v1")).expect("it listens on QUIC");
    let (host, peer) = quic.split_once("/p2p/").expect("it has a peer id");
    let ended =
        run(&["discover", "--point", &format!("{host}/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5")]);
    assert!(ended.error(4).contains(peer), "{ended:?}");
}

#[test]
fn a_name_that_does_not_exist_is_4_in_one_line() {
    let point = "/dns4/nosuch.invalid/tcp/1/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
    let ended = run(&["discover", "--point", point, "--timeout", "2"]);
    assert!(ended.error(4).contains("check the address"), "{ended:?}");
}

#[test]
fn a_point_that_ends_says_so_over_quic_and_its_clients_register_with_the_next() {
    let key = fresh_key("next");
    let serve = |address: &str| Running::start(&["serve", "--listen", address, "--key", &key]);
    let point = serve("/ip4/127.0.0.1/udp/0/quic-v1");
    let address = point.line_with("listening: ").replace("listening: ", "");
    let client = Running::start(&["client", "--point", &address, "--every", "1", "--json"]);
    let event = |name: &str| while text(&client.line(), "event") != name {};
    event("registered");
    event("found");
    point.signal("INT");
    point.ended().succeeded();
    let (listen, _) = address.split_once("/p2p/").expect("it has a peer id");
    let _point = serve(listen);
    // A connection that nobody closes is given up after ten seconds, and a request on it with it.
    event("registered");
    client.signal("INT");
    let ended = client.ended();
    assert!(!ended.succeeded().stderr.iter().any(|note| note.contains("no answer within")), "{ended:?}");
}
