//! The point's shell: accepts, reads frames, asks the core, writes frames.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_std::{
    future::timeout,
    net::{TcpListener, TcpStream},
    stream::StreamExt as _,
    task,
};
use asynchronous_codec::FramedRead;
use bytes::Bytes;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p_identity::{Keypair, PeerId};
use rendezvous_core::server::{
    Command, Discovered, Refusal, Registered, RequestReader, Requester, Server, ServerConfig, registered_frame,
};
use rendezvous_wire::{FrameCodec, MessageType, frame};

use crate::Clock;

/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(300);

/// How long an answer may take to be written.
const WRITE: Duration = Duration::from_secs(10);

pub(crate) struct Point {
    listener: TcpListener,
    id: PeerId,
    shared: Shared,
}

/// What all connections have in common.
#[derive(Clone)]
struct Shared {
    server: Arc<Mutex<Server>>,
    reader: RequestReader,
    clock: Clock,
}

impl Point {
    pub(crate) async fn listen(clock: Clock) -> io::Result<Self> {
        let seed = Keypair::generate_ed25519().public().to_peer_id().to_bytes();
        let seed = seed[seed.len() - 16..].try_into().expect("a peer id has more than 16 bytes");
        let server = Server::new(clock.now(), ServerConfig::default(), seed);
        let shared = Shared { reader: server.reader(), server: Arc::new(Mutex::new(server)), clock };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Ok(Self { listener, id: Keypair::generate_ed25519().public().to_peer_id(), shared })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(crate) fn id(&self) -> PeerId {
        self.id
    }

    /// Serves until it is cancelled.
    pub(crate) async fn serve(self) {
        task::spawn(expire(self.shared.clone()));
        while let Some(Ok(stream)) = self.listener.incoming().next().await {
            let shared = self.shared.clone();
            task::spawn(async move {
                // A connection that fails concerns nobody but its peer.
                let _ = connection(stream, shared).await;
            });
        }
    }
}

/// Takes out what has ended. The core pays a share of that with every request; this does it when nobody asks.
async fn expire(shared: Shared) {
    loop {
        task::sleep(Duration::from_secs(1)).await;
        let now = shared.clock.now();
        shared.lock().handle_timeout(now);
    }
}

async fn connection(stream: TcpStream, shared: Shared) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (read, mut write) = stream.split();
    let mut frames = FramedRead::new(read, FrameCodec::new(frame::REQUEST_BYTES_MAX));
    let Some(claim) = timeout(WRITE, frames.next()).await? else { return Ok(()) };
    let peer = PeerId::from_bytes(&claim?)?;
    while let Some(payload) = timeout(IDLE, frames.next()).await? {
        let Some(answer) = shared.answer(peer, &payload?) else { continue };
        timeout(WRITE, write.write_all(&answer)).await??;
    }
    Ok(())
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The frame that answers a request; `None` for UNREGISTER, which has no answer.
    fn answer(&self, peer: PeerId, payload: &Bytes) -> Option<Vec<u8>> {
        let now = self.clock.now();
        // Decoding and verifying, before the lock is taken.
        let (kind, refusal): (MessageType, Refusal) = match self.reader.read(&peer, payload) {
            Ok(Command::Register(register)) => {
                match self.lock().handle_register(now, &Requester::new(peer), register) {
                    Ok(Registered::Done(ttl)) => return Some(registered_frame(ttl)),
                    Ok(Registered::Pending(_)) => return None,
                    Err(refusal) => (MessageType::Register, refusal),
                }
            }
            Ok(Command::Unregister(unregister)) => {
                self.lock().handle_unregister(now, &peer, &unregister);
                return None;
            }
            Ok(Command::Discover(discover)) => {
                let requester = Requester::new(peer);
                match self.lock().handle_discover(now, &requester, &discover) {
                    Ok(Discovered::Page(page)) => return Some(page.as_bytes().to_vec()),
                    Ok(Discovered::AgentUnknown) => return None,
                    Err(refusal) => (MessageType::Discover, refusal),
                }
            }
            Err(rejected) => {
                self.lock().handle_rejected(&peer, &rejected);
                (rejected.kind?, rejected.refusal)
            }
        };
        let mut frame = Vec::new();
        refusal.encode_frame(kind, &mut frame).then_some(frame)
    }
}
