//! Everything that is kept is bounded.

use rendezvous_core::client::{
    COOKIES_MAX, ClientConfig, EVENTS_BACKLOG_MAX, EVENTS_MAX, Event, Failure, From, LATE_MAX, PENDING_MAX,
    POINTS_IDLE_MAX, RequestKind, STANDINGS_MAX,
};

use crate::rig::*;

#[test]
fn cookies_are_bounded_and_the_one_longest_unused_goes_first() {
    let mut rig = Rig::new();
    let name = |number: usize| Some(namespace(&format!("ns-{number}")));
    let ask = |rig: &mut Rig, number: usize| {
        rig.client.discover(rig.now, point(0), name(number), None, From::Cookie);
        let request = rig.request();
        let had_cookie = discover_of(&request).cookie.is_some();
        rig.answer(&request, page(Vec::new(), cookie(b"c")));
        rig.events();
        had_cookie
    };
    for number in 0..COOKIES_MAX {
        ask(&mut rig, number);
    }
    assert!(ask(&mut rig, 0), "used again");
    ask(&mut rig, COOKIES_MAX);
    assert_eq!(rig.client.stats().cookies, COOKIES_MAX);
    assert!(ask(&mut rig, 0));
    assert!(!ask(&mut rig, 1), "forgotten: its listing starts over");
}

#[test]
fn queries_and_one_off_removals_are_bounded_together() {
    let mut rig = Rig::new();
    for _ in 0..PENDING_MAX / 2 {
        rig.client.discover(rig.now, point(0), None, None, From::Fresh);
        rig.client.unregister_at(rig.now, point(0), chat());
    }
    assert!(rig.events().is_empty());
    rig.client.discover(rig.now, point(0), None, None, From::Fresh);
    assert!(matches!(rig.event(), Event::DiscoverFailed { failure: Failure::AtCapacity, .. }));
    rig.client.unregister_at(rig.now, point(0), chat());
    assert!(matches!(rig.event(), Event::UnregisteredAt { failure: Some(Failure::AtCapacity), .. }));
}

#[test]
fn standings_are_bounded_and_more_are_refused_at_once() {
    let mut rig = Rig::new();
    let points: Vec<_> = (0..64).map(point).collect();
    for number in 0..STANDINGS_MAX / points.len() {
        rig.client.register(rig.now, namespace(&format!("ns-{number}")), points.clone(), None);
    }
    assert!(rig.events().is_empty());
    let id = rig.client.register(rig.now, namespace("one-more"), [point(0)], None);
    assert!(matches!(rig.event(), Event::RegisterFailed { failure: Failure::AtCapacity, retry_at: None, .. }));
    assert_eq!(rig.client.stats().standings, STANDINGS_MAX);
    assert!(rig.client.unregister(rig.now, id));
}

#[test]
fn points_that_nothing_is_asked_of_are_forgotten_beyond_a_bound() {
    let mut rig = Rig::new();
    rig.registered(600);
    for number in 0..POINTS_IDLE_MAX as u64 + 100 {
        rig.client.handle_point_dual(rig.now, fake_peer(number), true);
        rig.client.handle_point_reachable(rig.now, fake_peer(number));
    }
    assert_eq!(rig.client.stats().points, POINTS_IDLE_MAX + 1, "and the one in use");
}

#[test]
fn requests_in_flight_at_a_point_are_bounded_and_points_take_turns() {
    let mut rig = Rig::with(ClientConfig { requests_per_point_max: 3, ..ClientConfig::default() });
    for number in 0..10 {
        rig.client.register(rig.now, namespace(&format!("ns-{number}")), [point(0)], None);
    }
    rig.client.register(rig.now, chat(), [point(1)], None);
    let requests = rig.requests();
    let order: Vec<_> = requests.iter().map(|request| request.point).collect();
    assert_eq!(order, [point(0), point(1), point(0), point(0)]);
    rig.fail(&requests[0], Failure::Unreachable);
    assert_eq!(rig.request().point, point(0), "one ends, one follows");
    let mut rig = Rig::with(ClientConfig { requests_per_point_max: 0, ..ClientConfig::default() });
    rig.client.register(rig.now, chat(), [point(0)], None);
    rig.request_of(RequestKind::Register);
}

#[test]
fn requests_are_held_back_while_events_are_not_taken() {
    let mut rig = Rig::without_addresses(ClientConfig::default(), 7);
    for _ in 0..EVENTS_BACKLOG_MAX {
        rig.client.register(rig.now, chat(), [point(0)], None);
    }
    rig.client.discover(rig.now, point(0), None, None, From::Fresh);
    assert!(rig.requests().is_empty());
    rig.client.poll_event();
    rig.request_of(RequestKind::Discover);
}

#[test]
fn events_that_nobody_takes_are_dropped_the_oldest_first_and_counted() {
    let mut rig = Rig::without_addresses(ClientConfig::default(), 7);
    let mut last = None;
    for _ in 0..EVENTS_MAX + 10 {
        last = Some(rig.client.register(rig.now, chat(), [point(0)], None));
    }
    let stats = rig.client.stats();
    assert_eq!((stats.events, stats.events_dropped), (EVENTS_MAX, 10));
    let events = rig.events();
    assert_eq!(events.last().cloned(), last.map(|id| Event::NoAddresses { id }));
}

#[test]
fn registers_given_up_are_remembered_up_to_a_bound() {
    let config = ClientConfig { requests_per_point_max: usize::MAX, ..ClientConfig::default() };
    let mut rig = Rig::with(config);
    let names: Vec<_> = (0..LATE_MAX + 1).map(|number| namespace(&format!("ns-{number}"))).collect();
    let ids: Vec<_> = names.iter().map(|name| rig.client.register(rig.now, name.clone(), [point(0)], None)).collect();
    let requests = rig.requests();
    assert_eq!(requests.len(), LATE_MAX + 1);
    rig.pass(secs(10));
    rig.events();
    for id in ids {
        rig.client.unregister(rig.now, id);
    }
    for request in rig.requests() {
        rig.answer(&request, rendezvous_core::client::Answer::Sent);
    }
    rig.events();
    // The first given up is forgotten, the last is not.
    rig.grant(&requests[0], 600);
    assert!(rig.requests().is_empty());
    rig.grant(&requests[LATE_MAX], 600);
    rig.request_of(RequestKind::Unregister);
}

#[test]
fn settings_of_zero_do_no_harm() {
    let zero = std::time::Duration::ZERO;
    let config = ClientConfig {
        request_timeout: zero,
        backoff_min: zero,
        backoff_max: zero,
        pages_per_walk_max: 0,
        addresses_per_peer_max: 0,
        ..ClientConfig::default()
    };
    let mut rig = Rig::with(config);
    rig.client.register(rig.now, chat(), [point(0)], None);
    let start = rig.now;
    let mut sent = 0;
    for _ in 0..100 {
        sent += rig.requests().len();
        rig.events();
        assert!(rig.pass_to_deadline());
    }
    let elapsed = rig.now.saturating_since(start).as_secs();
    assert!(sent <= elapsed as usize + 1, "{sent} in {elapsed} s");
}
