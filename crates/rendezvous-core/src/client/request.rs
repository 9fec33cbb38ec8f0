//! Requests handed out, and what came of them.

use bytes::Bytes;
use libp2p_identity::PeerId;
use rendezvous_record::Flavour;
use rendezvous_wire::{Cookie, Dialect, Discover, MessageType, Namespace, Register, Request, Ttl, Unregister, waku};

use super::{
    Client, EVENTS_BACKLOG_MAX, LATE_MAX, Timer,
    answer::{Answer, sanitized},
    failure::{Failure, MalformedAnswer},
    outbound::{Outbound, QueryId, RequestId, RequestKind},
    point::Work,
    query::Page,
    schedule,
    standing::{Caller, StandingId, Step},
};
use crate::{RecordKind, Time};

/// A request whose end is awaited.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) point: PeerId,
    pub(super) purpose: Purpose,
}

#[derive(Debug)]
pub(super) enum Purpose {
    Register(Registering),
    Unregister(StandingId),
    Discover {
        query: QueryId,
        /// The cookie that was sent.
        cookie: Option<Cookie>,
    },
}

/// What a REGISTER in flight is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registering {
    pub(super) standing: StandingId,
    pub(super) lane: usize,
    pub(super) kind: RecordKind,
    pub(super) requested: Ttl,
    pub(super) sent_at: Time,
}

impl Purpose {
    const fn kind(&self) -> RequestKind {
        match self {
            Self::Register(_) => RequestKind::Register,
            Self::Unregister(_) => RequestKind::Unregister,
            Self::Discover { .. } => RequestKind::Discover,
        }
    }
}

impl Client {
    /// The next request to send. Its deadline starts with this call.
    ///
    /// Points take turns, and each has at most [`ClientConfig::requests_per_point_max`](super::ClientConfig) in flight.
    pub fn poll_request(&mut self, now: Time) -> Option<Outbound> {
        self.advance(now);
        if self.events.len() >= EVENTS_BACKLOG_MAX {
            return None;
        }
        while let Some((_, work)) = self.points.next_work() {
            let outbound = match work {
                Work::Standing(id) => self.send_for_standing(id),
                Work::Query(id) => self.send_for_query(id),
            };
            if outbound.is_some() {
                self.requests_sent += 1;
                return outbound;
            }
        }
        None
    }

    /// A point answered a request. An answer to a request that has ended is ignored, with one exception: a REGISTER
    /// that succeeded after its deadline, and that nobody wants any more, is removed at the point.
    pub fn handle_answer(&mut self, now: Time, id: RequestId, answer: Answer) {
        self.advance(now);
        let Some(in_flight) = self.take_in_flight(id) else {
            self.answers_ignored += 1;
            if let (Some((point, namespace)), Answer::Registered { ttl }) = (self.late.remove(&id), answer) {
                self.registered_late(point, namespace, ttl);
            }
            return;
        };
        let point = in_flight.point;
        if !matches!(answer, Answer::Sent) {
            self.points.succeeded(point);
        }
        match (in_flight.purpose, answer) {
            (Purpose::Register(about), Answer::Registered { ttl }) => self.register_ended(point, about, Ok(ttl)),
            // Whatever comes where nothing is expected, the request was written.
            (Purpose::Unregister(standing), _) => self.unregister_ended(standing, Ok(())),
            (
                Purpose::Discover { query, cookie: sent },
                Answer::Page { registrations, unverified, cookie, skipped, cost },
            ) => {
                self.page_arrived(query, sent, Page { registrations, unverified, cookie, skipped, cost });
            }
            (purpose, Answer::Refused { status, text }) if !status.is_ok() => {
                let failure = Failure::Refused { status, text: sanitized(&text) };
                self.ended_with(point, id, purpose, failure);
            }
            (purpose, answer) => {
                let answered = match answer {
                    Answer::Registered { .. } | Answer::Sent | Answer::Refused { .. } => MessageType::RegisterResponse,
                    Answer::Page { .. } => MessageType::DiscoverResponse,
                };
                let failure = Failure::Malformed(MalformedAnswer::WrongKind { request: purpose.kind(), answered });
                self.ended_with(point, id, purpose, failure);
            }
        }
    }

    /// A request failed. One that has ended is ignored.
    pub fn handle_failure(&mut self, now: Time, id: RequestId, failure: Failure) {
        self.advance(now);
        match self.take_in_flight(id) {
            Some(in_flight) => self.ended_with(in_flight.point, id, in_flight.purpose, failure),
            None => {
                self.answers_ignored += 1;
                self.late.remove(&id);
            }
        }
    }

    /// The deadline of a request has come.
    pub(super) fn expire_request(&mut self, id: RequestId) {
        if let Some(in_flight) = self.take_in_flight(id) {
            self.ended_with(in_flight.point, id, in_flight.purpose, Failure::TimedOut);
        }
    }

    fn ended_with(&mut self, point: PeerId, id: RequestId, purpose: Purpose, failure: Failure) {
        match purpose {
            Purpose::Register(about) => {
                if failure == Failure::TimedOut {
                    self.remember_late(id, about.standing);
                }
                self.register_ended(point, about, Err(failure));
            }
            Purpose::Unregister(standing) => {
                // No answer is what an UNREGISTER gets.
                let is_written = matches!(failure, Failure::ClosedWithoutAnswer | Failure::Malformed(_));
                self.unregister_ended(standing, if is_written { Ok(()) } else { Err(failure) });
            }
            Purpose::Discover { query, cookie } => self.query_failed(query, cookie, failure),
        }
    }

    fn remember_late(&mut self, id: RequestId, standing: StandingId) {
        if let Some(standing) = self.standings.get(&standing) {
            self.late.insert(id, (standing.point, standing.namespace.clone()));
            while self.late.len() > LATE_MAX {
                self.late.pop_first();
            }
        }
    }

    fn take_in_flight(&mut self, id: RequestId) -> Option<InFlight> {
        let in_flight = self.in_flight.remove(&id)?;
        self.timers.set(Timer::Request(id), None);
        self.points.finished(in_flight.point);
        Some(in_flight)
    }

    fn send_for_standing(&mut self, id: StandingId) -> Option<Outbound> {
        let now = self.now;
        let can_register = self.own.is_ready();
        let standing = self.standings.get_mut(&id)?;
        standing.is_queued = false;
        match standing.step(now, can_register) {
            Step::Unregister => self.send_unregister(id),
            Step::Register { lane } => self.send_register(id, lane),
            Step::Wait(_) | Step::Done => {
                self.settle(id);
                None
            }
        }
    }

    fn send_register(&mut self, id: StandingId, lane_index: usize) -> Option<Outbound> {
        let now = self.now;
        let standing = self.standings.get_mut(&id)?;
        let point = standing.point;
        let wanted = standing.requested();
        let lane = &mut standing.lanes[lane_index];
        if !lane.is_commanded
            && lane.remaining(now).is_none()
            && let Some(until) = self.points.backoff_until(&point, now)
        {
            lane.due = Some(until);
            self.settle(id);
            return None;
        }
        let memory = self.points.memory(&point);
        let dialect = self.dialects.get(&point).copied().unwrap_or_default();
        let preferred = match dialect {
            Dialect::Rendezvous => match memory {
                Some(memory) if memory.is_unsigned && self.config.legacy_peer_info => RecordKind::Unsigned,
                memory => memory.and_then(|memory| memory.flavour).unwrap_or(self.config.flavour).into(),
            },
            Dialect::Waku => Flavour::Standard.into(),
        };
        let requested = match (&lane.ttl_try, memory) {
            (Some(ttl_try), _) => ttl_try.asked,
            (None, Some(memory)) if self.config.adapts_ttl => memory.fitting(wanted),
            (None, _) => wanted,
        };
        let requested = match dialect {
            Dialect::Rendezvous => requested,
            Dialect::Waku => wanted.min(dialect.ttl_max()),
        };
        let flavour = preferred.flavour().unwrap_or(self.config.flavour);
        let kind = match &lane.probe {
            _ if lane_index == 1 => flavour.other().into(),
            Some(probe) => probe.kind,
            None if self.points.is_dual(&point) => flavour.into(),
            None => preferred,
        };
        let record = self.own.bytes(kind)?;
        (lane.due, lane.is_commanded) = (None, false);
        lane.last_try = Some(now);
        let timeout = schedule::timeout(&self.config, lane.remaining(now));
        standing.is_in_flight = true;
        let namespace = standing.namespace.clone();
        let register = Register {
            namespace: Some(namespace.as_str().as_bytes()),
            signed_peer_record: Some(&record),
            ttl_secs: Some(requested.as_secs()),
        };
        let frame = match dialect {
            Dialect::Rendezvous => frame(&Request::Register(register)),
            Dialect::Waku => waku_frame(&waku::Request::Register(register)),
        };
        let about = Registering { standing: id, lane: lane_index, kind, requested, sent_at: now };
        self.settle(id);
        let request = RequestId(self.next_id());
        Some(self.hand_out(request, point, Purpose::Register(about), Some(namespace), frame, now + timeout))
    }

    fn send_unregister(&mut self, id: StandingId) -> Option<Outbound> {
        let standing = self.standings.get_mut(&id)?;
        let removal = standing.removal.as_mut()?;
        standing.is_in_flight = true;
        removal.again = false;
        // The id that `unregister_at` gave, unless a try before has used it up.
        let given = removal.told.iter().find_map(|caller| match caller {
            Caller::Request(request) if removal.tries == 0 => Some(*request),
            _ => None,
        });
        removal.tries += 1;
        let (point, namespace) = (standing.point, standing.namespace.clone());
        let frame = frame(&Request::Unregister(Unregister {
            namespace: Some(namespace.as_str().as_bytes()),
            // Deprecated, and yet py and js ignore an UNREGISTER without it.
            id: Some(&self.own.peer_id().to_bytes()),
        }));
        self.settle(id);
        let request = match given {
            Some(given) => given,
            None => RequestId(self.next_id()),
        };
        let deadline = self.now + schedule::timeout(&self.config, None);
        Some(self.hand_out(request, point, Purpose::Unregister(id), Some(namespace), frame, deadline))
    }

    fn send_for_query(&mut self, id: QueryId) -> Option<Outbound> {
        let query = self.queries.get(&id)?;
        let (point, namespace, limit) = (query.point, query.namespace.clone(), query.limit);
        let dialect = self.dialect_of(&point);
        let is_fresh = query.is_fresh || dialect == Dialect::Waku;
        let cookie =
            if is_fresh { None } else { self.cookies.get(&query.listing()).and_then(|place| place.cookie.clone()) };
        let name = namespace.as_ref().map(|namespace| namespace.as_str().as_bytes());
        let count = Some(limit.count() as u64);
        let frame = match dialect {
            Dialect::Rendezvous => frame(&Request::Discover(Discover {
                namespace: name,
                limit: count,
                cookie: cookie.as_ref().map(Cookie::as_bytes),
                reads: Some(u64::from(self.config.reads.bits())),
            })),
            Dialect::Waku => waku_frame(&waku::Request::Discover(waku::Discover { namespace: name, limit: count })),
        };
        let request = RequestId(self.next_id());
        let deadline = self.now + schedule::timeout(&self.config, None);
        Some(self.hand_out(request, point, Purpose::Discover { query: id, cookie }, namespace, frame, deadline))
    }

    fn hand_out(
        &mut self,
        id: RequestId,
        point: PeerId,
        purpose: Purpose,
        namespace: Option<Namespace>,
        frame: Bytes,
        deadline: Time,
    ) -> Outbound {
        let kind = purpose.kind();
        let deadline = self.drain_by.map_or(deadline, |by| by.min(deadline));
        self.points.started(point);
        self.timers.set(Timer::Request(id), Some(deadline));
        self.in_flight.insert(id, InFlight { point, purpose });
        let expects_answer = kind != RequestKind::Unregister;
        let dialect = self.dialect_of(&point);
        Outbound { id, point, dialect, kind, namespace, frame, expects_answer, deadline }
    }
}

fn frame(request: &Request<'_>) -> Bytes {
    let mut frame = Vec::new();
    request.encode_frame(&mut frame);
    frame.into()
}

fn waku_frame(request: &waku::Request<'_>) -> Bytes {
    let mut frame = Vec::new();
    request.encode_frame(&mut frame);
    frame.into()
}
