//! What a node is made of: [`Builder`].

use core::time::Duration;
use std::collections::BTreeMap;

use libp2p::{Multiaddr, PeerId, StreamProtocol, identify, identity::Keypair, multiaddr::Protocol, ping};
use rendezvous_discovery::Timing;
use rendezvous_swarm::{client, limits, server};

use crate::{error::BuildError, goodbye, identity::Identity, node::Node, rpc, streams, sub_protocol::SubProtocol};

/// Most peers, where nothing else is said: as webchaind has it.
pub const PEERS_MAX: usize = 25;

/// Most inbound handshakes at once, where nothing else is said.
pub const PENDING_MAX: usize = 50;

/// Pings that fail in a row, upon which a peer is dropped.
pub const PINGS_FAILED_MAX: u32 = 2;

/// Settings of Kademlia.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kademlia {
    /// Protocol id of the DHT. Default: `/ipfs/kad/1.0.0`, the public one of IPFS.
    pub protocol: StreamProtocol,
    /// How often it is asked and told. Default: each minute, and each half hour.
    pub timing: Timing,
    /// How long provider records live that others have sent here. Default: 48 h.
    pub record_ttl: Duration,
    /// Time from one refresh of the routing table to the next. Default: 5 min.
    pub bootstrap_every: Duration,
}

impl Default for Kademlia {
    fn default() -> Self {
        Self {
            protocol: StreamProtocol::new("/ipfs/kad/1.0.0"),
            timing: rendezvous_discovery::kad::Config::default().timing,
            record_ttl: Duration::from_secs(48 * 60 * 60),
            bootstrap_every: Duration::from_secs(5 * 60),
        }
    }
}

/// Settings of a [`Node`], which [`build`](Self::build) makes.
///
/// ```
/// use rendezvous_node::{Identity, Node};
///
/// let node = Node::builder()
///     .identity(Identity::Seed(7))
///     .name("chat/1.0")
///     .listen("/ip4/127.0.0.1/tcp/0".parse()?)
///     .peers_max(50)
///     .build()?;
/// assert_eq!(node.id(), Identity::Seed(7).keypair()?.public().to_peer_id());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "it makes a node when it is built"]
pub struct Builder {
    identity: Identity,
    settings: Settings,
    /// Addresses of peers whose ids are still to be read from them.
    static_addrs: Vec<Multiaddr>,
    bootstrap_addrs: Vec<Multiaddr>,
    point_addrs: Vec<Multiaddr>,
}

/// Peers with the addresses at which they are dialled.
pub(crate) type Addresses = BTreeMap<PeerId, Vec<Multiaddr>>;

/// What a node is told once.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) listen: Vec<Multiaddr>,
    pub(crate) external: Vec<Multiaddr>,
    pub(crate) peers_max: usize,
    pub(crate) inbound_max: Option<usize>,
    pub(crate) pending_max: usize,
    pub(crate) limits: Option<limits::Config>,
    pub(crate) static_peers: Addresses,
    pub(crate) trusted: Vec<PeerId>,
    pub(crate) bootstrap: Addresses,
    pub(crate) points: Addresses,
    /// Those of the points that speak the dialect of Waku.
    pub(crate) waku_points: Vec<PeerId>,
    pub(crate) uses_connected_points: bool,
    pub(crate) serves: Option<server::Config>,
    pub(crate) rendezvous: client::Config,
    pub(crate) timing: Timing,
    pub(crate) kademlia: Option<Kademlia>,
    #[cfg(feature = "mdns")]
    pub(crate) is_mdns: bool,
    pub(crate) ping_every: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) dial_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) redial_min: Duration,
    pub(crate) redial_max: Duration,
    pub(crate) connected_max: usize,
    pub(crate) sub_protocols: Vec<SubProtocol>,
    pub(crate) streams: streams::Config,
    pub(crate) rpc_protocol: StreamProtocol,
    pub(crate) rpc_server: rpc::ServerConfig,
    pub(crate) rpc_client: rpc::ClientConfig,
}

impl Default for Builder {
    fn default() -> Self {
        let settings = Settings {
            name: concat!("rendezvous-node/", env!("CARGO_PKG_VERSION")).to_owned(),
            listen: Vec::new(),
            external: Vec::new(),
            peers_max: PEERS_MAX,
            inbound_max: None,
            pending_max: PENDING_MAX,
            limits: None,
            static_peers: Addresses::new(),
            trusted: Vec::new(),
            bootstrap: Addresses::new(),
            points: Addresses::new(),
            waku_points: Vec::new(),
            uses_connected_points: false,
            serves: None,
            rendezvous: client::Config::default(),
            timing: Timing::default(),
            kademlia: None,
            #[cfg(feature = "mdns")]
            is_mdns: false,
            ping_every: Duration::from_secs(15),
            ping_timeout: Duration::from_secs(20),
            dial_timeout: Duration::from_secs(10),
            // Peers are held: their number is bounded, and not their time.
            idle_timeout: Duration::from_secs(u64::MAX),
            redial_min: Duration::from_secs(1),
            redial_max: Duration::from_secs(60),
            connected_max: PEERS_MAX,
            sub_protocols: Vec::new(),
            streams: streams::Config::default(),
            rpc_protocol: StreamProtocol::new(rpc::PROTOCOL),
            rpc_server: rpc::ServerConfig::default(),
            rpc_client: rpc::ClientConfig::default(),
        };
        Self {
            identity: Identity::default(),
            settings,
            static_addrs: Vec::new(),
            bootstrap_addrs: Vec::new(),
            point_addrs: Vec::new(),
        }
    }
}

impl Builder {
    /// Where the key comes from. Default: a new one.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = identity;
        self
    }

    /// What identify tells others that this node calls itself. Default: this crate with its version.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Listens on an address too, over TCP or QUIC. Default: on none.
    pub fn listen(mut self, address: Multiaddr) -> Self {
        self.settings.listen.push(address);
        self
    }

    /// An address at which others reach this node, to be advertised. Default: those that it listens on, without loopback where
    /// there are others.
    pub fn external(mut self, address: Multiaddr) -> Self {
        self.settings.external.push(address);
        self
    }

    /// Most peers; those that are static or trusted are admitted above it. Default: [`PEERS_MAX`].
    pub fn peers_max(mut self, peers_max: usize) -> Self {
        self.settings.peers_max = peers_max;
        self
    }

    /// Most peers that have connected by themselves. Default: two thirds of the most, so that strangers do not take all the room.
    pub fn inbound_max(mut self, inbound_max: usize) -> Self {
        self.settings.inbound_max = Some(inbound_max);
        self
    }

    /// Most inbound handshakes at once. Default: [`PENDING_MAX`].
    pub fn pending_max(mut self, pending_max: usize) -> Self {
        self.settings.pending_max = pending_max;
        self
    }

    /// Limits of inbound connections, those of IP prefixes among them. Default: in accordance with the caps on peers and on
    /// handshakes.
    pub fn limits(mut self, limits: limits::Config) -> Self {
        self.settings.limits = Some(limits);
        self
    }

    /// A peer that is kept connected, by an address that ends with its id.
    pub fn static_peer(mut self, address: Multiaddr) -> Self {
        self.static_addrs.push(address);
        self
    }

    /// A peer that is admitted above the cap.
    pub fn trusted_peer(mut self, peer: PeerId) -> Self {
        self.settings.trusted.push(peer);
        self
    }

    /// A peer to start from, by an address that ends with its id: it is kept connected, and in the routing table.
    pub fn bootstrap(mut self, address: Multiaddr) -> Self {
        self.bootstrap_addrs.push(address);
        self
    }

    /// A rendezvous point to use, by an address that ends with its id. It is kept connected.
    pub fn point(mut self, address: Multiaddr) -> Self {
        self.point_addrs.push(address);
        self
    }

    /// A rendezvous point of the older dialect of Waku, `/vac/waku/rendezvous/0.0.1`. Registrations there last 20 s, and are
    /// renewed within them whatever the [`timing`](Self::timing) is.
    pub fn waku_point(mut self, address: Multiaddr) -> Self {
        self.settings.waku_points.extend(split(&address).map(|(peer, _)| peer));
        self.point(address)
    }

    /// Whether every peer that serves rendezvous is used as a point while it is connected, as nim-libp2p does. Default: no.
    pub fn use_connected_points(mut self, uses: bool) -> Self {
        self.settings.uses_connected_points = uses;
        self
    }

    /// Serves as a rendezvous point.
    pub fn serve_rendezvous(mut self, config: server::Config) -> Self {
        self.settings.serves = Some(config);
        self
    }

    /// Settings of the client of rendezvous points: back-off, time-outs, the dialect of streams.
    pub fn rendezvous_client(mut self, config: client::Config) -> Self {
        self.settings.rendezvous = config;
        self
    }

    /// How often rendezvous points are asked and told, and which lifetime is asked for.
    pub fn timing(mut self, timing: Timing) -> Self {
        self.settings.timing = timing;
        self
    }

    /// Takes part in a Kademlia DHT, and discovers by it.
    pub fn kademlia(mut self, kademlia: Kademlia) -> Self {
        self.settings.kademlia = Some(kademlia);
        self
    }

    /// Discovers peers of the local network by multicast DNS.
    #[cfg(feature = "mdns")]
    pub fn mdns(mut self) -> Self {
        self.settings.is_mdns = true;
        self
    }

    /// How often peers are pinged, and how long an answer may take. [`PINGS_FAILED_MAX`] in a row without one drop the peer, or
    /// of several connections to it the one that they were on; all but the first of them take 10 s more, in which the peer does
    /// not accept a stream. Default: 15 s and 20 s.
    pub fn ping(mut self, every: Duration, timeout: Duration) -> Self {
        (self.settings.ping_every, self.settings.ping_timeout) = (every, timeout);
        self
    }

    /// How long a dial may take, handshake included. Default: 10 s.
    pub fn dial_timeout(mut self, timeout: Duration) -> Self {
        self.settings.dial_timeout = timeout;
        self
    }

    /// How long a connection is held that nobody uses. Default: for ever.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.settings.idle_timeout = timeout;
        self
    }

    /// Shortest and longest wait before a peer that is to be kept connected is dialled again. Default: 1 s and 60 s.
    pub fn redial(mut self, min: Duration, max: Duration) -> Self {
        (self.settings.redial_min, self.settings.redial_max) = (min, max.max(min));
        self
    }

    /// Most peers that are connected because they were [found](Node::connect_to). Default: [`PEERS_MAX`].
    pub fn connected_max(mut self, connected_max: usize) -> Self {
        self.settings.connected_max = connected_max;
        self
    }

    /// Speaks a sub-protocol with every peer that does.
    pub fn sub_protocol(mut self, sub_protocol: SubProtocol) -> Self {
        self.settings.sub_protocols.push(sub_protocol);
        self
    }

    /// Bounds on the streams of sub-protocols and RPC.
    pub fn streams(mut self, config: streams::Config) -> Self {
        self.settings.streams = config;
        self
    }

    /// Bounds on the calls that are served and made.
    pub fn rpc(mut self, server: rpc::ServerConfig, client: rpc::ClientConfig) -> Self {
        (self.settings.rpc_server, self.settings.rpc_client) = (server, client);
        self
    }

    /// Protocol id under which calls are served and made, so that those of an application stay among its own nodes. Default:
    /// [`rpc::PROTOCOL`]. It must be no other that this node speaks.
    pub fn rpc_protocol(mut self, protocol: StreamProtocol) -> Self {
        self.settings.rpc_protocol = protocol;
        self
    }

    /// The node, which does not run yet.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(self) -> Result<Node, BuildError> {
        let Self { identity, mut settings, static_addrs, bootstrap_addrs, point_addrs } = self;
        let keypair: Keypair = identity.keypair()?;
        settings.static_peers = by_peer(static_addrs)?;
        settings.bootstrap = by_peer(bootstrap_addrs)?;
        settings.points = by_peer(point_addrs)?;
        let mut names: Vec<&str> = settings.sub_protocols.iter().map(SubProtocol::name).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(BuildError::DuplicateSubProtocol { name: twice[0].to_owned() });
        }
        if settings.is_spoken(&settings.rpc_protocol) {
            return Err(BuildError::RpcProtocol { protocol: settings.rpc_protocol });
        }
        Ok(Node::new(keypair, settings))
    }
}

/// Who is at an address.
pub(crate) fn split(address: &Multiaddr) -> Option<(PeerId, Multiaddr)> {
    let mut address = address.clone();
    match address.pop() {
        Some(Protocol::P2p(peer)) => Some((peer, address)),
        _ => None,
    }
}

fn by_peer(addresses: Vec<Multiaddr>) -> Result<Addresses, BuildError> {
    let mut peers = Addresses::new();
    for address in addresses {
        let (peer, bare) = split(&address).ok_or(BuildError::NoPeerId { address })?;
        let known = peers.entry(peer).or_default();
        if !bare.is_empty() {
            known.push(bare);
        }
    }
    Ok(peers)
}

impl Settings {
    /// Whether a protocol is in use for something other than calls.
    fn is_spoken(&self, protocol: &StreamProtocol) -> bool {
        let of_sub_protocols = self.sub_protocols.iter().any(|it| it.negotiated(protocol).is_some());
        let of_kademlia = self.kademlia.as_ref().is_some_and(|kademlia| kademlia.protocol == *protocol);
        let of_all = [
            goodbye::PROTOCOL,
            ping::PROTOCOL_NAME,
            identify::PROTOCOL_NAME,
            identify::PUSH_PROTOCOL_NAME,
            rendezvous_swarm::PROTOCOL,
            rendezvous_swarm::WAKU_PROTOCOL,
            rendezvous_swarm::DUAL_PROTOCOL,
        ];
        of_sub_protocols || of_kademlia || of_all.contains(protocol)
    }

    /// Most peers that have connected by themselves.
    pub(crate) fn inbound_max(&self) -> usize {
        self.inbound_max.unwrap_or(self.peers_max - self.peers_max / 3)
    }

    /// The bounds of the transport.
    pub(crate) fn transport(&self) -> rendezvous_host::Config {
        let mut config = rendezvous_host::Config::node();
        config.handshake_timeout = self.dial_timeout;
        config
    }

    /// Limits of inbound connections.
    pub(crate) fn limits(&self) -> limits::Config {
        self.limits.clone().unwrap_or_else(|| {
            let mut limits = limits::Config::default();
            // Whoever is turned away is connected while he is told why.
            limits.connections_max = self.peers_max.saturating_mul(2).saturating_add(self.pending_max);
            limits.pending_max = self.pending_max;
            // One network does not keep all others out.
            limits.connections_per_prefix_max = limits.connections_max - limits.connections_max / 4;
            limits
        })
    }
}
