//! Connections, and what is on its way over them.

use core::{fmt, time::Duration};

use bytes::Bytes;
use libp2p_identity::PeerId;
use rand::Rng;
use rendezvous_core::{
    Time,
    client::{Failure, RequestId, RequestKind},
    server::IpPrefix,
};
use rendezvous_wire::Namespace;

use super::{Happening, Simulation, model::Key, violation::Breach};

/// From an asker to a point over one connection. Askers are the peers with clients, and behind them those without.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) asker: usize,
    pub(super) point: usize,
    pub(super) link: u64,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} ({})", self.asker, self.point, self.link)
    }
}

/// A connection, or the attempt at one.
#[derive(Debug)]
pub(super) struct Link {
    serial: u64,
    is_up: bool,
    /// When identify is through.
    pub(super) identified_at: Time,
    waiting: Vec<Sending>,
    /// Number of the last message that has arrived.
    arrived: u64,
}

/// A request on its way.
#[derive(Clone, Debug)]
pub(super) struct Sending {
    /// `None` where nobody waits for its answer.
    pub(super) id: Option<RequestId>,
    pub(super) kind: RequestKind,
    pub(super) namespace: Option<Namespace>,
    pub(super) frame: Bytes,
    /// Whether the point has waited for identify because of it.
    pub(super) has_waited: bool,
    pub(super) number: u64,
    /// Of the asker's process: what belongs to an earlier one is nobody's.
    pub(super) life: u64,
}

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Answering {
    pub(super) id: RequestId,
    pub(super) kind: RequestKind,
    pub(super) namespace: Option<Namespace>,
    pub(super) frame: Bytes,
    pub(super) life: u64,
    /// What the model knows of the page in it.
    pub(super) page: Option<Listed>,
}

/// A page as the point gave it out.
#[derive(Clone, Debug, Default)]
pub(super) struct Listed {
    /// Whether it was asked for without a cookie.
    pub(super) is_first: bool,
    /// The registrations, with their place in the order.
    pub(super) listed: Vec<(Key, u64)>,
    /// Of an empty page: what its reader must have seen by then.
    pub(super) seen_by_now: Vec<(Key, u64)>,
    /// Times that the point had begun.
    pub(super) life: u64,
}

impl Link {
    pub(super) const fn is_up(&self) -> bool {
        self.is_up
    }
}

impl Simulation {
    /// Who an asker is, and where it comes from.
    pub(super) fn asker(&self, asker: usize) -> (PeerId, IpPrefix) {
        match self.peers.get(asker) {
            Some(peer) => (peer.id, peer.prefix),
            None => {
                let raw = &self.raws[asker - self.peers.len()];
                (raw.id, raw.prefix)
            }
        }
    }

    /// Which of its processes an asker is.
    fn life(&self, asker: usize) -> u64 {
        self.peers.get(asker).map_or(0, |peer| peer.life)
    }

    /// Sends a request, over the connection there is or a new one.
    pub(super) fn send(&mut self, asker: usize, point: usize, mut sending: Sending) {
        sending.life = self.life(asker);
        if let Some(link) = self.links.get_mut(&(asker, point)) {
            let way = Way { asker, point, link: link.serial };
            if link.is_up {
                self.transit(way, sending);
            } else {
                link.waiting.push(sending);
            }
            return;
        }
        self.serial += 1;
        let (serial, delay) = (self.serial, self.delay());
        let link =
            Link { serial, is_up: false, identified_at: self.now + delay * 3, waiting: vec![sending], arrived: 0 };
        self.links.insert((asker, point), link);
        self.schedule(delay * 2, Happening::Dialled { way: Way { asker, point, link: serial } });
    }

    pub(super) fn link(&mut self, way: Way) -> Option<&mut Link> {
        self.links.get_mut(&(way.asker, way.point)).filter(|link| link.serial == way.link)
    }

    pub(super) fn dialled(&mut self, way: Way) -> Result<(), Breach> {
        let is_there = self.points.get(way.point).is_none_or(|point| point.up.is_some());
        let is_refused = !self.is_quiet && self.has_luck(self.plan.dials_failing_per_mille);
        let Some(link) = self.link(way) else { return Ok(()) };
        let waiting = core::mem::take(&mut link.waiting);
        if !is_there || is_refused {
            self.links.remove(&(way.asker, way.point));
            self.tally.dials_failed += 1;
            self.note(format_args!("{way:?} does not connect"));
            let life = self.life(way.asker);
            for id in waiting.iter().filter(|sending| sending.life == life).filter_map(|sending| sending.id) {
                self.fail(way.asker, id, Failure::Unreachable)?;
            }
            return Ok(());
        }
        link.is_up = true;
        self.note(format_args!("{way:?} connected"));
        for sending in waiting {
            let is_of_now = sending.life == self.life(way.asker);
            if let (Some(id), RequestKind::Unregister, true) = (sending.id, sending.kind, is_of_now) {
                self.written_off(way.asker, id)?;
            }
            self.transit(way, sending);
        }
        self.connected(way)
    }

    /// Sends over a connection that is there.
    fn transit(&mut self, way: Way, mut sending: Sending) {
        self.serial += 1;
        sending.number = self.serial;
        let delay = self.delay();
        match self.fate() {
            Fate::Arrives => self.schedule(delay, Happening::Request { way, sending }),
            Fate::Lost => self.note(format_args!("{way:?} loses a request")),
            Fate::Reset => self.schedule(delay, Happening::Reset { way, sending }),
        }
    }

    /// Sends an answer back; where its reader is slow, the point gives up.
    pub(super) fn answer(&mut self, way: Way, sending: &Sending, frame: Vec<u8>, page: Option<Listed>) {
        let Some(id) = sending.id else { return };
        let mut delay = self.delay();
        if !self.is_quiet && self.has_luck(20) {
            delay = self.up_to(self.plan.write_timeout * 2);
        }
        if delay > self.plan.write_timeout {
            self.tally.slow_readers += 1;
            let sending = sending.clone();
            return self.schedule(self.plan.write_timeout, Happening::Reset { way, sending });
        }
        let (kind, namespace) = (sending.kind, sending.namespace.clone());
        let answering = Answering { id, kind, namespace, frame: frame.into(), life: sending.life, page };
        match self.fate() {
            Fate::Arrives => self.schedule(delay, Happening::Answer { way, answering }),
            Fate::Lost => self.note(format_args!("{way:?} loses an answer")),
            Fate::Reset => self.schedule(delay, Happening::Reset { way, sending: sending.clone() }),
        }
    }

    /// The point closes a stream in place of an answer.
    pub(super) fn close(&mut self, way: Way, sending: &Sending) {
        let delay = self.delay();
        self.schedule(delay, Happening::Reset { way, sending: sending.clone() });
    }

    pub(super) fn note_arrival(&mut self, way: Way, number: u64) -> bool {
        let Some(link) = self.link(way) else { return false };
        let is_overtaken = number < link.arrived;
        link.arrived = link.arrived.max(number);
        self.tally.overtaken += u64::from(is_overtaken);
        true
    }

    /// Cuts each connection with the chance of one in two.
    pub(super) fn cut_some(&mut self) -> Result<(), Breach> {
        let ends: Vec<(usize, usize)> = self.links.keys().copied().collect();
        for (asker, point) in ends {
            if self.rng.random() {
                self.cut(asker, point)?;
            }
        }
        Ok(())
    }

    /// Cuts a connection; mostly the asker notices.
    pub(super) fn cut(&mut self, asker: usize, point: usize) -> Result<(), Breach> {
        let Some(link) = self.links.remove(&(asker, point)) else { return Ok(()) };
        self.tally.cuts += u64::from(link.is_up);
        let notices = self.rng.random_range(0..4) > 0;
        self.note(format_args!("{asker} to {point} is cut, noticed: {notices}"));
        let life = self.life(asker);
        let unsent = link.waiting.iter().filter(|sending| sending.life == life);
        let unsent: Vec<RequestId> = unsent.filter_map(|sending| sending.id).collect();
        let Some(peer) = self.peers.get(asker) else { return Ok(()) };
        if !notices && link.is_up {
            return Ok(());
        }
        let open = peer.open.iter().filter(|(id, open)| open.point == point && !unsent.contains(id));
        let sent: Vec<RequestId> = open.map(|(id, _)| *id).collect();
        for id in sent {
            self.fail(asker, id, Failure::ClosedWithoutAnswer)?;
        }
        for id in unsent {
            self.fail(asker, id, Failure::Unreachable)?;
        }
        self.disconnected(asker, point)
    }

    fn delay(&mut self) -> Duration {
        let most = if self.is_quiet { 40.min(self.plan.delay_millis_max) } else { self.plan.delay_millis_max };
        let delay = Duration::from_millis(self.rng.random_range(1..=most));
        let has_tail = !self.is_quiet && self.has_luck(self.plan.tail_per_mille);
        if has_tail { delay * 20 } else { delay }
    }

    fn fate(&mut self) -> Fate {
        let loss = match (self.is_quiet, self.plan.flaw) {
            (true, Some(super::Flaw::NeverQuiet)) => 900,
            (true, _) => 0,
            (false, _) => self.plan.loss_per_mille,
        };
        if !self.has_luck(loss) {
            return Fate::Arrives;
        }
        if self.rng.random() {
            self.tally.lost += 1;
            Fate::Lost
        } else {
            self.tally.resets += 1;
            Fate::Reset
        }
    }
}

enum Fate {
    Arrives,
    Lost,
    Reset,
}
