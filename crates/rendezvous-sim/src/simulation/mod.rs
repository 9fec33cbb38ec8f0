//! A whole world from one seed: points with stores that fail, clients, peers that lie, a network that cuts, crashes and
//! clocks that are set, in virtual time; and a model that checks what peers see after everything that happens.

mod audit;
mod disk;
mod journal;
mod liar;
mod map;
mod model;
mod network;
mod peer;
mod plan;
mod point;
mod quiet;
mod raw;
mod request;
mod tally;
mod violation;

use core::{cmp::Reverse, fmt, time::Duration};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

use bytes::Bytes;
use libp2p_identity::PeerId;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rendezvous_core::Time;
use rendezvous_record::{Flavour, Limits, VerifiedRecord};

use self::{
    network::{Answering, Link, Sending, Way},
    peer::Peer,
    plan::Plan,
    point::Point,
    raw::Raw,
    violation::Breach,
};
pub use self::{
    tally::Tally,
    violation::{Invariant, Violation},
};
use crate::fixtures::EPOCH;

/// Most things that happen in a run, and at one instant of it: more is a loop.
const STEPS_MAX: u64 = 2_000_000;
const STEPS_AT_ONCE_MAX: u64 = 20_000;

/// A component that is broken on purpose, so that it can be seen that the checks notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// Stores acknowledge what they have not synced.
    StoreAcknowledgesEarly,
    /// Points leave a registration out of a page.
    PageDropsRegistration,
    /// Points list a registration after its end.
    PageServesEnded,
    /// Cookies stand behind registrations that were not listed.
    CookieSkips,
    /// Cookies stand before registrations that were listed.
    CookieRepeats,
    /// Points take a record for its sender's, whoever that is.
    RegistersForAnother,
    /// Points do not know of their quotas.
    QuotasIgnored,
    /// Stores keep what has ended.
    StoreForgetsNothing,
    /// Clients are not called when their time has come.
    ClientNeverCalled,
    /// The network goes on losing when it should not.
    NeverQuiet,
}

/// How to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// What is broken on purpose.
    pub flaw: Option<Flaw>,
    /// Where a line for each thing that happens goes.
    pub trace: Trace,
}

/// Where lines go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trace {
    /// Nowhere.
    #[default]
    Off,
    /// To the standard output.
    Print,
    /// To [`Outcome::trace`].
    Keep,
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What occurred.
    pub tally: Tally,
    /// What did not hold, if so.
    pub violation: Option<Violation>,
    /// If it was kept.
    pub trace: Vec<String>,
}

/// Runs the world of a seed to its end, or to the first violation.
#[must_use]
pub fn simulate(seed: u64, options: Options) -> Outcome {
    let mut simulation = Simulation::new(seed, options);
    let breach = simulation.run().err();
    let after = simulation.now.saturating_since(EPOCH);
    let violation = breach.map(|(invariant, what)| Violation { seed, invariant, after, what: simulation.named(&what) });
    Outcome { tally: simulation.tally, violation, trace: simulation.lines }
}

/// Something that is to happen.
#[derive(Debug)]
enum Happening {
    /// A peer's application does something.
    Act {
        peer: usize,
        life: u64,
    },
    /// A peer that sends what it likes does so.
    Mischief {
        raw: usize,
    },
    /// A connection is there, or not.
    Dialled {
        way: Way,
    },
    Request {
        way: Way,
        sending: Sending,
    },
    Answer {
        way: Way,
        answering: Answering,
    },
    /// A stream is reset.
    Reset {
        way: Way,
        sending: Sending,
    },
    /// A commit has been written.
    Written {
        point: usize,
        life: u64,
    },
    /// A point learns what became of a batch.
    Told {
        point: usize,
        life: u64,
        batch: rendezvous_core::server::BatchId,
        is_ok: bool,
    },
    /// A point begins.
    Start {
        point: usize,
    },
    /// The process of a point ends.
    End {
        point: usize,
    },
    /// A disk is full for a while.
    Full {
        point: usize,
    },
    /// Some connections are cut.
    Cut,
    /// A client's process ends and begins.
    Restart {
        peer: usize,
    },
    /// Faults end.
    Quiet,
    /// Everybody must be registered, and looks for everybody.
    Find,
    /// The end.
    Finish,
}

impl Happening {
    /// Whether it must not happen once faults have ended.
    const fn is_fault(&self) -> bool {
        matches!(self, Self::Mischief { .. } | Self::End { .. } | Self::Full { .. } | Self::Cut | Self::Restart { .. })
    }
}

struct Simulation {
    now: Time,
    rng: ChaCha8Rng,
    plan: Plan,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    happenings: HashMap<u64, Happening>,
    serial: u64,
    points: Vec<Point>,
    peers: Vec<Peer>,
    raws: Vec<Raw>,
    links: BTreeMap<(usize, usize), Link>,
    envelopes: Envelopes,
    /// Records of peers that are nowhere.
    ghosts: BTreeMap<u64, VerifiedRecord>,
    is_quiet: bool,
    is_finding: bool,
    finding_since: Time,
    /// What each point listed when the last phase began.
    at_first: Vec<BTreeSet<model::Key>>,
    is_over: bool,
    tally: Tally,
    trace: Trace,
    lines: Vec<String>,
}

impl Simulation {
    fn new(seed: u64, options: Options) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let plan = Plan::draw(&mut rng, options.flaw);
        let points = plan.disks.iter().enumerate();
        let points = points.map(|(index, kind)| Point::new(index, *kind, &plan, &mut rng)).collect();
        let peers = (0..plan.peers).map(|index| Peer::new(index as u64, EPOCH, &plan, &mut rng)).collect();
        let raws = (0..plan.raws).map(|index| Raw::new(index as u64)).collect();
        Self {
            now: EPOCH,
            rng,
            queue: BinaryHeap::new(),
            happenings: HashMap::new(),
            serial: 0,
            points,
            peers,
            raws,
            links: BTreeMap::new(),
            envelopes: Envelopes::default(),
            ghosts: BTreeMap::new(),
            is_quiet: false,
            is_finding: false,
            finding_since: EPOCH,
            at_first: Vec::new(),
            is_over: false,
            tally: Tally::default(),
            trace: options.trace,
            lines: Vec::new(),
            plan,
        }
    }

    fn run(&mut self) -> Result<(), Breach> {
        self.begin();
        let (mut steps, mut at_once) = (0_u64, 0_u64);
        while !self.is_over {
            let Some(next) = self.next() else { break };
            at_once = if next > self.now { 0 } else { at_once + 1 };
            steps += 1;
            self.tally.steps = steps;
            if at_once > STEPS_AT_ONCE_MAX || steps > STEPS_MAX {
                return Err((Invariant::Answers, format!("{steps} steps, {at_once} of them at this instant")));
            }
            self.now = self.now.max(next);
            self.step()?;
            self.check_peers()?;
        }
        Ok(())
    }

    fn begin(&mut self) {
        let plan = format!("{:?}", self.plan);
        self.note(format_args!("{plan}"));
        for point in 0..self.points.len() {
            self.schedule(Duration::ZERO, Happening::Start { point });
        }
        for peer in 0..self.peers.len() {
            let wait = self.up_to(self.plan.acts_every);
            self.schedule(wait, Happening::Act { peer, life: 0 });
            self.repeat(self.plan.peer_restart_every, Happening::Restart { peer });
        }
        for raw in 0..self.raws.len() {
            self.repeat(Some(self.plan.acts_every), Happening::Mischief { raw });
        }
        for point in 0..self.points.len() {
            self.repeat(self.plan.crash_every, Happening::End { point });
            self.repeat(self.plan.full_every, Happening::Full { point });
        }
        self.repeat(self.plan.cut_every, Happening::Cut);
        self.schedule(self.plan.chaos, Happening::Quiet);
    }

    /// When something happens next.
    fn next(&self) -> Option<Time> {
        let queued = self.queue.peek().map(|Reverse((time, _))| *time);
        let points = self.points.iter().filter_map(|point| point.due(&self.plan));
        let peers = self.peers.iter().filter_map(|peer| peer.due(&self.plan));
        points.chain(peers).chain(queued).min()
    }

    /// Lets one thing happen.
    fn step(&mut self) -> Result<(), Breach> {
        if let Some(point) =
            self.points.iter().position(|point| point.due(&self.plan).is_some_and(|due| due <= self.now))
        {
            return self.point_due(point);
        }
        if let Some(peer) = self.peers.iter().position(|peer| peer.due(&self.plan).is_some_and(|due| due <= self.now)) {
            return self.peer_due(peer);
        }
        let Some(Reverse((_, serial))) = self.queue.pop() else { return Ok(()) };
        let Some(happening) = self.happenings.remove(&serial) else { return Ok(()) };
        if self.is_quiet && happening.is_fault() {
            return Ok(());
        }
        match happening {
            Happening::Act { peer, life } => self.act(peer, life),
            Happening::Mischief { raw } => {
                self.mischief(raw);
                self.repeat(Some(self.plan.acts_every), Happening::Mischief { raw });
                Ok(())
            }
            Happening::Dialled { way } => self.dialled(way),
            Happening::Request { way, sending } => self.request_arrived(way, sending),
            Happening::Answer { way, answering } => self.answer_arrived(way, answering),
            Happening::Reset { way, sending } => self.stream_reset(way, &sending),
            Happening::Written { point, life } => self.written(point, life),
            Happening::Told { point, life, batch, is_ok } => self.told(point, life, batch, is_ok),
            Happening::Start { point } => self.start(point),
            Happening::End { point } => {
                self.end(point)?;
                self.repeat(self.plan.crash_every, Happening::End { point });
                Ok(())
            }
            Happening::Full { point } => {
                let while_full = self.up_to(Duration::from_secs(10));
                self.points[point].is_full_until = self.now + while_full;
                self.repeat(self.plan.full_every, Happening::Full { point });
                Ok(())
            }
            Happening::Cut => {
                self.repeat(self.plan.cut_every, Happening::Cut);
                self.cut_some()
            }
            Happening::Restart { peer } => {
                self.repeat(self.plan.peer_restart_every, Happening::Restart { peer });
                self.restart_peer(peer)
            }
            Happening::Quiet => self.quiet(),
            Happening::Find => self.find(),
            Happening::Finish => self.finish(),
        }
    }

    fn schedule(&mut self, after: Duration, happening: Happening) {
        self.serial += 1;
        self.queue.push(Reverse((self.now + after, self.serial)));
        self.happenings.insert(self.serial, happening);
    }

    /// Schedules a fault, after its mean time more or less, for as long as there are faults.
    fn repeat(&mut self, mean: Option<Duration>, happening: Happening) {
        if let Some(mean) = mean
            && !self.is_quiet
        {
            let wait = self.up_to(mean * 2);
            self.schedule(wait, happening);
        }
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_millis(self.rng.random_range(0..=most.as_millis() as u64))
    }

    fn has_luck(&mut self, per_mille: u32) -> bool {
        self.rng.random_range(0..1_000) < per_mille
    }

    /// A text with names in place of peer ids.
    fn named(&self, text: &str) -> String {
        let peers = self.peers.iter().enumerate().map(|(index, peer)| (peer.id, format!("peer {index}")));
        let raws = self.raws.iter().enumerate().map(|(index, raw)| (raw.id, format!("raw {index}")));
        let points = (0..=self.points.len()).map(|index| (self.point_id(index), format!("point {index}")));
        peers.chain(raws).chain(points).fold(text.to_owned(), |text, (id, name)| {
            text.replace(&format!("PeerId(\"{id}\")"), &name).replace(&id.to_string(), &name)
        })
    }

    /// Adds a line to the trace.
    fn note(&mut self, text: fmt::Arguments<'_>) {
        if self.trace == Trace::Off {
            return;
        }
        let text = self.named(&text.to_string());
        let line = format!("{:>12.3}  {text}", self.now.saturating_since(EPOCH).as_secs_f64());
        match self.trace {
            Trace::Off => {}
            Trace::Print => println!("{line}"),
            Trace::Keep => self.lines.push(line),
        }
    }
}

/// Whose envelopes are, each verified once.
#[derive(Debug, Default)]
struct Envelopes(HashMap<Bytes, Option<(PeerId, Flavour)>>);

impl Envelopes {
    fn of(&mut self, envelope: &[u8]) -> Option<(PeerId, Flavour)> {
        if let Some(known) = self.0.get(envelope) {
            return *known;
        }
        let envelope = Bytes::copy_from_slice(envelope);
        let record = VerifiedRecord::verify(envelope.clone(), &Limits::default()).ok();
        let owner = record.map(|record| (record.peer_id(), record.flavour()));
        self.0.insert(envelope, owner);
        owner
    }
}

/// A clock that is ahead or behind.
fn shifted(time: Time, millis: i64) -> Time {
    Time::from_unix_millis(time.as_unix_millis().saturating_add_signed(millis))
}
