//! What the node's swarm consists of.

use std::{io, pin::Pin, time::Duration};

use libp2p::{
    Swarm, identify,
    identity::Keypair,
    kad, ping,
    swarm::{self, NetworkBehaviour, behaviour::toggle::Toggle},
};
use rendezvous_discovery::{bridge::BridgeSource, connector, kad as kad_source, rendezvous};
use rendezvous_host::Guard;
use rendezvous_swarm::{client, limits, server};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    dht_store::Store,
    error::StartError,
    room,
    settings::{Kademlia, Settings},
    streams,
};

/// What identify calls the family of protocols; others write the same.
const PROTOCOL_VERSION: &str = "ipfs/0.1.0";

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    /// First, so that what is denied costs the others nothing.
    pub(crate) limits: limits::Behaviour,
    pub(crate) room: room::Behaviour,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) point: Toggle<server::Behaviour>,
    pub(crate) rendezvous: rendezvous::Behaviour,
    pub(crate) kad: Toggle<kad_source::Behaviour<Store>>,
    #[cfg(feature = "mdns")]
    pub(crate) mdns: Toggle<rendezvous_discovery::mdns::Behaviour>,
    /// Peers that are to be kept connected.
    pub(crate) kept: connector::Behaviour,
    /// Peers that were found.
    pub(crate) found: connector::Behaviour,
    pub(crate) streams: streams::Behaviour,
}

/// A swarm, the sources that it has for a discovery manager, and the tasks of its connections.
pub(crate) struct Assembled {
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) sources: Vec<BridgeSource>,
    pub(crate) tasks: TaskTracker,
    /// Ends those tasks.
    pub(crate) cancel: CancellationToken,
}

pub(crate) fn assemble(keypair: &Keypair, settings: &Settings) -> Result<Assembled, StartError> {
    let local = keypair.public().to_peer_id();
    let mut sources = Vec::new();
    let identify = identify::Config::new(PROTOCOL_VERSION.to_owned(), keypair.public())
        .with_agent_version(settings.name.clone())
        .with_push_listen_addr_updates(true);
    let ping = ping::Config::new().with_interval(settings.ping_every).with_timeout(settings.ping_timeout);
    let mut client = client::Behaviour::new(keypair.clone(), settings.rendezvous.clone());
    for point in &settings.waku_points {
        if !client.set_point_dialect(*point, client::Dialect::Waku) {
            tracing::warn!(%point, "too many points speak another dialect: this one is asked in the common one");
        }
    }
    let config = rendezvous::Config { timing: settings.timing, ..rendezvous::Config::default() };
    let (mut rendezvous, source) = rendezvous::source(client, config);
    sources.push(source);
    for (point, addresses) in &settings.points {
        if let Err(error) = rendezvous.add_point(*point, addresses.iter().cloned()) {
            tracing::warn!(%point, %error, "an address of a rendezvous point is left out");
        }
    }
    let kad = settings.kademlia.as_ref().map(|kademlia| {
        let (behaviour, source) = kademlia_of(local, kademlia, settings);
        sources.push(source);
        behaviour
    });
    #[cfg(feature = "mdns")]
    let mdns = match settings.is_mdns {
        true => {
            let mdns = libp2p::mdns::tokio::Behaviour::new(libp2p::mdns::Config::default(), local);
            let (behaviour, source) = rendezvous_discovery::mdns::source(mdns.map_err(StartError::Transport)?);
            sources.push(source);
            Some(behaviour)
        }
        false => None,
    };
    let behaviour = Behaviour {
        limits: limits::Behaviour::new(settings.limits()),
        room: room::Behaviour::new(settings.peers_max),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping),
        point: settings.serves.clone().map(server::Behaviour::new).into(),
        rendezvous,
        kad: kad.into(),
        #[cfg(feature = "mdns")]
        mdns: mdns.into(),
        kept: connector::Behaviour::without_query(kept(settings)),
        found: connector::Behaviour::without_query(connector::Config {
            connected_max: settings.connected_max,
            ..connector::Config::default()
        }),
        streams: streams::Behaviour::new(settings.streams.clone()),
    };
    let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
    let swarm = swarm(keypair, behaviour, settings, &tasks, &cancel)?;
    Ok(Assembled { swarm, sources, tasks, cancel })
}

/// How peers are kept connected: all of them, and soon again.
fn kept(settings: &Settings) -> connector::Config {
    connector::Config {
        connected_max: usize::MAX,
        dials_max: 16,
        known_max: usize::MAX,
        backoff_min: settings.redial_min,
        backoff_max: settings.redial_max,
    }
}

fn kademlia_of(
    local: libp2p::PeerId,
    kademlia: &Kademlia,
    settings: &Settings,
) -> (kad_source::Behaviour<Store>, BridgeSource) {
    let mut config = kad::Config::new(kademlia.protocol.clone());
    config
        .set_provider_record_ttl(Some(kademlia.record_ttl))
        .set_provider_publication_interval(Some(kademlia.record_ttl / 4))
        .set_periodic_bootstrap_interval(Some(kademlia.bootstrap_every))
        .set_query_timeout(Duration::from_secs(30));
    let mut behaviour = kad::Behaviour::with_config(local, Store::new(local), config);
    for (peer, addresses) in &settings.bootstrap {
        for address in addresses {
            behaviour.add_address(peer, address.clone());
        }
    }
    kad_source::source(behaviour, kad_source::Config { timing: kademlia.timing })
}

/// The swarm, with its connections in tasks that can be counted and ended.
fn swarm(
    keypair: &Keypair,
    behaviour: Behaviour,
    settings: &Settings,
    tasks: &TaskTracker,
    cancel: &CancellationToken,
) -> Result<Swarm<Behaviour>, StartError> {
    let transport = rendezvous_host::transport(keypair, &Guard::new(settings.transport()))
        .map_err(|error| StartError::Transport(io::Error::other(error)))?;
    let (tasks, cancel) = (tasks.clone(), cancel.clone());
    let spawn = move |task: Pin<Box<dyn Future<Output = ()> + Send>>| {
        let cancel = cancel.clone();
        tasks.spawn(async move { cancel.run_until_cancelled(task).await });
    };
    let config = swarm::Config::with_executor(spawn).with_idle_connection_timeout(settings.idle_timeout);
    Ok(Swarm::new(transport, behaviour, keypair.public().to_peer_id(), config))
}
