//! Records of both flavours in one namespace at our point.

use std::collections::BTreeSet;

use libp2p_rendezvous::ErrorCode;
use rendezvous_record::{Flavour, Flavours};
use rendezvous_swarm::client::{From, Skipped};
use rendezvous_tests::{in_time, node::Options, ours, raw, theirs};

/// A point with one namespace, in which a client of theirs and a peer with a record of the standard flavour stand.
struct Mixed {
    point: ours::Point,
    legacy: theirs::Client,
    standard: raw::Peer,
}

async fn mixed(change: impl FnOnce(&mut rendezvous_swarm::server::Config)) -> Mixed {
    let mut point = ours::point(change).await;
    let mut legacy = theirs::client().await;
    legacy.connect(&mut point).await;
    assert_eq!(legacy.register("chat", point.peer, None).await, Ok(7_200));
    let mut standard = raw::peer(Options::default().agent_version("nim-libp2p/1.14.3")).await;
    standard.connect(&mut point).await;
    raw::register_standard(&standard, point.peer, "chat").await;
    Mixed { point, legacy, standard }
}

#[tokio::test]
async fn its_client_is_served_legacy_records_alone_and_ours_is_served_all() {
    in_time(async {
        let Mixed { mut point, mut legacy, standard } = mixed(|_| {}).await;

        // One that has registered, and one that has not: of this the agent version tells.
        let page = legacy.discover(Some("chat"), point.peer, None, None).await.unwrap();
        assert_eq!(page.peers(), [legacy.peer]);
        let mut silent = theirs::client().await;
        silent.connect(&mut point).await;
        for name in [Some("chat"), None] {
            assert_eq!(silent.discover(name, point.peer, None, None).await.unwrap().peers(), [legacy.peer]);
        }

        let mut ours = ours::client().await;
        ours.knows_point(point.peer, &point.address).await;
        for name in [Some("chat"), None] {
            let page = ours.discover(name, point.peer, 100, From::Fresh).await.unwrap();
            assert_eq!(page.peers(), [legacy.peer, standard.peer]);
            let flavours: Vec<_> = page.registrations.iter().map(|found| found.record.flavour()).collect();
            assert_eq!(flavours, [Flavour::Legacy, Flavour::Standard]);
        }
    })
    .await;
}

#[tokio::test]
async fn its_client_may_ask_before_identify_has_run() {
    in_time(async {
        let Mixed { point, legacy, standard: _standard } = mixed(|_| {}).await;
        // The request is on its way before identify has anything to tell.
        for _ in 0..8 {
            let mut hasty = theirs::client().await;
            let page = hasty.discover_while_dialling("chat", point.peer, &point.address).await.unwrap();
            assert_eq!(page.peers(), [legacy.peer]);
        }
        let awaited = point.role(|point| point.shell_stats().agents_awaited).await;
        assert!((1..=8).contains(&awaited), "{awaited} answers have waited for what identify told");
    })
    .await;
}

#[tokio::test]
async fn under_an_agent_version_of_its_own_its_client_needs_a_registration_or_the_points_setting() {
    in_time(async {
        let renamed = || Options::default().agent_version("my-app/0.1.0");

        let Mixed { mut point, legacy, standard: _standard } = mixed(|_| {}).await;
        let mut client = theirs::client_with(renamed()).await;
        client.connect(&mut point).await;
        // Nothing tells what it reads, so it gets what all others read, and fails on it.
        let outcome = client.discover(Some("chat"), point.peer, None, None).await;
        assert_eq!(outcome.unwrap_err(), ErrorCode::Unavailable);
        assert_eq!(client.register("elsewhere", point.peer, None).await, Ok(7_200));
        let page = client.discover(Some("chat"), point.peer, None, None).await.unwrap();
        assert_eq!(page.peers(), [legacy.peer]);

        let Mixed { mut point, legacy, standard: _standard } =
            mixed(|config| config.server.unknown_reads = Flavours::LEGACY).await;
        let mut client = theirs::client_with(renamed()).await;
        client.connect(&mut point).await;
        let page = client.discover(Some("chat"), point.peer, None, None).await.unwrap();
        assert_eq!(page.peers(), [legacy.peer]);
    })
    .await;
}

#[tokio::test]
async fn our_client_registers_both_flavours_and_is_found_by_both_families() {
    in_time(async {
        let Mixed { mut point, mut legacy, standard } = mixed(|_| {}).await;
        let mut ours = ours::client().await;
        // That the point is dual is what identify tells: here before the registration, below behind it.
        ours.connect(&mut point).await;
        let id = ours.register("chat", point.peer, 7_200).await;
        let flavours = BTreeSet::from([ours.registered(id).await, ours.registered(id).await]);
        assert_eq!(flavours, BTreeSet::from([(Flavour::Standard, 7_200), (Flavour::Legacy, 7_200)]));
        let mut hasty = ours::client().await;
        hasty.knows_point(point.peer, &point.address).await;
        let id = hasty.register("chat", point.peer, 7_200).await;
        let flavours = BTreeSet::from([hasty.registered(id).await, hasty.registered(id).await]);
        assert_eq!(flavours.len(), 2);
        assert_eq!(point.stats().await.registrations, 4, "two records of a peer are one registration");

        let page = legacy.discover(Some("chat"), point.peer, None, None).await.unwrap();
        let found: BTreeSet<_> = page.peers().into_iter().collect();
        assert_eq!((page.peers().len(), found), (3, BTreeSet::from([legacy.peer, ours.peer, hasty.peer])));
        let of_ours = page.registrations.iter().find(|found| found.record.peer_id() == ours.peer).unwrap();
        assert_eq!(of_ours.record.addresses(), [ours.address.clone()]);

        let page = ours.discover(Some("chat"), point.peer, 100, From::Fresh).await.unwrap();
        let found: BTreeSet<_> = page.peers().into_iter().collect();
        assert_eq!((page.peers().len(), found), (3, BTreeSet::from([legacy.peer, standard.peer, hasty.peer])));
        assert_eq!(page.skipped, Skipped { own: 1, ..Skipped::default() });
    })
    .await;
}
