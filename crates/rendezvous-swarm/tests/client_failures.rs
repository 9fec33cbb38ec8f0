//! What the application hears when points are away, are others than they seem, or answer what they should not.

mod client_common;

use std::{net::TcpListener, time::Duration};

use client_common::{Client, Point, frame_of, granted, impatient, namespace, within};
use libp2p::PeerId;
use rendezvous_core::client::RequestKind;
use rendezvous_swarm::client::{ClientConfig, Config, Event, Failure, From, MalformedAnswer, Ttl};
use rendezvous_wire::{MessageType, RegisterResponse, Request, Response, ResponseError, Status, frame::FrameError};

/// The failure of the one query that is asked.
async fn failure_of_discover(client: &mut Client, point: PeerId) -> Failure {
    let query = client.behaviour().discover(point, Some(namespace("chat")), None, From::Fresh);
    match client.event().await {
        Event::DiscoverFailed { query: failed, point: at, failure, .. } if (failed, at) == (query, point) => failure,
        event => panic!("{event:?}"),
    }
}

/// The failure of the one registration that is tried.
async fn failure_of_register(client: &mut Client, point: PeerId) -> Failure {
    let id = client.behaviour().register(namespace("chat"), [point], None);
    match client.event().await {
        Event::RegisterFailed { id: failed, point: at, failure, retry_at, .. } if (failed, at) == (id, point) => {
            assert!(retry_at > Some(client.behaviour().now()), "{retry_at:?}");
            failure
        }
        event => panic!("{event:?}"),
    }
}

/// What a query fails with when a point answers it with these bytes and closes the stream.
async fn failure_of_answer(answer: &[u8]) -> Failure {
    let mut point = Point::new().await;
    let mut client = Client::of(&point, Config::default()).await;
    let id = point.id;
    let script = async {
        let mut stream = point.accept().await;
        stream.request().await.expect("a request");
        stream.send(answer).await;
        stream.close().await;
    };
    futures::join!(script, failure_of_discover(&mut client, id)).1
}

#[tokio::test]
async fn a_point_that_is_down_is_unreachable() {
    within(async {
        let point = Point::new().await;
        let mut client = Client::of(&point, Config::default()).await;
        let id = point.id;
        point.stop().await;
        assert_eq!(failure_of_discover(&mut client, id).await, Failure::Unreachable);
        assert_eq!(failure_of_register(&mut client, id).await, Failure::Unreachable);
    })
    .await;
}

#[tokio::test]
async fn a_point_without_a_known_address_is_unreachable() {
    within(async {
        let mut client = Client::new().await;
        assert_eq!(failure_of_discover(&mut client, PeerId::random()).await, Failure::Unreachable);
    })
    .await;
}

/// The dial takes longer than the request has: the request was not sent, which "no answer in time" would not say.
#[tokio::test]
async fn a_dial_that_hangs_leaves_the_point_unreachable() {
    within(async {
        let deaf = TcpListener::bind("127.0.0.1:0").expect("to listen");
        let port = deaf.local_addr().expect("an address").port();
        let mut client = Client::with(impatient()).await;
        let point = PeerId::random();
        client.meet(point, format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address"));
        assert_eq!(failure_of_discover(&mut client, point).await, Failure::Unreachable);
        // The dial goes on, and the next request waits for the same one.
        assert_eq!(failure_of_discover(&mut client, point).await, Failure::Unreachable);
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_speaks_other_protocols_is_unsupported() {
    within(async {
        let point = Point::listing(&["/other/1.0.0"]).await;
        let mut client = Client::of(&point, Config::default()).await;
        assert_eq!(failure_of_discover(&mut client, point.id).await, Failure::Unsupported);
        assert_eq!(failure_of_register(&mut client, point.id).await, Failure::Unsupported);
    })
    .await;
}

#[tokio::test]
async fn a_silent_point_times_out() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::of(&point, impatient()).await;
        let id = point.id;
        let script = async {
            let mut stream = point.accept().await;
            stream.request().await.expect("a request");
            // The client lets go of the stream.
            stream.closed().await;
        };
        let ((), failure) = futures::join!(script, failure_of_discover(&mut client, id));
        assert_eq!(failure, Failure::TimedOut);
    })
    .await;
}

#[tokio::test]
async fn a_point_that_goes_down_with_requests_in_flight_fails_each_once() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::of(&point, Config::default()).await;
        let id = point.id;
        let mut queries = Vec::new();
        for name in ["a", "b", "c"] {
            queries.push(client.behaviour().discover(id, Some(namespace(name)), None, From::Fresh));
        }
        client
            .run_until(async {
                let mut streams = Vec::new();
                for _ in 0..3 {
                    let mut stream = point.accept().await;
                    stream.request().await.expect("a request");
                    streams.push(stream);
                }
                point.stop().await;
            })
            .await;
        let mut failed = Vec::new();
        while failed.len() < 3 {
            match client.event().await {
                Event::DiscoverFailed { query, failure: Failure::Unreachable, .. } => failed.push(query),
                event => panic!("{event:?}"),
            }
        }
        failed.sort();
        assert_eq!(failed, queries);
        assert_eq!(client.behaviour().stats().answers_ignored, 0);
        assert_eq!(client.behaviour().stats().requests_in_flight, 0);
    })
    .await;
}

#[tokio::test]
async fn a_stream_closed_in_place_of_an_answer_is_told_as_that() {
    within(async {
        assert_eq!(failure_of_answer(b"").await, Failure::ClosedWithoutAnswer);
        // Within the length prefix, and within the payload.
        assert_eq!(failure_of_answer(&[0x80]).await, Failure::ClosedWithoutAnswer);
        assert_eq!(failure_of_answer(&[10, 0x08, 4]).await, Failure::ClosedWithoutAnswer);
    })
    .await;
}

#[tokio::test]
async fn a_reset_stream_is_one_without_an_answer() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::of(&point, Config::default()).await;
        let id = point.id;
        let script = async {
            let mut stream = point.accept().await;
            stream.request().await.expect("a request");
            drop(stream);
        };
        let ((), failure) = futures::join!(script, failure_of_discover(&mut client, id));
        assert_eq!(failure, Failure::ClosedWithoutAnswer);
    })
    .await;
}

/// The other envelope flavour is tried once, since that is how rust-libp2p's points refuse.
#[tokio::test]
async fn a_register_without_an_answer_fails_after_both_flavours() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::of(&point, Config::default()).await;
        let id = point.id;
        let script = async {
            let mut flavours = Vec::new();
            for _ in 0..2 {
                let mut stream = point.accept().await;
                flavours.push(stream.register().await.flavour());
                stream.close().await;
            }
            flavours
        };
        let (flavours, failure) = futures::join!(script, failure_of_register(&mut client, id));
        assert_eq!(failure, Failure::ClosedWithoutAnswer);
        assert_eq!(flavours[0].other(), flavours[1]);
    })
    .await;
}

#[tokio::test]
async fn a_request_in_place_of_an_answer_is_malformed() {
    within(async {
        let mut frame = Vec::new();
        Request::Discover(Default::default()).encode_frame(&mut frame);
        let error = ResponseError::NotAResponse(MessageType::Discover);
        assert_eq!(failure_of_answer(&frame).await, Failure::Malformed(MalformedAnswer::Response(error)));
    })
    .await;
}

#[tokio::test]
async fn an_answer_to_another_request_is_malformed() {
    within(async {
        let error =
            MalformedAnswer::WrongKind { request: RequestKind::Discover, answered: MessageType::RegisterResponse };
        assert_eq!(failure_of_answer(&granted(7_200)).await, Failure::Malformed(error));
    })
    .await;
}

#[tokio::test]
async fn bytes_that_are_no_message_and_no_frame_are_malformed() {
    within(async {
        let failure = failure_of_answer(&[3, 0xff, 0xff, 0xff]).await;
        assert!(matches!(failure, Failure::Malformed(MalformedAnswer::Response(_))), "{failure:?}");

        let failure = failure_of_answer(&[0xff; 16]).await;
        assert_eq!(failure, Failure::Malformed(MalformedAnswer::Frame(FrameError::Prefix)));

        // 256 MiB are announced.
        let failure = failure_of_answer(&[0x80, 0x80, 0x80, 0x80, 0x01]).await;
        let error = FrameError::TooLong { len_bytes: 256 << 20, max_bytes: 4 << 20 };
        assert_eq!(failure, Failure::Malformed(MalformedAnswer::Frame(error)));
    })
    .await;
}

#[tokio::test]
async fn a_refusal_carries_its_status_and_words() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::of(&point, Config::default()).await;
        let id = point.id;
        let script = async {
            let mut stream = point.accept().await;
            stream.request().await.expect("a request");
            let response = RegisterResponse {
                status: Some(Status::InvalidTtl),
                status_text: Some(b"too long"),
                ..RegisterResponse::default()
            };
            stream.send(&frame_of(Response::Register(response))).await;
            stream
        };
        let (_stream, failure) = futures::join!(script, failure_of_register(&mut client, id));
        assert_eq!(failure, Failure::Refused { status: Status::InvalidTtl, text: "too long".into() });
    })
    .await;
}

#[tokio::test]
async fn an_endless_ttl_is_taken_for_the_longest() {
    within(async {
        let mut point = Point::new().await;
        let mut client = Client::of(&point, Config::default()).await;
        client.behaviour().register(namespace("chat"), [point.id], None);
        let script = async {
            let mut stream = point.accept().await;
            stream.register().await;
            stream.grant(u64::MAX).await;
            stream
        };
        let (_stream, event) = futures::join!(script, client.event());
        assert!(matches!(event, Event::Registered { ttl: Ttl::RECOMMENDED_MAX, .. }), "{event:?}");
    })
    .await;
}

#[tokio::test]
async fn a_registration_that_failed_is_tried_again() {
    within(async {
        let mut point = Point::new().await;
        let client = ClientConfig {
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(1),
            ..ClientConfig::default()
        };
        let mut client = Client::of(&point, Config { client, ..Config::default() }).await;
        let id = point.id;
        let script = async {
            let mut stream = point.accept().await;
            stream.register().await;
            stream.refuse(Status::Unavailable).await;
            stream.close().await;
            point.grant_registration().await;
        };
        let events = async {
            let failure = failure_of_register(&mut client, id).await;
            (failure, client.event().await)
        };
        let ((), (failure, event)) = futures::join!(script, events);
        assert!(matches!(failure, Failure::Refused { status: Status::Unavailable, .. }), "{failure:?}");
        assert!(matches!(event, Event::Registered { .. }), "{event:?}");
    })
    .await;
}
