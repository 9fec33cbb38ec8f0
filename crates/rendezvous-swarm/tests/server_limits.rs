//! What a point makes of peers that ask for too much, or take too long.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod server_support;

use std::time::Duration;

use rendezvous_core::server::Rate;
use rendezvous_record::Flavour::Standard;
use rendezvous_swarm::server::{Config, STREAMS_PER_CONNECTION_MAX};
use rendezvous_wire::Status;

use self::server_support::{Client, DISCOVER_ALL, Point, discover, register, unregister, within};

const TTL_SECS: u64 = 7_200;

/// So short that a test comes to the end of it soon.
const SHORT: Duration = Duration::from_millis(100);

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

#[tokio::test]
async fn a_stream_above_the_bound_is_refused_and_the_others_are_unharmed() {
    within(async {
        let point = Point::start(Config::default()).await;
        let (client, neighbour) = (Client::of(&point).await, Client::of(&point).await);
        let mut streams = Vec::new();
        for _ in 0..STREAMS_PER_CONNECTION_MAX {
            let mut stream = client.open().await;
            // The answer shows that the point has the stream.
            assert_eq!(stream.ask(&discover(DISCOVER_ALL)).await.namespaces(), [""; 0]);
            streams.push(stream);
        }
        let mut refused = client.open().await;
        assert_eq!(refused.answer_if_any().await, None);
        let shell = point.shell_stats().await;
        assert_eq!((shell.streams, shell.streams_refused), (STREAMS_PER_CONNECTION_MAX as u64, 1));

        // The bound is one of the connection.
        assert_eq!(neighbour.ask(&discover(DISCOVER_ALL)).await.namespaces(), [""; 0]);
        for stream in &mut streams {
            assert_eq!(stream.ask(&discover(DISCOVER_ALL)).await.namespaces(), [""; 0]);
        }
        // A stream that has ended leaves its place to another one.
        let mut ended = streams.pop().unwrap();
        ended.finish().await;
        ended.assert_ended().await;
        assert_eq!(client.ask(&discover(DISCOVER_ALL)).await.namespaces(), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_asks_too_often_is_told_so_and_its_stream_goes_on() {
    within(async {
        let rate = Rate { burst: 3, period: Duration::from_secs(3_600) };
        let point = Point::start(config(|config| config.server.rate_per_peer = Some(rate))).await;
        let (client, neighbour) = (Client::of(&point).await, Client::of(&point).await);
        let mut stream = client.open().await;
        for _ in 0..3 {
            assert_eq!(stream.ask(&discover(DISCOVER_ALL)).await.status(), Status::Ok);
        }
        for _ in 0..2 {
            assert_eq!(stream.ask(&discover(DISCOVER_ALL)).await.status(), Status::Unavailable);
        }
        // UNREGISTER has no answer, not even this one.
        stream.send(&unregister("a")).await;
        assert_eq!(stream.ask(&discover(DISCOVER_ALL)).await.status(), Status::Unavailable);
        assert_eq!(neighbour.ask(&discover(DISCOVER_ALL)).await.status(), Status::Ok);
        assert_eq!(point.stats().await.refusals, 4);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_before_its_answer_harms_nobody() {
    within(async {
        let point = Point::start(Config::default()).await;
        let (client, other) = (Client::of(&point).await, Client::of(&point).await);
        other.register_all(&["a"], Standard, TTL_SECS).await;
        for _ in 0..3 * STREAMS_PER_CONNECTION_MAX {
            // Dropped as soon as the request is written: the stream is reset. Some come before the end of earlier ones
            // is noticed, and are refused.
            client.open().await.try_send(&discover(DISCOVER_ALL)).await;
        }
        let _asked = {
            let mut stream = client.open().await;
            stream.try_send(&discover(DISCOVER_ALL)).await;
            stream
        };
        client.leave().await;
        assert_eq!(other.ask(&discover(DISCOVER_ALL)).await.namespaces(), ["a"]);
        let shell = point.shell_stats().await;
        assert_eq!((shell.bad_frames, shell.slow_readers, shell.slow_senders, shell.idle_streams), (0, 0, 0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_at_the_write_timeout() {
    within(async {
        let point = Point::start(config(|config| config.write_timeout = SHORT)).await;
        let (client, other) = (Client::of(&point).await, Client::of(&point).await);
        let names: Vec<String> = (0..100).map(|number| format!("namespace {number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        client.register_all(&names, Standard, TTL_SECS).await;
        let mut deaf = client.open().await;
        // Requests enough to fill what the connection lets through, and then to wait behind it.
        deaf.send(&discover(DISCOVER_ALL).repeat(100)).await;
        point.until(|point| point.shell_stats().slow_readers == 1).await;
        // Its neighbours on the connection and elsewhere are served.
        assert_eq!(client.ask(&discover(Some("namespace 1"))).await.namespaces(), ["namespace 1"]);
        assert_eq!(other.ask(&discover(Some("namespace 1"))).await.namespaces(), ["namespace 1"]);
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_sends_on_and_reads_nothing_is_reset_when_too_much_waits() {
    within(async {
        for (requests, bytes) in [(usize::MAX, 256), (20, usize::MAX)] {
            let point = Point::start(config(|config| {
                config.write_timeout = Duration::MAX;
                config.request_bytes_max = 256;
                config.pipelined_requests_max = requests;
                config.pipelined_bytes_max = bytes;
            }))
            .await;
            let client = Client::of(&point).await;
            client.register_all(&["a"], Standard, TTL_SECS).await;
            let mut deaf = client.open().await;
            deaf.write_until_cut(&discover(DISCOVER_ALL)).await;
            let shell = point.shell_stats().await;
            assert_eq!((shell.pipelined_refused, shell.slow_readers, shell.requests_bytes), (1, 0, 0));
            assert_eq!(client.ask(&discover(DISCOVER_ALL)).await.namespaces(), ["a"]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_frame_that_never_completes_ends_its_stream_at_the_frame_timeout() {
    within(async {
        let point = Point::start(config(|config| config.frame_timeout = SHORT)).await;
        let client = Client::of(&point).await;
        let request = register(&client.key, "a", Standard, TTL_SECS);
        let half = &request[..request.len() / 2];
        let mut stalled = client.open().await;
        stalled.send(half).await;
        stalled.assert_ended().await;
        assert_eq!(point.shell_stats().await.slow_senders, 1);

        // The same behind a request that came together with it.
        let mut stalled = client.open().await;
        stalled.send(&[&discover(DISCOVER_ALL), half].concat()).await;
        assert_eq!(stalled.answer().await.namespaces(), [""; 0]);
        stalled.assert_ended().await;
        let shell = point.shell_stats().await;
        assert_eq!((shell.slow_senders, shell.idle_streams), (2, 0));
    })
    .await;
}

#[tokio::test]
async fn bytes_that_trickle_in_do_not_move_the_frame_timeout() {
    within(async {
        let point = Point::start(config(|config| {
            config.frame_timeout = SHORT;
            config.request_bytes_max = usize::MAX;
        }))
        .await;
        let client = Client::of(&point).await;
        let mut slow = client.open().await;
        // A frame that is never complete, a byte at a time and as many as it takes: the point is the one to end it.
        slow.send(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x04]).await;
        slow.write_until_cut(&[0]).await;
        assert_eq!(point.shell_stats().await.slow_senders, 1);
    })
    .await;
}

#[tokio::test]
async fn a_writer_of_a_frame_that_is_too_long_is_not_left_waiting() {
    within(async {
        let point = Point::start(Config::default()).await;
        let client = Client::of(&point).await;
        let mut long = client.open().await;
        // The length is 1 MiB. Closed in order alone, the stream would take what the connection lets through and then
        // nothing, for ever.
        long.try_send(&[0x80, 0x80, 0x40]).await;
        long.write_until_cut(&[0; 4_096]).await;
        assert_eq!(point.shell_stats().await.bad_frames, 1);
    })
    .await;
}

#[tokio::test]
async fn a_silent_stream_ends_at_the_idle_timeout() {
    within(async {
        let point = Point::start(config(|config| config.idle_timeout = SHORT)).await;
        let client = Client::of(&point).await;
        let mut silent = client.open().await;
        silent.assert_ended().await;
        let mut silent = client.open().await;
        assert_eq!(silent.ask(&discover(DISCOVER_ALL)).await.namespaces(), [""; 0]);
        silent.assert_ended().await;
        let shell = point.shell_stats().await;
        assert_eq!((shell.idle_streams, shell.slow_senders), (2, 0));
    })
    .await;
}

#[tokio::test]
async fn each_request_moves_the_idle_timeout() {
    within(async {
        let idle = 5 * SHORT;
        let point = Point::start(config(|config| config.idle_timeout = idle)).await;
        let client = Client::of(&point).await;
        let mut stream = client.open().await;
        let opened = std::time::Instant::now();
        while opened.elapsed() < idle + idle / 2 {
            assert_eq!(stream.ask(&discover(DISCOVER_ALL)).await.namespaces(), [""; 0]);
        }
        assert_eq!(point.shell_stats().await.idle_streams, 0);
        stream.assert_ended().await;
        assert_eq!(point.shell_stats().await.idle_streams, 1);
    })
    .await;
}

#[tokio::test]
async fn timeouts_without_an_end_are_settings_like_others() {
    within(async {
        let point = Point::start(config(|config| {
            config.frame_timeout = Duration::MAX;
            config.idle_timeout = Duration::MAX;
            config.write_timeout = Duration::MAX;
        }))
        .await;
        let client = Client::of(&point).await;
        let mut stream = client.open().await;
        let request = discover(DISCOVER_ALL);
        stream.send(&request[..2]).await;
        assert_eq!(stream.ask(&request[2..]).await.namespaces(), [""; 0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_on_many_connections_are_served_within_the_bounds() {
    const CONNECTIONS: usize = 16;
    const STREAMS: usize = 2 * STREAMS_PER_CONNECTION_MAX;
    const ROUNDS: usize = 4;
    within(async {
        let point = Point::start(Config::default()).await;
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..CONNECTIONS {
            let client = Client::of(&point).await;
            tasks.spawn(async move {
                let name = format!("namespace {number}");
                client.register_all(&[&name], Standard, TTL_SECS).await;
                let ask = async || {
                    let mut answers = 0;
                    let mut stream = client.open().await;
                    for _ in 0..ROUNDS {
                        // Of twice as many streams as it may have, some are refused.
                        stream.try_send(&discover(Some(&name))).await;
                        let Some(answer) = stream.answer_if_any().await else { break };
                        assert_eq!(answer.namespaces(), [name.as_str()]);
                        answers += 1;
                    }
                    answers
                };
                let answers = futures::future::join_all((0..STREAMS).map(|_| ask())).await;
                let whole = answers.iter().filter(|&&answers| answers == ROUNDS).count();
                let none = answers.iter().filter(|&&answers| answers == 0).count();
                assert_eq!(whole + none, STREAMS, "a stream that was accepted was not served to its end");
                assert!(whole >= STREAMS_PER_CONNECTION_MAX, "{whole} streams were served");
                let mut stream = client.open().await;
                stream.send(&unregister(&name)).await;
                stream.finish().await;
                stream.assert_ended().await;
                (whole, none)
            });
        }
        let (mut served, mut refused) = (0, 0);
        while let Some(done) = tasks.join_next().await {
            let (whole, none) = done.unwrap();
            served += whole;
            refused += none;
        }
        let shell = point.shell_stats().await;
        let own = 2 * CONNECTIONS;
        assert_eq!((shell.streams, shell.streams_refused), ((served + own) as u64, refused as u64));
        let stats = point.stats().await;
        assert_eq!((stats.registers, stats.unregisters, stats.registrations), (16, 16, 0));
        assert_eq!((stats.discovers, stats.refusals), ((served * ROUNDS) as u64, 0));
        point.until_alone().await;
        assert!(point.debug().await.contains("peers: 0"), "peers are remembered");
    })
    .await;
}
