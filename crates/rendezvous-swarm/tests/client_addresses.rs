//! Which addresses are registered, in which records, and how a client leaves.

mod client_common;

use client_common::{Client, Point, namespace, within};
use libp2p::Multiaddr;
use rendezvous_record::{Flavour, VerifiedRecord};
use rendezvous_swarm::client::{Config, Event, Failure};
use rendezvous_wire::{PROTOCOL, Request};

fn address(port: u16) -> Multiaddr {
    format!("/ip4/192.0.2.1/tcp/{port}").parse().expect("an address")
}

fn addresses_in(record: &VerifiedRecord) -> Vec<Multiaddr> {
    record.addresses().collect()
}

/// Waits for the next REGISTER, grants it, and lets the client hear of it.
async fn registered(client: &mut Client, point: &mut Point) -> VerifiedRecord {
    let (event, record) = futures::join!(client.event(), point.grant_registration());
    assert!(matches!(event, Event::Registered { .. }), "{event:?}");
    record
}

#[tokio::test]
async fn without_an_address_that_is_told_and_the_first_one_is_registered() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::hidden(Config::default()).await.knowing(&point);
        let id = client.behaviour().register(namespace("chat"), [point.id], None);
        assert_eq!(client.event().await, Event::NoAddresses { id });
        client.swarm.add_external_address(address(1));
        let record = registered(&mut client, &mut point).await;
        assert_eq!(addresses_in(&record), [address(1)]);
    })
    .await;
}

#[tokio::test]
async fn a_change_of_the_external_addresses_is_registered_at_once() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::hidden(Config::default()).await.knowing(&point);
        client.swarm.add_external_address(address(1));
        client.behaviour().register(namespace("chat"), [point.id], None);
        let first = registered(&mut client, &mut point).await;
        assert_eq!(addresses_in(&first), [address(1)]);

        // Two changes between two polls are one, and the one confirmed last is the first.
        client.swarm.add_external_address(address(2));
        client.swarm.add_external_address(address(3));
        let second = registered(&mut client, &mut point).await;
        assert_eq!(addresses_in(&second), [address(3), address(2), address(1)]);
        assert!(second.seq() > first.seq());

        client.swarm.remove_external_address(&address(2));
        let third = registered(&mut client, &mut point).await;
        assert_eq!(addresses_in(&third), [address(3), address(1)]);
    })
    .await;
}

#[tokio::test]
async fn the_last_address_going_is_told() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::hidden(Config::default()).await.knowing(&point);
        client.swarm.add_external_address(address(1));
        let id = client.behaviour().register(namespace("chat"), [point.id], None);
        registered(&mut client, &mut point).await;
        client.swarm.remove_external_address(&address(1));
        assert_eq!(client.event().await, Event::NoAddresses { id });
    })
    .await;
}

#[tokio::test]
async fn pinned_addresses_stand_until_they_are_released() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::hidden(Config::default()).await.knowing(&point);
        client.behaviour().set_addresses(Some(vec![address(7), address(8)]));
        client.behaviour().register(namespace("chat"), [point.id], None);
        let record = registered(&mut client, &mut point).await;
        assert_eq!(addresses_in(&record), [address(7), address(8)]);

        client.swarm.add_external_address(address(1));
        client.behaviour().set_addresses(Some(vec![address(9)]));
        let record = registered(&mut client, &mut point).await;
        assert_eq!(addresses_in(&record), [address(9)]);

        client.behaviour().set_addresses(None);
        let record = registered(&mut client, &mut point).await;
        assert_eq!(addresses_in(&record), [address(1)]);
    })
    .await;
}

#[tokio::test]
async fn a_point_that_keeps_both_flavours_gets_both() {
    within(async {
        let mut point = Point::listing(&[PROTOCOL, "/rendezvous/dual/1.0.0"]).await;
        let mut client = Client::of(&point, Config::default()).await;
        let id = client.behaviour().register(namespace("chat"), [point.id], None);
        let first = registered(&mut client, &mut point).await;
        let second = registered(&mut client, &mut point).await;
        let mut flavours = [first.flavour(), second.flavour()];
        flavours.sort();
        let mut expected = Flavour::ALL;
        expected.sort();
        assert_eq!(flavours, expected);
        let at = point.id;
        assert_eq!(client.behaviour().registered_flavours(id, &at).iter().count(), 2);
    })
    .await;
}

#[tokio::test]
async fn unregistering_ends_in_an_unregister() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::of(&point, Config::default()).await;
        let id = client.behaviour().register(namespace("chat"), [point.id], None);
        registered(&mut client, &mut point).await;
        assert!(client.behaviour().unregister(id));
        assert!(!client.behaviour().unregister(id));
        let (event, kind) = futures::join!(client.event(), unregistered(&mut point));
        assert_eq!(kind, "chat");
        assert!(matches!(&event, Event::Unregistered { id: ended, failure: None, .. } if *ended == id), "{event:?}");
    })
    .await;
}

#[tokio::test]
async fn a_shutdown_is_drained_when_every_unregister_has_left() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::of(&point, Config::default()).await;
        let names = ["a", "b", "c"];
        for name in names {
            client.behaviour().register(namespace(name), [point.id], None);
            registered(&mut client, &mut point).await;
        }
        client.behaviour().shutdown();
        assert!(!client.behaviour().is_drained());
        let script = async {
            let mut removed = Vec::new();
            for _ in names {
                removed.push(unregistered(&mut point).await);
            }
            removed.sort();
            removed
        };
        let drain = async {
            let mut told = 0;
            while !client.behaviour().is_drained() {
                let event = client.event().await;
                assert!(matches!(event, Event::Unregistered { failure: None, .. }), "{event:?}");
                told += 1;
            }
            told
        };
        let (removed, told) = futures::join!(script, drain);
        assert_eq!(removed, names);
        assert_eq!(told, names.len());

        let query = client.behaviour().discover(point.id, None, None, rendezvous_swarm::client::From::Fresh);
        let event = client.event().await;
        assert!(
            matches!(&event, Event::DiscoverFailed { query: failed, failure: Failure::ShutDown, .. } if *failed == query),
            "{event:?}"
        );
    })
    .await;
}

/// Reads an UNREGISTER, closes its stream, and gives its namespace.
async fn unregistered(point: &mut Point) -> String {
    let mut stream = point.accept().await;
    let payload = stream.request().await.expect("a request");
    let Ok(Request::Unregister(unregister)) = Request::decode(&payload) else { panic!("no UNREGISTER") };
    let name = String::from_utf8(unregister.namespace.expect("a namespace").to_vec()).expect("utf-8");
    assert_eq!(stream.request().await, None);
    stream.close().await;
    name
}
