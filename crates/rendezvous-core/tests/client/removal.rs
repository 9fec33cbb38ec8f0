//! UNREGISTER: when it is sent, in which order, and that nothing comes back.

use rendezvous_core::client::{Answer, Event, Failure, RequestKind, UNREGISTER_TRIES_MAX};
use rendezvous_wire::Status;

use crate::rig::*;

#[test]
fn unregister_stops_the_refresh_and_removes_the_registration_where_it_stands() {
    let mut rig = Rig::new();
    let id = rig.registered(600);
    assert!(rig.client.unregister(rig.now, id));
    assert!(!rig.client.unregister(rig.now, id), "there is no such registration any more");

    let request = rig.request_of(RequestKind::Unregister);
    assert!(!request.expects_answer);
    assert_eq!(unregister_of(&request).namespace, Some(&b"chat"[..]));
    assert_eq!(unregister_of(&request).id, Some(&peer(OWN).to_bytes()[..]), "py and js insist on it");
    rig.answer(&request, Answer::Sent);
    assert_eq!(rig.event(), Event::Unregistered { id, point: point(0), namespace: chat(), failure: None });
    assert!(!rig.client.is_registered(id, &point(0)));
    assert_eq!(rig.client.poll_timeout(), None, "no refresh is left");
    assert_eq!(rig.client.stats().standings, 0);
}

#[test]
fn nothing_is_sent_to_points_where_nothing_can_stand() {
    for failure in [Failure::Unreachable, Failure::Unsupported, refused(Status::Unavailable)] {
        let mut rig = Rig::new();
        let id = rig.client.register(rig.now, chat(), [point(0)], None);
        let request = rig.request();
        rig.fail(&request, failure);
        rig.events();
        rig.client.unregister(rig.now, id);
        assert!(rig.requests().is_empty());
        assert!(matches!(rig.event(), Event::Unregistered { failure: None, .. }));
        assert_eq!(rig.client.poll_timeout(), None);
    }
    // Nor where the REGISTER was never sent.
    let mut rig = Rig::new();
    let id = rig.client.register(rig.now, chat(), [point(0)], None);
    rig.client.unregister(rig.now, id);
    assert!(rig.requests().is_empty());
}

#[test]
fn unregister_is_sent_where_the_outcome_of_a_register_is_in_doubt() {
    for failure in [Failure::TimedOut, Failure::ClosedWithoutAnswer, refused(Status::InternalError)] {
        let mut rig = Rig::new();
        let id = rig.client.register(rig.now, chat(), [point(0)], None);
        let request = rig.request();
        rig.fail(&request, failure);
        // What hints at the flavour is tried with the other one.
        for request in rig.requests() {
            rig.fail(&request, Failure::Unreachable);
        }
        rig.client.unregister(rig.now, id);
        rig.request_of(RequestKind::Unregister);
    }
}

#[test]
fn unregister_follows_a_register_in_flight_and_does_not_overtake_it() {
    let mut rig = Rig::new();
    let id = rig.client.register(rig.now, chat(), [point(0)], None);
    let register = rig.request();
    rig.client.unregister(rig.now, id);
    assert!(rig.requests().is_empty(), "the REGISTER is still on its way");
    rig.grant(&register, 600);
    assert!(rig.events().is_empty(), "nobody wants to know of that grant");
    let unregister = rig.request_of(RequestKind::Unregister);
    rig.answer(&unregister, Answer::Sent);
    assert!(matches!(rig.event(), Event::Unregistered { failure: None, .. }));
    assert!(!rig.client.is_registered(id, &point(0)));
}

#[test]
fn unregister_behind_a_register_that_is_refused_sends_nothing() {
    let mut rig = Rig::new();
    let id = rig.client.register(rig.now, chat(), [point(0)], None);
    let register = rig.request();
    rig.client.unregister(rig.now, id);
    rig.refuse(&register, Status::InvalidTtl);
    assert!(rig.requests().is_empty());
    assert!(matches!(rig.event(), Event::Unregistered { failure: None, .. }));
}

#[test]
fn a_register_that_succeeds_after_its_deadline_is_removed_again() {
    let mut rig = Rig::new();
    let id = rig.client.register(rig.now, chat(), [point(0)], None);
    let register = rig.request();
    rig.pass(secs(10));
    rig.client.unregister(rig.now, id);
    let unregister = rig.request_of(RequestKind::Unregister);
    rig.answer(&unregister, Answer::Sent);
    rig.events();
    assert_eq!(rig.client.stats().standings, 0);

    // The point had the requests in the other order.
    rig.grant(&register, 600);
    let again = rig.request_of(RequestKind::Unregister);
    assert_eq!((again.point, again.namespace.clone()), (point(0), Some(chat())));
    rig.answer(&again, Answer::Sent);
    assert!(rig.events().is_empty() && rig.requests().is_empty());
    assert_eq!(rig.client.poll_timeout(), None);
    // Once.
    rig.grant(&register, 600);
    assert!(rig.requests().is_empty());
}

#[test]
fn a_late_success_while_the_unregister_is_on_its_way_causes_another() {
    let mut rig = Rig::new();
    let id = rig.client.register(rig.now, chat(), [point(0)], None);
    let register = rig.request();
    rig.pass(secs(10));
    rig.client.unregister(rig.now, id);
    let unregister = rig.request();
    rig.grant(&register, 600);
    assert!(rig.requests().is_empty());
    rig.answer(&unregister, Answer::Sent);
    let again = rig.request_of(RequestKind::Unregister);
    rig.answer(&again, Answer::Sent);
    assert!(rig.requests().is_empty());
    assert_eq!(rig.client.stats().standings, 0);
}

#[test]
fn a_register_waits_for_the_end_of_an_unregister() {
    let mut rig = Rig::new();
    let id = rig.registered(600);
    rig.client.unregister(rig.now, id);
    let unregister = rig.request_of(RequestKind::Unregister);
    let again = rig.client.register(rig.now, chat(), [point(0)], None);
    assert!(rig.requests().is_empty());
    rig.answer(&unregister, Answer::Sent);
    let register = rig.request_of(RequestKind::Register);
    rig.grant(&register, 600);
    assert!(rig.client.is_registered(again, &point(0)));
    assert!(!rig.client.is_registered(id, &point(0)));
}

#[test]
fn registering_again_before_the_unregister_is_sent_saves_it() {
    let mut rig = Rig::new();
    let id = rig.registered(600);
    rig.client.unregister(rig.now, id);
    let again = rig.client.register(rig.now, chat(), [point(0)], None);
    let register = rig.request_of(RequestKind::Register);
    rig.grant(&register, 600);
    let events = rig.events();
    assert!(matches!(events[0], Event::Unregistered { id: gone, failure: None, .. } if gone == id));
    assert!(matches!(events[1], Event::Registered { id: kept, .. } if kept == again));
    assert!(rig.requests().is_empty());
}

#[test]
fn an_unregister_that_fails_is_tried_again_a_few_times_and_then_told() {
    let mut rig = Rig::new();
    let id = rig.registered(7_200);
    rig.client.unregister(rig.now, id);
    for left in (0..UNREGISTER_TRIES_MAX).rev() {
        let request = rig.request_of(RequestKind::Unregister);
        rig.fail(&request, Failure::Unreachable);
        assert!(rig.requests().is_empty());
        if left > 0 {
            assert!(rig.events().is_empty());
            assert!(rig.pass_to_deadline());
        }
    }
    let failure = Some(Failure::Unreachable);
    assert_eq!(rig.event(), Event::Unregistered { id, point: point(0), namespace: chat(), failure });
    assert_eq!(rig.client.poll_timeout(), None);
}

#[test]
fn an_unregister_is_not_tried_longer_than_the_registration_can_stand() {
    let mut rig = Rig::new();
    let id = rig.registered(20);
    rig.client.unregister(rig.now, id);
    let request = rig.request();
    rig.pass(secs(20));
    assert!(matches!(rig.event(), Event::Unregistered { failure: Some(Failure::TimedOut), .. }));
    assert!(rig.requests().is_empty());
    rig.answer(&request, Answer::Sent);
    assert!(rig.events().is_empty());
}

#[test]
fn a_stream_closed_behind_an_unregister_is_no_failure() {
    let mut rig = Rig::new();
    let id = rig.registered(600);
    rig.client.unregister(rig.now, id);
    let request = rig.request();
    rig.fail(&request, Failure::ClosedWithoutAnswer);
    assert!(matches!(rig.event(), Event::Unregistered { failure: None, .. }));
}

#[test]
fn a_removal_that_waits_is_tried_at_once_when_there_is_a_connection() {
    let mut rig = Rig::new();
    let id = rig.registered(600);
    rig.client.unregister(rig.now, id);
    let request = rig.request();
    rig.fail(&request, Failure::Unreachable);
    rig.client.handle_point_reachable(rig.now, point(0));
    rig.request_of(RequestKind::Unregister);
}

#[test]
fn a_name_of_an_earlier_run_is_unregistered_with_the_id_that_the_command_returned() {
    let mut rig = Rig::new();
    let id = rig.client.unregister_at(rig.now, point(0), chat());
    let request = rig.request_of(RequestKind::Unregister);
    assert_eq!(request.id, id);
    rig.answer(&request, Answer::Sent);
    let event = Event::UnregisteredAt { request: id, point: point(0), namespace: chat(), failure: None };
    assert_eq!(rig.event(), event);
    assert_eq!(rig.client.stats().standings, 0);
}

#[test]
fn a_registration_of_this_run_comes_back_behind_unregister_at() {
    let mut rig = Rig::new();
    let kept = rig.registered(600);
    rig.client.unregister_at(rig.now, point(0), chat());
    let request = rig.request_of(RequestKind::Unregister);
    rig.answer(&request, Answer::Sent);
    let register = rig.request_of(RequestKind::Register);
    rig.grant(&register, 600);
    assert!(rig.client.is_registered(kept, &point(0)));
}

#[test]
fn a_refresh_in_flight_when_the_registration_ends_does_not_resurrect_it() {
    let mut rig = Rig::new();
    let id = rig.registered(600);
    rig.pass(secs(525));
    let refresh = rig.request_of(RequestKind::Register);
    rig.client.unregister(rig.now, id);
    rig.grant(&refresh, 600);
    let unregister = rig.request_of(RequestKind::Unregister);
    rig.answer(&unregister, Answer::Sent);
    // For days, nothing.
    rig.pass(secs(3 * 86_400));
    assert!(rig.requests().is_empty());
    rig.grant(&refresh, 7_200);
    assert!(rig.requests().is_empty());
    assert_eq!(rig.client.poll_timeout(), None);
}
