//! The behaviours without tokio: memory transport and async-std.

use std::time::Duration;

use futures::StreamExt;
use libp2p::{Multiaddr, Transport, core::upgrade, noise, yamux};
use libp2p_core::transport::MemoryTransport;
use libp2p_identity::Keypair;
use libp2p_swarm::{Config, NetworkBehaviour, Swarm, SwarmEvent};
use rendezvous_swarm::{
    client::{self, Event, From, Namespace},
    server,
};

fn swarm<B: NetworkBehaviour>(key: &Keypair, behaviour: B) -> Swarm<B> {
    let transport = MemoryTransport::default()
        .upgrade(upgrade::Version::V1)
        .authenticate(noise::Config::new(key).expect("a key for noise"))
        .multiplex(yamux::Config::default())
        .boxed();
    let config = Config::with_executor(|task| drop(async_std::task::spawn(task)))
        .with_idle_connection_timeout(Duration::from_secs(10));
    Swarm::new(transport, behaviour, key.public().to_peer_id(), config)
}

async fn listen<B: NetworkBehaviour>(swarm: &mut Swarm<B>) -> Multiaddr {
    swarm.listen_on("/memory/0".parse().expect("an address")).expect("to listen");
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            swarm.add_external_address(address.clone());
            return address;
        }
    }
}

async fn event(swarm: &mut Swarm<client::Behaviour>) -> Event {
    loop {
        if let SwarmEvent::Behaviour(event) = swarm.select_next_some().await {
            return event;
        }
    }
}

#[test]
fn peers_find_each_other_on_another_runtime() {
    let test = async {
        let key = Keypair::generate_ed25519();
        let mut point = swarm(&key, server::Behaviour::new(server::Config::default()));
        let (point_id, point_address) = (*point.local_peer_id(), listen(&mut point).await);
        async_std::task::spawn(point.for_each(|_| async {}));

        let chat = Namespace::new("chat").expect("a namespace");
        let mut swarms = Vec::new();
        for _ in 0..2 {
            let key = Keypair::generate_ed25519();
            let mut swarm = swarm(&key, client::Behaviour::new(key.clone(), client::Config::default()));
            listen(&mut swarm).await;
            let behaviour = swarm.behaviour_mut();
            behaviour.add_point_address(point_id, point_address.clone()).expect("an address");
            behaviour.register(chat.clone(), [point_id], None);
            let event = event(&mut swarm).await;
            assert!(matches!(event, Event::Registered { .. }), "{event:?}");
            swarms.push(swarm);
        }
        let [first, second] = &mut swarms[..] else { panic!("two") };
        first.behaviour_mut().discover(point_id, Some(chat), None, From::Fresh);
        match event(first).await {
            Event::Discovered { registrations, .. } => {
                let peers: Vec<_> = registrations.iter().map(|found| found.record.peer_id()).collect();
                assert_eq!(peers, [*second.local_peer_id()]);
            }
            event => panic!("{event:?}"),
        }
    };
    let test = async_std::future::timeout(Duration::from_secs(60), test);
    async_std::task::block_on(test).expect("the test hangs");
}
