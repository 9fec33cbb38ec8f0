//! Settings of quinn.

use std::{sync::Arc, time::Duration};

use libp2p::{identity::Keypair, tls};
use quinn::{
    EndpointConfig, IdleTimeout, VarInt,
    crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig},
};

use crate::Config;

/// Silence after which a connection is taken for dead, as libp2p-quic has it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Silence after which a packet is sent, so that routers on the way keep their entries.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Bytes that are buffered for an Initial that waits to be accepted. A client sends no more before it is answered than its
/// ClientHello, in one datagram or two.
const INITIAL_BUFFER_BYTES: u64 = 8 << 10;

/// The settings of all endpoints of a transport.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) endpoint: EndpointConfig,
    pub(super) server: quinn::ServerConfig,
    pub(super) client: quinn::ClientConfig,
    pub(super) handshake_timeout: Duration,
}

/// The key or the settings cannot be used for QUIC.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuicError {
    /// The key cannot sign the certificate.
    #[error(transparent)]
    Certificate(#[from] tls::certificate::GenError),
    /// The TLS library lacks the cipher suite that QUIC begins with.
    #[error(transparent)]
    CipherSuite(#[from] NoInitialCipherSuite),
}

impl Settings {
    pub(super) fn new(keypair: &Keypair, config: &Config) -> Result<Self, QuicError> {
        let window = |bytes: usize| VarInt::from_u32(u32::try_from(bytes).unwrap_or(u32::MAX));
        let mut transport = quinn::TransportConfig::default();
        transport
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .max_concurrent_bidi_streams(window(config.quic_streams_max))
            .datagram_receive_buffer_size(None)
            .keep_alive_interval(Some(KEEP_ALIVE))
            .max_idle_timeout(IdleTimeout::try_from(IDLE_TIMEOUT).ok())
            .allow_spin(false)
            .stream_receive_window(window(config.quic_window))
            .receive_window(window(config.quic_window))
            .send_window(u64::try_from(config.quic_window).unwrap_or(u64::MAX));
        let transport = Arc::new(transport);

        let mut server =
            quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls::make_server_config(keypair)?)?));
        let incoming_max = config.handshakes_max.max(1);
        server
            .transport_config(transport.clone())
            // A connection's address is one of the facts that limits go by.
            .migration(false)
            .max_incoming(incoming_max)
            .incoming_buffer_size(INITIAL_BUFFER_BYTES)
            .incoming_buffer_size_total(
                INITIAL_BUFFER_BYTES.saturating_mul(u64::try_from(incoming_max).unwrap_or(u64::MAX)),
            );

        let mut client =
            quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls::make_client_config(keypair, None)?)?));
        client.transport_config(transport);

        // With a key derived from the identity, a peer that comes back after a crash can tell its former peers to begin
        // anew (RFC 9000, section 10.3). RSA keys derive none.
        let reset_key = keypair.derive_secret(b"libp2p quic stateless reset key");
        let mut endpoint = reset_key.map_or_else(EndpointConfig::default, |secret| {
            EndpointConfig::new(Arc::new(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret)))
        });
        endpoint.supported_versions(vec![1]);
        Ok(Self { endpoint, server, client, handshake_timeout: config.handshake_timeout })
    }
}
