//! A request at a point, as its connection's task handles it, and what the model makes of the answer.

use bytes::Bytes;
use rendezvous_core::server::{
    AGENT_PATIENCE, Command, Discovered, Origin, Refusal, RefusalKind, Registered, RequestReader, Requester,
    registered_frame,
};
use rendezvous_record::Flavours;
use rendezvous_wire::{MessageType, Namespace, Request, Ttl, frame};

use super::{
    Flaw, Happening, Simulation,
    model::{Found, Key, Record},
    network::{Listed, Sending, Way},
    point::Point,
    violation::{Breach, Invariant},
};

impl Simulation {
    pub(super) fn request_arrived(&mut self, way: Way, sending: Sending) -> Result<(), Breach> {
        if !self.note_arrival(way, sending.number) {
            return Ok(());
        }
        if way.point == self.points.len() {
            self.lie(way, &sending);
            return Ok(());
        }
        let Some(payload) = Self::payload(&sending.frame, frame::REQUEST_BYTES_MAX) else {
            self.tally.garbage += 1;
            self.close(way, &sending);
            return Ok(());
        };
        self.note(format_args!("{way:?} asks {:?}", sending.kind));
        self.handle_request(way, &sending, &payload)?;
        self.after_input(way.point)
    }

    fn handle_request(&mut self, way: Way, sending: &Sending, payload: &Bytes) -> Result<(), Breach> {
        let now = self.now;
        let (mut peer, prefix) = self.asker(way.asker);
        let is_identified = self.link(way).is_some_and(|link| link.identified_at <= now);
        let is_rust = way.asker >= self.peers.len() && way.asker.is_multiple_of(2);
        let asked = Request::decode(payload).ok();
        if self.plan.flaw == Some(Flaw::RegistersForAnother)
            && let Some(Request::Register(register)) = asked
            && let Some((owner, _)) = self.envelopes.of(register.signed_peer_record.unwrap_or_default())
        {
            peer = owner;
        }
        let requester = Requester {
            peer,
            origin: Origin::Prefix(prefix),
            agent_reads: (is_rust && is_identified).then_some(Flavours::LEGACY.into()),
            may_wait: !is_identified && !sending.has_waited,
        };
        let clock = self.points[way.point].clock(now);
        let (rate, prefix_rate) = (self.plan.server.rate_per_peer, self.plan.server.rate_per_prefix);
        let Point { up: Some(up), model, .. } = &mut self.points[way.point] else { return Ok(()) };
        if rate.is_some() || prefix_rate.is_some() {
            let passes = up.buckets.pass(clock, (rate, &peer), (prefix_rate, &prefix));
            let read = RequestReader::arrival(payload);
            let arrival = up.server.handle_arrival(clock, &requester, &read);
            // An UNREGISTER of what stands passes every rate, one that turns out to be malformed too.
            let may_make_room = read.kind == Some(MessageType::Unregister)
                && model.may_stand(&peer, read.namespace.map(str::as_bytes).filter(|name| !name.is_empty()));
            if arrival.is_ok() != passes && !(may_make_room && arrival.is_ok()) {
                let what = format!("a request that should pass the rate ({passes}) came to {arrival:?}");
                return Err((Invariant::Quotas, what));
            }
            if let Err(refusal) = arrival {
                match RequestReader::kind(payload) {
                    Some(kind) => self.refuse(way, sending, kind, &refusal),
                    None => self.close(way, sending),
                }
                return Ok(());
            }
        }
        let reader = up.reader.clone();
        match (reader.read(&peer, payload), asked) {
            (Ok(Command::Register(register)), Some(Request::Register(asked))) => {
                let key = self.check_register(way, &asked)?;
                let Point { up: Some(up), .. } = &mut self.points[way.point] else { return Ok(()) };
                let registered = up.server.handle_register(clock, &requester, register);
                let outcome = registered.as_ref().map_err(Refusal::kind);
                self.note(format_args!("{way:?} registers {} for {:?}: {outcome:?}", key.1, asked.ttl_secs));
                self.registered(way, sending, key, &asked, registered)
            }
            (Ok(Command::Unregister(unregister)), Some(Request::Unregister(asked))) => {
                let name = asked.namespace.filter(|name| !name.is_empty());
                let namespace = name.and_then(|name| Namespace::new(str::from_utf8(name).ok()?).ok());
                let at_once = !self.points[way.point].is_durable();
                let Point { up: Some(up), model, .. } = &mut self.points[way.point] else { return Ok(()) };
                let overloaded = model.pending_len() >= self.plan.server.pending_max;
                let change = up.server.handle_unregister(clock, &peer, &unregister);
                self.note(format_args!("{way:?} withdraws {namespace:?}: {change:?}"));
                let Point { model, .. } = &mut self.points[way.point];
                let stands = namespace.as_ref().is_some_and(|name| model.renews(&(peer, name.clone()), clock).0);
                if at_once || change.is_some() {
                    model.remove(peer, namespace, at_once);
                    self.tally.withdrawals += 1;
                } else if stands && !overloaded {
                    return Err((Invariant::Identity, format!("{peer} does not withdraw {namespace:?}")));
                } else if stands {
                    self.tally.refusals[RefusalKind::Overloaded as usize] += 1;
                }
                Ok(())
            }
            (Ok(Command::Discover(discover)), Some(Request::Discover(asked))) => {
                match up.server.handle_discover(clock, &requester, &discover) {
                    Ok(Discovered::AgentUnknown) => {
                        self.tally.waits_for_agent += 1;
                        let sending = Sending { has_waited: true, ..sending.clone() };
                        self.schedule(AGENT_PATIENCE, Happening::Request { way, sending });
                        Ok(())
                    }
                    Ok(Discovered::Page(page)) => self.page(way, sending, &asked, page.as_bytes()),
                    Err(refusal) => {
                        self.refuse(way, sending, MessageType::Discover, &refusal);
                        Ok(())
                    }
                }
            }
            (Err(rejected), asked) => {
                if way.asker < self.peers.len() && !self.plan.rejects(&peer, asked.as_ref(), &rejected.refusal) {
                    let what = format!("{asked:?} of a client is refused: {}", rejected.refusal);
                    return Err((Invariant::Quotas, what));
                }
                up.server.handle_rejected(&peer, &rejected);
                match rejected.kind {
                    Some(kind) => self.refuse(way, sending, kind, &rejected.refusal),
                    None => {
                        self.tally.refusals[rejected.refusal.kind() as usize] += 1;
                        self.close(way, sending);
                    }
                }
                Ok(())
            }
            (Ok(command), asked) => Err((Invariant::Identity, format!("{asked:?} is read as {command:?}"))),
        }
    }

    /// Checks a REGISTER that the point has read: it is the sender's own, and within what the point's rules say.
    fn check_register(&mut self, way: Way, asked: &rendezvous_wire::Register<'_>) -> Result<Key, Breach> {
        let (peer, _) = self.asker(way.asker);
        let envelope = asked.signed_peer_record.unwrap_or_default();
        let owner = self.envelopes.of(envelope).map(|(owner, _)| owner);
        if owner != Some(peer) {
            return Err((Invariant::Identity, format!("{peer} may register a record of {owner:?}")));
        }
        let name = asked.namespace.and_then(|name| Namespace::new(str::from_utf8(name).ok()?).ok());
        let Some(name) = name else {
            return Err((Invariant::Quotas, format!("{:?} is taken for a namespace", asked.namespace)));
        };
        if self.plan.policy(name.as_str()).is_some_and(|policy| !policy.register.allows(&peer)) {
            return Err((Invariant::Quotas, format!("{peer} may register in {name}")));
        }
        let ttl = self.ttl(asked.ttl_secs);
        if ttl < self.plan.server.ttl_min || ttl > self.plan.server.ttl_max {
            return Err((Invariant::Quotas, format!("a TTL of {ttl} is taken")));
        }
        Ok((peer, name))
    }

    fn ttl(&self, asked: Option<u64>) -> Ttl {
        Ttl::from_wire(asked).unwrap_or(self.plan.server.ttl_default)
    }

    fn registered(
        &mut self,
        way: Way,
        sending: &Sending,
        key: Key,
        asked: &rendezvous_wire::Register<'_>,
        registered: Result<Registered, Refusal>,
    ) -> Result<(), Breach> {
        let now = self.now;
        let (_, prefix) = self.asker(way.asker);
        let ttl = self.ttl(asked.ttl_secs);
        let envelope = Bytes::copy_from_slice(asked.signed_peer_record.unwrap_or_default());
        let flavour = self.envelopes.of(&envelope).map(|(_, flavour)| flavour);
        let Point { up: Some(up), model, .. } = &mut self.points[way.point] else { return Ok(()) };
        let clock = up.clock(now);
        let (Ok(registered), Some(flavour)) = (&registered, flavour) else {
            let Err(refusal) = registered else { return Ok(()) };
            self.check_refusal(way.point, &key, Origin::Prefix(prefix), &refusal)?;
            self.refuse(way, sending, MessageType::Register, &refusal);
            return Ok(());
        };
        self.tally.renewals += u64::from(model.renews(&key, clock).0);
        let record = Record { envelope, ends: clock + core::time::Duration::from_secs(ttl.as_secs()) };
        match *registered {
            Registered::Pending(id) => {
                model.put(key, flavour, record, Origin::Prefix(prefix), false);
                up.waiting.insert(id, (way, sending.clone()));
            }
            Registered::Done(granted) => {
                model.put(key, flavour, record, Origin::Prefix(prefix), true);
                self.tally.acknowledged += 1;
                self.answer(way, sending, registered_frame(granted), None);
            }
        }
        Ok(())
    }

    fn refuse(&mut self, way: Way, sending: &Sending, kind: MessageType, refusal: &Refusal) {
        self.tally.refusals[refusal.kind() as usize] += 1;
        self.note(format_args!("{way:?} is refused {:?}", refusal.kind()));
        let mut frame = Vec::new();
        if refusal.encode_frame(kind, &mut frame) {
            self.answer(way, sending, frame, None);
        } else if kind != MessageType::Unregister {
            self.close(way, sending);
        }
    }

    /// A page for a peer: everything on it may be listed, and what its reader must have seen at its end is noted.
    fn page(
        &mut self,
        way: Way,
        sending: &Sending,
        asked: &rendezvous_wire::Discover<'_>,
        frame: &[u8],
    ) -> Result<(), Breach> {
        let (peer, _) = self.asker(way.asker);
        let namespace = asked.namespace.filter(|name| !name.is_empty());
        let namespace = namespace.and_then(|name| Namespace::new(str::from_utf8(name).ok()?).ok());
        if !self.plan.may_discover(&peer, namespace.as_ref()) {
            return Err((Invariant::Quotas, format!("{peer} is shown {namespace:?}")));
        }
        let frame = self.tampered(way.point, frame);
        let clock = self.points[way.point].clock(self.now);
        let (found, _) = self.read_page(&frame)?;
        let reads = asked.reads.map(Flavours::from_bits_truncate).filter(|reads| !reads.is_empty());
        let point = &self.points[way.point];
        let mut listed = Vec::with_capacity(found.len());
        for found in &found {
            let is_asked = namespace.as_ref().is_none_or(|name| *name == found.key.1);
            if !is_asked || reads.is_some_and(|reads| !reads.contains(found.flavour)) {
                return Err((Invariant::Identity, format!("{:?} is listed to who did not ask for it", found.key)));
            }
            listed.push((found.key.clone(), point.model.listed(clock, found)?));
        }
        let mut seen_by_now = Vec::new();
        if let (true, Some(reads)) = (found.is_empty(), reads) {
            let there = point.model.visible.iter().filter(|(key, entry)| {
                namespace.as_ref().is_none_or(|name| *name == key.1)
                    && entry.must_be_found(clock, reads)
                    && !entry.is_back
            });
            seen_by_now = there.map(|(key, entry)| (key.clone(), entry.order)).collect();
        }
        let is_first = asked.cookie.is_none_or(<[u8]>::is_empty);
        let page = Listed { is_first, listed, seen_by_now, life: point.life };
        self.tally.pages += 1;
        self.answer(way, sending, frame, Some(page));
        Ok(())
    }

    /// Checks that a refusal has its cause, and that it is none of what a renewal passes.
    fn check_refusal(&self, point: usize, key: &Key, origin: Origin, refusal: &Refusal) -> Result<(), Breach> {
        let point = &self.points[point];
        let (model, server, clock) = (&point.model, &self.plan.server, point.clock(self.now));
        let (peer, namespace) = key;
        let most = |holds: &dyn Fn(&Key, Origin) -> bool| model.count(clock, |key, origin| holds(key, origin)).1;
        let is_full = match refusal.kind() {
            RefusalKind::PeerFull => most(&|key, _| key.0 == *peer) >= server.registrations_per_peer_max,
            RefusalKind::PrefixFull => most(&|_, of| of == origin) >= server.prefix_share(),
            // How large the share is depends on the bytes that are held; it is never nothing.
            RefusalKind::NearlyFull => most(&|_, of| of == origin) >= 1,
            RefusalKind::NamespaceFull => most(&|key, _| key.1 == *namespace) >= self.namespace_max(namespace),
            RefusalKind::Full => most(&|_, _| true) >= server.registrations_max,
            RefusalKind::Overloaded => {
                let is_long = model.pending_len() >= server.pending_max;
                if is_long || server.pending_bytes_max < 1_000 {
                    return Ok(());
                }
                return Err((Invariant::Quotas, format!("{key:?} is refused: {refusal}")));
            }
            RefusalKind::BytesFull => return Ok(()),
            kind => return Err((Invariant::Quotas, format!("{key:?} is refused as {kind:?}"))),
        };
        if model.renews(key, clock).0 || !is_full {
            return Err((Invariant::Quotas, format!("{key:?} is refused without cause: {refusal}")));
        }
        Ok(())
    }

    pub(super) fn namespace_max(&self, namespace: &Namespace) -> usize {
        let max = self.plan.policy(namespace.as_str()).and_then(|policy| policy.registrations_max);
        max.unwrap_or(self.plan.server.registrations_per_namespace_max)
    }

    /// A flawed point's page.
    pub(super) fn tampered(&mut self, point: usize, frame: &[u8]) -> Vec<u8> {
        let Some(flaw) = self.plan.flaw else { return frame.to_vec() };
        let Ok((mut found, mut cookie)) = self.read_page(frame) else { return frame.to_vec() };
        let Some(up) = &mut self.points[point].up else { return frame.to_vec() };
        let position = cookie.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let moved = match flaw {
            Flaw::PageDropsRegistration => {
                found.pop();
                position
            }
            Flaw::PageServesEnded => {
                if up.stale.is_none() {
                    up.stale = found.first().cloned();
                }
                let is_there = |stale: &Found| up.server.is_registered(&stale.key.0, stale.key.1.as_str());
                if let Some(stale) = up.stale.clone().filter(|stale| !found.is_empty() && !is_there(stale)) {
                    found.insert(0, stale);
                }
                position
            }
            Flaw::CookieSkips if !found.is_empty() => position + 3,
            Flaw::CookieRepeats if !found.is_empty() => position - 1,
            _ => return frame.to_vec(),
        };
        if let Some(bytes) = cookie.first_chunk_mut::<8>() {
            *bytes = moved.to_be_bytes();
        }
        let mut page = rendezvous_wire::PageWriter::new(frame::PAGE_BYTES_MAX);
        for Found { key, envelope, ttl_secs, .. } in &found {
            page.push(key.1.as_str().as_bytes(), envelope, *ttl_secs);
        }
        page.finish(&cookie).as_bytes().to_vec()
    }
}
