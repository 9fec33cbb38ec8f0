//! Five points of which one keeps its word, and many clients of all five, in virtual time.
//!
//! One point is dead, one restarts and forgets, one refuses everything, one lies, and one is honest.

use core::{cmp::Reverse, time::Duration};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use bytes::Bytes;
use libp2p_identity::PeerId;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rendezvous_core::{
    Time,
    client::{
        Answer, AnswerReader, Client, ClientConfig, Failure, LookupConfig, LookupId, Outbound, RegistrationId,
        RequestId, RequestKind,
    },
    server::{Command, Discovered, Registered, Requester, Server, ServerConfig, registered_frame},
};
use rendezvous_record::{Flavour, Limits};
use rendezvous_wire::{
    Discover, DiscoverResponse, MessageType, Namespace, PageWriter, RegisterResponse, Request, Response, Status, Ttl,
    frame,
};

use crate::fixtures;

/// The point that nobody can connect to.
pub const DEAD: usize = 0;
/// The point that restarts.
pub const FORGETFUL: usize = 1;
/// The point that refuses everything.
pub const REFUSING: usize = 2;
/// The point that lies.
pub const LYING: usize = 3;
/// The point that keeps its word.
pub const HONEST: usize = 4;

const POINTS: usize = 5;

/// Numbers of the keys that points have; clients have the numbers from 0.
const POINT_KEYS: u64 = 1_000_000;

/// Strangers that the lying point lists.
const STRANGERS: u64 = 40;
const STRANGER_KEYS: u64 = 2_000_000;

/// Time until a dial to the dead point has failed.
const DIAL_FAILS_AFTER: Duration = Duration::from_secs(1);

/// A client that is registered with all points and looks around at all of them.
pub struct Member {
    /// The state machine.
    pub client: Client,
    /// Its registration.
    pub registration: RegistrationId,
    /// Its lookup.
    pub lookup: LookupId,
    /// Who it is.
    pub peer: PeerId,
    is_up: bool,
    timer: Option<Time>,
}

/// Something on its way.
enum Delivery {
    Request { from: usize, outbound: Outbound },
    Response { to: usize, id: RequestId, kind: RequestKind, namespace: Option<Namespace>, frame: Bytes },
    Failure { to: usize, id: RequestId, failure: Failure },
}

/// The points, the members, and the network between them. The same seed and the same calls have the same outcome.
pub struct FivePoints {
    now: Time,
    rng: ChaCha8Rng,
    servers: BTreeMap<usize, Server>,
    peers: [PeerId; POINTS],
    strangers: Vec<Bytes>,
    lies: u64,
    members: Vec<Member>,
    /// Verifies for all members: what it remembers is remembered for each.
    reader: AnswerReader,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    deliveries: BTreeMap<u64, Delivery>,
    sent: u64,
    timers: BTreeSet<(Time, usize)>,
    /// Requests that each point has got.
    pub asked: [u64; POINTS],
}

impl FivePoints {
    /// Five points and so many members, who start within the first ten seconds.
    #[must_use]
    pub fn new(seed: u64, members: usize, ttl: Ttl, config: &ClientConfig, lookup: &LookupConfig) -> Self {
        let now = fixtures::EPOCH;
        let peer = |number: usize| fixtures::keypair(POINT_KEYS + number as u64).public().to_peer_id();
        let stranger = |number| fixtures::record(STRANGER_KEYS + number, Flavour::Standard).envelope().clone();
        let mut world = Self {
            now,
            rng: ChaCha8Rng::seed_from_u64(seed),
            servers: [FORGETFUL, HONEST].into_iter().map(|point| (point, server(now, seed))).collect(),
            peers: core::array::from_fn(peer),
            strangers: (0..STRANGERS).map(stranger).collect(),
            lies: 0,
            members: Vec::new(),
            reader: AnswerReader::new(Limits::default()),
            queue: BinaryHeap::new(),
            deliveries: BTreeMap::new(),
            sent: 0,
            timers: BTreeSet::new(),
            asked: [0; POINTS],
        };
        for number in 0..members {
            world.run_for(Duration::from_millis(10_000 / members as u64));
            world.add(number as u64, ttl, config, lookup);
        }
        world
    }

    /// The present instant.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// The members, those that have crashed included.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The id of a point.
    #[must_use]
    pub fn point(&self, point: usize) -> PeerId {
        self.peers[point]
    }

    /// Those of the members that are up.
    pub fn live(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.is_up)
    }

    /// How many members a point that has a registry lists.
    #[must_use]
    pub fn listed_at(&self, point: usize) -> usize {
        let server = &self.servers[&point];
        self.members.iter().filter(|member| server.is_registered(&member.peer, "chat")).count()
    }

    /// The forgetful point restarts, with an empty registry.
    pub fn restart(&mut self) {
        self.servers.insert(FORGETFUL, server(self.now, self.rng.random()));
    }

    /// Members stop without a word.
    pub fn crash(&mut self, members: core::ops::Range<usize>) {
        for index in members {
            let member = &mut self.members[index];
            member.is_up = false;
            if let Some(timer) = member.timer.take() {
                self.timers.remove(&(timer, index));
            }
        }
    }

    /// Lets time pass, from one thing that happens to the next.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let arrival = self.queue.peek().map(|Reverse((at, _))| *at);
            let timer = self.timers.first().map(|(at, _)| *at);
            let Some(next) = arrival.into_iter().chain(timer).min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            if arrival == Some(next)
                && let Some(Reverse((_, number))) = self.queue.pop()
            {
                if let Some(delivery) = self.deliveries.remove(&number) {
                    self.deliver(delivery);
                }
            } else if let Some((_, index)) = self.timers.pop_first() {
                let member = &mut self.members[index];
                member.timer = None;
                member.client.handle_timeout(self.now);
                self.pump(index);
            }
        }
        self.now = end;
    }

    fn add(&mut self, number: u64, ttl: Ttl, config: &ClientConfig, lookup: &LookupConfig) {
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        let mut client = Client::new(config.clone(), fixtures::keypair(number), seed);
        let chat = Namespace::new("chat").expect("a short name");
        client.set_addresses(self.now, fixtures::addresses(number));
        let registration = client.register(self.now, chat.clone(), self.peers, Some(ttl));
        let lookup = client.look_up(self.now, Some(chat), self.peers, lookup.clone());
        let peer = client.peer_id();
        self.members.push(Member { client, registration, lookup, peer, is_up: true, timer: None });
        self.pump(self.members.len() - 1);
    }

    fn deliver(&mut self, delivery: Delivery) {
        let (to, id, result) = match delivery {
            Delivery::Request { from, outbound } => {
                let point = self.peers.iter().position(|peer| *peer == outbound.point).expect("one of the five");
                self.asked[point] += 1;
                let (id, kind) = (outbound.id, outbound.kind);
                if point == DEAD {
                    let delivery = Delivery::Failure { to: from, id, failure: Failure::Unreachable };
                    self.send(DIAL_FAILS_AFTER, delivery);
                } else if let Some(frame) = self.answer(point, from, &outbound) {
                    let (namespace, frame) = (outbound.namespace, frame.into());
                    self.send(Duration::ZERO, Delivery::Response { to: from, id, kind, namespace, frame });
                }
                return;
            }
            Delivery::Response { to, id, kind, namespace, frame } => {
                let payload = payload_of(&frame, frame::RESPONSE_BYTES_MAX);
                let read = |payload| self.reader.read(kind, namespace.as_ref(), payload).map_err(Failure::Malformed);
                (to, id, payload.ok_or(Failure::ClosedWithoutAnswer).and_then(read))
            }
            Delivery::Failure { to, id, failure } => (to, id, Err(failure)),
        };
        let member = &mut self.members[to];
        if !member.is_up {
            return;
        }
        match result {
            Ok(answer) => member.client.handle_answer(self.now, id, answer),
            Err(failure) => member.client.handle_failure(self.now, id, failure),
        }
        self.pump(to);
    }

    fn answer(&mut self, point: usize, from: usize, outbound: &Outbound) -> Option<Vec<u8>> {
        let peer = self.members[from].peer;
        match point {
            REFUSING => refusal(outbound.kind),
            LYING => self.lie(outbound.kind),
            _ => serve(self.servers.get_mut(&point)?, self.now, &peer, outbound),
        }
    }

    /// Each lie in turn: a request as an answer, foreign names, TTLs of 2^64-1, and pages that never end.
    fn lie(&mut self, kind: RequestKind) -> Option<Vec<u8>> {
        self.lies += 1;
        let mut frame = Vec::new();
        match (kind, self.lies % 4) {
            (RequestKind::Unregister, _) => return None,
            (_, 0) => Request::Discover(Discover::default()).encode_frame(&mut frame),
            (RequestKind::Register, _) => {
                let (status, ttl_secs) = (Some(Status::Ok), Some(u64::MAX));
                Response::Register(RegisterResponse { status, ttl_secs, ..RegisterResponse::default() })
                    .encode_frame(&mut frame);
            }
            (RequestKind::Discover, lie) => {
                let mut page = PageWriter::new(frame::PAGE_BYTES_MAX);
                for envelope in &self.strangers {
                    let name = if lie == 1 { "elsewhere" } else { "chat" };
                    page.push(name.as_bytes(), envelope, u64::MAX);
                }
                return Some(page.finish(&self.lies.to_be_bytes()).as_bytes().to_vec());
            }
        }
        Some(frame)
    }

    /// What a member's shell does after every command and every input.
    fn pump(&mut self, index: usize) {
        loop {
            let member = &mut self.members[index];
            while member.client.poll_event().is_some() {}
            let Some(outbound) = member.client.poll_request(self.now) else { break };
            if !outbound.expects_answer {
                member.client.handle_answer(self.now, outbound.id, Answer::Sent);
            }
            self.send(Duration::ZERO, Delivery::Request { from: index, outbound });
        }
        let member = &mut self.members[index];
        let timer = member.client.poll_timeout();
        if timer != member.timer {
            if let Some(old) = member.timer {
                self.timers.remove(&(old, index));
            }
            self.timers.extend(timer.map(|new| (new, index)));
            member.timer = timer;
        }
    }

    fn send(&mut self, extra: Duration, delivery: Delivery) {
        let delay = extra + Duration::from_millis(self.rng.random_range(5..=150));
        self.sent += 1;
        self.queue.push(Reverse((self.now + delay, self.sent)));
        self.deliveries.insert(self.sent, delivery);
    }
}

fn server(now: Time, seed: u64) -> Server {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    Server::new(now, ServerConfig::default(), key)
}

fn refusal(kind: RequestKind) -> Option<Vec<u8>> {
    let (status, mut frame) = (Some(Status::NotAuthorized), Vec::new());
    match kind {
        RequestKind::Unregister => return None,
        RequestKind::Register => Response::Register(RegisterResponse { status, ..RegisterResponse::default() }),
        RequestKind::Discover => Response::Discover(DiscoverResponse { status, ..DiscoverResponse::default() }),
    }
    .encode_frame(&mut frame);
    Some(frame)
}

/// What a connection's task does at a point; `None` where there is no answer.
fn serve(server: &mut Server, now: Time, peer: &PeerId, outbound: &Outbound) -> Option<Vec<u8>> {
    server.handle_timeout(now);
    let payload = payload_of(&outbound.frame, frame::REQUEST_BYTES_MAX)?;
    let requester = Requester::new(*peer);
    let (kind, refusal) = match server.reader().read(peer, &payload) {
        Ok(Command::Register(register)) => match server.handle_register(now, &requester, register) {
            Ok(Registered::Done(ttl)) => return Some(registered_frame(ttl)),
            Ok(Registered::Pending(_)) => return None,
            Err(refusal) => (MessageType::Register, refusal),
        },
        Ok(Command::Unregister(unregister)) => {
            server.handle_unregister(now, peer, &unregister);
            return None;
        }
        Ok(Command::Discover(discover)) => match server.handle_discover(now, &requester, &discover) {
            Ok(Discovered::Page(page)) => return Some(page.as_bytes().to_vec()),
            Ok(Discovered::AgentUnknown) => return None,
            Err(refusal) => (MessageType::Discover, refusal),
        },
        Err(rejected) => (rejected.kind?, rejected.refusal),
    };
    let mut frame = Vec::new();
    refusal.encode_frame(kind, &mut frame).then_some(frame)
}

fn payload_of(frame: &Bytes, payload_bytes_max: usize) -> Option<Bytes> {
    let (payload, _) = frame::split(frame, payload_bytes_max).ok()??;
    Some(frame.slice_ref(payload))
}
