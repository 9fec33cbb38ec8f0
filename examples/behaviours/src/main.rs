//! A rendezvous point and two peers that find each other at it: both behaviours in libp2p swarms.
//!
//! ```text
//! cargo run -p example-behaviours
//! ```

use std::error::Error;

use futures::StreamExt as _;
use libp2p::{
    Swarm, SwarmBuilder, identify, noise,
    swarm::{NetworkBehaviour, SwarmEvent, behaviour::toggle::Toggle},
    tcp, yamux,
};
use rendezvous_swarm::{
    client::{self, From, Namespace},
    server,
};

#[derive(NetworkBehaviour)]
struct Behaviour {
    point: Toggle<server::Behaviour>,
    rendezvous: client::Behaviour,
    identify: identify::Behaviour,
}

/// A swarm that listens on loopback and, if wanted, serves as a rendezvous point.
async fn swarm(serves: bool) -> Result<Swarm<Behaviour>, Box<dyn Error>> {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key| Behaviour {
            point: serves.then(|| server::Behaviour::new(server::Config::default())).into(),
            rendezvous: client::Behaviour::new(key.clone(), client::Config::default()),
            identify: identify::Behaviour::new(identify::Config::new("/example/1.0.0".into(), key.public())),
        })?
        .build();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            // A peer advertises its external addresses; here the one it listens on is one.
            swarm.add_external_address(address);
            return Ok(swarm);
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut point = swarm(true).await?;
    let point_id = *point.local_peer_id();
    let point_address = point.external_addresses().next().cloned().ok_or("the point has an address")?;
    println!("point   {point_id} at {point_address}");
    tokio::spawn(async move {
        loop {
            // What identify finds out shows the point which flavour of record a peer reads.
            if let SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. })) =
                point.select_next_some().await
                && let Some(server) = point.behaviour_mut().point.as_mut()
            {
                server.peer_agent(peer_id, &info.agent_version);
            }
        }
    });

    let chat = Namespace::new("chat")?;
    let mut first = swarm(false).await?;
    first.behaviour_mut().rendezvous.add_point_address(point_id, point_address.clone())?;
    first.behaviour_mut().rendezvous.register(chat.clone(), [point_id], None);
    loop {
        if let SwarmEvent::Behaviour(BehaviourEvent::Rendezvous(event)) = first.select_next_some().await {
            match event {
                client::Event::Registered { ttl, .. } => break println!("first   registered for {ttl}"),
                client::Event::RegisterFailed { failure, .. } => return Err(failure.into()),
                _ => {}
            }
        }
    }
    let first_id = *first.local_peer_id();
    tokio::spawn(first.for_each(|_| async {}));
    let mut second = swarm(false).await?;
    second.behaviour_mut().rendezvous.add_point_address(point_id, point_address)?;
    second.behaviour_mut().rendezvous.discover(point_id, Some(chat), None, From::Fresh);
    loop {
        match second.select_next_some().await {
            SwarmEvent::Behaviour(BehaviourEvent::Rendezvous(client::Event::Discovered { registrations, .. })) => {
                for found in registrations {
                    println!("second  found {} for {}", found.record.peer_id(), found.ttl);
                    second.dial(found.record.peer_id())?; // Its addresses are known from the record.
                }
            }
            SwarmEvent::ConnectionEstablished { peer_id, .. } if peer_id == first_id => {
                println!("second  connected to {peer_id}");
                return Ok(());
            }
            _ => {}
        }
    }
}
