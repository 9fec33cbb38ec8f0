//! TCP with noise and yamux, and QUIC, to addresses of numbers and of names.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{
    PeerId, Transport,
    core::{
        muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent},
        transport::{Boxed, timeout::TransportTimeout},
        upgrade,
    },
    dns,
    identity::Keypair,
    noise, quic, tcp, yamux,
};

/// `timeout` is for a whole connection, upgrades included.
pub(crate) fn new(keypair: &Keypair, timeout: Duration) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
    let named = dns::tokio::Transport::system(direct(keypair, timeout)?).or_else(|error| {
        // Whoever names no host needs no server; `localhost` is known without.
        tracing::debug!(%error, "without a configuration of name servers");
        let (config, options) = (dns::ResolverConfig::default(), dns::ResolverOpts::default());
        Ok::<_, io::Error>(dns::tokio::Transport::custom(direct(keypair, timeout)?, config, options))
    })?;
    Ok(TransportTimeout::new(named, timeout).boxed())
}

fn direct(keypair: &Keypair, timeout: Duration) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default())
        .upgrade(upgrade::Version::V1)
        .authenticate(noise::Config::new(keypair).map_err(io::Error::other)?)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(ClosedInTime::new(muxer))));
    let mut config = quic::Config::new(keypair);
    config.handshake_timeout = timeout;
    let quic = quic::tokio::Transport::new(config).map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    Ok(tcp.or_transport(quic).map(|connected, _| connected.into_inner()).boxed())
}

/// How long a connection may take to close in good order. A peer that reads nothing would hold it for as long as it likes, and
/// nobody could connect to it anew.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// A connection that is closed in [`CLOSE_MAX`], whether the other side takes note or not.
struct ClosedInTime<M> {
    muxer: M,
    deadline: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<M> ClosedInTime<M> {
    fn new(muxer: M) -> Self {
        Self { muxer, deadline: None }
    }
}

impl<M: StreamMuxer + Unpin> StreamMuxer for ClosedInTime<M> {
    type Substream = M::Substream;
    type Error = M::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<M::Substream, M::Error>> {
        Pin::new(&mut self.muxer).poll_inbound(cx)
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<M::Substream, M::Error>> {
        Pin::new(&mut self.muxer).poll_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(CLOSE_MAX)));
        if deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.muxer).poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, M::Error>> {
        Pin::new(&mut self.muxer).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The other side takes note of nothing.
    struct Stuck;

    impl StreamMuxer for Stuck {
        type Substream = futures::io::Cursor<Vec<u8>>;
        type Error = io::Error;

        fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
            Poll::Pending
        }

        fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_nothing_does_not_hold_its_connection() {
        let mut muxer = ClosedInTime::new(Stuck);
        let start = tokio::time::Instant::now();
        std::future::poll_fn(|cx| Pin::new(&mut muxer).poll_close(cx)).await.expect("it is closed");
        assert_eq!(start.elapsed(), CLOSE_MAX);
    }
}
