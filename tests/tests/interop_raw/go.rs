//! In the manner of the Go family: one stream for all requests, never half-closed and reset at the end; the length and the
//! payload are two writes; zero values are left out, so that REGISTER has no type; numbers are int64.

use futures::AsyncWriteExt as _;
use libp2p::{Multiaddr, PeerId};
use rendezvous_tests::raw::{self, Peer, Push, Value, kind};

use super::read_envelope;

/// Longest answer.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The stream.
pub(crate) struct Stream(libp2p::Stream);

impl Stream {
    pub(crate) async fn open(peer: &Peer, point: PeerId) -> Self {
        Self(peer.open(point).await)
    }

    pub(crate) async fn register(&mut self, envelope: &[u8], namespace: &str, ttl_secs: i64) -> i64 {
        let ttl_secs = u64::from_ne_bytes(ttl_secs.to_ne_bytes());
        let body = Push::new().bytes(1, namespace.as_bytes()).bytes(2, envelope).number_proto3(3, ttl_secs);
        self.write(Push::new().number_proto3(1, kind::REGISTER).message(2, &body)).await;
        let answer = self.read().await;
        let message = raw::fields(&answer);
        assert_eq!(raw::number(&message, 1).unwrap_or(0), kind::REGISTER_RESPONSE);
        let body = raw::fields(raw::bytes(&message, 3).expect("an answer to REGISTER"));
        assert_eq!(raw::number(&body, 1).unwrap_or(0), 0, "OK");
        i64::from_ne_bytes(raw::number(&body, 3).unwrap_or(0).to_ne_bytes())
    }

    /// Has no answer: the next one on the stream belongs to the request behind it.
    pub(crate) async fn unregister(&mut self, namespace: &str) {
        let body = Push::new().bytes(1, namespace.as_bytes());
        self.write(Push::new().number_proto3(1, kind::UNREGISTER).message(4, &body)).await;
    }

    /// Follows the cookie until a page is empty.
    pub(crate) async fn discover(&mut self, namespace: &str) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let mut found = Vec::new();
        let mut cookie = Vec::new();
        for _ in 0..10 {
            let mut body = Push::new().bytes(1, namespace.as_bytes()).number_proto3(2, 2);
            if !cookie.is_empty() {
                body = body.bytes(3, &cookie);
            }
            self.write(Push::new().number_proto3(1, kind::DISCOVER).message(5, &body)).await;
            let answer = self.read().await;
            let message = raw::fields(&answer);
            assert_eq!(raw::number(&message, 1).unwrap_or(0), kind::DISCOVER_RESPONSE);
            let body = raw::fields(raw::bytes(&message, 6).expect("an answer to DISCOVER"));
            assert_eq!(raw::number(&body, 3).unwrap_or(0), 0, "OK");
            let before = found.len();
            for field in &body {
                if let (1, Value::Bytes(registration)) = field {
                    let registration = raw::fields(registration);
                    let ttl_secs = raw::number(&registration, 3).expect("a ttl");
                    assert!(i64::try_from(ttl_secs).is_ok_and(|ttl_secs| ttl_secs > 0));
                    let record = read_envelope(raw::bytes(&registration, 2).expect("a record"));
                    found.push((record.peer_id(), record.addresses().to_vec()));
                }
            }
            if found.len() == before {
                found.sort_unstable();
                return found;
            }
            cookie = raw::bytes(&body, 2).expect("a cookie behind what was listed").to_vec();
        }
        panic!("the listing has an end")
    }

    async fn write(&mut self, request: Push) {
        let payload = request.payload();
        let mut prefix = Vec::new();
        raw::push_varint(payload.len() as u64, &mut prefix);
        for part in [prefix, payload] {
            self.0.write_all(&part).await.unwrap();
            self.0.flush().await.unwrap();
        }
    }

    async fn read(&mut self) -> Vec<u8> {
        raw::read_frame(&mut self.0, ANSWER_BYTES_MAX).await.expect("an answer")
    }
}
