//! A point whose listing does not end.

mod common;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use common::{Running, run, text};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, channel::mpsc};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, SwarmBuilder,
    core::{
        Endpoint,
        transport::PortUse,
        upgrade::{DeniedUpgrade, ReadyUpgrade},
    },
    noise,
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
        SubstreamProtocol, SwarmEvent, ToSwarm,
        handler::{ConnectionEvent, FullyNegotiatedInbound},
    },
    tcp, yamux,
};
use libp2p_identity::Keypair;
use rendezvous_core::client::{Client, ClientConfig};
use rendezvous_record::Flavour;
use rendezvous_wire::{Namespace, PROTOCOL, PageWriter, frame};

/// Pages that a walk takes: one with news, and as many without as are read in a row.
const PAGES: u64 = 17;

#[test]
fn a_listing_without_end_is_given_up_with_an_error_that_says_what_to_do_and_what_came_is_printed() {
    let point = Endless::start();
    let ended = run(&["discover", "--point", &point.address, "--json"]);
    let error = ended.error(5);
    assert!(error.contains("listing repeats itself") && error.contains("--limit"), "{error}");
    assert!(error.contains(&point.address), "{error}");
    assert_eq!(ended.stdout.len(), 1, "{ended:?}");
    assert_eq!(point.pages.load(Ordering::SeqCst), PAGES);
}

#[test]
fn less_is_read_with_a_limit_and_then_nothing_is_wrong() {
    let point = Endless::start();
    let ended = run(&["discover", "--point", &point.address, "--json", "--limit", "1"]);
    assert_eq!(ended.succeeded().stdout.len(), 1);
    assert_eq!(point.pages.load(Ordering::SeqCst), 1);
}

#[test]
fn polls_tell_once_that_a_listing_is_given_up_and_follow_what_came() {
    let point = Endless::start();
    let watch = Running::start(&["discover", "--point", &point.address, "--json", "--every", "1"]);
    assert_eq!(text(&watch.line(), "event"), "found");
    let partial = watch.line();
    assert_eq!(text(&partial, "event"), "partial");
    assert!(text(&partial, "error").contains("does not end"), "{partial}");
    assert_eq!(point.pages.load(Ordering::SeqCst), PAGES, "it waits for its back-off");
    watch.signal("INT");
    watch.ended().succeeded();
}

/// A point that lists the same peer on each page, with a new cookie.
struct Endless {
    address: String,
    /// Pages that it was asked for.
    pages: Arc<AtomicU64>,
}

impl Endless {
    fn start() -> Self {
        let pages = Arc::<AtomicU64>::default();
        let counted = pages.clone();
        let (told, listening) = std::sync::mpsc::channel();
        // It ends with the test's process.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(serve(told, counted));
        });
        Self { address: listening.recv().expect("it listens"), pages }
    }
}

async fn serve(told: std::sync::mpsc::Sender<String>, pages: Arc<AtomicU64>) {
    let (sender, mut streams) = mpsc::unbounded();
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .expect("a new key signs")
        .with_behaviour(|_| Acceptor(sender))
        .expect("it is made")
        .build();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("an address")).expect("it listens");
    let envelope = stranger();
    loop {
        tokio::select! {
            event = swarm.select_next_some() => if let SwarmEvent::NewListenAddr { address, .. } = event {
                told.send(format!("{address}/p2p/{}", swarm.local_peer_id())).expect("the test waits");
            },
            Some(stream) = streams.next() => {
                tokio::spawn(answer(stream, pages.clone(), envelope.clone()));
            }
        }
    }
}

/// Answers one request.
async fn answer(mut stream: Stream, pages: Arc<AtomicU64>, envelope: Vec<u8>) {
    let mut bytes = Vec::new();
    while frame::split(&bytes, frame::REQUEST_BYTES_MAX).expect("a frame").is_none() {
        let mut part = [0; 1_024];
        let count = stream.read(&mut part).await.expect("to read");
        if count == 0 {
            return;
        }
        bytes.extend(&part[..count]);
    }
    let number = pages.fetch_add(1, Ordering::SeqCst);
    let mut page = PageWriter::new(frame::PAGE_BYTES_MAX);
    assert!(page.push(b"rendezvous", &envelope, 7_200), "room for a record");
    // The client may have gone.
    let _ = stream.write_all(page.finish(&number.to_be_bytes()).as_bytes()).await;
    let _ = stream.close().await;
}

/// The envelope of a peer.
fn stranger() -> Vec<u8> {
    let now = rendezvous_core::Time::from_unix_millis(1_700_000_000_000);
    let mut client = Client::new(ClientConfig::default(), Keypair::generate_ed25519(), [0; 32]);
    client.set_addresses(now, vec!["/ip4/192.0.2.1/tcp/1".parse().expect("an address")]);
    // A record is signed when it is to be sent.
    let name = Namespace::new("rendezvous").expect("a namespace");
    client.register(now, name, [Keypair::generate_ed25519().public().to_peer_id()], None);
    client.poll_request(now).expect("a REGISTER");
    client.own_record(Flavour::Standard).expect("it has an address").envelope().to_vec()
}

/// Hands each stream of the protocol to the point.
#[derive(Clone)]
struct Acceptor(mpsc::UnboundedSender<Stream>);

impl NetworkBehaviour for Acceptor {
    type ConnectionHandler = Self;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Self, ConnectionDenied> {
        Ok(self.clone())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Self, ConnectionDenied> {
        Ok(self.clone())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, never: Infallible) {
        match never {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, Infallible>> {
        Poll::Pending
    }
}

impl ConnectionHandler for Acceptor {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = DeniedUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<ReadyUpgrade<StreamProtocol>> {
        SubstreamProtocol::new(ReadyUpgrade::new(StreamProtocol::new(PROTOCOL)), ())
    }

    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, (), Infallible>> {
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, never: Infallible) {
        match never {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, ReadyUpgrade<StreamProtocol>, DeniedUpgrade>) {
        if let ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: stream, .. }) = event {
            self.0.unbounded_send(stream).expect("the point runs");
        }
    }
}
