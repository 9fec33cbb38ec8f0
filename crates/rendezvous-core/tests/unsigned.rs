//! Registrations without a signature, through the point's public interface.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may say so by panicking")]

use bytes::Bytes;
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use proptest::prelude::*;
use rendezvous_core::{
    RecordKind, Time,
    server::{
        Change, Command, CommitFailed, Discovered, Event, IpPrefix, Kept, Origin, PeerInfoFault, Reads, Refusal,
        Registered, Requester, Server, ServerConfig, reads_of_agent,
    },
};
use rendezvous_record::{Flavour, Flavours};
use rendezvous_sim::{
    desk::{Desk, peer},
    fixtures::{self, EPOCH},
};
use rendezvous_wire::{Discover, MessageType, PeerInfo, Request, Response, Status, Ttl, Unregister, frame};

const HOUR: u64 = 3_600;

fn desk() -> Desk {
    Desk::with(|config| config.legacy_peer_info = true)
}

fn info_of(id: &PeerId, addresses: &[Multiaddr]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PeerInfo::encode(&id.to_bytes(), addresses.iter().map(AsRef::as_ref), &mut bytes);
    bytes
}

fn info(number: u64) -> Vec<u8> {
    info_of(&peer(number), &fixtures::addresses(number))
}

fn register_bytes(point: &mut Desk, number: u64, bytes: &[u8], ttl_secs: u64) -> Result<Ttl, Refusal> {
    match point.register_pending(&peer(number), Some(bytes), "chat", Some(ttl_secs))? {
        Registered::Done(ttl) => Ok(ttl),
        Registered::Pending(_) => panic!("a registry in memory commits at once"),
    }
}

/// REGISTER of a peer without a signature.
fn register(point: &mut Desk, number: u64, ttl_secs: u64) -> Result<Ttl, Refusal> {
    register_bytes(point, number, &info(number), ttl_secs)
}

/// A requester whose agent version tells that it reads `PeerInfo`.
fn py() -> Requester {
    Requester { agent_reads: reads_of_agent("py-libp2p/0.8.1"), ..Requester::new(peer(u64::MAX)) }
}

/// A page in this form: peers with their addresses and TTLs, and the cookie.
type Page = (Vec<(PeerId, Vec<Multiaddr>, u64)>, Vec<u8>);

fn page(point: &mut Desk, requester: &Requester, limit: u64, cookie: &[u8]) -> Page {
    let discover = Discover {
        namespace: Some(b"chat"),
        limit: Some(limit),
        cookie: (!cookie.is_empty()).then_some(cookie),
        reads: None,
    };
    let payload = Bytes::from(Request::Discover(discover).to_message().encode());
    let Ok(Command::Discover(discover)) = point.server.reader().read(&requester.peer, &payload) else { panic!() };
    let Ok(Discovered::Page(page)) = point.server.handle_discover(point.now, requester, &discover) else { panic!() };
    let (payload, _) = frame::split(page.as_bytes(), frame::PAGE_BYTES_MAX).unwrap().unwrap();
    let Ok(Response::Discover(answer)) = Response::decode(payload) else { panic!("no DISCOVER_RESPONSE") };
    let found = answer.registrations.iter().map(|registration| {
        let registration = registration.unwrap();
        assert_eq!(registration.namespace, Some(&b"chat"[..]));
        let info = PeerInfo::decode(registration.signed_peer_record.unwrap()).unwrap();
        let addresses = info.addresses().map(|address| Multiaddr::try_from(address.to_vec()).unwrap());
        (PeerId::from_bytes(info.id()).unwrap(), addresses.collect(), registration.ttl_secs.unwrap())
    });
    (found.collect(), answer.cookie.unwrap().to_vec())
}

fn peers(point: &mut Desk, requester: &Requester) -> Vec<PeerId> {
    page(point, requester, 1_000, &[]).0.into_iter().map(|(peer, ..)| peer).collect()
}

fn listed_signed(point: &mut Desk) -> Vec<PeerId> {
    point.discover(Some("chat"), 1_000, &[]).unwrap().peers()
}

#[test]
fn without_the_mode_an_unsigned_register_is_refused_with_101_and_says_so() {
    let mut point = Desk::new();
    let refusal = register(&mut point, 1, HOUR).unwrap_err();
    assert_eq!(refusal, Refusal::UnsignedNotAccepted);
    assert_eq!(refusal.status(MessageType::Register), Status::InvalidSignedPeerRecord);
    assert!(refusal.text().contains("without a signature"));
    // Nor does an agent version change what is served.
    point.register(2, "chat", HOUR).unwrap();
    let requester = py();
    let answer = point.discover_as(&requester, None, Some("chat"), 10, &[]).unwrap().unwrap();
    assert_eq!(answer.peers(), [peer(2)]);
}

#[test]
fn an_unsigned_registration_is_listed_to_those_who_read_this_form_alone() {
    let mut point = desk();
    assert_eq!(register(&mut point, 1, HOUR), Ok(Ttl::from_secs(HOUR)));
    point.pass(100);
    assert_eq!(page(&mut point, &py(), 10, &[]).0, [(peer(1), fixtures::addresses(1), HOUR - 100)]);
    assert!(listed_signed(&mut point).is_empty());
    let all = point.discover(None, 10, &[]).unwrap();
    assert!(all.found.is_empty());
    let stats = point.server.stats();
    assert_eq!((stats.registrations, stats.unsigned, stats.namespaces), (1, 1, 1));
    assert!(point.server.is_registered(&peer(1), "chat"));
    let told = Event::Registered {
        peer: peer(1),
        namespace: "chat".parse().unwrap(),
        kind: RecordKind::Unsigned,
        ttl: Ttl::from_secs(HOUR),
        renewed: false,
    };
    assert!(point.events().contains(&told));
}

#[test]
fn readers_of_this_form_are_told_of_signed_registrations_too_in_the_order_of_all() {
    let mut point = desk();
    point.register(1, "chat", 2 * HOUR).unwrap();
    register(&mut point, 2, HOUR).unwrap();
    point.register_record(&fixtures::record(3, Flavour::Legacy), "chat", Some(3 * HOUR)).unwrap();
    for flavour in Flavour::ALL {
        point.register_record(&fixtures::record(4, flavour), "chat", Some(HOUR)).unwrap();
    }
    register(&mut point, 5, HOUR).unwrap();
    let expected: Vec<_> = [(1, 2), (2, 1), (3, 3), (4, 1), (5, 1)]
        .map(|(number, hours)| (peer(number), fixtures::addresses(number), hours * HOUR))
        .into();
    assert_eq!(page(&mut point, &py(), 10, &[]).0, expected);
    // Page by page alike, and then what is new.
    let mut walked = Vec::new();
    let mut cookie = Vec::new();
    for _ in 0..3 {
        let (found, next) = page(&mut point, &py(), 2, &cookie);
        (walked, cookie) = ([walked, found].concat(), next);
    }
    assert_eq!(walked, expected);
    register(&mut point, 2, HOUR).unwrap();
    let (found, cookie) = page(&mut point, &py(), 10, &cookie);
    assert_eq!(found.iter().map(|found| found.0).collect::<Vec<_>>(), [peer(2)]);
    assert!(page(&mut point, &py(), 10, &cookie).0.is_empty());
    assert_eq!(listed_signed(&mut point), [peer(1), peer(3), peer(4)]);
}

#[test]
fn which_form_a_requester_reads() {
    let mut point = desk();
    register(&mut point, 1, HOUR).unwrap();
    point.register(2, "chat", HOUR).unwrap();
    let both = [peer(1), peer(2)];
    // What it registered with, what its connection tells …
    assert_eq!(peers(&mut point, &Requester::new(peer(1))), both);
    assert_eq!(peers(&mut point, &py()), both);
    // … unless it says otherwise, or has registered a signed record.
    let read = |point: &mut Desk, requester: &Requester, reads| {
        point.discover_as(requester, reads, Some("chat"), 10, &[]).unwrap().map(|page| page.peers())
    };
    assert_eq!(read(&mut point, &Requester::new(peer(1)), Some(Flavours::BOTH)), Some(vec![peer(2)]));
    let signed = Requester { agent_reads: Some(Reads::PeerInfo), ..Requester::new(peer(2)) };
    assert_eq!(read(&mut point, &signed, None), Some(vec![peer(2)]));
    // One of whom nothing is known may wait, also where there are unsigned registrations alone, and else gets the others.
    let unknown = Requester { may_wait: true, ..Requester::new(peer(9)) };
    assert_eq!(read(&mut point, &unknown, None), None);
    point.unregister(&peer(2), Some("chat"));
    assert_eq!(read(&mut point, &unknown, None), None);
    assert_eq!(read(&mut point, &Requester::new(peer(9)), None), Some(Vec::new()));
    assert_eq!(reads_of_agent("py-libp2p/0.8.1"), Some(Reads::PeerInfo));
    assert_eq!(reads_of_agent("rust-libp2p/0.47"), Some(Reads::Envelopes(Flavours::LEGACY)));
    assert_eq!(reads_of_agent("go-libp2p"), None);
}

#[test]
fn a_signed_record_takes_the_place_of_an_unsigned_one_and_never_the_other_way_round() {
    let mut point = desk();
    register(&mut point, 1, HOUR).unwrap();
    point.register(1, "chat", HOUR).unwrap();
    assert_eq!((point.server.stats().registrations, point.server.stats().unsigned), (1, 0));
    assert_eq!(point.server.stats().renewals, 1, "it changes no count");
    assert_eq!(listed_signed(&mut point), [peer(1)]);
    point.pass(HOUR / 2);
    // Granted for as long as the signed one stands, so that whoever renews in time comes back when it has ended.
    let other = info_of(&peer(1), &["/ip4/192.0.2.77/tcp/1".parse().unwrap()]);
    assert_eq!(register_bytes(&mut point, 1, &other, 7_200), Ok(Ttl::from_secs(HOUR / 2)));
    assert_eq!(register_bytes(&mut point, 1, &other, 60), Ok(Ttl::from_secs(60)));
    assert_eq!(point.server.stats().unsigned, 0);
    assert_eq!(page(&mut point, &py(), 10, &[]).0, [(peer(1), fixtures::addresses(1), HOUR / 2)]);
    point.pass(HOUR / 2);
    assert_eq!(register_bytes(&mut point, 1, &other, 60), Ok(Ttl::from_secs(60)));
    assert_eq!(peers(&mut point, &py()), [peer(1)]);
    assert!(listed_signed(&mut point).is_empty());
}

#[test]
fn unregister_and_time_end_unsigned_registrations_too() {
    let mut point = desk();
    for namespace in ["chat", "news"] {
        point.register_pending(&peer(1), Some(&info(1)), namespace, Some(HOUR)).unwrap();
    }
    point.register(2, "news", HOUR).unwrap();
    let mut namespaces: Vec<_> = point.server.namespaces().map(|(name, count)| (name.to_string(), count)).collect();
    namespaces.sort_unstable();
    assert_eq!(namespaces, [("chat".to_owned(), 1), ("news".to_owned(), 2)]);
    assert_eq!(point.server.stats().namespaces, 2);
    point.unregister(&peer(1), Some("chat"));
    assert!(!point.server.is_registered(&peer(1), "chat") && point.server.is_registered(&peer(1), "news"));
    register(&mut point, 3, 60).unwrap();
    assert!(point.server.poll_timeout().is_some_and(|at| at.saturating_since(point.now).as_secs() <= 60));
    point.pass(60);
    assert!(peers(&mut point, &py()).is_empty());
    let expired = Event::Expired { peer: peer(3), namespace: "chat".parse().unwrap() };
    assert!(point.events().contains(&expired));
    point.unregister(&peer(1), None);
    point.unregister(&peer(2), None);
    point.run_dry();
    assert_eq!(point.server.allocated_bytes(), 0);
}

#[test]
fn nobody_registers_for_another_and_bounds_hold() {
    let mut point = Desk::with(|config| {
        config.legacy_peer_info = true;
        config.record_limits.addresses_max = 3;
        config.record_limits.envelope_bytes_max = 200;
    });
    let refusal = register_bytes(&mut point, 1, &info(2), HOUR).unwrap_err();
    assert_eq!((refusal.status(MessageType::Register), refusal), (Status::NotAuthorized, Refusal::ForeignRecord));
    let address: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
    let faults = [
        (info_of(&peer(1), &[]), PeerInfoFault::NoAddress),
        (info_of(&peer(1), &vec![address; 4]), PeerInfoFault::TooManyAddresses { max: 3 }),
        // Unknown fields do not pad a record.
        (
            [info(1), vec![0x1a, 0x7f], vec![0; 127]].concat(),
            PeerInfoFault::TooLarge { bytes: info(1).len() + 129, max: 200 },
        ),
    ];
    for (bytes, fault) in faults {
        assert_eq!(register_bytes(&mut point, 1, &bytes, HOUR), Err(Refusal::PeerInfo(fault)));
    }
    let mut unreadable = Vec::new();
    PeerInfo::encode(&peer(1).to_bytes(), [&[0xff, 0x7f, 1][..], &[4, 1]], &mut unreadable);
    let refusal = Refusal::PeerInfo(PeerInfoFault::NoAddress);
    assert_eq!(register_bytes(&mut point, 1, &unreadable, HOUR), Err(refusal));
    assert_eq!(point.server.stats().registrations, 0);
    // One that can be read is enough, and is all that is listed.
    PeerInfo::encode(&peer(1).to_bytes(), [&[4, 192, 0, 2, 1, 6, 0, 1][..]], &mut unreadable);
    register_bytes(&mut point, 1, &unreadable, HOUR).unwrap();
    assert_eq!(page(&mut point, &py(), 10, &[]).0, [(peer(1), vec!["/ip4/192.0.2.1/tcp/1".parse().unwrap()], HOUR)]);
    // TTLs are those of all: absent is the default.
    let absent = point.register_pending(&peer(1), Some(&info(1)), "chat", None);
    assert!(matches!(absent, Ok(Registered::Done(Ttl::DEFAULT))));
    assert!(matches!(register(&mut point, 1, 1), Err(Refusal::TtlTooShort { .. })));
}

#[test]
fn quotas_count_both() {
    let full = |change: fn(&mut ServerConfig)| {
        let mut point = Desk::with(|config| {
            config.legacy_peer_info = true;
            change(config);
        });
        point.origin = Origin::Prefix(IpPrefix::V4([192, 0, 2]));
        point.register(1, "chat", HOUR).unwrap();
        register(&mut point, 2, HOUR).unwrap();
        // Renewals pass, of either kind.
        register(&mut point, 2, HOUR).unwrap();
        let signed = point.register(3, "chat", HOUR).unwrap_err();
        let unsigned = register(&mut point, 3, HOUR).unwrap_err();
        assert_eq!(signed, unsigned);
        // So does a signed record in the place of an unsigned one.
        point.register(2, "chat", HOUR).unwrap();
        signed
    };
    assert_eq!(full(|config| config.registrations_max = 2), Refusal::Full);
    assert_eq!(full(|config| config.registrations_per_namespace_max = 2), Refusal::NamespaceFull);
    assert_eq!(full(|config| config.registrations_per_prefix_max = Some(2)), Refusal::PrefixFull { max: 2 });

    let mut point = Desk::with(|config| {
        (config.legacy_peer_info, config.registrations_per_peer_max) = (true, 2);
    });
    point.register(1, "one", HOUR).unwrap();
    point.register_pending(&peer(1), Some(&info(1)), "two", None).unwrap();
    assert_eq!(register(&mut point, 1, HOUR), Err(Refusal::PeerFull { max: 2 }));

    let bytes = info(1).len() as u64;
    let mut point = Desk::with(|config| (config.legacy_peer_info, config.record_bytes_max) = (true, bytes));
    register(&mut point, 1, HOUR).unwrap();
    assert_eq!(point.server.stats().record_bytes, bytes);
    assert_eq!(register(&mut point, 2, HOUR), Err(Refusal::BytesFull));
}

#[test]
fn a_page_keeps_to_its_bytes() {
    let mut point = Desk::with(|config| {
        (config.legacy_peer_info, config.page_bytes_max) = (true, 0);
    });
    for number in 0..400 {
        match number % 2 {
            0 => register(&mut point, number, HOUR).unwrap(),
            _ => point.register(number, "chat", HOUR).unwrap(),
        };
    }
    let (mut seen, mut cookie) = (Vec::new(), Vec::new());
    loop {
        let (found, next) = page(&mut point, &py(), 1_000, &cookie);
        assert!(found.len() < 400);
        if found.is_empty() {
            break;
        }
        (seen, cookie) = ([seen, found].concat(), next);
    }
    let expected: Vec<_> = (0..400).map(peer).collect();
    assert_eq!(seen.into_iter().map(|found| found.0).collect::<Vec<_>>(), expected);
}

mod commit_seam {
    use super::*;

    fn deferred() -> Desk {
        Desk::with(|config| (config.legacy_peer_info, config.deferred_commit) = (true, true))
    }

    fn signed(point: &mut Desk, number: u64, ttl_secs: u64) {
        let record = fixtures::record(number, Flavour::Standard);
        point.register_pending(&peer(number), Some(record.envelope()), "chat", Some(ttl_secs)).unwrap();
    }

    fn commit(point: &mut Desk, result: Result<(), CommitFailed>) -> (Vec<Change>, Vec<Option<Ttl>>) {
        let Some(batch) = point.server.poll_commit() else { return Default::default() };
        let settled = point.server.handle_committed(point.now, batch.id, result);
        (batch.changes, settled.into_iter().map(|settled| settled.result.ok().flatten()).collect())
    }

    fn fold(kept: Option<Kept>, changes: &[Change]) -> Option<Kept> {
        changes.iter().fold(kept, Kept::fold)
    }

    fn restored(now: Time, is_on: bool, kept: &Kept) -> (usize, Server) {
        let mut config = ServerConfig::default();
        config.legacy_peer_info = is_on;
        let mut restore = Server::restore(now, config, [7; 16]);
        let count = restore.put(kept).unwrap();
        (count, restore.finish(Some(kept.position)))
    }

    #[test]
    fn an_unsigned_registration_is_visible_when_it_is_durable_and_is_restored_as_such() {
        let mut point = deferred();
        point.register_pending(&peer(1), Some(&info(1)), "chat", Some(HOUR)).unwrap();
        assert!(peers(&mut point, &py()).is_empty());
        let (changes, ttls) = commit(&mut point, Ok(()));
        assert_eq!(ttls, [Some(Ttl::from_secs(HOUR))]);
        assert_eq!(peers(&mut point, &py()), [peer(1)]);

        let kept = fold(None, &changes).unwrap();
        assert_eq!(kept.records[0].kind, RecordKind::Unsigned);
        let (count, server) = restored(point.now, true, &kept);
        assert_eq!((count, server.stats().unsigned), (1, 1));
        let mut again = Desk { server, now: point.now, origin: Origin::Unlocated };
        assert_eq!(peers(&mut again, &py()), [peer(1)]);
        assert!(listed_signed(&mut again).is_empty());
        // Without the mode it stays where it is kept, and is not listed.
        let (count, server) = restored(point.now, false, &kept);
        assert_eq!((count, server.stats().registrations), (0, 0));

        // What has ended is forgotten.
        point.pass(HOUR);
        point.run_dry();
        point.register_pending(&peer(2), Some(&info(2)), "chat", None).unwrap();
        let (changes, _) = commit(&mut point, Ok(()));
        assert!(matches!(&changes[0], Change::Forget { kind: RecordKind::Unsigned, .. }));
        assert_eq!(fold(Some(kept), &changes[..1]), None);
    }

    #[test]
    fn what_overtakes_an_unsigned_register_that_waits_is_not_replaced_by_it() {
        let mut point = deferred();
        signed(&mut point, 1, 100);
        point.register_pending(&peer(1), Some(&info(1)), "chat", Some(HOUR)).unwrap();
        let (changes, ttls) = commit(&mut point, Ok(()));
        assert_eq!(ttls, [Some(Ttl::from_secs(100)), Some(Ttl::from_secs(100))]);
        assert_eq!(point.server.stats().unsigned, 0);
        // The log has both; which one counts is the same after a restart, and when the signed one has ended.
        let kept = fold(None, &changes).unwrap();
        assert_eq!(kept.records.len(), 2);
        assert_eq!(restored(point.now, true, &kept).1.stats().unsigned, 0);
        point.pass(101);
        assert_eq!(restored(point.now, true, &kept).1.stats().unsigned, 1);
        // A signed record behind it leaves it alone in the log.
        signed(&mut point, 1, 100);
        let (changes, _) = commit(&mut point, Ok(()));
        let kept = fold(Some(kept), &changes).unwrap();
        assert!(kept.records.iter().all(|record| record.kind == Flavour::Standard.into()));
    }

    #[test]
    fn one_that_the_store_does_not_take_leaves_nothing() {
        let mut point = deferred();
        point.register_pending(&peer(1), Some(&info(1)), "chat", None).unwrap();
        let (_, ttls) = commit(&mut point, Err(CommitFailed));
        assert_eq!((ttls, point.server.stats().registrations), (vec![None], 0));
    }
}

/// What a requester of each form is to be told.
#[derive(Clone, Debug, Default)]
struct Model {
    /// Peers in the order of their last REGISTER that counted, whether it was signed, and its end.
    entries: Vec<(u64, bool, u64)>,
}

#[derive(Clone, Debug)]
enum Action {
    Register { peer: u64, is_signed: bool, ttl_secs: u64 },
    Unregister { peer: u64 },
    Pass { secs: u64 },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0..6_u64, any::<bool>(), 60..400_u64)
            .prop_map(|(peer, is_signed, ttl_secs)| Action::Register { peer, is_signed, ttl_secs }),
        1 => (0..6_u64).prop_map(|peer| Action::Unregister { peer }),
        2 => (1..200_u64).prop_map(|secs| Action::Pass { secs }),
    ]
}

impl Model {
    fn act(&mut self, now: u64, action: &Action) -> Option<u64> {
        self.entries.retain(|(.., ends)| *ends > now);
        match *action {
            Action::Register { peer, is_signed, ttl_secs } => {
                let stands = self.entries.iter().find(|entry| entry.0 == peer && entry.1);
                if let (false, Some((.., ends))) = (is_signed, stands) {
                    return Some(ttl_secs.min(ends - now));
                }
                self.entries.retain(|entry| entry.0 != peer);
                self.entries.push((peer, is_signed, now + ttl_secs));
                return Some(ttl_secs);
            }
            Action::Unregister { peer } => self.entries.retain(|entry| entry.0 != peer),
            Action::Pass { .. } => {}
        }
        None
    }

    fn peers(&self, is_signed_alone: bool) -> Vec<PeerId> {
        let listed = self.entries.iter().filter(|entry| entry.1 || !is_signed_alone);
        listed.map(|entry| peer(entry.0)).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_point_does_as_a_list_does(actions in proptest::collection::vec(action(), 1..60)) {
        let (mut point, mut model) = (desk(), Model::default());
        for action in &actions {
            let now = point.now.saturating_since(EPOCH).as_secs();
            let granted = model.act(now, action);
            match *action {
                Action::Register { peer: number, is_signed: true, ttl_secs } => {
                    prop_assert_eq!(point.register(number, "chat", ttl_secs).ok().map(Ttl::as_secs), granted);
                }
                Action::Register { peer: number, ttl_secs, .. } => {
                    prop_assert_eq!(register(&mut point, number, ttl_secs).ok().map(Ttl::as_secs), granted);
                }
                Action::Unregister { peer: number } => point.unregister(&peer(number), Some("chat")),
                Action::Pass { secs } => {
                    point.pass(secs);
                    model.act(now + secs, action);
                }
            }
            prop_assert_eq!(peers(&mut point, &py()), model.peers(false));
            prop_assert_eq!(listed_signed(&mut point), model.peers(true));
            prop_assert_eq!(point.server.stats().registrations, model.entries.len());
            prop_assert_eq!(point.server.stats().namespaces, point.server.namespaces().count());
        }
        point.run_dry();
        prop_assert_eq!(point.server.allocated_bytes(), 0);
    }

    #[test]
    fn no_bytes_in_the_place_of_a_record_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 1..120)) {
        let _ = register_bytes(&mut desk(), 1, &bytes, HOUR);
    }
}

#[test]
fn unregister_carries_the_id_of_its_sender_and_none_is_needed() {
    let mut point = desk();
    register(&mut point, 1, HOUR).unwrap();
    let id = peer(1).to_bytes();
    let payload = Request::Unregister(Unregister { namespace: Some(b"chat"), id: Some(&id) }).to_message().encode();
    let payload = Bytes::from(payload);
    let Ok(Command::Unregister(unregister)) = point.server.reader().read(&peer(1), &payload) else { panic!() };
    point.server.handle_unregister(point.now, &peer(1), &unregister);
    assert_eq!(point.server.stats().registrations, 0);
}
