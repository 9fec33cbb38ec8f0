//! The life of registrations and of connections, as the swarm's owner sees it.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod server_support;

use futures::{FutureExt as _, StreamExt as _};
use libp2p_swarm::SwarmEvent;
use rendezvous_record::Flavour::{Legacy, Standard};
use rendezvous_swarm::server::{Config, Event, Refusal};
use rendezvous_wire::{Namespace, Status, Ttl};

use self::server_support::{
    Answer, Client, DISCOVER_ALL, Point, PointBehaviourEvent, connected_to, discover, point_swarm, register,
    unregister, within,
};

fn namespace(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

/// A point with events and with TTLs that end within a test.
fn config() -> Config {
    let mut config = Config::default();
    config.server.events_max = 64;
    config.server.ttl_min = Ttl::from_secs(1);
    config
}

#[tokio::test]
async fn a_registration_is_told_of_from_its_beginning_to_its_end() {
    within(async {
        let mut point = Point::start(config()).await;
        let client = Client::of(&point).await;
        let (peer, chat) = (client.id, namespace("chat"));
        let ttl = Ttl::from_secs(3_600);
        for (flavour, renewed) in [(Standard, false), (Legacy, true), (Standard, true)] {
            client.register_all(&["chat"], flavour, 3_600).await;
            assert_eq!(
                point.event().await,
                Event::Registered { peer, namespace: chat.clone(), kind: flavour.into(), ttl, renewed }
            );
        }
        assert_eq!(client.ask(&discover(Some("chat"))).await.flavours().len(), 1);
        assert_eq!(point.event().await, Event::Served { peer, namespace: Some(chat.clone()), count: 1 });
        let mut stream = client.open().await;
        stream.send(&unregister("chat")).await;
        assert_eq!(point.event().await, Event::Unregistered { peer, namespace: chat.clone() });
        assert_eq!(stream.ask(&discover(DISCOVER_ALL)).await.flavours(), []);
        assert_eq!(point.event().await, Event::Served { peer, namespace: None, count: 0 });
        stream.ask(&register(&client.key, "chat", Standard, 0x7fff_ffff)).await;
        let (ttl, max) = (Ttl::from_secs(0x7fff_ffff), Ttl::RECOMMENDED_MAX);
        assert_eq!(point.event().await, Event::Refused { peer, refusal: Refusal::TtlTooLong { ttl, max } });
        assert_eq!(point.events_left(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_registration_expires_though_nobody_asks_and_its_peer_is_gone() {
    within(async {
        let mut point = Point::start(config()).await;
        let client = Client::of(&point).await;
        let peer = client.id;
        // The one that ends later is there first: the timer is moved forward by the second.
        client.register_all(&["later"], Standard, 3_600).await;
        client.register_all(&["soon"], Standard, 1).await;
        client.leave().await;
        let expired = loop {
            match point.event().await {
                Event::Registered { .. } => {}
                other => break other,
            }
        };
        assert_eq!(expired, Event::Expired { peer, namespace: namespace("soon") });
        let stats = point.stats().await;
        assert_eq!((stats.expiries, stats.registrations), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn registrations_expire_one_after_the_other() {
    within(async {
        let mut point = Point::start(config()).await;
        let client = Client::of(&point).await;
        client.register_all(&["third"], Standard, 3).await;
        client.register_all(&["second"], Standard, 2).await;
        client.register_all(&["first"], Standard, 1).await;
        let mut ended = Vec::new();
        while ended.len() < 3 {
            if let Event::Expired { namespace, .. } = point.event().await {
                ended.push(namespace.as_str().to_owned());
            }
        }
        assert_eq!(ended, ["first", "second", "third"]);
        assert_eq!(point.stats().await.registrations, 0);
    })
    .await;
}

#[tokio::test]
async fn a_renewal_outlives_the_time_of_the_first_registration() {
    within(async {
        let mut point = Point::start(config()).await;
        let client = Client::of(&point).await;
        client.register_all(&["renewed"], Standard, 1).await;
        client.register_all(&["renewed"], Standard, 3_600).await;
        client.register_all(&["witness"], Standard, 2).await;
        loop {
            match point.event().await {
                Event::Expired { namespace, .. } => {
                    assert_eq!(namespace.as_str(), "witness");
                    break;
                }
                Event::Registered { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(client.ask(&discover(DISCOVER_ALL)).await.namespaces(), ["renewed"]);
    })
    .await;
}

#[tokio::test]
async fn without_listeners_nothing_is_told_and_what_ends_is_taken_out_all_the_same() {
    within(async {
        let mut config = config();
        config.server.events_max = 0;
        let mut point = Point::start(config).await;
        let client = Client::of(&point).await;
        client.register_all(&["a", "b"], Standard, 1).await;
        client.ask(&discover(DISCOVER_ALL)).await;
        point.until(|point| point.stats().expiries == 2).await;
        assert_eq!(point.stats().await.registrations, 0);
        assert_eq!(point.events_left(), 0);
    })
    .await;
}

#[tokio::test]
async fn events_that_nobody_took_are_counted_and_not_kept() {
    within(async {
        let mut config = config();
        config.server.events_max = 3;
        let mut swarm = point_swarm(config, None);
        let client = connected_to(&mut swarm).await;
        // The swarm's owner is busy with other things.
        for _ in 0..10 {
            client.ask(&discover(DISCOVER_ALL)).await;
        }
        let mut events = Vec::new();
        while let Some(event) = swarm.next().now_or_never() {
            if let Some(SwarmEvent::Behaviour(PointBehaviourEvent::Point(event))) = event {
                events.push(event);
            }
        }
        let served = Event::Served { peer: client.id, namespace: None, count: 0 };
        assert_eq!(events, [Event::Missed { count: 7 }, served.clone(), served.clone(), served]);
    })
    .await;
}

#[tokio::test]
async fn requests_are_answered_while_nobody_polls_the_swarm() {
    within(async {
        let mut swarm = point_swarm(Config::default(), None);
        let client = connected_to(&mut swarm).await;
        // From here on only the tasks of the connections run.
        let mut stream = client.open().await;
        let registered = Answer::Register { status: Status::Ok, ttl_secs: Some(7_200) };
        assert_eq!(stream.ask(&register(&client.key, "chat", Standard, 7_200)).await, registered);
        assert_eq!(client.ask(&discover(Some("chat"))).await.namespaces(), ["chat"]);
        stream.send(&unregister("chat")).await;
        assert_eq!(stream.ask(&discover(Some("chat"))).await.namespaces(), [""; 0]);
        let stats = swarm.behaviour().point.stats();
        assert_eq!((stats.registers, stats.discovers, stats.unregisters), (1, 2, 1));
    })
    .await;
}

#[tokio::test]
async fn of_peers_that_have_left_nothing_is_kept() {
    within(async {
        let point = Point::start(Config::default()).await;
        for _ in 0..4 {
            let client = Client::of(&point).await;
            client.dial_again().await;
            client.ask(&discover(DISCOVER_ALL)).await;
            let peer = client.id;
            point.with(move |point| point.peer_agent(peer, "rust-libp2p/0.57.1")).await;
            assert!(point.debug().await.contains("peers: 1"), "{}", point.debug().await);
            client.leave().await;
            point.until_alone().await;
            assert!(point.debug().await.contains("peers: 0"), "{}", point.debug().await);
        }
    })
    .await;
}

#[tokio::test]
async fn of_a_connection_that_another_behaviour_denies_nothing_is_kept() {
    within(async {
        // None at all is let in …
        let point = Point::with_connections_max(Config::default(), Some(0)).await;
        for _ in 0..4 {
            let mut client = Client::of(&point).await;
            client.until_disconnected().await;
            assert!(point.debug().await.contains("peers: 0"), "{}", point.debug().await);
        }
        // … or one, whose peer is remembered until that one closes.
        let mut point = Point::with_connections_max(Config::default(), Some(1)).await;
        let client = Client::of(&point).await;
        client.ask(&discover(DISCOVER_ALL)).await;
        client.dial_again().await;
        point.until_denied().await;
        assert!(point.debug().await.contains("peers: 1"), "{}", point.debug().await);
        assert_eq!(client.ask(&discover(DISCOVER_ALL)).await.namespaces(), [""; 0]);
        client.leave().await;
        point.until_alone().await;
        assert!(point.debug().await.contains("peers: 0"), "{}", point.debug().await);
    })
    .await;
}
