//! The advisories against implementations in use, tried on the real `serve`: its memory before and after.

#![cfg(target_os = "linux")]

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::{Multiaddr, Stream};
use rendezvous_tests::{
    in_time,
    program::{Running, build},
    raw::{self, Push, kind},
};

/// Growth that is no leak: what the allocator keeps, and buffers of streams.
const SLACK_BYTES: u64 = 8 << 20;

struct Point {
    running: Running,
    address: Multiaddr,
}

impl Point {
    fn start() -> Self {
        let args = ["serve", "--listen", "/ip4/127.0.0.1/tcp/0", "--ephemeral", "--key"];
        let key = format!("{}/advisories-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
        let running = Running::start(&build(), &[&args[..], &[&key]].concat());
        let address = running.line_with("listening: ").parse().expect("an address");
        Self { running, address }
    }

    fn resident_bytes(&self) -> u64 {
        self.running.resident_bytes().expect("Linux tells")
    }

    /// Prints the memory before and after, and fails if it has grown by more than the slack.
    #[track_caller]
    fn has_not_grown(&self, advisory: &str, before: u64) {
        let after = self.resident_bytes();
        println!("{advisory}: {} KiB before, {} KiB after", before >> 10, after >> 10);
        assert!(after < before + SLACK_BYTES, "{advisory}: from {before} to {after} bytes");
    }
}

async fn ask(stream: &mut Stream, request: Push) -> Vec<u8> {
    stream.write_all(&request.frame()).await.expect("it is written");
    stream.flush().await.expect("it is written");
    raw::read_frame(stream, 4 << 20).await.expect("an answer")
}

/// Each DISCOVER made the point keep a cookie with the set of all ids: 10,000 of them cost 1.4 GiB.
#[tokio::test]
async fn ghsa_v5hw_cv9c_rpg7_ten_thousand_discovers_keep_nothing() {
    let point = Point::start();
    let peer = raw::connected(&point.address).await;
    let to = raw::point_of(&point.address);
    let envelope = raw::standard_envelope(&peer);
    let mut stream = peer.open(to).await;
    for number in 0..100 {
        let body = Push::new().bytes(1, format!("namespace {number}").as_bytes()).bytes(2, &envelope).number(3, 7_200);
        ask(&mut stream, Push::new().number(1, kind::REGISTER).message(2, &body)).await;
    }
    let discover = || Push::new().number(1, kind::DISCOVER).message(5, &Push::new().number(2, 100));
    let first = ask(&mut stream, discover()).await;
    assert!(first.len() > 100 * envelope.len(), "all are listed");
    let before = point.resident_bytes();
    for _ in 0..10_000 {
        assert_eq!(ask(&mut stream, discover()).await.len(), first.len());
    }
    point.has_not_grown("GHSA-v5hw-cv9c-rpg7", before);
}

/// A peer could register in as many namespaces as it liked, and they were kept for 72 hours after it had left.
#[tokio::test]
async fn ghsa_cqfx_gf56_8x59_a_peer_has_a_thousand_registrations_and_no_more() {
    let point = Point::start();
    let peer = raw::connected(&point.address).await;
    let to = raw::point_of(&point.address);
    let envelope = raw::standard_envelope(&peer);
    let mut stream = peer.open(to).await;
    let before = point.resident_bytes();
    let mut granted = 0;
    for number in 0..20_000 {
        let name = format!("{number:0>255}");
        let body = Push::new().bytes(1, name.as_bytes()).bytes(2, &envelope).number(3, 72 * 3_600);
        let answer = ask(&mut stream, Push::new().number(1, kind::REGISTER).message(2, &body)).await;
        let answer = raw::fields(&answer);
        let body = raw::fields(raw::bytes(&answer, 3).expect("an answer to REGISTER"));
        match raw::number(&body, 1) {
            Some(0) => granted += 1,
            status => {
                assert_eq!(status, Some(200));
                assert_eq!(raw::bytes(&body, 2), Some(&b"too many registrations of this peer: 1000 is the most"[..]));
            }
        }
    }
    assert_eq!(granted, 1_000);
    point.has_not_grown("GHSA-cqfx-gf56-8x59", before);
}

/// A frame's length was taken for memory before it was looked at.
#[tokio::test]
async fn ghsa_xqvc_92cf_94j4_a_length_that_is_only_announced_takes_no_memory() {
    let point = Point::start();
    let peer = raw::connected(&point.address).await;
    let to = raw::point_of(&point.address);
    let before = point.resident_bytes();
    for announced in [64 << 10, (64 << 10) + 1, 1 << 20, 1 << 30, u64::from(u32::MAX), u64::MAX] {
        let mut held = Vec::new();
        for _ in 0..100 {
            let mut stream = peer.open(to).await;
            let mut frame = Vec::new();
            raw::push_varint(announced, &mut frame);
            frame.push(8);
            stream.write_all(&frame).await.expect("it is written");
            stream.flush().await.expect("it is written");
            if announced > 64 << 10 {
                // It is cut, and not waited for.
                let ended = in_time(stream.read(&mut [0])).await;
                assert!(matches!(ended, Ok(0) | Err(_)), "{announced}: {ended:?}");
            }
            held.push(stream);
        }
        point.has_not_grown("GHSA-xqvc-92cf-94j4", before);
    }
}
