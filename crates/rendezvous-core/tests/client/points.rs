//! Several points: which are registered with, what is learnt of each, and how one that fails is left alone.

use rendezvous_core::client::{
    ClientConfig, Event, Failure, From, MalformedAnswer, Outbound, POINTS_IDLE_MAX, PointMemory, RequestKind,
};
use rendezvous_record::Flavour;
use rendezvous_wire::{MessageType, Status, Ttl};

use crate::rig::*;

fn refuse_ttl(rig: &mut Rig, request: &Outbound, text: &str) {
    rig.fail(request, Failure::Refused { status: Status::InvalidTtl, text: text.to_owned() });
}

fn ttl_of(request: &Outbound) -> u64 {
    register_of(request).2
}

#[test]
fn a_point_that_is_added_is_registered_with_at_once_and_one_removed_is_unregistered_there() {
    let mut rig = Rig::new();
    let id = rig.registered(600);
    assert!(rig.client.add_registration_point(rig.now, id, point(1)));
    let request = rig.request_of(RequestKind::Register);
    assert_eq!((request.point, ttl_of(&request)), (point(1), 600));
    rig.grant(&request, 600);
    assert!(matches!(rig.event(), Event::Registered { point: at, .. } if at == point(1)));
    assert!(rig.client.add_registration_point(rig.now, id, point(1)), "once more");
    assert!(rig.requests().is_empty());
    assert_eq!(rig.client.registration_points(id).collect::<Vec<_>>(), [point(0), point(1)]);

    assert!(rig.client.remove_registration_point(rig.now, id, &point(0)));
    let request = rig.request_of(RequestKind::Unregister);
    assert_eq!(request.point, point(0));
    rig.answer(&request, rendezvous_core::client::Answer::Sent);
    assert!(matches!(rig.event(), Event::Unregistered { point: at, failure: None, .. } if at == point(0)));
    assert!(!rig.client.remove_registration_point(rig.now, id, &point(0)));
    assert!(rig.client.is_registered(id, &point(1)) && !rig.client.is_registered(id, &point(0)));
    rig.pass(secs(525));
    assert_eq!(rig.request_of(RequestKind::Register).point, point(1), "and is refreshed there alone");
}

#[test]
fn a_registration_may_lose_all_its_points_and_get_others() {
    let mut rig = Rig::new();
    let id = rig.registered(600);
    rig.client.remove_registration_point(rig.now, id, &point(0));
    rig.client.add_registration_point(rig.now, id, point(0));
    assert!(matches!(rig.event(), Event::Unregistered { failure: None, .. }), "the removal is not sent");
    let request = rig.request_of(RequestKind::Register);
    rig.grant(&request, 600);
    assert!(rig.client.is_registered(id, &point(0)));
    rig.client.unregister(rig.now, id);
    assert!(!rig.client.add_registration_point(rig.now, id, point(1)), "there is no such registration");
}

#[test]
fn a_point_shared_by_two_registrations_is_kept_when_one_leaves_it() {
    let mut rig = Rig::new();
    let first = rig.registered(600);
    let second = rig.client.register(rig.now, chat(), [point(0)], Some(Ttl::from_secs(600)));
    let request = rig.request();
    rig.grant(&request, 600);
    rig.events();
    assert!(rig.client.remove_registration_point(rig.now, first, &point(0)));
    assert!(matches!(rig.event(), Event::Unregistered { id, failure: None, .. } if id == first));
    assert!(rig.requests().is_empty());
    assert!(rig.client.is_registered(second, &point(0)));
}

#[test]
fn a_registration_is_sent_again_at_the_one_point_that_has_forgotten_it() {
    let mut rig = Rig::new();
    let id = rig.client.register(rig.now, chat(), [point(0), point(1)], None);
    for request in rig.requests() {
        rig.grant(&request, 600);
    }
    assert!(rig.client.register_again_at(rig.now, id, &point(1)));
    assert_eq!(rig.request_of(RequestKind::Register).point, point(1));
    assert!(!rig.client.register_again_at(rig.now, id, &point(2)));
}

#[test]
fn one_dead_point_neither_stops_nor_delays_the_others() {
    let mut rig = Rig::new();
    for number in 0..20 {
        rig.client.register(rig.now, namespace(&format!("ns-{number}")), (0..3).map(point), None);
    }
    // Point 0 never answers; what is sent there fills its room and no other's.
    let mut granted = 0;
    loop {
        let requests = rig.requests();
        let answered: Vec<_> = requests.iter().filter(|request| request.point != point(0)).collect();
        if answered.is_empty() {
            break;
        }
        for request in answered {
            granted += 1;
            rig.grant(request, 7_200);
        }
        rig.events();
    }
    assert_eq!(granted, 40, "all at the others, at once");
    assert_eq!(rig.client.stats().requests_in_flight, 8);
}

#[test]
fn a_dead_point_is_not_asked_for_every_name_in_turn() {
    let mut rig = Rig::new();
    for number in 0..100 {
        rig.client.register(rig.now, namespace(&format!("ns-{number}")), [point(0)], None);
    }
    let fail_all = |rig: &mut Rig| {
        let mut failed = 0;
        loop {
            let requests = rig.requests();
            if requests.is_empty() {
                return failed;
            }
            for request in requests {
                failed += 1;
                rig.fail(&request, Failure::Unreachable);
            }
            rig.events();
        }
    };
    assert_eq!(fail_all(&mut rig), 100, "what is commanded is tried");
    for _ in 0..5 {
        let until = rig.client.backoff_until(rig.now, &point(0)).expect("it is left alone");
        while rig.now < until {
            assert!(rig.pass_to_deadline());
            if rig.now < until {
                assert!(rig.requests().is_empty());
            }
        }
        assert!(fail_all(&mut rig) <= 8, "those that were on their way when it failed, and no more");
    }
}

#[test]
fn the_back_off_is_shared_grows_from_30_s_to_an_hour_and_ends_with_an_answer() {
    let wrong = MalformedAnswer::WrongKind { request: RequestKind::Discover, answered: MessageType::Register };
    let failures = [Failure::Unreachable, Failure::Unsupported, Failure::TimedOut, Failure::Malformed(wrong)];
    let mut rig = Rig::new();
    let mut waits = Vec::new();
    for round in 0..20 {
        // A query is a command: it is asked in any case.
        rig.client.discover(rig.now, point(0), Some(chat()), None, From::Fresh);
        let request = rig.request();
        rig.fail(&request, failures[round % failures.len()].clone());
        rig.events();
        let until = rig.client.backoff_until(rig.now, &point(0)).expect("a back-off");
        waits.push(until.saturating_since(rig.now));
        rig.pass(until.saturating_since(rig.now));
        assert_eq!(rig.client.backoff_until(rig.now, &point(0)), None);
    }
    assert!(waits.iter().all(|wait| (secs(30)..=secs(3_600)).contains(wait)), "{waits:?}");
    assert!(waits[0] <= secs(60) && waits[1] <= secs(120), "{waits:?}");
    assert!(waits[8..].iter().any(|wait| *wait > secs(1_800)) && waits[8..].iter().any(|wait| *wait < secs(1_800)));

    for is_refusal in [false, true] {
        rig.client.discover(rig.now, point(0), Some(chat()), None, From::Fresh);
        let request = rig.request();
        if is_refusal {
            rig.refuse(&request, Status::Unavailable)
        } else {
            rig.answer(&request, page(vec![], None))
        }
        rig.events();
        assert_eq!(rig.client.backoff_until(rig.now, &point(0)), None);
        rig.client.discover(rig.now, point(0), Some(chat()), None, From::Fresh);
        let request = rig.request();
        rig.fail(&request, Failure::Unreachable);
        rig.events();
        let until = rig.client.backoff_until(rig.now, &point(0)).expect("a back-off");
        assert!(until.saturating_since(rig.now) <= secs(60), "it starts over");
    }
}

#[test]
fn failures_within_one_back_off_count_once() {
    let mut rig = Rig::new();
    for _ in 0..8 {
        rig.client.discover(rig.now, point(0), Some(chat()), None, From::Fresh);
    }
    for request in rig.requests() {
        rig.fail(&request, Failure::Unreachable);
    }
    let until = rig.client.backoff_until(rig.now, &point(0)).expect("a back-off");
    assert!(until.saturating_since(rig.now) <= secs(60));
    rig.client.handle_point_reachable(rig.now, point(0));
    assert_eq!(rig.client.backoff_until(rig.now, &point(0)), None, "a connection ends the wait");
}

#[test]
fn what_stands_is_renewed_even_while_its_point_is_left_alone() {
    let mut rig = Rig::new();
    let id = rig.registered(120);
    rig.client.discover(rig.now, point(0), Some(chat()), None, From::Fresh);
    let query = rig.request();
    rig.pass(secs(80));
    rig.fail(&query, Failure::Unreachable);
    // The query has timed out before; the point is in its back-off when the refresh is due.
    rig.client.discover(rig.now, point(0), Some(chat()), None, From::Fresh);
    let query = rig.request();
    rig.fail(&query, Failure::Unreachable);
    rig.events();
    while rig.requests().is_empty() {
        assert!(rig.client.backoff_until(rig.now, &point(0)).is_some() && rig.pass_to_deadline());
    }
    assert!(rig.client.is_registered(id, &point(0)), "tried within the lifetime");
}

#[test]
fn a_refused_ttl_is_asked_for_once_more_as_the_point_says_and_the_bound_is_remembered() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0), point(1)], Some(Ttl::from_secs(60)));
    let [first, other] = rig.requests().try_into().expect("one each");
    rig.grant(&other, 60);
    refuse_ttl(&mut rig, &first, "ttl 60 s is below the minimum of 300 s");
    rig.events();
    let second = rig.request();
    assert_eq!(ttl_of(&second), 300);
    rig.grant(&second, 300);
    assert!(matches!(rig.event(), Event::Registered { ttl, .. } if ttl == Ttl::from_secs(300)));
    assert_eq!(rig.client.point_memory(&point(0)).and_then(|memory| memory.ttl_min), Some(Ttl::from_secs(300)));

    rig.client.register(rig.now, namespace("other"), [point(0), point(1)], Some(Ttl::from_secs(60)));
    let asked: Vec<_> = rig.requests().iter().map(|request| (request.point, ttl_of(request))).collect();
    assert_eq!(asked, [(point(0), 300), (point(1), 60)], "known there, and there alone");
}

#[test]
fn a_ttl_refused_without_a_word_is_two_hours_and_then_a_failure() {
    for ttl in [60, 259_200] {
        let mut rig = Rig::new();
        rig.client.register(rig.now, chat(), [point(0)], Some(Ttl::from_secs(ttl)));
        let first = rig.request();
        refuse_ttl(&mut rig, &first, "");
        let second = rig.request();
        assert_eq!(ttl_of(&second), 7_200);
        refuse_ttl(&mut rig, &second, "still");
        let Event::RegisterFailed { failure, retry_at: Some(retry_at), .. } = rig.event() else { panic!("failed") };
        assert_eq!(failure, Failure::Refused { status: Status::InvalidTtl, text: String::new() }, "the first reason");
        assert!(rig.requests().is_empty());
        assert!(retry_at.saturating_since(rig.now) >= secs(30));
        assert_eq!(rig.client.backoff_until(rig.now, &point(0)), None, "a refusal is an answer");
    }
    let config = ClientConfig { adapts_ttl: false, ..ClientConfig::default() };
    let mut rig = Rig::with(config);
    rig.client.register(rig.now, chat(), [point(0)], Some(Ttl::from_secs(60)));
    let first = rig.request();
    refuse_ttl(&mut rig, &first, "at least 300");
    assert!(matches!(rig.event(), Event::RegisterFailed { .. }));
    assert!(rig.requests().is_empty());
}

#[test]
fn a_bound_that_is_out_of_date_is_learnt_anew() {
    let mut rig = Rig::new();
    let mut memory = PointMemory::default();
    memory.ttl_max = Some(Ttl::from_secs(60));
    rig.client.remember_point(rig.now, point(0), memory);
    rig.client.register(rig.now, chat(), [point(0)], Some(Ttl::from_secs(600)));
    let first = rig.request();
    assert_eq!(ttl_of(&first), 60);
    refuse_ttl(&mut rig, &first, "");
    let second = rig.request();
    assert_eq!(ttl_of(&second), 600, "what was wanted");
    rig.grant(&second, 500);
    let memory = rig.client.point_memory(&point(0)).expect("it is known").clone();
    assert_eq!((memory.ttl_min, memory.ttl_max), (Some(Ttl::from_secs(600)), None));
    assert_eq!(memory.ttl_granted, Some(Ttl::from_secs(500)), "shorter than asked for");
}

#[test]
fn a_ttl_retry_goes_with_the_flavour_that_the_point_reads() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], Some(Ttl::from_secs(60)));
    let first = rig.request();
    rig.fail(&first, Failure::ClosedWithoutAnswer);
    let second = rig.request();
    refuse_ttl(&mut rig, &second, "at least 2 h");
    let third = rig.request();
    assert_eq!((register_of(&third).1.flavour(), ttl_of(&third)), (Flavour::Legacy, 7_200));
    rig.grant(&third, 7_200);
    let memory = rig.client.point_memory(&point(0)).expect("it is known");
    assert_eq!((memory.flavour, memory.ttl_min), (Some(Flavour::Legacy), Some(Ttl::from_secs(7_200))));
}

#[test]
fn what_is_known_of_points_goes_out_and_comes_back_and_can_be_forgotten() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], None);
    let first = rig.request();
    rig.fail(&first, Failure::ClosedWithoutAnswer);
    let second = rig.request();
    rig.grant(&second, 600);
    rig.client.handle_point_keeps_streams(rig.now, point(1), Some(true));
    rig.client.handle_point_dual(rig.now, point(2), true);
    let known: Vec<_> = rig.client.point_memories().map(|(point, memory)| (*point, memory.clone())).collect();
    assert_eq!(known.len(), 3);

    let mut later = Rig::new();
    for (point, memory) in known.clone() {
        later.client.remember_point(later.now, point, memory);
    }
    assert!(later.client.point_memories().map(|(point, memory)| (*point, memory.clone())).eq(known));
    later.client.handle_point_lost(later.now, point(0));
    later.client.handle_point_reachable(later.now, point(0));
    later.client.register(later.now, chat(), [point(0)], None);
    let request = later.request();
    assert_eq!(register_of(&request).1.flavour(), Flavour::Legacy, "kept over connections and runs");
    later.client.forget_point(later.now, point(0));
    assert_eq!(later.client.point_memory(&point(0)), None);
}

#[test]
fn what_is_known_of_points_is_bounded_and_those_longest_idle_go_first() {
    let mut rig = Rig::new();
    for number in 0..POINTS_IDLE_MAX as u64 + 10 {
        rig.client.handle_point_keeps_streams(rig.now, fake_peer(number), Some(true));
    }
    assert_eq!(rig.client.stats().points, POINTS_IDLE_MAX);
    assert_eq!(rig.client.point_memory(&fake_peer(0)), None);
    assert!(rig.client.point_memory(&fake_peer(POINTS_IDLE_MAX as u64 + 9)).is_some());
}
