//! What an attack is given: the point, its sources, its end, and sessions of either carrier.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use libp2p::{PeerId, identity::Keypair, noise};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    point::Target,
    raw::{DialError, Link, QuicLink, Reading, frame},
    request,
    sources::Sources,
};

/// Window of a stream that is not read, over QUIC: the point can write no more than this on each.
const UNREAD_WINDOW_BYTES: u32 = 4 << 10;

/// Window of a stream that is read, over QUIC.
const READ_WINDOW_BYTES: u32 = 1 << 20;

/// Time before a session that was refused or closed is dialled again.
const REDIAL_AFTER: Duration = Duration::from_millis(5);

/// What carries a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Carrier {
    /// TCP, noise and yamux.
    Tcp,
    /// QUIC.
    Quic,
}

impl std::fmt::Display for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
        })
    }
}

/// What an attack has done.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections that were set up.
    pub connections: AtomicU64,
    /// Dials that failed.
    pub refused: AtomicU64,
    /// Connections that the point has ended.
    pub closed: AtomicU64,
    /// Streams that were opened, or whatever else the attack counts.
    pub done: AtomicU64,
    /// Bytes of payload that were sent.
    pub bytes: AtomicU64,
}

impl Counts {
    /// As one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "connections": self.connections.load(Relaxed),
            "refused": self.refused.load(Relaxed),
            "closed": self.closed.load(Relaxed),
            "done": self.done.load(Relaxed),
            "bytes": self.bytes.load(Relaxed),
        })
    }
}

/// Where an attack takes place.
#[derive(Clone, Debug)]
pub struct Arena {
    /// The point, or the sink.
    pub target: Target,
    /// Where the attacker's sockets are bound.
    pub sources: Sources,
    /// What carries its sessions.
    pub carrier: Carrier,
    /// When it ends.
    pub end: Instant,
    /// What it has done.
    pub counts: Arc<Counts>,
    keys: Arc<AtomicU32>,
}

impl Arena {
    /// An arena that closes at `end`.
    #[must_use]
    pub fn new(target: Target, sources: Sources, carrier: Carrier, end: Instant) -> Self {
        Self { target, sources, carrier, end, counts: Arc::default(), keys: Arc::default() }
    }

    /// Whether the attack is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Waits for the end.
    pub async fn over(&self) {
        tokio::time::sleep_until(self.end).await;
    }

    /// A key that no other session has: the point counts connections of one peer.
    #[must_use]
    pub fn fresh_key(&self) -> Keypair {
        let number = self.keys.fetch_add(1, Relaxed);
        // Another key for each run, so that a point with a store does not know it.
        request::key(1, u64::from(number) << 32 | u64::from(std::process::id()))
    }

    /// A session from source number `number`.
    ///
    /// # Errors
    /// The point does not let it in.
    pub async fn session(&self, number: u32, reading: Reading) -> Result<Session, DialError> {
        self.session_of(number, &self.fresh_key(), reading).await
    }

    /// A session of this peer.
    ///
    /// # Errors
    /// The point does not let it in.
    pub async fn session_of(&self, number: u32, key: &Keypair, reading: Reading) -> Result<Session, DialError> {
        let source = self.sources.address(number);
        let dialled = match self.carrier {
            Carrier::Tcp => self.link_of(source, key, reading).await.map(Session::Tcp),
            Carrier::Quic => {
                let window = if reading == Reading::Honest { READ_WINDOW_BYTES } else { UNREAD_WINDOW_BYTES };
                QuicLink::dial(source, self.target.quic, self.target.peer, key, window)
                    .await
                    .map(|link| Session::Quic(link, reading, Mutex::default()))
            }
        };
        self.count(&dialled);
        dialled
    }

    /// A connection over TCP whatever the carrier is.
    ///
    /// # Errors
    /// The point does not let it in.
    pub async fn link(&self, number: u32, reading: Reading) -> Result<Link, DialError> {
        let link = self.link_of(self.sources.address(number), &self.fresh_key(), reading).await;
        self.count(&link);
        link
    }

    async fn link_of(&self, source: SocketAddr, key: &Keypair, reading: Reading) -> Result<Link, DialError> {
        Link::dial(source, self.target.tcp, self.target.peer, noise::Config::new(key)?, reading).await
    }

    fn count<T>(&self, dialled: &Result<T, DialError>) {
        let counter = if dialled.is_ok() { &self.counts.connections } else { &self.counts.refused };
        counter.fetch_add(1, Relaxed);
    }

    /// The point's identity.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.target.peer
    }

    /// Runs `act` for each number below `count` at the same time until the end, and again whenever it returns: `false`
    /// means that the point has refused or closed the session.
    pub async fn each<F, R>(&self, count: u32, act: F)
    where
        F: Fn(Self, u32) -> R + Clone + Send + 'static,
        R: Future<Output = bool> + Send + 'static,
    {
        let mut actors = JoinSet::new();
        for number in 0..count {
            let (arena, act) = (self.clone(), act.clone());
            actors.spawn(async move {
                while !arena.is_over() {
                    if !act(arena.clone(), number).await {
                        arena.counts.closed.fetch_add(1, Relaxed);
                        sleep(REDIAL_AFTER).await;
                    }
                }
            });
        }
        let _ = timeout_at(self.end, async { while actors.join_next().await.is_some() {} }).await;
    }
}

/// A connection of either carrier.
#[derive(Debug)]
pub enum Session {
    /// Over TCP.
    Tcp(Link),
    /// Over QUIC. Streams that stay open are kept here.
    Quic(QuicLink, Reading, Mutex<Vec<(quinn::SendStream, quinn::RecvStream)>>),
}

/// What becomes of a stream after its bytes have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It stays open.
    Keep,
    /// It is reset.
    Reset,
    /// Its writing half ends.
    Finish,
}

impl Session {
    /// Opens so many streams with these bytes, over TCP by one write. `false` if the connection has ended.
    pub async fn open_many(&self, payload: &[u8], then: Then, count: usize) -> bool {
        match self {
            Self::Tcp(link) => {
                let mut bytes = Vec::with_capacity(count * (payload.len() + 2 * frame::HEADER_BYTES));
                for _ in 0..count {
                    append_stream(link.next_stream(), payload, then, &mut bytes);
                }
                link.send(bytes).await
            }
            Self::Quic(..) => {
                for _ in 0..count {
                    if !self.open(payload, then).await {
                        return false;
                    }
                }
                true
            }
        }
    }

    /// Opens a stream with these bytes. `false` if the connection has ended.
    pub async fn open(&self, payload: &[u8], then: Then) -> bool {
        match self {
            Self::Tcp(link) => {
                let mut bytes = Vec::with_capacity(payload.len() + 2 * frame::HEADER_BYTES);
                append_stream(link.next_stream(), payload, then, &mut bytes);
                link.send(bytes).await
            }
            Self::Quic(link, reading, kept) => {
                let Ok((mut send, mut recv)) = link.connection.open_bi().await else { return false };
                if send.write_all(payload).await.is_err() {
                    // A stream that was reset is no end of the connection.
                    return link.connection.close_reason().is_none();
                }
                match then {
                    Then::Reset => {
                        let _ = send.reset(0_u32.into());
                        let _ = recv.stop(0_u32.into());
                        return true;
                    }
                    // An error says that it has been reset.
                    Then::Finish => drop(send.finish()),
                    Then::Keep => {}
                }
                if *reading == Reading::Honest {
                    tokio::spawn(async move {
                        let _ = recv.read_to_end(8 << 20).await;
                        drop(send);
                    });
                } else {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push((send, recv));
                }
                true
            }
        }
    }

    /// Comes when the connection has ended.
    pub async fn closed(&self) {
        match self {
            Self::Tcp(link) => link.closed().await,
            Self::Quic(link, ..) => drop(link.connection.closed().await),
        }
    }
}

/// Appends the frames of a stream that is opened, written, and then treated so.
fn append_stream(stream: u32, payload: &[u8], then: Then, bytes: &mut Vec<u8>) {
    frame::data(frame::SYN, stream, payload, bytes);
    match then {
        Then::Keep => {}
        Then::Reset => frame::data(frame::RST, stream, &[], bytes),
        Then::Finish => frame::data(frame::FIN, stream, &[], bytes),
    }
}
