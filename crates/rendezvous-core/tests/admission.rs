//! What a peer is allowed: quotas, rates and policies, each with the refusal's status and text.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may say so by panicking")]

use std::{collections::BTreeSet, time::Duration};

use rendezvous_core::server::{
    Access, Arrival, IpPrefix, Origin, Pattern, Policy, Rate, Refusal, RequestReader, Requester, WorkRate,
};
use rendezvous_record::{Flavour, Flavours};
use rendezvous_sim::{
    desk::{Desk, peer, stranger},
    fixtures,
};
use rendezvous_wire::{Discover, MessageType, Namespace, Register, Request, Status, Ttl, Unregister};

fn prefix(last: u8) -> Origin {
    Origin::Prefix(IpPrefix::V4([192, 0, last]))
}

fn says(refusal: &Refusal, status: Status, text: &str) {
    assert_eq!(refusal.status(MessageType::Register), status);
    assert_eq!(refusal.text(), text);
}

#[test]
fn a_prefix_has_a_quota_of_its_own_and_renewals_pass_it() {
    let mut desk = Desk::with(|config| config.registrations_per_prefix_max = Some(2));
    desk.origin = prefix(1);
    desk.register(1, "a", 7_200).unwrap();
    desk.register(2, "a", 7_200).unwrap();
    let refusal = desk.register(3, "a", 7_200).unwrap_err();
    says(&refusal, Status::Unavailable, "too many registrations from this network: 2 is the most");
    assert!(desk.register(1, "a", 7_200).is_ok(), "a renewal passes");
    desk.origin = prefix(2);
    assert!(desk.register(3, "a", 7_200).is_ok(), "another network has its own");
    // A peer that has moved counts where it is.
    assert!(desk.register(1, "a", 7_200).is_ok());
    desk.origin = prefix(1);
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
        assert_eq!(desk.server.handle_arrival(desk.now, &requester, &Arrival::default()), Ok(()));
    }
    let refusal = desk.server.handle_arrival(desk.now, &requester, &Arrival::default()).unwrap_err();
    says(&refusal, Status::Unavailable, "too many requests: come back in 10 s");
    assert_eq!(desk.server.handle_arrival(desk.now, &Requester::new(peer(2)), &Arrival::default()), Ok(()));
    desk.pass(10);
    assert_eq!(desk.server.handle_arrival(desk.now, &requester, &Arrival::default()), Ok(()));
    assert_eq!(desk.server.stats().refusals, 1);
}

#[test]
fn the_peers_of_a_prefix_share_a_rate() {
    let rate = Rate { burst: 5, period: Duration::from_secs(1) };
    let mut desk = Desk::with(|config| config.rate_per_prefix = Some(rate));
    let from = |number, origin| Requester { origin, ..Requester::new(peer(number)) };
    let passed = (0..100)
        .filter(|number| desk.server.handle_arrival(desk.now, &from(*number, prefix(1)), &Arrival::default()).is_ok())
        .count();
    assert_eq!(passed, 5);
    assert_eq!(desk.server.handle_arrival(desk.now, &from(1, prefix(2)), &Arrival::default()), Ok(()));
    assert_eq!(
        desk.server.handle_arrival(desk.now, &from(1, Origin::Exempt), &Arrival::default()),
        Ok(()),
        "an exempt network shares none"
    );
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
        config.registrations_per_prefix_max = Some(3);
        config.registrations_per_namespace_max = 2;
        config.record_bytes_max = len * 4;
    });
    desk.origin = prefix(1);
    assert!(pending(&mut desk, 1, "a").is_ok());
    assert!(pending(&mut desk, 2, "a").is_ok());
    assert_eq!(pending(&mut desk, 3, "a"), Err(Refusal::NamespaceFull));
    assert!(pending(&mut desk, 3, "b").is_ok());
    assert_eq!(pending(&mut desk, 4, "b"), Err(Refusal::PrefixFull { max: 3 }));
    desk.origin = prefix(2);
    assert!(pending(&mut desk, 4, "b").is_ok());
    assert_eq!(pending(&mut desk, 5, "c"), Err(Refusal::BytesFull));
    // What the store did not take is given back.
    let batch = desk.server.poll_commit().unwrap();
    desk.server.handle_committed(desk.now, batch.id, Err(rendezvous_core::server::CommitFailed));
    desk.origin = prefix(1);
    for number in 0..2 {
        assert!(pending(&mut desk, number, "a").is_ok());
    }
}

/// A request of a peer as it arrives, before it is read.
fn arrive(desk: &mut Desk, number: u64, origin: Origin, payload: &[u8]) -> Result<(), Refusal> {
    let requester = Requester { origin, ..Requester::new(peer(number)) };
    desk.server.handle_arrival(desk.now, &requester, &RequestReader::arrival(payload))
}

fn register_payload(number: u64) -> Vec<u8> {
    let record = fixtures::record(number, Flavour::Standard);
    let register = Register { namespace: Some(b"chat"), signed_peer_record: Some(record.envelope()), ttl_secs: None };
    Request::Register(register).to_message().encode()
}

fn discover_payload(limit: u64) -> Vec<u8> {
    let discover = Discover { namespace: Some(b"chat"), limit: Some(limit), ..Discover::default() };
    Request::Discover(discover).to_message().encode()
}

fn unregister_payload(namespace: Option<&[u8]>) -> Vec<u8> {
    Request::Unregister(Unregister { namespace, id: None }).to_message().encode()
}

#[test]
fn a_request_is_weighed_by_what_it_costs() {
    let micros = |payload: &[u8]| RequestReader::arrival(payload).work_micros;
    assert_eq!(micros(&discover_payload(10)), 15);
    assert_eq!(micros(&register_payload(1)), 50, "an Ed25519 signature");
    assert_eq!(micros(&unregister_payload(None)), 15);
    assert_eq!(micros(b"no message"), 15);
    assert_eq!(RequestReader::arrival(&register_payload(1)).kind, Some(MessageType::Register));
    assert_eq!(RequestReader::arrival(b"\xff").kind, None);
}

#[test]
fn a_flood_of_one_peer_is_refused_and_its_neighbours_are_served() {
    let mut desk = Desk::new();
    let payload = register_payload(1);
    let passed = (0..100_000).take_while(|_| arrive(&mut desk, 1, prefix(1), &payload).is_ok()).count();
    assert_eq!(passed, 20_000, "a second of work");
    let refusal = arrive(&mut desk, 1, prefix(1), &payload).unwrap_err();
    says(&refusal, Status::Unavailable, "too many requests: come back in 1 s");
    assert!(arrive(&mut desk, 2, prefix(1), &payload).is_ok(), "a neighbour");
    // Fresh keys help as far as the network's bucket goes.
    let passed = (10..).take_while(|number| arrive(&mut desk, *number, prefix(1), &payload).is_ok()).count();
    assert_eq!(passed, 19_999);
    assert!(arrive(&mut desk, 3, prefix(2), &payload).is_ok(), "another network");
    assert!(arrive(&mut desk, 4, Origin::Exempt, &payload).is_ok());
    let too_fast = desk.server.stats().too_fast;
    assert_eq!((too_fast.work_per_peer, too_fast.work_per_prefix), (2, 1));
    let settings: Vec<_> = core::iter::from_fn(|| desk.server.poll_notice()).map(|notice| notice.setting).collect();
    assert_eq!(settings, ["work.per_peer.millis_per_sec", "work.per_prefix.millis_per_sec"]);
}

#[test]
fn pages_are_charged_by_what_stands_on_them() {
    let mut desk = Desk::with(|config| {
        config.registrations_per_prefix_max = Some(usize::MAX);
        let (burst, per_sec) = (Duration::from_millis(10), Duration::from_millis(1));
        config.work_per_peer = Some(WorkRate { burst, per_sec });
    });
    let asker = Requester::new(peer(5_000));
    let ask = |desk: &mut Desk, namespace| {
        let payload = discover_payload(1_000);
        desk.server.handle_arrival(desk.now, &asker, &RequestReader::arrival(&payload))?;
        desk.discover_as(&asker, Some(Flavours::BOTH), Some(namespace), 1_000, &[])
            .map(|page| page.unwrap().found.len())
    };
    for number in 0..1_000 {
        desk.register(number, "large", 7_200).unwrap();
    }
    let pages = (0..1_000).take_while(|_| ask(&mut desk, "large").is_ok()).count();
    assert_eq!(pages, 20, "515 microseconds each, of 10 ms");
    desk.pass(60);
    let pages = (0..1_000).take_while(|_| ask(&mut desk, "empty").is_ok()).count();
    assert_eq!(pages, 666, "15 microseconds each");
}

#[test]
fn an_unregister_of_what_stands_passes_where_all_else_is_too_fast() {
    let mut desk = Desk::with(|config| config.rate_per_peer = Some(Rate { burst: 1, period: Duration::from_secs(60) }));
    desk.register(1, "chat", 7_200).unwrap();
    assert!(arrive(&mut desk, 1, prefix(1), &discover_payload(1)).is_ok());
    assert!(arrive(&mut desk, 1, prefix(1), &discover_payload(1)).is_err());
    for _ in 0..10 {
        assert!(arrive(&mut desk, 1, prefix(1), &unregister_payload(Some(b"chat"))).is_ok());
        assert!(arrive(&mut desk, 1, prefix(1), &unregister_payload(None)).is_ok());
    }
    assert!(arrive(&mut desk, 1, prefix(1), &unregister_payload(Some(b"nothing"))).is_err());
    desk.unregister(&peer(1), None);
    assert!(arrive(&mut desk, 1, prefix(1), &unregister_payload(Some(b"chat"))).is_err(), "nothing stands");
    assert!(arrive(&mut desk, 1, prefix(1), &unregister_payload(None)).is_err());
}

/// 5,000 peers behind one address, two names each: every minute each name is registered and polled.
#[test]
fn a_large_nat_and_a_client_with_a_hundred_requests_at_once_are_never_refused() {
    let mut desk = Desk::new();
    let (register, discover) = (register_payload(1), discover_payload(10));
    for number in 0..10 {
        desk.register(number, "chat", 7_200).unwrap();
    }
    for second in 0..120_u64 {
        desk.pass(1);
        for request in 0..167 {
            let number = 10_000 + (second * 167 + request) % 10_000;
            assert_eq!(arrive(&mut desk, number, prefix(1), &register), Ok(()), "second {second}");
            assert_eq!(arrive(&mut desk, number, prefix(1), &discover), Ok(()), "second {second}");
        }
        if second.is_multiple_of(10) {
            for _ in 0..100 {
                assert_eq!(arrive(&mut desk, 1, prefix(2), &register), Ok(()), "second {second}");
            }
        }
    }
    assert_eq!(desk.server.stats().refusals, 0);
}
