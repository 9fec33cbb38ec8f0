//! From a frame to something the point can act on: all that needs no state, and so no lock.

use core::ops::Range;

use bytes::Bytes;
use libp2p_identity::PeerId;
use rendezvous_record::{Envelope, Flavours, VerifiedRecord, VerifyError};
use rendezvous_wire::{Dialect, Limit, MessageType, Namespace, PeerInfo, PositionCookie, Request, Ttl};

use super::{
    admission::{Access, Policies},
    config::ServerConfig,
    refusal::Refusal,
    unsigned::UnsignedRecord,
};
use crate::RecordKind;

/// A request that has passed every check that needs no state.
#[derive(Debug)]
pub enum Command<'a> {
    /// REGISTER.
    Register(Register<'a>),
    /// UNREGISTER.
    Unregister(Unregister<'a>),
    /// DISCOVER.
    Discover(Discover<'a>),
}

/// Microseconds of a request beside a signature and the registrations of a page.
const REQUEST_MICROS: u32 = 15;

/// Microseconds of a REGISTER beside its signature.
const REGISTER_MICROS: u32 = 20;

/// A request as far as it can be told before it is read, for [`Server::handle_arrival`](super::Server::handle_arrival).
///
/// The default is a request of no known type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival<'a> {
    /// Its type, which a refusal is encoded for; `None` if the frame is no message.
    pub kind: Option<MessageType>,
    /// Microseconds of one core that it takes, beside what depends on the answer.
    pub work_micros: u32,
    /// What an UNREGISTER names, as far as it is a namespace.
    pub namespace: Option<&'a str>,
}

impl<'a> Arrival<'a> {
    pub(super) fn of(kind: Option<MessageType>) -> Self {
        Self { kind, work_micros: REQUEST_MICROS, namespace: None }
    }

    pub(super) fn register(envelope: Option<&[u8]>) -> Self {
        let envelope = envelope.and_then(|envelope| Envelope::parse(envelope).ok());
        let verify_micros = envelope.map_or(0, |envelope| envelope.verify_micros());
        let work_micros = REGISTER_MICROS + verify_micros;
        Self { work_micros, ..Self::of(Some(MessageType::Register)) }
    }

    fn unregister(namespace: Option<&'a [u8]>) -> Self {
        let namespace = namespace.and_then(|name| str::from_utf8(name).ok()).filter(|name| !name.is_empty());
        Self { namespace, ..Self::of(Some(MessageType::Unregister)) }
    }
}

/// A checked REGISTER.
#[derive(Debug)]
pub struct Register<'a> {
    pub(super) namespace: &'a str,
    pub(super) record: Record,
    pub(super) ttl: Ttl,
}

/// The record in a REGISTER.
#[derive(Debug)]
pub(super) enum Record {
    Signed(VerifiedRecord),
    Unsigned(UnsignedRecord),
}

impl Register<'_> {
    /// The kind of its record.
    #[must_use]
    pub fn kind(&self) -> RecordKind {
        match &self.record {
            Record::Signed(record) => RecordKind::Signed(record.flavour()),
            Record::Unsigned(_) => RecordKind::Unsigned,
        }
    }
}

impl Record {
    pub(super) fn bytes(&self) -> &Bytes {
        match self {
            Self::Signed(record) => record.envelope(),
            Self::Unsigned(record) => &record.bytes,
        }
    }

    /// Where the peer's id stands in the bytes.
    pub(super) fn peer_id_range(&self) -> Range<usize> {
        match self {
            Self::Signed(record) => record.peer_id_range(),
            Self::Unsigned(record) => UnsignedRecord::PEER_START..UnsignedRecord::PEER_START + record.peer_len,
        }
    }
}

/// A checked UNREGISTER.
#[derive(Debug)]
pub struct Unregister<'a> {
    /// `None` for all that the peer has.
    pub namespace: Option<&'a str>,
}

/// A checked DISCOVER.
#[derive(Clone, Debug)]
pub struct Discover<'a> {
    /// `None` for all namespaces.
    pub namespace: Option<&'a str>,
    pub(super) limit: Limit,
    /// Position that the cookie carries; zero without one.
    pub(super) after: u64,
    /// What the requester itself says it reads.
    pub(super) reads: Option<Flavours>,
    /// Bytes that the caller has for the page; `usize::MAX` if only the point's own bound applies.
    pub(super) page_bytes_max: usize,
}

impl Discover<'_> {
    /// Bounds the page by the bytes of its whole frame that the caller has room for, beside the point's own bound. A page
    /// that has no room for more registrations ends early; the requester gets the rest with the cookie.
    ///
    /// A page with a single registration may exceed the bound, by no more than
    /// [`PAGE_BYTES_MIN`](super::PAGE_BYTES_MIN): each page has at least one registration if there is one, so that a listing
    /// goes on however small the bound is.
    #[must_use]
    pub fn with_page_bytes_max(mut self, bytes: usize) -> Self {
        self.page_bytes_max = bytes;
        self
    }
}

/// A request that is answered with a refusal, or, where it has no answer, not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Type of the request; `None` where it could not be told, and the stream is to be closed.
    pub kind: Option<MessageType>,
    /// Why.
    pub refusal: Refusal,
}

/// Reads and checks requests, verifying the records in them.
///
/// It is cheap to clone, holds no state of the registry, and is meant to run in the task of the connection that the
/// request came from.
#[derive(Clone, Debug)]
pub struct RequestReader {
    dialect: Dialect,
    ttl_min: Ttl,
    ttl_max: Ttl,
    ttl_default: Ttl,
    page_registrations_max: Limit,
    record_limits: rendezvous_record::Limits,
    accepts: Flavours,
    legacy_peer_info: bool,
    policies: Policies,
    discover_all: Access,
}

impl RequestReader {
    /// A reader with the bounds of these settings.
    #[must_use]
    pub fn new(config: &ServerConfig) -> Self {
        let config = config.clone().bounded();
        Self {
            dialect: Dialect::Rendezvous,
            ttl_min: config.ttl_min,
            ttl_max: config.ttl_max,
            ttl_default: config.ttl_default,
            page_registrations_max: config.page_registrations_max,
            record_limits: config.record_limits,
            accepts: config.accepts,
            legacy_peer_info: config.legacy_peer_info,
            policies: Policies::new(&config.policies),
            discover_all: config.discover_all,
        }
    }

    /// A reader with the bounds of the Waku dialect, whose clients read the standard flavour alone.
    pub(super) fn waku(config: &ServerConfig) -> Self {
        let bounded = config.clone().bounded();
        Self {
            dialect: Dialect::Waku,
            ttl_min: bounded.waku_ttl_min,
            ttl_max: bounded.waku_ttl_max,
            ttl_default: bounded.waku_ttl_default,
            accepts: bounded.accepts.intersection(Flavours::STANDARD),
            // The dialect has signed records alone.
            legacy_peer_info: false,
            ..Self::new(config)
        }
    }

    /// Reads the payload of one frame that `peer`, authenticated by the transport, has sent.
    ///
    /// Checks come in this order: namespace, TTL, the record's structure, whose record it is, its signature. A record of
    /// another peer is refused before any signature is checked.
    ///
    /// # Errors
    /// [`Rejected`] with the refusal to be answered.
    pub fn read<'a>(&self, peer: &PeerId, payload: &'a Bytes) -> Result<Command<'a>, Rejected> {
        let request =
            Request::decode(payload).map_err(|error| Rejected { kind: error.kind(), refusal: Refusal::Malformed })?;
        match request {
            Request::Register(register) => self
                .register(peer, payload, &register)
                .map(Command::Register)
                .map_err(|refusal| Rejected { kind: Some(MessageType::Register), refusal }),
            Request::Unregister(unregister) => optional_namespace(unregister.namespace)
                .map(|namespace| Command::Unregister(Unregister { namespace }))
                .map_err(|refusal| Rejected { kind: Some(MessageType::Unregister), refusal }),
            Request::Discover(discover) => self
                .discover_decoded(peer, &discover)
                .map(Command::Discover)
                .map_err(|refusal| Rejected { kind: Some(MessageType::Discover), refusal }),
        }
    }

    /// The type of the request in a payload, if it has one: what a refusal answers to that comes before reading.
    #[must_use]
    pub fn kind(payload: &[u8]) -> Option<MessageType> {
        Self::arrival(payload).kind
    }

    /// What the request in a payload is and costs, told without cryptography.
    #[must_use]
    pub fn arrival(payload: &[u8]) -> Arrival<'_> {
        match Request::decode(payload) {
            Ok(Request::Register(register)) => Arrival::register(register.signed_peer_record),
            Ok(Request::Unregister(unregister)) => Arrival::unregister(unregister.namespace),
            Ok(Request::Discover(_)) => Arrival::of(Some(MessageType::Discover)),
            Err(error) => Arrival::of(error.kind()),
        }
    }

    pub(super) fn register<'a>(
        &self,
        peer: &PeerId,
        payload: &Bytes,
        register: &rendezvous_wire::Register<'a>,
    ) -> Result<Register<'a>, Refusal> {
        let namespace = Namespace::parse(register.namespace.unwrap_or_default())?;
        let ttl = self.admit(peer, namespace, Ttl::from_wire(register.ttl_secs))?;
        let envelope = match register.signed_peer_record {
            None | Some([]) => return Err(Refusal::RecordMissing),
            Some(envelope) => envelope,
        };
        if let Ok(info) = PeerInfo::decode(envelope) {
            if !self.legacy_peer_info {
                return Err(Refusal::UnsignedNotAccepted);
            }
            let record = UnsignedRecord::read(peer, envelope, info, &self.record_limits)?;
            return Ok(Register { namespace, record: Record::Unsigned(record), ttl });
        }
        let envelope = payload.slice_ref(envelope);
        // The peer ids come first, so that a copied record of another peer costs no verification.
        let record = match VerifiedRecord::verify_of(peer, envelope, &self.record_limits) {
            Err(VerifyError::OtherSigner { .. }) => return Err(Refusal::ForeignRecord),
            verified => verified?,
        };
        self.check(peer, namespace, record, ttl)
    }

    /// A REGISTER of a record that is verified already: for callers with a wire of their own.
    ///
    /// # Errors
    /// [`Refusal`] as from [`Self::read`].
    pub fn register_verified<'a>(
        &self,
        peer: &PeerId,
        namespace: &'a str,
        record: VerifiedRecord,
        ttl: Option<Ttl>,
    ) -> Result<Register<'a>, Refusal> {
        let namespace = Namespace::parse(namespace.as_bytes())?;
        let ttl = self.admit(peer, namespace, ttl)?;
        if record.envelope().len() > self.record_limits.envelope_bytes_max {
            let max = self.record_limits.envelope_bytes_max;
            return Err(VerifyError::TooLarge { bytes: record.envelope().len(), max }.into());
        }
        self.check(peer, namespace, record, ttl)
    }

    /// An UNREGISTER of one namespace, or of all: for callers with a wire of their own.
    ///
    /// # Errors
    /// [`Refusal::Namespace`] if the name is no namespace.
    pub fn unregister_decoded<'a>(&self, namespace: Option<&'a str>) -> Result<Unregister<'a>, Refusal> {
        Ok(Unregister { namespace: optional_namespace(namespace.map(str::as_bytes))? })
    }

    fn check<'a>(
        &self,
        peer: &PeerId,
        namespace: &'a str,
        record: VerifiedRecord,
        ttl: Ttl,
    ) -> Result<Register<'a>, Refusal> {
        if record.peer_id() != *peer {
            return Err(Refusal::ForeignRecord);
        }
        if !self.accepts.contains(record.flavour()) {
            return Err(Refusal::FlavourNotAccepted(record.flavour()));
        }
        Ok(Register { namespace, record: Record::Signed(record), ttl })
    }

    /// Whether the peer may register in the namespace, and the TTL it gets there.
    fn admit(&self, peer: &PeerId, namespace: &str, asked: Option<Ttl>) -> Result<Ttl, Refusal> {
        let policy = self.policies.of(namespace);
        if policy.is_some_and(|policy| !policy.register.allows(peer)) {
            return Err(Refusal::RegisterDenied);
        }
        let (policy_min, policy_max) = policy.map_or((None, None), |policy| (policy.ttl_min, policy.ttl_max));
        let (min, max) = match self.dialect {
            Dialect::Rendezvous => (policy_min.unwrap_or(self.ttl_min), policy_max.unwrap_or(self.ttl_max)),
            // Its lifetimes are of another order: a policy's shortest would shut its clients out.
            Dialect::Waku => (self.ttl_min, policy_max.unwrap_or(self.ttl_max).min(self.ttl_max)),
        };
        let max = max.min(Ttl::RECOMMENDED_MAX);
        let min = min.min(max);
        let ttl = asked.unwrap_or(self.ttl_default.clamp(min, max));
        if ttl < min {
            return Err(Refusal::TtlTooShort { ttl, min });
        }
        if ttl > max {
            return Err(Refusal::TtlTooLong { ttl, max });
        }
        Ok(ttl)
    }

    /// A DISCOVER that is decoded already: for callers with a wire of their own.
    ///
    /// # Errors
    /// [`Refusal`] as from [`Self::read`].
    pub fn discover_decoded<'a>(
        &self,
        peer: &PeerId,
        discover: &rendezvous_wire::Discover<'a>,
    ) -> Result<Discover<'a>, Refusal> {
        let namespace = optional_namespace(discover.namespace)?;
        match namespace {
            Some(name) if self.policies.of(name).is_some_and(|policy| !policy.discover.allows(peer)) => {
                return Err(Refusal::DiscoverDenied);
            }
            None if !self.discover_all.allows(peer) || !self.policies.allow_discover_everywhere(peer) => {
                return Err(Refusal::DiscoverAllDenied);
            }
            _ => {}
        }
        let after = match discover.cookie {
            None | Some([]) => 0,
            Some(cookie) => {
                let cookie = PositionCookie::decode(cookie).map_err(|_| Refusal::Cookie)?;
                if cookie.namespace != namespace {
                    return Err(Refusal::Cookie);
                }
                cookie.position
            }
        };
        let limit = Limit::from_wire(discover.limit).min(self.page_registrations_max);
        let reads = discover.reads.map(Flavours::from_bits_truncate).filter(|reads| !reads.is_empty());
        Ok(Discover { namespace, limit, after, reads, page_bytes_max: usize::MAX })
    }
}

/// A namespace that may be left out. Empty says the same: writers of proto3 cannot tell the two apart.
fn optional_namespace(namespace: Option<&[u8]>) -> Result<Option<&str>, Refusal> {
    match namespace {
        None | Some([]) => Ok(None),
        Some(namespace) => Ok(Some(Namespace::parse(namespace)?)),
    }
}
