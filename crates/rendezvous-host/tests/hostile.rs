//! Peers that keep no rule, against the transport on loopback.

mod common;

use std::{io, net::SocketAddr, time::Duration};

use common::{Raw, connect_from, serve, swarm_of};
use futures::StreamExt as _;
use libp2p::{Multiaddr, Swarm, ping, swarm::SwarmEvent};
use rendezvous_host::{Config, Guard, Stats};
use tokio::{io::AsyncReadExt as _, net::UdpSocket};

/// A message of the ping protocol, which is sent back.
const PING: [u8; 32] = [7; 32];

/// Waits until the statistics are as they should be. The test's runtime has one thread, so what is awaited goes on.
async fn until(guard: &Guard, is_met: impl Fn(&Stats) -> bool) {
    let met = async {
        while !is_met(&guard.stats()) {
            tokio::task::yield_now().await;
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(60), met).await;
    assert!(outcome.is_ok(), "still {:?}", guard.stats());
}

/// Opens as many streams as a swarm negotiates at once, and says nothing on them: streams after these are not read. Returns
/// the number of the next.
async fn occupy_negotiation(raw: &mut Raw) -> u32 {
    for stream in 0..128 {
        raw.data(2 * stream + 1, true, &[]).await.expect("it is taken");
    }
    257
}

/// An honest peer of another network is served.
async fn honest_peer_is_served(server: &common::Server) {
    pinged(&format!("/ip4/127.0.0.1/tcp/{}", server.tcp.port()).parse().expect("an address")).await;
}

/// A peer that has connected, and whose ping was answered.
async fn pinged(address: &Multiaddr) -> Swarm<ping::Behaviour> {
    let mut swarm = swarm_of(&Guard::new(Config::default()));
    swarm.dial(address.clone()).expect("it dials");
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::Behaviour(ping::Event { result, .. }) => {
                result.expect("the ping is answered");
                return swarm;
            }
            SwarmEvent::OutgoingConnectionError { error, .. } => panic!("an honest peer is refused: {error}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_peer_that_fills_streams_nobody_reads_is_closed_and_others_are_served() {
    let server = serve(|config| config.unread_per_connection_max = 1 << 20).await;
    let mut raw = Raw::connect(1, server.tcp).await.expect("it connects");
    let body = vec![0xff; 200 << 10];
    let mut sent = 0;
    for stream in (occupy_negotiation(&mut raw).await..).step_by(2) {
        if raw.data(stream, true, &body).await.is_err() {
            break;
        }
        sent += body.len();
        assert!(sent < 32 << 20, "nothing ends it");
    }
    until(&server.guard, |stats| stats.closed_unread == 1 && stats.unread_bytes == 0).await;
    honest_peer_is_served(&server).await;
}

#[tokio::test]
async fn frames_of_one_byte_are_counted_with_what_they_cost() {
    let server = serve(|config| config.unread_per_connection_max = 1 << 20).await;
    let mut raw = Raw::connect(1, server.tcp).await.expect("it connects");
    let stream = occupy_negotiation(&mut raw).await;
    raw.data(stream, true, &[]).await.expect("it is taken");
    let mut frames = 0;
    while raw.data(stream, false, &[0xff]).await.is_ok() {
        frames += 1;
        assert!(frames < 200_000, "nothing ends it");
        assert!(server.guard.stats().unread_bytes <= 1 << 20);
    }
    until(&server.guard, |stats| stats.connections == 0 && stats.unread_bytes == 0).await;
}

#[tokio::test]
async fn silent_sockets_do_not_keep_a_newcomer_out() {
    let server = serve(|config| config.handshakes_max = 8).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(connect_from(1, server.tcp).await.expect("it connects"));
    }
    until(&server.guard, |stats| stats.handshakes_evicted == 12).await;
    honest_peer_is_served(&server).await;
    // The oldest are closed.
    for socket in &mut silent[..12] {
        assert!(matches!(socket.read(&mut [0; 256]).await, Ok(0) | Err(_)), "the oldest has ended");
    }
    assert!(server.guard.stats().handshakes_tcp <= 8);
}

#[tokio::test]
async fn handshakes_above_the_rate_wait_and_the_lightest_network_is_next() {
    let server = serve(|config| config.handshakes_per_second_max = 2).await;
    // Half a second's handshakes begin at once.
    let mut heavy = Vec::new();
    for _ in 0..6 {
        heavy.push(connect_from(1, server.tcp).await.expect("it connects"));
    }
    until(&server.guard, |stats| stats.handshakes_tcp == 6).await;
    honest_peer_is_served(&server).await;
    assert!(server.guard.stats().handshakes_delayed >= 4);
    assert!(server.guard.stats().handshakes_tcp >= 4, "those of the other network still wait");
}

#[tokio::test]
async fn a_peer_that_reads_nothing_is_closed_after_the_stall_timeout() {
    let server = serve(|config| {
        config.stall_timeout = Duration::from_millis(200);
        config.work_per_second_max = Duration::from_secs(1_000);
    })
    .await;
    let mut raw = Raw::connect(1, server.tcp).await.expect("it connects");
    raw.open(1, "/ipfs/ping/1.0.0").await.expect("it is taken");
    // Pings whose answers are never read: the answers fill the socket, and the peer then takes nothing more.
    let window = 1 << 30;
    raw.frame(1, 0, 1, window, &[]).await.expect("it is taken");
    let body = PING.repeat(1_024);
    let mut sent = 0_usize;
    let end: io::Result<()> = async {
        loop {
            raw.data(1, false, &body).await?;
            sent += body.len();
            assert!(sent < 1 << 30, "nothing ends it");
        }
    }
    .await;
    assert!(end.is_err());
    let stats = server.guard.stats();
    assert_eq!(stats.closed_stalled + stats.closed_unread, 1, "{stats:?}");
    until(&server.guard, |stats| stats.unsent_bytes == 0 && stats.unread_bytes == 0).await;
}

#[tokio::test]
async fn an_honest_peer_over_quic_is_served_and_counted() {
    let server = serve(|_| {}).await;
    let swarm = pinged(&server.quic).await;
    assert_eq!(server.guard.stats().connections, 1);
    drop(swarm);
    until(&server.guard, |stats| stats.connections == 0).await;
}

#[tokio::test]
async fn forged_initials_take_few_places_and_keep_nobody_out() {
    let server = serve(|_| {}).await;
    let listens = server.quic.iter().find_map(|part| match part {
        libp2p::multiaddr::Protocol::Udp(port) => Some(SocketAddr::from(([127, 0, 0, 1], port))),
        _ => None,
    });
    let listens = listens.expect("it listens on UDP");
    // A client sends its first datagram here, and never hears of an answer.
    let here = UdpSocket::bind("127.0.0.1:0").await.expect("a port is free");
    let client = forging_client();
    let mut forged = Vec::new();
    while forged.len() < 80 {
        forged.push(client.connect(here.local_addr().expect("it is bound"), "l").expect("it dials"));
        let mut datagram = [0; 2_048];
        let length = here.recv(&mut datagram).await.expect("it sends");
        here.send_to(&datagram[..length], listens).await.expect("it is sent");
    }
    until(&server.guard, |stats| stats.handshakes_quic >= 32).await;
    drop(pinged(&server.quic).await);
    let stats = server.guard.stats();
    assert!(stats.handshakes_quic <= 33, "{stats:?}");
    assert_eq!(stats.handshakes_evicted, 0);
}

/// QUIC without a purpose but to send Initials.
fn forging_client() -> quinn::Endpoint {
    let tls = libp2p::tls::make_client_config(&libp2p::identity::Keypair::generate_ed25519(), None).expect("a key");
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("a cipher suite");
    let mut client = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port is free");
    client.set_default_client_config(quinn::ClientConfig::new(std::sync::Arc::new(crypto)));
    client
}
