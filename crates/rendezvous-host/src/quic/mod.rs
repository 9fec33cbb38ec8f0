//! QUIC, over quinn.
//!
//! libp2p-quic hides the settings that bound a connection: how much of an answer quinn takes before the peer has acknowledged
//! it (10 MB by default), how many Initials wait and how much is buffered for them (100 MiB), and the choice to have an
//! address validated before the TLS handshake is paid for (RFC 9000, section 8.1.2). So the transport is put together
//! here; the handshake's certificate is libp2p-tls's, as the
//! [libp2p TLS specification](https://github.com/libp2p/specs/blob/master/tls/tls.md) has it.

mod listener;
mod muxer;
mod settings;
mod transport;

pub use self::settings::QuicError;
pub(crate) use self::{muxer::Muxer, transport::Quic};
