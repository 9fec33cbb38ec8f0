//! The stream that is handed out.

use std::{
    fmt,
    io::{self, IoSlice, IoSliceMut},
    pin::Pin,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::{PeerId, StreamProtocol, swarm::ConnectionId};
use tokio::sync::OwnedSemaphorePermit;

/// A stream of bytes in both directions, under one protocol, with one peer.
///
/// It is reset when it is dropped without being closed. An inbound one holds its places under
/// [`Config::inbound_per_connection_max`](super::Config::inbound_per_connection_max) and
/// [`Config::inbound_max`](super::Config::inbound_max) until then.
pub struct Stream {
    // Goes before its places, so that whoever gets one of these finds the stream gone.
    inner: libp2p::Stream,
    peer: PeerId,
    connection: ConnectionId,
    protocol: StreamProtocol,
    _places: Option<Places>,
}

/// An inbound stream's places: on its connection, and in all.
pub(super) type Places = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Stream {
    pub(super) fn new(
        inner: libp2p::Stream,
        peer: PeerId,
        connection: ConnectionId,
        protocol: StreamProtocol,
        places: Option<Places>,
    ) -> Self {
        Self { inner, peer, connection, protocol, _places: places }
    }

    /// The peer on the other side, whose identity the connection has verified.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The connection that carries the stream.
    #[must_use]
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// The protocol that was negotiated.
    #[must_use]
    pub fn protocol(&self) -> &StreamProtocol {
        &self.protocol
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read_vectored(cx, bufs)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("peer", &self.peer)
            .field("connection", &self.connection)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}
