//! A peer with a client, its shell and its application.

use core::time::Duration;
use std::collections::BTreeMap;

use libp2p_identity::PeerId;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rendezvous_core::{
    Time,
    client::{
        Answer, AnswerReader, COOKIES_MAX, Client, Event, Failure, From, QueryId, RegistrationId, RequestId,
        RequestKind,
    },
    server::IpPrefix,
};
use rendezvous_record::{Flavour, Limits};
use rendezvous_wire::{Limit, Namespace, Ttl, frame};

use super::{
    Flaw, Happening, Simulation,
    model::Key,
    network::{Answering, Listed, Sending, Way},
    plan::{CLIENT_TTL_SECS_MIN, NAMESPACES, Plan},
    shifted,
    violation::{Breach, Invariant},
};
use crate::fixtures;

/// Namespaces that a peer is registered in at the most.
const WANTED_MAX: usize = 3;

/// A peer with a client.
#[derive(Debug)]
pub(super) struct Peer {
    number: u64,
    pub(super) id: PeerId,
    pub(super) prefix: IpPrefix,
    pub(super) client: Client,
    reader: AnswerReader,
    /// Whether there is a process.
    pub(super) is_up: bool,
    pub(super) life: u64,
    skew_millis: i64,
    pub(super) wanted: Vec<Wanted>,
    /// By point and namespace; `None` for all.
    walks: BTreeMap<(usize, Option<Namespace>), Walk>,
    queries: BTreeMap<QueryId, Query>,
    /// Requests handed out that have not ended.
    pub(super) open: BTreeMap<RequestId, Open>,
    /// What the model knows of the page that has arrived.
    page: Option<Listed>,
    /// Lookups of the last phase that have come to their end, with what they found.
    pub(super) found: BTreeMap<(usize, Option<Namespace>), Vec<Key>>,
}

/// A registration that the application wants.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) id: RegistrationId,
    pub(super) namespace: Namespace,
    /// The points, and whether the last that was heard of each is a refusal.
    pub(super) points: BTreeMap<usize, bool>,
}

/// Pages of a listing, one after another.
#[derive(Debug, Default)]
struct Walk {
    /// What was listed, with the highest place in the order at which it was.
    seen: BTreeMap<Key, u64>,
    /// The life of the point at the first page.
    life: u64,
    is_asking: bool,
    /// Whether it began in the last phase.
    is_last: bool,
}

#[derive(Debug)]
struct Query {
    point: usize,
    namespace: Option<Namespace>,
    asked_at: Time,
}

/// A request that has not ended.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) point: usize,
    /// By the client's clock.
    deadline: Time,
}

impl Peer {
    pub(super) fn new(number: u64, now: Time, plan: &Plan, rng: &mut ChaCha8Rng) -> Self {
        let key = fixtures::keypair(number);
        let id = key.public().to_peer_id();
        let mut config = plan.client.clone();
        if number == 1 {
            config.flavour = Flavour::Legacy;
        }
        let mut client = Client::new(config, key, rng.random());
        let skew_millis = rng.random_range(-20_000..20_000);
        client.set_addresses(shifted(now, skew_millis), fixtures::addresses(number));
        Self {
            number,
            id,
            // Two peers come from one network.
            prefix: IpPrefix::V4([10, 0, (number / 2) as u8]),
            client,
            reader: AnswerReader::new(Limits::default()),
            is_up: true,
            life: 0,
            skew_millis,
            wanted: Vec::new(),
            walks: BTreeMap::new(),
            queries: BTreeMap::new(),
            open: BTreeMap::new(),
            page: None,
            found: BTreeMap::new(),
        }
    }

    pub(super) fn clock(&self, now: Time) -> Time {
        shifted(now, self.skew_millis)
    }

    /// When its client's timer goes off.
    pub(super) fn due(&self, plan: &Plan) -> Option<Time> {
        let is_called = self.is_up && plan.flaw != Some(Flaw::ClientNeverCalled);
        let due = self.client.poll_timeout().filter(|_| is_called)?;
        Some(shifted(due, -self.skew_millis))
    }
}

impl Simulation {
    pub(super) fn peer_due(&mut self, peer: usize) -> Result<(), Breach> {
        let state = &mut self.peers[peer];
        let clock = state.clock(self.now);
        state.client.handle_timeout(clock);
        let before = state.open.len();
        state.open.retain(|_, open| open.deadline > clock);
        self.tally.failed_requests += (before - state.open.len()) as u64;
        self.note(format_args!("peer {peer} is called"));
        self.pump(peer)
    }

    /// What a client's shell does after every command and every input.
    pub(super) fn pump(&mut self, peer: usize) -> Result<(), Breach> {
        loop {
            while let Some(event) = self.peers[peer].client.poll_event() {
                self.event(peer, event)?;
            }
            let clock = self.peers[peer].clock(self.now);
            let Some(outbound) = self.peers[peer].client.poll_request(clock) else { return Ok(()) };
            let point = self.point_number(&outbound.point);
            let latest = clock + self.plan.client.request_timeout;
            if outbound.deadline > latest {
                return Err((Invariant::Answers, format!("{outbound:?} has until later than {latest}")));
            }
            self.peers[peer].open.insert(outbound.id, Open { point, deadline: outbound.deadline });
            let is_linked = self.is_linked(peer, point);
            let sending = Sending {
                id: Some(outbound.id),
                kind: outbound.kind,
                namespace: outbound.namespace,
                frame: outbound.frame,
                has_waited: false,
                number: 0,
                life: 0,
            };
            self.note(format_args!("peer {peer} sends {} to {point}", outbound.kind));
            self.send(peer, point, sending);
            if is_linked && !outbound.expects_answer {
                self.written_off(peer, outbound.id)?;
            }
        }
    }

    /// An UNREGISTER has been written.
    pub(super) fn written_off(&mut self, peer: usize, id: RequestId) -> Result<(), Breach> {
        let Some(state) = self.peers.get_mut(peer) else { return Ok(()) };
        let clock = state.clock(self.now);
        state.open.remove(&id);
        state.client.handle_answer(clock, id, Answer::Sent);
        self.pump(peer)
    }

    pub(super) fn answer_arrived(&mut self, way: Way, answering: Answering) -> Result<(), Breach> {
        let now = self.now;
        if self.link(way).is_none() {
            return Ok(());
        }
        let Some(peer) = self.peers.get_mut(way.asker).filter(|peer| peer.life == answering.life) else {
            return Ok(());
        };
        let clock = peer.clock(now);
        let Answering { id, kind, namespace, frame, page, .. } = answering;
        let is_open = peer.open.remove(&id).is_some();
        self.tally.late += u64::from(!is_open);
        peer.page = page.filter(|_| is_open);
        let answer = match Self::payload(&frame, frame::RESPONSE_BYTES_MAX) {
            Some(payload) => peer.reader.read(kind, namespace.as_ref(), payload).map_err(Failure::Malformed),
            None => Err(Failure::ClosedWithoutAnswer),
        };
        match answer {
            Ok(answer) => peer.client.handle_answer(clock, id, answer),
            Err(failure) => peer.client.handle_failure(clock, id, failure),
        }
        self.note(format_args!("{way:?} has an answer to {kind}, in time: {is_open}"));
        self.pump(way.asker)?;
        self.peers[way.asker].page = None;
        Ok(())
    }

    pub(super) fn stream_reset(&mut self, way: Way, sending: &Sending) -> Result<(), Breach> {
        let is_of_now = self.peers.get(way.asker).is_some_and(|peer| peer.life == sending.life);
        match sending.id {
            Some(id) if is_of_now && self.link(way).is_some() => self.fail(way.asker, id, Failure::ClosedWithoutAnswer),
            _ => Ok(()),
        }
    }

    /// A request of a client has failed.
    pub(super) fn fail(&mut self, asker: usize, id: RequestId, failure: Failure) -> Result<(), Breach> {
        let Some(peer) = self.peers.get_mut(asker) else { return Ok(()) };
        let clock = peer.clock(self.now);
        self.tally.failed_requests += u64::from(peer.open.remove(&id).is_some());
        peer.client.handle_failure(clock, id, failure);
        self.pump(asker)
    }

    pub(super) fn connected(&mut self, way: Way) -> Result<(), Breach> {
        let is_dual = self.plan.are_dual && way.point < self.points.len();
        let point = self.point_id(way.point);
        let Some(peer) = self.peers.get_mut(way.asker) else { return Ok(()) };
        let clock = peer.clock(self.now);
        peer.client.handle_point_dual(clock, point, is_dual);
        peer.client.handle_point_reachable(clock, point);
        self.pump(way.asker)
    }

    pub(super) fn disconnected(&mut self, asker: usize, point: usize) -> Result<(), Breach> {
        let id = self.point_id(point);
        let Some(peer) = self.peers.get_mut(asker) else { return Ok(()) };
        let clock = peer.clock(self.now);
        peer.client.handle_point_lost(clock, id);
        self.pump(asker)
    }

    fn event(&mut self, peer: usize, event: Event) -> Result<(), Breach> {
        match event {
            Event::Registered { id, point, .. } => self.heard(peer, id, &point, false),
            Event::RegisterFailed { id, point, failure, .. } => {
                let is_refusal = matches!(failure, Failure::Refused { .. });
                self.heard(peer, id, &point, is_refusal);
            }
            Event::DiscoverFailed { query, failure, .. } => {
                let query = self.query_ended(peer, query)?;
                self.tally.failed_queries += 1;
                self.note(format_args!("peer {peer} finds nothing: {failure}"));
                if let Some(walk) = self.peers[peer].walks.get_mut(&(query.point, query.namespace)) {
                    walk.is_asking = false;
                }
            }
            Event::Discovered { query, registrations, more, skipped, .. } => {
                let query = self.query_ended(peer, query)?;
                let listing = (query.point, query.namespace);
                let found: Vec<Key> =
                    registrations.iter().map(|found| (found.record.peer_id(), found.namespace.clone())).collect();
                if registrations.iter().any(|found| found.ttl > Ttl::RECOMMENDED_MAX) {
                    return Err((Invariant::Expiry, "a client believes in more than 72 hours".into()));
                }
                self.turned_page(peer, &listing, &found, skipped.total() - skipped.own)?;
                if more {
                    self.ask(peer, listing, From::Cookie);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn heard(&mut self, peer: usize, id: RegistrationId, point: &PeerId, is_refusal: bool) {
        let point = self.point_number(point);
        let wanted = self.peers[peer].wanted.iter_mut().find(|wanted| wanted.id == id);
        if let Some(refused) = wanted.and_then(|wanted| wanted.points.get_mut(&point)) {
            *refused = is_refusal;
        }
    }

    fn query_ended(&mut self, peer: usize, query: QueryId) -> Result<Query, Breach> {
        let ended = self.peers[peer].queries.remove(&query);
        ended.ok_or_else(|| (Invariant::Answers, format!("query {query} of peer {peer} ends twice")))
    }

    /// A page has come to its reader.
    fn turned_page(
        &mut self,
        peer: usize,
        listing: &(usize, Option<Namespace>),
        found: &[Key],
        skipped: usize,
    ) -> Result<(), Breach> {
        let (is_finding, own) = (self.is_finding, self.peers[peer].id);
        let state = &mut self.peers[peer];
        let Some(walk) = state.walks.get_mut(listing) else { return Ok(()) };
        walk.is_asking = false;
        let Some(Listed { is_first, listed, seen_by_now, life }) = state.page.take() else { return Ok(()) };
        let of_others = listed.iter().filter(|(key, _)| key.0 != own);
        if skipped > 0 || !of_others.map(|(key, _)| key).eq(found) {
            let what = format!("a page of {listed:?} is read as {found:?}, {skipped} skipped");
            return Err((Invariant::Answers, what));
        }
        if is_first {
            *walk = Walk { life, is_last: is_finding, ..Walk::default() };
        }
        let is_end = listed.is_empty();
        for (key, order) in listed {
            if walk.seen.get(&key).is_some_and(|seen| *seen >= order) {
                return Err((Invariant::Cookies, format!("peer {peer} is shown {key:?} twice in {listing:?}")));
            }
            walk.seen.insert(key, order);
        }
        for (key, order) in seen_by_now {
            if walk.seen.get(&key).is_none_or(|seen| *seen < order) {
                return Err((Invariant::Cookies, format!("peer {peer} is not shown {key:?} in {listing:?}")));
            }
        }
        if is_end {
            self.tally.walks += 1;
            self.tally.walks_over_restarts += u64::from(life > walk.life);
            if walk.is_last {
                state.found.insert(listing.clone(), walk.seen.keys().cloned().collect());
            }
        }
        Ok(())
    }

    /// Goes on with a walk of the last phase, or begins one.
    pub(super) fn look(&mut self, peer: usize, listing: (usize, Option<Namespace>)) {
        let is_begun = self.peers[peer].walks.get(&listing).is_some_and(|walk| walk.is_last);
        self.ask(peer, listing, if is_begun { From::Cookie } else { From::Fresh });
    }

    /// Asks for a page, if none of that listing is asked for.
    fn ask(&mut self, peer: usize, listing: (usize, Option<Namespace>), from: From) {
        let limit = Limit::new(self.rng.random_range(1..=4));
        let point = self.point_id(listing.0);
        let state = &mut self.peers[peer];
        let clock = state.clock(self.now);
        let walk = state.walks.entry(listing.clone()).or_default();
        if core::mem::replace(&mut walk.is_asking, true) {
            return;
        }
        let query = state.client.discover(clock, point, listing.1.clone(), Some(limit), from);
        state.queries.insert(query, Query { point: listing.0, namespace: listing.1, asked_at: self.now });
    }

    /// The application does something.
    pub(super) fn act(&mut self, peer: usize, life: u64) -> Result<(), Breach> {
        if self.is_quiet || self.peers[peer].life != life || !self.peers[peer].is_up {
            return Ok(());
        }
        let wait = self.up_to(self.plan.acts_every * 2);
        self.schedule(wait, Happening::Act { peer, life });
        let clock = self.peers[peer].clock(self.now);
        let points = self.points.len() + usize::from(self.plan.has_liar);
        let namespace = self.namespace();
        let number = self.peers[peer].number;
        match self.rng.random_range(0..12) {
            0..4 => self.want(peer, namespace),
            4 if !self.peers[peer].wanted.is_empty() => {
                let index = self.rng.random_range(0..self.peers[peer].wanted.len());
                let wanted = self.peers[peer].wanted.swap_remove(index);
                self.note(format_args!("peer {peer} wants {} no longer", wanted.namespace));
                self.peers[peer].client.unregister(clock, wanted.id);
            }
            5 => {
                let mut addresses = fixtures::addresses(number);
                addresses.truncate(self.rng.random_range(1..=3));
                self.peers[peer].client.set_addresses(clock, addresses);
            }
            6 => {
                let point = self.rng.random_range(0..points);
                let point = self.point_id(point);
                self.peers[peer].client.unregister_at(clock, point, namespace);
            }
            7 => {
                let ids: Vec<_> = self.peers[peer].wanted.iter().map(|wanted| wanted.id).collect();
                for id in ids {
                    self.peers[peer].client.register_again(clock, id);
                }
            }
            _ => {
                let namespace = (self.rng.random_range(0..4) > 0).then_some(namespace);
                let from = if self.rng.random_range(0..4) == 0 { From::Fresh } else { From::Cookie };
                let point = self.rng.random_range(0..points);
                self.ask(peer, (point, namespace), from);
            }
        }
        self.pump(peer)
    }

    fn want(&mut self, peer: usize, namespace: Namespace) {
        let wanted = &self.peers[peer].wanted;
        if wanted.len() >= WANTED_MAX || wanted.iter().any(|wanted| wanted.namespace == namespace) {
            return;
        }
        let all = 0..self.points.len() + usize::from(self.plan.has_liar);
        let mut points: Vec<usize> = all.clone().filter(|_| self.rng.random_range(0..3) > 0).collect();
        if points.is_empty() {
            points.extend(all.take(1));
        }
        let ttl = self.rng.random_range(CLIENT_TTL_SECS_MIN * u64::from(self.plan.pace)..=*self.plan.ttl_secs.end());
        let ttl = Some(Ttl::from_secs(ttl));
        let ids: Vec<PeerId> = points.iter().map(|point| self.point_id(*point)).collect();
        let clock = self.peers[peer].clock(self.now);
        self.note(format_args!("peer {peer} wants {namespace} at {points:?} for {ttl:?}"));
        let id = self.peers[peer].client.register(clock, namespace.clone(), ids, ttl);
        let points = points.into_iter().map(|point| (point, false)).collect();
        self.peers[peer].wanted.push(Wanted { id, namespace, points });
    }

    /// The process of a peer ends, at once or with a farewell, and begins again: it knows nothing but what it wants.
    pub(super) fn restart_peer(&mut self, peer: usize) -> Result<(), Breach> {
        if !self.peers[peer].is_up {
            return Ok(());
        }
        let has_farewell = self.rng.random_range(0..3) == 0;
        self.note(format_args!("peer {peer} restarts, farewell: {has_farewell}"));
        if has_farewell {
            let clock = self.peers[peer].clock(self.now);
            self.peers[peer].client.shutdown(clock);
            // Requests that waited for an answer are given up.
            self.peers[peer].queries.clear();
            self.peers[peer].open.clear();
            while self.peers[peer].client.poll_event().is_some() {}
            while let Some(outbound) = self.peers[peer].client.poll_request(clock) {
                let point = self.point_number(&outbound.point);
                let (kind, namespace, frame) = (outbound.kind, outbound.namespace, outbound.frame);
                if kind == RequestKind::Unregister {
                    self.send(
                        peer,
                        point,
                        Sending { id: None, kind, namespace, frame, has_waited: false, number: 0, life: 0 },
                    );
                    self.peers[peer].client.handle_answer(clock, outbound.id, Answer::Sent);
                }
            }
        }
        self.tally.peer_restarts += 1;
        let old = &self.peers[peer];
        let (number, life, wanted) = (old.number, old.life + 1, old.wanted.clone());
        let mut new = Peer::new(number, self.now, &self.plan, &mut self.rng);
        new.life = life;
        self.peers[peer] = new;
        if !has_farewell {
            for point in 0..=self.points.len() {
                self.cut(peer, point)?;
            }
        }
        for wanted in wanted {
            if self.rng.random_range(0..3) > 0 {
                self.want(peer, wanted.namespace);
            }
        }
        let wait = self.up_to(self.plan.acts_every);
        self.schedule(wait, Happening::Act { peer, life });
        self.pump(peer)
    }

    /// Checks what clients hold, and that each request ends in time.
    pub(super) fn check_peers(&self) -> Result<(), Breach> {
        for (index, peer) in self.peers.iter().enumerate().filter(|(_, peer)| peer.is_up) {
            let (clock, stats) = (peer.clock(self.now), peer.client.stats());
            if let Some((id, open)) = peer.open.iter().find(|(_, open)| open.deadline < clock) {
                let what = format!("request {id} of peer {index} has had until {}", open.deadline);
                return Err((Invariant::Answers, what));
            }
            if stats.requests_in_flight != peer.open.len() {
                let (has, open) = (stats.requests_in_flight, peer.open.len());
                return Err((Invariant::Answers, format!("peer {index} awaits {has} answers, and {open} are open")));
            }
            if let Some((id, query)) = peer.queries.iter().next() {
                let turns = 2 + 2 * (peer.queries.len() + peer.wanted.len() * 4) as u32;
                let latest = query.asked_at + (self.plan.client.request_timeout + Duration::from_secs(1)) * turns;
                if self.now > latest {
                    return Err((Invariant::Answers, format!("query {id} of peer {index} has no end")));
                }
            }
            let config = &self.plan.client;
            let listings = (self.plan.namespaces + 1) * (self.points.len() + 1);
            let is_bounded = stats.peers <= config.peers_max
                && stats.peers_bytes <= config.peers_bytes_max
                && stats.cookies <= listings.min(COOKIES_MAX)
                && stats.points <= self.points.len() + 1
                && stats.standings <= listings
                && stats.events == 0
                && stats.events_dropped == 0;
            if !is_bounded {
                return Err((Invariant::Memory, format!("peer {index} holds {stats:?}")));
            }
        }
        Ok(())
    }

    pub(super) fn namespace(&mut self) -> Namespace {
        let name = NAMESPACES[self.rng.random_range(0..self.plan.namespaces)];
        Namespace::new(name).expect("the names in use are short")
    }

    fn is_linked(&self, peer: usize, point: usize) -> bool {
        self.links.get(&(peer, point)).is_some_and(super::network::Link::is_up)
    }
}
