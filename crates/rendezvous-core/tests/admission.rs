//! What a peer is allowed: quotas, rates and policies, each with the refusal's status and text.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may say so by panicking")]

use std::{collections::BTreeSet, time::Duration};

use rendezvous_core::server::{Access, IpPrefix, Pattern, Policy, Rate, Refusal, Requester};
use rendezvous_record::Flavour;
use rendezvous_sim::{
    desk::{Desk, peer, stranger},
    fixtures,
};
use rendezvous_wire::{MessageType, Namespace, Status, Ttl};

fn prefix(last: u8) -> Option<IpPrefix> {
    Some(IpPrefix::V4([192, 0, last]))
}

fn says(refusal: &Refusal, status: Status, text: &str) {
    assert_eq!(refusal.status(MessageType::Register), status);
    assert_eq!(refusal.text(), text);
}

#[test]
fn a_prefix_has_a_quota_of_its_own_and_renewals_pass_it() {
    let mut desk = Desk::with(|config| config.registrations_per_prefix_max = 2);
    desk.prefix = prefix(1);
    desk.register(1, "a", 7_200).unwrap();
    desk.register(2, "a", 7_200).unwrap();
    let refusal = desk.register(3, "a", 7_200).unwrap_err();
    says(&refusal, Status::Unavailable, "too many registrations from this network: 2 is the most");
    assert!(desk.register(1, "a", 7_200).is_ok(), "a renewal passes");
    desk.prefix = prefix(2);
    assert!(desk.register(3, "a", 7_200).is_ok(), "another network has its own");
    // A peer that has moved counts where it is.
    assert!(desk.register(1, "a", 7_200).is_ok());
    desk.prefix = prefix(1);
    assert!(desk.register(4, "a", 7_200).is_ok());
    assert!(desk.register(5, "a", 7_200).is_err());
    // What ends makes room.
    desk.unregister(&peer(2), None);
    assert!(desk.register(5, "a", 7_200).is_ok());
}

#[test]
fn a_namespace_has_a_quota_which_a_policy_may_replace() {
    let mut desk = Desk::with(|config| {
        config.registrations_per_namespace_max = 2;
        let roomy = Policy { registrations_max: Some(3), ..Policy::new(Pattern::Prefix("roomy/".into())) };
        config.policies = vec![roomy];
    });
    for (namespace, max) in [("a", 2), ("roomy/a", 3)] {
        for number in 0..max {
            desk.register(number, namespace, 7_200).unwrap();
        }
        let refusal = desk.register(9, namespace, 7_200).unwrap_err();
        says(&refusal, Status::Unavailable, "the namespace is full");
        assert!(desk.register(0, namespace, 7_200).is_ok(), "a renewal passes");
    }
}

#[test]
fn records_have_a_budget_of_bytes() {
    let len = fixtures::record(1, Flavour::Standard).envelope().len() as u64;
    let mut desk = Desk::with(|config| config.record_bytes_max = len * 2 + len / 2);
    desk.register(1, "a", 7_200).unwrap();
    desk.register(2, "a", 7_200).unwrap();
    let refusal = desk.register(3, "a", 7_200).unwrap_err();
    says(&refusal, Status::Unavailable, "the rendezvous point has no room for more records");
    assert!(desk.register(1, "a", 7_200).is_ok(), "a renewal passes");
    // A second record of the registration is no renewal of the first: it has to fit, with the slack of renewals.
    let legacy = fixtures::record(1, Flavour::Legacy);
    assert_eq!(desk.register_record(&legacy, "a", None), Err(Refusal::BytesFull));
    assert!(desk.server.stats().record_bytes <= len * 2 + len / 2);
}

#[test]
fn a_peer_that_asks_too_often_is_told_when_to_come_back() {
    let rate = Rate { burst: 3, period: Duration::from_secs(10) };
    let mut desk = Desk::with(|config| config.rate_per_peer = Some(rate));
    let requester = Requester::new(peer(1));
    for _ in 0..3 {
        assert_eq!(desk.server.handle_arrival(desk.now, &requester), Ok(()));
    }
    let refusal = desk.server.handle_arrival(desk.now, &requester).unwrap_err();
    says(&refusal, Status::Unavailable, "too many requests: come back in 10 s");
    assert_eq!(desk.server.handle_arrival(desk.now, &Requester::new(peer(2))), Ok(()));
    desk.pass(10);
    assert_eq!(desk.server.handle_arrival(desk.now, &requester), Ok(()));
    assert_eq!(desk.server.stats().refusals, 1);
}

#[test]
fn the_peers_of_a_prefix_share_a_rate() {
    let rate = Rate { burst: 5, period: Duration::from_secs(1) };
    let mut desk = Desk::with(|config| config.rate_per_prefix = Some(rate));
    let from = |number, prefix| Requester { prefix, ..Requester::new(peer(number)) };
    let passed =
        (0..100).filter(|number| desk.server.handle_arrival(desk.now, &from(*number, prefix(1))).is_ok()).count();
    assert_eq!(passed, 5);
    assert_eq!(desk.server.handle_arrival(desk.now, &from(1, prefix(2))), Ok(()));
    assert_eq!(desk.server.handle_arrival(desk.now, &from(1, None)), Ok(()), "no prefix is known: none is shared");
}

#[test]
fn a_policy_says_who_may_register() {
    let mut desk = Desk::with(|config| {
        let members = Access::Only(BTreeSet::from([peer(1)]));
        let closed = Policy { register: members, ..Policy::new(Pattern::Exact(Namespace::new("club").unwrap())) };
        let nobody = Policy { register: Access::Nobody, ..Policy::new(Pattern::Prefix("reserved/".into())) };
        config.policies = vec![closed, nobody];
    });
    assert!(desk.register(1, "club", 7_200).is_ok());
    for namespace in ["club", "reserved/x"] {
        let refusal = desk.register(2, namespace, 7_200).unwrap_err();
        says(&refusal, Status::NotAuthorized, "this peer may not register in this namespace");
    }
    assert!(desk.register(2, "open", 7_200).is_ok());
}

#[test]
fn a_policy_says_who_may_discover_and_no_listing_of_all_goes_around_it() {
    let mut desk = Desk::with(|config| {
        let members = Access::Only(BTreeSet::from([peer(1)]));
        config.policies = vec![Policy { discover: members, ..Policy::new(Pattern::Prefix("club".into())) }];
    });
    desk.register(2, "club", 7_200).unwrap();
    let ask = |desk: &mut Desk, requester: &Requester, namespace| {
        desk.discover_as(requester, None, namespace, 10, &[]).map(|page| page.unwrap().found.len())
    };
    assert_eq!(ask(&mut desk, &Requester::new(peer(1)), Some("club")), Ok(1));
    assert_eq!(ask(&mut desk, &Requester::new(peer(1)), None), Ok(1));
    let refusal = ask(&mut desk, &stranger(), Some("club")).unwrap_err();
    says(&refusal, Status::NotAuthorized, "this peer may not discover in this namespace");
    let refusal = ask(&mut desk, &stranger(), None).unwrap_err();
    says(&refusal, Status::NotAuthorized, "this peer may not discover in all namespaces: name one");
    assert_eq!(ask(&mut desk, &stranger(), Some("open")), Ok(0));
}

#[test]
fn listing_all_namespaces_can_be_denied() {
    let mut desk = Desk::with(|config| config.discover_all = Access::Nobody);
    desk.register(1, "a", 7_200).unwrap();
    assert_eq!(desk.discover(None, 10, &[]).unwrap_err(), Refusal::DiscoverAllDenied);
    assert_eq!(desk.discover(Some("a"), 10, &[]).unwrap().found.len(), 1);
}

#[test]
fn a_policy_bounds_the_ttl_and_the_default_follows() {
    let mut desk = Desk::with(|config| {
        let (ttl_min, ttl_max) = (Some(Ttl::from_secs(5)), Some(Ttl::from_secs(20)));
        config.policies = vec![Policy { ttl_min, ttl_max, ..Policy::new(Pattern::Prefix("short/".into())) }];
    });
    assert_eq!(desk.register(1, "short/a", 5), Ok(Ttl::from_secs(5)));
    assert!(matches!(desk.register(1, "short/a", 4), Err(Refusal::TtlTooShort { .. })));
    assert!(matches!(desk.register(1, "short/a", 21), Err(Refusal::TtlTooLong { .. })));
    let record = fixtures::record(2, Flavour::Standard);
    assert_eq!(desk.register_record(&record, "short/a", None), Ok(Ttl::from_secs(20)));
    assert!(desk.register(1, "other", 21).is_err(), "elsewhere the point's own bounds hold");
}

#[test]
fn what_waits_to_be_committed_counts_against_every_quota() {
    let len = fixtures::record(1, Flavour::Standard).envelope().len() as u64;
    let pending = |desk: &mut Desk, number: u64, namespace: &str| {
        let record = fixtures::record(number, Flavour::Standard);
        desk.register_pending(&record.peer_id(), Some(record.envelope()), namespace, None)
    };
    let mut desk = Desk::with(|config| {
        config.deferred_commit = true;
        config.registrations_per_prefix_max = 3;
        config.registrations_per_namespace_max = 2;
        config.record_bytes_max = len * 4;
    });
    desk.prefix = prefix(1);
    assert!(pending(&mut desk, 1, "a").is_ok());
    assert!(pending(&mut desk, 2, "a").is_ok());
    assert_eq!(pending(&mut desk, 3, "a"), Err(Refusal::NamespaceFull));
    assert!(pending(&mut desk, 3, "b").is_ok());
    assert_eq!(pending(&mut desk, 4, "b"), Err(Refusal::PrefixFull { max: 3 }));
    desk.prefix = prefix(2);
    assert!(pending(&mut desk, 4, "b").is_ok());
    assert_eq!(pending(&mut desk, 5, "c"), Err(Refusal::BytesFull));
    // What the store did not take is given back.
    let batch = desk.server.poll_commit().unwrap();
    desk.server.handle_committed(desk.now, batch.id, Err(rendezvous_core::server::CommitFailed));
    desk.prefix = prefix(1);
    for number in 0..2 {
        assert!(pending(&mut desk, number, "a").is_ok());
    }
}
