//! Peers whose streams are pipes in memory.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use libp2p_identity::PeerId;
use rendezvous_node::rpc::{
    ApplicationError, ClientConfig, Context, Incoming, OpenError, Opener, Outgoing, Pipe, Rpc, ServerConfig, Service,
    Services,
};
use rendezvous_wire::frame;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex},
    sync::Notify,
    task::AbortHandle,
};
use tokio_util::compat::TokioAsyncReadCompatExt;

/// Bytes in flight in each direction of a stream.
pub(crate) const PIPE_BYTES: usize = 1 << 10;

pub(crate) const HEADER: u8 = 1;
pub(crate) const ITEM: u8 = 2;
pub(crate) const END: u8 = 3;
pub(crate) const ERROR: u8 = 4;
pub(crate) const CANCEL: u8 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Args {
    pub(crate) a: i64,
    pub(crate) b: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Quotient {
    pub(crate) quo: i64,
    pub(crate) rem: i64,
}

pub(crate) fn args(a: i64, b: i64) -> Args {
    Args { a, b }
}

/// Peers, and what has become of the streams between them.
#[derive(Default)]
pub(crate) struct Net {
    peers: Mutex<HashMap<PeerId, Option<Services>>>,
    pub(crate) opened: AtomicUsize,
    /// Tasks that serve streams.
    pub(crate) serving: Mutex<Vec<AbortHandle>>,
}

/// A peer that calls.
struct At {
    net: Arc<Net>,
    me: PeerId,
}

impl Opener for At {
    fn local_peer(&self) -> PeerId {
        self.me
    }

    fn open(&self, peer: PeerId) -> BoxFuture<'static, Result<Pipe, OpenError>> {
        self.net.opened.fetch_add(1, Ordering::Relaxed);
        let services = self.net.peers.lock().unwrap().get(&peer).cloned();
        let (net, me) = (self.net.clone(), self.me);
        async move {
            let services = services.ok_or_else(|| OpenError::Unreachable("no such peer".into()))?;
            let services = services.ok_or(OpenError::Unsupported)?;
            let (near, far) = duplex(PIPE_BYTES);
            let task = tokio::spawn(services.serve(me, far.compat()));
            net.serving.lock().unwrap().push(task.abort_handle());
            Ok(Pipe::new(near.compat()))
        }
        .boxed()
    }
}

impl Net {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A peer with these services.
    pub(crate) fn add(&self, services: Services) -> PeerId {
        let peer = PeerId::random();
        self.peers.lock().unwrap().insert(peer, Some(services));
        peer
    }

    /// A peer that does not speak the protocol.
    pub(crate) fn add_deaf(&self) -> PeerId {
        let peer = PeerId::random();
        self.peers.lock().unwrap().insert(peer, None);
        peer
    }

    pub(crate) fn rpc_of(self: &Arc<Self>, me: PeerId, services: Services) -> Rpc {
        Rpc::new(Arc::new(At { net: self.clone(), me }), services, ClientConfig::default())
    }

    /// A client of a peer without services.
    pub(crate) fn client(self: &Arc<Self>) -> Rpc {
        self.rpc_of(PeerId::random(), Services::new(ServerConfig::default()))
    }
}

/// A client of these services at another peer, and one at the same.
pub(crate) fn both(services: &Services) -> [(Rpc, PeerId); 2] {
    let net = Net::new();
    let server = net.add(services.clone());
    [(net.client(), server), (net.rpc_of(server, services.clone()), server)]
}

/// A client of these services at another peer.
pub(crate) fn remote(services: &Services) -> (Rpc, PeerId) {
    let [remote, _] = both(services);
    remote
}

pub(crate) fn services_with(service: Service) -> Services {
    let services = Services::new(ServerConfig::default());
    services.register(service).unwrap();
    services
}

/// Tells when a method has begun, and when it was dropped.
#[derive(Clone, Default)]
pub(crate) struct Probe {
    pub(crate) begun: Arc<Notify>,
    pub(crate) dropped: Arc<Notify>,
}

pub(crate) struct Guard(Arc<Notify>);

impl Probe {
    pub(crate) fn enter(&self) -> Guard {
        self.begun.notify_one();
        Guard(self.dropped.clone())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// The service of go-libp2p-gorpc's tests, and more.
pub(crate) fn arith() -> Service {
    arith_with(Probe::default())
}

pub(crate) fn arith_with(probe: Probe) -> Service {
    let of_sleep = probe.clone();
    Service::new("Arith")
        .unary("Multiply", async |_: Context, Args { a, b }: Args| Ok::<_, ApplicationError>(a * b))
        .unary("Divide", async |_: Context, args: Args| divide(args))
        .unary("Fail", async |_: Context, _: Args| Err::<i64, _>(ApplicationError::new(77, "an error")))
        .unary("Panic", async |_: Context, _: ()| -> Result<(), ApplicationError> { panic!("on purpose") })
        .unary("Caller", async |context: Context, _: ()| Ok::<_, ApplicationError>(context.caller().to_bytes()))
        .unary("Sleep", move |_: Context, secs: u64| {
            let guard = of_sleep.enter();
            async move {
                let _guard = guard;
                tokio::time::sleep(Duration::from_secs(secs)).await;
                Ok::<_, ApplicationError>(())
            }
        })
        .server_streaming("CountTo", async |_: Context, end: u64, mut answer: Outgoing<u64>| {
            // Virtual time stands still while there is work.
            for number in 0..end.min(10_000) {
                answer.send(number).await?;
            }
            Ok::<_, ApplicationError>(())
        })
        .client_streaming("Sum", async |_: Context, mut numbers: Incoming<i64>| {
            let mut sum = 0;
            while let Some(number) = numbers.next().await {
                sum += number;
            }
            Ok::<_, ApplicationError>(sum)
        })
        .bidirectional("DivideMany", move |_: Context, mut args: Incoming<Args>, mut answer: Outgoing<Quotient>| {
            let guard = probe.enter();
            async move {
                let _guard = guard;
                while let Some(args) = args.next().await {
                    if args.a == 1234 {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                    answer.send(divide(args)?).await?;
                }
                Ok::<_, ApplicationError>(())
            }
        })
}

fn divide(Args { a, b }: Args) -> Result<Quotient, ApplicationError> {
    let by_zero = ApplicationError::new(1, "divide by zero");
    Ok(Quotient { quo: a.checked_div(b).ok_or(by_zero)?, rem: a % b })
}

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::append(&[&[kind], body].concat(), &mut bytes);
    bytes
}

/// The bytes of a frame with a value.
pub(crate) fn value_frame(kind: u8, value: &impl Serialize) -> Vec<u8> {
    let mut body = Vec::new();
    ciborium::into_writer(value, &mut body).unwrap();
    frame(kind, &body)
}

#[derive(Serialize)]
struct Header<'a> {
    service: &'a str,
    method: &'a str,
}

pub(crate) fn header_frame(method: &str) -> Vec<u8> {
    value_frame(HEADER, &Header { service: "Arith", method })
}

/// A whole request of one item.
pub(crate) fn request(method: &str, argument: &impl Serialize) -> Vec<u8> {
    [header_frame(method), value_frame(ITEM, argument), frame(END, &[])].concat()
}

/// Serves a stream, whose other end is given, and the task that serves it.
pub(crate) fn serve_raw(services: &Services) -> (DuplexStream, tokio::task::JoinHandle<()>) {
    let (near, far) = duplex(PIPE_BYTES);
    (near, tokio::spawn(services.serve(PeerId::random(), far.compat())))
}

/// A peer that answers every call with these bytes, and then reads and says nothing.
pub(crate) struct Scripted(pub(crate) Vec<u8>);

impl Opener for Scripted {
    fn local_peer(&self) -> PeerId {
        PeerId::from_bytes(&[0, 0]).unwrap()
    }

    fn open(&self, _: PeerId) -> BoxFuture<'static, Result<Pipe, OpenError>> {
        let script = self.0.clone();
        async move {
            let (near, mut far) = duplex(1 << 20);
            tokio::spawn(async move {
                far.write_all(&script).await.unwrap();
                tokio::io::copy(&mut far, &mut tokio::io::sink()).await.unwrap();
            });
            Ok(Pipe::new(near.compat()))
        }
        .boxed()
    }
}

pub(crate) fn scripted(script: impl AsRef<[u8]>) -> (Rpc, PeerId) {
    let services = Services::new(ServerConfig::default());
    let rpc = Rpc::new(Arc::new(Scripted(script.as_ref().to_vec())), services, ClientConfig::default());
    (rpc, PeerId::random())
}

/// Whether nothing of it happens, with everything that can happen having happened.
pub(crate) async fn never(event: &Notify) -> bool {
    tokio::time::timeout(Duration::from_millis(1), event.notified()).await.is_err()
}
