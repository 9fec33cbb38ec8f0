//! One address that is listened on over QUIC.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures::future::BoxFuture;
use if_watch::{IfEvent, tokio::IfWatcher};
use libp2p::{
    Multiaddr,
    core::transport::{ListenerId, TransportEvent},
    multiaddr::Protocol,
};

/// Events of the local network's interfaces that one poll hands on, and Initials that one poll answers.
const PER_POLL_MAX: usize = 64;

/// An endpoint that accepts connections, and the addresses at which it does.
pub(super) struct Listener {
    id: ListenerId,
    endpoint: quinn::Endpoint,
    local: SocketAddr,
    accept: BoxFuture<'static, Option<quinn::Incoming>>,
    /// Of an address that stands for all interfaces.
    interfaces: Option<IfWatcher>,
    /// The address of one interface, until it is told.
    untold: Option<Multiaddr>,
    state: State,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Its end is to be told.
    Closing,
    Closed,
}

/// What a listener tells.
pub(super) type Event = TransportEvent<quinn::Incoming, io::Error>;

impl Listener {
    pub(super) fn new(id: ListenerId, endpoint: quinn::Endpoint) -> io::Result<Self> {
        let local = endpoint.local_addr()?;
        let interfaces = if local.ip().is_unspecified() { Some(IfWatcher::new()?) } else { None };
        let untold = interfaces.is_none().then(|| to_multiaddr(local));
        let accept = accept(&endpoint);
        Ok(Self { id, endpoint, local, accept, interfaces, untold, state: State::Open, waker: None })
    }

    pub(super) fn id(&self) -> ListenerId {
        self.id
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// The endpoint, if connections to this address can be dialled from it.
    pub(super) fn endpoint_for(&self, remote: IpAddr) -> Option<&quinn::Endpoint> {
        let is_same_family = self.local.is_ipv4() == remote.is_ipv4();
        let is_reachable = self.local.ip().is_unspecified() || self.local.ip().is_loopback() == remote.is_loopback();
        (self.state == State::Open && is_same_family && is_reachable).then_some(&self.endpoint)
    }

    /// Ends the listener and its connections.
    pub(super) fn close(&mut self) {
        if self.state == State::Open {
            self.endpoint.close(0_u32.into(), &[]);
            self.state = State::Closing;
            self.waker.take().into_iter().for_each(Waker::wake);
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, wants_validation: impl Fn() -> bool) -> Poll<Event> {
        match self.state {
            State::Open => {}
            State::Closing => {
                self.state = State::Closed;
                return Poll::Ready(TransportEvent::ListenerClosed { listener_id: self.id, reason: Ok(()) });
            }
            State::Closed => return Poll::Pending,
        }
        if let Some(listen_addr) = self.untold.take() {
            return Poll::Ready(TransportEvent::NewAddress { listener_id: self.id, listen_addr });
        }
        if let Poll::Ready(event) = self.poll_interfaces(cx) {
            return Poll::Ready(event);
        }
        for _ in 0..PER_POLL_MAX {
            let incoming = match Pin::new(&mut self.accept).poll(cx) {
                Poll::Ready(Some(incoming)) => incoming,
                Poll::Ready(None) => {
                    self.state = State::Closed;
                    return Poll::Ready(TransportEvent::ListenerClosed { listener_id: self.id, reason: Ok(()) });
                }
                Poll::Pending => {
                    self.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            };
            self.accept = accept(&self.endpoint);
            if !incoming.remote_address_validated() && wants_validation() {
                // Whoever has forged its address does not get the answer, and the answer costs this side no memory. It
                // fails only for what has been validated.
                let _ = incoming.retry();
                continue;
            }
            let send_back_addr = to_multiaddr(incoming.remote_address());
            let local_addr = to_multiaddr(self.local);
            let listener_id = self.id;
            return Poll::Ready(TransportEvent::Incoming {
                listener_id,
                upgrade: incoming,
                local_addr,
                send_back_addr,
            });
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_interfaces(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let Some(interfaces) = &mut self.interfaces else { return Poll::Pending };
        let listener_id = self.id;
        for _ in 0..PER_POLL_MAX {
            let event = match interfaces.poll_if_event(cx) {
                Poll::Ready(event) => event,
                Poll::Pending => return Poll::Pending,
            };
            let address = |ip: IpAddr| {
                let is_same_family = self.local.is_ipv4() == ip.is_ipv4();
                is_same_family.then(|| to_multiaddr(SocketAddr::new(ip, self.local.port())))
            };
            match event {
                Ok(IfEvent::Up(network)) => {
                    if let Some(listen_addr) = address(network.addr()) {
                        return Poll::Ready(TransportEvent::NewAddress { listener_id, listen_addr });
                    }
                }
                Ok(IfEvent::Down(network)) => {
                    if let Some(listen_addr) = address(network.addr()) {
                        return Poll::Ready(TransportEvent::AddressExpired { listener_id, listen_addr });
                    }
                }
                Err(error) => return Poll::Ready(TransportEvent::ListenerError { listener_id, error }),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn accept(endpoint: &quinn::Endpoint) -> BoxFuture<'static, Option<quinn::Incoming>> {
    let endpoint = endpoint.clone();
    Box::pin(async move { endpoint.accept().await })
}

/// `/ip4/192.0.2.1/udp/4001/quic-v1` of `192.0.2.1:4001`.
pub(super) fn to_multiaddr(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Udp(address.port())).with(Protocol::QuicV1)
}

/// The reverse of [`to_multiaddr`], with a peer id behind it or none. `None` for every other address.
pub(super) fn to_socket_address(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::from(ip),
        Protocol::Ip6(ip) => IpAddr::from(ip),
        _ => return None,
    };
    let Protocol::Udp(port) = parts.next()? else { return None };
    let Protocol::QuicV1 = parts.next()? else { return None };
    match (parts.next(), parts.next()) {
        (None | Some(Protocol::P2p(_)), None) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_quic_version_1_names_a_socket_and_no_other_does() {
        let parse = |text: &str| to_socket_address(&text.parse().expect("it is a multiaddr"));
        for text in ["/ip4/192.0.2.1/udp/4001/quic-v1", "/ip6/2001:db8::1/udp/1/quic-v1"] {
            let address = parse(text).expect("it names a socket");
            assert_eq!(to_multiaddr(address).to_string(), text);
        }
        let peer = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        assert!(parse(&format!("/ip4/192.0.2.1/udp/1/quic-v1/p2p/{peer}")).is_some());
        for text in
            ["/ip4/192.0.2.1/udp/1", "/ip4/192.0.2.1/udp/1/quic", "/ip4/192.0.2.1/tcp/1", "/dns4/a/udp/1/quic-v1"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&format!("/ip4/192.0.2.1/udp/1/quic-v1/p2p/{peer}/p2p-circuit")), None);
    }
}
