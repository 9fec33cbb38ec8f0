//! What is sent to register, and what addresses do to it.

use multiaddr::{Multiaddr, Protocol};
use rendezvous_core::client::{Answer, ClientConfig, Event, Failure, From, REFRESH_MIN, RequestKind};
use rendezvous_record::{Flavour, Limits};
use rendezvous_sim::fixtures;
use rendezvous_wire::{Ttl, frame::REGISTER_BYTES_MAX};

use crate::rig::*;

#[test]
fn a_registration_is_sent_to_all_its_points_with_namespace_record_and_ttl() {
    let mut rig = Rig::new();
    let id = rig.client.register(rig.now, chat(), [point(0), point(1), point(0)], Some(Ttl::from_secs(90)));
    let requests = rig.requests();
    assert_eq!(requests.iter().map(|request| request.point).collect::<Vec<_>>(), [point(0), point(1)]);
    for request in &requests {
        assert!(request.expects_answer);
        assert_eq!(request.namespace, Some(chat()));
        assert_eq!(request.deadline, rig.now + ClientConfig::default().request_timeout);
        let (namespace, record, ttl_secs) = register_of(request);
        assert_eq!((namespace, ttl_secs), (chat(), 90));
        assert_eq!(record.peer_id(), peer(OWN));
        assert_eq!(record.flavour(), Flavour::Standard);
        assert_eq!(record.seq(), rig.now.as_unix_nanos());
        assert_eq!(record.addresses().collect::<Vec<_>>(), fixtures::addresses(OWN));
        rig.grant(request, 90);
    }
    for (event, point) in rig.events().into_iter().zip([point(0), point(1)]) {
        let (namespace, flavour, ttl) = (chat(), Flavour::Standard, Ttl::from_secs(90));
        assert_eq!(event, Event::Registered { id, point, namespace, kind: flavour.into(), ttl });
        assert!(rig.client.is_registered(id, &point));
    }
    assert!(rig.requests().is_empty());
}

#[test]
fn an_absent_or_zero_ttl_is_asked_for_as_two_hours_and_a_long_one_as_three_days() {
    for (asked, sent) in [(None, 7_200), (Some(0), 7_200), (Some(1), 1), (Some(u64::MAX), 259_200)] {
        let mut rig = Rig::new();
        rig.client.register(rig.now, chat(), [point(0)], asked.map(Ttl::from_secs));
        assert_eq!(register_of(&rig.request()).2, sent);
    }
}

#[test]
fn without_an_address_the_application_is_told_at_once_and_the_first_address_registers() {
    let mut rig = Rig::without_addresses(ClientConfig::default(), 7);
    let id = rig.client.register(rig.now, chat(), [point(0)], None);
    assert_eq!(rig.event(), Event::NoAddresses { id });
    assert!(rig.requests().is_empty());
    assert_eq!(rig.client.poll_timeout(), None, "time alone brings no address");

    rig.client.set_addresses(rig.now, fixtures::addresses(OWN));
    rig.request_of(RequestKind::Register);
    assert!(rig.events().is_empty());
}

#[test]
fn losing_all_addresses_is_told_and_what_stands_is_left_to_lapse() {
    let mut rig = Rig::new();
    let id = rig.registered(600);
    rig.client.set_addresses(rig.now, Vec::new());
    assert_eq!(rig.event(), Event::NoAddresses { id });
    rig.pass(secs(590));
    assert!(rig.requests().is_empty());
    assert!(rig.client.is_registered(id, &point(0)));
    rig.pass(secs(10));
    let lapsed = Event::Lapsed { id, point: point(0), namespace: chat(), kind: Flavour::Standard.into() };
    assert_eq!(rig.event(), lapsed);
    assert!(!rig.client.is_registered(id, &point(0)));
}

#[test]
fn changed_addresses_register_again_at_once_with_a_higher_seq() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], None);
    let first = rig.request();
    rig.grant(&first, 7_200);
    let mut seq = register_of(&first).1.seq();
    // All at one instant: seq grows without the clock.
    for number in 2..5 {
        rig.client.set_addresses(rig.now, fixtures::addresses(number));
        let again = rig.request_of(RequestKind::Register);
        assert_eq!(addresses_of(&again), fixtures::addresses(number));
        assert!(register_of(&again).1.seq() > seq);
        seq = register_of(&again).1.seq();
        rig.grant(&again, 7_200);
    }
}

#[test]
fn the_same_set_of_addresses_changes_nothing() {
    let mut rig = Rig::new();
    rig.registered(7_200);
    let mut reversed = fixtures::addresses(OWN);
    reversed.reverse();
    // Twice the same, and with this peer's own id at the end: still the same set.
    reversed.push(reversed[0].clone().with(Protocol::P2p(peer(OWN))));
    rig.client.set_addresses(rig.now, reversed);
    assert!(rig.requests().is_empty());
    assert_eq!(rig.client.addresses(), fixtures::addresses(OWN));
}

#[test]
fn addresses_that_change_while_a_register_is_in_flight_are_sent_behind_it() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], None);
    let first = rig.request();
    rig.client.set_addresses(rig.now, fixtures::addresses(2));
    assert!(rig.requests().is_empty(), "one REGISTER at a time");
    rig.grant(&first, 7_200);
    let second = rig.request();
    assert_eq!(addresses_of(&second), fixtures::addresses(2));
    rig.grant(&second, 7_200);
    assert!(rig.requests().is_empty());
}

#[test]
fn addresses_that_changed_behind_a_failed_register_do_not_wait_for_its_back_off() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], None);
    let first = rig.request();
    rig.client.set_addresses(rig.now, fixtures::addresses(2));
    rig.fail(&first, Failure::Unreachable);
    rig.pass(secs(1));
    assert_eq!(addresses_of(&rig.request()), fixtures::addresses(2));
}

fn long_address(number: u64, name_bytes: usize) -> Multiaddr {
    let name = format!("{number:0>width$}", width = name_bytes);
    Multiaddr::empty().with(Protocol::Dns4(name.into())).with(Protocol::Tcp(443))
}

#[test]
fn a_register_frame_has_at_most_4096_bytes_and_the_first_addresses_that_fit() {
    for name_bytes in [60, 100, 127, 128, 200, 400, 1_000] {
        let mut rig = Rig::without_addresses(ClientConfig::default(), 7);
        let given: Vec<_> = (0..32).map(|number| long_address(number, name_bytes)).collect();
        rig.client.set_addresses(rig.now, given.clone());
        // The longest namespace leaves the least room.
        rig.client.register(rig.now, namespace(&"n".repeat(255)), [point(0)], Some(Ttl::RECOMMENDED_MAX));
        rig.client.handle_point_dual(rig.now, point(0), true);
        let mut sent = 0;
        while let Some(request) = rig.client.poll_request(rig.now) {
            let addresses = addresses_of(&request);
            assert!(request.frame.len() <= REGISTER_BYTES_MAX);
            assert_eq!(addresses, given[..addresses.len()], "in the order given");
            let all_fit = addresses.len() == given.len();
            let one_more = name_bytes + 20;
            assert!(all_fit || request.frame.len() + one_more > REGISTER_BYTES_MAX, "room is not wasted");
            rig.grant(&request, 7_200);
            sent += 1;
        }
        assert_eq!(sent, 2, "one of each flavour");
    }
}

#[test]
fn an_address_that_does_not_fit_leaves_room_for_those_behind_it() {
    let mut rig = Rig::without_addresses(ClientConfig::default(), 7);
    let [first, last] = [long_address(1, 100), long_address(2, 100)];
    rig.client.set_addresses(rig.now, vec![first.clone(), long_address(3, 4_000), last.clone()]);
    rig.client.register(rig.now, chat(), [point(0)], None);
    assert_eq!(addresses_of(&rig.request()), [first, last]);
}

#[test]
fn addresses_none_of_which_fits_are_no_addresses() {
    let mut rig = Rig::without_addresses(ClientConfig::default(), 7);
    rig.client.set_addresses(rig.now, vec![long_address(1, 5_000)]);
    let id = rig.client.register(rig.now, chat(), [point(0)], None);
    assert_eq!(rig.event(), Event::NoAddresses { id });
    assert!(rig.requests().is_empty());
}

#[test]
fn no_more_addresses_are_signed_than_the_limits_allow() {
    let config = ClientConfig { limits: Limits { addresses_max: 2, ..Limits::default() }, ..ClientConfig::default() };
    let mut rig = Rig::with(config);
    rig.client.register(rig.now, chat(), [point(0)], None);
    let [tcp, quic, dns] = fixtures::addresses(OWN).try_into().expect("three");
    assert_eq!(rig.event(), Event::AddressesLeftOut { addresses: vec![quic.clone()] });
    assert_eq!(rig.client.addresses_left_out().collect::<Vec<_>>(), [&quic]);
    assert_eq!(addresses_of(&rig.request()), [tcp, dns], "the public one and the shortest of the others, as given");
}

#[test]
fn what_is_left_out_of_a_full_frame_is_what_others_reach_least() {
    let mut rig = Rig::without_addresses(ClientConfig::default(), 7);
    let local: Multiaddr = "/ip4/127.0.0.1/tcp/4001".parse().expect("an address");
    let private: Multiaddr = "/ip4/192.168.0.1/tcp/4001".parse().expect("an address");
    let long = |number| long_address(number, 850);
    let given = vec![local.clone(), private.clone(), long(1), long(2), long(3), long(4), long(5)];
    rig.client.set_addresses(rig.now, given);
    assert_eq!(rig.client.addresses_left_out().count(), 0, "nothing is registered yet");
    rig.client.register(rig.now, chat(), [point(0)], None);
    // The fifth long one does not fit, and the others leave room for the short ones.
    assert_eq!(rig.event(), Event::AddressesLeftOut { addresses: vec![long(5)] });
    assert_eq!(addresses_of(&rig.request()), [local.clone(), private, long(1), long(2), long(3), long(4)]);

    rig.client.set_addresses(rig.now, vec![local.clone()]);
    assert_eq!(rig.client.addresses_left_out().count(), 0);
    assert!(rig.events().is_empty());
}

#[test]
fn a_granted_ttl_of_zero_is_the_one_asked_for_and_a_huge_one_is_three_days() {
    for (granted, reckoned) in [(0, 90), (u64::MAX, 259_200), (259_201, 259_200), (1 << 63, 259_200), (30, 30)] {
        let mut rig = Rig::new();
        rig.client.register(rig.now, chat(), [point(0)], Some(Ttl::from_secs(90)));
        let request = rig.request();
        rig.grant(&request, granted);
        let Event::Registered { ttl, .. } = rig.event() else { panic!("granted") };
        assert_eq!(ttl, Ttl::from_secs(reckoned));
        let refresh = rig.client.poll_timeout().expect("a refresh").saturating_since(rig.now);
        assert!(refresh >= secs(reckoned) * 3 / 4 && refresh <= secs(reckoned) * 7 / 8, "{refresh:?} of {reckoned} s");
    }
}

#[test]
fn a_point_that_grants_a_second_is_not_chased() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], None);
    let mut sent = 0;
    let end = rig.now + secs(60);
    while rig.now < end {
        for request in rig.requests() {
            sent += 1;
            rig.grant(&request, 1);
        }
        rig.events();
        assert!(rig.pass_to_deadline());
    }
    assert!(sent <= 60 / REFRESH_MIN.as_secs() + 1, "{sent} in a minute");
}

#[test]
fn two_registrations_of_one_name_at_one_point_share_what_stands() {
    let mut rig = Rig::new();
    let short = rig.registered(120);
    let long = rig.client.register(rig.now, chat(), [point(0)], Some(Ttl::from_secs(600)));
    let request = rig.request();
    assert_eq!(register_of(&request).2, 600, "the longer lifetime is asked for");
    rig.grant(&request, 600);
    let told = rig.events().into_iter().map(|event| match event {
        Event::Registered { id, .. } => id,
        other => panic!("{other:?}"),
    });
    assert_eq!(told.collect::<Vec<_>>(), [short, long]);

    // The first to go removes nothing.
    assert!(rig.client.unregister(rig.now, short));
    assert!(matches!(rig.event(), Event::Unregistered { id, failure: None, .. } if id == short));
    assert!(rig.requests().is_empty());
    assert!(rig.client.is_registered(long, &point(0)));
    assert!(rig.client.unregister(rig.now, long));
    rig.request_of(RequestKind::Unregister);
}

#[test]
fn a_namespace_is_kept_when_another_is_unregistered() {
    let mut rig = Rig::new();
    let id = rig.registered(600);
    let other = rig.client.register(rig.now, namespace("other"), [point(0)], None);
    let request = rig.request();
    rig.grant(&request, 600);
    rig.client.unregister(rig.now, other);
    let request = rig.request_of(RequestKind::Unregister);
    assert_eq!(unregister_of(&request).namespace, Some(&b"other"[..]));
    rig.answer(&request, Answer::Sent);
    assert!(rig.client.is_registered(id, &point(0)));
    assert_eq!(rig.client.registrations().map(|(id, _)| id).collect::<Vec<_>>(), [id]);
    rig.pass(secs(540));
    assert_eq!(register_of(&rig.request()).0, chat(), "its refresh goes on");
}

#[test]
fn the_same_calls_with_the_same_seed_have_the_same_outcome() {
    let run = |seed| {
        let mut rig = Rig::without_addresses(ClientConfig::default(), seed);
        rig.client.set_addresses(rig.now, fixtures::addresses(OWN));
        rig.client.register(rig.now, chat(), (0..20).map(point), None);
        let mut log = Vec::new();
        for round in 0_u64..200 {
            for request in rig.requests() {
                match (request.id, round % 3) {
                    (_, 0) => rig.grant(&request, 300),
                    (_, 1) => rig.fail(&request, Failure::Unreachable),
                    _ => {}
                }
                log.push(format!("{} {request:?}", rig.now));
            }
            log.extend(rig.events().iter().map(|event| format!("{} {event:?}", rig.now)));
            rig.pass_to_deadline();
        }
        log
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2), "another seed, another jitter");
}

#[test]
fn an_earlier_instant_is_taken_for_the_latest_seen() {
    let mut rig = Rig::new();
    rig.registered(600);
    let refresh_at = rig.client.poll_timeout();
    rig.client.handle_timeout(fixtures::EPOCH + secs(100));
    // Seen from before: the deadline of what is sent counts from the latest instant.
    rig.client.discover(rig.now, point(0), None, None, From::Fresh);
    let request = rig.client.poll_request(rig.now).expect("a DISCOVER");
    assert_eq!(request.deadline, fixtures::EPOCH + secs(110));
    rig.fail(&request, Failure::Unreachable);
    assert_eq!(rig.client.poll_timeout(), refresh_at);
}
