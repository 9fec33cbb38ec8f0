//! Several rendezvous points, some of which fail, come, go or forget.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::time::Duration;

use futures::StreamExt;
use rendezvous_discovery::{AdvertisementEvent, FailureKind, Stopped, Timing};

use common::{
    expired, found,
    member::{Member, advertised_at, brisk, dead_point, failed_at},
    namespace, nowhere,
    point::{Point, silent_point, stranger},
    within,
};

#[tokio::test]
async fn points_that_fail_are_told_apart_and_stop_nothing() {
    within(async {
        let chat = namespace("chat");
        let good = Point::new().await;
        let closed = Point::closed_to(&chat).await;
        let stranger = stranger().await;
        let silent = silent_point().await;
        let dead = dead_point();
        let places = [
            dead.clone(),
            closed.place(),
            (stranger.id, stranger.address.clone()),
            (silent.id, silent.address.clone()),
            good.place(),
        ];
        let [seeker, hider] = [Member::of(&places).await, Member::of(&places).await];
        let cases = [
            (closed.node.id, FailureKind::Refused),
            (dead.0, FailureKind::Unreachable),
            (stranger.id, FailureKind::Unsupported),
            (silent.id, FailureKind::TimedOut),
        ];
        // The last word of each point waits, so one handle for each of them sees it.
        let mut handles: Vec<_> = cases.iter().map(|_| hider.manager.advertise(chat.clone()).unwrap()).collect();
        for ((point, kind), advertisement) in cases.into_iter().zip(&mut handles) {
            assert_eq!(failed_at(advertisement, point).await, kind);
        }
        let mut find = seeker.manager.find(chat.clone()).unwrap();
        assert_eq!(found(&mut find).await.id(), hider.id());
        let all = seeker.manager.refresh(chat).await.unwrap();
        assert_eq!(all.len(), 1, "it waits for those that do not answer no longer than they take to fail");
    })
    .await;
}

#[tokio::test]
async fn an_advertisement_without_points_or_addresses_says_so_and_comes_when_there_are() {
    within(async {
        let point = Point::new().await;
        let hider = Member::of(&[]).await;
        let mut advertisement = hider.manager.advertise(namespace("chat")).unwrap();
        let AdvertisementEvent::Failed { place: None, failure, .. } = advertisement.next().await.unwrap() else {
            panic!("there is no point");
        };
        assert_eq!(failure.kind, FailureKind::Unreachable);
        hider.add_point(point.node.id, point.node.address.clone()).await;
        advertised_at(&mut advertisement, point.node.id).await;

        let shy = Member::of(&[point.place()]).await;
        let address = shy.address.clone();
        let removed = address.clone();
        shy.node.with(move |swarm| swarm.remove_external_address(&removed)).await;
        let mut advertisement = shy.manager.advertise(namespace("chat")).unwrap();
        let AdvertisementEvent::Failed { place: None, failure, .. } = advertisement.next().await.unwrap() else {
            panic!("there is no address");
        };
        assert_eq!(failure.kind, FailureKind::NoAddresses);
        shy.node.with(move |swarm| swarm.add_external_address(address)).await;
        advertised_at(&mut advertisement, point.node.id).await;
    })
    .await;
}

#[tokio::test]
async fn points_that_come_and_go_take_their_peers_along() {
    within(async {
        let [mut here, there] = [Point::new().await, Point::new().await];
        let seeker = Member::of(&[here.place()]).await;
        let hider = Member::of(&[there.place()]).await;
        let chat = namespace("chat");
        let mut advertisement = hider.manager.advertise(chat.clone()).unwrap();
        advertised_at(&mut advertisement, there.node.id).await;
        let mut find = seeker.manager.find(chat.clone()).unwrap();
        assert_eq!(seeker.manager.refresh(chat.clone()).await.unwrap(), []);
        // The seeker comes to know the other point …
        seeker.add_point(there.node.id, there.node.address.clone()).await;
        assert_eq!(found(&mut find).await.id(), hider.id());
        // … and is told to use it no longer; whoever is listed there alone is gone.
        assert!(seeker.remove_point(there.node.id).await);
        assert!(!seeker.remove_point(there.node.id).await);
        assert_eq!(expired(&mut find).await.id(), hider.id());
        // What is advertised goes to a point that comes, too, and is withdrawn where it goes.
        hider.add_point(here.node.id, here.node.address.clone()).await;
        here.registered(hider.id(), &chat).await;
        assert_eq!(found(&mut find).await.id(), hider.id());
        assert!(hider.remove_point(here.node.id).await);
        here.unregistered(hider.id(), &chat).await;
        assert_eq!(expired(&mut find).await.id(), hider.id());
    })
    .await;
}

#[tokio::test]
async fn a_point_that_has_forgotten_everything_lists_this_peer_again_within_tta() {
    within(async {
        let mut point = Point::new().await;
        let timing = Timing { tta: Duration::from_millis(300), ..brisk() };
        let hider = Member::timed(timing, &[point.place()]).await;
        let seeker = Member::of(&[point.place()]).await;
        let chat = namespace("chat");
        let _advertisement = hider.manager.advertise(chat.clone()).unwrap();
        let mut find = seeker.manager.find(chat.clone()).unwrap();
        found(&mut find).await;
        // Five renewals in a row are so many times tta.
        for _ in 0..5 {
            point.registered(hider.id(), &chat).await;
        }
        let mut point = point.restart().await;
        // Its connections have ended, and both come back by themselves.
        point.registered(hider.id(), &chat).await;
        assert!(point.lists(hider.id(), &chat).await);
        assert_eq!(seeker.manager.refresh(chat).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn advertisements_go_on_at_every_tta_where_they_fail() {
    within(async {
        let [one, two] = ["ns1", "ns2"].map(namespace);
        let mut point = Point::closed_to(&one).await;
        let timing = Timing { tta: Duration::from_millis(100), ..brisk() };
        let hider = Member::timed(timing, &[point.place()]).await;
        let mut closed = hider.manager.advertise(one).unwrap();
        let _open = hider.manager.advertise(two.clone()).unwrap();
        for _ in 0..5 {
            point.registered(hider.id(), &two).await;
        }
        for _ in 0..3 {
            assert_eq!(failed_at(&mut closed, point.node.id).await, FailureKind::Refused);
        }
    })
    .await;
}

#[tokio::test]
async fn stopping_waits_until_every_name_is_withdrawn() {
    within(async {
        let point = Point::new().await;
        let hider = Member::of(&[point.place()]).await;
        let names: Vec<_> = (0..20).map(|number| namespace(&format!("name-{number}"))).collect();
        let mut handles = Vec::new();
        for name in &names {
            let mut advertisement = hider.manager.advertise(name.clone()).unwrap();
            advertised_at(&mut advertisement, point.node.id).await;
            handles.push(advertisement);
        }
        let mut find = hider.manager.find(names[0].clone()).unwrap();
        hider.manager.stop().await;
        // UNREGISTER has no answer: that the stream was closed behind it is told before the point may have read it.
        while point.stats().await.unregisters < 20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(point.stats().await.registrations, 0);
        assert!(find.next().await.is_none() && handles[0].next().await.is_none());
        hider.manager.stop().await;
        assert_eq!(hider.manager.find(names[0].clone()).err(), Some(Stopped));
        assert_eq!(hider.manager.advertise(names[0].clone()).err(), Some(Stopped));
        assert_eq!(hider.manager.refresh(names[0].clone()).await, Err(Stopped));
    })
    .await;
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_point_where_nothing_stands() {
    within(async {
        let point = Point::new().await;
        let (dead, _) = dead_point();
        let hider = Member::of(&[(dead, nowhere()), point.place()]).await;
        let mut advertisement = hider.manager.advertise(namespace("chat")).unwrap();
        assert_eq!(failed_at(&mut advertisement, dead).await, FailureKind::Unreachable);
        let begun = std::time::Instant::now();
        hider.manager.stop().await;
        let limit = rendezvous_discovery::Config::default().stop_timeout;
        assert!(begun.elapsed() < limit, "{:?}", begun.elapsed());
    })
    .await;
}

#[tokio::test]
async fn dropping_the_swarm_ends_the_source_and_what_it_has_told() {
    within(async {
        let point = Point::new().await;
        let [seeker, hider] = [Member::of(&[point.place()]).await, Member::of(&[point.place()]).await];
        let chat = namespace("chat");
        let _advertisement = hider.manager.advertise(chat.clone()).unwrap();
        let mut find = seeker.manager.find(chat).unwrap();
        let peer = found(&mut find).await;
        assert_eq!(seeker.manager.sources().len(), 1);
        seeker.node.kill().await;
        assert_eq!(expired(&mut find).await, peer);
        assert_eq!(seeker.manager.sources(), []);
        assert!(!seeker.manager.remove_source(seeker.source));
    })
    .await;
}

#[tokio::test]
async fn dropping_every_handle_or_the_source_withdraws_at_the_point() {
    within(async {
        let mut point = Point::new().await;
        let chat = namespace("chat");
        let member = Member::of(&[point.place()]).await;
        let advertisement = member.manager.advertise(chat.clone()).unwrap();
        point.registered(member.id(), &chat).await;
        let Member { node, manager, .. } = member;
        drop(manager);
        assert!(point.lists(node.id, &chat).await, "the advertisement is a handle too");
        drop(advertisement);
        point.unregistered(node.id, &chat).await;

        let member = Member::of(&[point.place()]).await;
        let _advertisement = member.manager.advertise(chat.clone()).unwrap();
        point.registered(member.id(), &chat).await;
        assert!(member.manager.remove_source(member.source));
        point.unregistered(member.id(), &chat).await;
    })
    .await;
}
