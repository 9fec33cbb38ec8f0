//! Shutdown: everything is removed, and it ends.

use rendezvous_core::client::{Answer, ClientConfig, Event, Failure, From, RequestKind};

use crate::rig::*;

#[test]
fn shutdown_unregisters_everything_and_is_drained_when_all_is_sent() {
    let mut rig = Rig::new();
    assert!(!rig.client.is_drained());
    for name in ["a", "b", "c"] {
        rig.client.register(rig.now, namespace(name), [point(0), point(1)], None);
    }
    for request in rig.requests() {
        rig.grant(&request, 600);
    }
    rig.events();
    rig.client.shutdown(rig.now);
    let requests = rig.requests();
    assert_eq!(requests.len(), 6);
    for request in &requests {
        assert!(!rig.client.is_drained());
        assert_eq!(request.kind, RequestKind::Unregister);
        rig.answer(request, Answer::Sent);
    }
    assert!(rig.client.is_drained());
    assert!(rig.events().iter().all(|event| matches!(event, Event::Unregistered { failure: None, .. })));
}

#[test]
fn a_client_with_nothing_registered_is_drained_at_once() {
    let mut rig = Rig::new();
    rig.client.shutdown(rig.now);
    assert!(rig.client.is_drained());
}

#[test]
fn a_register_in_flight_at_shutdown_is_removed_behind_its_answer() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], None);
    let register = rig.request();
    rig.client.shutdown(rig.now);
    assert!(!rig.client.is_drained());
    rig.grant(&register, 600);
    let unregister = rig.request_of(RequestKind::Unregister);
    rig.answer(&unregister, Answer::Sent);
    assert!(rig.client.is_drained());
}

#[test]
fn shutdown_ends_by_itself_however_silent_the_points() {
    let mut rig = Rig::new();
    // Far more than one point takes at a time.
    for number in 0..500 {
        rig.client.register(rig.now, namespace(&format!("ns-{number}")), [point(0)], None);
    }
    loop {
        let requests = rig.requests();
        if requests.is_empty() {
            break;
        }
        requests.iter().for_each(|request| rig.grant(request, 600));
        rig.events();
    }
    rig.client.shutdown(rig.now);
    let started_at = rig.now;
    let mut told = 0;
    while !rig.client.is_drained() {
        rig.requests();
        assert!(rig.pass_to_deadline());
        told += rig.events().len();
    }
    assert_eq!(told, 500, "each is told of");
    let timeout = ClientConfig::default().request_timeout;
    assert!(rig.now.saturating_since(started_at) <= 2 * timeout);
    assert_eq!(rig.client.poll_timeout(), None);
    assert!(rig.requests().is_empty());
}

#[test]
fn shutdown_fails_queries_and_refuses_new_commands() {
    let mut rig = Rig::new();
    let asked = rig.client.discover(rig.now, point(0), Some(chat()), None, From::Cookie);
    let request = rig.request();
    let waiting = rig.client.discover(rig.now, point(0), Some(chat()), None, From::Cookie);
    rig.client.shutdown(rig.now);
    let late = rig.client.discover(rig.now, point(0), Some(chat()), None, From::Cookie);
    let failed: Vec<_> = rig
        .events()
        .into_iter()
        .map(|event| match event {
            Event::DiscoverFailed { query, failure: Failure::ShutDown, .. } => query,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(failed, [asked, waiting, late]);

    rig.client.register(rig.now, chat(), [point(0)], None);
    assert!(matches!(rig.event(), Event::RegisterFailed { failure: Failure::ShutDown, retry_at: None, .. }));
    rig.client.unregister_at(rig.now, point(0), chat());
    assert!(matches!(rig.event(), Event::UnregisteredAt { failure: Some(Failure::ShutDown), .. }));
    rig.answer(&request, page(Vec::new(), None));
    assert!(rig.events().is_empty() && rig.requests().is_empty());
    assert!(rig.client.is_drained());
}

#[test]
fn a_removal_that_fails_during_shutdown_is_not_tried_again() {
    let mut rig = Rig::new();
    rig.registered(600);
    rig.client.shutdown(rig.now);
    let request = rig.request();
    rig.fail(&request, Failure::Unreachable);
    assert!(matches!(rig.event(), Event::Unregistered { failure: Some(Failure::Unreachable), .. }));
    assert!(rig.client.is_drained());
}
