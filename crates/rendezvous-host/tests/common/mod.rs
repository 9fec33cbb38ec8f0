//! A peer that speaks TCP, noise and yamux by hand, and a swarm behind the transport under test.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::{muxing::StreamMuxerBox, upgrade::OutboundConnectionUpgrade as _},
    identity::Keypair,
    multiaddr::Protocol,
    noise, ping, swarm,
    swarm::SwarmEvent,
};
use rendezvous_host::{Config, Guard, transport};
use tokio::net::{TcpSocket, TcpStream};

/// A swarm that answers pings, on a loopback port over TCP and over QUIC.
pub(crate) struct Server {
    pub(crate) guard: Guard,
    pub(crate) tcp: SocketAddr,
    pub(crate) quic: Multiaddr,
}

/// Starts a swarm; it runs as long as the runtime.
pub(crate) async fn serve(change: impl FnOnce(&mut Config)) -> Server {
    let mut config = Config::default();
    change(&mut config);
    let guard = Guard::new(config);
    let mut swarm = swarm_of(&guard);
    for address in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
        swarm.listen_on(address.parse().expect("an address")).expect("it listens");
    }
    let (mut tcp, mut quic) = (None, None);
    while tcp.is_none() || quic.is_none() {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            match address.iter().nth(1) {
                Some(Protocol::Tcp(port)) => tcp = Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)),
                _ => quic = Some(address),
            }
        }
    }
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    Server { guard, tcp: tcp.expect("it listens"), quic: quic.expect("it listens") }
}

/// A swarm that answers pings and keeps its connections.
pub(crate) fn swarm_of(guard: &Guard) -> Swarm<ping::Behaviour> {
    let key = Keypair::generate_ed25519();
    let transport: libp2p::core::transport::Boxed<(PeerId, StreamMuxerBox)> =
        transport(&key, guard).expect("the key can sign");
    let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(std::time::Duration::from_secs(600));
    Swarm::new(transport, ping::Behaviour::default(), key.public().to_peer_id(), config)
}

/// TCP from an address of the loopback network: `127.0.<network>.1` is in a /24 of its own.
pub(crate) async fn connect_from(network: u8, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, network, 1)), 0))?;
    socket.connect(to).await
}

/// An authenticated connection whose yamux frames are written by hand.
pub(crate) struct Raw {
    io: noise::Output<Compat>,
}

impl Raw {
    /// Connects, and negotiates noise and yamux.
    pub(crate) async fn connect(network: u8, to: SocketAddr) -> io::Result<Self> {
        let mut io = Compat(connect_from(network, to).await?);
        negotiate(&mut io, "/noise").await?;
        let noise = noise::Config::new(&Keypair::generate_ed25519()).map_err(io::Error::other)?;
        let (_, mut io) = noise.upgrade_outbound(io, "/noise").await.map_err(io::Error::other)?;
        negotiate(&mut io, "/yamux/1.0.0").await?;
        Ok(Self { io })
    }

    /// Sends a frame: its kind, its flags, its stream, and what its length field says.
    pub(crate) async fn frame(
        &mut self,
        kind: u8,
        flags: u16,
        stream: u32,
        length: u32,
        body: &[u8],
    ) -> io::Result<()> {
        let mut bytes = vec![0, kind];
        bytes.extend(flags.to_be_bytes());
        bytes.extend(stream.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(body);
        self.io.write_all(&bytes).await?;
        self.io.flush().await
    }

    /// Sends a data frame.
    pub(crate) async fn data(&mut self, stream: u32, opens: bool, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len()).expect("a frame is short");
        self.frame(0, u16::from(opens), stream, length, body).await
    }

    /// Opens a stream on which a protocol is negotiated, and answers are not awaited.
    pub(crate) async fn open(&mut self, stream: u32, protocol: &str) -> io::Result<()> {
        let mut body = Vec::new();
        for line in ["/multistream/1.0.0", protocol] {
            body.extend(message(line));
        }
        self.data(stream, true, &body).await
    }
}

/// A message of multistream-select.
fn message(line: &str) -> Vec<u8> {
    let length = u8::try_from(line.len() + 1).expect("a protocol is short");
    assert!(length < 0x80);
    [&[length], line.as_bytes(), b"\n"].concat()
}

async fn negotiate<S: AsyncRead + AsyncWrite + Unpin>(io: &mut S, protocol: &str) -> io::Result<()> {
    for line in ["/multistream/1.0.0", protocol] {
        io.write_all(&message(line)).await?;
    }
    io.flush().await?;
    for line in ["/multistream/1.0.0", protocol] {
        let mut answer = vec![0; message(line).len()];
        io.read_exact(&mut answer).await?;
        if answer != message(line) {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(())
}

/// Tokio's stream with the traits of futures.
pub(crate) struct Compat(TcpStream);

impl AsyncRead for Compat {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = tokio::io::ReadBuf::new(buffer);
        let read = tokio::io::AsyncRead::poll_read(Pin::new(&mut self.0), cx, &mut buffer);
        read.map_ok(|()| buffer.filled().len())
    }
}

impl AsyncWrite for Compat {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write(Pin::new(&mut self.0), cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}
