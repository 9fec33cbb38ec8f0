//! In the manner of nim-libp2p: a schema with required fields, requests and answers to REGISTER of at most 4096 bytes,
//! one request on a stream, which it does not half-close.

use futures::AsyncWriteExt as _;
use libp2p::{Multiaddr, PeerId};
use rendezvous_tests::raw::{self, Peer, Push, Value, kind};

use super::{envelope, read_envelope};

/// Longest request, and longest answer to REGISTER.
const SMALL_BYTES_MAX: usize = 4_096;

/// Longest answer to DISCOVER.
const LARGE_BYTES_MAX: usize = 4 << 20;

/// Longest cookie that is kept.
const COOKIE_BYTES_END: usize = 1_000;

/// A registration that names more than 72 hours is dropped.
const TTL_SECS_MAX: u64 = 259_200;

pub(crate) async fn register(peer: &Peer, point: PeerId, namespace: &str, ttl_secs: u64) -> u64 {
    let body = Push::new().bytes(1, namespace.as_bytes()).bytes(2, &envelope(peer)).number(3, ttl_secs);
    let answer = ask(peer, point, Push::new().number(1, kind::REGISTER).message(2, &body), SMALL_BYTES_MAX).await;
    let body = body_of(&answer, kind::REGISTER_RESPONSE, 3);
    assert_eq!(status(&body, 1), 0, "OK");
    raw::number(&body, 3).expect("the granted ttl")
}

/// Asks for all there is, and once more behind the cookie of the answer.
pub(crate) async fn discover(peer: &Peer, point: PeerId, namespace: &str) -> Vec<(PeerId, Vec<Multiaddr>)> {
    let body = Push::new().bytes(1, namespace.as_bytes()).number(2, 1_000);
    let request = Push::new().number(1, kind::DISCOVER).message(5, &body);
    let (mut found, cookie) = page(&ask(peer, point, request, LARGE_BYTES_MAX).await, namespace);
    let request = Push::new().number(1, kind::DISCOVER).message(5, &body.bytes(3, &cookie));
    let (behind, _) = page(&ask(peer, point, request, LARGE_BYTES_MAX).await, namespace);
    assert_eq!(behind, [], "the cookie stands behind all there is");
    found.sort_unstable();
    found
}

async fn ask(peer: &Peer, point: PeerId, request: Push, answer_bytes_max: usize) -> Vec<u8> {
    let frame = request.frame();
    assert!(frame.len() <= SMALL_BYTES_MAX, "nim reads no more either");
    let mut stream = peer.open(point).await;
    stream.write_all(&frame).await.unwrap();
    stream.flush().await.unwrap();
    let answer = raw::read_frame(&mut stream, answer_bytes_max).await.expect("an answer that is not too long");
    stream.close().await.unwrap();
    answer
}

fn page(answer: &[u8], namespace: &str) -> (Vec<(PeerId, Vec<Multiaddr>)>, Vec<u8>) {
    let body = body_of(answer, kind::DISCOVER_RESPONSE, 6);
    assert_eq!(status(&body, 3), 0, "OK");
    let registrations = body.iter().filter_map(|field| match field {
        (1, Value::Bytes(registration)) => Some(raw::fields(registration)),
        _ => None,
    });
    let found = registrations.map(|registration| {
        let name = raw::bytes(&registration, 1).expect("ns is required");
        assert_eq!(core::str::from_utf8(name), Ok(namespace));
        let ttl_secs = raw::number(&registration, 3).expect("without ttl it is dropped");
        assert!((1..=TTL_SECS_MAX).contains(&ttl_secs), "with {ttl_secs} s it is dropped");
        let record = read_envelope(raw::bytes(&registration, 2).expect("signedPeerRecord is required"));
        (record.peer_id(), record.addresses().to_vec())
    });
    let cookie = raw::bytes(&body, 2).expect("a cookie").to_vec();
    assert!(cookie.len() < COOKIE_BYTES_END, "a longer one is forgotten");
    (found.collect(), cookie)
}

/// The body of an answer of this type. Everything in it that is required is there, or there is no answer.
fn body_of(answer: &[u8], kind: u64, field: u64) -> Vec<(u64, Value<'_>)> {
    let message = raw::fields(answer);
    assert_eq!(raw::number(&message, 1).expect("type is required"), kind);
    raw::fields(raw::bytes(&message, field).expect("the body"))
}

/// Required, and of the numbers that are known.
fn status(body: &[(u64, Value<'_>)], field: u64) -> u64 {
    let status = raw::number(body, field).expect("status is required");
    assert!([0, 100, 101, 102, 103, 200, 300, 400].contains(&status), "{status} is unknown, and the answer with it");
    status
}
