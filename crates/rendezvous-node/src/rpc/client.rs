//! The side that calls.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use libp2p_identity::PeerId;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout_at};
use tokio_util::compat::TokioAsyncReadCompatExt as _;

use super::{
    answers::{Answers, RawAnswers},
    call::{Call, CallHandle},
    cbor::EncodeError,
    config::{ClientConfig, ERROR_BYTES_MAX, HEADER_BYTES_MAX},
    error::{CallError, Side},
    frame::{FrameKind, FrameReader, FrameWriter, Header, payload},
    multi::MultiCall,
    opener::{Nowhere, OpenError, Opener},
    pipe::Pipe,
    requests::Requests,
    services::Services,
    session::Origin,
};

/// Bytes in flight, in each direction, of a call of a peer to itself.
const LOCAL_PIPE_BYTES: usize = 64 << 10;

/// Calls methods of other peers, and of this one. Clones are of the same client.
///
/// A call to this peer itself does not touch the network: it takes a pipe in memory to the same [`Services`], with the
/// same encoding and the same limits. The authorization policy is not asked for it.
///
/// Calls run on tokio: those to this peer itself and those of [`go`](Self::go) are tasks of it, and the times are its
/// timers'.
///
/// ```
/// use libp2p_identity::PeerId;
/// use rendezvous_node::rpc::{ApplicationError, CallError, ClientConfig, Context, Rpc, ServerConfig, Service, Services};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let services = Services::new(ServerConfig::default());
/// services.register(Service::new("Arith").unary("Divide", async |_: Context, (a, b): (u64, u64)| {
///     a.checked_div(b).ok_or(ApplicationError::new(1, "division by zero"))
/// }))?;
///
/// let me = PeerId::random();
/// let rpc = Rpc::local(me, services, ClientConfig::default());
/// let quotient: u64 = rpc.call(me, "Arith", "Divide", &(20, 6)).await?;
/// assert_eq!(quotient, 3);
///
/// let error = rpc.call::<_, u64>(me, "Arith", "Divide", &(20, 0)).await.unwrap_err();
/// assert!(matches!(error, CallError::Application(error) if error.code == 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Rpc {
    opener: Arc<dyn Opener>,
    services: Services,
    config: Arc<ClientConfig>,
}

impl Rpc {
    /// A client that reaches other peers by these streams, and this one by its services.
    #[must_use]
    pub fn new(opener: Arc<dyn Opener>, services: Services, config: ClientConfig) -> Self {
        Self { opener, services, config: Arc::new(config.bounded()) }
    }

    /// A client that reaches this peer alone.
    #[must_use]
    pub fn local(local_peer: PeerId, services: Services, config: ClientConfig) -> Self {
        Self::new(Arc::new(Nowhere { local_peer }), services, config)
    }

    /// The same client with another time for each call; `None` leaves it to the server's cap.
    #[must_use]
    pub fn with_timeout(&self, call_timeout: impl Into<Option<Duration>>) -> Self {
        let config = ClientConfig { call_timeout: call_timeout.into(), ..ClientConfig::clone(&self.config) };
        Self { config: Arc::new(config.bounded()), ..self.clone() }
    }

    /// The peer that calls.
    #[must_use]
    pub fn local_peer(&self) -> PeerId {
        self.opener.local_peer()
    }

    /// The services of this peer.
    #[must_use]
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Calls a method that takes one item and gives one.
    ///
    /// The argument is encoded at once, and not borrowed by the call.
    pub fn call<A, R>(&self, peer: PeerId, service: &str, method: &str, argument: &A) -> Call<R>
    where
        A: Serialize + ?Sized,
        R: DeserializeOwned + 'static,
    {
        let request = self.encode(argument);
        let beginning = self.begin(peer, service, method);
        Call::new(async move { Answers::new(beginning.with_request(request?).await?).only().await })
    }

    /// Starts such a call and does not wait for it.
    pub fn go<A, R>(&self, peer: PeerId, service: &str, method: &str, argument: &A) -> CallHandle<R>
    where
        A: Serialize + ?Sized,
        R: DeserializeOwned + Send + 'static,
    {
        CallHandle::start(peer, self.call(peer, service, method, argument))
    }

    /// Makes such a call to each of these peers, to [`ClientConfig::multi_calls_max`] of them at once.
    ///
    /// Results that are not taken hold up further calls.
    pub fn multi_call<A, R>(
        &self,
        peers: impl IntoIterator<Item = PeerId>,
        service: &str,
        method: &str,
        argument: &A,
    ) -> MultiCall<R>
    where
        A: Serialize + ?Sized,
        R: DeserializeOwned + Send + 'static,
    {
        let request = self.encode(argument);
        let peers: Vec<PeerId> = peers.into_iter().collect();
        let (rpc, service, method) = (self.clone(), service.to_owned(), method.to_owned());
        let call = move |peer| {
            let request = request.clone();
            let beginning = rpc.begin(peer, &service, &method);
            async move {
                let answer = async move { Answers::new(beginning.with_request(request?).await?).only().await };
                (peer, answer.await)
            }
        };
        MultiCall::new(stream::iter(peers).map(call).buffered(self.config.multi_calls_max))
    }

    /// Calls a method that takes one item and gives any number.
    pub fn server_streaming<A, R>(&self, peer: PeerId, service: &str, method: &str, argument: &A) -> Call<Answers<R>>
    where
        A: Serialize + ?Sized,
        R: DeserializeOwned + 'static,
    {
        let request = self.encode(argument);
        let beginning = self.begin(peer, service, method);
        Call::new(async move { Ok(Answers::new(beginning.with_request(request?).await?)) })
    }

    /// Calls a method that takes any number of items and gives one, which is awaited behind the items.
    ///
    /// Dropping either part of it cancels the call, but for [`Requests`] that are finished.
    pub fn client_streaming<A, R>(&self, peer: PeerId, service: &str, method: &str) -> Call<(Requests<A>, Call<R>)>
    where
        A: Serialize + 'static,
        R: DeserializeOwned + 'static,
    {
        let beginning = self.begin(peer, service, method);
        Call::new(async move {
            let (requests, answers) = beginning.streaming().await?;
            Ok((requests, Call::new(Answers::new(answers).only())))
        })
    }

    /// Calls a method that takes any number of items and gives any number.
    ///
    /// Dropping either part of it cancels the call, but for [`Requests`] that are finished. Whoever sends much before
    /// reading should do both at once: a method that answers each item waits for its answers to be read.
    pub fn bidirectional<A, R>(&self, peer: PeerId, service: &str, method: &str) -> Call<(Requests<A>, Answers<R>)>
    where
        A: Serialize + 'static,
        R: DeserializeOwned + 'static,
    {
        let beginning = self.begin(peer, service, method);
        Call::new(async move {
            let (requests, answers) = beginning.streaming().await?;
            Ok((requests, Answers::new(answers)))
        })
    }

    fn encode<A: Serialize + ?Sized>(&self, argument: &A) -> Result<Bytes, EncodeError> {
        payload(FrameKind::Item, argument, self.config.message_bytes_max)
    }

    fn begin(&self, peer: PeerId, service: &str, method: &str) -> Beginning {
        Beginning { rpc: self.clone(), peer, service: service.to_owned(), method: method.to_owned() }
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rpc").field("local_peer", &self.local_peer()).finish_non_exhaustive()
    }
}

/// A call that has no stream yet.
struct Beginning {
    rpc: Rpc,
    peer: PeerId,
    service: String,
    method: String,
}

impl Beginning {
    /// Opens the stream for a request that is known in whole; it is written as the answer is waited for.
    async fn with_request(self, request: Bytes) -> Result<RawAnswers, CallError> {
        let message_bytes_max = self.rpc.config.message_bytes_max;
        let (reader, mut writer, deadline) = self.open().await?;
        writer.push(&request);
        writer.push_bare(FrameKind::End);
        Ok(RawAnswers::new(reader, Some(writer), deadline, message_bytes_max))
    }

    /// Opens the stream for a request that comes by and by.
    async fn streaming<A: Serialize>(self) -> Result<(Requests<A>, RawAnswers), CallError> {
        let message_bytes_max = self.rpc.config.message_bytes_max;
        let (reader, mut writer, deadline) = self.open().await?;
        // That it cannot be written is told by the answer.
        let _ = within(deadline, writer.flush()).await?;
        let requests = Requests::new(writer, deadline, message_bytes_max);
        Ok((requests, RawAnswers::new(reader, None, deadline, message_bytes_max)))
    }

    /// Opens the stream; the header is the next to be written.
    async fn open(self) -> Result<(FrameReader, FrameWriter, Option<Instant>), CallError> {
        let config = &self.rpc.config;
        let deadline = config.call_timeout.map(|timeout| Instant::now() + timeout);
        let local_peer = self.rpc.opener.local_peer();
        let pipe = if self.peer == local_peer {
            let (near, far) = tokio::io::duplex(LOCAL_PIPE_BYTES);
            tokio::spawn(self.rpc.services.serve_from(Origin::Local(local_peer), Pipe::new(far.compat())));
            Pipe::new(near.compat())
        } else {
            within(deadline, self.rpc.opener.open(self.peer)).await??
        };
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout_ms = left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        let header = Header { service: self.service, method: self.method, timeout_ms };
        let header = payload(FrameKind::Header, &header, HEADER_BYTES_MAX)?;
        let (reader, writer) = pipe.split();
        let mut writer = FrameWriter::new(writer);
        writer.push(&header);
        let body_bytes_max = config.message_bytes_max.max(ERROR_BYTES_MAX);
        Ok((FrameReader::new(reader, body_bytes_max), writer, deadline))
    }
}

async fn within<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Result<T, CallError> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.map_err(|_| CallError::TimedOut { side: Side::Caller }),
        None => Ok(future.await),
    }
}

impl From<OpenError> for CallError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Unreachable(source) => Self::Unreachable(source),
            OpenError::Unsupported => Self::Unsupported,
        }
    }
}
