//! Discovered peers are dialled by their id alone.

use rendezvous_swarm::client::From;
use rendezvous_tests::{Fact, in_time, node::Options, ours, theirs};

#[tokio::test]
async fn its_client_dials_a_peer_that_it_discovered_through_our_point() {
    in_time(async {
        let mut point = ours::point(|_| {}).await;
        let (mut theirs_there, mut dialler) = (theirs::client().await, theirs::client().await);
        let mut ours_there = ours::client().await;
        theirs_there.connect(&mut point).await;
        dialler.connect(&mut point).await;
        ours_there.connect(&mut point).await;
        assert_eq!(theirs_there.register("chat", point.peer, None).await, Ok(7_200));
        let id = ours_there.register("chat", point.peer, 7_200).await;
        for _ in 0..2 {
            ours_there.registered(id).await;
        }

        let page = dialler.discover(Some("chat"), point.peer, None, None).await.unwrap();
        assert_eq!(page.registrations.len(), 2);
        let there = [(theirs_there.peer, &theirs_there.address), (ours_there.peer, &ours_there.address)];
        for (peer, address) in there {
            dialler.fact(&Fact::AddressOf(peer, address.clone())).await;
            dialler.with(move |swarm| swarm.dial(peer)).await.unwrap();
            dialler.fact(&Fact::Connected(peer)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn our_client_dials_a_peer_that_it_discovered_through_its_point() {
    in_time(async {
        let mut point = theirs::point(|config| config).await;
        let mut there = theirs::client().await;
        there.connect(&mut point).await;
        assert_eq!(there.register("chat", point.peer, None).await, Ok(7_200));

        let (peer, address) = (there.peer, there.address.clone());
        for announce in [true, false] {
            let mut dialler =
                ours::client_with(Options::default(), |config| config.announce_addresses = announce).await;
            dialler.knows_point(point.peer, &point.address).await;
            let page = dialler.discover(Some("chat"), point.peer, 100, From::Fresh).await.unwrap();
            assert_eq!(page.peers(), [peer]);
            if announce {
                dialler.fact(&Fact::AddressOf(peer, address.clone())).await;
            }
            dialler.with(move |swarm| swarm.dial(peer)).await.unwrap();
            dialler.fact(&Fact::Connected(peer)).await;
        }
    })
    .await;
}
