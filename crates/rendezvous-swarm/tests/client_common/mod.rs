//! Clients, and points whose bytes a test scripts, on loopback TCP.

#![allow(dead_code, reason = "each test binary uses a part of this")]
#![allow(unreachable_pub, reason = "a module of tests is reachable from nowhere")]

mod acceptor;

use std::time::Duration;

use asynchronous_codec::FramedRead;
use bytes::Bytes;
use futures::{AsyncWriteExt, StreamExt, channel::mpsc};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, identify, noise, tcp, yamux};
use libp2p_identity::Keypair;
use libp2p_swarm::{NetworkBehaviour, SwarmEvent, dial_opts::DialOpts};
use rendezvous_record::{Flavour, Limits, VerifiedRecord};
use rendezvous_swarm::client::{self, ClientConfig, Config, Event, Namespace, Ttl};
use rendezvous_wire::{FrameCodec, PROTOCOL, PageWriter, RegisterResponse, Request, Response, Status, frame};
use tokio::task::JoinHandle;

use self::acceptor::Acceptor;

/// Longest time that a whole test may take; a test that is well takes a fraction of it.
const TEST_MAX: Duration = Duration::from_secs(60);

/// Runs a test, which fails when it hangs.
pub async fn within<F: Future>(test: F) -> F::Output {
    tokio::time::timeout(TEST_MAX, test).await.expect("the test hangs")
}

pub fn namespace(name: &str) -> Namespace {
    Namespace::new(name).expect("a namespace")
}

/// Settings under which a silent point fails a request soon.
pub fn impatient() -> Config {
    let client = ClientConfig { request_timeout: Duration::from_millis(300), ..ClientConfig::default() };
    Config { client, ..Config::default() }
}

/// A swarm over TCP, noise and yamux that keeps idle connections for half a minute.
pub fn swarm<B: NetworkBehaviour>(key: Keypair, behaviour: B) -> Swarm<B> {
    swarm_with(key, behaviour, Duration::from_secs(30))
}

pub fn swarm_with<B: NetworkBehaviour>(key: Keypair, behaviour: B, idle_timeout: Duration) -> Swarm<B> {
    SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .expect("a transport")
        .with_behaviour(|_| behaviour)
        .expect("a behaviour")
        .with_swarm_config(|config| config.with_idle_connection_timeout(idle_timeout))
        .build()
}

/// Listens on a free port of the loopback interface.
pub async fn listen<B: NetworkBehaviour>(swarm: &mut Swarm<B>) -> Multiaddr {
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("an address")).expect("to listen");
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return address;
        }
    }
}

#[derive(NetworkBehaviour)]
pub struct Member {
    pub rendezvous: client::Behaviour,
    pub identify: identify::Behaviour,
}

/// A client in its swarm.
pub struct Client {
    pub swarm: Swarm<Member>,
    pub address: Multiaddr,
    /// What the swarm told of other peers' addresses.
    pub told: Vec<(PeerId, Multiaddr)>,
}

impl Client {
    /// A client that listens, and has confirmed no external address.
    pub async fn hidden(config: Config) -> Self {
        Self::idle_for(Duration::from_secs(30), config).await
    }

    /// A hidden client whose connections close after being idle for so long.
    pub async fn idle_for(idle_timeout: Duration, config: Config) -> Self {
        let key = Keypair::generate_ed25519();
        let identify = identify::Config::new("/rendezvous-test".into(), key.public());
        let member = Member {
            rendezvous: client::Behaviour::new(key.clone(), config),
            identify: identify::Behaviour::new(identify),
        };
        let mut swarm = swarm_with(key, member, idle_timeout);
        let address = listen(&mut swarm).await;
        Self { swarm, address, told: Vec::new() }
    }

    /// A client whose external address is the one it listens on.
    pub async fn with(config: Config) -> Self {
        let mut client = Self::hidden(config).await;
        client.swarm.add_external_address(client.address.clone());
        client
    }

    pub async fn new() -> Self {
        Self::with(Config::default()).await
    }

    /// A client that knows where the point is.
    pub async fn of(point: &Point, config: Config) -> Self {
        Self::with(config).await.knowing(point)
    }

    pub fn knowing(mut self, point: &Point) -> Self {
        self.meet(point.id, point.address.clone());
        self
    }

    pub fn meet(&mut self, point: PeerId, address: Multiaddr) {
        self.behaviour().add_point_address(point, address).expect("an address of the point");
    }

    pub fn behaviour(&mut self) -> &mut client::Behaviour {
        &mut self.swarm.behaviour_mut().rendezvous
    }

    pub fn id(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    /// The next event of the swarm that is not its behaviours' own business.
    pub async fn swarm_event(&mut self) -> SwarmEvent<MemberEvent> {
        let event = self.swarm.select_next_some().await;
        if let SwarmEvent::NewExternalAddrOfPeer { peer_id, address } = &event {
            self.told.push((*peer_id, address.clone()));
        }
        event
    }

    /// The next event of the client.
    pub async fn event(&mut self) -> Event {
        loop {
            if let SwarmEvent::Behaviour(MemberEvent::Rendezvous(event)) = self.swarm_event().await {
                return event;
            }
        }
    }

    /// Polls the swarm for ever.
    pub async fn run(&mut self) {
        loop {
            self.swarm_event().await;
        }
    }

    /// Polls the swarm until something else has happened.
    pub async fn run_until<F: Future>(&mut self, other: F) -> F::Output {
        tokio::select! {
            () = self.run() => unreachable!("it runs for ever"),
            output = other => output,
        }
    }

    /// Dials a peer of which only the id is given, and waits for the outcome.
    pub async fn dial(&mut self, peer: PeerId) -> bool {
        self.swarm.dial(DialOpts::peer_id(peer).build()).expect("a dial");
        loop {
            match self.swarm_event().await {
                SwarmEvent::ConnectionEstablished { peer_id, .. } if peer_id == peer => return true,
                SwarmEvent::OutgoingConnectionError { peer_id: Some(failed), .. } if failed == peer => return false,
                _ => {}
            }
        }
    }
}

/// A point that says what a test lets it say.
pub struct Point {
    pub id: PeerId,
    pub address: Multiaddr,
    streams: mpsc::UnboundedReceiver<Stream>,
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

/// What a test has the point's swarm do.
enum Order {
    Dial(Multiaddr),
    Disconnect(PeerId),
}

#[derive(NetworkBehaviour)]
struct Scripted {
    acceptor: Acceptor,
    identify: identify::Behaviour,
}

impl Point {
    /// A point that speaks the rendezvous protocol.
    pub async fn new() -> Self {
        Self::listing(&[PROTOCOL]).await
    }

    /// A peer that lists these protocols.
    pub async fn listing(protocols: &[&'static str]) -> Self {
        let key = Keypair::generate_ed25519();
        let identify = identify::Config::new("/rendezvous-test".into(), key.public());
        let (sender, streams) = mpsc::unbounded();
        let protocols = protocols.iter().copied().map(StreamProtocol::new).collect();
        let acceptor = Acceptor { protocols, streams: sender };
        let mut swarm = swarm(key, Scripted { acceptor, identify: identify::Behaviour::new(identify) });
        let address = listen(&mut swarm).await;
        let id = *swarm.local_peer_id();
        let (orders, mut ordered) = mpsc::unbounded();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = swarm.select_next_some() => {}
                    Some(order) = ordered.next() => match order {
                        Order::Dial(address) => swarm.dial(address).expect("a dial"),
                        Order::Disconnect(peer) => swarm.disconnect_peer_id(peer).expect("a connection"),
                    }
                }
            }
        });
        Self { id, address, streams, orders, task }
    }

    pub fn dial(&self, address: Multiaddr) {
        self.orders.unbounded_send(Order::Dial(address)).expect("the point runs");
    }

    /// Closes the connections to a peer in good order.
    pub fn disconnect(&self, peer: PeerId) {
        self.orders.unbounded_send(Order::Disconnect(peer)).expect("the point runs");
    }

    /// The next stream that a client opens.
    pub async fn accept(&mut self) -> Conversation {
        Conversation::on(self.streams.next().await.expect("the point runs"))
    }

    /// A stream that a client has opened already.
    pub fn try_accept(&mut self) -> Option<Conversation> {
        self.streams.try_recv().ok().map(Conversation::on)
    }

    /// Grants the next request, which must be a REGISTER, two hours, and gives its record.
    pub async fn grant_registration(&mut self) -> VerifiedRecord {
        let mut stream = self.accept().await;
        let record = stream.register().await;
        stream.grant(7_200).await;
        stream.close().await;
        record
    }

    /// Takes the point down, with all its connections and its listener.
    pub async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// A stream as the point has it.
pub struct Conversation(FramedRead<Stream, FrameCodec>);

impl Conversation {
    fn on(stream: Stream) -> Self {
        Self(FramedRead::new(stream, FrameCodec::new(frame::REQUEST_BYTES_MAX)))
    }

    /// The payload of the next request; `None` once the client has half-closed the stream.
    pub async fn request(&mut self) -> Option<Bytes> {
        self.0.next().await.map(|frame| frame.expect("a frame"))
    }

    /// Reads a request, which must be a REGISTER, and gives its record.
    pub async fn register(&mut self) -> VerifiedRecord {
        let payload = self.request().await.expect("a request");
        let Ok(Request::Register(register)) = Request::decode(&payload) else { panic!("no REGISTER") };
        let envelope = register.signed_peer_record.expect("a record");
        VerifiedRecord::verify(Bytes::copy_from_slice(envelope), &Limits::default()).expect("a record that verifies")
    }

    /// Waits until the client has closed its side, or dropped the stream.
    pub async fn closed(&mut self) {
        while let Some(Ok(_)) = self.0.next().await {}
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("to write");
        self.0.flush().await.expect("to flush");
    }

    pub async fn grant(&mut self, ttl_secs: u64) {
        self.send(&granted(ttl_secs)).await;
    }

    pub async fn refuse(&mut self, status: Status) {
        let response = RegisterResponse { status: Some(status), ..RegisterResponse::default() };
        self.send(&frame_of(Response::Register(response))).await;
    }

    pub async fn close(mut self) {
        self.0.close().await.expect("to close");
    }
}

/// The frame of a REGISTER_RESPONSE with status OK.
pub fn granted(ttl_secs: u64) -> Vec<u8> {
    let response =
        RegisterResponse { status: Some(Status::Ok), ttl_secs: Some(ttl_secs), ..RegisterResponse::default() };
    frame_of(Response::Register(response))
}

pub fn frame_of(response: Response<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    response.encode_frame(&mut frame);
    frame
}

/// The frame of a DISCOVER_RESPONSE with these records, each with two hours left.
pub fn page(namespace: &str, records: &[&[u8]], cookie: &[u8]) -> Vec<u8> {
    let mut page = PageWriter::new(frame::PAGE_BYTES_MAX);
    for record in records {
        assert!(page.push(namespace.as_bytes(), record, Ttl::DEFAULT.as_secs()), "room for a record");
    }
    page.finish(cookie).as_bytes().to_vec()
}

/// A record of a new peer with these addresses.
pub fn record(addresses: &[Multiaddr]) -> VerifiedRecord {
    let key = Keypair::generate_ed25519();
    VerifiedRecord::sign(&key, Flavour::Standard, 1, addresses, &Limits::default()).expect("to sign")
}
