//! Points in the older form of the protocol: REGISTER with a `PeerInfo`, and registrations without a signature.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use multiaddr::Multiaddr;
use rendezvous_core::{
    RecordKind,
    client::{
        Answer, AnswerReader, ClientConfig, Discovered, Event, Failure, FoundRecord, From, LookupConfig, Outbound,
        PageCost, RequestKind, Skipped, Unverified,
    },
};
use rendezvous_record::{Flavour, Flavours, Limits};
use rendezvous_sim::fixtures;
use rendezvous_wire::{DiscoverResponse, PeerInfo, Register, Registrations, Request, Response, Status, Ttl, frame};

use crate::rig::{Rig, chat, cookie, found, namespace, page, peer, point, refused, secs, unregister_of};

fn legacy() -> ClientConfig {
    ClientConfig { legacy_peer_info: true, ..ClientConfig::default() }
}

/// The kind of record in a REGISTER.
fn kind_of(request: &Outbound) -> RecordKind {
    assert_eq!(request.kind, RequestKind::Register);
    if info_of(request).is_some() { RecordKind::Unsigned } else { crate::rig::register_of(request).1.flavour().into() }
}

/// The peer's id and the addresses in a REGISTER without a signature.
fn info_of(request: &Outbound) -> Option<(Vec<u8>, Vec<Multiaddr>)> {
    let (payload, _) = frame::split(&request.frame, usize::MAX).unwrap().unwrap();
    let Ok(Request::Register(register)) = Request::decode(payload) else { panic!("no REGISTER") };
    assert!(register.ttl_secs.is_some_and(|ttl| ttl > 0) && register.namespace == Some(b"chat"));
    let info = PeerInfo::decode(register.signed_peer_record.unwrap()).ok()?;
    let addresses = info.addresses().map(|address| Multiaddr::try_from(address.to_vec()).unwrap());
    Some((info.id().to_vec(), addresses.collect()))
}

/// A client whose point has refused both flavours, and the REGISTER that follows.
fn tried_with_both(failure: &Failure) -> (Rig, rendezvous_core::client::RegistrationId, Outbound) {
    let mut rig = Rig::with(legacy());
    let id = rig.client.register(rig.now, chat(), [point(0)], Some(Ttl::from_secs(600)));
    for flavour in Flavour::ALL {
        let request = rig.request();
        assert_eq!(kind_of(&request), flavour.into());
        rig.fail(&request, failure.clone());
        assert!(rig.events().is_empty(), "it has not failed yet");
    }
    let request = rig.request();
    (rig, id, request)
}

#[test]
fn a_point_that_takes_neither_flavour_is_tried_without_a_signature_and_that_is_remembered() {
    let hints = [
        refused(Status::InvalidSignedPeerRecord),
        refused(Status::NotAuthorized),
        refused(Status::InternalError),
        Failure::ClosedWithoutAnswer,
    ];
    for failure in hints {
        let (mut rig, id, request) = tried_with_both(&failure);
        assert_eq!(info_of(&request), Some((peer(1).to_bytes(), fixtures::addresses(1))));
        rig.grant(&request, 600);
        let registered = Event::Registered {
            id,
            point: point(0),
            namespace: chat(),
            kind: RecordKind::Unsigned,
            ttl: Ttl::from_secs(600),
        };
        assert_eq!(rig.event(), registered);
        assert!(rig.client.is_registered(id, &point(0)));
        assert_eq!(rig.client.registered_flavours(id, &point(0)), Flavours::NONE);

        // It is refreshed so, in time …
        rig.pass(secs(550));
        let refresh = rig.request();
        assert_eq!(kind_of(&refresh), RecordKind::Unsigned);
        rig.grant(&refresh, 600);
        assert!(matches!(rig.event(), Event::Registered { kind: RecordKind::Unsigned, .. }));
        // … and withdrawn with the id that such points insist on.
        rig.client.unregister(rig.now, id);
        let removal = rig.request();
        assert_eq!(unregister_of(&removal).id, Some(&peer(1).to_bytes()[..]));
        rig.answer(&removal, Answer::Sent);
        assert!(matches!(rig.event(), Event::Unregistered { failure: None, .. }));
    }
}

#[test]
fn without_the_mode_nothing_is_sent_unsigned_and_the_refusal_is_told() {
    let mut rig = Rig::new();
    rig.client.register(rig.now, chat(), [point(0)], None);
    for _ in 0..2 {
        let request = rig.request();
        assert_ne!(kind_of(&request), RecordKind::Unsigned);
        rig.refuse(&request, Status::NotAuthorized);
    }
    assert!(rig.requests().is_empty());
    let Event::RegisterFailed { failure, .. } = rig.event() else { panic!("a failure") };
    assert_eq!(failure, refused(Status::NotAuthorized));
}

#[test]
fn a_point_that_refuses_every_kind_is_a_failure_with_the_first_reason() {
    let (mut rig, _, request) = tried_with_both(&refused(Status::InvalidSignedPeerRecord));
    rig.refuse(&request, Status::NotAuthorized);
    let Event::RegisterFailed { failure, retry_at: Some(_), .. } = rig.event() else { panic!("a failure") };
    assert_eq!(failure, refused(Status::InvalidSignedPeerRecord));
    assert!(rig.requests().is_empty());

    // A refusal for another reason says more.
    let (mut rig, _, request) = tried_with_both(&Failure::ClosedWithoutAnswer);
    rig.refuse(&request, Status::Unavailable);
    assert!(matches!(rig.event(), Event::RegisterFailed { failure, .. } if failure == refused(Status::Unavailable)));
}

#[test]
fn a_point_that_learns_to_read_signed_records_is_given_them() {
    let (mut rig, _, request) = tried_with_both(&refused(Status::NotAuthorized));
    rig.grant(&request, 600);
    rig.events();
    rig.pass(secs(550));
    let refresh = rig.request();
    rig.refuse(&refresh, Status::InvalidSignedPeerRecord);
    let again = rig.request();
    assert_eq!(kind_of(&again), Flavour::Standard.into());
    rig.grant(&again, 600);
    assert!(matches!(rig.event(), Event::Registered { kind: RecordKind::Signed(Flavour::Standard), .. }));
    // One that keeps both flavours is given both.
    rig.client.handle_point_dual(rig.now, point(0), true);
    assert_eq!(kind_of(&rig.request()), Flavour::Legacy.into());
}

#[test]
fn as_many_addresses_are_sent_unsigned_as_such_points_take() {
    let mut rig = Rig::without_addresses(legacy(), 7);
    let long =
        |number: usize| -> Multiaddr { format!("/dns4/{}.example.org/tcp/{number}", "x".repeat(200)).parse().unwrap() };
    rig.client.set_addresses(rig.now, (0..20).map(long).collect());
    rig.client.register(rig.now, chat(), [point(0)], None);
    for _ in 0..2 {
        let request = rig.request();
        rig.refuse(&request, Status::NotAuthorized);
    }
    let (_, addresses) = info_of(&rig.request()).unwrap();
    assert_eq!(addresses, (0..9).map(long).collect::<Vec<_>>(), "2048 bytes of them");
}

// Answers.

fn info(number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let addresses = fixtures::addresses(number);
    PeerInfo::encode(&peer(number).to_bytes(), addresses.iter().map(AsRef::as_ref), &mut bytes);
    bytes
}

fn listed<'a>(record: &'a [u8], ttl_secs: u64) -> Register<'a> {
    Register { namespace: Some(b"chat"), signed_peer_record: Some(record), ttl_secs: Some(ttl_secs) }
}

fn read(reads_unsigned: bool, registrations: &[Register<'_>]) -> Answer {
    let answer = DiscoverResponse { registrations: Registrations::listed(registrations), ..Default::default() };
    let payload = Bytes::from(Response::Discover(answer).to_message().encode());
    let mut reader = AnswerReader::new(Limits::default()).with_unsigned(reads_unsigned);
    reader.read(RequestKind::Discover, Some(&chat()), payload).unwrap()
}

fn unverified(number: u64, ttl_secs: u64) -> Unverified {
    let (peer, addresses) = (peer(number), fixtures::addresses(number));
    Unverified { namespace: chat(), peer, addresses, ttl: Ttl::from_secs(ttl_secs) }
}

#[test]
fn registrations_without_a_signature_are_read_apart_from_the_others() {
    let signed = fixtures::record(2, Flavour::Standard);
    let infos = [3, 4].map(info);
    let registrations =
        [listed(&infos[0], 60), listed(signed.envelope(), 70), listed(&infos[1], 80), listed(&infos[0], 90)];
    let Answer::Page { registrations: verified, unverified: unsigned, skipped, .. } = read(true, &registrations) else {
        panic!("a page")
    };
    assert_eq!(verified, [found(&chat(), 2, 70)]);
    assert_eq!(unsigned, [unverified(3, 90), unverified(4, 80)]);
    assert_eq!(skipped, Skipped { duplicate: 1, ..Skipped::default() });

    // Where they are not read, they are counted for what they are.
    let Answer::Page { registrations: verified, unverified: unsigned, skipped, .. } = read(false, &registrations)
    else {
        panic!("a page")
    };
    assert_eq!((verified.len(), unsigned.len()), (1, 0));
    assert_eq!(skipped, Skipped { unsigned: 3, ..Skipped::default() });
}

#[test]
fn a_verified_registration_is_not_replaced_by_an_unverified_one() {
    let signed = fixtures::record(3, Flavour::Standard);
    let other = info(3);
    for registrations in
        [[listed(signed.envelope(), 60), listed(&other, 900)], [listed(&other, 900), listed(signed.envelope(), 60)]]
    {
        let Answer::Page { registrations, unverified, skipped, .. } = read(true, &registrations) else {
            panic!("a page")
        };
        assert_eq!((registrations, unverified), (vec![found(&chat(), 3, 60)], vec![]));
        assert_eq!(skipped.duplicate, 1);
    }
}

#[test]
fn what_breaks_the_bounds_of_records_is_left_out() {
    let limits = Limits::default();
    let id = peer(3).to_bytes();
    let bytes = |id: &[u8], addresses: &[&[u8]]| {
        let mut bytes = Vec::new();
        PeerInfo::encode(id, addresses.iter().copied(), &mut bytes);
        bytes
    };
    let address: &[u8] = &[4, 192, 0, 2, 1, 6, 0, 1];
    let many = bytes(&id, &vec![address; limits.addresses_max + 1]);
    let long = bytes(&id, &[&vec![7; limits.envelope_bytes_max]]);
    let nobody = bytes(&[0x11, 0x01, 7], &[address]);
    let partly = bytes(&id, &[&[0xff, 0x7f], address, &[4, 1]]);
    let registrations = [&many, &long, &nobody, &partly].map(|bytes| listed(bytes, 60));
    let Answer::Page { unverified, skipped, .. } = read(true, &registrations) else { panic!("a page") };
    assert_eq!(unverified.len(), 1);
    assert_eq!(unverified[0].addresses, ["/ip4/192.0.2.1/tcp/1".parse().unwrap()]);
    assert_eq!(skipped.malformed + skipped.unverified, 3);
}

#[test]
fn unverified_registrations_are_told_apart_bounded_and_leave_no_address_behind() {
    let mut rig = Rig::with(legacy());
    rig.client.discover(rig.now, point(0), Some(chat()), Some(rendezvous_wire::Limit::new(3)), From::Fresh);
    let request = rig.request();
    let foreign = Unverified { namespace: namespace("news"), ..unverified(7, 60) };
    let unsigned = vec![unverified(1, 60), unverified(3, 60), foreign, unverified(4, u64::MAX), unverified(5, 60)];
    let answer = Answer::Page {
        registrations: vec![found(&chat(), 2, 60)],
        unverified: unsigned,
        cookie: cookie(b"1"),
        skipped: Skipped::default(),
        cost: PageCost::default(),
    };
    rig.answer(&request, answer);
    let Event::Discovered { registrations, unverified: told, skipped, more: true, .. } = rig.event() else {
        panic!("a page")
    };
    assert_eq!(registrations, [found(&chat(), 2, 60)]);
    assert_eq!(told, [unverified(3, 60), Unverified { ttl: Ttl::RECOMMENDED_MAX, ..unverified(4, 60) }]);
    assert_eq!(skipped, Skipped { own: 1, foreign: 1, over_limit: 1, ..Skipped::default() });
    assert!(rig.client.addresses_of(rig.now, &peer(3)).is_empty());
    assert_eq!(rig.client.stats().peers, 1);
    assert!(!rig.client.addresses_of(rig.now, &peer(2)).is_empty());
    // What was verified stays as it was.
    rig.client.discover(rig.now, point(1), Some(chat()), None, From::Fresh);
    let request = rig.request();
    let claim = Unverified { addresses: vec!["/ip4/192.0.2.66/tcp/1".parse().unwrap()], ..unverified(2, 900) };
    let Answer::Page { registrations, cookie, skipped, .. } = page(Vec::new(), None) else { panic!("a page") };
    rig.answer(
        &request,
        Answer::Page { registrations, unverified: vec![claim], cookie, skipped, cost: PageCost::default() },
    );
    assert_eq!(rig.client.addresses_of(rig.now, &peer(2)), fixtures::addresses(2));
}

#[test]
fn a_lookup_keeps_what_is_not_signed_in_its_points_share_and_only_where_nobody_lists_a_signed_record() {
    let mut rig = Rig::with(legacy());
    let id = rig.client.look_up(rig.now, Some(chat()), [point(0), point(1)], LookupConfig::default());
    // What each point lists in one poll; what that changes.
    let poll = |rig: &mut Rig, listed: [(Vec<Discovered>, Vec<Unverified>); 2]| {
        rig.client.look_up_again(rig.now, id);
        for request in rig.requests() {
            let (registrations, unverified) = listed[usize::from(request.point == point(1))].clone();
            let skipped = Skipped::default();
            rig.answer(
                &request,
                Answer::Page { registrations, unverified, cookie: None, skipped, cost: PageCost::default() },
            );
        }
        let (mut found, mut updated, mut gone) = (Vec::new(), Vec::new(), 0);
        for event in rig.events() {
            if let Event::LookupChanged { found: more, updated: others, gone: less, .. } = event {
                found.extend(more.into_iter().map(|merged| merged.record));
                updated.extend(others.into_iter().map(|merged| merged.record));
                gone += less.len();
            }
        }
        (found, updated, gone)
    };
    let claim = |number, ports: u16| {
        let addresses = vec![format!("/ip4/192.0.2.66/tcp/{ports}").parse().unwrap()];
        Unverified { addresses, ..unverified(number, 600) }
    };
    let told = |claim: &Unverified| FoundRecord::Unverified { peer: claim.peer, addresses: claim.addresses.clone() };
    let signed = found(&chat(), 3, 600);
    let verified = FoundRecord::Verified(signed.record.clone());
    let nothing = || (vec![], vec![]);

    let listed = [(vec![], vec![claim(3, 1)]), nothing()];
    assert_eq!(poll(&mut rig, listed.clone()), (vec![told(&claim(3, 1))], vec![], 0));
    assert_eq!(poll(&mut rig, listed), (vec![], vec![], 0));
    assert_eq!(poll(&mut rig, [(vec![], vec![claim(3, 2)]), nothing()]), (vec![], vec![told(&claim(3, 2))], 0));
    // Another point has what the peer itself says; whatever the first one claims, that counts.
    let both = [(vec![], vec![claim(3, 2)]), (vec![signed.clone()], vec![])];
    assert_eq!(poll(&mut rig, both), (vec![], vec![verified.clone()], 0));
    assert_eq!(poll(&mut rig, [(vec![], vec![claim(3, 4)]), (vec![signed.clone()], vec![])]), (vec![], vec![], 0));
    let [merged] = &rig.client.found(rig.now, id).collect::<Vec<_>>()[..] else { panic!("one peer") };
    assert_eq!((&merged.record, merged.points.len()), (&verified, 2));
    assert_eq!(rig.client.addresses_of(rig.now, &peer(3)), fixtures::addresses(3));
    // Where the signed record is gone, the claim is what is left, marked as such.
    assert_eq!(poll(&mut rig, [(vec![], vec![claim(3, 4)]), nothing()]), (vec![], vec![told(&claim(3, 4))], 0));
    assert_eq!(poll(&mut rig, [nothing(), nothing()]), (vec![], vec![], 1));
}

#[test]
fn claims_without_a_signature_count_against_the_room_of_their_point() {
    let mut rig = Rig::with(legacy());
    let config = LookupConfig { peers_max: 3, ..LookupConfig::default() };
    let id = rig.client.look_up(rig.now, Some(chat()), [point(0)], config);
    let request = rig.request();
    let listed = (10..20).map(|number| unverified(number, 600)).collect();
    let (registrations, skipped) = (Vec::new(), Skipped::default());
    rig.answer(
        &request,
        Answer::Page { registrations, unverified: listed, cookie: None, skipped, cost: PageCost::default() },
    );
    assert_eq!(rig.client.found(rig.now, id).count(), 3);
    let over = rig.events().into_iter().find_map(|event| match event {
        Event::LookupPolled { skipped, .. } => Some(skipped.over_limit),
        _ => None,
    });
    assert_eq!(over, Some(7));
}
