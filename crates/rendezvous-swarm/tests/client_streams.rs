//! One stream per request, or one for many: by what the point does.

mod client_common;

use client_common::{Client, Conversation, Point, namespace, page, within};
use libp2p::{PeerId, swarm::SwarmEvent};
use rendezvous_swarm::client::{Config, Event, Failure, From};

const COOKIE: &[u8] = b"12345678";

/// Answers the next request on a stream with an empty page.
async fn answer(stream: &mut Conversation) {
    stream.request().await.expect("a request");
    stream.send(&page("chat", &[], COOKIE)).await;
}

/// Asks for a page, which must come.
async fn discover(client: &mut Client, point: PeerId) {
    ask(client, point);
    let event = client.event().await;
    assert!(matches!(event, Event::Discovered { .. }), "{event:?}");
}

fn ask(client: &mut Client, point: PeerId) {
    client.behaviour().discover(point, Some(namespace("chat")), None, From::Fresh);
}

/// A client whose first exchange is over, and a stream that both sides have kept open.
async fn acquainted() -> (Client, Point, Conversation) {
    let mut point = Point::new().await;
    let mut client = Client::of(&point, Config::default()).await;
    ask(&mut client, point.id);
    let (mut first, _) = futures::join!(
        async {
            let mut stream = point.accept().await;
            answer(&mut stream).await;
            stream
        },
        client.event()
    );
    // Requests come on streams of their own until the first has been open for long enough.
    loop {
        ask(&mut client, point.id);
        let again = async {
            tokio::select! {
                () = answer(&mut first) => true,
                mut stream = point.accept() => {
                    answer(&mut stream).await;
                    stream.close().await;
                    false
                }
            }
        };
        let (is_reused, event) = futures::join!(again, client.event());
        assert!(matches!(event, Event::Discovered { .. }), "{event:?}");
        if is_reused {
            return (client, point, first);
        }
    }
}

#[tokio::test]
async fn a_stream_that_the_point_keeps_open_is_reused() {
    within(async {
        let (mut client, point, mut stream) = acquainted().await;
        for _ in 0..10 {
            futures::join!(answer(&mut stream), discover(&mut client, point.id));
        }
    })
    .await;
}

#[tokio::test]
async fn parallel_requests_open_further_streams_which_are_kept_too() {
    within(async {
        let (mut client, mut point, mut first) = acquainted().await;
        for _ in 0..2 {
            ask(&mut client, point.id);
        }
        // The first one runs on the kept stream; before it is answered, the second opens another.
        let (mut second, _) = futures::join!(
            async {
                first.request().await.expect("a request");
                let mut second = point.accept().await;
                answer(&mut second).await;
                second
            },
            client.event()
        );
        ask(&mut client, point.id);
        futures::join!(answer(&mut second), client.event());
        let page = page("chat", &[], COOKIE);
        futures::join!(first.send(&page), client.event());
    })
    .await;
}

#[tokio::test]
async fn a_point_that_closes_behind_its_answer_gets_a_half_closed_stream_per_request() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::of(&point, Config::default()).await;
        for round in 0..3 {
            ask(&mut client, point.id);
            let script = async {
                let mut stream = point.accept().await;
                answer(&mut stream).await;
                if round > 0 {
                    assert_eq!(stream.request().await, None);
                }
                stream.close().await;
            };
            let ((), event) = futures::join!(script, client.event());
            assert!(matches!(event, Event::Discovered { .. }), "{event:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_kept_stream_that_the_point_has_closed_is_not_used() {
    within(async {
        let (mut client, mut point, stream) = acquainted().await;
        stream.close().await;
        let id = point.id;
        let script = async { answer(&mut point.accept().await).await };
        futures::join!(script, discover(&mut client, id));
    })
    .await;
}

#[tokio::test]
async fn a_request_that_fails_on_a_kept_stream_is_sent_once_more_on_a_new_one() {
    within(async {
        let (mut client, mut point, mut stream) = acquainted().await;
        ask(&mut client, point.id);
        let script = async {
            let first = stream.request().await.expect("a request");
            stream.close().await;
            let mut stream = point.accept().await;
            assert_eq!(stream.request().await, Some(first));
            stream.send(&page("chat", &[], COOKIE)).await;
            stream
        };
        let (_stream, event) = futures::join!(script, client.event());
        assert!(matches!(event, Event::Discovered { .. }), "{event:?}");

        // Once only.
        let (mut client, mut point, mut stream) = acquainted().await;
        ask(&mut client, point.id);
        let script = async {
            stream.request().await.expect("a request");
            stream.close().await;
            let mut stream = point.accept().await;
            stream.request().await.expect("a request");
            stream.close().await;
        };
        let ((), event) = futures::join!(script, client.event());
        assert!(matches!(event, Event::DiscoverFailed { failure: Failure::ClosedWithoutAnswer, .. }), "{event:?}");
    })
    .await;
}

#[tokio::test]
async fn a_stream_with_more_than_the_answer_is_not_reused() {
    within(async {
        let (mut client, mut point, mut stream) = acquainted().await;
        ask(&mut client, point.id);
        let script = async {
            stream.request().await.expect("a request");
            let page = page("chat", &[], COOKIE);
            stream.send(&[&page[..], &page[..]].concat()).await;
        };
        futures::join!(script, client.event());
        ask(&mut client, point.id);
        let script = async { answer(&mut point.accept().await).await };
        let ((), event) = futures::join!(script, client.event());
        assert!(matches!(event, Event::Discovered { .. }), "{event:?}");
    })
    .await;
}

#[tokio::test]
async fn every_stream_is_half_closed_where_reuse_is_switched_off() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::of(&point, Config { reuse_streams: false, ..Config::default() }).await;
        ask(&mut client, point.id);
        let script = async {
            let mut stream = point.accept().await;
            answer(&mut stream).await;
            assert_eq!(stream.request().await, None);
        };
        futures::join!(script, client.event());
    })
    .await;
}

#[tokio::test]
async fn what_a_point_does_with_streams_is_remembered_over_connections() {
    within(async {
        let (mut client, mut point, stream) = acquainted().await;
        let id = point.id;
        let keeps_streams = |client: &mut Client| client.behaviour().point_memory(&id)?.keeps_streams;
        assert_eq!(keeps_streams(&mut client), Some(true));
        drop(stream);
        client.swarm.disconnect_peer_id(id).expect("it is connected");
        while !matches!(client.swarm_event().await, SwarmEvent::ConnectionClosed { .. }) {}
        // The first stream of the new connection is kept without a trial.
        let script = async {
            let mut stream = point.accept().await;
            answer(&mut stream).await;
            stream
        };
        let (mut stream, ()) = futures::join!(script, discover(&mut client, id));
        for _ in 0..3 {
            futures::join!(answer(&mut stream), discover(&mut client, id));
        }

        // What is known may be forgotten; and what does not fit is given up.
        client.behaviour().forget_point(id);
        assert_eq!(keeps_streams(&mut client), None);
    })
    .await;
}

#[tokio::test]
async fn a_point_that_is_wrongly_remembered_to_keep_streams_is_learnt_anew() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::of(&point, client_common::impatient()).await;
        let mut memory = rendezvous_swarm::client::PointMemory::default();
        memory.keeps_streams = Some(true);
        client.behaviour().remember_point(point.id, memory);
        ask(&mut client, point.id);
        // It answers when the request's stream is half-closed, which this one never is.
        let script = async {
            let mut stream = point.accept().await;
            stream.request().await.expect("a request");
            stream
        };
        let (_stream, event) = futures::join!(script, client.event());
        assert!(matches!(event, Event::DiscoverFailed { failure: Failure::TimedOut, .. }), "{event:?}");
        ask(&mut client, point.id);
        let script = async {
            let mut stream = point.accept().await;
            stream.request().await.expect("a request");
            assert_eq!(stream.request().await, None, "half-closed");
            stream.send(&page("chat", &[], COOKIE)).await;
            stream
        };
        let (_stream, event) = futures::join!(script, client.event());
        assert!(matches!(event, Event::Discovered { .. }), "{event:?}");
        let memory = client.behaviour().point_memory(&point.id);
        assert_eq!(memory.and_then(|memory| memory.keeps_streams), None);
    })
    .await;
}
