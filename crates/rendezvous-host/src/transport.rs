//! TCP with noise and yamux, and QUIC, put together with their bounds.

use std::io;

use libp2p::{
    Multiaddr, PeerId, Transport as _,
    core::{
        ConnectedPoint,
        muxing::StreamMuxerBox,
        transport::{Boxed, timeout::TransportTimeout},
    },
    dns,
    identity::Keypair,
    noise, tcp,
};
use rendezvous_swarm::origin_of;

use crate::{
    guard::Guard,
    handshake::{Carrier, Gate},
    muxer,
    quic::{self, Quic, QuicError},
};

/// The transport cannot be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The key cannot sign the handshake's key.
    #[error("the key cannot sign for connections: {0}")]
    Noise(#[from] noise::Error),
    /// The key or the settings cannot be used for QUIC.
    #[error("QUIC cannot be set up: {0}")]
    Quic(#[from] QuicError),
}

/// An error of TCP as the operating system tells it. The layers above show the source of their error alone.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct TcpError(#[source] io::Error);

/// TCP with noise and yamux, and QUIC, to addresses of numbers and of names, within the bounds of a [`Guard`].
///
/// Must be called, and its connections run, within a tokio runtime.
///
/// Names are resolved by the system's name servers. Without a configuration of name servers, `localhost` is known and other
/// names are errors of their dials.
///
/// # Errors
/// [`TransportError`] if the key cannot be used.
pub fn transport(keypair: &Keypair, guard: &Guard) -> Result<Boxed<(PeerId, StreamMuxerBox)>, TransportError> {
    let named = match dns::tokio::Transport::system(direct(keypair, guard)?) {
        Ok(named) => named,
        Err(error) => {
            tracing::debug!(%error, "without a configuration of name servers");
            without_servers(direct(keypair, guard)?)
        }
    };
    Ok(TransportTimeout::new(named, guard.config().handshake_timeout).boxed())
}

/// Names that need no server.
fn without_servers<T>(transport: T) -> dns::tokio::Transport<T> {
    dns::tokio::Transport::custom(transport, dns::ResolverConfig::default(), dns::ResolverOpts::default())
}

/// TCP and QUIC, to addresses of numbers.
fn direct(keypair: &Keypair, guard: &Guard) -> Result<Boxed<(PeerId, StreamMuxerBox)>, TransportError> {
    let gated = |inner, carrier| Gate::new(inner, guard.clone(), carrier);
    let tcp = gated(over_tcp(keypair, guard)?, Carrier::Tcp);
    let quic = gated(over_quic(keypair, guard)?, Carrier::Quic);
    Ok(tcp.or_transport(quic).map(|connected, _| connected.into_inner()).map_err(|error| error.into_inner()).boxed())
}

fn over_tcp(keypair: &Keypair, guard: &Guard) -> Result<Boxed<(PeerId, StreamMuxerBox)>, TransportError> {
    let guard = guard.clone();
    let version = guard.config().negotiation;
    Ok(tcp::tokio::Transport::new(tcp::Config::default())
        .map_err(TcpError)
        .upgrade(version)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex_ext(move |_, point| {
            let origin = origin_of(&guard.config().exempt, remote(point));
            muxer::Upgrade::new(guard, origin)
        })
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .map_err(io::Error::other)
        .boxed())
}

fn over_quic(keypair: &Keypair, guard: &Guard) -> Result<Boxed<(PeerId, StreamMuxerBox)>, TransportError> {
    let quic = Quic::new(keypair, guard)?;
    let guard = guard.clone();
    let bounded = quic.map(move |(peer, connection), point| {
        let origin = origin_of(&guard.config().exempt, remote(&point));
        (peer, StreamMuxerBox::new(quic::Muxer::new(connection, guard.connect(origin))))
    });
    Ok(bounded.boxed())
}

fn remote(point: &ConnectedPoint) -> &Multiaddr {
    match point {
        ConnectedPoint::Dialer { address, .. } => address,
        ConnectedPoint::Listener { send_back_addr, .. } => send_back_addr,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use libp2p::core::{
        Endpoint,
        transport::{DialOpts, PortUse},
    };

    use super::*;

    #[tokio::test]
    async fn without_name_servers_localhost_is_known_and_other_names_are_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let mut transport = without_servers(tcp::tokio::Transport::default());
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let mut dial = |name| {
            let address = format!("/dns4/{name}/tcp/{port}").parse().expect("it is a multiaddr");
            transport.dial(address, options).expect("it is dialled")
        };
        assert!(dial("localhost").await.is_ok());
        assert!(dial("example.invalid").await.is_err());
    }
}
