//! Points whose listings do not end, over connections.

mod client_common;

use std::time::Duration;

use client_common::{Client, Point, namespace, page, within};
use rendezvous_record::Flavour;
use rendezvous_swarm::client::{Config, Event, From, LookupConfig, WalkLimit};

/// Answers every request with the same registrations and a new cookie; gives the number of requests when `until` ends.
async fn answer_endlessly<F: Future>(point: &mut Point, envelope: &[u8], until: F) -> (u64, F::Output) {
    let mut pages = 0_u64;
    tokio::pin!(until);
    loop {
        tokio::select! {
            output = &mut until => return (pages, output),
            mut stream = point.accept() => {
                if stream.request().await.is_some() {
                    pages += 1;
                    stream.send(&page("chat", &[envelope], &pages.to_be_bytes())).await;
                    stream.close().await;
                }
            }
        }
    }
}

/// The envelope of a stranger.
async fn stranger() -> Vec<u8> {
    let mut point = Point::new().await;
    let mut other = Client::of(&point, Config::default()).await;
    other.behaviour().register(namespace("chat"), [point.id], None);
    let (record, _) = futures::join!(point.grant_registration(), other.event());
    assert_eq!(record.flavour(), Flavour::Standard);
    record.envelope().to_vec()
}

#[tokio::test]
async fn a_lookup_gives_up_on_a_listing_without_end_and_keeps_what_was_found() {
    within(async {
        let envelope = stranger().await;
        let mut point = Point::new().await;
        let config = Config { reuse_streams: false, ..Config::default() };
        let mut client = Client::of(&point, config).await;
        let every = Some(Duration::from_secs(1));
        let lookup = client.behaviour().look_up(
            Some(namespace("chat")),
            [point.id],
            LookupConfig { every, ..LookupConfig::default() },
        );
        let polled = async {
            loop {
                if let Event::LookupPolled { is_whole, cut, next_at, .. } = client.event().await {
                    return (is_whole, cut, next_at);
                }
            }
        };
        let (pages, (is_whole, cut, next_at)) = answer_endlessly(&mut point, &envelope, polled).await;
        assert_eq!((pages, is_whole, cut), (17, false, Some(WalkLimit::NothingNew)));
        let behaviour = client.behaviour();
        assert!(next_at.is_some_and(|at| at.saturating_since(behaviour.now()) > Duration::from_secs(10)));
        assert_eq!(behaviour.found(lookup).count(), 1);
        assert_eq!(behaviour.stats().walks_cut.nothing_new, 1);
    })
    .await;
}

#[tokio::test]
async fn who_walks_page_by_page_is_told_that_the_listing_was_given_up() {
    within(async {
        let envelope = stranger().await;
        let mut point = Point::new().await;
        let config = Config { reuse_streams: false, ..Config::default() };
        let mut client = Client::of(&point, config).await;
        let id = point.id;
        let walk = async {
            let mut from = From::Fresh;
            loop {
                client.behaviour().discover(id, Some(namespace("chat")), None, from);
                let Event::Discovered { more, cut, .. } = client.event().await else { panic!("a page") };
                if !more {
                    return cut;
                }
                from = From::Cookie;
            }
        };
        let (pages, cut) = answer_endlessly(&mut point, &envelope, walk).await;
        assert_eq!((pages, cut), (17, Some(WalkLimit::NothingNew)));
    })
    .await;
}
