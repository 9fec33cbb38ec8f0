//! In the manner of js-libp2p: zero values are left out as in proto3, an empty cookie is written, the stream is half-closed
//! behind the request and read to its end, and a record of the legacy flavour fails the answer.

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::{Multiaddr, PeerId};
use rendezvous_tests::raw::{self, Peer, Push, Value, kind};

use super::{envelope, read_envelope};

/// Longest answer.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

pub(crate) async fn register(peer: &Peer, point: PeerId, namespace: &str, ttl_secs: u64) -> u64 {
    let body = Push::new().bytes(1, namespace.as_bytes()).bytes(2, &envelope(peer)).number_proto3(3, ttl_secs);
    let request = Push::new().number_proto3(1, kind::REGISTER).message(2, &body);
    let answer = ask(peer, point, request).await;
    let message = raw::fields(&answer);
    let body = raw::fields(raw::bytes(&message, 3).expect("an answer to REGISTER"));
    assert_eq!(raw::number(&body, 1).unwrap_or(0), 0, "OK");
    raw::number(&body, 3).unwrap_or(0)
}

pub(crate) async fn discover(peer: &Peer, point: PeerId, namespace: &str) -> Vec<(PeerId, Vec<Multiaddr>)> {
    let body = Push::new().bytes(1, namespace.as_bytes()).number_proto3(2, 64).bytes(3, &[]);
    let request = Push::new().number_proto3(1, kind::DISCOVER).message(5, &body);
    let answer = ask(peer, point, request).await;
    let message = raw::fields(&answer);
    let body = raw::fields(raw::bytes(&message, 6).expect("an answer to DISCOVER"));
    assert_eq!(raw::number(&body, 3).unwrap_or(0), 0, "OK");
    let mut found: Vec<_> = body
        .iter()
        .filter_map(|field| match field {
            (1, Value::Bytes(registration)) => Some(raw::fields(registration)),
            _ => None,
        })
        .map(|registration| {
            assert_eq!(raw::bytes(&registration, 1), Some(namespace.as_bytes()));
            let record = read_envelope(raw::bytes(&registration, 2).expect("a record"));
            (record.peer_id(), record.addresses().to_vec())
        })
        .collect();
    found.sort_unstable();
    found
}

/// The one frame that comes before the end of the stream.
async fn ask(peer: &Peer, point: PeerId, request: Push) -> Vec<u8> {
    let mut stream = peer.open(point).await;
    stream.write_all(&request.frame()).await.unwrap();
    stream.close().await.unwrap();
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).await.expect("the stream ends in good order");
    let (len, prefix_len) = prefix(&bytes);
    assert_eq!(bytes.len(), prefix_len + len, "one frame, and nothing behind it");
    bytes.split_off(prefix_len)
}

/// The length that a frame announces, and how many bytes that takes.
fn prefix(bytes: &[u8]) -> (usize, usize) {
    let mut len = 0;
    for (at, byte) in bytes.iter().enumerate().take(4) {
        len |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return (len, at + 1);
        }
    }
    panic!("a frame of less than 256 MiB")
}
