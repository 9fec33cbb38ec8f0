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
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::link::Link;

/// Places in [`Stream::lost`].
const READER: usize = 0;
const WRITER: usize = 1;

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
    /// The end of the connection, for whoever reads and for whoever writes: these may be two tasks.
    lost: [Lost; 2],
    _places: Option<Places>,
}

type Lost = Pin<Box<WaitForCancellationFutureOwned>>;

/// An inbound stream's places: on its connection, and in all.
pub(super) type Places = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Stream {
    pub(super) fn new(
        inner: libp2p::Stream,
        peer: PeerId,
        link: &Link,
        protocol: StreamProtocol,
        places: Option<Places>,
    ) -> Self {
        let lost = [(); 2].map(|()| Box::pin(link.ended().clone().cancelled_owned()));
        Self { inner, peer, connection: link.connection(), protocol, lost, _places: places }
    }

    /// What the stream itself gives, or the end of its connection. A multiplexer that this side closes does not wake its streams.
    fn unless_lost<T>(
        &mut self,
        half: usize,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut libp2p::Stream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match poll(Pin::new(&mut self.inner), cx) {
            Poll::Pending => self.lost[half].as_mut().poll(cx).map(|()| Err(io::ErrorKind::ConnectionAborted.into())),
            ready => ready,
        }
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
        self.unless_lost(READER, cx, |stream, cx| stream.poll_read(cx, buf))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.unless_lost(READER, cx, |stream, cx| stream.poll_read_vectored(cx, bufs))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.unless_lost(WRITER, cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.unless_lost(WRITER, cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unless_lost(WRITER, cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unless_lost(WRITER, cx, |stream, cx| stream.poll_close(cx))
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
