//! Points whose listings do not end, or cost more than they should: what a walk may take, and what follows.

use std::time::Duration;

use rendezvous_core::client::{
    Answer, ClientConfig, Event, Failure, Fault, From, LookupConfig, LookupId, Outbound, PageCost, REFRESH_FLOOR,
    RequestKind, Skipped, Unverified, WalkLimit,
};
use rendezvous_wire::{Status, Ttl};

use crate::rig::*;

const EVERY: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

impl Rig {
    fn poll_often(&mut self, every: Duration) -> LookupId {
        let config = LookupConfig { every: Some(every), ..LookupConfig::default() };
        self.client.look_up(self.now, Some(chat()), [point(0)], config)
    }

    /// Answers DISCOVERs with what `answer` makes of each one's number, until the poll ends; how, and after how many.
    fn poll_to_its_end(&mut self, mut answer: impl FnMut(&mut Self, u64) -> Answer) -> (Event, u64) {
        for number in 0..10_000 {
            while self.client.stats().requests_in_flight == 0 {
                if let Some(request) = self.requests().pop() {
                    let answer = answer(self, number);
                    self.answer(&request, answer);
                    break;
                }
                assert!(self.pass_to_deadline());
            }
            let ended = |event: &Event| matches!(event, Event::LookupPolled { .. } | Event::LookupFailed { .. });
            if let Some(event) = self.events().into_iter().find(ended) {
                return (event, number + 1);
            }
        }
        panic!("it goes on")
    }
}

/// A page of strangers whom nobody has signed for: any number of them is quickly made.
fn strangers(numbers: core::ops::Range<u64>, ttl_secs: u64, number: u64, bytes: usize) -> Answer {
    let unverified = numbers.map(|number| Unverified {
        namespace: chat(),
        peer: fake_peer(number),
        addresses: Vec::new(),
        ttl: Ttl::from_secs(ttl_secs),
    });
    Answer::Page {
        registrations: Vec::new(),
        unverified: unverified.collect(),
        cookie: cookie(&number.to_be_bytes()),
        skipped: Skipped::default(),
        cost: PageCost { bytes, work: Duration::ZERO },
    }
}

fn limit_of(event: &Event) -> Option<WalkLimit> {
    match event {
        Event::LookupPolled { is_whole: false, cut, next_at: Some(_), .. } => *cut,
        Event::LookupPolled { is_whole: true, cut: None, .. } => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn pages_that_repeat_themselves_with_new_cookies_end_the_walk_and_what_was_found_is_kept() {
    let mut rig = Rig::new();
    let id = rig.poll_often(EVERY);
    let request = rig.request();
    rig.answer(&request, page(vec![found(&chat(), 2, 7_200), found(&chat(), 3, 7_200)], None));
    rig.events();
    // The next poll lists peer 3 alone, over and over: peer 2 is not gone for that.
    let (event, pages) =
        rig.poll_to_its_end(|_, number| page(vec![found(&chat(), 3, 7_200)], cookie(&number.to_be_bytes())));
    assert_eq!((limit_of(&event), pages), (Some(WalkLimit::NothingNew), 17));
    assert_eq!(rig.client.found(rig.now, id).count(), 2);
    assert_eq!(rig.client.stats().walks_cut.nothing_new, 1);
    assert_eq!(Failure::Listing(WalkLimit::NothingNew).fault(), Fault::Point);
}

#[test]
fn a_walk_reads_no_more_bytes_than_it_may_and_one_page() {
    let mut rig = Rig::new();
    rig.poll_often(EVERY);
    let (event, pages) = rig.poll_to_its_end(|_, number| strangers(number..number + 1, 600, number, 4 << 20));
    assert_eq!((limit_of(&event), pages), (Some(WalkLimit::Bytes), 16), "64 MiB");
}

#[test]
fn a_walk_of_pages_that_trickle_ends_at_its_deadline() {
    let mut rig = Rig::new();
    rig.poll_often(EVERY);
    let start = rig.now;
    let (event, _) = rig.poll_to_its_end(|rig, number| {
        rig.pass(secs(9));
        strangers(number..number + 1, 7_200, number, 10)
    });
    assert_eq!(limit_of(&event), Some(WalkLimit::Deadline));
    assert!(rig.now.saturating_since(start) <= secs(610));
}

#[test]
fn many_pages_alone_are_no_reason_to_leave_a_point_alone() {
    let mut rig = Rig::new();
    rig.poll_often(EVERY);
    let (event, pages) = rig.poll_to_its_end(|_, number| strangers(number..number + 1, 7_200, number, 10));
    assert_eq!((limit_of(&event), pages), (Some(WalkLimit::Pages), 100));
    let Event::LookupPolled { next_at: Some(at), .. } = event else { panic!("{event:?}") };
    assert!(at <= rig.now + EVERY * 9 / 8);
}

#[test]
fn who_wants_to_walks_a_large_namespace_to_its_end() {
    let config = ClientConfig { pages_per_walk_max: 1_000, walk_bytes_max: 1 << 30, ..ClientConfig::default() };
    let mut rig = Rig::with(config);
    let (mut listed, mut from) = (0, From::Fresh);
    for number in 0..=200_u64 {
        rig.client.discover(rig.now, point(0), Some(chat()), None, from);
        let request = rig.request();
        let numbers = if number < 200 { number * 1_000..(number + 1) * 1_000 } else { 0..0 };
        rig.answer(&request, strangers(numbers, 7_200, number, 1 << 20));
        let Event::Discovered { unverified, more, cut: None, .. } = rig.event() else { panic!("a page") };
        assert_eq!(more, number < 200);
        listed += unverified.len();
        from = From::Cookie;
    }
    assert_eq!(listed, 200_000);
}

#[test]
fn pages_of_renewals_are_news() {
    let mut rig = Rig::new();
    rig.poll_often(EVERY);
    let (event, pages) = rig.poll_to_its_end(|_, number| {
        let listed = if number < 50 { 0..10 } else { 0..0 };
        strangers(listed, 600 + 10 * number, number, 1_000)
    });
    assert_eq!((limit_of(&event), pages), (None, 51));
}

#[test]
fn a_walk_of_the_application_says_why_it_ends_and_the_next_goes_on_there() {
    let mut rig = Rig::new();
    let mut from = From::Fresh;
    let mut pages = 0_u64;
    let cut = loop {
        rig.client.discover(rig.now, point(0), Some(chat()), None, from);
        let request = rig.request();
        rig.answer(&request, strangers(0..3, 600, pages, 1_000));
        pages += 1;
        let Event::Discovered { more, cut, .. } = rig.event() else { panic!("a page") };
        assert_eq!(more, cut.is_none());
        if !more {
            break cut;
        }
        from = From::Cookie;
    };
    assert_eq!((cut, pages), (Some(WalkLimit::NothingNew), 17));
    rig.client.discover(rig.now, point(0), Some(chat()), None, From::Cookie);
    let request = rig.request();
    assert!(discover_of(&request).cookie.is_some());
    rig.answer(&request, strangers(0..3, 600, 99, 1_000));
    assert!(matches!(rig.event(), Event::Discovered { more: true, cut: None, .. }), "a new walk");
}

#[test]
fn a_point_that_refuses_the_cookies_that_it_gives_makes_no_walk_begin_afresh_for_ever() {
    let mut rig = Rig::new();
    let (mut asked, mut from) = (0_u64, From::Fresh);
    let cut = 'walk: loop {
        rig.client.discover(rig.now, point(0), Some(chat()), None, from);
        loop {
            let request = rig.request();
            asked += 1;
            assert!(asked < 100);
            if discover_of(&request).cookie.is_some() {
                rig.refuse(&request, Status::InvalidCookie);
                continue;
            }
            // Something new each time.
            rig.answer(&request, strangers(asked..asked + 1, 600, asked, 1_000));
            let Event::Discovered { more, cut, .. } = rig.event() else { panic!("a page") };
            if !more {
                break 'walk cut;
            }
            break;
        }
        from = From::Cookie;
    };
    assert_eq!((cut, asked), (Some(WalkLimit::CookieRefused), 7));
}

#[test]
fn an_endless_listing_is_read_ever_more_seldom_whatever_else_the_point_answers() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], None);
    let id = rig.poll_often(Duration::from_secs(1));
    let end = rig.now + HOUR * 4;
    let mut pages = 0_u64;
    while rig.now < end {
        let requests = rig.requests();
        let is_idle = requests.is_empty();
        for request in requests {
            if request.kind == RequestKind::Register {
                rig.grant(&request, 60);
            } else {
                pages += 1;
                rig.answer(&request, strangers(0..1, 60, pages, 1 << 20));
            }
        }
        rig.events();
        // An application that asks at every occasion does not change it.
        rig.client.look_up_again(rig.now, id);
        if is_idle {
            rig.pass_to_deadline();
        }
    }
    let walks = rig.client.stats().walks_cut.total();
    assert!((3..=40).contains(&walks), "{walks}");
    assert!(pages <= walks * 18 + 18, "{pages}");
    assert!(rig.client.is_registered(rig.client.registrations().next().expect("it is kept").0, &point(0)));
}

#[test]
fn a_point_whose_pages_are_as_costly_as_can_be_has_its_share_of_a_core() {
    let mut rig = Rig::new();
    let id = rig.poll_often(Duration::from_millis(100));
    let (start, mut work, mut number) = (rig.now, Duration::ZERO, 0_u64);
    let cost = PageCost { bytes: 300_000, work: Duration::from_millis(330) };
    while rig.now < start + HOUR {
        let requests = rig.requests();
        let is_idle = requests.is_empty();
        for request in requests {
            // Half of the pages end a poll; all of them are news.
            number += 1;
            let cookie = if number % 2 == 0 { None } else { cookie(&number.to_be_bytes()) };
            let Answer::Page { unverified, .. } = strangers(number..number + 1, 60, number, 0) else {
                panic!("a page")
            };
            let (registrations, skipped) = Default::default();
            rig.answer(&request, Answer::Page { registrations, unverified, cookie, skipped, cost });
            work += cost.work;
        }
        rig.events();
        rig.client.look_up_again(rig.now, id);
        if is_idle {
            rig.pass_to_deadline();
        }
    }
    assert!(work >= HOUR / 25, "it is asked on: {work:?}");
    assert!(work <= Duration::from_secs(5) + HOUR / 20 + Duration::from_secs(1), "{work:?}");
    assert!(rig.client.stats().pages_held_back > 0);
}

#[test]
fn a_point_that_grants_a_second_is_not_asked_each_second() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], None);
    let sent = registers_within(&mut rig, HOUR, |rig, request, _| rig.grant(request, 1));
    assert!((600..=HOUR.as_secs() / REFRESH_FLOOR.as_secs() + 1).contains(&sent), "{sent}");
}

#[test]
fn a_point_that_grants_and_refuses_in_turn_is_not_asked_each_second() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], None);
    let statuses = [Status::InvalidTtl, Status::InvalidSignedPeerRecord, Status::Unavailable];
    let sent = registers_within(&mut rig, HOUR, |rig, request, number| match number % 4 {
        3 => rig.grant(request, 1),
        other => rig.refuse(request, statuses[other as usize]),
    });
    assert!((50..=600).contains(&sent), "{sent}");
}

#[test]
fn a_point_that_keeps_changing_whether_it_takes_both_flavours_is_not_asked_each_time() {
    let mut rig = Rig::new();
    rig.registered(7_200);
    let mut sent = 0;
    for step in 0..600 {
        rig.client.handle_point_dual(rig.now, point(0), step % 2 == 0);
        for request in rig.requests() {
            sent += 1;
            rig.grant(&request, 7_200);
        }
        rig.events();
        rig.pass(Duration::from_millis(100));
    }
    assert!((2..=14).contains(&sent), "{sent} in a minute");
}

fn registers_within(rig: &mut Rig, time: Duration, mut answer: impl FnMut(&mut Rig, &Outbound, u64)) -> u64 {
    let (end, mut sent) = (rig.now + time, 0);
    while rig.now < end {
        let requests = rig.requests();
        if requests.is_empty() {
            assert!(rig.pass_to_deadline());
        }
        for request in requests {
            answer(rig, &request, sent);
            sent += 1;
        }
        rig.events();
    }
    sent
}
