//! Listening and dialling over QUIC.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::future::BoxFuture;
use libp2p::{
    Multiaddr, PeerId,
    core::transport::{DialOpts, ListenerId, PortUse, Transport, TransportError, TransportEvent},
    identity::Keypair,
    tls,
};
use quinn::rustls::pki_types::CertificateDer;
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    listener::{Event, Listener, to_socket_address},
    settings::{QuicError, Settings},
};
use crate::guard::Guard;

/// Handshakes in flight from which on addresses are validated before a handshake is begun: it costs an honest peer a round
/// trip, and keeps those from taking places who forge their addresses.
const UNVALIDATED_MAX: usize = 32;

/// A connection and its peer, or why there is none.
type Connected = io::Result<(PeerId, quinn::Connection)>;

/// QUIC version 1 (RFC 9000) with the handshake of libp2p.
pub(crate) struct Quic {
    settings: Settings,
    guard: Guard,
    listeners: Vec<Listener>,
    /// Endpoints to dial from while nothing is listened on, by whether they are of IPv4.
    dialers: HashMap<bool, quinn::Endpoint>,
    waker: Option<Waker>,
}

impl Quic {
    pub(crate) fn new(keypair: &Keypair, guard: &Guard) -> Result<Self, QuicError> {
        let settings = Settings::new(keypair, guard.config())?;
        Ok(Self { settings, guard: guard.clone(), listeners: Vec::new(), dialers: HashMap::new(), waker: None })
    }

    fn endpoint(&self, local: SocketAddr, accepts: bool) -> io::Result<quinn::Endpoint> {
        let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
        if local.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&local.into())?;
        let server = accepts.then(|| self.settings.server.clone());
        let socket: UdpSocket = socket.into();
        quinn::Endpoint::new(self.settings.endpoint.clone(), server, socket, Arc::new(quinn::TokioRuntime))
    }

    /// An endpoint to dial this address from: that of a listener where one will do, so that both sides see one port.
    fn dialer(&mut self, remote: IpAddr, port_use: PortUse) -> io::Result<quinn::Endpoint> {
        let any = match remote {
            IpAddr::V4(_) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            IpAddr::V6(_) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
        };
        if port_use == PortUse::New {
            return self.endpoint(any, false);
        }
        if let Some(endpoint) = self.listeners.iter().find_map(|listener| listener.endpoint_for(remote)) {
            return Ok(endpoint.clone());
        }
        if let Some(endpoint) = self.dialers.get(&remote.is_ipv4()) {
            return Ok(endpoint.clone());
        }
        let endpoint = self.endpoint(any, false)?;
        self.dialers.insert(remote.is_ipv4(), endpoint.clone());
        Ok(endpoint)
    }
}

impl Transport for Quic {
    type Output = (PeerId, quinn::Connection);
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, Connected>;
    type Dial = BoxFuture<'static, Connected>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        let local = to_socket_address(&address).ok_or(TransportError::MultiaddrNotSupported(address))?;
        let endpoint = self.endpoint(local, true).map_err(TransportError::Other)?;
        self.listeners.push(Listener::new(id, endpoint).map_err(TransportError::Other)?);
        // The listener's endpoint dials from now on. That of the dialler ends with its last connection.
        self.dialers.remove(&local.is_ipv4());
        self.waker.take().into_iter().for_each(Waker::wake);
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let listener = self.listeners.iter_mut().find(|listener| listener.id() == id && !listener.is_closed());
        let waker = &mut self.waker;
        listener.is_some_and(|listener| {
            listener.close();
            waker.take().into_iter().for_each(Waker::wake);
            true
        })
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let remote = to_socket_address(&address).filter(|remote| remote.port() != 0 && !remote.ip().is_unspecified());
        let remote = remote.ok_or(TransportError::MultiaddrNotSupported(address))?;
        let endpoint = self.dialer(remote.ip(), options.port_use).map_err(TransportError::Other)?;
        let (client, timeout) = (self.settings.client.clone(), self.settings.handshake_timeout);
        Ok(Box::pin(async move {
            // The name is not used: libp2p's certificates name a peer.
            let connecting = endpoint.connect_with(client, remote, "l").map_err(io::Error::other)?;
            finish(connecting, timeout).await
        }))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let this = &mut *self;
        let guard = &this.guard;
        for listener in &mut this.listeners {
            if let Poll::Ready(event) = listener.poll(cx, || guard.quic_handshakes() >= UNVALIDATED_MAX) {
                let timeout = this.settings.handshake_timeout;
                return Poll::Ready(accepted(event, timeout));
            }
        }
        this.listeners.retain(|listener| !listener.is_closed());
        this.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Has the handshake begin when its future is first polled, and cost nothing before.
fn accepted(event: Event, timeout: Duration) -> TransportEvent<BoxFuture<'static, Connected>, io::Error> {
    event.map_upgrade(|incoming| {
        let upgrade: BoxFuture<'static, Connected> = Box::pin(async move {
            let connecting = incoming.accept().map_err(io::Error::other)?;
            finish(connecting, timeout).await
        });
        upgrade
    })
}

async fn finish(connecting: quinn::Connecting, timeout: Duration) -> Connected {
    let connected = tokio::time::timeout(timeout, connecting).await;
    let connection = connected.map_err(|_| io::ErrorKind::TimedOut)??;
    let peer = peer_of(&connection).ok_or_else(|| io::Error::other("the peer has shown no certificate of libp2p"))?;
    Ok((peer, connection))
}

/// The peer that the handshake has authenticated. `None` would be a bug: the verifier of libp2p-tls admits no other
/// certificate.
fn peer_of(connection: &quinn::Connection) -> Option<PeerId> {
    let certificates: Box<Vec<CertificateDer<'_>>> = connection.peer_identity()?.downcast().ok()?;
    Some(tls::certificate::parse(certificates.first()?).ok()?.peer_id())
}
