//! Random commands, answers, failures and pauses, and what holds whatever they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
    time::Duration,
};

use libp2p_identity::PeerId;
use proptest::prelude::*;
use rendezvous_core::{
    Time,
    client::{
        Answer, COOKIES_MAX, Client, ClientConfig, Discovered, EVENTS_MAX, Event, Failure, From, LookupConfig,
        LookupId, MalformedAnswer, Outbound, PENDING_MAX, PageCost, RegistrationId, RequestKind, STANDINGS_MAX,
        Skipped,
    },
};
use rendezvous_sim::fixtures;
use rendezvous_wire::{Limit, MessageType, Namespace, Status, Ttl, frame::REGISTER_BYTES_MAX};

use crate::rig::{OWN, chat, cookie, found, namespace, point};

const POINTS: u64 = 3;
const NAMES: usize = 3;
const LOOKUP_PEERS_MAX: usize = 12;

#[derive(Clone, Debug)]
enum Action {
    SetAddresses(u64),
    Register {
        name: usize,
        points: u8,
        ttl: Option<u64>,
    },
    Unregister(usize),
    UnregisterAt {
        point: u64,
        name: usize,
    },
    Discover {
        point: u64,
        name: Option<usize>,
        limit: Option<usize>,
        is_fresh: bool,
    },
    AddPoint {
        registration: usize,
        point: u64,
    },
    RemovePoint {
        registration: usize,
        point: u64,
    },
    LookUp {
        name: Option<usize>,
        points: u8,
        every: Option<u64>,
    },
    /// Commands to a lookup, by number: again, a point added, a point removed, ended.
    Lookup {
        lookup: usize,
        command: u8,
        point: u64,
    },
    Reachable(u64),
    Lost(u64),
    Dual(u64, bool),
    Answer {
        request: usize,
        answer: Reply,
    },
    /// Lets time pass: to the next deadline, or so many milliseconds.
    Pass(Option<u64>),
    /// Calls with an instant that is long past.
    Backwards,
    Shutdown,
}

#[derive(Clone, Debug)]
enum Reply {
    Registered(u64),
    Refused(i32),
    Page { peers: Vec<u64>, ttl: u64, cookie: Option<u8>, rubbish: usize },
    Sent,
    Failure(u8),
}

fn reply() -> impl Strategy<Value = Reply> {
    let ttl = prop_oneof![Just(0), 1..100_u64, 60..300_000_u64, Just(u64::MAX)];
    let page = (prop::collection::vec(1..30_u64, 0..8), ttl.clone(), any::<Option<u8>>(), 0..3_usize)
        .prop_map(|(peers, ttl, cookie, rubbish)| Reply::Page { peers, ttl, cookie, rubbish });
    prop_oneof![
        4 => ttl.prop_map(Reply::Registered),
        2 => prop_oneof![Just(0), Just(100), Just(101), Just(102), Just(103), Just(200), Just(300), Just(400), any::<i32>()]
            .prop_map(Reply::Refused),
        3 => page,
        2 => Just(Reply::Sent),
        3 => (0..7_u8).prop_map(Reply::Failure),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let ttl = prop::option::of(prop_oneof![Just(0), 1..1_000_u64, Just(u64::MAX)]);
    prop_oneof![
        1 => (0..4_u64).prop_map(Action::SetAddresses),
        4 => (0..NAMES, 1..(1_u8 << POINTS), ttl).prop_map(|(name, points, ttl)| Action::Register { name, points, ttl }),
        3 => any::<usize>().prop_map(Action::Unregister),
        1 => (0..POINTS, 0..NAMES).prop_map(|(point, name)| Action::UnregisterAt { point, name }),
        3 => (0..POINTS, prop::option::of(0..NAMES), prop::option::of(1..5_usize), any::<bool>())
            .prop_map(|(point, name, limit, is_fresh)| Action::Discover { point, name, limit, is_fresh }),
        2 => (any::<usize>(), 0..POINTS).prop_map(|(registration, point)| Action::AddPoint { registration, point }),
        2 => (any::<usize>(), 0..POINTS).prop_map(|(registration, point)| Action::RemovePoint { registration, point }),
        2 => (prop::option::of(0..NAMES), 0..(1_u8 << POINTS), prop::option::of(0..500_u64))
            .prop_map(|(name, points, every)| Action::LookUp { name, points, every }),
        2 => (any::<usize>(), 0..4_u8, 0..POINTS)
            .prop_map(|(lookup, command, point)| Action::Lookup { lookup, command, point }),
        1 => (0..POINTS).prop_map(Action::Reachable),
        1 => (0..POINTS).prop_map(Action::Lost),
        1 => (0..POINTS, any::<bool>()).prop_map(|(point, dual)| Action::Dual(point, dual)),
        12 => (any::<usize>(), reply()).prop_map(|(request, answer)| Action::Answer { request, answer }),
        6 => prop::option::of(0..200_000_u64).prop_map(Action::Pass),
        1 => Just(Action::Backwards),
        1 => prop::bool::weighted(0.05).prop_map(|down| if down { Action::Shutdown } else { Action::Pass(None) }),
    ]
}

fn name(number: usize) -> Namespace {
    namespace(&format!("ns-{number}"))
}

/// Signing is slow; the records are the same in every case.
fn listed(number: u64, ttl_secs: u64) -> Discovered {
    static RECORDS: OnceLock<Vec<Discovered>> = OnceLock::new();
    let records = RECORDS.get_or_init(|| (0..30).map(|number| found(&chat(), number, 1)).collect());
    let mut listed = records[number as usize].clone();
    listed.ttl = Ttl::from_secs(ttl_secs);
    listed
}

/// What the test knows of the requests it was handed.
struct Model {
    client: Client,
    config: ClientConfig,
    now: Time,
    registrations: Vec<(RegistrationId, Namespace, BTreeSet<PeerId>)>,
    lookups: Vec<LookupId>,
    in_flight: Vec<Outbound>,
    /// All requests ever, for answers that come twice or too late.
    past: Vec<Outbound>,
    is_shut_down: bool,
}

impl Model {
    fn new(seed: [u8; 32]) -> Self {
        let config = ClientConfig { peers_max: 10, peers_bytes_max: 2_500, ..ClientConfig::default() };
        Self {
            client: Client::new(config.clone(), fixtures::keypair(OWN), seed),
            config,
            now: fixtures::EPOCH,
            registrations: Vec::new(),
            lookups: Vec::new(),
            in_flight: Vec::new(),
            past: Vec::new(),
            is_shut_down: false,
        }
    }

    fn act(&mut self, action: Action) {
        let now = self.now;
        match action {
            Action::SetAddresses(0) => self.client.set_addresses(now, Vec::new()),
            Action::SetAddresses(number) => self.client.set_addresses(now, fixtures::addresses(number)),
            Action::Register { name: number, points, ttl } => {
                let points: BTreeSet<_> = (0..POINTS).filter(|bit| points & (1 << bit) != 0).map(point).collect();
                let id = self.client.register(now, name(number), points.clone(), ttl.map(Ttl::from_secs));
                if !self.is_shut_down {
                    self.registrations.push((id, name(number), points));
                }
            }
            Action::Unregister(pick) if !self.registrations.is_empty() => {
                let (id, ..) = self.registrations.remove(pick % self.registrations.len());
                assert!(self.client.unregister(now, id));
            }
            Action::Unregister(_) => {}
            Action::UnregisterAt { point: number, name: of } => {
                self.client.unregister_at(now, point(number), name(of));
            }
            Action::Discover { point: number, name: of, limit, is_fresh } => {
                let from = if is_fresh { From::Fresh } else { From::Cookie };
                self.client.discover(now, point(number), of.map(name), limit.map(Limit::new), from);
            }
            Action::AddPoint { registration, point: number } if !self.registrations.is_empty() => {
                let count = self.registrations.len();
                let (id, _, points) = &mut self.registrations[registration % count];
                points.insert(point(number));
                assert!(self.client.add_registration_point(now, *id, point(number)));
            }
            Action::RemovePoint { registration, point: number } if !self.registrations.is_empty() => {
                let count = self.registrations.len();
                let (id, _, points) = &mut self.registrations[registration % count];
                let is_known = points.remove(&point(number));
                assert_eq!(self.client.remove_registration_point(now, *id, &point(number)), is_known);
            }
            Action::AddPoint { .. } | Action::RemovePoint { .. } => {}
            Action::LookUp { name: of, points, every } => {
                let points = (0..POINTS).filter(|bit| points & (1 << bit) != 0).map(point);
                let config = LookupConfig {
                    every: every.map(Duration::from_secs),
                    peers_max: LOOKUP_PEERS_MAX,
                    ..LookupConfig::default()
                };
                let id = self.client.look_up(now, of.map(name), points, config);
                if !self.is_shut_down {
                    self.lookups.push(id);
                }
            }
            Action::Lookup { lookup, command, point: number } if !self.lookups.is_empty() => {
                let place = lookup % self.lookups.len();
                let id = self.lookups[place];
                match command {
                    0 => assert!(self.client.look_up_again(now, id)),
                    1 => assert!(self.client.add_lookup_point(now, id, point(number))),
                    2 => {
                        self.client.remove_lookup_point(now, id, &point(number));
                    }
                    _ => {
                        self.lookups.remove(place);
                        assert!(self.client.end_lookup(now, id));
                    }
                }
            }
            Action::Lookup { .. } => {}
            Action::Reachable(number) => self.client.handle_point_reachable(now, point(number)),
            Action::Lost(number) => self.client.handle_point_lost(now, point(number)),
            Action::Dual(number, dual) => self.client.handle_point_dual(now, point(number), dual),
            Action::Answer { request, answer } => self.reply(request, answer),
            Action::Pass(Some(millis)) => self.pass_to(now + Duration::from_millis(millis)),
            Action::Pass(None) => {
                if let Some(at) = self.client.poll_timeout() {
                    self.pass_to(at);
                }
            }
            Action::Backwards => self.client.handle_timeout(Time::from_unix_millis(1)),
            Action::Shutdown => {
                self.client.shutdown(now);
                self.is_shut_down = true;
                self.registrations.clear();
                self.lookups.clear();
                // Queries end at once.
                self.in_flight.retain(|request| request.kind != RequestKind::Discover);
            }
        }
    }

    fn pass_to(&mut self, at: Time) {
        self.now = at;
        self.client.handle_timeout(at);
        self.in_flight.retain(|request| request.deadline > at);
    }

    fn reply(&mut self, pick: usize, reply: Reply) {
        // One in four goes to any request of the past.
        let request = if pick.is_multiple_of(4) || self.in_flight.is_empty() {
            let Some(request) = self.past.get(pick / 4 % self.past.len().max(1)) else { return };
            request.clone()
        } else {
            self.in_flight[pick / 4 % self.in_flight.len()].clone()
        };
        self.in_flight.retain(|other| other.id != request.id);
        let wrong = MalformedAnswer::WrongKind { request: request.kind, answered: MessageType::Discover };
        match reply {
            Reply::Registered(ttl) => self.answer(&request, Answer::Registered { ttl: Ttl::from_secs(ttl) }),
            Reply::Refused(code) => {
                self.answer(&request, Answer::Refused { status: Status::from_code(code), text: "no".to_owned() });
            }
            Reply::Page { peers, ttl, cookie: byte, rubbish } => {
                let registrations = peers.into_iter().map(|number| listed(number, ttl)).collect();
                let skipped = Skipped { unverified: rubbish, ..Skipped::default() };
                let cookie = byte.and_then(|byte| cookie(&[byte]));
                self.answer(
                    &request,
                    Answer::Page { registrations, unverified: Vec::new(), cookie, skipped, cost: PageCost::default() },
                );
            }
            Reply::Sent => self.answer(&request, Answer::Sent),
            Reply::Failure(number) => {
                let failure = match number {
                    0 => Failure::Unreachable,
                    1 => Failure::Unsupported,
                    2 => Failure::TimedOut,
                    3 | 4 => Failure::ClosedWithoutAnswer,
                    5 => Failure::Malformed(wrong),
                    _ => Failure::Refused { status: Status::Ok, text: String::new() },
                };
                self.client.handle_failure(self.now, request.id, failure);
            }
        }
    }

    fn answer(&mut self, request: &Outbound, answer: Answer) {
        self.client.handle_answer(self.now, request.id, answer);
    }

    /// Takes all that the client gives, and checks it.
    fn drain(&mut self) {
        loop {
            let mut is_done = true;
            while let Some(event) = self.client.poll_event() {
                self.check_event(&event);
                is_done = false;
            }
            while let Some(request) = self.client.poll_request(self.now) {
                self.check_request(&request);
                self.in_flight.push(request.clone());
                self.past.push(request);
                is_done = false;
            }
            if is_done {
                break;
            }
        }
        self.check();
    }

    fn check_event(&self, event: &Event) {
        if let Event::Registered { id, point, ttl, .. } = event {
            assert!(*ttl <= Ttl::RECOMMENDED_MAX);
            let registration = self.registrations.iter().find(|(known, ..)| known == id);
            let (_, _, points) = registration.expect("nothing is registered after unregister");
            assert!(points.contains(point));
        }
        if let Event::LookupChanged { found, .. } = event {
            assert!(found.iter().all(|merged| merged.record.peer_id() != self.client.peer_id()));
        }
        if let Event::Discovered { registrations, page, .. } = event {
            assert!(*page >= 1 && *page <= self.config.pages_per_walk_max);
            assert!(registrations.iter().all(|found| found.record.peer_id() != self.client.peer_id()));
        }
    }

    fn check_request(&self, request: &Outbound) {
        assert!(request.deadline > self.now);
        assert!(request.deadline <= self.now + self.config.request_timeout);
        assert!(self.past.iter().all(|past| past.id != request.id), "ids are never given twice");
        if request.kind == RequestKind::Discover {
            return;
        }
        let about = (request.point, &request.namespace);
        let others = self.in_flight.iter().filter(|other| other.kind != RequestKind::Discover);
        for other in others {
            assert_ne!((other.point, &other.namespace), about, "one request about a name at a point at a time");
        }
        if request.kind == RequestKind::Register {
            assert!(request.frame.len() <= REGISTER_BYTES_MAX);
            let namespace = request.namespace.as_ref().expect("REGISTER has a namespace");
            let is_wanted =
                |(_, name, points): &(_, Namespace, BTreeSet<_>)| name == namespace && points.contains(&request.point);
            assert!(self.registrations.iter().any(is_wanted), "nothing is registered after unregister");
        }
    }

    fn check(&self) {
        let timeout = self.client.poll_timeout();
        assert!(timeout.is_none_or(|at| at > self.now), "{timeout:?} is not after {}", self.now);
        for request in &self.in_flight {
            assert!(timeout.is_some_and(|at| at <= request.deadline), "every request has a deadline");
        }

        let stats = self.client.stats();
        assert_eq!(stats.requests_in_flight, self.in_flight.len());
        assert!(stats.standings <= STANDINGS_MAX && stats.standings <= POINTS as usize * NAMES);
        assert!(stats.points <= POINTS as usize);
        assert!(stats.cookies <= COOKIES_MAX && stats.queries <= PENDING_MAX && stats.events <= EVENTS_MAX);
        assert!(stats.peers <= self.config.peers_max && stats.peers_bytes <= self.config.peers_bytes_max);
        assert!(stats.found_listings <= self.lookups.len() * LOOKUP_PEERS_MAX && stats.found <= stats.found_listings);
        assert!(stats.lookup_points <= self.lookups.len() * POINTS as usize);
        for merged in self.lookups.iter().flat_map(|id| self.client.found(self.now, *id)) {
            assert!(merged.ttl >= Ttl::from_secs(1) && merged.ttl <= Ttl::RECOMMENDED_MAX && !merged.points.is_empty());
        }
        let mut per_point = BTreeMap::new();
        for request in &self.in_flight {
            *per_point.entry(request.point).or_insert(0) += 1;
        }
        assert!(per_point.values().all(|count| *count <= self.config.requests_per_point_max));
        let kept: Vec<_> = self.client.registrations().map(|(id, _)| id).collect();
        assert_eq!(kept, self.registrations.iter().map(|(id, ..)| *id).collect::<Vec<_>>());
        for (id, _, points) in &self.registrations {
            assert!((0..POINTS).map(point).all(|at| points.contains(&at) || !self.client.is_registered(*id, &at)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_client_keeps_its_order_and_its_bounds(
        seed in any::<[u8; 32]>(),
        actions in prop::collection::vec(action(), 1..150),
    ) {
        let mut model = Model::new(seed);
        for action in actions {
            model.act(action);
            model.drain();
        }
        // And in the end it comes to rest, though nobody answers.
        let started_at = model.now;
        model.act(Action::Shutdown);
        model.drain();
        prop_assert_eq!(model.client.stats().found_listings, 0);
        while !model.client.is_drained() {
            let at = model.client.poll_timeout().expect("something is awaited");
            model.pass_to(at);
            model.drain();
        }
        prop_assert!(model.now.saturating_since(started_at) <= 2 * model.config.request_timeout);
    }

    #[test]
    fn no_payload_harms_the_reader(payload in prop::collection::vec(any::<u8>(), 0..300), asked in any::<bool>()) {
        let mut reader = rendezvous_core::client::AnswerReader::new(Default::default());
        let (asked, payload) = (asked.then(chat), bytes::Bytes::from(payload));
        for kind in [RequestKind::Register, RequestKind::Unregister, RequestKind::Discover] {
            let _ = reader.read(kind, asked.as_ref(), payload.clone());
        }
    }
}
