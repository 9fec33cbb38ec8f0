//! What a client asks, and what its application hears, when points answer as they should.

mod client_common;

use std::time::Duration;

use client_common::{Client, MemberEvent, Point, namespace, page, record, within};
use libp2p_swarm::{DialError, SwarmEvent, dial_opts::DialOpts};
use rendezvous_swarm::client::{ClientConfig, Config, Event, Failure, From, Limit, LookupConfig, OfferLimits, Ttl};
use rendezvous_wire::Request;

#[tokio::test]
async fn a_registration_is_told_with_the_granted_ttl() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::of(&point, Config::default()).await;
        let id = client.behaviour().register(namespace("chat"), [point.id], Some(Ttl::from_secs(9_000)));
        let script = async {
            let mut stream = point.accept().await;
            let record = stream.register().await;
            stream.grant(7_777).await;
            (stream, record)
        };
        let ((_stream, record), event) = futures::join!(script, client.event());
        let Event::Registered { id: registered, point: at, namespace: name, ttl, .. } = event else {
            panic!("{event:?}")
        };
        assert_eq!((registered, at, name, ttl), (id, point.id, namespace("chat"), Ttl::from_secs(7_777)));
        assert_eq!(record.peer_id(), client.id());
        assert_eq!(record.addresses().collect::<Vec<_>>(), [client.address.clone()]);
        assert!(client.behaviour().is_registered(id, &point.id));
    })
    .await;
}

#[tokio::test]
async fn a_discovered_peer_is_announced_and_dialled_by_its_id() {
    within(async {
        let mut point = Point::new().await;
        let (other, own) = (Client::new().await, Client::new().await);
        let (mut other, mut client) = (other.knowing(&point), own.knowing(&point));
        other.behaviour().register(namespace("chat"), [point.id], None);
        client.behaviour().register(namespace("chat"), [point.id], None);
        let (_, of_other) = futures::join!(other.event(), point.grant_registration());
        let (_, of_client) = futures::join!(client.event(), point.grant_registration());

        let query = client.behaviour().discover(point.id, Some(namespace("chat")), Limit::new(10).into(), From::Fresh);
        let script = async {
            let mut stream = point.accept().await;
            let payload = stream.request().await.expect("a request");
            let Ok(Request::Discover(discover)) = Request::decode(&payload) else { panic!("no DISCOVER") };
            assert_eq!((discover.namespace, discover.limit), (Some(&b"chat"[..]), Some(10)));
            stream.send(&page("chat", &[of_other.envelope(), of_client.envelope()], b"cookie")).await;
            stream
        };
        let (_stream, event) = futures::join!(script, client.event());
        let Event::Discovered { query: answered, registrations, skipped, more: true, page: 1, .. } = event else {
            panic!("{event:?}")
        };
        assert_eq!((answered, skipped.own), (query, 1));
        let [found] = registrations.as_slice() else { panic!("{registrations:?}") };
        assert_eq!(found.record.peer_id(), other.id());

        assert!(client.told.contains(&(other.id(), other.address.clone())), "{:?}", client.told);
        assert_eq!(client.behaviour().addresses_of(&other.id()), [other.address.clone()]);
        let other_id = other.id();
        assert!(other.run_until(client.dial(other_id)).await);
    })
    .await;
}

#[tokio::test]
async fn addresses_are_not_announced_where_that_is_switched_off() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::of(&point, Config { announce_addresses: false, ..Config::default() }).await;
        client.behaviour().discover(point.id, Some(namespace("chat")), None, From::Fresh);
        let found = record(&["/ip4/192.0.2.1/tcp/4001".parse().expect("an address")]);
        let script = async {
            let mut stream = point.accept().await;
            stream.request().await.expect("a request");
            stream.send(&page("chat", &[found.envelope()], b"cookie")).await;
            stream
        };
        let (_stream, event) = futures::join!(script, client.event());
        assert!(matches!(event, Event::Discovered { .. }), "{event:?}");
        assert!(client.told.iter().all(|(peer, _)| *peer != found.peer_id()), "{:?}", client.told);
        assert_eq!(client.behaviour().addresses_of(&found.peer_id()).len(), 1);
    })
    .await;
}

#[tokio::test]
async fn no_more_addresses_are_offered_than_the_limits_allow() {
    within(async {
        let mut point = Point::new().await;
        // The buckets are not filled again within the test.
        let offers = OfferLimits { per_peer_max: 3, announced_per_sec_max: 5, dialled_per_sec_max: 0 };
        let client_config = ClientConfig { addresses_per_peer_max: 100, ..ClientConfig::default() };
        let mut client = Client::of(&point, Config { offers, client: client_config, ..Config::default() }).await;
        let addresses: Vec<_> =
            (1..=20).map(|port| format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address")).collect();
        let listed: Vec<_> = (0..10).map(|_| record(&addresses)).collect();
        client.behaviour().discover(point.id, Some(namespace("chat")), None, From::Fresh);
        let script = async {
            let mut stream = point.accept().await;
            stream.request().await.expect("a request");
            let envelopes: Vec<&[u8]> = listed.iter().map(|record| &record.envelope()[..]).collect();
            stream.send(&page("chat", &envelopes, b"cookie")).await;
            stream
        };
        let (_stream, event) = futures::join!(script, client.event());
        assert!(matches!(event, Event::Discovered { .. }), "{event:?}");
        let told = |peer| client.told.iter().filter(|(told, _)| *told == peer).count();
        assert_eq!([told(listed[0].peer_id()), told(listed[1].peer_id()), told(listed[2].peer_id())], [3, 2, 0]);
        let peer = listed[0].peer_id();
        assert_eq!(client.behaviour().addresses_of(&peer).len(), 20, "known all the same");
        let dialled = client.swarm.dial(DialOpts::from(peer));
        assert!(matches!(dialled, Err(DialError::NoAddresses)), "{dialled:?}");
        let stats = client.behaviour().offer_stats();
        assert_eq!((stats.announced, stats.announcements_withheld), (5, 195));
        assert_eq!((stats.dialled, stats.dials_withheld), (0, 20));
    })
    .await;
}

#[tokio::test]
async fn a_lookup_over_two_points_tells_what_both_list_and_goes_on_without_one() {
    within(async {
        let (mut first, mut second, dead) = (Point::new().await, Point::new().await, Point::new().await);
        let mut client = Client::of(&first, Config::default()).await.knowing(&second).knowing(&dead);
        let points = [first.id, second.id, dead.id];
        dead.stop().await;
        let lookup = client.behaviour().look_up(Some(namespace("chat")), points, LookupConfig::default());
        let address = |port| vec![format!("/ip4/192.0.2.1/tcp/{port}").parse().expect("an address")];
        let (shared, other) = (record(&address(1)), record(&address(2)));
        let script = async {
            let mut streams = (first.accept().await, second.accept().await);
            streams.0.request().await.expect("a request");
            streams.0.send(&page("chat", &[shared.envelope()], b"")).await;
            streams.1.request().await.expect("a request");
            streams.1.send(&page("chat", &[shared.envelope(), other.envelope()], b"")).await;
            streams
        };
        let events = async {
            let mut failed = Vec::new();
            loop {
                match client.event().await {
                    Event::LookupEnded { lookup: ended } if ended == lookup => return failed,
                    Event::LookupFailed { point, failure, .. } => failed.push((point, failure)),
                    _ => {}
                }
            }
        };
        let (_streams, failed) = futures::join!(script, events);
        assert_eq!(failed, [(points[2], Failure::Unreachable)]);
        let found: Vec<_> = client.behaviour().found(lookup).collect();
        let points_of = |peer| found.iter().find(|merged| merged.record.peer_id() == peer).map(|it| it.points.len());
        assert_eq!((points_of(shared.peer_id()), points_of(other.peer_id())), (Some(2), Some(1)));
        assert!(client.told.contains(&(other.peer_id(), address(2).remove(0))), "{:?}", client.told);
    })
    .await;
}

#[tokio::test]
async fn a_query_without_a_namespace_asks_for_all() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::of(&point, Config::default()).await;
        let query = client.behaviour().discover(point.id, None, None, From::Cookie);
        let script = async {
            let mut stream = point.accept().await;
            let payload = stream.request().await.expect("a request");
            let Ok(Request::Discover(discover)) = Request::decode(&payload) else { panic!("no DISCOVER") };
            assert_eq!((discover.namespace, discover.cookie), (None, None));
            stream.send(&page("chat", &[], b"cookie")).await;
            stream
        };
        let (_stream, event) = futures::join!(script, client.event());
        assert!(
            matches!(&event, Event::Discovered { query: answered, registrations, more: false, .. }
                if *answered == query && registrations.is_empty()),
            "{event:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn an_unregister_is_half_closed_and_told_once_the_point_has_closed() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::of(&point, Config::default()).await;
        let request = client.behaviour().unregister_at(point.id, namespace("chat"));
        let script = async {
            let mut stream = point.accept().await;
            let payload = stream.request().await.expect("a request");
            let Ok(Request::Unregister(unregister)) = Request::decode(&payload) else { panic!("no UNREGISTER") };
            assert_eq!(unregister.namespace, Some(&b"chat"[..]));
            assert_eq!(stream.request().await, None);
            stream.close().await;
        };
        let ((), event) = futures::join!(script, client.event());
        assert!(
            matches!(&event, Event::UnregisteredAt { request: ended, failure: None, .. } if *ended == request),
            "{event:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_point_that_keeps_an_unregister_open_does_not_hold_up_its_end() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::of(&point, Config::default()).await;
        client.behaviour().unregister_at(point.id, namespace("chat"));
        let script = async {
            let mut stream = point.accept().await;
            stream.request().await.expect("a request");
            stream
        };
        let (_stream, event) = futures::join!(script, client.event());
        assert!(matches!(&event, Event::UnregisteredAt { failure: None, .. }), "{event:?}");
    })
    .await;
}

#[tokio::test]
async fn requests_wait_for_the_one_dial_and_each_gets_its_own_answer() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::of(&point, Config::default()).await;
        let names: Vec<String> = (0..20).map(|number| format!("name-{number}")).collect();
        let mut queries = Vec::new();
        for name in &names {
            queries.push(client.behaviour().discover(point.id, Some(namespace(name)), None, From::Fresh));
        }
        let script = async {
            let mut streams = Vec::new();
            for _ in &names {
                let mut stream = point.accept().await;
                let payload = stream.request().await.expect("a request");
                let Ok(Request::Discover(discover)) = Request::decode(&payload) else { panic!("no DISCOVER") };
                let name = core::str::from_utf8(discover.namespace.expect("a name")).expect("utf-8");
                stream.send(&page(name, &[record(&[]).envelope()], name.as_bytes())).await;
                streams.push(stream);
            }
            streams
        };
        let listen = async {
            let (mut answers, mut connections) = (Vec::new(), 0);
            while answers.len() < names.len() {
                match client.swarm_event().await {
                    SwarmEvent::Behaviour(MemberEvent::Rendezvous(Event::Discovered {
                        query,
                        namespace,
                        registrations,
                        ..
                    })) => {
                        assert!(registrations.iter().all(|found| Some(&found.namespace) == namespace.as_ref()));
                        answers.push((query, namespace));
                    }
                    SwarmEvent::ConnectionEstablished { .. } => connections += 1,
                    _ => {}
                }
            }
            assert_eq!(connections, 1);
            answers.sort();
            answers
        };
        let (_streams, answers) = futures::join!(script, listen);
        let expected: Vec<_> = queries.into_iter().zip(names.iter().map(|name| Some(namespace(name)))).collect();
        assert_eq!(answers, expected);
    })
    .await;
}

/// Connections that close as soon as nothing is on them, and so while requests are on the way to them.
#[tokio::test]
async fn connections_that_do_not_last_are_dialled_again_for_each_request() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::idle_for(Duration::ZERO, Config::default()).await.knowing(&point);
        for _ in 0..50 {
            let query = client.behaviour().discover(point.id, Some(namespace("chat")), None, From::Fresh);
            let script = async {
                let mut stream = point.accept().await;
                stream.request().await.expect("a request");
                stream.send(&page("chat", &[], b"cookie")).await;
                stream
            };
            let (_stream, event) = futures::join!(script, client.event());
            assert!(matches!(&event, Event::Discovered { query: answered, .. } if *answered == query), "{event:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_point_that_has_dialled_the_client_is_asked_on_that_connection() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::new().await;
        point.dial(client.address.clone());
        loop {
            if let SwarmEvent::ConnectionEstablished { .. } = client.swarm_event().await {
                break;
            }
        }
        client.behaviour().discover(point.id, None, None, From::Fresh);
        let script = async {
            let mut stream = point.accept().await;
            stream.request().await.expect("a request");
            stream.send(&page("chat", &[], b"cookie")).await;
            stream
        };
        let (_stream, event) = futures::join!(script, client.event());
        assert!(matches!(event, Event::Discovered { .. }), "{event:?}");
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_comes_with_the_end_of_the_connection_counts() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::of(&point, Config::default()).await;
        for _ in 0..20 {
            client.behaviour().discover(point.id, Some(namespace("chat")), None, From::Fresh);
            let client_id = client.id();
            let script = async {
                let mut stream = point.accept().await;
                stream.request().await.expect("a request");
                stream.send(&page("chat", &[], b"cookie")).await;
                point.disconnect(client_id);
            };
            let listen = async {
                let (mut told, mut is_closed) = (None, false);
                while told.is_none() || !is_closed {
                    match client.swarm_event().await {
                        SwarmEvent::Behaviour(MemberEvent::Rendezvous(event)) => told = Some(event),
                        SwarmEvent::ConnectionClosed { .. } => is_closed = true,
                        _ => {}
                    }
                }
                told
            };
            let ((), event) = futures::join!(script, listen);
            assert!(matches!(event, Some(Event::Discovered { .. })), "{event:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn no_more_streams_are_open_than_allowed() {
    within(async {
        let mut point = Point::new().await;
        let config = Config { streams_max: 2, reuse_streams: false, ..Config::default() };
        let mut client = Client::of(&point, config).await;
        for _ in 0..6 {
            client.behaviour().discover(point.id, Some(namespace("chat")), None, From::Fresh);
        }
        let script = async {
            let mut open = vec![point.accept().await, point.accept().await];
            for left in (0..6).rev() {
                let mut stream = open.remove(0);
                stream.request().await.expect("a request");
                // Nothing is on its way beside the two: a third would have come before the answer's effect.
                assert!(point.try_accept().is_none());
                stream.send(&page("chat", &[], b"cookie")).await;
                if left > 1 {
                    open.push(point.accept().await);
                }
            }
        };
        let listen = async {
            for _ in 0..6 {
                let event = client.event().await;
                assert!(matches!(event, Event::Discovered { .. }), "{event:?}");
            }
        };
        futures::join!(script, listen);
    })
    .await;
}

#[tokio::test]
async fn another_protocol_id_may_be_spoken() {
    within(async {
        let mut point = Point::listing(&["/canvas/rendezvous/1.0.0"]).await;
        let protocol = libp2p::StreamProtocol::new("/canvas/rendezvous/1.0.0");
        let mut client = Client::of(&point, Config { protocol, ..Config::default() }).await;
        client.behaviour().register(namespace("chat"), [point.id], None);
        let (event, _) = futures::join!(client.event(), point.grant_registration());
        assert!(matches!(event, Event::Registered { .. }), "{event:?}");
    })
    .await;
}
