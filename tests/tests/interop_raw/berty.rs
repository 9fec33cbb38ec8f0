//! In the manner of berty's Go: as the Go family has it, and records are `PeerInfo` without a signature.

use futures::AsyncWriteExt as _;
use libp2p::{Multiaddr, PeerId};
use rendezvous_tests::raw::{self, Peer, Push, Value, kind};

/// Longest answer.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The one stream, for all requests.
pub(crate) struct Stream {
    stream: libp2p::Stream,
    id: Vec<u8>,
    address: Multiaddr,
}

impl Stream {
    pub(crate) async fn open(peer: &Peer, point: PeerId) -> Self {
        Self { stream: peer.open(point).await, id: peer.peer.to_bytes(), address: peer.address.clone() }
    }

    /// The granted TTL, or the status and its text.
    pub(crate) async fn register(&mut self, namespace: &str, ttl_secs: u64) -> Result<u64, (u64, String)> {
        let info = Push::new().bytes(1, &self.id).bytes(2, self.address.as_ref());
        let body = Push::new().bytes(1, namespace.as_bytes()).message(2, &info).number_proto3(3, ttl_secs);
        let answer = self.ask(Push::new().message(2, &body)).await;
        let message = raw::fields(&answer);
        assert_eq!(raw::number(&message, 1), Some(kind::REGISTER_RESPONSE));
        let body = raw::fields(raw::bytes(&message, 3).expect("an answer to REGISTER"));
        match raw::number(&body, 1).unwrap_or(0) {
            0 => Ok(raw::number(&body, 3).unwrap_or(0)),
            status => {
                let text = raw::bytes(&body, 2).unwrap_or_default();
                Err((status, String::from_utf8(text.to_vec()).expect("text")))
            }
        }
    }

    pub(crate) async fn unregister(&mut self, namespace: &str) {
        let body = Push::new().bytes(1, namespace.as_bytes()).bytes(2, &self.id);
        self.write(Push::new().number_proto3(1, kind::UNREGISTER).message(4, &body)).await;
    }

    /// One page, sorted. What is no `PeerInfo` is skipped without a word, as its reader does.
    pub(crate) async fn discover(&mut self, namespace: &str) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let body = Push::new().bytes(1, namespace.as_bytes());
        let answer = self.ask(Push::new().number_proto3(1, kind::DISCOVER).message(5, &body)).await;
        let message = raw::fields(&answer);
        assert_eq!(raw::number(&message, 1), Some(kind::DISCOVER_RESPONSE));
        let body = raw::fields(raw::bytes(&message, 6).expect("an answer to DISCOVER"));
        assert_eq!(raw::number(&body, 3).unwrap_or(0), 0, "OK");
        let registrations = body.iter().filter_map(|field| match field {
            (1, Value::Bytes(registration)) => Some(raw::fields(registration)),
            _ => None,
        });
        let mut found: Vec<_> = registrations
            .filter_map(|registration| {
                assert!(raw::number(&registration, 3).is_some_and(|ttl_secs| ttl_secs > 0));
                read_peer_info(&raw::fields(raw::bytes(&registration, 2)?))
            })
            .collect();
        found.sort_unstable();
        found
    }

    async fn ask(&mut self, request: Push) -> Vec<u8> {
        self.write(request).await;
        raw::read_frame(&mut self.stream, ANSWER_BYTES_MAX).await.expect("an answer")
    }

    /// The length and the payload are two writes.
    async fn write(&mut self, request: Push) {
        let payload = request.payload();
        let mut prefix = Vec::new();
        raw::push_varint(payload.len() as u64, &mut prefix);
        for part in [prefix, payload] {
            self.stream.write_all(&part).await.unwrap();
            self.stream.flush().await.unwrap();
        }
    }
}

/// `None` for an envelope, whose first field is no peer id.
fn read_peer_info(info: &[(u64, Value<'_>)]) -> Option<(PeerId, Vec<Multiaddr>)> {
    let peer = PeerId::from_bytes(raw::bytes(info, 1)?).ok()?;
    let addresses = info.iter().filter_map(|field| match field {
        (2, Value::Bytes(address)) => Some(Multiaddr::try_from(address.to_vec()).expect("an address")),
        _ => None,
    });
    Some((peer, addresses.collect()))
}
