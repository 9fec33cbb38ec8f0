//! In the manner of go-waku-rendezvous: its own protocol id and message numbers; one stream, never half-closed; the length
//! and the payload are two writes; zero values are left out; numbers are int64; no cookies and no UNREGISTER.

use std::sync::{Arc, Mutex};

use futures::{AsyncWriteExt as _, StreamExt as _, channel::mpsc};
use libp2p::{PeerId, StreamProtocol};
use rendezvous_tests::{
    node::Options,
    raw::{self, Peer, Push, Value},
};

use super::read_envelope;

const PROTOCOL: StreamProtocol = StreamProtocol::new("/vac/waku/rendezvous/0.0.1");

const REGISTER: u64 = 0;
const REGISTER_RESPONSE: u64 = 1;
const DISCOVER: u64 = 2;
const DISCOVER_RESPONSE: u64 = 3;

/// Longest answer.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// A client's stream.
pub(crate) struct Stream(libp2p::Stream);

impl Stream {
    pub(crate) async fn open(peer: &Peer, point: PeerId) -> Self {
        Self(peer.open_on(point, PROTOCOL).await)
    }

    /// The status, and the lifetime that is granted.
    pub(crate) async fn register(&mut self, envelope: &[u8], namespace: &str, ttl_secs: u64) -> (u64, u64) {
        let body = Push::new().bytes(1, namespace.as_bytes()).bytes(2, envelope).number_proto3(3, ttl_secs);
        write(&mut self.0, Push::new().number_proto3(1, REGISTER).message(2, &body)).await;
        let answer = self.read().await;
        let message = raw::fields(&answer);
        assert_eq!(raw::number(&message, 1).unwrap_or(0), REGISTER_RESPONSE);
        let body = raw::fields(raw::bytes(&message, 3).expect("an answer to REGISTER"));
        (raw::number(&body, 1).unwrap_or(0), raw::number(&body, 3).unwrap_or(0))
    }

    /// Who is listed, sorted, each with the lifetime told.
    pub(crate) async fn discover(&mut self, namespace: &str, limit: u64) -> Vec<(PeerId, u64)> {
        let body = Push::new().bytes(1, namespace.as_bytes()).number_proto3(2, limit);
        write(&mut self.0, Push::new().number_proto3(1, DISCOVER).message(4, &body)).await;
        let answer = self.read().await;
        let message = raw::fields(&answer);
        assert_eq!(raw::number(&message, 1).unwrap_or(0), DISCOVER_RESPONSE);
        let body = raw::fields(raw::bytes(&message, 5).expect("an answer to DISCOVER"));
        assert_eq!(raw::number(&body, 3).unwrap_or(0), 0, "OK");
        assert_eq!(raw::bytes(&body, 2), None, "there are no cookies");
        let mut found: Vec<_> = body
            .iter()
            .filter_map(|field| match field {
                (1, Value::Bytes(registration)) => {
                    let registration = raw::fields(registration);
                    let record = read_envelope(raw::bytes(&registration, 2).expect("a record"));
                    Some((record.peer_id(), raw::number(&registration, 3).expect("a ttl")))
                }
                _ => None,
            })
            .collect();
        found.sort_unstable();
        found
    }

    async fn read(&mut self) -> Vec<u8> {
        raw::read_frame(&mut self.0, ANSWER_BYTES_MAX).await.expect("an answer")
    }
}

/// Two writes, as that writer has it.
async fn write(stream: &mut libp2p::Stream, message: Push) {
    let payload = message.payload();
    let mut prefix = Vec::new();
    raw::push_varint(payload.len() as u64, &mut prefix);
    for part in [prefix, payload] {
        stream.write_all(&part).await.unwrap();
        stream.flush().await.unwrap();
    }
}

/// What a point of that kind has been asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Register { ttl_secs: u64 },
    Discover { limit: u64 },
}

/// A point of that kind, which grants what it is asked for, lists what was registered last, and tells of each request.
pub(crate) async fn point() -> (Peer, mpsc::UnboundedReceiver<Asked>) {
    let point = raw::peer(Options::default()).await;
    let mut control = point.role(|streams| streams.new_control()).await;
    let mut incoming = control.accept(PROTOCOL).expect("nobody else accepts");
    let (tell, asked) = mpsc::unbounded();
    let last = Arc::new(Mutex::new(Vec::new()));
    tokio::spawn(async move {
        while let Some((_, mut stream)) = incoming.next().await {
            let (last, tell) = (last.clone(), tell.clone());
            tokio::spawn(async move {
                while let Ok(request) = raw::read_frame(&mut stream, 64 << 10).await {
                    let (answer, told) = answer(&request, &mut last.lock().expect("nobody panics"));
                    write(&mut stream, answer).await;
                    if tell.unbounded_send(told).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (point, asked)
}

fn answer(request: &[u8], last: &mut Vec<u8>) -> (Push, Asked) {
    let message = raw::fields(request);
    match raw::number(&message, 1).unwrap_or(0) {
        REGISTER => {
            let body = raw::fields(raw::bytes(&message, 2).expect("a REGISTER"));
            let ttl_secs = raw::number(&body, 3).expect("a ttl");
            *last = raw::bytes(&body, 2).expect("a record").to_vec();
            let body = Push::new().number_proto3(1, 0).number_proto3(3, ttl_secs);
            (Push::new().number_proto3(1, REGISTER_RESPONSE).message(3, &body), Asked::Register { ttl_secs })
        }
        DISCOVER => {
            let body = raw::fields(raw::bytes(&message, 4).expect("a DISCOVER"));
            assert!(body.iter().all(|(number, _)| *number <= 2), "no field that is not in its schema");
            let limit = raw::number(&body, 2).expect("a limit");
            // It tells the lifetime that was granted, not what is left of it.
            let registration = Push::new().bytes(1, b"room").bytes(2, last).number_proto3(3, 20);
            let body = Push::new().message(1, &registration);
            (Push::new().number_proto3(1, DISCOVER_RESPONSE).message(5, &body), Asked::Discover { limit })
        }
        other => panic!("{other} is no request of the dialect"),
    }
}
