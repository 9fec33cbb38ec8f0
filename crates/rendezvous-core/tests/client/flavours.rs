//! Which envelope flavour a point gets.

use rendezvous_core::client::{ClientConfig, Event, Failure, Outbound};
use rendezvous_record::{Flavour, Flavours};
use rendezvous_wire::{Status, Ttl};

use crate::rig::*;

fn flavour_of(request: &Outbound) -> Flavour {
    register_of(request).1.flavour()
}

fn hints() -> [Failure; 4] {
    let [a, b, c] = [Status::InvalidSignedPeerRecord, Status::NotAuthorized, Status::InternalError].map(refused);
    [a, b, c, Failure::ClosedWithoutAnswer]
}

#[test]
fn a_point_that_cannot_read_the_record_is_tried_once_with_the_other_flavour() {
    for failure in hints() {
        let mut rig = Rig::new();
        let id = rig.client.register(rig.now, chat(), [point(0)], None);
        let first = rig.request();
        assert_eq!(flavour_of(&first), Flavour::Standard);
        rig.fail(&first, failure.clone());
        assert!(rig.events().is_empty(), "it has not failed yet");
        let second = rig.request();
        assert_eq!(flavour_of(&second), Flavour::Legacy);
        rig.grant(&second, 600);
        let Event::Registered { kind, .. } = rig.event() else { panic!("registered") };
        assert_eq!(kind, Flavour::Legacy.into());
        assert_eq!(rig.client.registered_flavours(id, &point(0)), Flavours::LEGACY);
    }
}

#[test]
fn a_point_that_reads_neither_is_a_failure_with_the_first_reason_and_backs_off() {
    for failure in hints() {
        let mut rig = Rig::new();
        rig.client.register(rig.now, chat(), [point(0)], None);
        let first = rig.request();
        rig.fail(&first, failure.clone());
        let second = rig.request();
        rig.fail(&second, Failure::ClosedWithoutAnswer);
        let Event::RegisterFailed { failure: told, retry_at: Some(retry_at), .. } = rig.event() else {
            panic!("failed")
        };
        assert_eq!(told, failure);
        assert!(retry_at.saturating_since(rig.now) >= secs(30));
        assert!(rig.requests().is_empty());
        rig.pass_to_deadline();
        assert_eq!(flavour_of(&rig.request()), Flavour::Standard, "nothing was learnt");
    }
}

#[test]
fn a_second_flavour_that_is_refused_for_another_reason_tells_more_than_the_first() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], None);
    let first = rig.request();
    rig.fail(&first, Failure::ClosedWithoutAnswer);
    let second = rig.request();
    rig.refuse(&second, Status::InvalidTtl);
    let Event::RegisterFailed { failure, .. } = rig.event() else { panic!("failed") };
    assert_eq!(failure, refused(Status::InvalidTtl));
}

#[test]
fn other_failures_do_not_ask_for_the_other_flavour() {
    let statuses = [100, 102, 103, 400, 429].map(Status::from_code).map(refused);
    for failure in statuses.into_iter().chain([Failure::Unreachable, Failure::TimedOut, Failure::Unsupported]) {
        let mut rig = Rig::new();
        rig.client.register(rig.now, chat(), [point(0)], None);
        let first = rig.request();
        rig.fail(&first, failure);
        assert!(rig.requests().is_empty());
        assert!(matches!(rig.event(), Event::RegisterFailed { .. }));
    }
}

#[test]
fn what_works_is_remembered_for_the_point_and_for_no_other() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], None);
    let first = rig.request();
    rig.fail(&first, Failure::ClosedWithoutAnswer);
    let second = rig.request();
    rig.grant(&second, 600);

    rig.client.register(rig.now, namespace("other"), [point(0), point(1)], None);
    for request in rig.requests() {
        let learnt = if request.point == point(0) { Flavour::Legacy } else { Flavour::Standard };
        assert_eq!(flavour_of(&request), learnt);
        rig.grant(&request, 7_200);
    }
    rig.pass(secs(525));
    assert_eq!(flavour_of(&rig.request()), Flavour::Legacy, "refreshes too");
}

#[test]
fn a_point_that_changes_its_mind_is_learnt_anew() {
    let mut rig = Rig::new();
    rig.registered(600);
    rig.pass(secs(525));
    let refresh = rig.request();
    rig.fail(&refresh, Failure::ClosedWithoutAnswer);
    let probe = rig.request();
    assert_eq!(flavour_of(&probe), Flavour::Legacy);
    rig.grant(&probe, 600);
    rig.events();
    rig.pass(secs(525));
    assert_eq!(flavour_of(&rig.request()), Flavour::Legacy);
    assert!(rig.events().is_empty(), "the record that was replaced does not lapse");
}

#[test]
fn the_flavour_tried_first_is_a_setting() {
    let mut rig = Rig::with(ClientConfig { flavour: Flavour::Legacy, ..ClientConfig::default() });
    rig.client.register(rig.now, chat(), [point(0)], None);
    let first = rig.request();
    assert_eq!(flavour_of(&first), Flavour::Legacy);
    rig.refuse(&first, Status::InvalidSignedPeerRecord);
    assert_eq!(flavour_of(&rig.request()), Flavour::Standard);
}

#[test]
fn a_dual_point_is_registered_with_in_both_flavours_one_after_the_other() {
    let mut rig = Rig::new();
    rig.client.handle_point_dual(rig.now, point(0), true);
    let id = rig.client.register(rig.now, chat(), [point(0)], Some(Ttl::from_secs(600)));
    let first = rig.request();
    rig.grant(&first, 600);
    let second = rig.request();
    rig.grant(&second, 600);
    assert_eq!([flavour_of(&first), flavour_of(&second)], [Flavour::Standard, Flavour::Legacy]);
    let told: Flavours = rig
        .events()
        .into_iter()
        .map(|event| match event {
            Event::Registered { kind, .. } => kind.flavour().expect("it is signed"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, Flavours::BOTH);
    assert_eq!(rig.client.registered_flavours(id, &point(0)), Flavours::BOTH);

    // Both are refreshed.
    let mut refreshed = Flavours::NONE;
    let end = rig.now + secs(525);
    while rig.client.poll_timeout().is_some_and(|at| at <= end) {
        rig.pass_to_deadline();
        for request in rig.requests() {
            refreshed = refreshed.with(flavour_of(&request));
            rig.grant(&request, 600);
        }
    }
    assert_eq!(refreshed, Flavours::BOTH);
}

#[test]
fn a_point_found_to_be_dual_gets_the_other_flavour_behind_the_first() {
    let mut rig = Rig::new();
    rig.registered(600);
    rig.client.handle_point_dual(rig.now, point(0), true);
    let second = rig.request();
    assert_eq!(flavour_of(&second), Flavour::Legacy);
    rig.grant(&second, 600);
    rig.client.handle_point_dual(rig.now, point(0), true);
    assert!(rig.requests().is_empty(), "told again, nothing new");

    rig.client.handle_point_dual(rig.now, point(0), false);
    rig.pass(secs(525));
    assert_eq!(flavour_of(&rig.request()), Flavour::Standard, "one is kept");
    assert!(rig.requests().is_empty());
}

#[test]
fn a_dual_point_that_refuses_one_flavour_keeps_the_other() {
    let mut rig = Rig::new();
    rig.client.handle_point_dual(rig.now, point(0), true);
    let id = rig.client.register(rig.now, chat(), [point(0)], None);
    let first = rig.request();
    rig.grant(&first, 600);
    let second = rig.request();
    rig.refuse(&second, Status::InvalidSignedPeerRecord);
    assert!(rig.requests().is_empty(), "no flavour is tried in the other's place");
    assert_eq!(rig.client.registered_flavours(id, &point(0)), Flavours::STANDARD);
}

#[test]
fn a_point_found_to_be_dual_while_it_is_probed_gets_one_record_of_each() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], None);
    let first = rig.request();
    rig.fail(&first, Failure::ClosedWithoutAnswer);
    rig.client.handle_point_dual(rig.now, point(0), true);
    let mut sent = Flavours::NONE;
    while let Some(request) = rig.client.poll_request(rig.now) {
        sent = sent.with(flavour_of(&request));
        rig.grant(&request, 600);
    }
    assert_eq!(sent, Flavours::BOTH);
}
