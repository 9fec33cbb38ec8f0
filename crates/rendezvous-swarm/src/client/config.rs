//! What the behaviour is told once.

use std::time::Duration;

use libp2p_swarm::StreamProtocol;
use rendezvous_core::client::ClientConfig;
use rendezvous_record::Limits;
use rendezvous_wire::PROTOCOL;

use super::offers::OfferLimits;

/// Settings of a [`Behaviour`](super::Behaviour).
///
/// ```
/// use std::time::Duration;
/// use rendezvous_swarm::client::{ClientConfig, Config};
///
/// let client = ClientConfig { request_timeout: Duration::from_secs(5), ..ClientConfig::default() };
/// let config = Config { client, ..Config::default() };
/// assert_eq!(config.streams_max, 16);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Settings of the state machine: time-outs, back-off, bounds of what is kept.
    pub client: ClientConfig,
    /// Protocol that points are asked for, but for those of another dialect. Default: `/rendezvous/1.0.0`.
    pub protocol: StreamProtocol,
    /// Bounds of the records that are read.
    pub reads: Limits,
    /// Time for opening a stream and agreeing on the protocol, within the request's own deadline. Default: 10 s.
    pub negotiation_timeout: Duration,
    /// Most requests on their way on one connection; further ones wait in its handler. Default: 16. 0 acts as 1.
    pub streams_max: usize,
    /// Whether streams are kept for further requests where the point keeps them open: see "Streams" in the module's
    /// documentation. Default: yes.
    pub reuse_streams: bool,
    /// Whether the addresses of discovered peers are reported to the swarm and its other behaviours. Default: yes.
    ///
    /// A dial by peer id finds them in either case.
    pub announce_addresses: bool,
    /// Most addresses of discovered peers that are reported, and that dials by peer id are given.
    pub offers: OfferLimits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            client: ClientConfig::default(),
            protocol: StreamProtocol::new(PROTOCOL),
            reads: Limits::default(),
            negotiation_timeout: Duration::from_secs(10),
            streams_max: 16,
            reuse_streams: true,
            announce_addresses: true,
            offers: OfferLimits::default(),
        }
    }
}
