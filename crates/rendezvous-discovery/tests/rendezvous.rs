//! Rendezvous points as a source: who advertises is found, changes, leaves, and ends.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures::StreamExt;
use rendezvous_discovery::{AdvertisementEvent, Timing, rendezvous};
use rendezvous_swarm::server;

use common::{
    expired, found,
    member::{Member, advertised_at, brisk},
    namespace,
    point::Point,
    public_address, updated, within,
};

#[tokio::test]
async fn who_advertises_is_found_by_others_and_not_by_itself() {
    within(async {
        let point = Point::new().await;
        let [one, other] = [Member::of(&[point.place()]).await, Member::of(&[point.place()]).await];
        let chat = namespace("chat");
        let mut finds = [one.manager.find(chat.clone()).unwrap(), other.manager.find(chat.clone()).unwrap()];
        let mut handles = Vec::new();
        for member in [&one, &other] {
            let mut advertisement = member.manager.advertise(chat.clone()).unwrap();
            let (source, ttl) = advertisement.advertised().await.unwrap();
            assert_eq!((source, ttl), (rendezvous::NAME, rendezvous_discovery::TTL));
            handles.push(advertisement);
        }
        for (find, expected) in finds.iter_mut().zip([&other, &one]) {
            let peer = found(find).await;
            assert_eq!(peer.id(), expected.id());
            assert_eq!(peer.addresses(), std::slice::from_ref(&expected.address));
            assert!(peer.seq().is_some());
            assert_eq!(peer.namespaces().collect::<Vec<_>>(), [&chat]);
            assert_eq!(peer.sources().collect::<Vec<_>>(), [&rendezvous::NAME]);
        }
        // A whole poll later it is still nobody else.
        for (member, find) in [&one, &other].iter().zip(&mut finds) {
            assert_eq!(member.manager.refresh(chat.clone()).await.unwrap().len(), 1);
            assert_eq!(common::waiting(find), []);
        }
    })
    .await;
}

#[tokio::test]
async fn a_peer_at_several_points_is_found_once_and_stays_until_the_last_has_lost_it() {
    within(async {
        let [mut first, mut second] = [Point::new().await, Point::new().await];
        let points = [first.place(), second.place()];
        let [seeker, hider] = [Member::of(&points).await, Member::of(&points).await];
        let chat = namespace("chat");
        let advertisement = hider.manager.advertise(chat.clone()).unwrap();
        first.registered(hider.id(), &chat).await;
        second.registered(hider.id(), &chat).await;
        let mut find = seeker.manager.find(chat.clone()).unwrap();
        assert_eq!(found(&mut find).await.id(), hider.id());
        assert_eq!(seeker.manager.refresh(chat.clone()).await.unwrap().len(), 1);
        assert!(hider.remove_point(first.node.id).await);
        first.unregistered(hider.id(), &chat).await;
        assert_eq!(seeker.manager.refresh(chat.clone()).await.unwrap().len(), 1);
        assert_eq!(common::waiting(&mut find), []);
        drop(advertisement);
        second.unregistered(hider.id(), &chat).await;
        assert_eq!(expired(&mut find).await.id(), hider.id());
    })
    .await;
}

#[tokio::test]
async fn a_change_of_addresses_is_told_with_a_higher_seq() {
    within(async {
        let point = Point::new().await;
        let seeker = Member::of(&[point.place()]).await;
        let mut hider = Member::of(&[point.place()]).await;
        let chat = namespace("chat");
        let _advertisement = hider.manager.advertise(chat.clone()).unwrap();
        let mut find = seeker.manager.find(chat).unwrap();
        let before = found(&mut find).await;
        hider.move_to(public_address()).await;
        let after = updated(&mut find).await;
        assert_eq!((after.id(), after.addresses()), (hider.id(), &[hider.address.clone()][..]));
        assert!(after.seq() > before.seq());
    })
    .await;
}

#[tokio::test]
async fn dropping_the_handle_withdraws_and_others_are_told_by_their_next_poll() {
    within(async {
        let mut point = Point::new().await;
        let [seeker, hider] = [Member::of(&[point.place()]).await, Member::of(&[point.place()]).await];
        let [chat, news] = ["chat", "news"].map(namespace);
        let kept = hider.manager.advertise(news.clone()).unwrap();
        let advertisement = hider.manager.advertise(chat.clone()).unwrap();
        let mut find = seeker.manager.find(chat.clone()).unwrap();
        found(&mut find).await;
        drop(advertisement);
        point.unregistered(hider.id(), &chat).await;
        assert_eq!(expired(&mut find).await.id(), hider.id());
        assert!(point.lists(hider.id(), kept.namespace()).await, "the other name stays");
        // Two handles keep a name until both are gone.
        let [first, second] = [(); 2].map(|()| hider.manager.advertise(chat.clone()).unwrap());
        found(&mut find).await;
        drop(first);
        seeker.manager.refresh(chat.clone()).await.unwrap();
        assert!(point.lists(hider.id(), &chat).await);
        second.withdraw().await;
        point.unregistered(hider.id(), &chat).await;
    })
    .await;
}

#[tokio::test]
async fn a_registration_whose_peer_has_died_ends_by_its_ttl() {
    within(async {
        let point = Point::new().await;
        let seeker = Member::of(&[point.place()]).await;
        let timing = Timing { ttl: Duration::from_secs(3), ..brisk() };
        let hider = Member::timed(timing, &[point.place()]).await;
        let chat = namespace("chat");
        let mut advertisement = hider.manager.advertise(chat.clone()).unwrap();
        assert_eq!(advertised_at(&mut advertisement, point.node.id).await, timing.ttl);
        let mut find = seeker.manager.find(chat).unwrap();
        let peer = found(&mut find).await;
        // Its swarm is gone before its manager: nobody withdraws.
        hider.node.kill().await;
        assert_eq!(expired(&mut find).await, peer);
        assert_eq!(point.stats().await.unregisters, 0);
    })
    .await;
}

#[tokio::test]
async fn a_short_lifetime_is_renewed_for_as_long_as_the_handle_lives() {
    within(async {
        let mut point = Point::new().await;
        // It is renewed with 2 s left at least, of which polls and points see whole ones.
        let timing = Timing { ttl: Duration::from_secs(16), ..brisk() };
        let [seeker, hider] = [Member::of(&[point.place()]).await, Member::timed(timing, &[point.place()]).await];
        let chat = namespace("chat");
        let mut advertisement = hider.manager.advertise(chat.clone()).unwrap();
        let mut find = seeker.manager.find(chat.clone()).unwrap();
        found(&mut find).await;
        point.registered(hider.id(), &chat).await;
        advertised_at(&mut advertisement, point.node.id).await;
        point.registered(hider.id(), &chat).await;
        let event = advertisement.next().await.unwrap();
        assert!(matches!(event, AdvertisementEvent::Advertised { .. }), "{event:?}");
        seeker.manager.refresh(chat).await.unwrap();
        assert_eq!(common::waiting(&mut find), [], "a renewal is told to nobody");
    })
    .await;
}

#[tokio::test]
async fn registrations_and_withdrawals_in_quick_turn_are_each_found_and_each_told_to_be_gone() {
    within(async {
        let mut point = Point::new().await;
        let places = [point.place()];
        let seeker = Member::of(&places).await;
        let hiders = [Member::of(&places).await, Member::of(&places).await];
        let foo = namespace("foo");
        let mut find = seeker.manager.find(foo.clone()).unwrap();
        for _ in 0..10 {
            let handles: Vec<_> = hiders.iter().map(|it| it.manager.advertise(foo.clone()).unwrap()).collect();
            let ids: BTreeSet<_> = [found(&mut find).await.id(), found(&mut find).await.id()].into();
            assert_eq!(ids, hiders.iter().map(Member::id).collect());
            drop(handles);
            find.ask_now();
            let gone: BTreeSet<_> = [expired(&mut find).await.id(), expired(&mut find).await.id()].into();
            assert_eq!(gone, ids);
            // Whoever asks anew finds nobody.
            assert_eq!(hiders[0].manager.refresh(foo.clone()).await.unwrap(), []);
        }
        for hider in &hiders {
            point.unregistered(hider.id(), &foo).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_ttr_of_a_quarter_of_a_second_is_kept() {
    within(async {
        let mut point = Point::new().await;
        let seeker = Member::of(&[point.place()]).await;
        let _find = seeker.manager.find(namespace("foo")).unwrap();
        let mut is_served = async || {
            point.until(|event| matches!(event, server::Event::Served { .. })).await;
        };
        is_served().await;
        let begun = Instant::now();
        for _ in 0..8 {
            is_served().await;
        }
        // Some 2 s, and never less than seven eighths of that.
        let taken = begun.elapsed();
        assert!((Duration::from_millis(1_750)..Duration::from_millis(6_000)).contains(&taken), "{taken:?}");
    })
    .await;
}

#[tokio::test]
async fn who_registers_later_is_found_at_the_next_request() {
    within(async {
        let point = Point::new().await;
        let places = [point.place()];
        let seeker = Member::of(&places).await;
        let foo = namespace("foo");
        let mut find = seeker.manager.find(foo.clone()).unwrap();
        let mut handles = Vec::new();
        for _ in 0..3 {
            let hider = Member::of(&places).await;
            handles.push(hider.manager.advertise(foo.clone()).unwrap());
            assert_eq!(found(&mut find).await.id(), hider.id());
            handles.push(hider.manager.advertise(namespace("other")).unwrap());
            // Its swarm goes on without it.
            std::mem::forget(hider.node);
        }
        assert!(point.stats().await.discovers >= 3);
    })
    .await;
}
