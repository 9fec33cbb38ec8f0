//! A point at whose desk a test stands: requests go in as frames, answers come out as a client reads them.
//!
//! It is for tests: what a test never expects is a panic.

use core::time::Duration;

use bytes::Bytes;
use libp2p_identity::PeerId;
use rendezvous_core::{
    Time,
    server::{Command, Discovered, Event, Origin, Refusal, Registered, Requester, Server, ServerConfig},
};
use rendezvous_record::{Flavour, Flavours, Limits, VerifiedRecord};
use rendezvous_wire::{Discover, MessageType, Register, Request, Response, Status, Ttl, Unregister, frame};

use crate::fixtures::{self, EPOCH};

/// A point, a clock, and requests as frames.
#[derive(Debug)]
pub struct Desk {
    /// The point.
    pub server: Server,
    /// The present instant.
    pub now: Time,
    /// Where those who register come from.
    pub origin: Origin,
}

/// A registration as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub namespace: String,
    /// Who.
    pub peer: PeerId,
    /// Flavour of the record that was served.
    pub flavour: Flavour,
    /// Remaining, in seconds.
    pub ttl_secs: u64,
}

/// A page as a client reads it.
#[derive(Debug)]
pub struct Page {
    /// The registrations, each record verified.
    pub found: Vec<Found>,
    /// The cookie.
    pub cookie: Vec<u8>,
    /// Bytes of the whole frame.
    pub frame_len: usize,
}

impl Page {
    /// The peers, in order.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerId> {
        self.found.iter().map(|found| found.peer).collect()
    }
}

impl Desk {
    /// A point with the default settings that keeps events.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a desk is a choice of settings, not a value")]
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// A point with other settings.
    #[must_use]
    pub fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut config = ServerConfig::default();
        config.events_max = 1_000;
        change(&mut config);
        Self { server: Server::new(EPOCH, config, [9; 16]), now: EPOCH, origin: Origin::Unlocated }
    }

    /// Lets so many seconds pass.
    pub fn pass(&mut self, secs: u64) {
        self.now = self.now + Duration::from_secs(secs);
    }

    /// REGISTER of peer number `number` with its standard record.
    ///
    /// # Errors
    /// The refusal.
    pub fn register(&mut self, number: u64, namespace: &str, ttl_secs: u64) -> Result<Ttl, Refusal> {
        self.register_record(&fixtures::record(number, Flavour::Standard), namespace, Some(ttl_secs))
    }

    /// REGISTER of a record by its own peer.
    ///
    /// # Errors
    /// The refusal.
    pub fn register_record(
        &mut self,
        record: &VerifiedRecord,
        namespace: &str,
        ttl: Option<u64>,
    ) -> Result<Ttl, Refusal> {
        match self.register_pending(&record.peer_id(), Some(record.envelope()), namespace, ttl)? {
            Registered::Done(ttl) => Ok(ttl),
            Registered::Pending(_) => panic!("a registry in memory commits at once"),
        }
    }

    /// REGISTER of any bytes by any peer, perhaps to be committed.
    ///
    /// # Errors
    /// The refusal.
    pub fn register_pending(
        &mut self,
        peer: &PeerId,
        envelope: Option<&[u8]>,
        namespace: &str,
        ttl_secs: Option<u64>,
    ) -> Result<Registered, Refusal> {
        let register = Register { namespace: Some(namespace.as_bytes()), signed_peer_record: envelope, ttl_secs };
        let payload = Bytes::from(Request::Register(register).to_message().encode());
        match self.server.reader().read(peer, &payload) {
            Ok(Command::Register(register)) => {
                let requester = Requester { origin: self.origin, ..Requester::new(*peer) };
                self.server.handle_register(self.now, &requester, register)
            }
            Ok(other) => panic!("REGISTER was read as {other:?}"),
            Err(rejected) => {
                assert_eq!(rejected.kind, Some(MessageType::Register));
                self.server.handle_rejected(peer, &rejected);
                Err(rejected.refusal)
            }
        }
    }

    /// UNREGISTER of one namespace, or of all.
    pub fn unregister(&mut self, peer: &PeerId, namespace: Option<&str>) {
        let unregister = Unregister { namespace: namespace.map(str::as_bytes), id: None };
        let payload = Bytes::from(Request::Unregister(unregister).to_message().encode());
        let Ok(Command::Unregister(unregister)) = self.server.reader().read(peer, &payload) else {
            panic!("UNREGISTER was not read")
        };
        self.server.handle_unregister(self.now, peer, &unregister);
    }

    /// DISCOVER by a stranger that reads both flavours.
    ///
    /// # Errors
    /// The refusal.
    pub fn discover(&mut self, namespace: Option<&str>, limit: u64, cookie: &[u8]) -> Result<Page, Refusal> {
        self.discover_as(&stranger(), Some(Flavours::BOTH), namespace, limit, cookie)
            .map(|page| page.expect("it says what it reads"))
    }

    /// DISCOVER by a requester; `None` if the point wants to know its agent version first.
    ///
    /// # Errors
    /// The refusal.
    pub fn discover_as(
        &mut self,
        requester: &Requester,
        reads: Option<Flavours>,
        namespace: Option<&str>,
        limit: u64,
        cookie: &[u8],
    ) -> Result<Option<Page>, Refusal> {
        let discover = Discover {
            namespace: namespace.map(str::as_bytes),
            limit: Some(limit),
            cookie: (!cookie.is_empty()).then_some(cookie),
            reads: reads.map(|reads| u64::from(reads.bits())),
        };
        let payload = Bytes::from(Request::Discover(discover).to_message().encode());
        let discover = match self.server.reader().read(&requester.peer, &payload) {
            Ok(Command::Discover(discover)) => discover,
            Ok(other) => panic!("DISCOVER was read as {other:?}"),
            Err(rejected) => return Err(rejected.refusal),
        };
        match self.server.handle_discover(self.now, requester, &discover)? {
            Discovered::AgentUnknown => Ok(None),
            Discovered::Page(page) => Ok(Some(read_page(page.as_bytes()))),
        }
    }

    /// Follows cookies from `cookie` to the end.
    #[must_use]
    pub fn walk(&mut self, namespace: Option<&str>, limit: u64, cookie: &[u8]) -> Vec<Found> {
        let mut cookie = cookie.to_vec();
        let mut all = Vec::new();
        loop {
            let answer = self.discover(namespace, limit, &cookie).expect("what a point answers is well-formed");
            let is_last = (answer.found.len() as u64) < limit;
            all.extend(answer.found);
            cookie = answer.cookie;
            if is_last {
                return all;
            }
        }
    }

    /// The events since the last call.
    pub fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.server.poll_event()).collect()
    }

    /// Lets time pass until nothing is left to do.
    ///
    /// # Panics
    /// If there is no end to it.
    pub fn run_dry(&mut self) {
        for _ in 0..100_000 {
            let Some(next) = self.server.poll_timeout() else { return };
            self.now = self.now.max(next);
            self.server.handle_timeout(self.now);
        }
        panic!("the point still has something to wait for");
    }
}

/// A requester of whom nothing is known, and nothing will be.
#[must_use]
pub fn stranger() -> Requester {
    Requester::new(peer(u64::MAX))
}

/// The id of peer number `number`.
#[must_use]
pub fn peer(number: u64) -> PeerId {
    fixtures::keypair(number).public().to_peer_id()
}

fn read_page(bytes: &[u8]) -> Page {
    let (payload, frame_len) = frame::split(bytes, frame::PAGE_BYTES_MAX)
        .expect("what a point answers is well-formed")
        .expect("what a point answers is well-formed");
    assert_eq!(frame_len, bytes.len(), "one whole frame");
    let Ok(Response::Discover(answer)) = Response::decode(payload) else { panic!("no DISCOVER_RESPONSE") };
    assert_eq!(answer.status, Some(Status::Ok), "status is explicit");
    let found = answer.registrations.iter().map(|registration| {
        let registration = registration.expect("what a point answers is well-formed");
        let envelope =
            Bytes::copy_from_slice(registration.signed_peer_record.expect("what a point answers is well-formed"));
        let record = VerifiedRecord::verify(envelope, &Limits::default()).expect("what a point answers is well-formed");
        Found {
            namespace: String::from_utf8(registration.namespace.expect("what a point answers is well-formed").to_vec())
                .expect("what a point answers is well-formed"),
            peer: record.peer_id(),
            flavour: record.flavour(),
            ttl_secs: registration.ttl_secs.expect("what a point answers is well-formed"),
        }
    });
    Page {
        found: found.collect(),
        cookie: answer.cookie.expect("what a point answers is well-formed").to_vec(),
        frame_len,
    }
}
