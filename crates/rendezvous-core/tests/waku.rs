//! The Waku dialect at the point, through its public interface: frames in, frames out.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use libp2p_identity::PeerId;
use rendezvous_core::{
    Time,
    server::{
        Access, Event, Pattern, Policy, Refusal, Registered, Requester, Server, ServerConfig, WakuCommand, WakuReader,
        waku_registered_frame,
    },
};
use rendezvous_record::{Flavour, Limits, VerifiedRecord};
use rendezvous_sim::{
    desk::{Desk, peer, stranger},
    fixtures::{self, EPOCH},
};
use rendezvous_wire::{
    Limit, MessageType, Namespace, Register, Status, Ttl, frame,
    waku::{self, Discover, Request, Response},
};

/// A point that is asked in the Waku dialect.
struct Point {
    server: Server,
    now: Time,
}

impl Point {
    fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut config = ServerConfig::default();
        change(&mut config);
        Self { server: Server::new(EPOCH, config, [7; 16]), now: EPOCH }
    }

    fn new() -> Self {
        Self::with(|_| {})
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn register(&mut self, number: u64, namespace: &str, ttl_secs: Option<u64>) -> Result<Ttl, Refusal> {
        self.register_record(&fixtures::record(number, Flavour::Standard), namespace, ttl_secs)
    }

    fn register_record(
        &mut self,
        record: &VerifiedRecord,
        namespace: &str,
        ttl_secs: Option<u64>,
    ) -> Result<Ttl, Refusal> {
        let (namespace, signed_peer_record) = (Some(namespace.as_bytes()), Some(&record.envelope()[..]));
        let request = Request::Register(Register { namespace, signed_peer_record, ttl_secs });
        let payload = Bytes::from(request.to_message().encode());
        let peer = record.peer_id();
        let register = match self.server.waku_reader().read(&peer, &payload) {
            Ok(WakuCommand::Register(register)) => register,
            Ok(other) => panic!("{other:?} is no REGISTER"),
            Err(rejected) => return Err(rejected.refusal),
        };
        match self.server.handle_register(self.now, &Requester::new(peer), register)? {
            Registered::Done(ttl) => Ok(ttl),
            Registered::Pending(_) => panic!("there is no store"),
        }
    }

    fn sample(&mut self, namespace: &str, limit: u64) -> Result<Vec<(PeerId, u64)>, Refusal> {
        self.sample_as(stranger().peer, Some(namespace), limit)
    }

    /// The peers that a sample names, each with its TTL.
    fn sample_as(&mut self, asker: PeerId, namespace: Option<&str>, limit: u64) -> Result<Vec<(PeerId, u64)>, Refusal> {
        let request = Request::Discover(Discover { namespace: namespace.map(str::as_bytes), limit: Some(limit) });
        let payload = Bytes::from(request.to_message().encode());
        let sample = match self.server.waku_reader().read(&asker, &payload) {
            Ok(WakuCommand::Sample(sample)) => sample,
            Ok(other) => panic!("{other:?} is no DISCOVER"),
            Err(rejected) => return Err(rejected.refusal),
        };
        let page = self.server.handle_sample(self.now, &Requester::new(asker), &sample);
        let (payload, _) = frame::split(page.as_bytes(), frame::PAGE_BYTES_MAX).unwrap().unwrap();
        let Ok(Response::Discover(answer)) = Response::decode(payload) else { panic!("an answer to DISCOVER") };
        assert_eq!(answer.status, Some(Status::Ok));
        let peers = answer.registrations.iter().map(|registration| {
            let registration = registration.unwrap();
            assert!(namespace.is_none_or(|name| name.is_empty() || registration.namespace == Some(name.as_bytes())));
            let envelope = Bytes::copy_from_slice(registration.signed_peer_record.unwrap());
            let record = VerifiedRecord::verify(envelope, &Limits::default()).unwrap();
            assert_eq!(record.flavour(), Flavour::Standard);
            (record.peer_id(), registration.ttl_secs.unwrap())
        });
        Ok(peers.collect())
    }
}

#[test]
fn a_registration_lives_for_its_20_seconds_and_tells_what_is_left() {
    let mut point = Point::new();
    assert_eq!(point.register(1, "chat", None), Ok(Ttl::from_secs(20)));
    assert_eq!(point.sample("chat", 10), Ok(vec![(peer(1), 20)]));
    point.pass(Duration::from_millis(12_500));
    assert_eq!(point.sample("chat", 10), Ok(vec![(peer(1), 7)]));
    // A renewal is for 20 seconds more.
    assert_eq!(point.register(1, "chat", Some(0)), Ok(Ttl::from_secs(20)));
    point.pass(Duration::from_millis(19_800));
    assert_eq!(point.sample("chat", 10), Ok(vec![(peer(1), 1)]), "what is left is at least 1");
    point.pass(Duration::from_millis(200));
    assert_eq!(point.sample("chat", 10), Ok(vec![]));
    assert_eq!(point.server.stats().registrations, 0);
}

#[test]
fn ttls_have_bounds_of_their_own() {
    let mut point = Point::new();
    let (min, max) = (Ttl::from_secs(1), Ttl::from_secs(20));
    assert_eq!(point.register(1, "chat", Some(1)), Ok(min));
    assert_eq!(point.register(1, "chat", Some(20)), Ok(max));
    for ttl in [21, 7_200, u64::MAX] {
        let ttl = Ttl::from_secs(ttl);
        assert_eq!(point.register(1, "chat", Some(ttl.as_secs())), Err(Refusal::TtlTooLong { ttl, max }));
    }

    let mut point = Point::with(|config| {
        config.waku_ttl_min = Ttl::from_secs(5);
        config.waku_ttl_max = Ttl::from_secs(60);
        config.waku_ttl_default = Ttl::from_secs(2);
        let mut policy = Policy::new(Pattern::Prefix("app/".into()));
        (policy.ttl_min, policy.ttl_max) = (Some(Ttl::from_secs(600)), Some(Ttl::from_secs(30)));
        config.policies.push(policy);
    });
    let min = Ttl::from_secs(5);
    assert_eq!(point.register(1, "chat", None), Ok(min), "the default is brought within the bounds");
    assert_eq!(point.register(1, "chat", Some(60)), Ok(Ttl::from_secs(60)));
    let ttl = Ttl::from_secs(4);
    assert_eq!(point.register(1, "chat", Some(4)), Err(Refusal::TtlTooShort { ttl, min }));
    // A policy may make it shorter; its shortest is for the other dialect.
    assert_eq!(point.register(1, "app/x", Some(30)), Ok(Ttl::from_secs(30)));
    assert!(matches!(point.register(1, "app/x", Some(31)), Err(Refusal::TtlTooLong { .. })));
}

#[test]
fn both_dialects_see_one_registry() {
    let mut desk = Desk::new();
    desk.register(1, "chat", 7_200).unwrap();
    let mut point = Point { server: desk.server, now: EPOCH };
    point.register(2, "chat", None).unwrap();
    let seen: BTreeSet<_> = point.sample("chat", 10).unwrap().into_iter().collect();
    assert_eq!(seen, BTreeSet::from([(peer(1), 7_200), (peer(2), 20)]));
    let mut desk = Desk { server: point.server, ..Desk::new() };
    let listed = desk.discover(Some("chat"), 10, &[]).unwrap().found;
    assert_eq!(listed.iter().map(|found| found.peer).collect::<Vec<_>>(), [peer(1), peer(2)]);
    assert_eq!(listed[1].ttl_secs, 20);
    desk.pass(20);
    assert_eq!(desk.discover(Some("chat"), 10, &[]).unwrap().found.len(), 1);
}

#[test]
fn records_of_the_legacy_flavour_are_neither_taken_nor_served() {
    let mut point = Point::new();
    let legacy = fixtures::record(1, Flavour::Legacy);
    let refusal = point.register_record(&legacy, "chat", None).unwrap_err();
    assert_eq!(refusal, Refusal::FlavourNotAccepted(Flavour::Legacy));
    assert_eq!(refusal.status(MessageType::Register).code(), 101, "E_INVALID_PEER_INFO");

    let mut desk = Desk::new();
    desk.register_record(&legacy, "chat", None).unwrap();
    let mut point = Point { server: desk.server, now: EPOCH };
    assert_eq!(point.sample("chat", 10), Ok(vec![]));
    // One with both is served with the record that is read.
    point.register(1, "chat", None).unwrap();
    assert_eq!(point.sample("chat", 10), Ok(vec![(peer(1), 20)]));
    point.pass(Duration::from_secs(20));
    assert_eq!(point.sample("chat", 10), Ok(vec![]), "its other record lives on");
    assert_eq!(point.server.stats().registrations, 1);
}

#[test]
fn admission_is_that_of_the_other_dialect() {
    let mut point = Point::with(|config| {
        config.registrations_per_peer_max = 1;
        config.registrations_max = 2;
        config.discover_all = Access::Nobody;
        config.page_registrations_max = Limit::new(1);
        let mut policy = Policy::new(Pattern::Exact(Namespace::new("closed").unwrap()));
        (policy.register, policy.discover) = (Access::Nobody, Access::Nobody);
        config.policies.push(policy);
        config.events_max = 10;
    });
    point.register(1, "a", None).unwrap();
    point.register(1, "a", None).unwrap();
    assert_eq!(point.register(1, "b", None), Err(Refusal::PeerFull { max: 1 }));
    point.register(2, "a", None).unwrap();
    assert_eq!(point.register(3, "a", None), Err(Refusal::Full));
    assert_eq!(point.register(4, "closed", None), Err(Refusal::RegisterDenied));
    assert_eq!(point.sample("closed", 1), Err(Refusal::DiscoverDenied));
    assert_eq!(point.sample_as(stranger().peer, None, 1), Err(Refusal::DiscoverAllDenied));
    assert!(matches!(point.register(1, "", None), Err(Refusal::Namespace(_))));
    assert!(matches!(point.sample(&"x".repeat(256), 1), Err(Refusal::Namespace(_))));
    assert_eq!(point.sample("a", 50).unwrap().len(), 1, "the largest page is the point's");
    let events: Vec<_> = core::iter::from_fn(|| point.server.poll_event()).collect();
    assert!(matches!(events.last(), Some(Event::Served { count: 1, .. })), "{events:?}");
    assert_eq!((point.server.stats().discovers, point.server.stats().served), (1, 1));
}

#[test]
fn all_namespaces_are_drawn_from_when_none_is_named() {
    let mut point = Point::new();
    for (number, namespace) in [(1, "a"), (2, "b"), (3, "c")] {
        point.register(number, namespace, None).unwrap();
    }
    assert_eq!(point.sample_as(stranger().peer, None, 10).unwrap().len(), 3);
    assert_eq!(point.sample_as(stranger().peer, Some(""), 2).unwrap().len(), 2);
}

#[test]
fn what_is_refused_is_said_in_the_dialect() {
    for refusal in [Refusal::Malformed, Refusal::Full, Refusal::RecordMissing, Refusal::StoreFailed] {
        for kind in [MessageType::Register, MessageType::Discover] {
            let mut bytes = Vec::new();
            assert!(refusal.encode_waku_frame(kind, &mut bytes));
            let (payload, _) = frame::split(&bytes, frame::REGISTER_BYTES_MAX).unwrap().unwrap();
            let (status, text) = match Response::decode(payload).unwrap() {
                Response::Register(answer) => (answer.status, answer.status_text),
                Response::Discover(answer) => (answer.status, answer.status_text),
            };
            assert_eq!((status, text), (Some(refusal.status(kind)), Some(refusal.text().as_bytes())));
            assert_ne!(status, Some(Status::InvalidCookie), "the dialect has no such status");
        }
    }
    assert!(!Refusal::Malformed.encode_waku_frame(MessageType::Other(4), &mut Vec::new()));
}

#[test]
fn what_is_no_request_has_the_type_that_could_be_told() {
    let point = Point::new();
    let reader = point.server.waku_reader();
    let kind = |payload: &'static [u8]| reader.read(&peer(1), &Bytes::from_static(payload)).unwrap_err().kind;
    assert_eq!(kind(&[0x08, 2, 0x22, 9]), Some(MessageType::Discover));
    assert_eq!(kind(&[0x12, 1, 0x0a]), Some(MessageType::Register));
    assert_eq!(kind(&[0x08, 3]), Some(MessageType::DiscoverResponse));
    assert_eq!(kind(&[0x08, 9]), Some(MessageType::Other(9)));
    assert_eq!(kind(&[0xff]), None);
    assert_eq!(WakuReader::kind(&[0x08, 2]), Some(MessageType::Discover));
    assert_eq!(WakuReader::kind(&[]), Some(MessageType::Register));
}

#[test]
fn the_answer_to_register_names_the_ttl() {
    let bytes = waku_registered_frame(waku::TTL_MAX);
    let (payload, _) = frame::split(&bytes, frame::REGISTER_BYTES_MAX).unwrap().unwrap();
    let Ok(Response::Register(answer)) = Response::decode(payload) else { panic!("an answer to REGISTER") };
    assert_eq!((answer.status, answer.ttl_secs), (Some(Status::Ok), Some(20)));
}

#[test]
fn a_page_ends_at_its_bytes_and_is_still_a_random_choice() {
    let mut point = Point::with(|config| config.page_bytes_max = 0);
    for number in 0..400 {
        point.register(number, "chat", None).unwrap();
    }
    // The least there is: some 40 KiB, which is fewer than all of them.
    let first: BTreeSet<_> = point.sample("chat", 400).unwrap().into_iter().collect();
    let second: BTreeSet<_> = point.sample("chat", 400).unwrap().into_iter().collect();
    assert!((50..400).contains(&first.len()), "{}", first.len());
    assert_ne!(first, second);
}

#[test]
fn a_hundred_nodes_that_each_take_samples_are_one_graph() {
    const NODES: u64 = 100;
    const NEIGHBOURS: u64 = 6;
    let records: Vec<_> = (0..NODES).map(|number| fixtures::record(number, Flavour::Standard)).collect();
    let numbers: BTreeMap<&[u8], usize> = records.iter().map(|record| &record.envelope()[..]).zip(0..).collect();
    for seed in 0..40 {
        let mut server = Server::new(EPOCH, ServerConfig::default(), [seed; 16]);
        let reader = server.waku_reader();
        for record in &records {
            let requester = Requester::new(record.peer_id());
            let register = server.reader().register_verified(&requester.peer, "mesh", record.clone(), None).unwrap();
            server.handle_register(EPOCH, &requester, register).unwrap();
        }
        let discover = Request::Discover(Discover { namespace: Some(b"mesh"), limit: Some(NEIGHBOURS) });
        let payload = Bytes::from(discover.to_message().encode());
        for round in 0..20 {
            let mut group: Vec<usize> = (0..records.len()).collect();
            for (number, record) in records.iter().enumerate() {
                let asker = record.peer_id();
                let Ok(WakuCommand::Sample(sample)) = reader.read(&asker, &payload) else { panic!("DISCOVER") };
                let page = server.handle_sample(EPOCH, &Requester::new(asker), &sample);
                let (answer, _) = frame::split(page.as_bytes(), frame::PAGE_BYTES_MAX).unwrap().unwrap();
                let Ok(Response::Discover(answer)) = Response::decode(answer) else { panic!("an answer") };
                for neighbour in answer.registrations.iter() {
                    let other = group[numbers[neighbour.unwrap().signed_peer_record.unwrap()]];
                    let own = group[number];
                    group.iter_mut().filter(|name| **name == other).for_each(|name| *name = own);
                }
            }
            let groups: BTreeSet<_> = group.into_iter().collect();
            assert_eq!(groups.len(), 1, "seed {seed}, round {round}");
        }
    }
}
