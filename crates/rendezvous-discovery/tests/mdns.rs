//! mDNS as a source, where the network of the machine carries multicast.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use libp2p::{SwarmBuilder, noise, tcp, yamux};
use libp2p_swarm::SwarmEvent;
use rendezvous_discovery::{Config, DiscoveryManager, Query, mdns};

use common::{found, on_tokio, within};
use futures::StreamExt;

/// Whether a datagram to a group comes back, on whichever interface.
fn has_multicast() -> bool {
    let group = Ipv4Addr::new(224, 0, 0, 251);
    let attempt = || -> std::io::Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED)?;
        socket.set_multicast_loop_v4(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        socket.send_to(b"?", (group, socket.local_addr()?.port()))?;
        socket.recv_from(&mut [0]).map(drop)
    };
    attempt().is_ok()
}

/// A swarm that listens on all interfaces, and its manager.
async fn member() -> (libp2p_identity::PeerId, DiscoveryManager) {
    let mut source = None;
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| {
            let id = key.public().to_peer_id();
            let (behaviour, end) = mdns::source(libp2p_mdns::tokio::Behaviour::new(Default::default(), id)?);
            source = Some(end);
            Ok(behaviour)
        })
        .unwrap()
        .build();
    swarm.listen_on("/ip4/0.0.0.0/tcp/0".parse().unwrap()).unwrap();
    while !matches!(swarm.select_next_some().await, SwarmEvent::NewListenAddr { .. }) {}
    let id = *swarm.local_peer_id();
    on_tokio(Box::pin(async move { while swarm.next().await.is_some() {} }));
    let (manager, driver) = DiscoveryManager::new(Config { local_peer: Some(id), ..Config::default() });
    on_tokio(Box::pin(driver));
    manager.add_source(source.unwrap()).unwrap();
    (id, manager)
}

#[tokio::test]
async fn peers_of_one_network_find_each_other() {
    if !has_multicast() {
        // What the source makes of events is tested beside it.
        println!("this machine carries no multicast");
        return;
    }
    within(async {
        let [(one, first), (two, second)] = [member().await, member().await];
        for (manager, other) in [(first, two), (second, one)] {
            let mut find = manager.find(Query::source(mdns::NAME) & Query::peer(other)).unwrap();
            let peer = found(&mut find).await;
            assert!(!peer.addresses().is_empty() && peer.seq().is_none());
        }
    })
    .await;
}
