//! A listing of more than one page.

mod common;

use std::collections::BTreeSet;

use common::{Point, Running, fresh_key, run, text};
use libp2p::{Multiaddr, Swarm, SwarmBuilder, futures::StreamExt, noise, swarm::SwarmEvent, tcp, yamux};
use rendezvous_swarm::client::{Behaviour, Config, Event, Namespace};

/// Registrations of each of two peers: together more than a page holds, and each fewer than a peer may have.
const OF_EACH: usize = 600;

#[tokio::test]
async fn a_walk_goes_through_all_pages_and_lists_everything_once() {
    let point = Point::start(&[]);
    let mut peers = [peer(), peer()];
    for peer in &mut peers {
        register_many(peer, &point).await;
    }
    let discover = |more: &[&str]| {
        let mut ended = run(&[&["discover", "--point", &point.address, "--all", "--json"], more].concat());
        ended.succeeded();
        std::mem::take(&mut ended.stdout)
    };
    let all = discover(&[]);
    let distinct: BTreeSet<_> = all.iter().map(|line| (text(line, "peer"), text(line, "namespace"))).collect();
    assert_eq!((all.len(), distinct.len()), (2 * OF_EACH, 2 * OF_EACH));
    assert_eq!(discover(&["--limit", "1100"]).len(), 1_100);
    assert_eq!(discover(&["--limit", "1000"]).len(), 1_000);
}

#[tokio::test]
async fn of_many_the_new_ones_come_by_the_cookie_and_the_gone_ones_by_a_whole_listing() {
    let point = Point::start(&[]);
    let mut peers = [peer(), peer()];
    for peer in &mut peers {
        register_many(peer, &point).await;
    }
    let watch = |more: &[&str]| {
        let args = ["discover", "--point", &point.address, "--all", "--json", "--every", "1"];
        let watch = Running::start(&[&args, more].concat());
        for _ in 0..2 * OF_EACH {
            assert_eq!(text(&watch.line(), "event"), "found");
        }
        watch
    };
    let watches = [watch(&[]), watch(&["--fresh"])];
    let key = fresh_key("late");
    let args = ["register", "--point", &point.address, "--namespace", "late", "--once", "--key", &key];
    run(&[&args[..], &["--address", "/ip4/192.0.2.1/tcp/1"]].concat()).succeeded();
    for watch in &watches {
        let line = watch.line();
        assert_eq!((text(&line, "event"), text(&line, "namespace")), ("found".to_owned(), "late".to_owned()));
    }
    run(&["unregister", "--point", &point.address, "--namespace", "late", "--key", &key]).succeeded();
    for watch in &watches {
        let line = watch.line();
        assert_eq!((text(&line, "event"), text(&line, "namespace")), ("gone".to_owned(), "late".to_owned()));
    }
}

fn peer() -> Swarm<Behaviour> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .expect("a new key signs")
        .with_behaviour(|keypair| Behaviour::new(keypair.clone(), Config::default()))
        .expect("it is made")
        .build()
}

async fn register_many(swarm: &mut Swarm<Behaviour>, point: &Point) {
    let address: Multiaddr = point.address.parse().expect("it is a multiaddr");
    let peer = point.peer.parse().expect("it is a peer id");
    let behaviour = swarm.behaviour_mut();
    behaviour.add_point_address(peer, address).expect("it is the point's");
    behaviour.set_addresses(Some(vec!["/ip4/192.0.2.1/tcp/1".parse().expect("it is a multiaddr")]));
    for number in 0..OF_EACH {
        behaviour.register(Namespace::new(&format!("n{number}")).expect("it is a namespace"), [peer], None);
    }
    let mut registered = BTreeSet::new();
    while registered.len() < OF_EACH {
        match swarm.select_next_some().await {
            SwarmEvent::Behaviour(Event::Registered { id, .. }) => {
                registered.insert(id);
            }
            SwarmEvent::Behaviour(Event::RegisterFailed { failure, .. }) => panic!("{failure}"),
            _ => {}
        }
    }
}
