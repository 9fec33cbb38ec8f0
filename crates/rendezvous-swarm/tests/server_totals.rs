//! What all connections together may have of a point.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod server_support;

use std::time::Duration;

use rendezvous_record::Flavour::Standard;
use rendezvous_swarm::server::Config;
use rendezvous_wire::Status;
use tokio::task::JoinSet;

use self::server_support::{Client, DISCOVER_ALL, Point, discover, within};

const TTL_SECS: u64 = 7_200;
const OVERLOADED: &str = "the rendezvous point is overloaded: try again later";

/// Room for three pages, of which one network has two: the last eighth is for others.
const PAGES_BYTES_MAX: usize = 130 << 10;

#[tokio::test]
async fn a_new_stream_takes_the_place_of_the_longest_idle_one_when_all_are_taken() {
    within(async {
        let mut config = Config::default();
        config.streams_max = 3;
        let point = Point::start(config).await;
        let (one, other) = (Client::of(&point).await, Client::of(&point).await);
        let mut streams = [one.open().await, one.open().await, other.open().await];
        for stream in &mut streams {
            // The answer shows that the point has the stream.
            assert_eq!(stream.ask(&discover(DISCOVER_ALL)).await.namespaces(), [""; 0]);
        }
        let [mut first, mut second, mut third] = streams;
        assert_eq!(first.ask(&discover(DISCOVER_ALL)).await.namespaces(), [""; 0]);
        let mut newcomer = other.open().await;
        assert_eq!(newcomer.ask(&discover(DISCOVER_ALL)).await.namespaces(), [""; 0]);
        assert_eq!(second.answer_if_any().await, None);
        let shell = point.shell_stats().await;
        assert_eq!((shell.streams, shell.streams_refused, shell.streams_refused_in_all), (4, 0, 0));
        assert_eq!((shell.streams_evicted, shell.streams_open), (1, 3));
        for stream in [&mut first, &mut third, &mut newcomer] {
            assert_eq!(stream.ask(&discover(DISCOVER_ALL)).await.namespaces(), [""; 0]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_is_refused_when_all_are_busy_and_one_after_an_end_is_accepted() {
    within(async {
        let mut config = Config::default();
        config.streams_max = 3;
        let point = Point::start(config).await;
        let (one, other) = (Client::of(&point).await, Client::of(&point).await);
        let mut streams = [one.open().await, one.open().await, other.open().await];
        let request = discover(DISCOVER_ALL);
        for (number, stream) in (1..).zip(&mut streams) {
            stream.send(&request[..1]).await;
            point.until(move |point| point.shell_stats().requests_bytes == number * 4_096).await;
        }
        for client in [&one, &other] {
            let mut refused = client.open().await;
            assert_eq!(refused.answer_if_any().await, None);
        }
        let shell = point.shell_stats().await;
        assert_eq!((shell.streams_refused_in_all, shell.streams_evicted, shell.streams_open), (2, 0, 3));

        // A stream that ends leaves its place to any connection.
        let [mut ended, _second, _third] = streams;
        assert_eq!(ended.ask(&request[1..]).await.namespaces(), [""; 0]);
        ended.finish().await;
        ended.assert_ended().await;
        point.until(|point| point.shell_stats().streams_open == 2).await;
        assert_eq!(other.ask(&discover(DISCOVER_ALL)).await.namespaces(), [""; 0]);

        // And so do all those of a connection that ends.
        one.leave().await;
        point.until(|point| point.shell_stats().streams_open == 1).await;
        let mut again = other.open().await;
        assert_eq!(again.ask(&discover(DISCOVER_ALL)).await.namespaces(), [""; 0]);
    })
    .await;
}

/// A point with pages of 40 KiB, and more than a page of registrations.
async fn point_with_pages(write_timeout: Duration) -> (Point, Client) {
    let mut config = Config::default();
    config.server.page_bytes_max = 40 << 10;
    config.pages_bytes_max = PAGES_BYTES_MAX;
    config.write_timeout = write_timeout;
    let point = Point::start(config).await;
    let client = Client::of(&point).await;
    let names: Vec<String> = (0..100).map(|number| format!("{number:0>255}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    client.register_all(&names, Standard, TTL_SECS).await;
    (point, client)
}

/// Peers that ask for many pages, each on all the streams that have pages at once, and read nothing.
async fn deaf_readers(point: &Point) -> (Vec<Client>, JoinSet<()>) {
    let (mut clients, mut asking) = (Vec::new(), JoinSet::new());
    for _ in 0..6 {
        let client = Client::of(point).await;
        for _ in 0..8 {
            let mut stream = client.open().await;
            asking.spawn(async move {
                stream.try_send(&discover(DISCOVER_ALL).repeat(100)).await;
                std::future::pending::<()>().await;
            });
        }
        clients.push(client);
    }
    (clients, asking)
}

/// Asks until there is no room for an answer.
async fn until_overloaded(client: &Client) {
    let mut stream = client.open().await;
    loop {
        stream.send(&discover(DISCOVER_ALL)).await;
        match stream.status_and_text().await {
            (Status::Ok, None) => {}
            refused => {
                assert_eq!(refused, (Status::Unavailable, Some(OVERLOADED.to_owned())));
                return;
            }
        }
    }
}

async fn assert_served(point: &Point, client: &Client) {
    point.until(|point| point.shell_stats().pages_bytes == 0).await;
    for _ in 0..10 {
        assert_eq!(client.ask(&discover(DISCOVER_ALL)).await.status(), Status::Ok);
    }
}

#[tokio::test]
async fn bytes_in_flight_stay_bounded_and_all_is_served_when_the_readers_have_left() {
    within(async {
        let (point, client) = point_with_pages(Duration::MAX).await;
        let (clients, mut asking) = deaf_readers(&point).await;
        let until_refused = point.until(|point| {
            let shell = point.shell_stats();
            assert!(shell.pages_bytes <= PAGES_BYTES_MAX, "{} bytes are in flight", shell.pages_bytes);
            shell.pages_refused >= 100
        });
        until_refused.await;
        until_overloaded(&client).await;
        // What needs no page is served all the same.
        client.register_all(&["another"], Standard, TTL_SECS).await;
        // Their connections break off: closed in order, they would wait for the point, and the point for its readers.
        drop(clients);
        asking.shutdown().await;
        assert_served(&point, &client).await;
    })
    .await;
}

#[tokio::test]
async fn all_is_served_when_the_readers_have_been_cut_at_the_write_timeout() {
    within(async {
        let (point, client) = point_with_pages(Duration::from_millis(200)).await;
        let (_clients, _asking) = deaf_readers(&point).await;
        let until_cut = point.until(|point| {
            let shell = point.shell_stats();
            shell.slow_readers > 0 && shell.pages_refused > 0
        });
        until_cut.await;
        assert_served(&point, &client).await;
    })
    .await;
}
