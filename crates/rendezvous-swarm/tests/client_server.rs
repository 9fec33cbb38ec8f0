//! Clients and this crate's own rendezvous point.

mod client_common;

use client_common::{Client, listen, namespace, swarm, within};
use futures::{StreamExt, channel::oneshot};
use libp2p::{Multiaddr, PeerId, Swarm, identify};
use libp2p_identity::Keypair;
use libp2p_swarm::NetworkBehaviour;
use rendezvous_swarm::{
    client::{Config, Event, From, Limit, QueryId, RegistrationId, Ttl},
    server,
};
use tokio::task::JoinHandle;

#[derive(NetworkBehaviour)]
struct Serving {
    point: server::Behaviour,
    identify: identify::Behaviour,
}

/// A rendezvous point in a task of its own.
struct Server {
    id: PeerId,
    address: Multiaddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Swarm<Serving>>,
}

impl Server {
    async fn new() -> Self {
        Self::with_key(Keypair::generate_ed25519()).await
    }

    async fn with_key(key: Keypair) -> Self {
        let identify = identify::Config::new("/rendezvous-test".into(), key.public());
        let point = server::Behaviour::new(server::Config::default());
        let mut swarm = swarm(key, Serving { point, identify: identify::Behaviour::new(identify) });
        let address = listen(&mut swarm).await;
        Self::run(swarm, address)
    }

    fn run(mut swarm: Swarm<Serving>, address: Multiaddr) -> Self {
        let id = *swarm.local_peer_id();
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = &mut stopped => return swarm,
                    _ = swarm.select_next_some() => {}
                }
            }
        });
        Self { id, address, stop, task }
    }

    /// Takes the point out of its task. It goes down with the swarm.
    async fn stop(self) -> Swarm<Serving> {
        // A task that has panicked is told of by the next line.
        let _ = self.stop.send(());
        self.task.await.expect("the point runs")
    }

    /// Streams that the point has accepted so far.
    async fn streams(self) -> (Self, u64) {
        let address = self.address.clone();
        let swarm = self.stop().await;
        let streams = swarm.behaviour().point.shell_stats().streams;
        (Self::run(swarm, address), streams)
    }

    async fn client(&self) -> Client {
        let mut client = Client::new().await;
        client.meet(self.id, self.address.clone());
        client
    }
}

/// Registers, and waits until the point lists the client.
async fn register(client: &mut Client, point: PeerId, name: &str) -> RegistrationId {
    let id = client.behaviour().register(namespace(name), [point], None);
    loop {
        match client.event().await {
            Event::Registered { id: registered, ttl, .. } => {
                assert_eq!(ttl, Ttl::DEFAULT);
                // The point keeps both flavours: the second of an earlier registration comes when it comes.
                if registered == id {
                    return id;
                }
            }
            event => panic!("{event:?}"),
        }
    }
}

/// The peers of a page, and whether there are more.
async fn page(client: &mut Client, query: QueryId) -> (Vec<PeerId>, bool) {
    loop {
        match client.event().await {
            Event::Discovered { query: answered, registrations, more, .. } if answered == query => {
                return (registrations.iter().map(|found| found.record.peer_id()).collect(), more);
            }
            Event::Registered { .. } => {}
            event => panic!("{event:?}"),
        }
    }
}

async fn discover(client: &mut Client, point: PeerId, name: &str) -> Vec<PeerId> {
    let query = client.behaviour().discover(point, Some(namespace(name)), None, From::Fresh);
    page(client, query).await.0
}

#[tokio::test]
async fn peers_find_each_other_and_no_longer_once_they_unregister() {
    within(async {
        let server = Server::new().await;
        let (mut first, mut second) = (server.client().await, server.client().await);
        let id = register(&mut first, server.id, "chat").await;
        register(&mut second, server.id, "chat").await;

        // Each finds the other, and not itself.
        assert_eq!(discover(&mut first, server.id, "chat").await, [second.id()]);
        assert_eq!(discover(&mut second, server.id, "chat").await, [first.id()]);
        assert_eq!(discover(&mut second, server.id, "elsewhere").await, []);
        let first_id = first.id();
        assert!(first.run_until(second.dial(first_id)).await);

        first.behaviour().unregister(id);
        loop {
            match first.event().await {
                Event::Unregistered { failure: None, .. } => break,
                Event::Registered { .. } => {}
                event => panic!("{event:?}"),
            }
        }
        assert_eq!(discover(&mut second, server.id, "chat").await, []);
    })
    .await;
}

#[tokio::test]
async fn all_pages_are_walked_with_the_cookies() {
    within(async {
        let server = Server::new().await;
        let mut registered = Vec::new();
        let mut registrants = Vec::new();
        for _ in 0..7 {
            let mut client = server.client().await;
            register(&mut client, server.id, "chat").await;
            registered.push(client.id());
            registrants.push(client);
        }
        let mut client = server.client().await;
        let (mut found, mut from) = (Vec::new(), From::Fresh);
        loop {
            let limit = Some(Limit::new(3));
            let query = client.behaviour().discover(server.id, Some(namespace("chat")), limit, from);
            let (peers, more) = page(&mut client, query).await;
            assert!(peers.len() <= 3);
            found.extend(peers);
            from = From::Cookie;
            if !more {
                break;
            }
        }
        found.sort();
        found.dedup();
        registered.sort();
        assert_eq!(found, registered);
    })
    .await;
}

/// The point keeps streams open: a second after the first answer its stream is used again, and from then on no other.
#[tokio::test]
async fn polling_comes_to_one_stream() {
    within(async {
        let mut server = Server::new().await;
        let mut client = server.client().await;
        let mut streams = 0;
        loop {
            discover(&mut client, server.id, "chat").await;
            let streams_before = streams;
            (server, streams) = server.streams().await;
            if streams == streams_before {
                break;
            }
        }
        for _ in 0..100 {
            discover(&mut client, server.id, "chat").await;
        }
        assert_eq!(server.streams().await.1, streams);
    })
    .await;
}

#[tokio::test]
async fn a_shutdown_leaves_nothing_at_the_point() {
    within(async {
        let server = Server::new().await;
        let mut client = server.client().await;
        for name in ["a", "b", "c", "d"] {
            register(&mut client, server.id, name).await;
        }
        client.behaviour().shutdown();
        while !client.behaviour().is_drained() {
            client.event().await;
        }
        let id = client.id();
        drop(client);
        let swarm = server.stop().await;
        let point = &swarm.behaviour().point;
        assert!(["a", "b", "c", "d"].iter().all(|name| !point.is_registered(&id, &namespace(name))));
    })
    .await;
}

/// The new point knows nobody, and the cookie of the old one means nothing to it.
#[tokio::test]
async fn a_point_that_was_restarted_is_used_again() {
    within(async {
        let key = Keypair::generate_ed25519();
        let server = Server::with_key(key.clone()).await;
        let mut client = server.client().await;
        discover(&mut client, server.id, "chat").await;
        drop(server.stop().await);

        let server = Server::with_key(key).await;
        client.behaviour().remove_point_addresses(&server.id);
        client.meet(server.id, server.address.clone());
        let mut other = server.client().await;
        register(&mut other, server.id, "chat").await;
        let query = loop {
            let query = client.behaviour().discover(server.id, Some(namespace("chat")), None, From::Cookie);
            match client.event().await {
                Event::Discovered { query: answered, registrations, .. } if answered == query => break registrations,
                // The connection to the old one may not have been noticed to be gone.
                Event::DiscoverFailed { .. } => {}
                event => panic!("{event:?}"),
            }
        };
        assert_eq!(query.iter().map(|found| found.record.peer_id()).collect::<Vec<_>>(), [other.id()]);
    })
    .await;
}

/// A peer that is a point registers with another one: both behaviours in one swarm.
#[tokio::test]
async fn a_point_may_be_a_client_elsewhere() {
    within(async {
        #[derive(NetworkBehaviour)]
        struct Both {
            point: server::Behaviour,
            rendezvous: rendezvous_swarm::client::Behaviour,
        }
        let server = Server::new().await;
        let key = Keypair::generate_ed25519();
        let mut both = swarm(
            key.clone(),
            Both {
                point: server::Behaviour::new(server::Config::default()),
                rendezvous: rendezvous_swarm::client::Behaviour::new(key, Config::default()),
            },
        );
        let address = listen(&mut both).await;
        both.add_external_address(address.clone());
        let rendezvous = &mut both.behaviour_mut().rendezvous;
        rendezvous.add_point_address(server.id, server.address.clone()).expect("an address");
        rendezvous.register(namespace("points"), [server.id], None);
        let event = loop {
            if let libp2p_swarm::SwarmEvent::Behaviour(BothEvent::Rendezvous(event)) = both.select_next_some().await {
                break event;
            }
        };
        assert!(matches!(event, Event::Registered { .. }), "{event:?}");
        let both_id = *both.local_peer_id();
        tokio::spawn(both.for_each(|_| async {}));

        let mut client = server.client().await;
        assert_eq!(discover(&mut client, server.id, "points").await, [both_id]);
        register(&mut client, both_id, "chat").await;
    })
    .await;
}
