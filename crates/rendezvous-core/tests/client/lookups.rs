//! Lookups: polls of several points, their pace, and what becomes of the points that fail.

use std::time::Duration;

use rendezvous_core::client::{
    Answer, ClientConfig, Event, Failure, Gone, GoneWhy, LOOKUP_POINTS_MAX, LOOKUPS_MAX, LookupConfig, LookupId,
    Outbound, PageCost, RequestKind, Skipped, Unverified,
};
use rendezvous_wire::Status;

use crate::rig::*;

const EVERY: Duration = Duration::from_secs(60);

fn every() -> LookupConfig {
    LookupConfig { every: Some(EVERY), ..LookupConfig::default() }
}

impl Rig {
    fn look_up(&mut self, points: u64, config: LookupConfig) -> LookupId {
        self.client.look_up(self.now, Some(chat()), (0..points).map(point), config)
    }

    /// Answers every request with an empty page; returns the points that were asked.
    fn answer_all(&mut self) -> Vec<libp2p_identity::PeerId> {
        let requests = self.requests();
        for request in &requests {
            self.answer(request, page(Vec::new(), cookie(b"c")));
        }
        requests.iter().map(|request| request.point).collect()
    }
}

/// A page of peers for whom nobody has signed, so that many are quickly made.
fn strangers(numbers: core::ops::Range<u64>, ttl_secs: u64, cookie: Option<rendezvous_wire::Cookie>) -> Answer {
    let ttl = rendezvous_wire::Ttl::from_secs(ttl_secs);
    let stranger = |number| Unverified { namespace: chat(), peer: fake_peer(number), addresses: Vec::new(), ttl };
    let (registrations, skipped, cost) = Default::default();
    Answer::Page { registrations, unverified: numbers.map(stranger).collect(), cookie, skipped, cost }
}

fn cookie_of(request: &Outbound) -> Option<Vec<u8>> {
    discover_of(request).cookie.map(<[u8]>::to_vec)
}

#[test]
fn every_point_is_asked_at_once_and_again_at_its_own_jittered_pace() {
    let mut rig = Rig::new();
    let id = rig.look_up(3, every());
    assert_eq!(rig.answer_all(), [point(0), point(1), point(2)]);
    let polled: Vec<_> = rig
        .events()
        .into_iter()
        .map(|event| match event {
            Event::LookupPolled { lookup, point, is_whole: true, listed: 0, .. } if lookup == id => point,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(polled, [point(0), point(1), point(2)]);
    let start = rig.now;
    let mut waits = Vec::new();
    while waits.len() < 3 {
        assert!(rig.pass_to_deadline());
        for _ in rig.answer_all() {
            waits.push(rig.now.saturating_since(start));
        }
    }
    assert!(waits.iter().all(|wait| *wait >= EVERY * 7 / 8 && *wait <= EVERY * 9 / 8), "{waits:?}");
    assert!(waits[0] < waits[2], "not in step: {waits:?}");
}

#[test]
fn a_lookup_that_asks_once_ends_with_its_last_point() {
    let mut rig = Rig::new();
    let id = rig.look_up(2, LookupConfig::default());
    let [first, second] = rig.requests().try_into().expect("one each");
    rig.answer(&first, page(vec![found(&chat(), 2, 100)], None));
    let events = rig.events();
    assert!(
        matches!(&events[0], Event::LookupChanged { point: Some(at), found, .. } if *at == point(0) && found.len() == 1)
    );
    assert!(matches!(events[1], Event::LookupPolled { listed: 1, .. }));
    rig.fail(&second, Failure::Unreachable);
    let failed = Event::LookupFailed { lookup: id, point: point(1), failure: Failure::Unreachable, retry_at: None };
    assert_eq!(rig.events(), [failed, Event::LookupEnded { lookup: id }]);
    assert_eq!(rig.client.found(rig.now, id).count(), 1, "kept until its time ends");
    // A command asks again.
    assert!(rig.client.look_up_again(rig.now, id));
    assert_eq!(rig.answer_all().len(), 2);
    assert!(matches!(rig.events().last(), Some(Event::LookupEnded { .. })));
    assert!(rig.client.end_lookup(rig.now, id) && !rig.client.end_lookup(rig.now, id));
    assert!(!rig.client.look_up_again(rig.now, id));
    assert_eq!(rig.client.found(rig.now, id).count(), 0);
}

#[test]
fn all_pages_are_walked_and_each_lookup_keeps_its_cookie_for_each_point() {
    let mut rig = Rig::new();
    let big = LookupConfig { peers_max: 100_000, ..every() };
    rig.look_up(2, big.clone());
    let mut asked = Vec::new();
    for step in 0_u64..3 {
        let requests = rig.requests();
        assert_eq!(requests.len(), 2, "both points, side by side");
        for (index, request) in requests.iter().enumerate() {
            asked.push((request.point, cookie_of(request)));
            let listed = if step < 2 { vec![found(&chat(), 2 + step, 600)] } else { Vec::new() };
            let skipped = Skipped { unverified: if step < 2 { 600 } else { 0 }, ..Skipped::default() };
            let cookie = cookie(&[index as u8, step as u8]);
            rig.answer(
                request,
                Answer::Page {
                    registrations: listed,
                    unverified: Vec::new(),
                    cookie,
                    skipped,
                    cost: PageCost::default(),
                },
            );
            rig.events();
        }
    }
    let expect = |step: u8| [(point(0), vec![0, step]), (point(1), vec![1, step])];
    assert_eq!(asked[..2], [(point(0), None), (point(1), None)]);
    for (place, (at, bytes)) in [expect(0), expect(1)].into_iter().flatten().enumerate() {
        assert_eq!(asked[2 + place], (at, Some(bytes)));
    }
    // Another lookup has not seen what this one has.
    rig.look_up(2, big);
    for request in rig.requests() {
        assert_eq!(cookie_of(&request), None);
    }
}

#[test]
fn after_a_long_listing_polls_ask_for_what_is_new_and_every_tenth_for_everything() {
    let mut rig = Rig::new();
    rig.look_up(1, every());
    let mut wholes = Vec::new();
    for _ in 0..21 {
        let mut request = rig.request();
        wholes.push(cookie_of(&request).is_none());
        if cookie_of(&request).is_none() {
            // More registrations than a page has.
            for number in 0..60_u8 {
                let peers = u64::from(number) * 20..(u64::from(number) + 1) * 20;
                rig.answer(&request, strangers(peers, 600, cookie(&[b'p', number])));
                rig.events();
                request = rig.request();
            }
        }
        rig.answer(&request, page(Vec::new(), cookie(b"end")));
        rig.events();
        while rig.client.stats().queries == 0 {
            assert!(rig.pass_to_deadline());
            rig.events();
        }
    }
    let places: Vec<_> = (0..wholes.len()).filter(|place| wholes[*place]).collect();
    assert_eq!(places, [0, 10, 20]);
}

#[test]
fn a_refused_cookie_starts_a_listing_afresh() {
    let mut rig = Rig::new();
    rig.look_up(1, every());
    let request = rig.request();
    rig.answer(&request, page(vec![found(&chat(), 2, 600)], cookie(b"old")));
    let request = rig.request();
    assert_eq!(cookie_of(&request), Some(b"old".to_vec()));
    rig.refuse(&request, Status::InvalidCookie);
    let request = rig.request();
    assert_eq!(cookie_of(&request), None);
    rig.answer(&request, page(Vec::new(), cookie(b"new")));
    assert!(matches!(rig.events().last(), Some(Event::LookupPolled { .. })));
}

#[test]
fn a_point_that_takes_back_each_cookie_does_not_walk_for_ever() {
    let mut rig = Rig::with(ClientConfig { pages_per_walk_max: 10, ..ClientConfig::default() });
    rig.look_up(1, every());
    let mut asked = 0;
    loop {
        let requests = rig.requests();
        let [request] = &requests[..] else { break };
        asked += 1;
        assert!(asked < 100);
        match cookie_of(request) {
            Some(_) => rig.refuse(request, Status::InvalidCookie),
            None => rig.answer(request, page(vec![found(&chat(), 2, 600)], cookie(b"c"))),
        }
    }
    assert!(asked <= 20, "{asked}");
    assert!(matches!(rig.events().last(), Some(Event::LookupPolled { is_whole: false, .. })));
}

#[test]
fn one_dead_point_stops_no_lookup_and_is_asked_again_after_its_back_off() {
    let mut rig = Rig::new();
    rig.look_up(3, every());
    let mut asked = [0; 3];
    let end = rig.now + secs(3_600);
    let mut last = None;
    while rig.now < end {
        for request in rig.requests() {
            let number = (0..3).find(|number| point(*number) == request.point).expect("a point");
            asked[number as usize] += 1;
            if number == 0 {
                let since = last.map(|last| rig.now.saturating_since(last));
                assert!(since.is_none_or(|since: Duration| since >= secs(30)), "{since:?}");
                last = Some(rig.now);
                rig.fail(&request, Failure::Unreachable);
            } else {
                rig.answer(&request, page(vec![found(&chat(), 2, 7_200)], None));
            }
        }
        rig.events();
        assert!(rig.pass_to_deadline());
    }
    assert!((2..=30).contains(&asked[0]), "{asked:?}");
    assert!(asked[1] >= 53 && asked[2] >= 53, "an hour of polls at either: {asked:?}");
}

#[test]
fn a_silent_point_holds_up_nobody_and_its_poll_ends_at_the_deadline() {
    let mut rig = Rig::new();
    let id = rig.look_up(2, every());
    let [silent, other] = rig.requests().try_into().expect("one each");
    rig.answer(&other, page(vec![found(&chat(), 2, 600)], None));
    assert_eq!(rig.client.found(rig.now, id).count(), 1);
    rig.events();
    rig.pass(silent.deadline.saturating_since(rig.now));
    let Event::LookupFailed { point: at, failure: Failure::TimedOut, retry_at: Some(_), .. } = rig.event() else {
        panic!("it has failed")
    };
    assert_eq!(at, point(0));
}

#[test]
fn a_point_in_back_off_is_asked_by_commands_alone() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], None);
    let id = rig.look_up(1, every());
    let requests = rig.requests();
    let query = requests.iter().find(|request| request.kind == RequestKind::Discover).expect("a DISCOVER");
    rig.answer(query, page(Vec::new(), None));
    // The registration finds the point dead, again and again.
    let mut until = rig.now;
    for request in requests.iter().filter(|request| request.kind == RequestKind::Register) {
        rig.fail(request, Failure::Unreachable);
    }
    for _ in 0..6 {
        until = rig.client.backoff_until(rig.now, &point(0)).unwrap_or(until);
        while rig.now < until {
            rig.pass_to_deadline();
            if rig.now < until {
                assert!(rig.requests().is_empty(), "neither of them asks");
            }
        }
        for request in rig.requests() {
            rig.fail(&request, Failure::Unreachable);
        }
        rig.events();
    }
    assert!(rig.client.backoff_until(rig.now, &point(0)).is_some());
    assert!(rig.client.look_up_again(rig.now, id));
    rig.request_of(RequestKind::Discover);
}

#[test]
fn a_new_connection_asks_at_once_where_one_was_wanting() {
    let mut rig = Rig::new();
    rig.look_up(1, every());
    for _ in 0..5 {
        let request = rig.request();
        rig.fail(&request, Failure::Unreachable);
        rig.events();
        assert!(rig.requests().is_empty());
        rig.pass(secs(2));
        rig.client.handle_point_reachable(rig.now, point(0));
    }
    let request = rig.request();
    rig.refuse(&request, Status::NotAuthorized);
    rig.pass(secs(2));
    rig.client.handle_point_reachable(rig.now, point(0));
    assert!(rig.requests().is_empty(), "not where it was refused");
}

#[test]
fn points_come_and_go_while_a_lookup_runs() {
    let mut rig = Rig::new();
    let id = rig.look_up(1, every());
    let request = rig.request();
    rig.answer(&request, page(vec![found(&chat(), 2, 600), found(&chat(), 3, 600)], None));
    assert!(rig.client.add_lookup_point(rig.now, id, point(1)));
    let request = rig.request();
    assert_eq!(request.point, point(1));
    rig.answer(&request, page(vec![found(&chat(), 3, 600)], None));
    rig.events();
    assert!(rig.client.remove_lookup_point(rig.now, id, &point(0)));
    let gone = Gone { namespace: chat(), peer: peer(2), why: GoneWhy::PointRemoved };
    assert!(matches!(rig.event(), Event::LookupChanged { gone: told, point: None, .. } if told == [gone]));
    assert_eq!(rig.client.lookup_points(id).collect::<Vec<_>>(), [point(1)]);
    assert!(!rig.client.remove_lookup_point(rig.now, id, &point(0)));
    // With a poll on its way, what comes late is ignored.
    rig.client.look_up_again(rig.now, id);
    let request = rig.request();
    rig.client.remove_lookup_point(rig.now, id, &point(1));
    rig.events();
    rig.answer(&request, page(vec![found(&chat(), 4, 600)], None));
    assert!(rig.events().is_empty());
    let stats = rig.client.stats();
    assert_eq!((stats.queries, stats.lookup_points, stats.found, stats.found_listings), (0, 0, 0, 0));
}

#[test]
fn lookups_and_their_points_are_bounded() {
    let mut rig = Rig::new();
    let points = LOOKUP_POINTS_MAX / LOOKUPS_MAX;
    for _ in 0..LOOKUPS_MAX {
        rig.look_up(points as u64, every());
    }
    assert!(rig.events().is_empty());
    let id = rig.look_up(1, every());
    let failed = Event::LookupFailed { lookup: id, point: point(0), failure: Failure::AtCapacity, retry_at: None };
    assert_eq!(rig.events(), [failed, Event::LookupEnded { lookup: id }]);
    assert_eq!(rig.client.stats().lookup_points, LOOKUP_POINTS_MAX);
    // Queries of the application have room of their own.
    rig.client.discover(rig.now, point(0), None, None, rendezvous_core::client::From::Fresh);
    assert!(rig.events().is_empty());
}

#[test]
fn a_shutdown_ends_lookups() {
    let mut rig = Rig::new();
    let id = rig.look_up(2, every());
    let requests = rig.requests();
    rig.client.shutdown(rig.now);
    assert_eq!(rig.events(), [Event::LookupEnded { lookup: id }]);
    rig.answer(&requests[0], page(vec![found(&chat(), 2, 600)], None));
    assert!(rig.events().is_empty() && rig.client.is_drained());
    let id = rig.look_up(1, every());
    assert!(
        matches!(rig.events()[..], [Event::LookupFailed { failure: Failure::ShutDown, .. }, Event::LookupEnded { lookup }]
        if lookup == id)
    );
}
