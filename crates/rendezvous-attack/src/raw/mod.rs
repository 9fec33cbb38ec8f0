//! A client whose bytes are written by hand: TCP from any source address, multistream-select, noise, then yamux frames.
//!
//! Nothing here keeps to the rules of the muxer unless the caller does. Window, frame size, the answer to a ping and
//! whether anything is read at all are the caller's choice.

pub mod frame;
mod link;
mod quic;
mod select;

use std::{io, net::SocketAddr, time::Duration};

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::{PeerId, core::upgrade::OutboundConnectionUpgrade, identity::Keypair, noise};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

pub use self::{
    link::{Link, Reading},
    quic::{Initials, QuicLink, endpoint},
    select::{HEADER, negotiation, proposal},
};

/// Time for a connection to be set up. A point gives ten seconds.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// The stream under noise.
pub type Encrypted = noise::Output<Compat<TcpStream>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The socket failed, or the point closed it.
    #[error("socket: {0}")]
    Io(#[from] io::Error),
    /// Noise failed.
    #[error("noise: {0}")]
    Noise(#[from] noise::Error),
    /// The point has another identity.
    #[error("the point is {0}")]
    OtherPeer(PeerId),
    /// QUIC failed.
    #[error("quic: {0}")]
    Quic(String),
    /// The point did not answer in time.
    #[error("no answer in {} s", DIAL_TIMEOUT.as_secs())]
    Timeout,
}

/// Opens a TCP connection from `source`, any port.
///
/// # Errors
/// The point does not accept it, or the kernel has no port left for the source.
pub async fn tcp(source: SocketAddr, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(source)?;
    let stream = socket.connect(target).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Opens a TCP connection that a close answers with RST at once, so that the port is free again.
///
/// # Errors
/// As [`tcp`].
pub async fn tcp_without_linger(source: SocketAddr, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(source)?;
    let stream = socket.connect(target).await?;
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(stream)
}

/// Connects, and negotiates noise and yamux.
///
/// # Errors
/// The point refuses, is another peer, or does not answer within ten seconds.
pub async fn encrypted(
    source: SocketAddr,
    target: SocketAddr,
    point: PeerId,
    noise: noise::Config,
) -> Result<Encrypted, DialError> {
    let dial = async {
        let mut plain = tcp(source, target).await?.compat();
        select::negotiate(&mut plain, "/noise").await?;
        let (peer, mut io) = noise.upgrade_outbound(plain, "/noise").await?;
        if peer != point {
            return Err(DialError::OtherPeer(peer));
        }
        select::negotiate(&mut io, "/yamux/1.0.0").await?;
        Ok(io)
    };
    timeout(DIAL_TIMEOUT, dial).await.map_err(|_| DialError::Timeout)?
}

/// A noise configuration for a key. It can be cloned for every connection of that key.
///
/// # Errors
/// The key cannot sign.
pub fn noise(key: &Keypair) -> Result<noise::Config, noise::Error> {
    noise::Config::new(key)
}

/// Negotiates noise and sends the first message of its handshake: the point answers it with its costly half.
///
/// # Errors
/// The point closes the connection.
pub async fn half_handshake(source: SocketAddr, target: SocketAddr, ephemeral: [u8; 32]) -> io::Result<TcpStream> {
    let stream = tcp_without_linger(source, target).await?;
    let mut plain = stream.compat();
    // Everything at once: the point cannot tell it from a client that waits.
    let mut bytes = negotiation("/noise");
    bytes.extend_from_slice(&32_u16.to_be_bytes());
    bytes.extend_from_slice(&ephemeral);
    plain.write_all(&bytes).await?;
    plain.flush().await?;
    // 28 bytes of multistream-select, and the beginning of the second message: the sign that the point has done its work.
    let mut answer = [0; 32];
    plain.read_exact(&mut answer).await?;
    Ok(plain.into_inner())
}
