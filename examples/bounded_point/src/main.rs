//! A rendezvous point of your own that strangers may connect to: the bounded transport, the limits of connections and the
//! point, in one swarm. A peer then registers there over TCP, and finds itself over QUIC.
//!
//! ```text
//! cargo run -p example-bounded-point
//! ```

use std::{error::Error, time::Duration};

use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm, identify,
    identity::Keypair,
    ping, swarm,
    swarm::{NetworkBehaviour, SwarmEvent},
};
use rendezvous_host::{Config, Guard, MEMORY_MAX, MemoryShares, transport};
use rendezvous_swarm::{
    client::{self, From, Namespace},
    limits, server,
};

/// The limits come first, so that the others are spared what is denied.
#[derive(NetworkBehaviour)]
struct Point {
    limits: limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    rendezvous: server::Behaviour,
}

/// One number, the memory beyond the registrations, gives every part its share.
fn point(key: &Keypair) -> Result<(Swarm<Point>, Guard), Box<dyn Error>> {
    let shares = MemoryShares::of(MEMORY_MAX);
    let mut config = Config::default();
    config.unread_max = shares.unread_bytes_max;
    config.unsent_max = shares.unsent_bytes_max;
    let guard = Guard::new(config);

    let mut limits = limits::Config::default();
    limits.connections_max = shares.connections_max;
    // The transport chooses which handshake goes when there are too many.
    (limits.pending_max, limits.pending_per_prefix_max) = (usize::MAX, usize::MAX);

    let mut server = server::Config::default();
    server.streams_max = shares.streams_max;
    server.pages_bytes_max = shares.page_bytes_max;
    server.requests_bytes_max = shares.request_bytes_max;

    let behaviour = Point {
        limits: limits::Behaviour::new(limits),
        identify: identify::Behaviour::new(identify::Config::new("ipfs/0.1.0".into(), key.public())),
        ping: ping::Behaviour::default(),
        rendezvous: server::Behaviour::new(server),
    };
    let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(30));
    Ok((Swarm::new(transport(key, &guard)?, behaviour, key.public().to_peer_id(), config), guard))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (mut point, guard) = point(&Keypair::generate_ed25519())?;
    let point_id = *point.local_peer_id();
    let mut addresses = Vec::new();
    for address in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
        point.listen_on(address.parse()?)?;
        addresses.push(loop {
            if let SwarmEvent::NewListenAddr { address, .. } = point.select_next_some().await {
                println!("point    {point_id} at {address}");
                break address;
            }
        });
    }
    tokio::spawn(async move {
        loop {
            // What identify tells of a peer shows which records it can read.
            if let SwarmEvent::Behaviour(PointEvent::Identify(identify::Event::Received { peer_id, info, .. })) =
                point.select_next_some().await
            {
                point.behaviour_mut().rendezvous.peer_agent(peer_id, &info.agent_version);
            }
        }
    });

    let chat = Namespace::new("chat")?;
    let mut member = peer(point_id, &addresses[0])?;
    member.add_external_address("/ip4/192.0.2.1/tcp/4001".parse()?);
    member.behaviour_mut().register(chat.clone(), [point_id], None);
    loop {
        match member.select_next_some().await {
            SwarmEvent::Behaviour(client::Event::Registered { ttl, .. }) => {
                break println!("member   registered for {ttl}");
            }
            SwarmEvent::Behaviour(client::Event::RegisterFailed { failure, .. }) => return Err(failure.into()),
            _ => {}
        }
    }
    let member_id = *member.local_peer_id();
    tokio::spawn(member.for_each(|_| async {}));

    let mut visitor = peer(point_id, &addresses[1])?;
    visitor.behaviour_mut().discover(point_id, Some(chat), None, From::Fresh);
    loop {
        match visitor.select_next_some().await {
            SwarmEvent::Behaviour(client::Event::Discovered { registrations, .. }) => {
                let found = registrations.iter().any(|found| found.record.peer_id() == member_id);
                println!("visitor  found the member: {found}");
                break;
            }
            SwarmEvent::Behaviour(client::Event::DiscoverFailed { failure, .. }) => return Err(failure.into()),
            _ => {}
        }
    }
    let stats = guard.stats();
    println!(
        "guard    {} connections, {} bytes unread, {} unsent",
        stats.connections, stats.unread_bytes, stats.unsent_bytes
    );
    Ok(())
}

/// A peer that knows the point.
fn peer(point: PeerId, address: &Multiaddr) -> Result<Swarm<client::Behaviour>, Box<dyn Error>> {
    let key = Keypair::generate_ed25519();
    let mut behaviour = client::Behaviour::new(key.clone(), client::Config::default());
    behaviour.add_point_address(point, address.clone())?;
    let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(30));
    let transport = transport(&key, &Guard::new(Config::node()))?;
    Ok(Swarm::new(transport, behaviour, key.public().to_peer_id(), config))
}
