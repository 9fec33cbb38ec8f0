//! A client's side: streams of bytes.

use asynchronous_codec::FramedRead;
use bytes::Bytes;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::{Multiaddr, StreamProtocol, identify};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{ConnectionId, NetworkBehaviour, Stream, SwarmEvent, dial_opts::DialOpts};
use rendezvous_record::Flavour;
use rendezvous_swarm::PROTOCOL;
use rendezvous_wire::{FrameCodec, Response, Status, frame};
use tokio::sync::mpsc;

use super::{Answer, Driven, Point, register, swarm};

#[derive(NetworkBehaviour)]
pub struct ClientBehaviour {
    streams: libp2p_stream::Behaviour,
    identify: identify::Behaviour,
}

/// A peer that is connected to a point.
pub struct Client {
    pub key: Keypair,
    pub id: PeerId,
    point: PeerId,
    address: Multiaddr,
    connection: ConnectionId,
    streams: libp2p_stream::Control,
    swarm: Driven<ClientBehaviour>,
    events: mpsc::UnboundedReceiver<SwarmEvent<ClientBehaviourEvent>>,
}

impl Client {
    /// A peer that has dialled a point.
    pub async fn of(point: &Point) -> Self {
        Self::dial(point.id, point.address.clone()).await
    }

    pub async fn dial(point: PeerId, address: Multiaddr) -> Self {
        let key = Keypair::generate_ed25519();
        let id = key.public().to_peer_id();
        let behaviour = ClientBehaviour {
            streams: libp2p_stream::Behaviour::new(),
            identify: identify::Behaviour::new(identify::Config::new("/test/1.0.0".into(), key.public())),
        };
        let mut swarm = swarm(&key, behaviour);
        swarm.dial(address.clone()).unwrap();
        let connection = loop {
            if let SwarmEvent::ConnectionEstablished { connection_id, .. } = swarm.select_next_some().await {
                break connection_id;
            }
        };
        let streams = swarm.behaviour().streams.new_control();
        let (swarm, events) = Driven::start(swarm);
        Self { key, id, point, address, connection, streams, swarm, events }
    }

    /// Dials the point once more.
    pub async fn dial_again(&self) {
        let options = DialOpts::unknown_peer_id().address(self.address.clone()).build();
        self.swarm.with(|swarm| swarm.dial(options)).await.unwrap();
    }

    /// Exchanges the connection for another one.
    pub async fn change_connection(&mut self) {
        self.dial_again().await;
        let next = loop {
            match self.events.recv().await.expect("the client lives") {
                SwarmEvent::ConnectionEstablished { connection_id, .. } => break connection_id,
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                _ => {}
            }
        };
        let last = std::mem::replace(&mut self.connection, next);
        assert!(self.swarm.with(move |swarm| swarm.close_connection(last)).await);
        self.until_disconnected().await;
    }

    /// Waits until a connection has closed.
    pub async fn until_disconnected(&mut self) {
        while !matches!(self.events.recv().await, Some(SwarmEvent::ConnectionClosed { .. })) {}
    }

    /// What identify tells of the point's protocols.
    pub async fn protocols_of_point(&mut self) -> Vec<StreamProtocol> {
        loop {
            let event = self.events.recv().await.expect("the client lives");
            if let SwarmEvent::Behaviour(ClientBehaviourEvent::Identify(identify::Event::Received { info, .. })) = event
            {
                return info.protocols;
            }
        }
    }

    /// A stream on which nothing is said yet.
    pub async fn open(&self) -> Conversation {
        self.open_on(PROTOCOL).await
    }

    pub async fn open_on(&self, protocol: StreamProtocol) -> Conversation {
        let stream = self.streams.clone().open_stream(self.point, protocol).await.unwrap();
        Conversation(FramedRead::new(stream, FrameCodec::new(frame::RESPONSE_BYTES_MAX)))
    }

    /// A stream of a protocol that the point may not speak.
    pub async fn try_open_on(&self, protocol: StreamProtocol) -> Option<Conversation> {
        let stream = self.streams.clone().open_stream(self.point, protocol).await.ok()?;
        Some(Conversation(FramedRead::new(stream, FrameCodec::new(frame::RESPONSE_BYTES_MAX))))
    }

    /// One request on a stream of its own, half-closed behind it.
    pub async fn ask(&self, request: &[u8]) -> Answer {
        let mut stream = self.open().await;
        stream.send(request).await;
        stream.finish().await;
        let answer = stream.answer().await;
        stream.assert_ended().await;
        answer
    }

    /// Registers under each of these names.
    pub async fn register_all(&self, namespaces: &[&str], flavour: Flavour, ttl_secs: u64) {
        let mut stream = self.open().await;
        for namespace in namespaces {
            let answer = stream.ask(&register(&self.key, namespace, flavour, ttl_secs)).await;
            assert_eq!(answer, Answer::Register { status: Status::Ok, ttl_secs: Some(ttl_secs) });
        }
    }

    /// Closes all connections.
    pub async fn leave(&self) {
        let point = self.point;
        self.swarm.with(move |swarm| swarm.disconnect_peer_id(point)).await.unwrap();
    }
}

/// A stream to a point.
pub struct Conversation(FramedRead<Stream, FrameCodec>);

impl Conversation {
    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Writes to a stream that may be refused.
    pub async fn try_send(&mut self, bytes: &[u8]) {
        if self.0.write_all(bytes).await.is_ok() {
            let _ = self.0.flush().await;
        }
    }

    /// Closes the half that is written to.
    pub async fn finish(&mut self) {
        self.0.close().await.unwrap();
    }

    pub async fn answer(&mut self) -> Answer {
        Answer::read(&self.payload().await)
    }

    /// The payload of the next frame.
    pub async fn payload(&mut self) -> Bytes {
        self.0.next().await.expect("an answer").unwrap()
    }

    /// The next answer; `None` at the end of the stream, in order or by reset.
    pub async fn answer_if_any(&mut self) -> Option<Answer> {
        self.0.next().await.and_then(Result::ok).map(|payload| Answer::read(&payload))
    }

    /// The status of the next answer, which is one to DISCOVER, and its text.
    pub async fn status_and_text(&mut self) -> (Status, Option<String>) {
        let payload = self.0.next().await.expect("an answer").unwrap();
        let Response::Discover(answer) = Response::decode(&payload).unwrap() else { panic!("another answer") };
        (answer.status.unwrap(), answer.status_text.map(|text| String::from_utf8(text.to_vec()).unwrap()))
    }

    pub async fn ask(&mut self, request: &[u8]) -> Answer {
        self.send(request).await;
        self.answer().await
    }

    /// Waits for the point to close the stream in order, with nothing said before.
    pub async fn assert_ended(&mut self) {
        assert!(self.0.read_buffer().is_empty(), "there are bytes behind the answer");
        let mut byte = [0];
        assert_eq!(self.0.read(&mut byte).await.unwrap(), 0, "there is a byte behind the answer");
    }

    /// Writes until the point has cut the stream, and reads nothing.
    pub async fn write_until_cut(&mut self, bytes: &[u8]) {
        while self.0.write_all(bytes).await.is_ok() && self.0.flush().await.is_ok() {}
    }
}
