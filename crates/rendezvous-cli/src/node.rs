//! The swarm that the commands share, and its listeners.

use std::{collections::HashSet, io, net::SocketAddr, time::Duration};

use libp2p::{
    Multiaddr, Swarm, TransportError,
    core::{transport::ListenerId, upgrade::Version},
    futures::StreamExt,
    identify,
    identity::Keypair,
    swarm::{self, NetworkBehaviour, SwarmEvent},
};
use rendezvous_host::Guard;
use socket2::{Domain, Socket, Type};
use tokio::time::{Instant, timeout_at};

use crate::{
    address::{self, Carrier},
    error::Error,
    output,
};

/// What identify calls this program.
const AGENT_VERSION: &str = concat!("rendezvous/", env!("CARGO_PKG_VERSION"));

/// What identify calls the family of protocols; others write the same.
const PROTOCOL_VERSION: &str = "ipfs/0.1.0";

/// Time after which a connection that nobody uses is closed. Clients come back to a point every few minutes at most.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A wildcard's interfaces are reported one by one and without an end. After so long a silence they are taken for all.
const INTERFACES_QUIET: Duration = Duration::from_millis(200);

/// Longest wait for the first address of every listener.
const LISTEN_MAX: Duration = Duration::from_secs(5);

/// A swarm with this behaviour, whose connections are within these bounds.
pub(crate) fn swarm<B: NetworkBehaviour>(
    keypair: &Keypair,
    guard: &Guard,
    behaviour: impl FnOnce(&Keypair) -> B,
) -> Result<Swarm<B>, Error> {
    let transport = rendezvous_host::transport(keypair, guard)?;
    let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE_TIMEOUT);
    let swarm = Swarm::new(transport, behaviour(keypair), keypair.public().to_peer_id(), config);
    tracing::debug!(peer_id = %swarm.local_peer_id(), "started");
    Ok(swarm)
}

/// Bounds for a command that talks to points: their answers are larger than requests.
pub(crate) fn client_guard(connect_timeout: Duration) -> Guard {
    let mut config = rendezvous_host::Config::node();
    config.handshake_timeout = connect_timeout;
    config.negotiation = Version::V1Lazy;
    Guard::new(config)
}

/// Every interface, by both families and both carriers.
pub(crate) fn everywhere(port: u16) -> [Multiaddr; 4] {
    let quic = format!("udp/{port}/quic-v1");
    let tcp = format!("tcp/{port}");
    let hosts = [("/ip4/0.0.0.0", &tcp), ("/ip4/0.0.0.0", &quic), ("/ip6/::", &tcp), ("/ip6/::", &quic)];
    hosts.map(|(host, carrier)| format!("{host}/{carrier}").parse().expect("it is a multiaddr"))
}

/// Identify as every command speaks it.
pub(crate) fn identify(keypair: &Keypair) -> identify::Behaviour {
    let config = identify::Config::new(PROTOCOL_VERSION.to_owned(), keypair.public());
    identify::Behaviour::new(config.with_agent_version(AGENT_VERSION.to_owned()))
}

/// The listeners of a swarm, and the addresses that they have reported.
#[derive(Debug)]
pub(crate) struct Listeners {
    waiting: HashSet<ListenerId>,
    live: usize,
    has_wildcard: bool,
    addresses: Vec<Multiaddr>,
}

/// What an event has changed about the addresses.
#[derive(Debug)]
pub(crate) enum Change {
    New(Multiaddr),
    Gone(Multiaddr),
}

impl Listeners {
    /// Listens on all of these addresses.
    pub(crate) fn start<B: NetworkBehaviour>(swarm: &mut Swarm<B>, addresses: &[Multiaddr]) -> Result<Self, Error> {
        let mut listeners = Self { waiting: HashSet::new(), live: 0, has_wildcard: false, addresses: Vec::new() };
        for address in addresses {
            listeners.add(swarm, address)?;
        }
        Ok(listeners)
    }

    /// Listens on those of these addresses that can be listened on: not every machine has both families, and a port may
    /// be taken for one of the carriers. An error if it is none.
    pub(crate) fn start_any<B: NetworkBehaviour>(swarm: &mut Swarm<B>, addresses: &[Multiaddr]) -> Result<Self, Error> {
        let mut listeners = Self::start(swarm, &[])?;
        let mut failures = Vec::new();
        for address in addresses {
            if let Err(error) = listeners.add(swarm, address) {
                failures.push(error);
            }
        }
        if listeners.live == 0 {
            return failures.into_iter().next().map_or(Ok(listeners), Err);
        }
        for error in failures {
            match &error {
                Error::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => output::note(&error),
                _ => tracing::debug!(%error, "not listening there"),
            }
        }
        Ok(listeners)
    }

    /// Listens on one more address.
    pub(crate) fn add<B: NetworkBehaviour>(&mut self, swarm: &mut Swarm<B>, address: &Multiaddr) -> Result<(), Error> {
        let failed = |source| Error::Listen { address: address.clone(), source };
        check_free(address).map_err(failed)?;
        let listener = swarm.listen_on(address.clone()).map_err(|error| match error {
            TransportError::Other(source) => failed(source),
            TransportError::MultiaddrNotSupported(_) => failed(io::ErrorKind::Unsupported.into()),
        })?;
        self.waiting.insert(listener);
        self.live += 1;
        self.has_wildcard |= address::is_wildcard(address);
        Ok(())
    }

    /// The addresses that are listened on: IPv4 before IPv6, TCP before QUIC, and otherwise in the order in which they
    /// were reported.
    pub(crate) fn addresses(&self) -> Vec<Multiaddr> {
        let mut addresses = self.addresses.clone();
        addresses.sort_by_key(|address| {
            let is_v6 = address::ip(address).is_some_and(|ip| ip.is_ipv6());
            (is_v6, address::carrier(address).map(|(carrier, _)| carrier))
        });
        addresses
    }

    /// Runs the swarm until every listener has reported its addresses; `on_event` gets what happens meanwhile.
    pub(crate) async fn settle<B: NetworkBehaviour>(
        &mut self,
        swarm: &mut Swarm<B>,
        mut on_event: impl FnMut(&mut Swarm<B>, SwarmEvent<B::ToSwarm>),
    ) -> Result<(), Error> {
        let end = Instant::now() + LISTEN_MAX;
        loop {
            let until = match self.waiting.is_empty() {
                true if !self.has_wildcard => return Ok(()),
                true => end.min(Instant::now() + INTERFACES_QUIET),
                false => end,
            };
            let Ok(event) = timeout_at(until, swarm.select_next_some()).await else { return Ok(()) };
            self.on_event(&event)?;
            on_event(swarm, event);
        }
    }

    /// Takes note of an event of the swarm.
    pub(crate) fn on_event<E>(&mut self, event: &SwarmEvent<E>) -> Result<Option<Change>, Error> {
        match event {
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.waiting.remove(listener_id);
                if self.addresses.contains(address) {
                    return Ok(None);
                }
                self.addresses.push(address.clone());
                Ok(Some(Change::New(address.clone())))
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.addresses.retain(|known| known != address);
                Ok(Some(Change::Gone(address.clone())))
            }
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                self.waiting.remove(listener_id);
                self.addresses.retain(|known| !addresses.contains(known));
                self.live = self.live.saturating_sub(1);
                match reason {
                    Err(error) if self.live == 0 => Err(Error::ListenersGone(io::Error::other(error.to_string()))),
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }
}

/// Whether this address can be listened on, tried and given back at once.
///
/// The TCP transport shares its ports: without this, a second process of the same user would listen on the port of the
/// first, and each would get a part of the connections.
fn check_free(address: &Multiaddr) -> io::Result<()> {
    let (Some(ip), Some((carrier, port))) = (address::ip(address), address::carrier(address)) else { return Ok(()) };
    let address = SocketAddr::new(ip, port);
    let kind = match carrier {
        Carrier::Tcp => Type::STREAM,
        Carrier::Quic => Type::DGRAM,
    };
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if carrier == Carrier::Quic {
        return socket.bind(&address.into());
    }
    // Connections of an earlier run that the kernel has not forgotten do not count. On Windows the option means more.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use libp2p::ping;

    use super::*;

    fn parse(text: &str) -> Multiaddr {
        text.parse().expect("it is a multiaddr")
    }

    #[tokio::test]
    async fn of_several_addresses_those_that_are_free_are_listened_on() {
        let holder = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let busy = parse(&format!("/ip4/127.0.0.1/tcp/{}", holder.local_addr().expect("it is bound").port()));
        let timeout = Duration::from_secs(10);
        let swarm = swarm(&Keypair::generate_ed25519(), &client_guard(timeout), |_| ping::Behaviour::default());
        let mut swarm = swarm.expect("it starts");
        let free = [parse("/ip4/127.0.0.1/tcp/0"), parse("/ip4/127.0.0.1/udp/0/quic-v1")];
        let mut listeners =
            Listeners::start_any(&mut swarm, &[&[busy.clone()][..], &free].concat()).expect("two are free");
        listeners.settle(&mut swarm, |_, _| {}).await.expect("they listen");
        let carriers: Vec<_> = listeners.addresses().iter().filter_map(address::carrier).map(|(it, _)| it).collect();
        assert_eq!(carriers, [Carrier::Tcp, Carrier::Quic]);
        let error = Listeners::start_any(&mut swarm, std::slice::from_ref(&busy)).expect_err("none is free");
        assert!(matches!(error, Error::Listen { address, .. } if address == busy));
    }
}
