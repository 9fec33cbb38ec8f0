//! One point, two dialects: switched on by the settings or at run time.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod server_support;

use libp2p::StreamProtocol;
use rendezvous_record::Flavour;
use rendezvous_swarm::{
    DUAL_PROTOCOL, PROTOCOL, WAKU_PROTOCOL,
    server::{Config, Dialect, Dialects},
};
use rendezvous_wire::{Register, waku};

use self::server_support::{Answer, Client, Conversation, Point, discover, record, within};

fn config(dialects: Dialects) -> Config {
    let mut config = Config::default();
    config.dialects = dialects;
    config
}

fn encoded(request: waku::Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode_frame(&mut bytes);
    bytes
}

fn register_waku(client: &Client, namespace: &str, ttl_secs: Option<u64>) -> Vec<u8> {
    let record = record(&client.key, Flavour::Standard);
    let (namespace, signed_peer_record) = (Some(namespace.as_bytes()), Some(&record[..]));
    encoded(waku::Request::Register(Register { namespace, signed_peer_record, ttl_secs }))
}

fn discover_waku(namespace: &str) -> Vec<u8> {
    encoded(waku::Request::Discover(waku::Discover { namespace: Some(namespace.as_bytes()), limit: Some(10) }))
}

/// The status of an answer in the Waku dialect, and the registrations or the TTL in it.
async fn waku_answer(stream: &mut Conversation) -> (i32, usize, Option<u64>) {
    let payload = stream.payload().await;
    match waku::Response::decode(&payload).unwrap() {
        waku::Response::Register(answer) => (answer.status.unwrap().code(), 0, answer.ttl_secs),
        waku::Response::Discover(answer) => (answer.status.unwrap().code(), answer.registrations.iter().count(), None),
    }
}

/// Waits until identify has told of just these protocols.
async fn until_listed(client: &mut Client, listed: &[StreamProtocol], not_listed: &[StreamProtocol]) {
    loop {
        let protocols = client.protocols_of_point().await;
        if listed.iter().all(|protocol| protocols.contains(protocol))
            && !not_listed.iter().any(|protocol| protocols.contains(protocol))
        {
            return;
        }
    }
}

#[tokio::test]
async fn one_dialect_is_served_unless_more_are_switched_on() {
    within(async {
        let point = Point::start(Config::default()).await;
        let client = Client::of(&point).await;
        assert!(client.try_open_on(WAKU_PROTOCOL).await.is_none());
        assert_eq!(client.ask(&discover(Some("chat"))).await.listed(), []);

        let point = Point::start(config(Dialects::WAKU)).await;
        let client = Client::of(&point).await;
        assert!(client.try_open_on(PROTOCOL).await.is_none());
        assert!(client.try_open_on(DUAL_PROTOCOL).await.is_none());
        let mut stream = client.open_on(WAKU_PROTOCOL).await;
        stream.send(&discover_waku("chat")).await;
        assert_eq!(waku_answer(&mut stream).await, (0, 0, None));
        assert_eq!(point.shell_stats().await.streams_by_dialect, [0, 1]);
    })
    .await;
}

#[tokio::test]
async fn both_dialects_see_the_same_registry_and_carry_many_requests_on_a_stream() {
    within(async {
        let point = Point::start(config(Dialects::ALL)).await;
        let (one, other) = (Client::of(&point).await, Client::of(&point).await);
        let mut waku = one.open_on(WAKU_PROTOCOL).await;
        waku.send(&register_waku(&one, "chat", None)).await;
        assert_eq!(waku_answer(&mut waku).await, (0, 0, Some(20)));
        other.register_all(&["chat"], Flavour::Standard, 7_200).await;

        // All at once, answered in order: two that are asked, one refused, and one that breaks off inside.
        let mut asked = discover_waku("chat");
        asked.extend(register_waku(&one, "chat", Some(21)));
        rendezvous_wire::frame::append(&[0x08, 2, 0x22, 0x7f], &mut asked);
        asked.extend(discover_waku("chat"));
        waku.send(&asked).await;
        assert_eq!(waku_answer(&mut waku).await, (0, 2, None));
        assert_eq!(waku_answer(&mut waku).await, (102, 0, None));
        assert_eq!(waku_answer(&mut waku).await.0, 100);
        assert_eq!(waku_answer(&mut waku).await, (0, 2, None));
        waku.finish().await;
        waku.assert_ended().await;

        let listed = other.ask(&discover(Some("chat"))).await;
        let mut peers: Vec<_> = listed.listed().iter().map(|listed| listed.peer).collect();
        peers.sort();
        let mut both = [one.id, other.id];
        both.sort();
        assert_eq!(peers, both);
        let stats = point.shell_stats().await;
        assert_eq!(stats.streams_by_dialect[Dialect::Waku.index()], 1, "all of it went over one stream");
        assert_eq!(stats.streams_by_dialect.iter().sum::<u64>(), stats.streams);
    })
    .await;
}

#[tokio::test]
async fn a_message_of_no_known_type_ends_the_stream() {
    within(async {
        let point = Point::start(config(Dialects::ALL)).await;
        let client = Client::of(&point).await;
        let mut stream = client.open_on(WAKU_PROTOCOL).await;
        // DISCOVER_RESPONSE, which DISCOVER of the other dialect looks like.
        stream.send(&discover(Some("chat"))).await;
        stream.assert_ended().await;
        assert_eq!(point.shell_stats().await.bad_frames, 1);
    })
    .await;
}

#[tokio::test]
async fn a_dialect_is_started_and_stopped_on_connections_that_are_open() {
    within(async {
        let point = Point::start(Config::default()).await;
        let mut client = Client::of(&point).await;
        until_listed(&mut client, &[PROTOCOL, DUAL_PROTOCOL], &[WAKU_PROTOCOL]).await;
        assert!(client.try_open_on(WAKU_PROTOCOL).await.is_none());

        assert!(point.with(|point| point.serve(Dialect::Waku, true)).await);
        assert!(!point.with(|point| point.serve(Dialect::Waku, true)).await, "it is served already");
        until_listed(&mut client, &[PROTOCOL, DUAL_PROTOCOL, WAKU_PROTOCOL], &[]).await;
        let mut stream = client.open_on(WAKU_PROTOCOL).await;
        stream.send(&register_waku(&client, "chat", None)).await;
        assert_eq!(waku_answer(&mut stream).await, (0, 0, Some(20)));

        assert!(point.with(|point| point.serve(Dialect::Waku, false)).await);
        assert_eq!(point.with(|point| point.dialects()).await, Dialects::RENDEZVOUS);
        // The stream from before has its end in place of an answer, and a new one is not to be had.
        stream.send(&discover_waku("chat")).await;
        stream.assert_ended().await;
        until_listed(&mut client, &[PROTOCOL, DUAL_PROTOCOL], &[WAKU_PROTOCOL]).await;
        assert!(client.try_open_on(WAKU_PROTOCOL).await.is_none());
        // What was registered is there until its time is over.
        assert_eq!(client.ask(&discover(Some("chat"))).await.listed().len(), 1);

        assert!(point.with(|point| point.serve(Dialect::Rendezvous, false)).await);
        until_listed(&mut client, &[], &[PROTOCOL, DUAL_PROTOCOL, WAKU_PROTOCOL]).await;
        assert!(client.try_open_on(PROTOCOL).await.is_none());
        assert!(point.with(|point| point.serve(Dialect::Rendezvous, true)).await);
        until_listed(&mut client, &[PROTOCOL], &[WAKU_PROTOCOL]).await;
        assert!(matches!(client.ask(&discover(Some("chat"))).await, Answer::Discover { .. }));
    })
    .await;
}
