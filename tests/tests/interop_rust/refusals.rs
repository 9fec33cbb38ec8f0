//! Each refusal that its client can provoke at our point, with the code that it reports.
//!
//! Its `InternalError` is not among them: our point answers so only when a store fails.

use libp2p_rendezvous::ErrorCode;
use rendezvous_record::{Flavour, Flavours};
use rendezvous_swarm::server::{Config, Event, Refusal};
use rendezvous_tests::{in_time, ours, theirs};
use rendezvous_wire::{InvalidNamespace, Ttl};

async fn connected(change: impl FnOnce(&mut Config)) -> (ours::Point, theirs::Client) {
    let mut point = ours::point(change).await;
    let mut client = theirs::client().await;
    client.connect(&mut point).await;
    (point, client)
}

/// The next refusal at the point; what was granted and served before it is passed over.
async fn refusal(point: &mut ours::Point) -> Refusal {
    loop {
        match point.event().await {
            Event::Refused { refusal, .. } => return refusal,
            Event::Registered { .. } | Event::Served { .. } => {}
            other => panic!("a refusal, not {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_ttl_out_of_bounds_is_invalid_ttl() {
    in_time(async {
        let (mut point, mut client) = connected(|config| config.server.ttl_min = Ttl::from_secs(60)).await;
        for inside in [60, 259_200] {
            assert_eq!(client.register("chat", point.peer, Some(inside)).await, Ok(inside));
        }
        for outside in [1, 59, 259_201, u64::MAX] {
            let outcome = client.register("chat", point.peer, Some(outside)).await;
            assert_eq!(outcome, Err(ErrorCode::InvalidTtl), "{outside} s");
            assert!(matches!(refusal(&mut point).await, Refusal::TtlTooShort { .. } | Refusal::TtlTooLong { .. }));
        }
    })
    .await;
}

#[tokio::test]
async fn a_full_quota_of_the_peer_is_not_authorized_and_renewals_pass() {
    in_time(async {
        let (mut point, mut client) = connected(|config| config.server.registrations_per_peer_max = 1).await;
        assert_eq!(client.register("chat", point.peer, None).await, Ok(7_200));
        assert_eq!(client.register("news", point.peer, None).await, Err(ErrorCode::NotAuthorized));
        assert_eq!(refusal(&mut point).await, Refusal::PeerFull { max: 1 });
        assert_eq!(client.register("chat", point.peer, None).await, Ok(7_200));
    })
    .await;
}

#[tokio::test]
async fn a_full_point_is_unavailable_and_renewals_pass() {
    in_time(async {
        let (mut point, mut client) = connected(|config| config.server.registrations_max = 1).await;
        let mut late = theirs::client().await;
        late.connect(&mut point).await;
        assert_eq!(client.register("chat", point.peer, None).await, Ok(7_200));
        assert_eq!(late.register("chat", point.peer, None).await, Err(ErrorCode::Unavailable));
        assert_eq!(refusal(&mut point).await, Refusal::Full);
        assert_eq!(client.register("chat", point.peer, None).await, Ok(7_200));
    })
    .await;
}

#[tokio::test]
async fn an_empty_namespace_is_invalid_namespace() {
    in_time(async {
        let (mut point, mut client) = connected(|_| {}).await;
        assert_eq!(client.register("", point.peer, None).await, Err(ErrorCode::InvalidNamespace));
        assert_eq!(refusal(&mut point).await, Refusal::Namespace(InvalidNamespace::Empty));
    })
    .await;
}

#[tokio::test]
async fn a_record_that_the_point_does_not_take_is_invalid_signed_peer_record() {
    in_time(async {
        let standard_alone = Flavours::from(Flavour::Standard);
        let (mut point, mut client) = connected(|config| config.server.accepts = standard_alone).await;
        let outcome = client.register("chat", point.peer, None).await;
        assert_eq!(outcome, Err(ErrorCode::InvalidSignedPeerRecord));
        assert_eq!(refusal(&mut point).await, Refusal::FlavourNotAccepted(Flavour::Legacy));
    })
    .await;
}

#[tokio::test]
async fn a_cookie_of_another_listing_is_invalid_cookie() {
    in_time(async {
        let (mut point, mut client) = connected(|_| {}).await;
        assert_eq!(client.register("chat", point.peer, None).await, Ok(7_200));
        let cookie = client.discover(Some("chat"), point.peer, None, None).await.unwrap().cookie;
        for listing in [Some("news"), None] {
            let outcome = client.discover(listing, point.peer, None, Some(&cookie)).await;
            assert_eq!(outcome.unwrap_err(), ErrorCode::InvalidCookie);
            assert_eq!(refusal(&mut point).await, Refusal::Cookie);
        }
        assert_eq!(client.discover(Some("chat"), point.peer, None, Some(&cookie)).await.unwrap().peers(), []);
    })
    .await;
}
