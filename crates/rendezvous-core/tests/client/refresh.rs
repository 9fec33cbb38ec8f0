//! Refreshes and retries.

use std::{collections::BTreeSet, time::Duration};

use rendezvous_core::client::{ClientConfig, Event, Failure, MalformedAnswer, RETRY_MIN, RequestKind};
use rendezvous_record::Flavour;
use rendezvous_wire::{MessageType, Status, Ttl};

use crate::rig::*;

#[test]
fn a_refresh_comes_at_a_uniformly_jittered_three_quarters_to_seven_eighths_of_the_granted_ttl() {
    let mut at_eighths = [0; 4];
    for seed in 0..200 {
        let mut rig = Rig::without_addresses(ClientConfig::default(), seed);
        rig.client.set_addresses(rig.now, rendezvous_sim::fixtures::addresses(OWN));
        rig.client.register(rig.now, chat(), [point(0)], Some(Ttl::from_secs(7_200)));
        let request = rig.request();
        rig.grant(&request, 800);
        rig.events();
        let refresh = rig.client.poll_timeout().expect("a refresh").saturating_since(rig.now);
        assert!((secs(600)..=secs(700)).contains(&refresh), "{refresh:?} of 800 s granted");
        at_eighths[((refresh.as_millis() - 600_000) / 25_001) as usize] += 1;
    }
    assert!(at_eighths.iter().all(|count| (25..=75).contains(count)), "200 in four quarters: {at_eighths:?}");
}

#[test]
fn a_refresh_counts_from_when_the_request_was_sent() {
    let mut rig = Rig::new();
    let id = rig.client.register(rig.now, chat(), [point(0)], None);
    let (sent_at, request) = (rig.now, rig.request());
    rig.pass(secs(9));
    rig.grant(&request, 100);
    rig.events();
    let refresh = rig.client.poll_timeout().expect("a refresh").saturating_since(sent_at);
    assert!((secs(75)..=Duration::from_millis(87_500)).contains(&refresh));
    rig.pass(secs(90));
    assert!(rig.client.is_registered(id, &point(0)));
    rig.pass(secs(1));
    assert!(!rig.client.is_registered(id, &point(0)), "the point may have counted from then");
}

#[test]
fn a_refresh_repeats_the_record_while_the_addresses_stay() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], None);
    let first = rig.request();
    rig.grant(&first, 7_200);
    rig.pass(secs(6_300));
    let second = rig.request();
    assert_eq!(first.frame, second.frame);
    assert_ne!(first.id, second.id);
}

/// Lets every request until the lapse fail in the same way; returns how many there were.
fn tries_until_lapse(rig: &mut Rig, answer: impl Fn(&mut Rig, &rendezvous_core::client::Outbound)) -> u32 {
    let (mut tries, mut last) = (0, None);
    loop {
        assert!(rig.pass_to_deadline());
        if rig.events().iter().any(|event| matches!(event, Event::Lapsed { .. })) {
            return tries;
        }
        for request in rig.requests() {
            assert_eq!(request.kind, RequestKind::Register);
            let since = last.map(|last| rig.now.saturating_since(last));
            assert!(since.is_none_or(|since| since >= RETRY_MIN), "{since:?} between two tries");
            last = Some(rig.now);
            tries += 1;
            answer(rig, &request);
        }
    }
}

#[test]
fn a_failed_refresh_is_tried_several_times_before_the_lifetime_ends() {
    for ttl_secs in [60, 120, 7_200, 259_200] {
        let mut rig = Rig::new();
        let id = rig.registered(ttl_secs);
        let end = rig.now + secs(ttl_secs);
        let tries = tries_until_lapse(&mut rig, |rig, request| rig.fail(request, Failure::Unreachable));
        assert!((3..=80).contains(&tries), "{tries} tries within {ttl_secs} s");
        assert_eq!(rig.now, end);
        assert!(!rig.client.is_registered(id, &point(0)));
    }
}

#[test]
fn a_silent_point_leaves_time_for_several_tries_too() {
    for ttl_secs in [60, 120, 7_200] {
        let mut rig = Rig::new();
        rig.registered(ttl_secs);
        let tries = tries_until_lapse(&mut rig, |_, _| {});
        assert!((3..=60).contains(&tries), "{tries} tries within {ttl_secs} s");
    }
}

#[test]
fn a_refresh_that_succeeds_at_the_second_try_keeps_the_registration() {
    let mut rig = Rig::new();
    let id = rig.registered(60);
    rig.pass_to_deadline();
    let request = rig.request();
    rig.fail(&request, Failure::TimedOut);
    let Event::RegisterFailed { retry_at: Some(retry_at), failure: Failure::TimedOut, .. } = rig.event() else {
        panic!("a failure with a retry")
    };
    assert!(rig.client.is_registered(id, &point(0)));
    rig.pass(retry_at.saturating_since(rig.now));
    let request = rig.request();
    rig.grant(&request, 60);
    assert!(matches!(rig.event(), Event::Registered { .. }));
    rig.pass(secs(30));
    assert!(rig.events().is_empty(), "the end that was before does not count");
    assert!(rig.client.is_registered(id, &point(0)));
}

#[test]
fn what_has_lapsed_is_tried_on_at_30_s_to_an_hour() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], None);
    let mut waits = Vec::new();
    for _ in 0..40 {
        let request = rig.request();
        rig.fail(&request, Failure::Unreachable);
        let Event::RegisterFailed { retry_at: Some(retry_at), .. } = rig.event() else { panic!("a retry") };
        waits.push(retry_at.saturating_since(rig.now));
        assert!(rig.pass_to_deadline());
        assert_eq!(rig.now, retry_at);
    }
    assert!(waits.iter().all(|wait| (secs(30)..=secs(3_600)).contains(wait)), "{waits:?}");
    assert!(waits[0] <= secs(60) && waits[1] <= secs(120), "the first waits are short: {waits:?}");
    assert!(waits[10..].iter().any(|wait| *wait > secs(1_800)), "they grow: {waits:?}");
    assert!(waits[10..].iter().any(|wait| *wait < secs(1_800)), "full jitter: {waits:?}");
    assert_eq!(waits.iter().collect::<BTreeSet<_>>().len(), waits.len());
}

#[test]
fn success_resets_the_back_off() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], None);
    for _ in 0..10 {
        let request = rig.request();
        rig.fail(&request, Failure::Unreachable);
        rig.events();
        rig.pass_to_deadline();
    }
    let request = rig.request();
    rig.grant(&request, 100);
    rig.events();
    tries_until_lapse(&mut rig, |rig, request| rig.fail(request, Failure::Unreachable));
    // The first try behind the lapse, and its wait.
    while rig.requests().is_empty() {
        rig.pass_to_deadline();
    }
    rig.pass(secs(10));
    let Event::RegisterFailed { retry_at: Some(retry_at), .. } = rig.event() else { panic!("timed out") };
    // The refreshes that failed count from the success on, within one back-off as one.
    assert!(retry_at.saturating_since(rig.now) <= secs(120));
}

#[test]
fn a_lapse_is_told_once_with_its_flavour_and_registration_goes_on() {
    let mut rig = Rig::new();
    let id = rig.registered(60);
    // The machine slept through the refresh.
    rig.pass(secs(3_600));
    let event = rig.event();
    assert_eq!(event, Event::Lapsed { id, point: point(0), namespace: chat(), kind: Flavour::Standard.into() });
    let request = rig.request_of(RequestKind::Register);
    rig.grant(&request, 60);
    assert!(rig.client.is_registered(id, &point(0)));
}

#[test]
fn a_new_connection_retries_at_once_what_failed_for_want_of_one() {
    let unreached = [Failure::Unreachable, Failure::TimedOut, Failure::Unsupported];
    for failure in unreached {
        let mut rig = Rig::new();
        rig.client.register(rig.now, chat(), [point(0), point(1)], None);
        for request in rig.requests() {
            rig.fail(&request, failure.clone());
        }
        rig.pass(secs(5));
        rig.client.handle_point_reachable(rig.now, point(0));
        assert_eq!(rig.request().point, point(0), "and only there");
    }
}

#[test]
fn a_new_connection_does_not_retry_what_the_point_refused() {
    let malformed = MalformedAnswer::WrongKind { request: RequestKind::Register, answered: MessageType::Register };
    for failure in [refused(Status::Unavailable), Failure::Malformed(malformed)] {
        let mut rig = Rig::new();
        rig.client.register(rig.now, chat(), [point(0)], None);
        let request = rig.request();
        rig.fail(&request, failure);
        rig.pass(secs(5));
        rig.client.handle_point_reachable(rig.now, point(0));
        assert!(rig.requests().is_empty());
    }
}

#[test]
fn a_connection_that_comes_and_goes_makes_no_tight_loop() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], None);
    let mut sent = 0;
    for _ in 0..1_000 {
        for request in rig.requests() {
            rig.fail(&request, Failure::Unreachable);
            sent += 1;
        }
        rig.client.handle_point_lost(rig.now, point(0));
        rig.pass(Duration::from_millis(10));
        rig.client.handle_point_reachable(rig.now, point(0));
    }
    assert!(sent <= 11, "{sent} in ten seconds");
}

#[test]
fn losing_a_connection_drops_nothing() {
    let mut rig = Rig::new();
    let id = rig.registered(600);
    rig.pass(secs(525));
    let request = rig.request();
    rig.client.handle_point_lost(rig.now, point(0));
    assert!(rig.client.is_registered(id, &point(0)));
    rig.grant(&request, 600);
    assert!(matches!(rig.event(), Event::Registered { .. }));
}

#[test]
fn every_request_has_a_deadline_of_its_own() {
    let mut rig = Rig::new();
    let id = rig.client.register(rig.now, chat(), [point(0)], None);
    let request = rig.request();
    assert_eq!(rig.client.poll_timeout(), Some(request.deadline));
    // The shell never reports.
    rig.pass_to_deadline();
    let Event::RegisterFailed { id: failed, failure: Failure::TimedOut, retry_at: Some(_), .. } = rig.event() else {
        panic!("timed out")
    };
    assert_eq!(failed, id);
    assert_eq!(rig.client.stats().requests_in_flight, 0);
    // What comes behind it is ignored.
    rig.fail(&request, Failure::Unreachable);
    assert!(rig.events().is_empty() && rig.requests().is_empty());
}

#[test]
fn thousands_of_registrations_are_refreshed_once_each() {
    let mut rig = Rig::new();
    for number in 0..5_000 {
        rig.client.register(rig.now, namespace(&format!("ns-{number}")), [point(number % 7)], None);
    }
    let mut sent = 0;
    loop {
        let requests = rig.requests();
        if requests.is_empty() {
            break;
        }
        sent += requests.len();
        requests.iter().for_each(|request| rig.grant(request, 7_200));
        rig.events();
    }
    assert_eq!(sent, 5_000);
    let end = rig.now + secs(6_300);
    let mut refreshed = 0;
    while rig.client.poll_timeout().is_some_and(|at| at <= end) {
        rig.pass_to_deadline();
        for request in rig.requests() {
            refreshed += 1;
            rig.grant(&request, 7_200);
        }
        rig.events();
    }
    assert_eq!(refreshed, 5_000);
}
