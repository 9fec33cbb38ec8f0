//! A connection over TCP after yamux has been negotiated.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::{PeerId, noise};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    DialError, Encrypted, encrypted,
    frame::{self, ACK, FIN, HEADER_BYTES, Header, RST, SYN, kind},
    select::{HEADER, proposal},
};

/// Chunks that wait to be written.
const QUEUE_MAX: usize = 8;

/// Bytes of one frame that are kept in one piece while it is read.
const READ_BYTES: usize = 64 << 10;

/// What is done with the point's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Frames are read, pings are answered after the delay, streams that the point opens are told that nothing is spoken
    /// here. No window is given back: an answer gets no further than the first 256 KiB.
    Frames {
        /// Time from a ping to its answer.
        pong_delay: Duration,
    },
    /// As [`Reading::Frames`] without a delay, and each stream's window is given back.
    Honest,
    /// Nothing is read.
    Never,
}

/// A connection whose frames are written by its user.
#[derive(Debug)]
pub struct Link {
    out: mpsc::Sender<Vec<u8>>,
    shared: Arc<Shared>,
    next_stream: AtomicU32,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Shared {
    is_closed: AtomicBool,
    closed: Notify,
    bytes_in: AtomicU64,
    resets_in: AtomicU64,
    /// Windows that the point has given beyond the first, by stream.
    windows: Mutex<HashMap<u32, u64>>,
    more_window: Notify,
    /// Who reads a stream.
    readers: Mutex<HashMap<u32, mpsc::UnboundedSender<Vec<u8>>>>,
}

impl Link {
    /// Connects to the point.
    ///
    /// # Errors
    /// See [`encrypted`].
    pub async fn dial(
        source: SocketAddr,
        target: SocketAddr,
        point: PeerId,
        noise: noise::Config,
        reading: Reading,
    ) -> Result<Self, DialError> {
        Ok(Self::over(encrypted(source, target, point, noise).await?, reading))
    }

    /// Drives a connection that is there.
    #[must_use]
    pub fn over(io: Encrypted, reading: Reading) -> Self {
        let (out, mut queue) = mpsc::channel::<Vec<u8>>(QUEUE_MAX);
        let shared = Arc::<Shared>::default();
        let (reader, mut writer) = io.split();
        let mut tasks = JoinSet::new();
        let writing = Arc::clone(&shared);
        tasks.spawn(async move {
            while let Some(bytes) = queue.recv().await {
                if writer.write_all(&bytes).await.is_err() {
                    break;
                }
                if queue.is_empty() && writer.flush().await.is_err() {
                    break;
                }
            }
            writing.close();
        });
        if reading == Reading::Never {
            // The half must live on: without it the connection would be closed.
            tasks.spawn(async move {
                let _reader = reader;
                std::future::pending::<()>().await;
            });
        } else {
            tasks.spawn(read(reader, reading, out.clone(), Arc::clone(&shared)));
        }
        Self { out, shared, next_stream: AtomicU32::new(1), _tasks: tasks }
    }

    /// A number for a stream that this side opens.
    pub fn next_stream(&self) -> u32 {
        self.next_stream.fetch_add(2, Relaxed)
    }

    /// Queues bytes as they are. `false` if the connection has ended.
    pub async fn send(&self, bytes: Vec<u8>) -> bool {
        tokio::select! {
            biased;
            () = self.closed() => false,
            sent = self.out.send(bytes) => sent.is_ok(),
        }
    }

    /// Opens a stream with these bytes in one frame, at most 256 KiB. `None` if the connection has ended.
    pub async fn open(&self, payload: &[u8]) -> Option<u32> {
        let stream = self.next_stream();
        let mut bytes = Vec::with_capacity(payload.len() + HEADER_BYTES);
        frame::data(SYN, stream, payload, &mut bytes);
        self.send(bytes).await.then_some(stream)
    }

    /// Opens a stream with these bytes, and gives what the point writes on it. The end of the stream ends the channel.
    pub async fn open_read(&self, payload: &[u8]) -> Option<(u32, mpsc::UnboundedReceiver<Vec<u8>>)> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let stream = self.next_stream();
        lock(&self.shared.readers).insert(stream, sender);
        let mut bytes = Vec::with_capacity(payload.len() + HEADER_BYTES);
        frame::data(SYN, stream, payload, &mut bytes);
        self.send(bytes).await.then_some((stream, receiver))
    }

    /// Bytes of window that the point has given for a stream beyond the first 256 KiB.
    #[must_use]
    pub fn window_given(&self, stream: u32) -> u64 {
        lock(&self.shared.windows).get(&stream).copied().unwrap_or(0)
    }

    /// Waits for more window of any stream, the end of the connection, or the deadline.
    pub async fn more_window(&self, deadline: Instant) {
        // A short limit covers a notice that came between the look and the wait.
        let deadline = deadline.min(Instant::now() + Duration::from_millis(20));
        let _ = timeout_at(deadline, self.shared.more_window.notified()).await;
    }

    /// Comes when the connection has ended.
    pub async fn closed(&self) {
        loop {
            let closed = self.shared.closed.notified();
            if self.is_closed() {
                return;
            }
            closed.await;
        }
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed.load(Relaxed)
    }

    /// Bytes of streams that the point has sent.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.shared.bytes_in.load(Relaxed)
    }

    /// Streams that the point has reset.
    #[must_use]
    pub fn resets_in(&self) -> u64 {
        self.shared.resets_in.load(Relaxed)
    }
}

impl Shared {
    fn close(&self) {
        self.is_closed.store(true, Relaxed);
        lock(&self.readers).clear();
        self.closed.notify_waiters();
    }

    fn on_frame(&self, header: Header, reading: Reading) -> Vec<u8> {
        let mut answer = Vec::new();
        match header.kind {
            kind::WINDOW if header.len > 0 => {
                *lock(&self.windows).entry(header.stream).or_default() += u64::from(header.len);
                self.more_window.notify_waiters();
            }
            kind::DATA if header.len > 0 => {
                self.bytes_in.fetch_add(u64::from(header.len), Relaxed);
                if reading == Reading::Honest {
                    frame::window(0, header.stream, header.len, &mut answer);
                }
            }
            _ => {}
        }
        let is_stream = matches!(header.kind, kind::DATA | kind::WINDOW);
        if is_stream && header.flags & SYN != 0 {
            // The point asks for identify or ping.
            let mut payload = proposal(HEADER);
            payload.extend_from_slice(&proposal("na"));
            frame::data(ACK, header.stream, &payload, &mut answer);
        }
        if is_stream && header.flags & RST != 0 {
            self.resets_in.fetch_add(1, Relaxed);
        }
        answer
    }

    fn on_data(&self, header: Header, bytes: Vec<u8>) {
        let mut readers = lock(&self.readers);
        if let Some(reader) = readers.get(&header.stream) {
            // Nobody may read it any more.
            let _ = reader.send(bytes);
        }
        if header.flags & (FIN | RST) != 0 {
            readers.remove(&header.stream);
        }
    }
}

async fn read(
    mut reader: futures::io::ReadHalf<Encrypted>,
    reading: Reading,
    out: mpsc::Sender<Vec<u8>>,
    shared: Arc<Shared>,
) {
    let mut pongs = JoinSet::new();
    let mut header = [0; HEADER_BYTES];
    let mut scratch = vec![0; READ_BYTES];
    while reader.read_exact(&mut header).await.is_ok() {
        let header = Header::read(&header);
        let answer = shared.on_frame(header, reading);
        // A full queue is no reason to stop reading: what is lost then is window, and a ping's answer.
        if !answer.is_empty() && out.try_send(answer.clone()).is_err() {
            let out = out.clone();
            pongs.spawn(async move {
                let _ = out.send(answer).await;
            });
        }
        match header.kind {
            kind::PING if header.flags & SYN != 0 => {
                let delay = match reading {
                    Reading::Frames { pong_delay } => pong_delay,
                    Reading::Honest | Reading::Never => Duration::ZERO,
                };
                let (out, at) = (out.clone(), Instant::now() + delay);
                pongs.spawn(async move {
                    sleep_until(at).await;
                    let mut bytes = Vec::new();
                    frame::header(kind::PING, ACK, 0, header.len, &mut bytes);
                    let _ = out.send(bytes).await;
                });
            }
            kind::GO_AWAY => break,
            kind::DATA => {
                let mut left = header.len as usize;
                let mut is_whole = true;
                while left > 0 {
                    let part = left.min(scratch.len());
                    if reader.read_exact(&mut scratch[..part]).await.is_err() {
                        is_whole = false;
                        break;
                    }
                    left -= part;
                    shared.on_data(Header { flags: 0, ..header }, scratch[..part].to_vec());
                }
                if !is_whole {
                    break;
                }
                shared.on_data(header, Vec::new());
            }
            kind::WINDOW if header.flags & (FIN | RST) != 0 => shared.on_data(header, Vec::new()),
            _ => {}
        }
        while pongs.try_join_next().is_some() {}
    }
    shared.close();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
