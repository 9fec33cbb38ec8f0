//! QUIC from any source address, with windows of the caller's choice, and bare Initials.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use libp2p::{PeerId, identity::Keypair};
use quinn::{ClientConfig, Endpoint, EndpointConfig, TokioRuntime, TransportConfig, crypto::rustls::QuicClientConfig};
use tokio::time::timeout;

use super::{DIAL_TIMEOUT, DialError};

/// The name that TLS wants and nobody looks at.
const SERVER_NAME: &str = "l";

/// A connection over QUIC.
#[derive(Debug)]
pub struct QuicLink {
    /// The connection.
    pub connection: quinn::Connection,
    _endpoint: Endpoint,
}

/// Settings of a QUIC client with this key that gives `window_bytes` to each stream of the point, and no more in total
/// than to sixteen of them.
fn config(key: &Keypair, point: PeerId, window_bytes: u32) -> Result<ClientConfig, DialError> {
    let tls = libp2p_tls::make_client_config(key, Some(point)).map_err(|error| DialError::Quic(error.to_string()))?;
    let crypto = QuicClientConfig::try_from(tls).map_err(|error| DialError::Quic(error.to_string()))?;
    let mut transport = TransportConfig::default();
    transport.max_concurrent_uni_streams(0_u32.into());
    transport.stream_receive_window(window_bytes.into());
    transport.receive_window(window_bytes.saturating_mul(16).into());
    transport.keep_alive_interval(Some(Duration::from_secs(3)));
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// A client's endpoint at this address.
///
/// # Errors
/// The address cannot be bound.
pub fn endpoint(source: SocketAddr) -> Result<Endpoint, DialError> {
    let socket = UdpSocket::bind(source)?;
    Ok(Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))?)
}

impl QuicLink {
    /// Connects to the point.
    ///
    /// # Errors
    /// The point refuses, or does not answer within ten seconds.
    pub async fn dial(
        source: SocketAddr,
        target: SocketAddr,
        point: PeerId,
        key: &Keypair,
        window_bytes: u32,
    ) -> Result<Self, DialError> {
        let endpoint = endpoint(source)?;
        let connecting = endpoint
            .connect_with(config(key, point, window_bytes)?, target, SERVER_NAME)
            .map_err(|error| DialError::Quic(error.to_string()))?;
        let connection = timeout(DIAL_TIMEOUT, connecting).await.map_err(|_| DialError::Timeout)?;
        let connection = connection.map_err(|error| DialError::Quic(error.to_string()))?;
        Ok(Self { connection, _endpoint: endpoint })
    }
}

/// Clients that begin a connection and go no further.
#[derive(Debug)]
pub struct Initials {
    endpoint: quinn_proto::Endpoint,
    config: ClientConfig,
    target: SocketAddr,
}

impl Initials {
    /// Clients of this key.
    ///
    /// # Errors
    /// The key cannot make a certificate.
    pub fn new(key: &Keypair, point: PeerId, target: SocketAddr) -> Result<Self, DialError> {
        let endpoint = quinn_proto::Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
        Ok(Self { endpoint, config: config(key, point, 64 << 10)?, target })
    }

    /// The datagrams of another client.
    ///
    /// # Errors
    /// There are too many connections at this end.
    pub fn next_client(&mut self) -> Result<Vec<Vec<u8>>, DialError> {
        let now = Instant::now();
        let (handle, mut connection) = self
            .endpoint
            .connect(now, self.config.clone(), self.target, SERVER_NAME)
            .map_err(|error| DialError::Quic(error.to_string()))?;
        let mut datagrams = Vec::new();
        let mut buffer = Vec::new();
        while let Some(transmit) = connection.poll_transmit(now, 1, &mut buffer) {
            datagrams.push(buffer[..transmit.size].to_vec());
            buffer.clear();
        }
        // Its place at this end is free for the next one.
        self.endpoint.handle_event(handle, quinn_proto::EndpointEvent::drained());
        Ok(datagrams)
    }
}
