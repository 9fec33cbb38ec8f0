//! What holds of every store behind a point, whatever keeps its bytes.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod common;

use common::{
    places::{InDirectory, InFiles, InMap, InMemory, Place},
    point::{Point, at, config},
};
use multiaddr::{Multiaddr, Protocol};
use rendezvous_core::server::{Change, IpPrefix, Origin, Refusal};
use rendezvous_record::{Flavour, Limits, VerifiedRecord};
use rendezvous_sim::{
    desk::peer,
    fixtures::{self, EPOCH},
};
use rendezvous_store::{Opened, Store};
use rendezvous_wire::PeerInfo;

use Flavour::{Legacy, Standard};

const HOUR: u64 = 3_600;

macro_rules! properties_of {
    ($($store:ident: $place:ty { $($property:ident,)* })*) => {
        $(mod $store {
            use super::*;
            $(#[test] fn $property() { super::$property::<$place>(); })*
        })*
    };
}

macro_rules! properties_of_durable_stores {
    ($($store:ident: $place:ty,)*) => {
        properties_of! { $($store: $place {
            an_empty_store_opens_empty,
            what_was_registered_is_there_after_a_restart,
            both_flavours_and_renewals_are_there_after_a_restart,
            a_flavour_that_ends_first_leaves_the_other,
            what_was_withdrawn_stays_so,
            a_cookie_goes_on_over_any_number_of_restarts,
            a_cookie_goes_on_when_the_highest_position_was_withdrawn,
            a_cookie_goes_on_when_the_highest_position_has_ended,
            quotas_count_what_was_there_before,
            shares_without_an_address_and_exemptions_hold_over_restarts,
            what_has_ended_is_dropped_when_it_is_read,
            a_forget_takes_one_flavour_out,
            an_unsigned_registration_is_kept_as_such,
            nothing_is_left_when_all_has_ended,
            a_clock_set_back_brings_nothing_back,
            large_records_fit,
            many_registrations_fit,
            a_registration_changed_often_in_one_commit_is_kept_once,
        })* }
    };
}

properties_of_durable_stores! {
    embedded: InDirectory,
    map: InMap,
    files: InFiles,
}

properties_of! {
    memory: InMemory {
        an_empty_store_opens_empty,
        a_point_in_memory_begins_anew,
    }
}

fn an_empty_store_opens_empty<P: Place>() {
    let place = P::default();
    for _ in 0..3 {
        let mut point = place.point(0);
        assert_eq!(point.opened, Opened { now: EPOCH, registrations: 0, ended: 0 });
        assert_eq!(point.listing(), [vec![], vec![], vec![]]);
        assert_eq!(point.store.last().unwrap(), None);
    }
    assert_eq!(place.kept(), 0);
}

fn a_point_in_memory_begins_anew<P: Place>() {
    let place = P::default();
    let mut point = place.point(0);
    let mut cookie = Vec::new();
    point.register(1, Standard, "a", HOUR).unwrap();
    assert_eq!(point.page(None, 10, &mut cookie).len(), 1);
    assert_eq!(point.page(None, 10, &mut cookie).len(), 0);

    point = place.point(10);
    assert_eq!(point.listing()[0], vec![]);
    for number in [1, 2] {
        point.register(number, Standard, "a", HOUR).unwrap();
    }
    assert_eq!(point.page(None, 10, &mut cookie).len(), 2, "everything is listed anew, also what had been listed");
}

fn what_was_registered_is_there_after_a_restart<P: Place>() {
    let place = P::default();
    let mut point = place.point(0);
    for number in 0..20 {
        point.register(number, Standard, ["a", "b", "c"][number as usize % 3], HOUR + 7 * number).unwrap();
        point.pass(3);
    }
    let before = point.listing();
    assert_eq!(before[0].len(), 20);
    point = place.reopened(point);
    assert_eq!(point.opened.registrations, 20);
    assert_eq!(point.listing(), before, "the same, in the same order, with the same remaining TTLs");

    drop(point);
    let mut point = place.point(1_000);
    let mut later = before;
    later.iter_mut().flatten().for_each(|found| found.ttl_secs -= 1_000 - 60);
    assert_eq!(point.listing(), later, "time has gone on meanwhile");
}

fn both_flavours_and_renewals_are_there_after_a_restart<P: Place>() {
    let place = P::default();
    let mut point = place.point(0);
    for (number, flavour) in [(1, Standard), (2, Legacy), (3, Standard), (1, Legacy), (2, Legacy), (4, Standard)] {
        point.register(number, flavour, "a", HOUR).unwrap();
        point.pass(10);
        let before = point.listing();
        point = place.reopened(point);
        assert_eq!(point.listing(), before);
    }
    assert_eq!(numbers(&mut point), [3, 1, 2, 4]);
    drop(point);
    assert_eq!(place.kept(), 4);
}

fn numbers<S: Store>(point: &mut Point<S>) -> Vec<u64> {
    let [all, ..] = point.listing();
    all.iter().map(|found| (0..100).find(|&number| peer(number) == found.peer).unwrap()).collect()
}

fn a_flavour_that_ends_first_leaves_the_other<P: Place>() {
    for (first, second) in [(Standard, Legacy), (Legacy, Standard)] {
        let place = P::default();
        let mut point = place.point(0);
        point.register(1, first, "a", 100).unwrap();
        point.register(1, second, "a", HOUR).unwrap();
        point = place.reopened(point);
        drop(point);
        point = place.point(200);
        assert_eq!((point.opened.registrations, point.opened.ended), (1, 1));
        assert_eq!(point.listing()[0].iter().map(|found| found.flavour).collect::<Vec<_>>(), [second]);
        let before = point.listing();
        point = place.reopened(point);
        assert_eq!(point.opened.ended, 0, "it was dropped");
        assert_eq!(point.listing(), before);
        drop(point);
        point = place.point(HOUR + 1);
        assert_eq!((point.opened.registrations, point.opened.ended), (0, 1));
        drop(point);
        assert_eq!(place.kept(), 0);
    }
}

fn what_was_withdrawn_stays_so<P: Place>() {
    let place = P::default();
    let mut point = place.point(0);
    for namespace in ["a", "b", "c"] {
        for number in 1..=3 {
            point.register(number, Standard, namespace, HOUR).unwrap();
        }
    }
    point.unregister(1, Some("b")).unwrap();
    point.unregister(2, None).unwrap();
    point.unregister(3, Some("nowhere")).unwrap();
    let before = point.listing();
    assert_eq!(before[0].len(), 5);
    point = place.reopened(point);
    assert_eq!(point.listing(), before);
    point.register(2, Legacy, "b", HOUR).unwrap();
    point = place.reopened(point);
    assert_eq!(point.listing()[0].len(), 6);
    drop(point);
    assert_eq!(place.kept(), 6);
}

fn a_cookie_goes_on_over_any_number_of_restarts<P: Place>() {
    let place = P::default();
    let mut point = place.point(0);
    let (mut cookie, mut in_a, mut seen, mut seen_in_a) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..10 {
        for number in 0..3 {
            point.register(10 * round + number, Standard, ["a", "b"][number as usize % 2], HOUR).unwrap();
        }
        point = place.reopened(point);
        // Fewer than come, so that it falls behind.
        seen.extend(point.page(None, 2, &mut cookie).into_iter().map(|found| found.peer));
        point = place.reopened(point);
        seen_in_a.extend(point.page(Some("a"), 5, &mut in_a).into_iter().map(|found| found.peer));
        point = place.reopened(point);
    }
    seen.extend(point.page(None, 100, &mut cookie).into_iter().map(|found| found.peer));
    let all = (0..10).flat_map(|round| (0..3).map(move |number| peer(10 * round + number)));
    assert_eq!(seen, all.collect::<Vec<_>>(), "none skipped, none repeated");
    let of_a = (0..10).flat_map(|round| [0, 2].map(|number| peer(10 * round + number)));
    assert_eq!(seen_in_a, of_a.collect::<Vec<_>>());
    assert_eq!(point.page(None, 100, &mut cookie), []);
}

fn a_cookie_goes_on_when_the_highest_position_was_withdrawn<P: Place>() {
    let place = P::default();
    let mut point = place.point(0);
    let mut cookie = Vec::new();
    for number in 1..=3 {
        point.register(number, Standard, "a", HOUR).unwrap();
    }
    assert_eq!(point.page(None, 10, &mut cookie).len(), 3);
    point.unregister(3, None).unwrap();
    point = place.reopened(point);
    point.unregister(2, None).unwrap();
    point = place.reopened(point);
    assert_eq!(point.page(None, 10, &mut cookie.clone()), []);
    point.register(4, Standard, "a", HOUR).unwrap();
    let page = point.page(None, 10, &mut cookie);
    assert_eq!(page.iter().map(|found| found.peer).collect::<Vec<_>>(), [peer(4)]);
}

fn a_cookie_goes_on_when_the_highest_position_has_ended<P: Place>() {
    let place = P::default();
    let mut point = place.point(0);
    let mut cookie = Vec::new();
    point.register(1, Standard, "a", HOUR).unwrap();
    point.register(2, Standard, "a", 100).unwrap();
    assert_eq!(point.page(None, 10, &mut cookie).len(), 2);
    // Once it ends while the point runs, once while it does not.
    point.pass(101);
    point = place.reopened(point);
    point.register(3, Standard, "a", 100).unwrap();
    assert_eq!(point.page(None, 10, &mut cookie).len(), 1);
    drop(point);
    for secs in [300, 301] {
        point = place.point(secs);
        assert_eq!(point.page(None, 10, &mut cookie.clone()), []);
        drop(point);
    }
    point = place.point(302);
    point.register(4, Standard, "a", 100).unwrap();
    assert_eq!(point.page(None, 10, &mut cookie).len(), 1);
}

fn quotas_count_what_was_there_before<P: Place>() {
    let place = P::default();
    let mut settings = config();
    settings.registrations_per_peer_max = 2;
    settings.registrations_per_prefix_max = Some(3);
    let mut point = Point::open_with(place.open(), EPOCH, settings.clone()).unwrap();
    let near = Origin::Prefix(IpPrefix::V4([192, 0, 2]));
    let far = Origin::Prefix(IpPrefix::V6([0x20, 1, 0xd, 0xb8, 0, 0, 1]));
    point.desk.origin = near;
    point.register(1, Standard, "a", HOUR).unwrap();
    point.register(1, Legacy, "b", HOUR).unwrap();
    point.desk.origin = far;
    point.register(2, Standard, "a", HOUR).unwrap();
    drop(point);

    point = Point::open_with(place.open(), EPOCH, settings.clone()).unwrap();
    assert_eq!(point.register(1, Standard, "c", HOUR), Err(Refusal::PeerFull { max: 2 }));
    point.desk.origin = near;
    point.register(3, Standard, "a", HOUR).unwrap();
    assert_eq!(point.register(4, Standard, "a", HOUR), Err(Refusal::PrefixFull { max: 3 }));
    point.register(1, Standard, "b", HOUR).expect("a renewal asks no quota");
    point.desk.origin = far;
    point.register(4, Standard, "a", HOUR).unwrap();
    point.register(5, Standard, "a", HOUR).unwrap();
    drop(point);

    point = Point::open_with(place.open(), EPOCH, settings).unwrap();
    point.desk.origin = far;
    assert_eq!(point.register(6, Standard, "a", HOUR), Err(Refusal::PrefixFull { max: 3 }));
    point.unregister(5, None).unwrap();
    point.register(6, Standard, "a", HOUR).unwrap();
}

fn shares_without_an_address_and_exemptions_hold_over_restarts<P: Place>() {
    let place = P::default();
    let mut settings = config();
    settings.registrations_per_prefix_max = Some(2);
    let mut point = Point::open_with(place.open(), EPOCH, settings.clone()).unwrap();
    for number in 0..2 {
        point.register(number, Standard, "a", HOUR).unwrap();
    }
    point.desk.origin = Origin::Exempt;
    for number in 10..15 {
        point.register(number, Standard, "a", HOUR).unwrap();
    }
    drop(point);

    point = Point::open_with(place.open(), EPOCH, settings).unwrap();
    assert_eq!(point.register(2, Standard, "a", HOUR), Err(Refusal::PrefixFull { max: 2 }));
    point.unregister(0, None).unwrap();
    point.register(2, Standard, "a", HOUR).expect("those of the exempt network do not count");
    point.desk.origin = Origin::Exempt;
    point.register(15, Standard, "a", HOUR).unwrap();
}

fn what_has_ended_is_dropped_when_it_is_read<P: Place>() {
    let place = P::default();
    let mut point = place.point(0);
    for number in 0..10 {
        point.register(number, Standard, "a", 100 + 100 * number).unwrap();
    }
    drop(point);
    assert_eq!(place.kept(), 10);
    point = place.point(550);
    assert_eq!((point.opened.registrations, point.opened.ended), (5, 5));
    assert_eq!(point.listing()[0].len(), 5);
    drop(point);
    assert_eq!(place.kept(), 5);
}

fn a_forget_takes_one_flavour_out<P: Place>() {
    let place = P::default();
    let mut point = place.point(0);
    point.register(1, Standard, "a", HOUR).unwrap();
    point.register(1, Legacy, "a", HOUR).unwrap();
    let forget = |flavour: Flavour| {
        let (peer, namespace, kind) = (peer(1), "a".parse().unwrap(), flavour.into());
        Change::Forget { peer, namespace, kind }
    };
    let nobody = Change::Forget { peer: peer(7), namespace: "a".parse().unwrap(), kind: Standard.into() };
    point.store.commit(at(0), &[nobody, forget(Standard)]).unwrap();
    point = place.reopened(point);
    assert_eq!(point.listing()[0].iter().map(|found| found.flavour).collect::<Vec<_>>(), [Legacy]);
    point.store.commit(at(0), &[forget(Legacy), forget(Legacy)]).unwrap();
    point = place.reopened(point);
    assert_eq!(point.listing()[0], []);
    drop(point);
    assert_eq!(place.kept(), 0);
}

fn an_unsigned_registration_is_kept_as_such<P: Place>() {
    let place = P::default();
    let mut point = place.point(0);
    for number in [1, 2] {
        let mut info = Vec::new();
        let addresses = fixtures::addresses(number);
        PeerInfo::encode(&peer(number).to_bytes(), addresses.iter().map(AsRef::as_ref), &mut info);
        point.register_envelope(number, &info, "a", 100 * number).unwrap();
    }
    let unsigned = |point: &Point<_>| point.desk.server.stats().unsigned;
    point = place.reopened(point);
    assert_eq!((unsigned(&point), numbers(&mut point)), (2, vec![]));
    // A signed record takes its place.
    point.register(2, Standard, "a", HOUR).unwrap();
    point = place.reopened(point);
    assert_eq!((unsigned(&point), numbers(&mut point)), (1, vec![2]));
    point.pass(150);
    point.unregister(2, None).unwrap();
    drop(point);
    assert_eq!(place.kept(), 0);
}

fn nothing_is_left_when_all_has_ended<P: Place>() {
    let place = P::default();
    let mut point = place.point(0);
    for number in 0..50 {
        point.register(number, Standard, "a", 100).unwrap();
        point.register(number, Legacy, "a", 200).unwrap();
    }
    // They end while it runs, and go with the next change.
    point.pass(300);
    point.register(1, Standard, "b", 60).unwrap();
    drop(point);
    assert_eq!(place.kept(), 1);
    point = place.point(361);
    assert_eq!((point.opened.registrations, point.opened.ended), (0, 1));
    let last = point.store.last().unwrap().unwrap();
    assert_eq!(last.registrations, 0);
    assert!(last.position >= EPOCH.as_unix_millis() * 1_000 + 101, "positions go on");
    drop(point);
    assert_eq!(place.kept(), 0);
    let mut point = place.point(361);
    assert_eq!(point.store.last().unwrap(), Some(last));
}

fn a_clock_set_back_brings_nothing_back<P: Place>() {
    let place = P::default();
    let mut point = place.point(0);
    point.register(1, Standard, "a", 100).unwrap();
    point.register(2, Standard, "a", HOUR).unwrap();
    point.pass(500);
    point.register(3, Standard, "a", HOUR).unwrap();
    let before = point.listing();
    assert_eq!(before[0].len(), 2);
    drop(point);
    point = place.point(50);
    assert_eq!(point.opened.now, at(500), "time goes on from the last commit");
    assert_eq!(point.listing(), before, "no TTL has grown");
}

fn large_records_fit<P: Place>() {
    let place = P::default();
    let mut settings = config();
    settings.record_limits = Limits { envelope_bytes_max: 32 << 10, addresses_max: 10_000 };
    let mut point = Point::open_with(place.open(), EPOCH, settings.clone()).unwrap();
    let addresses: Vec<Multiaddr> = (0..120)
        .map(|number| Multiaddr::empty().with(Protocol::Dns4(format!("{number}-{}", "x".repeat(240)).into())))
        .collect();
    let namespace = "n".repeat(255);
    for (number, flavour) in [(1, Standard), (1, Legacy), (2, Standard)] {
        let key = fixtures::keypair(number);
        let record = VerifiedRecord::sign(&key, flavour, 1, &addresses, &settings.record_limits).unwrap();
        assert!(record.envelope().len() > 28 << 10);
        point.register_envelope(number, record.envelope(), &namespace, HOUR).unwrap();
    }
    drop(point);
    point = Point::open_with(place.open(), EPOCH, settings).unwrap();
    assert_eq!(point.opened.registrations, 2);
    assert_eq!(point.desk.server.stats().registrations, 2);
    let record_bytes = point.desk.server.stats().record_bytes;
    assert!(record_bytes as usize > 3 * (28 << 10));
    drop(point);
    assert_eq!(place.kept(), 2);
}

fn many_registrations_fit<P: Place>() {
    let place = P::default();
    let mut point = place.point(0);
    for number in 0..P::MANY {
        let record = fixtures::record(number % 100, Standard);
        let namespace = format!("namespace-{}", number / 100);
        point.desk.register_pending(&record.peer_id(), Some(record.envelope()), &namespace, Some(HOUR)).unwrap();
    }
    point.commit_all().unwrap();
    let before = point.listing();
    assert_eq!(before[0].len() as u64, P::MANY);
    point = place.reopened(point);
    assert_eq!(point.opened.registrations, P::MANY);
    assert!(point.listing() == before);
    drop(point);
    point = place.point(HOUR);
    assert_eq!((point.opened.registrations, point.opened.ended), (0, P::MANY));
    drop(point);
    assert_eq!(place.kept(), 0);
}

fn a_registration_changed_often_in_one_commit_is_kept_once<P: Place>() {
    let place = P::default();
    let mut point = place.point(0);
    let register = |point: &mut Point<P::Store>, flavour| {
        let record = fixtures::record(1, flavour);
        point.desk.register_pending(&peer(1), Some(record.envelope()), "a", Some(HOUR)).unwrap();
    };
    register(&mut point, Standard);
    point.desk.unregister(&peer(1), None);
    register(&mut point, Legacy);
    register(&mut point, Legacy);
    point.commit_all().unwrap();
    let before = point.listing();
    assert_eq!(before.each_ref().map(Vec::len), [1, 0, 1]);
    point = place.reopened(point);
    assert_eq!(point.listing(), before);
    register(&mut point, Standard);
    point.desk.unregister(&peer(1), None);
    point.commit_all().unwrap();
    point = place.reopened(point);
    assert_eq!(point.listing()[0], []);
    drop(point);
    assert_eq!(place.kept(), 0);
}
