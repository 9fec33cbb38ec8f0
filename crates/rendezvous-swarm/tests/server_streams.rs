//! What a point makes of the bytes on a stream.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod server_support;

use rendezvous_record::Flavour::Standard;
use rendezvous_swarm::{DUAL_PROTOCOL, PROTOCOL, server};
use rendezvous_wire::{MessageType, Status, frame};

use self::server_support::{Answer, Client, DISCOVER_ALL, Point, discover, malformed, register, unregister, within};

const TTL_SECS: u64 = 7_200;

fn registered() -> Answer {
    Answer::Register { status: Status::Ok, ttl_secs: Some(TTL_SECS) }
}

async fn point_and_client() -> (Point, Client) {
    let point = Point::start(server::Config::default()).await;
    let client = Client::of(&point).await;
    (point, client)
}

#[tokio::test]
async fn requests_on_one_stream_are_answered_in_turn() {
    within(async {
        let (point, client) = point_and_client().await;
        let mut stream = client.open().await;
        assert_eq!(stream.ask(&register(&client.key, "a", Standard, TTL_SECS)).await, registered());
        assert_eq!(stream.ask(&register(&client.key, "b", Standard, TTL_SECS)).await, registered());
        assert_eq!(stream.ask(&discover(DISCOVER_ALL)).await.namespaces(), ["a", "b"]);
        // UNREGISTER has no answer: the next one is DISCOVER's.
        stream.send(&unregister("a")).await;
        assert_eq!(stream.ask(&discover(DISCOVER_ALL)).await.namespaces(), ["b"]);
        assert_eq!(point.shell_stats().await.streams, 1);
    })
    .await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    within(async {
        let (_point, client) = point_and_client().await;
        let mut stream = client.open().await;
        let requests = [
            register(&client.key, "a", Standard, TTL_SECS),
            discover(Some("a")),
            unregister("a"),
            discover(Some("a")),
            register(&client.key, "b", Standard, 1),
            discover(Some("b")),
        ];
        stream.send(&requests.concat()).await;
        stream.finish().await;
        assert_eq!(stream.answer().await, registered());
        assert_eq!(stream.answer().await.namespaces(), ["a"]);
        assert_eq!(stream.answer().await.namespaces(), [""; 0]);
        assert_eq!(stream.answer().await, Answer::Register { status: Status::InvalidTtl, ttl_secs: None });
        assert_eq!(stream.answer().await.namespaces(), [""; 0]);
        stream.assert_ended().await;
    })
    .await;
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    within(async {
        let (_point, client) = point_and_client().await;
        let mut stream = client.open().await;
        for request in [register(&client.key, "a", Standard, TTL_SECS), discover(Some("a"))] {
            for byte in request {
                stream.send(&[byte]).await;
            }
        }
        assert_eq!(stream.answer().await, registered());
        assert_eq!(stream.answer().await.namespaces(), ["a"]);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_half_closes_gets_its_answer_and_then_the_end() {
    within(async {
        let (point, client) = point_and_client().await;
        let mut stream = client.open().await;
        stream.send(&register(&client.key, "a", Standard, TTL_SECS)).await;
        stream.finish().await;
        assert_eq!(stream.answer().await, registered());
        stream.assert_ended().await;
        assert_eq!(point.shell_stats().await.idle_streams, 0);
    })
    .await;
}

#[tokio::test]
async fn unregister_alone_on_a_stream_is_answered_by_its_end() {
    within(async {
        let (point, client) = point_and_client().await;
        client.register_all(&["a", "b"], Standard, TTL_SECS).await;
        let mut stream = client.open().await;
        stream.send(&unregister("a")).await;
        stream.finish().await;
        stream.assert_ended().await;
        assert_eq!(point.stats().await.registrations, 1);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_says_nothing_gets_nothing() {
    within(async {
        let (point, client) = point_and_client().await;
        let mut stream = client.open().await;
        stream.finish().await;
        stream.assert_ended().await;
        assert_eq!(point.stats().await.refusals, 0);
        assert_eq!(point.shell_stats().await.bad_frames, 0);
    })
    .await;
}

#[tokio::test]
async fn a_malformed_request_is_answered_with_a_status_and_the_stream_goes_on() {
    within(async {
        let (point, client) = point_and_client().await;
        let mut stream = client.open().await;
        let refused = Answer::Register { status: Status::InvalidSignedPeerRecord, ttl_secs: None };
        assert_eq!(stream.ask(&malformed(0, 2)).await, refused);
        assert_eq!(stream.ask(&malformed(3, 5)).await.status(), Status::InvalidNamespace);
        // UNREGISTER has no answer, and none says that it was malformed.
        stream.send(&malformed(2, 4)).await;
        assert_eq!(stream.ask(&register(&client.key, "a", Standard, TTL_SECS)).await, registered());
        assert_eq!(point.stats().await.refusals, 3);
        assert_eq!(point.shell_stats().await.bad_frames, 0);
    })
    .await;
}

#[tokio::test]
async fn a_refused_request_leaves_the_stream_to_the_next() {
    within(async {
        let (_point, client) = point_and_client().await;
        let stranger = libp2p_identity::Keypair::generate_ed25519();
        let mut stream = client.open().await;
        let refused = stream.ask(&register(&stranger, "a", Standard, TTL_SECS)).await;
        assert_eq!(refused, Answer::Register { status: Status::NotAuthorized, ttl_secs: None });
        assert_eq!(stream.ask(&discover(DISCOVER_ALL)).await.namespaces(), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_message_that_is_no_request_ends_its_stream_alone() {
    within(async {
        let (point, client) = point_and_client().await;
        let mut other = client.open().await;
        assert_eq!(other.ask(&register(&client.key, "a", Standard, TTL_SECS)).await, registered());
        let mut unknown = Vec::new();
        frame::append(&[0x08, 100], &mut unknown);
        let mut response = Vec::new();
        frame::append(&[0x08, MessageType::RegisterResponse.number() as u8], &mut response);
        let mut garbage = Vec::new();
        frame::append(&[0xff; 20], &mut garbage);
        for bytes in [unknown, response, garbage] {
            let mut stream = client.open().await;
            // What stands behind it is not read: the peer speaks another protocol.
            stream.send(&[bytes, register(&client.key, "b", Standard, TTL_SECS)].concat()).await;
            stream.assert_ended().await;
        }
        assert_eq!(other.ask(&discover(DISCOVER_ALL)).await.namespaces(), ["a"]);
        assert_eq!(point.shell_stats().await.bad_frames, 3);
    })
    .await;
}

#[tokio::test]
async fn a_length_that_is_too_long_or_none_ends_the_stream_at_once() {
    within(async {
        let (point, client) = point_and_client().await;
        let too_long = frame::REQUEST_BYTES_MAX + 1;
        let prefix = [too_long as u8 | 0x80, (too_long >> 7) as u8 | 0x80, (too_long >> 14) as u8];
        for bytes in [&prefix[..], &[0xff; 11]] {
            let mut stream = client.open().await;
            stream.send(bytes).await;
            stream.assert_ended().await;
        }
        assert_eq!(point.shell_stats().await.bad_frames, 2);
    })
    .await;
}

#[tokio::test]
async fn a_frame_of_the_greatest_length_is_read() {
    within(async {
        let (point, client) = point_and_client().await;
        // An unknown field in front of DISCOVER's fills the frame.
        let mut payload = vec![0x08, 3, 0x7a];
        let fill = frame::REQUEST_BYTES_MAX - payload.len() - 3;
        payload.extend([fill as u8 | 0x80, (fill >> 7) as u8 | 0x80, (fill >> 14) as u8]);
        payload.resize(frame::REQUEST_BYTES_MAX, 0);
        let mut bytes = Vec::new();
        frame::append(&payload, &mut bytes);
        assert_eq!(client.ask(&bytes).await.namespaces(), [""; 0]);
        assert_eq!(point.shell_stats().await.bad_frames, 0);
    })
    .await;
}

#[tokio::test]
async fn a_stream_under_the_dual_protocol_is_served_alike() {
    within(async {
        let (_point, client) = point_and_client().await;
        let mut stream = client.open_on(DUAL_PROTOCOL).await;
        assert_eq!(stream.ask(&register(&client.key, "a", Standard, TTL_SECS)).await, registered());
        assert_eq!(stream.ask(&discover(Some("a"))).await.namespaces(), ["a"]);
    })
    .await;
}

#[tokio::test]
async fn identify_of_a_point_lists_both_protocols() {
    within(async {
        let (_point, mut client) = point_and_client().await;
        let protocols = client.protocols_of_point().await;
        assert!(protocols.contains(&PROTOCOL), "{protocols:?}");
        assert!(protocols.contains(&DUAL_PROTOCOL), "{protocols:?}");
    })
    .await;
}
