//! The point through its public interface: frames in, frames out, time handed in.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may say so by panicking")]

use std::time::Duration;

use bytes::Bytes;
use libp2p_identity::PeerId;
use rendezvous_core::server::{
    Change, ChangeId, CommitFailed, Event, Origin, Reads, Refusal, Registered, Requester, Server, ServerConfig,
    registered_frame,
};
use rendezvous_record::{Flavour, Flavours};
use rendezvous_sim::{
    desk::{Desk, Found, peer, stranger},
    fixtures::{self, EPOCH},
};
use rendezvous_wire::{Limit, MessageType, PositionCookie, Status, Ttl, frame};

#[test]
fn what_is_registered_is_found_with_its_remaining_ttl_until_that_ends() {
    let mut point = Desk::new();
    assert_eq!(point.register(1, "chat", 7_200), Ok(Ttl::from_secs(7_200)));
    point.pass(200);
    let answer = point.discover(Some("chat"), 10, &[]).unwrap();
    let found = Found { namespace: "chat".into(), peer: peer(1), flavour: Flavour::Standard, ttl_secs: 7_000 };
    assert_eq!(answer.found, [found]);
    point.pass(6_999);
    assert_eq!(point.discover(Some("chat"), 10, &[]).unwrap().found[0].ttl_secs, 1);
    point.pass(1);
    assert!(point.discover(Some("chat"), 10, &[]).unwrap().found.is_empty());
}

#[test]
fn an_absent_or_zero_ttl_is_granted_the_default() {
    let mut point = Desk::new();
    let record = fixtures::record(1, Flavour::Standard);
    assert_eq!(point.register_record(&record, "chat", None), Ok(Ttl::DEFAULT));
    assert_eq!(point.register_record(&record, "chat", Some(0)), Ok(Ttl::DEFAULT));
}

#[test]
fn ttls_outside_the_bounds_are_refused_and_the_bounds_are_granted() {
    let mut point = Desk::new();
    let (min, max) = (Ttl::from_secs(60), Ttl::from_secs(259_200));
    assert_eq!(point.register(1, "chat", 59), Err(Refusal::TtlTooShort { ttl: Ttl::from_secs(59), min }));
    assert_eq!(point.register(1, "chat", 60), Ok(min));
    assert_eq!(point.register(1, "chat", 259_200), Ok(max));
    for ttl in [259_201, u64::MAX, 1 << 63] {
        assert_eq!(point.register(1, "chat", ttl), Err(Refusal::TtlTooLong { ttl: Ttl::from_secs(ttl), max }));
    }
}

#[test]
fn a_refused_renewal_leaves_the_registration_as_it_was() {
    let mut point = Desk::new();
    point.register(1, "chat", 7_200).unwrap();
    point.register(1, "chat", 1).unwrap_err();
    assert_eq!(point.discover(Some("chat"), 10, &[]).unwrap().found[0].ttl_secs, 7_200);
}

#[test]
fn each_bad_register_has_its_refusal() {
    let mut point = Desk::new();
    let record = fixtures::record(1, Flavour::Standard);
    let (me, envelope) = (record.peer_id(), record.envelope().clone());
    let namespace =
        |name: &str, point: &mut Desk| point.register_pending(&me, Some(&envelope), name, None).unwrap_err();
    assert_eq!(namespace("", &mut point).status(MessageType::Register), Status::InvalidNamespace);
    assert_eq!(namespace(&"x".repeat(256), &mut point).status(MessageType::Register), Status::InvalidNamespace);
    assert_eq!(point.register_pending(&me, None, "chat", None), Err(Refusal::RecordMissing));
    assert_eq!(point.register_pending(&me, Some(&[]), "chat", None), Err(Refusal::RecordMissing));
    assert_eq!(point.register_pending(&peer(2), Some(&envelope), "chat", None), Err(Refusal::ForeignRecord));
    let mut broken = envelope.to_vec();
    *broken.last_mut().unwrap() ^= 1;
    let refusal = point.register_pending(&me, Some(&broken), "chat", None).unwrap_err();
    assert_eq!(refusal.status(MessageType::Register), Status::InvalidSignedPeerRecord);
    assert_eq!(point.server.stats().registrations, 0);
    assert_eq!(point.server.stats().refusals, 6);
}

/// A bad signature would be told as such, had it been checked.
#[test]
fn a_copied_record_is_refused_as_foreign_before_its_signature_is_checked() {
    let mut point = Desk::new();
    for flavour in Flavour::ALL {
        let mut copied = fixtures::record(1, flavour).envelope().to_vec();
        *copied.last_mut().unwrap() ^= 1;
        let refusal = point.register_pending(&peer(2), Some(&copied), "chat", None).unwrap_err();
        assert_eq!((refusal.status(MessageType::Register), refusal), (Status::NotAuthorized, Refusal::ForeignRecord));
        let refusal = point.register_pending(&peer(1), Some(&copied), "chat", None).unwrap_err();
        assert_eq!(refusal.status(MessageType::Register), Status::InvalidSignedPeerRecord);
    }
}

#[test]
fn a_point_that_takes_one_flavour_refuses_the_other() {
    let mut point = Desk::with(|config| config.accepts = Flavours::STANDARD);
    let legacy = fixtures::record(1, Flavour::Legacy);
    let refusal = point.register_record(&legacy, "chat", None);
    assert_eq!(refusal, Err(Refusal::FlavourNotAccepted(Flavour::Legacy)));
}

#[test]
fn an_unknown_namespace_is_an_empty_page_and_leaves_nothing_behind() {
    let mut point = Desk::new();
    for number in 0..1_000 {
        let answer = point.discover(Some(&format!("nobody-{number}")), 10, &[]).unwrap();
        assert!(answer.found.is_empty());
    }
    assert_eq!(point.server.allocated_bytes(), 0);
}

#[test]
fn all_namespaces_are_listed_when_none_is_named() {
    let mut point = Desk::new();
    for (number, namespace) in [(1, "a"), (2, "b"), (3, "a")] {
        point.register(number, namespace, 7_200).unwrap();
    }
    let answer = point.discover(None, 10, &[]).unwrap();
    let listed: Vec<_> = answer.found.iter().map(|found| (found.namespace.as_str(), found.peer)).collect();
    assert_eq!(listed, [("a", peer(1)), ("b", peer(2)), ("a", peer(3))]);
    assert_eq!(answer.cookie.len(), 8);
    // The cookie of all namespaces goes on where it was.
    point.register(4, "c", 7_200).unwrap();
    assert_eq!(point.discover(None, 10, &answer.cookie).unwrap().peers(), [peer(4)]);
}

#[test]
fn pages_follow_their_cookies_and_then_only_what_is_new() {
    let mut point = Desk::new();
    for number in 0..25 {
        point.register(number, "chat", 7_200).unwrap();
    }
    let first = point.discover(Some("chat"), 10, &[]).unwrap();
    let second = point.discover(Some("chat"), 10, &first.cookie).unwrap();
    let third = point.discover(Some("chat"), 10, &second.cookie).unwrap();
    assert_eq!((first.found.len(), second.found.len(), third.found.len()), (10, 10, 5));
    let peers: Vec<_> = [first.peers(), second.peers(), third.peers()].concat();
    assert_eq!(peers, (0..25).map(peer).collect::<Vec<_>>());

    let nothing = point.discover(Some("chat"), 10, &third.cookie).unwrap();
    assert!(nothing.found.is_empty());
    assert_eq!(nothing.cookie, third.cookie);
    point.register(7, "chat", 7_200).unwrap();
    point.register(30, "chat", 7_200).unwrap();
    assert_eq!(point.discover(Some("chat"), 10, &nothing.cookie).unwrap().peers(), [peer(7), peer(30)]);
}

#[test]
fn the_cookie_of_an_empty_namespace_shows_who_comes_later() {
    let mut point = Desk::new();
    let empty = point.discover(Some("chat"), 10, &[]).unwrap();
    assert!(empty.cookie.len() >= 8);
    point.register(1, "chat", 7_200).unwrap();
    assert_eq!(point.discover(Some("chat"), 10, &empty.cookie).unwrap().peers(), [peer(1)]);
}

#[test]
fn expiry_and_withdrawal_between_pages_neither_skip_nor_repeat() {
    let mut point = Desk::new();
    for number in 0..30 {
        point.register(number, "chat", if number % 3 == 0 { 60 } else { 7_200 }).unwrap();
    }
    let first = point.discover(Some("chat"), 10, &[]).unwrap();
    point.pass(61);
    point.unregister(&peer(1), Some("chat"));
    point.unregister(&peer(11), Some("chat"));
    let rest = point.walk(Some("chat"), 10, &first.cookie);
    let expected: Vec<_> = (10..30).filter(|number| number % 3 != 0 && *number != 11).map(peer).collect();
    assert_eq!(rest.iter().map(|found| found.peer).collect::<Vec<_>>(), expected);
}

#[test]
fn cookies_of_others_are_refused_and_one_from_another_life_starts_afresh() {
    let mut point = Desk::new();
    point.register(1, "chat", 7_200).unwrap();
    let cookie = point.discover(Some("chat"), 10, &[]).unwrap().cookie;
    assert_eq!(point.discover(Some("other"), 10, &cookie).unwrap_err(), Refusal::Cookie);
    assert_eq!(point.discover(None, 10, &cookie).unwrap_err(), Refusal::Cookie);
    assert_eq!(point.discover(Some("chat"), 10, &cookie[..8]).unwrap_err(), Refusal::Cookie);
    assert_eq!(point.discover(Some("chat"), 10, &[1, 2, 3]).unwrap_err(), Refusal::Cookie);
    let of_the_future = PositionCookie { position: u64::MAX, namespace: Some("chat") }.encode();
    assert_eq!(point.discover(Some("chat"), 10, &of_the_future).unwrap().found.len(), 1);
}

#[test]
fn a_cookie_from_before_a_restart_lists_everything_again() {
    let mut before = Desk::new();
    for number in 0..50 {
        before.register(number, "chat", 7_200).unwrap();
    }
    let cookie = before.discover(Some("chat"), 100, &[]).unwrap().cookie;
    let mut after = Desk {
        origin: Origin::Unlocated,
        server: Server::new(before.now + Duration::from_secs(1), ServerConfig::default(), [1; 16]),
        now: before.now,
    };
    after.register(3, "chat", 7_200).unwrap();
    assert_eq!(after.discover(Some("chat"), 100, &cookie).unwrap().peers(), [peer(3)]);
}

#[test]
fn pages_keep_within_their_bytes_and_all_is_still_seen() {
    let mut point = Desk::with(|config| config.page_bytes_max = 0);
    for number in 0..400 {
        point.register(number, "chat", 7_200).unwrap();
    }
    let first = point.discover(Some("chat"), 1_000, &[]).unwrap();
    assert!(first.frame_len <= 40 << 10, "{} bytes", first.frame_len);
    assert!(first.found.len() < 400);
    let mut all = first.peers();
    let mut cookie = first.cookie;
    while all.len() < 400 {
        let answer = point.discover(Some("chat"), 1_000, &cookie).unwrap();
        assert!(!answer.found.is_empty(), "the walk goes on");
        all.extend(answer.peers());
        cookie = answer.cookie;
    }
    assert_eq!(all, (0..400).map(peer).collect::<Vec<_>>());
}

#[test]
fn limits_of_zero_and_above_the_largest_page_are_the_largest_page() {
    let mut point = Desk::with(|config| config.page_registrations_max = Limit::new(20));
    for number in 0..30 {
        point.register(number, "chat", 7_200).unwrap();
    }
    for limit in [0, 1_001, u64::MAX] {
        assert_eq!(point.discover(Some("chat"), limit, &[]).unwrap().found.len(), 20);
    }
}

#[test]
fn a_renewal_passes_at_every_cap_and_a_newcomer_does_not() {
    let mut point = Desk::with(|config| {
        config.registrations_per_peer_max = 2;
        config.registrations_max = 3;
    });
    point.register(1, "a", 7_200).unwrap();
    point.register(1, "b", 7_200).unwrap();
    assert_eq!(point.register(1, "c", 7_200), Err(Refusal::PeerFull { max: 2 }));
    point.register(2, "a", 7_200).unwrap();
    assert_eq!(point.register(3, "a", 7_200), Err(Refusal::Full));
    for _ in 0..10 {
        assert!(point.register(1, "a", 7_200).is_ok());
        assert!(point.register(2, "a", 7_200).is_ok());
    }
    assert_eq!(point.server.stats().registrations, 3);
    // What ends makes room.
    point.unregister(&peer(1), Some("b"));
    assert!(point.register(3, "a", 7_200).is_ok());
}

#[test]
fn registering_one_namespace_again_and_again_keeps_one_registration() {
    let mut point = Desk::new();
    point.register(1, "chat", 7_200).unwrap();
    let once = point.server.allocated_bytes();
    for round in 0..2_000 {
        point.register(1, "chat", 7_200 + round).unwrap();
    }
    assert_eq!(point.server.stats().registrations, 1);
    assert!(point.server.allocated_bytes() <= once + 1_024, "renewals leave nothing behind");
    point.run_dry();
    assert_eq!(point.server.allocated_bytes(), 0);
}

#[test]
fn unregister_of_one_namespace_leaves_the_others_and_of_none_takes_all() {
    let mut point = Desk::new();
    for namespace in ["a", "b", "c"] {
        point.register(1, namespace, 7_200).unwrap();
        point.register(2, namespace, 7_200).unwrap();
    }
    point.unregister(&peer(1), Some("b"));
    let left: Vec<_> = point.walk(None, 10, &[]).into_iter().filter(|found| found.peer == peer(1)).collect();
    assert_eq!(left.iter().map(|found| found.namespace.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    point.unregister(&peer(1), Some("never registered"));
    point.unregister(&peer(1), None);
    assert_eq!(point.walk(None, 10, &[]).len(), 3);
    assert!(point.walk(None, 10, &[]).iter().all(|found| found.peer == peer(2)));
}

#[test]
fn a_requester_gets_only_what_it_reads() {
    let mut point = Desk::new();
    point.register_record(&fixtures::record(1, Flavour::Standard), "chat", None).unwrap();
    point.register_record(&fixtures::record(2, Flavour::Legacy), "chat", None).unwrap();
    let both = fixtures::record(3, Flavour::Standard);
    point.register_record(&both, "chat", None).unwrap();
    point.register_record(&fixtures::record(3, Flavour::Legacy), "chat", None).unwrap();
    let read = |point: &mut Desk, requester: &Requester, reads| {
        let answer = point.discover_as(requester, reads, Some("chat"), 10, &[]).unwrap().unwrap();
        answer.found.iter().map(|found| (found.peer, found.flavour)).collect::<Vec<_>>()
    };
    let (standard, legacy) = (Flavour::Standard, Flavour::Legacy);
    let only_standard = [(peer(1), standard), (peer(3), standard)];
    let only_legacy = [(peer(2), legacy), (peer(3), legacy)];
    // What it says itself …
    assert_eq!(read(&mut point, &stranger(), Some(Flavours::STANDARD)), only_standard);
    assert_eq!(read(&mut point, &stranger(), Some(Flavours::LEGACY)), only_legacy);
    let all = [(peer(1), standard), (peer(2), legacy), (peer(3), standard)];
    assert_eq!(read(&mut point, &stranger(), Some(Flavours::BOTH)), all);
    // … comes before what it registered with …
    let known = |number, agent_reads: Option<Flavours>| {
        let agent_reads = agent_reads.map(Reads::Envelopes);
        Requester { agent_reads, may_wait: true, ..Requester::new(peer(number)) }
    };
    assert_eq!(read(&mut point, &known(2, None), Some(Flavours::STANDARD)), only_standard);
    assert_eq!(read(&mut point, &known(2, Some(Flavours::STANDARD)), None), only_legacy);
    assert_eq!(read(&mut point, &known(3, None), None), all);
    // … and that before its agent version, and that before the setting.
    assert_eq!(read(&mut point, &known(9, Some(Flavours::LEGACY)), None), only_legacy);
    assert_eq!(read(&mut point, &stranger(), None), only_standard);
}

#[test]
fn an_answer_waits_for_the_agent_only_where_there_is_something_to_choose() {
    let mut point = Desk::new();
    let unknown = Requester { may_wait: true, ..stranger() };
    let ask = |point: &mut Desk, requester: &Requester| {
        point.discover_as(requester, None, Some("chat"), 10, &[]).unwrap().map(|answer| answer.found.len())
    };
    assert_eq!(ask(&mut point, &unknown), Some(0), "nothing to serve, nothing to wait for");
    point.register_record(&fixtures::record(1, Flavour::Legacy), "chat", None).unwrap();
    assert_eq!(ask(&mut point, &unknown), None);
    assert_eq!(ask(&mut point, &stranger()), Some(1), "one flavour is there: it is served");
}

#[test]
fn a_registration_with_two_records_counts_once_and_each_lives_its_own_ttl() {
    let mut point = Desk::with(|config| config.registrations_per_peer_max = 1);
    point.register_record(&fixtures::record(1, Flavour::Standard), "chat", Some(100)).unwrap();
    point.register_record(&fixtures::record(1, Flavour::Legacy), "chat", Some(200)).unwrap();
    assert_eq!(point.server.stats().registrations, 1);
    assert_eq!(point.walk(Some("chat"), 10, &[]).len(), 1, "a reader of both sees it once");
    point.pass(150);
    let found = point.discover(Some("chat"), 10, &[]).unwrap().found;
    assert_eq!((found.len(), found[0].flavour, found[0].ttl_secs), (1, Flavour::Legacy, 50));
    point.run_dry();
    assert_eq!(point.server.allocated_bytes(), 0);
}

#[test]
fn events_tell_what_happened_and_are_bounded() {
    let mut point = Desk::with(|config| config.events_max = 4);
    point.register(1, "chat", 60).unwrap();
    point.register(1, "chat", 60).unwrap();
    point.unregister(&peer(1), Some("chat"));
    point.register(2, "chat", 60).unwrap();
    let _ = point.discover(Some("chat"), 10, &[]).unwrap();
    let events = point.events();
    assert_eq!(events[0], Event::Missed { count: 1 });
    assert!(matches!(&events[1], Event::Registered { renewed: false, .. }));
    assert!(matches!(&events[2], Event::Registered { renewed: true, .. }));
    assert!(matches!(&events[3], Event::Unregistered { peer: who, .. } if *who == peer(1)));
    point.run_dry();
    assert!(matches!(&point.events()[..], [Event::Expired { peer: who, .. }] if *who == peer(2)));
    assert_eq!(point.server.stats().expiries, 1);
}

#[test]
fn an_earlier_instant_counts_as_the_latest_seen() {
    let mut point = Desk::new();
    point.pass(1_000);
    point.register(1, "chat", 60).unwrap();
    let late = point.now;
    point.now = EPOCH;
    assert_eq!(point.discover(Some("chat"), 10, &[]).unwrap().found[0].ttl_secs, 60);
    point.now = late + Duration::from_secs(60);
    assert!(point.discover(Some("chat"), 10, &[]).unwrap().found.is_empty());
}

#[test]
fn the_answer_to_register_says_status_and_ttl_and_fits_the_smallest_reader() {
    let bytes = registered_frame(Ttl::from_secs(7_200));
    assert_eq!(bytes, [0x09, 0x08, 0x01, 0x1a, 0x05, 0x08, 0x00, 0x18, 0xa0, 0x38]);
    let mut refusal = Vec::new();
    let long = Refusal::Record(rendezvous_record::VerifyError::BadSignature);
    assert!(long.encode_frame(MessageType::Register, &mut refusal));
    assert!(refusal.len() <= frame::REGISTER_BYTES_MAX);
}

#[test]
fn responses_and_unknown_types_are_no_requests() {
    let point = Desk::new();
    let reader = point.server.reader();
    // REGISTER_RESPONSE, type 100, and bytes that are no message.
    for (payload, kind) in [
        (&[0x08, 0x01][..], Some(MessageType::RegisterResponse)),
        (&[0x08, 0x64], Some(MessageType::Other(100))),
        (&[0xff], None),
    ] {
        let rejected = reader.read(&peer(1), &Bytes::copy_from_slice(payload)).unwrap_err();
        assert_eq!((rejected.kind, rejected.refusal), (kind, Refusal::Malformed));
    }
}

mod commit_seam {
    use super::*;

    fn deferred() -> Desk {
        Desk::with(|config| config.deferred_commit = true)
    }

    fn pending(point: &mut Desk, number: u64, namespace: &str) -> ChangeId {
        let record = fixtures::record(number, Flavour::Standard);
        match point.register_pending(&record.peer_id(), Some(record.envelope()), namespace, None) {
            Ok(Registered::Pending(id)) => id,
            other => panic!("not pending: {other:?}"),
        }
    }

    fn listed(point: &mut Desk) -> Vec<PeerId> {
        point.discover(Some("chat"), 100, &[]).unwrap().peers()
    }

    #[test]
    fn a_change_is_visible_and_answered_only_when_committed() {
        let mut point = deferred();
        let id = pending(&mut point, 1, "chat");
        assert!(listed(&mut point).is_empty());
        let batch = point.server.poll_commit().unwrap();
        assert!(matches!(&batch.changes[..], [Change::Put(put)] if put.peer == peer(1)));
        assert!(point.server.poll_commit().is_none());
        let settled = point.server.handle_committed(point.now, batch.id, Ok(()));
        assert_eq!(settled.len(), 1);
        assert_eq!((settled[0].id, &settled[0].result), (id, &Ok(Some(Ttl::DEFAULT))));
        assert_eq!(listed(&mut point), [peer(1)]);
    }

    #[test]
    fn a_change_that_the_store_did_not_take_is_refused_and_leaves_no_trace() {
        let mut point = deferred();
        pending(&mut point, 1, "chat");
        let batch = point.server.poll_commit().unwrap();
        let settled = point.server.handle_committed(point.now, batch.id, Err(CommitFailed));
        assert_eq!(settled[0].result, Err(Refusal::StoreFailed));
        assert!(listed(&mut point).is_empty());
        assert_eq!(point.server.allocated_bytes(), 0);
    }

    #[test]
    fn batches_become_visible_in_order_whichever_is_durable_first() {
        let mut point = deferred();
        pending(&mut point, 1, "chat");
        let first = point.server.poll_commit().unwrap();
        pending(&mut point, 2, "chat");
        let second = point.server.poll_commit().unwrap();
        assert!(point.server.handle_committed(point.now, second.id, Ok(())).is_empty());
        assert!(listed(&mut point).is_empty());
        assert_eq!(point.server.handle_committed(point.now, first.id, Ok(())).len(), 2);
        assert_eq!(listed(&mut point), [peer(1), peer(2)]);
    }

    #[test]
    fn what_waits_counts_against_the_quotas() {
        let mut point = Desk::with(|config| {
            config.deferred_commit = true;
            config.registrations_per_peer_max = 2;
            config.registrations_max = 3;
            config.pending_max = 5;
        });
        let register = |point: &mut Desk, number: u64, namespace: &str| {
            let record = fixtures::record(number, Flavour::Standard);
            point.register_pending(&record.peer_id(), Some(record.envelope()), namespace, None)
        };
        assert!(register(&mut point, 1, "a").is_ok());
        assert!(register(&mut point, 1, "b").is_ok());
        assert_eq!(register(&mut point, 1, "c"), Err(Refusal::PeerFull { max: 2 }));
        assert!(register(&mut point, 2, "a").is_ok());
        assert_eq!(register(&mut point, 3, "a"), Err(Refusal::Full));
        assert!(register(&mut point, 1, "a").is_ok(), "a renewal of what waits passes");
        assert!(register(&mut point, 1, "b").is_ok());
        assert_eq!(register(&mut point, 1, "a"), Err(Refusal::Overloaded));
        let batch = point.server.poll_commit().unwrap();
        point.server.handle_committed(point.now, batch.id, Ok(()));
        assert_eq!(point.server.stats().registrations, 3);
        assert!(register(&mut point, 1, "a").is_ok());
    }

    #[test]
    fn withdrawals_that_wait_are_bounded_too() {
        let mut point = Desk::with(|config| {
            config.deferred_commit = true;
            config.pending_max = 10;
        });
        for namespace in ["a", "b", "c", "d"] {
            pending(&mut point, 1, namespace);
        }
        let batch = point.server.poll_commit().unwrap();
        point.server.handle_committed(point.now, batch.id, Ok(()));
        for _ in 0..100 {
            point.unregister(&peer(1), None);
        }
        let batch = point.server.poll_commit().unwrap();
        assert_eq!(batch.changes.len(), 10);
        assert!(point.server.stats().refusals >= 97);
        point.server.handle_committed(point.now, batch.id, Ok(()));
        assert_eq!(point.server.stats().registrations, 0);
    }

    #[test]
    fn a_withdrawal_follows_the_registration_that_still_waits() {
        let mut point = deferred();
        pending(&mut point, 1, "chat");
        pending(&mut point, 1, "other");
        point.unregister(&peer(1), None);
        let batch = point.server.poll_commit().unwrap();
        assert_eq!(batch.changes.len(), 4);
        point.server.handle_committed(point.now, batch.id, Ok(()));
        assert_eq!(point.server.stats().registrations, 0);
    }
}
