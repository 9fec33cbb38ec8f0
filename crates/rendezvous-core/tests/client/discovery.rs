//! Queries, cookies and walks.

use rendezvous_core::client::{Answer, ClientConfig, Event, Failure, From, PageCost, QueryId, RequestKind, Skipped};
use rendezvous_record::Flavours;
use rendezvous_wire::{Limit, Status, Ttl};

use crate::rig::*;

impl Rig {
    fn ask(&mut self, from: From) -> QueryId {
        self.client.discover(self.now, point(0), Some(chat()), None, from)
    }
}

#[test]
fn a_query_asks_for_one_page_and_says_what_it_reads() {
    let mut rig = Rig::new();
    let query = rig.client.discover(rig.now, point(0), Some(chat()), Some(Limit::new(10)), From::Cookie);
    let request = rig.request_of(RequestKind::Discover);
    assert!(request.expects_answer);
    assert_eq!(request.deadline, rig.now + secs(10));
    let discover = discover_of(&request);
    assert_eq!(discover.namespace, Some(&b"chat"[..]));
    assert_eq!((discover.limit, discover.cookie, discover.reads), (Some(10), None, Some(3)));

    let registrations = vec![found(&chat(), 2, 100), found(&chat(), 3, 100)];
    rig.answer(&request, page(registrations.clone(), cookie(b"c1")));
    let (namespace, skipped) = (Some(chat()), Skipped::default());
    let event = Event::Discovered {
        query,
        point: point(0),
        namespace,
        registrations,
        unverified: Vec::new(),
        more: true,
        page: 1,
        skipped,
        cut: None,
    };
    assert_eq!(rig.event(), event);
    assert_eq!(rig.client.poll_timeout(), Some(rig.now + secs(100)), "the end of what was found, and nothing else");
}

#[test]
fn all_namespaces_are_asked_for_by_leaving_the_namespace_out() {
    let config = ClientConfig { reads: Flavours::STANDARD, ..ClientConfig::default() };
    let mut rig = Rig::with(config);
    rig.client.discover(rig.now, point(0), None, None, From::Fresh);
    let request = rig.request();
    let discover = discover_of(&request);
    assert_eq!((discover.namespace, discover.limit, discover.reads), (None, Some(1_000), Some(1)));
    let registrations = vec![found(&chat(), 2, 100), found(&namespace("other"), 2, 100)];
    rig.answer(&request, page(registrations.clone(), None));
    assert!(matches!(rig.event(), Event::Discovered { registrations: told, .. } if told == registrations));
}

#[test]
fn the_cookie_is_kept_per_point_and_namespace() {
    let mut rig = Rig::new();
    let listings = [(point(0), Some(chat())), (point(1), Some(chat())), (point(0), None), (point(1), None)];
    for (index, (point, namespace)) in listings.clone().into_iter().enumerate() {
        rig.client.discover(rig.now, point, namespace, None, From::Cookie);
        let request = rig.request();
        assert_eq!(discover_of(&request).cookie, None);
        rig.answer(&request, page(vec![found(&chat(), 2, 100)], cookie(&[b'c', index as u8])));
    }
    for (index, (point, namespace)) in listings.into_iter().enumerate() {
        rig.client.discover(rig.now, point, namespace, None, From::Cookie);
        let request = rig.request();
        assert_eq!(discover_of(&request).cookie, Some(&[b'c', index as u8][..]));
        rig.fail(&request, Failure::TimedOut);
    }
    rig.ask(From::Fresh);
    assert_eq!(discover_of(&rig.request()).cookie, None);
}

/// Walks all pages that a point has, each given by its cookie and its number of registrations; returns the `more`s.
fn walk(rig: &mut Rig, pages: &[(Option<&[u8]>, usize)]) -> Vec<bool> {
    let mut peers = 2..;
    pages
        .iter()
        .map(|(bytes, count)| {
            rig.ask(From::Cookie);
            let request = rig.request();
            let registrations = peers.by_ref().take(*count).map(|number| found(&chat(), number, 100)).collect();
            rig.answer(&request, page(registrations, bytes.and_then(cookie)));
            let Event::Discovered { more, .. } = rig.event() else { panic!("a page") };
            more
        })
        .collect()
}

#[test]
fn a_walk_ends_with_the_first_empty_page_a_repeated_cookie_or_none() {
    // Pages may be shorter than the limit, since their bytes are bounded too.
    assert_eq!(walk(&mut Rig::new(), &[(Some(b"1"), 3), (Some(b"2"), 1), (Some(b"2"), 0)]), [true, true, false]);
    // An empty page ends it even with a new cookie: rust-libp2p makes one for every answer.
    assert_eq!(walk(&mut Rig::new(), &[(Some(b"1"), 3), (Some(b"2"), 0)]), [true, false]);
    // A cookie that stays where it is leads nowhere.
    assert_eq!(walk(&mut Rig::new(), &[(Some(b"1"), 3), (Some(b"1"), 3)]), [true, false]);
    assert_eq!(walk(&mut Rig::new(), &[(None, 3)]), [false]);
}

#[test]
fn registrations_that_cannot_be_used_count_for_whether_there_is_more() {
    let mut rig = Rig::new();
    rig.ask(From::Cookie);
    let request = rig.request();
    let skipped = Skipped { unverified: 1_000, ..Skipped::default() };
    rig.answer(
        &request,
        Answer::Page {
            registrations: Vec::new(),
            unverified: Vec::new(),
            cookie: cookie(b"1"),
            skipped,
            cost: PageCost::default(),
        },
    );
    assert!(matches!(rig.event(), Event::Discovered { more: true, skipped: told, .. } if told == skipped));
}

#[test]
fn a_point_whose_pages_never_end_is_bounded() {
    let mut rig = Rig::with(ClientConfig { pages_per_walk_max: 5, ..ClientConfig::default() });
    let walk = |rig: &mut Rig| {
        let mut pages = Vec::new();
        for number in 0_u32.. {
            rig.ask(if number == 0 { From::Fresh } else { From::Cookie });
            let request = rig.request();
            let bytes = [&number.to_be_bytes()[..], &request.id.to_string().into_bytes()].concat();
            rig.answer(&request, page(vec![found(&chat(), 2, 100)], cookie(&bytes)));
            let Event::Discovered { more, page, .. } = rig.event() else { panic!("a page") };
            pages.push(page);
            if !more {
                break;
            }
        }
        pages
    };
    assert_eq!(walk(&mut rig), [1, 2, 3, 4, 5]);
    assert_eq!(walk(&mut rig), [1, 2, 3, 4, 5], "the next walk has its own count");
}

#[test]
fn a_walk_that_has_ended_goes_on_with_what_is_new_as_page_one() {
    let mut rig = Rig::new();
    assert_eq!(walk(&mut rig, &[(Some(b"1"), 3), (Some(b"2"), 0)]), [true, false]);
    rig.ask(From::Cookie);
    let request = rig.request();
    assert_eq!(discover_of(&request).cookie, Some(&b"2"[..]));
    rig.answer(&request, page(vec![found(&chat(), 9, 100)], cookie(b"3")));
    assert!(matches!(rig.event(), Event::Discovered { page: 1, more: true, .. }));
}

#[test]
fn an_answer_without_a_cookie_starts_the_next_query_from_the_beginning() {
    let mut rig = Rig::new();
    walk(&mut rig, &[(Some(b"1"), 3), (None, 3)]);
    rig.ask(From::Cookie);
    assert_eq!(discover_of(&rig.request()).cookie, None);
}

#[test]
fn a_refused_cookie_is_dropped_and_the_query_starts_over_once() {
    for failure in [refused(Status::InvalidCookie), Failure::ClosedWithoutAnswer] {
        let mut rig = Rig::new();
        walk(&mut rig, &[(Some(b"old"), 3)]);
        let query = rig.ask(From::Cookie);
        let request = rig.request();
        assert_eq!(discover_of(&request).cookie, Some(&b"old"[..]));
        rig.fail(&request, failure.clone());
        assert!(rig.events().is_empty());

        let request = rig.request();
        assert_eq!(discover_of(&request).cookie, None);
        rig.answer(&request, page(vec![found(&chat(), 2, 100)], cookie(b"new")));
        assert!(matches!(rig.event(), Event::Discovered { query: told, page: 1, .. } if told == query));
        rig.ask(From::Cookie);
        assert_eq!(discover_of(&rig.request()).cookie, Some(&b"new"[..]));

        // A point that refuses the fresh start too is not asked a third time.
        let mut rig = Rig::new();
        walk(&mut rig, &[(Some(b"old"), 3)]);
        let query = rig.ask(From::Cookie);
        for _ in 0..2 {
            let request = rig.request();
            rig.fail(&request, failure.clone());
        }
        assert!(rig.requests().is_empty());
        assert!(matches!(rig.event(), Event::DiscoverFailed { query: told, failure: why, .. }
            if told == query && why == failure));
    }
}

#[test]
fn a_namespace_that_the_point_does_not_know_is_an_empty_page() {
    let mut rig = Rig::new();
    let query = rig.ask(From::Cookie);
    let request = rig.request();
    rig.refuse(&request, Status::InvalidNamespace);
    let Event::Discovered { query: told, registrations, more: false, .. } = rig.event() else { panic!("a page") };
    assert_eq!((told, registrations), (query, Vec::new()));

    // Without a namespace it is what it says: py does not list all of them.
    rig.client.discover(rig.now, point(0), None, None, From::Cookie);
    let request = rig.request();
    rig.refuse(&request, Status::InvalidNamespace);
    assert!(matches!(rig.event(), Event::DiscoverFailed { .. }));
}

#[test]
fn every_failure_of_a_query_is_told_as_what_it_is() {
    let statuses = [102, 200, 300, 400, 429, -1].map(Status::from_code).map(refused);
    let others = [Failure::Unreachable, Failure::Unsupported, Failure::TimedOut, Failure::ClosedWithoutAnswer];
    for failure in statuses.into_iter().chain(others) {
        let mut rig = Rig::new();
        let query = rig.ask(From::Cookie);
        let request = rig.request();
        rig.fail(&request, failure.clone());
        let namespace = Some(chat());
        assert_eq!(rig.event(), Event::DiscoverFailed { query, point: point(0), namespace, failure });
        assert_eq!(rig.client.poll_timeout(), None);
    }
}

#[test]
fn a_query_that_nobody_answers_fails_at_its_deadline() {
    let mut rig = Rig::new();
    let query = rig.ask(From::Cookie);
    let request = rig.request();
    rig.pass_to_deadline();
    assert_eq!(rig.now, request.deadline);
    assert!(
        matches!(rig.event(), Event::DiscoverFailed { query: told, failure: Failure::TimedOut, .. } if told == query)
    );
    rig.answer(&request, page(vec![found(&chat(), 2, 100)], None));
    assert!(rig.events().is_empty(), "too late");
    assert_eq!(rig.client.stats().answers_ignored, 1);
}

#[test]
fn a_failed_query_keeps_the_place() {
    let mut rig = Rig::new();
    walk(&mut rig, &[(Some(b"1"), 3)]);
    rig.ask(From::Cookie);
    let request = rig.request();
    rig.fail(&request, Failure::Unreachable);
    rig.ask(From::Cookie);
    assert_eq!(discover_of(&rig.request()).cookie, Some(&b"1"[..]));
}

#[test]
fn this_peers_own_registration_is_left_out() {
    let mut rig = Rig::new();
    rig.ask(From::Cookie);
    let request = rig.request();
    rig.answer(&request, page(vec![found(&chat(), OWN, 100), found(&chat(), 2, 100)], cookie(b"1")));
    let Event::Discovered { registrations, skipped, more, .. } = rig.event() else { panic!("a page") };
    assert_eq!(registrations, [found(&chat(), 2, 100)]);
    assert_eq!(skipped, Skipped { own: 1, ..Skipped::default() });
    assert!(more);
    assert!(rig.client.addresses_of(rig.now, &peer(OWN)).is_empty());
}

#[test]
fn no_more_is_handed_on_than_was_asked_for() {
    let mut rig = Rig::new();
    rig.client.discover(rig.now, point(0), Some(chat()), Some(Limit::new(2)), From::Cookie);
    let request = rig.request();
    rig.answer(&request, page((2..7).map(|number| found(&chat(), number, 100)).collect(), None));
    let Event::Discovered { registrations, skipped, .. } = rig.event() else { panic!("a page") };
    assert_eq!((registrations.len(), skipped.over_limit), (2, 3));
    assert_eq!(rig.client.stats().peers, 2);
}

#[test]
fn lifetimes_of_any_size_do_no_harm() {
    let mut rig = Rig::new();
    rig.ask(From::Cookie);
    let request = rig.request();
    rig.answer(&request, page(vec![found(&chat(), 2, u64::MAX), found(&chat(), 3, 0)], None));
    let Event::Discovered { registrations, .. } = rig.event() else { panic!("a page") };
    assert_eq!(registrations[0].ttl, Ttl::RECOMMENDED_MAX);
    assert_eq!(registrations[1].ttl, Ttl::from_secs(1));
    rig.pass(secs(259_200));
    assert!(rig.client.addresses_of(rig.now, &peer(2)).is_empty());
}
