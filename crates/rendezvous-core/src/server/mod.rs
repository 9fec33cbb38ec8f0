//! The rendezvous point without IO: [`Server`].

mod admission;
mod commit;
mod config;
mod event;
mod hash;
mod kept;
mod page;
mod pending;
mod reads;
mod refusal;
mod registry;
mod request;
mod restore;
mod unsigned;
mod waku;

use std::collections::VecDeque;

use libp2p_identity::PeerId;
use rand_chacha::ChaCha8Rng;
use rendezvous_record::{Flavour, Flavours};
use rendezvous_wire::{
    COOKIE_BYTES_END, Limit, MessageType, NAMESPACE_BYTES_MAX, Namespace, Page, PageWriter, PositionCookie,
    RegisterResponse, Response, Status, Ttl,
};

pub use self::{
    admission::{
        Access, ExemptNetworks, IpNetwork, IpNetworkError, IpPrefix, LIMITER_ENTRIES_MAX, NOTICES_PER_MINUTE_MAX,
        NoticeLimiter, Origin, Pattern, Policy, Rate,
    },
    commit::{Batch, BatchId, Change, ChangeId, CommitFailed, Put},
    config::{
        AGENT_PATIENCE, EVENTS_MAX, PAGE_BYTES_MIN, PENDING_BYTES_MAX, REGISTRATIONS_MAX, REGISTRATIONS_PER_PEER_MAX,
        ServerConfig, TTL_MIN, WAKU_TTL_MIN,
    },
    event::{Event, Stats},
    kept::{Kept, KeptRecord},
    reads::{Reads, reads_of_agent},
    refusal::{PeerInfoFault, Refusal, RefusalCounts, RefusalKind, STATUS_TEXT_BYTES_MAX},
    request::{Command, Discover, Register, Rejected, RequestReader, Unregister},
    restore::{NotRestorable, Restore},
    waku::{Sample, WakuCommand, WakuReader, waku_registered_frame},
};
use self::{
    admission::{Limiter, Policies},
    hash::Keys,
    pending::{Forget, Pending, PendingChange},
    registry::{Expired, Record, Registry},
};
use crate::{RecordKind, Time};

/// Slots that one request may touch to take out what has ended: a bound on what it pays for others.
const EXPIRY_PER_REQUEST: usize = 32;

/// Slots that one call of [`Server::handle_timeout`] may touch: some hundred microseconds.
const EXPIRY_PER_TIMEOUT: usize = 1_024;

/// Registrations that have ended and are not taken out yet, that one page may pass over.
const ENDED_PER_PAGE_MAX: usize = 4_096;

/// Room made for one registration of a page before its size is known.
const REGISTRATION_BYTES_GUESS: usize = 256;

/// Bytes of a registration on a page beside its namespace and its record: three tags, four lengths and the TTL.
const REGISTRATION_OVERHEAD_BYTES: usize = 24;

/// Bytes of the length in front of a frame, at most.
const FRAME_PREFIX_BYTES_MAX: usize = 10;

/// Bytes of a page without registrations: its head, status, and the longest cookie, for which a page keeps room.
const EMPTY_PAGE_BYTES: usize = 32 + COOKIE_BYTES_END + FRAME_PREFIX_BYTES_MAX;

/// A rendezvous point: a state machine that takes requests and time, and answers.
///
/// It does no IO, reads no clock and has no randomness but its seed. One instance serves all connections, usually behind
/// a lock; nothing in it verifies a signature, waits, or copies more than the answer.
///
/// # How to drive it
/// 1. Give each connection a [`RequestReader`] ([`Server::reader`]). In the connection's own task, outside any lock, it
///    turns the payload of a frame into a [`Command`], verifying the record in it. What it rejects is answered with
///    [`Refusal::encode_frame`], and told to [`Server::handle_rejected`].
/// 2. Hand the command to [`Server::handle_register`], [`Server::handle_unregister`] or [`Server::handle_discover`], with
///    the time. What is answered at once is returned; [`registered_frame`] and [`Page`] are the frames to send.
/// 3. With [`ServerConfig::deferred_commit`], after each command, take what [`Server::poll_commit`] gives, write it, and
///    say so with [`Server::handle_committed`]: it returns the answers that were held until then.
/// 4. Call [`Server::handle_timeout`] when the time that [`Server::poll_timeout`] names has come; ask again after it.
/// 5. If events are wanted ([`ServerConfig::events_max`]), drain [`Server::poll_event`].
///
/// # Records without a signature
/// With [`ServerConfig::legacy_peer_info`] REGISTER may carry a `PeerInfo`, of the peer that sends it alone. Such registrations
/// are in a registry of their own, under the same quotas and positions, and are listed to requesters that read this form
/// ([`Reads::PeerInfo`]) and to nobody else. These are also told of the signed registrations, in that form.
///
/// A signed record takes the place of an unsigned one of the same peer and namespace, and never the other way round: an
/// unsigned REGISTER where a signed one stands changes nothing, and is granted for no longer than that stands.
///
/// `now` is a parameter of all that changes state. Equal instants may interleave; one earlier than the latest seen counts
/// as the latest.
///
/// ```
/// use bytes::Bytes;
/// use libp2p_identity::PeerId;
/// use rendezvous_core::{Time, server::{Command, Discovered, Requester, Server, ServerConfig}};
///
/// let now = Time::from_unix_millis(1_700_000_000_000);
/// let mut server = Server::new(now, ServerConfig::default(), [7; 16]);
///
/// // DISCOVER of the namespace "foo1", at most ten.
/// let payload = Bytes::from_static(&[0x08, 0x03, 0x2a, 0x08, 0x0a, 0x04, b'f', b'o', b'o', b'1', 0x10, 0x0a]);
/// let peer: PeerId = "12D3KooWA4Xop1JaT3MHxwYMkCepYsv4iPVopMXwCz5iHYdBfeSB".parse()?;
/// let Ok(Command::Discover(discover)) = server.reader().read(&peer, &payload) else { panic!("it is well-formed") };
/// let requester = Requester::new(peer);
/// let Ok(Discovered::Page(page)) = server.handle_discover(now, &requester, &discover) else { panic!("it is answered") };
/// assert_eq!(page.count(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    registry: Registry,
    /// Registrations without a signature: none of a (peer, namespace) that `registry` holds, as far as it has not ended.
    unsigned: Registry,
    now: Time,
    /// The highest position given out.
    position: u64,
    pending: Pending,
    policies: Policies,
    by_peer: Limiter<PeerId>,
    by_prefix: Limiter<IpPrefix>,
    events: VecDeque<Event>,
    events_missed: u64,
    stats: Stats,
    /// What samples are drawn with.
    rng: ChaCha8Rng,
}

/// Who asks, and what the connection knows of them.
#[derive(Clone, Debug)]
pub struct Requester {
    /// The peer that the transport has authenticated.
    pub peer: PeerId,
    /// Where its connection comes from, if that is an IP address.
    pub prefix: Option<IpPrefix>,
    /// What is known of what it reads: that it has registered unsigned earlier on its connection ([`Register::kind`]), or what
    /// its agent version tells; see [`reads_of_agent`].
    pub agent_reads: Option<Reads>,
    /// Whether more may become known of it soon, and it is worth waiting for that.
    pub may_wait: bool,
}

impl Requester {
    /// A peer of whom nothing else is known, nor will be.
    #[must_use]
    pub const fn new(peer: PeerId) -> Self {
        Self { peer, prefix: None, agent_reads: None, may_wait: false }
    }
}

/// How REGISTER went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It is registered, for so long: as long as was asked for, or, where the record is unsigned and a signed one stands in its
    /// place, as long as that stands.
    Done(Ttl),
    /// It is registered once the change is committed; the answer comes from [`Server::handle_committed`].
    Pending(ChangeId),
}

/// How DISCOVER went.
#[derive(Debug)]
pub enum Discovered {
    /// The answer.
    Page(Page),
    /// There is something to serve, and nothing tells which flavours the requester reads. Ask again with
    /// [`Requester::may_wait`] unset when its agent version is known, or after [`AGENT_PATIENCE`].
    AgentUnknown,
}

/// A change that is committed, or is not.
#[derive(Debug)]
pub struct Settled {
    /// Which.
    pub id: ChangeId,
    /// The TTL granted; `None` where a registration was withdrawn.
    pub result: Result<Option<Ttl>, Refusal>,
}

impl Server {
    /// A point with an empty registry.
    ///
    /// `seed` keys hash tables, and samples are drawn with it; it must be random and secret from peers, or they can slow the
    /// point down.
    #[must_use]
    pub fn new(now: Time, config: ServerConfig, seed: [u8; 16]) -> Self {
        let (config, keys) = (config.bounded(), Keys::new(seed));
        Self {
            policies: Policies::new(&config.policies),
            by_peer: Limiter::new(config.rate_per_peer, keys),
            by_prefix: Limiter::new(config.rate_per_prefix, keys),
            config,
            registry: Registry::new(now, keys),
            unsigned: Registry::new(now, keys),
            now,
            // The wall clock in microseconds: after a restart without a store, above every position before it, so that
            // an old cookie lists everything again and skips nothing.
            position: now.as_unix_millis().saturating_mul(1_000),
            pending: Pending::default(),
            events: VecDeque::new(),
            events_missed: 0,
            stats: Stats::default(),
            rng: keys.rng(),
        }
    }

    /// A reader of requests with this point's bounds.
    #[must_use]
    pub fn reader(&self) -> RequestReader {
        RequestReader::new(&self.config)
    }

    /// Most payload bytes of one answer to DISCOVER: the setting, brought within its bounds.
    #[must_use]
    pub fn page_bytes_max(&self) -> usize {
        self.config.page_bytes_max
    }

    /// A frame has come, of which nothing is read yet: takes a token of its peer's bucket and of its prefix's.
    ///
    /// # Errors
    /// [`Refusal::TooFast`] to be answered, if the request is of a kind that is answered at all
    /// ([`RequestReader::kind`]); it is not to be read further, so that it costs no verification.
    pub fn handle_arrival(&mut self, now: Time, requester: &Requester) -> Result<(), Refusal> {
        self.now = self.now.max(now);
        let peer = &requester.peer;
        let mut taken = self.by_peer.take(self.now, *peer);
        if let (Ok(()), Some(prefix)) = (taken, requester.prefix) {
            taken = self.by_prefix.take(self.now, prefix);
        }
        taken.map_err(|retry_after| {
            let refusal = Refusal::TooFast { retry_after };
            self.refused(peer, &refusal);
            refusal
        })
    }

    /// REGISTER: registers, or renews.
    ///
    /// # Errors
    /// [`Refusal`] to be answered: a quota is used up (never for a renewal), or too much waits to be committed.
    pub fn handle_register(
        &mut self,
        now: Time,
        requester: &Requester,
        register: Register<'_>,
    ) -> Result<Registered, Refusal> {
        self.advance(now);
        let peer = &requester.peer;
        let kind = register.kind();
        if kind == RecordKind::Unsigned
            && let Some(left) = self.signed_ttl(peer, register.namespace)
        {
            return Ok(Registered::Done(register.ttl.min(left)));
        }
        let is_new = !self.is_registered_or_pending(peer, register.namespace);
        let growth = self.growth(peer, &register);
        self.check_quotas(requester, &register, is_new, growth).inspect_err(|refusal| self.refused(peer, refusal))?;
        self.position += 1;
        let put = Put {
            peer: *peer,
            namespace: self.interned(register.namespace),
            position: self.position,
            kind,
            record: register.record.bytes().clone(),
            ends: self.now + core::time::Duration::from_secs(register.ttl.as_secs()),
            prefix: requester.prefix,
        };
        let peer_range = register.record.peer_id_range();
        if !self.config.deferred_commit {
            return Ok(Registered::Done(self.apply_put(&put, peer_range.start, peer_range.len(), register.ttl)));
        }
        self.pending.reserve(&put, is_new, growth as u64);
        Ok(Registered::Pending(self.queue(Change::Put(put), Some(register.ttl), peer_range.start, peer_range.len())))
    }

    /// UNREGISTER from `peer`: what it names is listed no longer, or once the change returned is committed. It has no
    /// answer; where too much waits to be committed it is dropped and counted as refused.
    pub fn handle_unregister(&mut self, now: Time, peer: &PeerId, unregister: &Unregister<'_>) -> Option<ChangeId> {
        self.advance(now);
        let mut buffer = PeerBytes::new();
        let peer_bytes = buffer.of(peer);
        let namespaces = match unregister.namespace {
            Some(name) if self.is_registered_or_pending(peer, name) => vec![self.interned(name)],
            Some(_) => Vec::new(),
            None => {
                let mut namespaces = self.registry.namespaces_of(peer_bytes);
                namespaces.extend(self.unsigned.namespaces_of(peer_bytes));
                namespaces.extend(self.pending.puts_of(peer).map(|put| put.namespace.clone()));
                namespaces.sort_unstable();
                namespaces.dedup();
                namespaces
            }
        };
        let mut last = None;
        for namespace in namespaces {
            // A withdrawal that is lost so ends with its TTL; without an answer nobody can be told.
            if self.pending.len >= self.config.pending_max {
                self.refused(peer, &Refusal::Overloaded);
                break;
            }
            self.position += 1;
            let position = self.position;
            if self.config.deferred_commit {
                last = Some(self.queue(Change::Remove { peer: *peer, namespace, position }, None, 0, 0));
            } else {
                self.apply_remove(peer, &namespace);
            }
        }
        last
    }

    /// DISCOVER: a page of registrations whose records the requester reads, after its cookie.
    ///
    /// # Errors
    /// [`Refusal`] to be answered.
    pub fn handle_discover(
        &mut self,
        now: Time,
        requester: &Requester,
        discover: &Discover<'_>,
    ) -> Result<Discovered, Refusal> {
        self.advance(now);
        let Some(reads) = self.reads_of(requester, discover) else {
            return Ok(Discovered::AgentUnknown);
        };
        // A position above the highest given out is of another life of this point: the listing starts afresh.
        let after = if discover.after > self.position { 0 } else { discover.after };
        let mut page = PageWriter::new(self.page_payload_bytes(discover.page_bytes_max));
        let there = discover.namespace.map_or(self.len(), |name| self.count_in(name));
        page.reserve(discover.limit.count().min(there) * REGISTRATION_BYTES_GUESS);
        let mut filled = self.fill(&mut page, discover, reads, after);
        if filled.is_cut && page.count() == 0 {
            // An empty page whose cookie stands still would end the listing for good.
            page = PageWriter::new(PAGE_BYTES_MIN);
            let first = Discover { limit: Limit::new(1), ..discover.clone() };
            filled = self.fill(&mut page, &first, reads, after);
        }
        let covered = filled.position;
        let cookie = PositionCookie { position: covered, namespace: discover.namespace };
        let page = page.finish(&cookie.encode());
        self.note_served(requester, discover.namespace, page.count());
        Ok(Discovered::Page(page))
    }

    /// Bytes of the whole frame, length prefix included, that the answer to a DISCOVER can need: at least as many as it will
    /// have, and no fewer than make [`Discover::with_page_bytes_max`] change nothing.
    ///
    /// It costs a lookup by name. The bound holds until a registration is added: ask under the same lock as
    /// [`Self::handle_discover`], or hand it to [`Discover::with_page_bytes_max`].
    #[must_use]
    pub fn page_bytes_needed(&self, discover: &Discover<'_>) -> usize {
        self.page_bytes_bound(discover.namespace, discover.limit, discover.page_bytes_max)
    }

    fn page_bytes_bound(&self, namespace: Option<&str>, limit: Limit, page_bytes_max: usize) -> usize {
        let there = namespace.map_or(self.len(), |name| self.count_in(name));
        let listed = limit.count().min(there);
        let largest = self.registry.largest_record_bytes().max(self.unsigned.largest_record_bytes());
        // In a namespace of few records, the sum of all of them is less than the largest record for each.
        let all = self.registry.record_bytes_in(namespace) + self.unsigned.record_bytes_in(namespace);
        let all = usize::try_from(all).unwrap_or(usize::MAX);
        let name_bytes = namespace.map_or(NAMESPACE_BYTES_MAX, str::len);
        let records = listed.saturating_mul(largest).min(all);
        let bytes = listed.saturating_mul(REGISTRATION_OVERHEAD_BYTES + name_bytes).saturating_add(records);
        let bound = page_bytes_max.min(self.config.page_bytes_max.saturating_add(FRAME_PREFIX_BYTES_MAX));
        bytes.saturating_add(EMPTY_PAGE_BYTES).min(bound)
    }

    /// The bound on a page's payload that keeps its frame within so many bytes.
    fn page_payload_bytes(&self, frame_bytes_max: usize) -> usize {
        frame_bytes_max.saturating_sub(FRAME_PREFIX_BYTES_MAX).min(self.config.page_bytes_max)
    }

    fn note_served(&mut self, requester: &Requester, namespace: Option<&str>, count: usize) {
        self.stats.discovers += 1;
        self.stats.served += count as u64;
        if self.config.events_max > 0 {
            let namespace = namespace.map(|name| self.interned(name));
            self.emit(Event::Served { peer: requester.peer, namespace, count });
        }
    }

    /// Counts a request that [`RequestReader::read`] has rejected.
    pub fn handle_rejected(&mut self, peer: &PeerId, rejected: &Rejected) {
        self.refused(peer, &rejected.refusal);
    }

    /// Whether [`Self::poll_commit`] has something to give.
    #[must_use]
    pub fn has_commit(&self) -> bool {
        self.pending.has_batch()
    }

    /// The changes that wait to be written, as one batch; `None` if there are none.
    ///
    /// Batches may be written while earlier ones still are; they become visible in order. What has ended by its TTL goes
    /// with the next changes of peers, or by itself once there is much of it.
    pub fn poll_commit(&mut self) -> Option<Batch> {
        self.pending.take_batch()
    }

    /// A batch is durable, or is not and never will be. Returns the changes that this settles, in order: those of the
    /// batch, and of later ones that waited for it.
    pub fn handle_committed(&mut self, now: Time, id: BatchId, result: Result<(), CommitFailed>) -> Vec<Settled> {
        self.advance(now);
        let mut settled = Vec::new();
        for batch in self.pending.settle(id, result) {
            let stored = batch.result == Some(Ok(()));
            for change in batch.changes {
                settled.push(self.settle(change, stored));
            }
            if !stored {
                for forget in batch.forgets {
                    self.forget(forget);
                }
            }
        }
        settled
    }

    /// When [`Self::handle_timeout`] has something to do, at the latest; `None` when there is nothing to wait for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        match (self.registry.next_expiry(), self.unsigned.next_expiry()) {
            (Some(signed), Some(unsigned)) => Some(signed.min(unsigned)),
            (signed, unsigned) => signed.or(unsigned),
        }
    }

    /// Takes out registrations that have ended: a bounded number, so [`Self::poll_timeout`] may name this instant again.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.expire(EXPIRY_PER_TIMEOUT);
    }

    /// The next event, if events are kept.
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.events_missed > 0 {
            return Some(Event::Missed { count: core::mem::take(&mut self.events_missed) });
        }
        self.events.pop_front()
    }

    /// Whether `peer` is registered in `namespace`.
    #[must_use]
    pub fn is_registered(&self, peer: &PeerId, namespace: &str) -> bool {
        let mut buffer = PeerBytes::new();
        let peer = buffer.of(peer);
        self.registry.contains(peer, namespace) || self.unsigned.contains(peer, namespace)
    }

    /// Counters, and what the point holds.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            registrations: self.len(),
            unsigned: self.unsigned.len(),
            namespaces: self.registry.namespaces_len() + self.unsigned_namespaces().count(),
            record_bytes: self.record_bytes(),
            ..self.stats
        }
    }

    /// Memory that the registry has allocated, in bytes, records included; zero when nothing is registered. It takes time
    /// in proportion to the registry, a hundredth of a second for a million registrations.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.registry.allocated_bytes() + self.unsigned.allocated_bytes()
    }

    /// The namespaces with registrations and the number of these, in no particular order.
    pub fn namespaces(&self) -> impl Iterator<Item = (&Namespace, u32)> {
        let signed = self.registry.namespaces();
        let signed = signed.map(|(name, count)| (name, count + self.unsigned.count_in(name.as_str()) as u32));
        signed.chain(self.unsigned_namespaces())
    }

    /// The namespaces that hold unsigned registrations alone.
    fn unsigned_namespaces(&self) -> impl Iterator<Item = (&Namespace, u32)> {
        self.unsigned.namespaces().filter(|(name, _)| self.registry.namespace(name.as_str()).is_none())
    }

    fn len(&self) -> usize {
        self.registry.len() + self.unsigned.len()
    }

    fn count_in(&self, namespace: &str) -> usize {
        self.registry.count_in(namespace) + self.unsigned.count_in(namespace)
    }

    fn record_bytes(&self) -> u64 {
        self.registry.record_bytes() + self.unsigned.record_bytes()
    }

    /// The registry for records of a kind.
    fn registry_of(&self, kind: RecordKind) -> &Registry {
        match kind {
            RecordKind::Signed(_) => &self.registry,
            RecordKind::Unsigned => &self.unsigned,
        }
    }

    /// How long a signed registration of the peer stands yet, if one does.
    fn signed_ttl(&self, peer: &PeerId, namespace: &str) -> Option<Ttl> {
        self.registry.ttl_secs(self.now, PeerBytes::new().of(peer), namespace).map(Ttl::from_secs)
    }

    /// Brings the clock forward and pays a share of what has ended meanwhile.
    fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.expire(EXPIRY_PER_REQUEST);
    }

    fn expire(&mut self, budget: usize) {
        let mut budget = budget;
        while let Some(expired) = self.registry.pop_expired(self.now, &mut budget) {
            self.expired(expired, RecordKind::Signed);
        }
        while let Some(expired) = self.unsigned.pop_expired(self.now, &mut budget) {
            self.expired(expired, |_| RecordKind::Unsigned);
        }
    }

    fn expired(&mut self, expired: Expired, kind: impl Fn(Flavour) -> RecordKind) {
        let Ok(peer) = PeerId::from_bytes(&expired.peer) else { return };
        if self.config.deferred_commit {
            for kind in expired.flavours.iter().map(kind) {
                self.forget(Forget { peer, namespace: expired.namespace.clone(), kind });
            }
        }
        self.recount(&peer, &expired.namespace);
        if !expired.is_gone {
            return;
        }
        self.stats.expiries += 1;
        if self.config.events_max > 0 {
            self.emit(Event::Expired { peer, namespace: expired.namespace });
        }
    }

    /// Has the log forget a record that has ended, unless another one takes its place there.
    fn forget(&mut self, forget: Forget) {
        let Forget { peer, namespace, kind } = &forget;
        let is_replaced =
            self.registry_of(*kind).has_record(PeerBytes::new().of(peer), namespace.as_str(), place(*kind))
                || self.pending.replace_ended(&forget);
        if !is_replaced && !self.pending.push_forget(forget) {
            self.stats.forgets_dropped += 1;
        }
    }

    /// Bytes that a REGISTER adds to what is held.
    fn growth(&self, peer: &PeerId, register: &Register<'_>) -> usize {
        if self.config.record_bytes_max == u64::MAX {
            return 0;
        }
        let (kind, len) = (register.kind(), register.record.bytes().len());
        growth(&self.registry, &self.unsigned, PeerBytes::new().of(peer), register.namespace, kind, len)
    }

    /// A registration has changed or ended, or a put of it was not stored: the puts that wait for it count for something
    /// else against the quotas.
    fn recount(&mut self, peer: &PeerId, namespace: &Namespace) {
        if !self.pending.has_puts_of(peer) {
            return;
        }
        let mut buffer = PeerBytes::new();
        let (peer_bytes, name) = (buffer.of(peer), namespace.as_str());
        let (signed, unsigned, is_bounded) = (&self.registry, &self.unsigned, self.config.record_bytes_max < u64::MAX);
        let is_there = signed.contains(peer_bytes, name) || unsigned.contains(peer_bytes, name);
        self.pending.recount(peer, namespace, is_there, |kind, record_bytes| {
            if is_bounded { growth(signed, unsigned, peer_bytes, name, kind, record_bytes) } else { 0 }
        });
    }

    fn check_quotas(
        &self,
        requester: &Requester,
        register: &Register<'_>,
        is_new: bool,
        growth: usize,
    ) -> Result<(), Refusal> {
        let (config, pending) = (&self.config, &self.pending);
        if pending.len >= config.pending_max
            || pending.record_bytes + register.record.bytes().len() > config.pending_bytes_max
        {
            return Err(Refusal::Overloaded);
        }
        // A renewal changes no count, and bytes only by how much its record has grown.
        let slack = if is_new { 0 } else { config.record_bytes_max / 8 };
        let bytes_max = config.record_bytes_max.saturating_add(slack);
        if growth > 0 && self.record_bytes() + pending.bytes + growth as u64 > bytes_max {
            return Err(Refusal::BytesFull);
        }
        if !is_new {
            return Ok(());
        }
        let peer = &requester.peer;
        let max = config.registrations_per_peer_max;
        let mut buffer = PeerBytes::new();
        let peer_bytes = buffer.of(peer);
        let of_peer = self.registry.count_of(peer_bytes) + self.unsigned.count_of(peer_bytes) + pending.new_of(peer);
        if of_peer >= max {
            return Err(Refusal::PeerFull { max });
        }
        if let Some(prefix) = requester.prefix {
            let max = config.registrations_per_prefix_max;
            let of_prefix = self.registry.count_of_prefix(prefix)
                + self.unsigned.count_of_prefix(prefix)
                + pending.new_from(&prefix);
            if of_prefix >= max {
                return Err(Refusal::PrefixFull { max });
            }
        }
        let name = register.namespace;
        let max = self.policies.of(name).and_then(|policy| policy.registrations_max);
        let max = max.unwrap_or(config.registrations_per_namespace_max);
        if max < usize::MAX && self.count_in(name) + pending.new_in(name) >= max {
            return Err(Refusal::NamespaceFull);
        }
        if self.len() + pending.new >= config.registrations_max || !self.registry_of(register.kind()).has_room() {
            return Err(Refusal::Full);
        }
        Ok(())
    }

    fn is_registered_or_pending(&self, peer: &PeerId, namespace: &str) -> bool {
        self.is_registered(peer, namespace) || self.pending.puts_of(peer).any(|put| put.namespace.as_str() == namespace)
    }

    /// What the requester reads: what it says itself, what it registered with, what its connection tells, and else a setting;
    /// `None` to wait for the agent version.
    fn reads_of(&self, requester: &Requester, discover: &Discover<'_>) -> Option<Reads> {
        let mut buffer = PeerBytes::new();
        let peer = buffer.of(&requester.peer);
        let is_unsigned = || self.unsigned.count_of(peer) > 0;
        let known = discover
            .reads
            .or_else(|| self.registry.flavours_of(peer))
            .map(Reads::Envelopes)
            .or_else(|| is_unsigned().then_some(Reads::PeerInfo))
            .or(requester.agent_reads)
            .filter(|reads| self.config.legacy_peer_info || *reads != Reads::PeerInfo);
        if known.is_some() {
            return known;
        }
        let there = self.registry.flavours_in(discover.namespace);
        let is_nothing_there = discover.namespace.map_or(self.len(), |name| self.count_in(name)) == 0;
        match there {
            _ if is_nothing_there => Some(Reads::Envelopes(Flavours::BOTH)),
            _ if requester.may_wait => None,
            Flavours::BOTH | Flavours::NONE => Some(Reads::Envelopes(self.config.unknown_reads)),
            only => Some(Reads::Envelopes(only)),
        }
    }

    /// The namespace with this name; its allocation is shared where the registry holds it.
    fn interned(&self, name: &str) -> Namespace {
        match self.registry.namespace(name).or_else(|| self.unsigned.namespace(name)) {
            Some(namespace) => namespace.clone(),
            None => Namespace::new(name).expect("the reader of requests has checked the name"),
        }
    }

    fn queue(&mut self, change: Change, ttl: Option<Ttl>, peer_start: usize, peer_len: usize) -> ChangeId {
        self.pending.queue(change, ttl, peer_start, peer_len)
    }

    fn settle(&mut self, pending: PendingChange, stored: bool) -> Settled {
        let id = pending.id;
        match (&pending.change, pending.ttl) {
            (Change::Put(put), Some(ttl)) => {
                let replaces_ended = self.pending.release(put);
                if !stored {
                    self.put_failed(put, replaces_ended);
                    return Settled { id, result: Err(Refusal::StoreFailed) };
                }
                let ttl = self.apply_put(put, pending.peer_start, pending.peer_len, ttl);
                Settled { id, result: Ok(Some(ttl)) }
            }
            (Change::Remove { peer, namespace, .. }, _) if stored => {
                self.apply_remove(peer, namespace);
                Settled { id, result: Ok(None) }
            }
            _ => Settled { id, result: Err(Refusal::StoreFailed) },
        }
    }

    /// A put was not stored: what it was to renew may have ended meanwhile, and puts behind it may wait.
    fn put_failed(&mut self, put: &Put, replaces_ended: bool) {
        self.refused(&put.peer, &Refusal::StoreFailed);
        self.recount(&put.peer, &put.namespace);
        if replaces_ended {
            let (peer, namespace, kind) = (put.peer, put.namespace.clone(), put.kind);
            self.forget(Forget { peer, namespace, kind });
        }
    }

    /// Makes a put visible; for how long it is granted.
    fn apply_put(&mut self, put: &Put, peer_start: usize, peer_len: usize, ttl: Ttl) -> Ttl {
        let record = Record { flavour: place(put.kind), bytes: &put.record, peer_start, peer_len };
        let renewed = match put.kind {
            RecordKind::Signed(_) => {
                let was_unsigned = self.unsigned.remove(PeerBytes::new().of(&put.peer), put.namespace.as_str());
                self.registry.put(&put.namespace, record, put.position, put.ends, put.prefix) || was_unsigned
            }
            RecordKind::Unsigned => {
                // One that was signed may have come before it while it waited.
                if let Some(left) = self.signed_ttl(&put.peer, put.namespace.as_str()) {
                    return ttl.min(left);
                }
                self.unsigned.put(&put.namespace, record, put.position, put.ends, put.prefix)
            }
        };
        self.recount(&put.peer, &put.namespace);
        if renewed {
            self.stats.renewals += 1;
        } else {
            self.stats.registers += 1;
        }
        if self.config.events_max > 0 {
            let (peer, namespace, kind) = (put.peer, put.namespace.clone(), put.kind);
            self.emit(Event::Registered { peer, namespace, kind, ttl, renewed });
        }
        ttl
    }

    fn apply_remove(&mut self, peer: &PeerId, namespace: &Namespace) {
        let mut buffer = PeerBytes::new();
        let peer_bytes = buffer.of(peer);
        let was_signed = self.registry.remove(peer_bytes, namespace.as_str());
        if !self.unsigned.remove(peer_bytes, namespace.as_str()) && !was_signed {
            return;
        }
        self.recount(peer, namespace);
        self.stats.unregisters += 1;
        if self.config.events_max > 0 {
            self.emit(Event::Unregistered { peer: *peer, namespace: namespace.clone() });
        }
    }

    fn refused(&mut self, peer: &PeerId, refusal: &Refusal) {
        self.stats.refusals += 1;
        self.stats.refused.count(refusal.kind());
        if self.config.events_max > 0 {
            self.emit(Event::Refused { peer: *peer, refusal: refusal.clone() });
        }
    }

    fn emit(&mut self, event: Event) {
        if self.events.len() >= self.config.events_max {
            self.events_missed += 1;
            return;
        }
        self.events.push_back(event);
    }
}

/// The frame that answers a REGISTER that was granted.
#[must_use]
pub fn registered_frame(ttl: Ttl) -> Vec<u8> {
    let response =
        RegisterResponse { status: Some(Status::Ok), ttl_secs: Some(ttl.as_secs()), ..RegisterResponse::default() };
    let mut frame = Vec::new();
    Response::Register(response).encode_frame(&mut frame);
    frame
}

/// Bytes by which a record is longer than what it would replace: the record of its kind, and what is unsigned, if it is signed.
fn growth(signed: &Registry, unsigned: &Registry, peer: &[u8], namespace: &str, kind: RecordKind, len: usize) -> usize {
    match kind {
        RecordKind::Signed(flavour) => {
            signed.growth(peer, namespace, flavour, len).saturating_sub(unsigned.bytes_of(peer, namespace))
        }
        RecordKind::Unsigned => unsigned.growth(peer, namespace, place(kind), len),
    }
}

/// The place of a kind of record within its registry: the one for unsigned records has a single one.
fn place(kind: RecordKind) -> Flavour {
    kind.flavour().unwrap_or(Flavour::Standard)
}

/// Whether a request of this type is answered at all.
#[must_use]
pub fn has_answer(kind: MessageType) -> bool {
    matches!(kind, MessageType::Register | MessageType::Discover)
}

/// Bytes of a peer id without an allocation.
struct PeerBytes([u8; PEER_BYTES_MAX]);

/// Longest peer id: a multihash of 64 bytes, its code and its length.
const PEER_BYTES_MAX: usize = 64 + 10 + 10;

impl PeerBytes {
    const fn new() -> Self {
        Self([0; PEER_BYTES_MAX])
    }

    fn of(&mut self, peer: &PeerId) -> &[u8] {
        let len = peer.as_ref().write(&mut self.0[..]).expect("the buffer has room for the longest multihash");
        &self.0[..len]
    }
}
