//! Both behaviours on two runtimes: the same life of a registration on tokio and on async-std.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{pin::Pin, time::Duration};

use futures::{StreamExt as _, future::Either};
use futures_timer::Delay;
use libp2p::{
    Multiaddr, Swarm, Transport as _,
    core::{transport::MemoryTransport, upgrade::Version},
    noise, yamux,
};
use libp2p_identity::Keypair;
use libp2p_swarm::{Config, Executor, NetworkBehaviour, SwarmEvent};
use rendezvous_swarm::{
    client::{self, From, Namespace},
    server,
};
use rendezvous_wire::Ttl;

/// Longest time that a whole test may take; the TTLs in it add up to some seconds.
const TEST_MAX: Duration = Duration::from_secs(60);

/// So short that a test sees it renewed, and sees it end.
const TTL: Ttl = Ttl::from_secs(4);

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

#[test]
fn a_registration_lives_and_ends_on_tokio() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    // No driver of the runtime's own is switched on, neither for IO nor for time.
    runtime.block_on(within(life_of_a_registration(|task: Task| drop(tokio::spawn(task)))));
}

#[test]
fn a_registration_lives_and_ends_on_async_std() {
    async_std::task::block_on(within(life_of_a_registration(|task: Task| drop(async_std::task::spawn(task)))));
}

/// Runs a test, which fails when it hangs, on whichever runtime.
async fn within<F: Future>(test: F) -> F::Output {
    match futures::future::select(std::pin::pin!(test), Delay::new(TEST_MAX)).await {
        Either::Left((output, _)) => output,
        Either::Right(_) => panic!("the test hangs"),
    }
}

fn swarm<B: NetworkBehaviour>(
    executor: impl Executor + Send + 'static,
    behaviour: impl FnOnce(&Keypair) -> B,
) -> Swarm<B> {
    let key = Keypair::generate_ed25519();
    let transport = MemoryTransport::default()
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    Swarm::new(transport, behaviour(&key), key.public().to_peer_id(), Config::with_executor(executor))
}

/// What the behaviours of two swarms tell, both polled in this task.
enum Told {
    Point(server::Event),
    Client(client::Event),
}

async fn next(point: &mut Swarm<server::Behaviour>, client: &mut Swarm<client::Behaviour>) -> Told {
    loop {
        let event = futures::future::select(point.next(), client.next()).await;
        match event {
            Either::Left((Some(SwarmEvent::Behaviour(event)), _)) => return Told::Point(event),
            Either::Right((Some(SwarmEvent::Behaviour(event)), _)) => return Told::Client(event),
            _ => {}
        }
    }
}

async fn life_of_a_registration(executor: impl Executor + Clone + Send + 'static) {
    let mut config = server::Config::default();
    config.server.ttl_min = Ttl::from_secs(1);
    config.server.events_max = 64;
    let mut point = swarm(executor.clone(), |_| server::Behaviour::new(config));
    let point_id = *point.local_peer_id();
    point.listen_on("/memory/0".parse().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = point.select_next_some().await {
            break address;
        }
    };
    let mut client = swarm(executor, |key| client::Behaviour::new(key.clone(), client::Config::default()));
    let client_id = *client.local_peer_id();
    client.add_external_address("/ip4/192.0.2.1/tcp/4001".parse::<Multiaddr>().unwrap());
    client.behaviour_mut().add_point_address(point_id, address).unwrap();
    let chat = Namespace::new("chat").unwrap();

    // It is registered …
    let id = client.behaviour_mut().register(chat.clone(), [point_id], Some(TTL));
    loop {
        match next(&mut point, &mut client).await {
            Told::Client(client::Event::Registered { id: registered, ttl, .. }) => {
                assert_eq!((registered, ttl), (id, TTL));
                break;
            }
            Told::Client(other) => panic!("{other:?}"),
            Told::Point(_) => {}
        }
    }
    assert!(point.behaviour().is_registered(&client_id, &chat));

    // … found …
    let query = client.behaviour_mut().discover(point_id, Some(chat.clone()), None, From::Fresh);
    loop {
        match next(&mut point, &mut client).await {
            Told::Client(client::Event::Discovered { query: answered, registrations, .. }) => {
                // A client leaves itself out of what it finds; the point has served it.
                assert_eq!((answered, registrations.len()), (query, 0));
                break;
            }
            Told::Client(client::Event::DiscoverFailed { failure, .. }) => panic!("{failure}"),
            _ => {}
        }
    }
    assert_eq!(point.behaviour().stats().served, 1);

    // … renewed before its time is over …
    loop {
        match next(&mut point, &mut client).await {
            Told::Point(server::Event::Registered { peer, renewed, .. }) => {
                assert_eq!((peer, renewed), (client_id, true));
                break;
            }
            Told::Point(server::Event::Expired { .. }) => panic!("it has ended before it was renewed"),
            _ => {}
        }
    }

    // … withdrawn …
    assert!(client.behaviour_mut().unregister(id));
    let (mut at_point, mut at_client) = (false, false);
    while !(at_point && at_client) {
        match next(&mut point, &mut client).await {
            Told::Point(server::Event::Unregistered { peer, namespace }) => {
                assert_eq!((peer, &namespace), (client_id, &chat));
                at_point = true;
            }
            Told::Client(client::Event::Unregistered { failure, .. }) => {
                assert_eq!(failure, None);
                at_client = true;
            }
            _ => {}
        }
    }
    assert!(!point.behaviour().is_registered(&client_id, &chat));

    // … and, registered once more by a peer that then falls silent, ends by its TTL.
    client.behaviour_mut().register(chat.clone(), [point_id], Some(TTL));
    loop {
        if let Told::Point(server::Event::Registered { renewed, .. }) = next(&mut point, &mut client).await {
            assert!(!renewed);
            break;
        }
    }
    drop(client);
    loop {
        if let Some(SwarmEvent::Behaviour(server::Event::Expired { peer, namespace })) = point.next().await {
            assert_eq!((peer, &namespace), (client_id, &chat));
            break;
        }
    }
    assert_eq!(point.behaviour().stats().registrations, 0);
}
