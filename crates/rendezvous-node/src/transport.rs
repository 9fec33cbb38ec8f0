//! TCP with noise and yamux, and QUIC, to addresses of numbers and of names.

use std::{io, time::Duration};

use libp2p::{
    PeerId, Transport,
    core::{
        muxing::StreamMuxerBox,
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
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let mut config = quic::Config::new(keypair);
    config.handshake_timeout = timeout;
    let quic = quic::tokio::Transport::new(config).map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    Ok(tcp.or_transport(quic).map(|connected, _| connected.into_inner()).boxed())
}
