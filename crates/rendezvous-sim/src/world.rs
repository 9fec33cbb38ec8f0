//! One point, many clients, and a network that delays and loses, in virtual time.

use core::{cmp::Reverse, time::Duration};
use std::collections::{BTreeSet, BinaryHeap};

use bytes::Bytes;
use libp2p_identity::PeerId;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rendezvous_core::{
    Time,
    client::{Answer, AnswerReader, Client, ClientConfig, Event, Failure, Outbound, RequestId, RequestKind},
    server::{Command, Discovered, Registered, Requester, Server, ServerConfig, registered_frame},
};
use rendezvous_record::Limits;
use rendezvous_wire::{MessageType, Namespace, frame};

use crate::fixtures;

/// Number of the key that the point has; clients have the numbers below.
const POINT: u64 = u64::MAX;

/// How the network treats what is sent.
#[derive(Clone, Debug)]
pub struct Network {
    /// Shortest way from one side to the other.
    pub delay_min: Duration,
    /// Longest way: what is sent later may arrive earlier.
    pub delay_max: Duration,
    /// Share of what is sent that is lost, of 1000. Half of it is lost in silence, and half with a reset of the stream
    /// that the sender sees.
    pub loss_per_mille: u32,
}

impl Default for Network {
    fn default() -> Self {
        Self { delay_min: Duration::from_millis(5), delay_max: Duration::from_millis(150), loss_per_mille: 0 }
    }
}

/// A client and what its shell would hold.
#[derive(Debug)]
struct Participant {
    client: Client,
    reader: AnswerReader,
    peer: PeerId,
    /// Where the client stands in [`World::timers`].
    timer: Option<Time>,
    events: Vec<(Time, Event)>,
    /// A client that has crashed neither sends nor hears.
    is_up: bool,
}

/// Something on its way.
#[derive(Debug)]
enum Delivery {
    Request { from: usize, outbound: Outbound },
    Response { to: usize, id: RequestId, kind: RequestKind, namespace: Option<Namespace>, frame: Bytes },
    Reset { to: usize, id: RequestId },
}

/// A world that is the same for the same seed and the same calls.
///
/// Nothing happens until it is run: [`Self::run_for`] moves time from one thing that happens to the next.
pub struct World {
    now: Time,
    rng: ChaCha8Rng,
    network: Network,
    point: PeerId,
    server: Server,
    participants: Vec<Participant>,
    /// What is on its way, by arrival; the number keeps equal instants in the order of sending.
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    deliveries: std::collections::BTreeMap<u64, Delivery>,
    sent: u64,
    /// When clients want to be called.
    timers: BTreeSet<(Time, usize)>,
}

impl World {
    /// A world with a point and nobody else.
    #[must_use]
    pub fn new(seed: u64, network: Network, config: ServerConfig) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let server = Server::new(fixtures::EPOCH, config, rng.random());
        Self {
            now: fixtures::EPOCH,
            rng,
            network,
            point: fixtures::keypair(POINT).public().to_peer_id(),
            server,
            participants: Vec::new(),
            queue: BinaryHeap::new(),
            deliveries: std::collections::BTreeMap::new(),
            sent: 0,
            timers: BTreeSet::new(),
        }
    }

    /// The present instant.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// The point's peer id.
    #[must_use]
    pub fn point(&self) -> PeerId {
        self.point
    }

    /// The point.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The network, to be changed while the world runs.
    pub fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Adds a client with the key of its index and the addresses of that number; returns its index.
    pub fn add_client(&mut self, config: ClientConfig) -> usize {
        let index = self.participants.len();
        let key = fixtures::keypair(index as u64);
        let peer = key.public().to_peer_id();
        let mut client = Client::new(config, key, self.rng.random());
        client.set_addresses(self.now, fixtures::addresses(index as u64));
        let reader = AnswerReader::new(Limits::default());
        self.participants.push(Participant { client, reader, peer, timer: None, events: Vec::new(), is_up: true });
        index
    }

    /// The peer id of a client.
    #[must_use]
    pub fn peer(&self, index: usize) -> PeerId {
        self.participants[index].peer
    }

    /// A client, to be asked.
    #[must_use]
    pub fn client(&self, index: usize) -> &Client {
        &self.participants[index].client
    }

    /// Gives a client a command, with the present instant and the point.
    pub fn command<R>(&mut self, index: usize, command: impl FnOnce(&mut Client, Time, PeerId) -> R) -> R {
        let result = command(&mut self.participants[index].client, self.now, self.point);
        self.pump(index);
        result
    }

    /// What a client has told since this was last asked, with the instants.
    pub fn take_events(&mut self, index: usize) -> Vec<(Time, Event)> {
        core::mem::take(&mut self.participants[index].events)
    }

    /// Ends a client without a word to anybody.
    pub fn crash(&mut self, index: usize) {
        let participant = &mut self.participants[index];
        participant.is_up = false;
        if let Some(timer) = participant.timer.take() {
            self.timers.remove(&(timer, index));
        }
    }

    /// Runs for so long.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(next) = self.next().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
    }

    /// Runs until nothing is left to happen.
    ///
    /// # Panics
    /// If after `steps_max` things that happened there is still more.
    pub fn run_dry(&mut self, steps_max: usize) {
        for _ in 0..steps_max {
            let Some(next) = self.next() else { return };
            self.now = self.now.max(next);
            self.step();
        }
        panic!("{steps_max} steps have not been enough");
    }

    /// When something happens next.
    fn next(&self) -> Option<Time> {
        let arrival = self.queue.peek().map(|Reverse((time, _))| *time);
        let timer = self.timers.first().map(|(time, _)| *time);
        [arrival, timer, self.server.poll_timeout()].into_iter().flatten().min()
    }

    /// Lets one thing happen.
    fn step(&mut self) {
        if self.server.poll_timeout().is_some_and(|due| due <= self.now) {
            self.server.handle_timeout(self.now);
            return;
        }
        if let Some(&(due, index)) = self.timers.first()
            && due <= self.now
        {
            self.participants[index].client.handle_timeout(self.now);
            self.pump(index);
            return;
        }
        if let Some(&Reverse((due, number))) = self.queue.peek()
            && due <= self.now
        {
            self.queue.pop();
            if let Some(delivery) = self.deliveries.remove(&number) {
                self.deliver(delivery);
            }
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Request { from, outbound } => {
                if let Some(frame) = self.answer(from, &outbound) {
                    let Outbound { id, kind, namespace, .. } = outbound;
                    self.send(from, id, Delivery::Response { to: from, id, kind, namespace, frame: frame.into() });
                }
            }
            Delivery::Response { to, id, kind, namespace, frame } => {
                let now = self.now;
                let participant = &mut self.participants[to];
                if !participant.is_up {
                    return;
                }
                match read_answer(&mut participant.reader, kind, namespace.as_ref(), &frame) {
                    Ok(answer) => participant.client.handle_answer(now, id, answer),
                    Err(failure) => participant.client.handle_failure(now, id, failure),
                }
                self.pump(to);
            }
            Delivery::Reset { to, id } => {
                let now = self.now;
                if self.participants[to].is_up {
                    self.participants[to].client.handle_failure(now, id, Failure::ClosedWithoutAnswer);
                    self.pump(to);
                }
            }
        }
    }

    /// What a connection's task does at the point; `None` where there is no answer.
    fn answer(&mut self, from: usize, outbound: &Outbound) -> Option<Vec<u8>> {
        let peer = self.participants[from].peer;
        let payload = payload_of(&outbound.frame, frame::REQUEST_BYTES_MAX)?;
        let mut frame = Vec::new();
        let refused = match self.server.reader().read(&peer, &payload) {
            Ok(Command::Register(register)) => {
                match self.server.handle_register(self.now, &Requester::new(peer), register) {
                    Ok(Registered::Done(ttl)) => return Some(registered_frame(ttl)),
                    Ok(Registered::Pending(_)) => return None,
                    Err(refusal) => (MessageType::Register, refusal),
                }
            }
            Ok(Command::Unregister(unregister)) => {
                self.server.handle_unregister(self.now, &peer, &unregister);
                return None;
            }
            Ok(Command::Discover(discover)) => {
                let requester = Requester::new(peer);
                match self.server.handle_discover(self.now, &requester, &discover) {
                    Ok(Discovered::Page(page)) => return Some(page.as_bytes().to_vec()),
                    Ok(Discovered::AgentUnknown) => return None,
                    Err(refusal) => (MessageType::Discover, refusal),
                }
            }
            Err(rejected) => {
                self.server.handle_rejected(&peer, &rejected);
                (rejected.kind?, rejected.refusal)
            }
        };
        refused.1.encode_frame(refused.0, &mut frame).then_some(frame)
    }

    /// What a client's shell does after every command and every input.
    fn pump(&mut self, index: usize) {
        loop {
            let now = self.now;
            let participant = &mut self.participants[index];
            while let Some(event) = participant.client.poll_event() {
                participant.events.push((now, event));
            }
            let Some(outbound) = participant.client.poll_request(now) else { break };
            let id = outbound.id;
            if !outbound.expects_answer {
                // It is written; whether it arrives nobody will say.
                participant.client.handle_answer(now, id, Answer::Sent);
            }
            self.send(index, id, Delivery::Request { from: index, outbound });
        }
        let participant = &mut self.participants[index];
        let timer = participant.client.poll_timeout().filter(|_| participant.is_up);
        if timer != participant.timer {
            if let Some(old) = participant.timer {
                self.timers.remove(&(old, index));
            }
            if let Some(new) = timer {
                self.timers.insert((new, index));
            }
            participant.timer = timer;
        }
    }

    /// Sends, unless it is lost; `asker` and `id` are who hears of a reset.
    fn send(&mut self, asker: usize, id: RequestId, delivery: Delivery) {
        let fate = self.rng.random_range(0..2_000);
        if fate < self.network.loss_per_mille {
            return;
        }
        let delivery =
            if fate < 2 * self.network.loss_per_mille { Delivery::Reset { to: asker, id } } else { delivery };
        let span = self.network.delay_max.saturating_sub(self.network.delay_min).as_millis() as u64;
        let delay = self.network.delay_min + Duration::from_millis(self.rng.random_range(0..=span));
        self.sent += 1;
        self.queue.push(Reverse((self.now + delay, self.sent)));
        self.deliveries.insert(self.sent, delivery);
    }
}

fn payload_of(frame: &Bytes, payload_bytes_max: usize) -> Option<Bytes> {
    let (payload, _) = frame::split(frame, payload_bytes_max).ok()??;
    Some(frame.slice_ref(payload))
}

fn read_answer(
    reader: &mut AnswerReader,
    kind: RequestKind,
    namespace: Option<&Namespace>,
    frame: &Bytes,
) -> Result<Answer, Failure> {
    let payload = payload_of(frame, frame::RESPONSE_BYTES_MAX).ok_or(Failure::ClosedWithoutAnswer)?;
    reader.read(kind, namespace, payload).map_err(Failure::Malformed)
}
