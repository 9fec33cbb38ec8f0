//! What is checked at a point after everything that happens there.

use bytes::Bytes;
use libp2p_identity::PeerId;
use rendezvous_core::server::{Command, Discovered, Requester};
use rendezvous_record::Flavours;
use rendezvous_wire::{Discover, Namespace, Request, Response, Status, frame};

use super::{
    Flaw, Simulation,
    model::{Found, Key},
    point::Point,
    violation::{Breach, Invariant},
};

/// Memory of an empty registry and of the first pages of its tables.
const ALLOCATED_BYTES_BASE: usize = 256 << 10;

/// Memory of a registration beyond its record, at the most, where there are few.
const ALLOCATED_BYTES_EACH: usize = 2 << 10;

impl Simulation {
    /// Lists all that a point has, page by page, and checks it, its quotas and its memory.
    pub(super) fn audit(&mut self, point: usize) -> Result<(), Breach> {
        let clock = self.points[point].clock(self.now);
        self.tally.audits += 1;
        let mut all = Vec::new();
        let mut cookie = Vec::new();
        loop {
            let Some(mut frame) = self.audit_page(point, &cookie)? else { return Ok(()) };
            if matches!(self.plan.flaw, Some(Flaw::PageDropsRegistration | Flaw::PageServesEnded)) {
                frame = self.tampered(point, &frame);
            }
            let (found, next) = self.read_page(&frame)?;
            if found.is_empty() {
                break;
            }
            all.extend(found);
            if all.len() > 1_000 {
                return Err((Invariant::Cookies, "a walk without end".into()));
            }
            cookie = next;
        }
        let Point { model, up: Some(up), .. } = &mut self.points[point] else { return Ok(()) };
        self.tally.lapses += model.prune(clock);
        model.audit(clock, &all)?;
        let bound = ALLOCATED_BYTES_BASE + all.len() * ALLOCATED_BYTES_EACH;
        let allocated = up.server.allocated_bytes();
        if allocated > bound {
            let count = all.len();
            return Err((Invariant::Memory, format!("{count} registrations take {allocated} bytes")));
        }
        let (stats, pending) = (up.server.stats(), model.pending_len());
        let pending_max = self.plan.server.pending_max;
        if pending > pending_max || up.waiting.len() > pending {
            let waiting = up.waiting.len();
            return Err((Invariant::Memory, format!("{pending} changes and {waiting} answers wait, of {pending_max}")));
        }
        if stats.registrations > all.len() + model.fading(clock) && self.plan.timer_lag.is_zero() {
            let (held, listed) = (stats.registrations, all.len());
            return Err((Invariant::Memory, format!("{held} registrations are held and {listed} listed")));
        }
        self.check_quotas(point, &all, stats.record_bytes)
    }

    fn check_quotas(&self, point: usize, all: &[Found], record_bytes: u64) -> Result<(), Breach> {
        let server = &self.plan.server;
        let visible = &self.points[point].model.visible;
        let origin_of = |key: &Key| visible.get(key).map(|entry| entry.origin);
        let count = |holds: &dyn Fn(&Key) -> bool| all.iter().filter(|found| holds(&found.key)).count();
        let over = |what: &str, count: usize, max: usize| {
            if count > max { Err((Invariant::Quotas, format!("{count} {what}, of {max}"))) } else { Ok(()) }
        };
        over("registrations", all.len(), server.registrations_max)?;
        let bytes_max = server.record_bytes_max.saturating_add(server.record_bytes_max / 8);
        if record_bytes > bytes_max {
            return Err((Invariant::Quotas, format!("{record_bytes} bytes of records, of {bytes_max}")));
        }
        for found in all {
            let (peer, namespace): (&PeerId, &Namespace) = (&found.key.0, &found.key.1);
            let origin = origin_of(&found.key);
            over("of a peer", count(&|key| key.0 == *peer), server.registrations_per_peer_max)?;
            over("in a namespace", count(&|key| key.1 == *namespace), self.namespace_max(namespace))?;
            over("of a prefix", count(&|key| origin_of(key) == origin), server.prefix_share())?;
        }
        Ok(())
    }

    /// A page of all namespaces for one who may see everything.
    fn audit_page(&mut self, point: usize, cookie: &[u8]) -> Result<Option<Vec<u8>>, Breach> {
        let clock = self.points[point].clock(self.now);
        // Whoever may discover everywhere, for who is asked matters in nothing else.
        let auditor = self.plan.auditor;
        let Point { up: Some(up), .. } = &mut self.points[point] else { return Ok(None) };
        let request = Discover {
            namespace: None,
            limit: Some(1 + self.now.as_unix_millis() % 7),
            cookie: (!cookie.is_empty()).then_some(cookie),
            reads: Some(u64::from(Flavours::BOTH.bits())),
        };
        let payload = Bytes::from(Request::Discover(request).to_message().encode());
        let discover = match up.reader.read(&auditor, &payload) {
            Ok(Command::Discover(discover)) => discover,
            other => return Err((Invariant::Cookies, format!("the point does not read its own cookie: {other:?}"))),
        };
        match up.server.handle_discover(clock, &Requester::new(auditor), &discover) {
            Ok(Discovered::Page(page)) => Ok(Some(page.as_bytes().to_vec())),
            other => Err((Invariant::Answers, format!("a listing came to {other:?}"))),
        }
    }

    /// The registrations of an answer that must be well-formed, and its cookie.
    pub(super) fn read_page(&mut self, bytes: &[u8]) -> Result<(Vec<Found>, Vec<u8>), Breach> {
        let malformed = || (Invariant::Answers, "a page is malformed".to_owned());
        let (payload, _) = frame::split(bytes, frame::PAGE_BYTES_MAX).ok().flatten().ok_or_else(malformed)?;
        let Ok(Response::Discover(answer)) = Response::decode(payload) else { return Err(malformed()) };
        if answer.status != Some(Status::Ok) {
            return Err(malformed());
        }
        let mut found = Vec::new();
        for registration in answer.registrations.iter() {
            let registration = registration.map_err(|_| malformed())?;
            let name = registration.namespace.and_then(|name| Namespace::new(str::from_utf8(name).ok()?).ok());
            let envelope = registration.signed_peer_record.ok_or_else(malformed)?;
            let (Some(namespace), Some(ttl_secs)) = (name, registration.ttl_secs) else { return Err(malformed()) };
            let Some((peer, flavour)) = self.envelopes.of(envelope) else {
                return Err((Invariant::Identity, "a record is listed that does not verify".into()));
            };
            let envelope = Bytes::copy_from_slice(envelope);
            found.push(Found { key: (peer, namespace), flavour, envelope, ttl_secs });
        }
        Ok((found, answer.cookie.ok_or_else(malformed)?.to_vec()))
    }
}
