//! Frames of the protocol pushed byte by byte, and peers that speak in such frames over streams of libp2p.
//!
//! Nothing here uses the codec of this project: it is what others put on the wire and read from it.

use std::{
    io,
    sync::{Arc, Mutex},
};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, core::PeerRecord, multiaddr::Protocol};

use crate::node::{Fact, Node, Options};

/// The protocol's id, spelled out.
pub const PROTOCOL: StreamProtocol = StreamProtocol::new("/rendezvous/1.0.0");

/// Numbers of the message types.
pub mod kind {
    /// REGISTER.
    pub const REGISTER: u64 = 0;
    /// Answer to REGISTER.
    pub const REGISTER_RESPONSE: u64 = 1;
    /// UNREGISTER.
    pub const UNREGISTER: u64 = 2;
    /// DISCOVER.
    pub const DISCOVER: u64 = 3;
    /// Answer to DISCOVER.
    pub const DISCOVER_RESPONSE: u64 = 4;
}

/// A protobuf message that is written field by field.
#[derive(Clone, Debug, Default)]
pub struct Push(Vec<u8>);

impl Push {
    /// An empty message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A number, zero or not.
    #[must_use]
    pub fn number(mut self, field: u64, value: u64) -> Self {
        push_varint(field << 3, &mut self.0);
        push_varint(value, &mut self.0);
        self
    }

    /// A number as a writer of proto3 has it: zero is left out.
    #[must_use]
    pub fn number_proto3(self, field: u64, value: u64) -> Self {
        if value == 0 { self } else { self.number(field, value) }
    }

    /// Bytes, text or a message.
    #[must_use]
    pub fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        push_varint(field << 3 | 2, &mut self.0);
        push_varint(value.len() as u64, &mut self.0);
        self.0.extend_from_slice(value);
        self
    }

    /// A message in this one.
    #[must_use]
    pub fn message(self, field: u64, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    /// The payload.
    #[must_use]
    pub fn payload(self) -> Vec<u8> {
        self.0
    }

    /// The frame: the payload behind its length.
    #[must_use]
    pub fn frame(self) -> Vec<u8> {
        let mut frame = Vec::new();
        push_varint(self.0.len() as u64, &mut frame);
        frame.extend_from_slice(&self.0);
        frame
    }
}

/// Appends an unsigned varint.
pub fn push_varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Number(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
}

/// A message read field by field, in order. Only numbers and bytes are in the protocol's schema.
///
/// # Panics
/// If it is anything else, or ends too early.
#[must_use]
pub fn fields(mut bytes: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes);
        let value = match key & 7 {
            0 => Value::Number(take_varint(&mut bytes)),
            2 => {
                let len = take_varint(&mut bytes) as usize;
                let (value, rest) = bytes.split_at(len);
                bytes = rest;
                Value::Bytes(value)
            }
            other => panic!("wire type {other} is in no message of the protocol"),
        };
        fields.push((key >> 3, value));
    }
    fields
}

/// The number in a field; `None` if it is not there.
#[must_use]
pub fn number(fields: &[(u64, Value<'_>)], wanted: u64) -> Option<u64> {
    fields.iter().find_map(|field| match field {
        (number, Value::Number(value)) if *number == wanted => Some(*value),
        _ => None,
    })
}

/// The bytes in a field; `None` if it is not there.
#[must_use]
pub fn bytes<'a>(fields: &[(u64, Value<'a>)], wanted: u64) -> Option<&'a [u8]> {
    fields.iter().find_map(|field| match field {
        (number, Value::Bytes(value)) if *number == wanted => Some(*value),
        _ => None,
    })
}

fn take_varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().expect("a varint is complete");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return value;
        }
    }
    panic!("a varint has at most ten bytes")
}

/// Reads one frame: its payload.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] if the stream ends first; [`io::ErrorKind::InvalidData`] if the payload is longer
/// than that.
pub async fn read_frame(stream: &mut Stream, payload_bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut len = 0_usize;
    for shift in (0..28).step_by(7) {
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        len |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    if len > payload_bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "frame is too long"));
    }
    let mut payload = vec![0; len];
    stream.read_exact(&mut payload).await?;
    Ok(payload)
}

/// A peer that speaks in frames.
pub type Peer = Node<libp2p_stream::Behaviour>;

/// Starts a peer.
pub async fn peer(options: Options) -> Peer {
    Node::start_with(options, |_| libp2p_stream::Behaviour::new()).await
}

impl Peer {
    /// Opens a stream of the protocol to a peer that is connected.
    ///
    /// # Panics
    /// If the other side does not speak it.
    pub async fn open(&self, to: PeerId) -> Stream {
        self.open_on(to, PROTOCOL).await
    }

    /// Opens a stream of another protocol.
    ///
    /// # Panics
    /// If the other side does not speak it.
    pub async fn open_on(&self, to: PeerId, protocol: StreamProtocol) -> Stream {
        let mut control = self.role(|streams| streams.new_control()).await;
        control.open_stream(to, protocol).await.expect("the other side speaks the protocol")
    }
}

/// The record of a peer in the standard flavour, with the address that it listens on.
///
/// # Panics
/// If the key does not sign.
#[must_use]
pub fn standard_envelope(peer: &Peer) -> Vec<u8> {
    let record = PeerRecord::new_interop(&peer.key, vec![peer.address.clone()]).expect("the key signs");
    record.into_signed_envelope().into_protobuf_encoding()
}

/// A peer that is connected to the point at this address, which names the point. Its agent version tells nothing of what it
/// reads, so that it is given the standard flavour.
///
/// # Panics
/// If there is no point.
pub async fn connected(address: &Multiaddr) -> Peer {
    let mut peer = peer(Options::default().agent_version("raw/1.0.0")).await;
    let (to, point) = (address.clone(), point_of(address));
    peer.with(move |swarm| swarm.dial(to)).await.expect("a dial");
    peer.fact(&Fact::Identified(point)).await;
    peer
}

/// The peer that an address ends with.
///
/// # Panics
/// If it names none.
#[must_use]
pub fn point_of(address: &Multiaddr) -> PeerId {
    let peer = address.iter().find_map(|protocol| match protocol {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    });
    peer.expect("it names the peer")
}

/// Registers a peer as most implementations do, with a record of the standard flavour and every field written out.
///
/// # Panics
/// If it is not granted.
pub async fn register_standard(peer: &Peer, point: PeerId, namespace: &str) {
    let envelope = standard_envelope(peer);
    let body = Push::new().bytes(1, namespace.as_bytes()).bytes(2, &envelope).number(3, 7_200);
    let mut stream = peer.open(point).await;
    stream.write_all(&Push::new().number(1, kind::REGISTER).message(2, &body).frame()).await.expect("it is written");
    stream.flush().await.expect("it is written");
    let answer = read_frame(&mut stream, 4_096).await.expect("an answer");
    let answer = fields(&answer);
    assert_eq!(number(&answer, 1), Some(kind::REGISTER_RESPONSE));
    let body = fields(bytes(&answer, 3).expect("an answer to REGISTER"));
    assert_eq!((number(&body, 1), number(&body, 3)), (Some(0), Some(7_200)));
}

/// What a scripted point has been asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Type of the request.
    pub kind: u64,
    /// Namespace, empty if there is none.
    pub namespace: Vec<u8>,
    /// Cookie, if there is one.
    pub cookie: Option<Vec<u8>>,
}

/// What a scripted point does in return.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Writes these bytes and goes on reading.
    Bytes(Vec<u8>),
    /// Keeps the stream open and says nothing.
    Silence,
    /// Closes the stream.
    Close,
}

/// Starts a point that does what its script says.
///
/// # Panics
/// In its own task, if a request is none.
pub async fn point(script: impl FnMut(Asked) -> Reply + Send + 'static) -> Peer {
    let point = peer(Options::default()).await;
    let mut control = point.role(|streams| streams.new_control()).await;
    let mut incoming = control.accept(PROTOCOL).expect("nobody else accepts");
    let script = Arc::new(Mutex::new(script));
    tokio::spawn(async move {
        while let Some((_, mut stream)) = incoming.next().await {
            let script = script.clone();
            tokio::spawn(async move {
                while let Ok(request) = read_frame(&mut stream, 64 << 10).await {
                    let reply = (script.lock().expect("the script does not panic"))(asked(&request));
                    match reply {
                        Reply::Bytes(bytes) => {
                            if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
                                return;
                            }
                        }
                        Reply::Silence => std::future::pending().await,
                        Reply::Close => break,
                    }
                }
                let _ = stream.close().await;
            });
        }
    });
    point
}

fn asked(request: &[u8]) -> Asked {
    let message = fields(request);
    let kind = number(&message, 1).expect("a request says its type");
    let body = match kind {
        kind::REGISTER => bytes(&message, 2),
        kind::UNREGISTER => bytes(&message, 4),
        kind::DISCOVER => bytes(&message, 5),
        other => panic!("type {other} is no request"),
    };
    let body = fields(body.expect("a request has its body"));
    let cookie = if kind == kind::DISCOVER { bytes(&body, 3).map(<[u8]>::to_vec) } else { None };
    Asked { kind, namespace: bytes(&body, 1).unwrap_or_default().to_vec(), cookie }
}

/// The frame that grants a REGISTER.
#[must_use]
pub fn granted(ttl_secs: u64) -> Vec<u8> {
    let body = Push::new().number(1, 0).number(3, ttl_secs);
    Push::new().number(1, kind::REGISTER_RESPONSE).message(3, &body).frame()
}

/// The frame that refuses a DISCOVER.
#[must_use]
pub fn discover_refused(status: u64) -> Vec<u8> {
    let body = Push::new().number(3, status);
    Push::new().number(1, kind::DISCOVER_RESPONSE).message(6, &body).frame()
}

/// The frame of a page: registrations as (namespace, envelope, TTL), and the cookie.
#[must_use]
pub fn page<'a>(registrations: impl IntoIterator<Item = (&'a str, &'a [u8], u64)>, cookie: &[u8]) -> Vec<u8> {
    let mut body = Push::new();
    for (namespace, envelope, ttl_secs) in registrations {
        let registration = Push::new().bytes(1, namespace.as_bytes()).bytes(2, envelope).number(3, ttl_secs);
        body = body.message(1, &registration);
    }
    Push::new().number(1, kind::DISCOVER_RESPONSE).message(6, &body.bytes(2, cookie).number(3, 0)).frame()
}
