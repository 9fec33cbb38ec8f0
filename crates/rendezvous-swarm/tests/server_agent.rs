//! What a requester is served that has not said which records it reads.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod server_support;

use std::time::Instant;

use rendezvous_core::server::AGENT_PATIENCE;
use rendezvous_record::{Flavour, Flavours};
use rendezvous_swarm::server::{Behaviour, Config};

use self::server_support::{Client, Point, discover, within};

const TTL_SECS: u64 = 7_200;
const RUST: &str = "rust-libp2p/0.57.1";
const GO: &str = "github.com/libp2p/go-libp2p";

/// A point where one peer is listed under `chat` with records of both flavours.
async fn point_with_both(config: Config) -> Point {
    let point = Point::start(config).await;
    let listed = Client::of(&point).await;
    for flavour in Flavour::ALL {
        listed.register_all(&["chat"], flavour, TTL_SECS).await;
    }
    point
}

fn connected(peers: usize) -> impl Fn(&Behaviour) -> bool + Clone + Send + 'static {
    move |point| format!("{point:?}").contains(&format!("peers: {peers}"))
}

#[tokio::test]
async fn the_legacy_flavour_is_served_to_an_agent_known_to_read_it_alone() {
    within(async {
        let point = point_with_both(Config::default()).await;
        point.until(connected(0)).await;
        let client = Client::of(&point).await;
        point.until(connected(1)).await;
        let peer = client.id;
        point.with(move |point| point.peer_agent(peer, RUST)).await;
        // Told to the connection behind what it is doing already, so the answer may find it waiting.
        assert_eq!(client.ask(&discover(Some("chat"))).await.flavours(), [Flavour::Legacy]);
    })
    .await;
}

#[tokio::test]
async fn a_further_connection_of_a_known_agent_does_not_wait() {
    within(async {
        let point = point_with_both(Config::default()).await;
        point.until(connected(0)).await;
        let mut client = Client::of(&point).await;
        point.until(connected(1)).await;
        let peer = client.id;
        point.with(move |point| point.peer_agent(peer, RUST)).await;
        assert_eq!(client.ask(&discover(Some("chat"))).await.flavours(), [Flavour::Legacy]);
        let awaited = point.shell_stats().await.agents_awaited;

        client.change_connection().await;
        assert_eq!(client.ask(&discover(Some("chat"))).await.flavours(), [Flavour::Legacy]);
        assert_eq!(point.shell_stats().await.agents_awaited, awaited);
    })
    .await;
}

#[tokio::test]
async fn an_unknown_agent_is_waited_for_once_on_a_connection_and_then_the_setting_holds() {
    within(async {
        for (unknown_reads, flavour) in [(Flavour::Standard, Flavour::Standard), (Flavour::Legacy, Flavour::Legacy)] {
            let mut config = Config::default();
            config.server.unknown_reads = Flavours::from(unknown_reads);
            let point = point_with_both(config).await;
            let client = Client::of(&point).await;
            assert_eq!(client.ask(&discover(Some("chat"))).await.flavours(), [flavour]);
            assert_eq!(point.shell_stats().await.agents_awaited, 1);
            let mut stream = client.open().await;
            for _ in 0..4 {
                assert_eq!(stream.ask(&discover(Some("chat"))).await.flavours(), [flavour]);
            }
            assert_eq!(point.shell_stats().await.agents_awaited, 1);
        }
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_becomes_known_ends_the_wait_of_all_streams() {
    within(async {
        let point = point_with_both(Config::default()).await;
        loop {
            let client = Client::of(&point).await;
            let before = point.shell_stats().await.agents_awaited;
            let began = Instant::now();
            let mut streams = Vec::new();
            for _ in 0..4 {
                let mut stream = client.open().await;
                stream.send(&discover(Some("chat"))).await;
                streams.push(stream);
            }
            while point.shell_stats().await.agents_awaited < before + 4 && began.elapsed() < AGENT_PATIENCE {}
            let peer = client.id;
            point.with(move |point| point.peer_agent(peer, RUST)).await;
            if began.elapsed() >= AGENT_PATIENCE / 2 {
                // This machine was too slow for the wait to be caught.
                continue;
            }
            // By the setting, which holds when the wait has ended in vain, these would be of the standard flavour.
            for stream in &mut streams {
                assert_eq!(stream.answer().await.flavours(), [Flavour::Legacy]);
            }
            assert_eq!(point.shell_stats().await.agents_awaited, before + 4);
            break;
        }
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_tells_nothing_ends_the_wait_too() {
    within(async {
        let mut config = Config::default();
        config.server.unknown_reads = Flavours::from(Flavour::Standard);
        let point = point_with_both(config).await;
        let client = Client::of(&point).await;
        point.until(connected(1)).await;
        let peer = client.id;
        point.with(move |point| point.peer_agent(peer, GO)).await;
        assert_eq!(client.ask(&discover(Some("chat"))).await.flavours(), [Flavour::Standard]);
        let awaited = point.shell_stats().await.agents_awaited;
        assert_eq!(client.ask(&discover(Some("chat"))).await.flavours(), [Flavour::Standard]);
        assert_eq!(point.shell_stats().await.agents_awaited, awaited);
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_changes_is_served_by_the_latest() {
    within(async {
        let point = point_with_both(Config::default()).await;
        point.until(connected(0)).await;
        let client = Client::of(&point).await;
        point.until(connected(1)).await;
        let peer = client.id;
        for (agent, flavour) in [(RUST, Flavour::Legacy), (GO, Flavour::Standard), (RUST, Flavour::Legacy)] {
            point.with(move |point| point.peer_agent(peer, agent)).await;
            // What is told travels apart from the requests; the next answers show when it has arrived.
            while client.ask(&discover(Some("chat"))).await.flavours() != [flavour] {}
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_is_waited_for_where_nothing_is_listed() {
    within(async {
        let point = point_with_both(Config::default()).await;
        let client = Client::of(&point).await;
        assert_eq!(client.ask(&discover(Some("another"))).await.flavours(), []);
        assert_eq!(point.shell_stats().await.agents_awaited, 0);
    })
    .await;
}

#[tokio::test]
async fn of_an_agent_that_is_not_connected_nothing_is_kept() {
    within(async {
        let point = Point::start(Config::default()).await;
        let stranger = libp2p_identity::Keypair::generate_ed25519().public().to_peer_id();
        point.with(move |point| point.peer_agent(stranger, RUST)).await;
        assert!(connected(0)(&Behaviour::new(Config::default())), "the accessor of this test has changed");
        assert!(point.with(|point| connected(0)(point)).await, "{}", point.debug().await);
    })
    .await;
}
