//! From the payload of a frame to a typed answer, outside the state machine.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use rendezvous_record::{Limits, MemoryLimits, VerifiedRecord, Verifier};
use rendezvous_wire::{
    Cookie, Dialect, DiscoverResponse, Limit, MessageType, Namespace, PeerInfo, Register, Response, Status, Ttl, waku,
};

use super::{failure::MalformedAnswer, outbound::RequestKind, walk::PageCost};

/// Most characters of a status text that are kept. Points write a few words; the field has no bound of its own.
pub const STATUS_TEXT_CHARS_MAX: usize = 256;

/// Nominal CPU time for verifying one Ed25519 signature in a batch.
const ED25519_WORK: Duration = Duration::from_micros(40);

/// The same for a signature of another kind, and for one that does not verify: the dearest key that is read, RSA with 8192
/// bits, takes this long.
const OTHER_WORK: Duration = Duration::from_micros(330);

/// Bytes of an answer that are decoded in one microsecond, nominally.
const BYTES_PER_MICRO: usize = 256;

/// What a point answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To REGISTER: the peer is listed.
    Registered {
        /// Granted lifetime as received; zero if the point named none, which means the one that was asked for.
        ttl: Ttl,
    },
    /// To REGISTER or DISCOVER: a status other than OK.
    Refused {
        /// The status; an unknown one is kept as its number.
        status: Status,
        /// The point's words: at most [`STATUS_TEXT_CHARS_MAX`] characters, none of them a control character.
        text: String,
    },
    /// To DISCOVER.
    Page {
        /// The registrations that can be used, each (namespace, peer) once, in the order of the answer.
        registrations: Vec<Discovered>,
        /// Registrations without a signature, each (namespace, peer) once, and none that is among the others: see
        /// [`AnswerReader::with_unsigned`].
        unverified: Vec<Unverified>,
        /// Where the next page begins; `None` if the point gave none, or one of 1000 bytes or more.
        cookie: Option<Cookie>,
        /// What the answer held besides.
        skipped: Skipped,
        /// What reading it has cost.
        cost: PageCost,
    },
    /// The UNREGISTER was written. No response exists.
    Sent,
}

/// One registration that a point listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Discovered {
    /// The namespace. The signature does not cover it: the point vouches for it, not the peer.
    pub namespace: Namespace,
    /// Who registered, and the addresses.
    pub record: VerifiedRecord,
    /// Time left, 1 s to 72 h; the dialect's default, 2 h or 20 s, where the point named none.
    pub ttl: Ttl,
}

/// One registration without a signature, as a point in the older form of the protocol lists it.
///
/// Nobody but the point says that the peer has registered, or that these are its addresses. It is a type of its own, so that
/// it is never taken for a record of the peer: its addresses are not kept, nor offered to dials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified {
    /// The namespace.
    pub namespace: Namespace,
    /// Who is said to have registered.
    pub peer: PeerId,
    /// The addresses that can be read, in the order given.
    pub addresses: Vec<Multiaddr>,
    /// Time left, 1 s to 72 h; 2 h where the point named none.
    pub ttl: Ttl,
}

/// Registrations of an answer that are not handed on, counted by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Not readable as a registration, without a record, or without a namespace where all were asked for.
    pub malformed: usize,
    /// The record is no peer record that verifies.
    pub unverified: usize,
    /// Without a signature, where such are not read: [`ClientConfig::legacy_peer_info`](super::ClientConfig) is off.
    pub unsigned: usize,
    /// Of another namespace than the one asked for.
    pub foreign: usize,
    /// A second one of the same peer and namespace, older or shorter.
    pub duplicate: usize,
    /// This peer's own.
    pub own: usize,
    /// Beyond what was asked for, beyond the largest page, or beyond what a lookup has room for.
    pub over_limit: usize,
}

impl Skipped {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.malformed + self.unverified + self.unsigned + self.foreign + self.duplicate + self.own + self.over_limit
    }
}

impl core::ops::AddAssign for Skipped {
    fn add_assign(&mut self, more: Self) {
        self.malformed += more.malformed;
        self.unverified += more.unverified;
        self.unsigned += more.unsigned;
        self.foreign += more.foreign;
        self.duplicate += more.duplicate;
        self.own += more.own;
        self.over_limit += more.over_limit;
    }
}

/// Reads answers and verifies the records in them.
///
/// It stands in the connection's task, so that neither decoding nor verification holds up the state machine. It
/// remembers the records that it has verified: polling a point again costs a comparison each. One reader may serve many
/// connections in turn; what it remembers is bounded by [`MemoryLimits`].
///
/// ```
/// use bytes::Bytes;
/// use rendezvous_core::client::{Answer, AnswerReader, RequestKind};
/// use rendezvous_wire::{RegisterResponse, Response, Status, Ttl};
///
/// let response = RegisterResponse { status: Some(Status::Ok), ttl_secs: Some(7_200), ..Default::default() };
/// let payload = Bytes::from(Response::Register(response).to_message().encode());
///
/// let mut reader = AnswerReader::new(Default::default());
/// let answer = reader.read(RequestKind::Register, None, payload)?;
/// assert_eq!(answer, Answer::Registered { ttl: Ttl::from_secs(7_200) });
/// # Ok::<(), rendezvous_core::client::MalformedAnswer>(())
/// ```
#[derive(Clone, Debug)]
pub struct AnswerReader {
    verifier: Verifier,
    limits: Limits,
    reads_unsigned: bool,
}

impl AnswerReader {
    /// A reader of records within these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self::with_memory(limits, MemoryLimits::default())
    }

    /// The same reader with other bounds on what it remembers; it starts empty.
    #[must_use]
    pub fn with_memory(limits: Limits, memory: MemoryLimits) -> Self {
        Self { verifier: Verifier::new(limits.clone(), memory), limits, reads_unsigned: false }
    }

    /// The same reader, which reads registrations without a signature, or leaves them out and counts them. It begins with the
    /// latter.
    #[must_use]
    pub fn with_unsigned(self, reads_unsigned: bool) -> Self {
        Self { reads_unsigned, ..self }
    }

    /// Reads the payload of one frame as the answer to a request of this kind; `asked` is the namespace that was asked
    /// for, `None` for all.
    ///
    /// Registrations that cannot be used are left out and counted. The frame is not kept alive by the answer.
    ///
    /// # Errors
    /// [`MalformedAnswer`] if the payload is no response, or one to another kind of request.
    pub fn read(
        &mut self,
        kind: RequestKind,
        asked: Option<&Namespace>,
        payload: Bytes,
    ) -> Result<Answer, MalformedAnswer> {
        self.read_in(Dialect::Rendezvous, kind, asked, payload)
    }

    /// Like [`Self::read`], in the dialect of the request.
    ///
    /// # Errors
    /// [`MalformedAnswer`] as from [`Self::read`].
    pub fn read_in(
        &mut self,
        dialect: Dialect,
        kind: RequestKind,
        asked: Option<&Namespace>,
        payload: Bytes,
    ) -> Result<Answer, MalformedAnswer> {
        let response = match dialect {
            Dialect::Rendezvous => Response::decode(&payload)?,
            Dialect::Waku => waku::Response::decode(&payload)?.into(),
        };
        match (kind, response) {
            (RequestKind::Register, Response::Register(response)) => Ok(match Status::from_wire(response.status) {
                Status::Ok => Answer::Registered { ttl: Ttl::from_secs(response.ttl_secs.unwrap_or(0)) },
                status => refused(status, response.status_text),
            }),
            (RequestKind::Discover, Response::Discover(response)) => Ok(match Status::from_wire(response.status) {
                Status::Ok => self.read_page(asked, &response, &payload, dialect.ttl_default()),
                status => refused(status, response.status_text),
            }),
            (request, response) => {
                let answered = match response {
                    Response::Register(_) => MessageType::RegisterResponse,
                    Response::Discover(_) => MessageType::DiscoverResponse,
                };
                Err(MalformedAnswer::WrongKind { request, answered })
            }
        }
    }

    fn read_page(
        &mut self,
        asked: Option<&Namespace>,
        response: &DiscoverResponse<'_>,
        payload: &Bytes,
        ttl_default: Ttl,
    ) -> Answer {
        let mut skipped = Skipped::default();
        let mut listed = Vec::new();
        let mut envelopes = Vec::new();
        let mut unsigned: Vec<Unverified> = Vec::new();
        for (index, registration) in response.registrations.iter().enumerate() {
            if index >= Limit::MAX.count() {
                skipped.over_limit += 1;
                continue;
            }
            let Some((register, envelope)) =
                registration.ok().and_then(|register| Some((register, register.signed_peer_record?)))
            else {
                skipped.malformed += 1;
                continue;
            };
            let ttl = bounded_ttl(register.ttl_secs, ttl_default);
            match namespace(asked, &register, listed.last().map(|(namespace, _)| namespace)) {
                Ok(namespace) => match PeerInfo::decode(envelope) {
                    Ok(_) if !self.reads_unsigned => skipped.unsigned += 1,
                    Ok(info) => match self.unverified(namespace, info, envelope.len(), ttl) {
                        Some(found) => unsigned.push(found),
                        None => skipped.malformed += 1,
                    },
                    Err(_) => {
                        listed.push((namespace, ttl));
                        envelopes.push(payload.slice_ref(envelope));
                    }
                },
                Err(Unlisted::Foreign) => skipped.foreign += 1,
                Err(Unlisted::Malformed) => skipped.malformed += 1,
            }
        }

        let mut work = Duration::from_micros((payload.len() / BYTES_PER_MICRO) as u64);
        let are_known: Vec<bool> = envelopes.iter().map(|envelope| self.verifier.remembers(envelope)).collect();
        let records = self.verifier.verify_page(envelopes);
        for (record, _) in records.iter().zip(are_known).filter(|(_, is_known)| !is_known) {
            work += record.as_ref().map_or(OTHER_WORK, |record| work_of(&record.peer_id()));
        }
        let cost = PageCost { bytes: payload.len(), work };

        let mut registrations: Vec<Discovered> = Vec::with_capacity(listed.len());
        let mut places: BTreeMap<(Namespace, PeerId), usize> = BTreeMap::new();
        for ((namespace, ttl), record) in listed.into_iter().zip(records) {
            let Ok(record) = record else {
                skipped.unverified += 1;
                continue;
            };
            let found = Discovered { namespace, record, ttl };
            let key = (found.namespace.clone(), found.record.peer_id());
            if let Some(known) = places.get(&key).and_then(|&place| registrations.get_mut(place)) {
                skipped.duplicate += 1;
                if rank(&found) > rank(known) {
                    *known = found;
                }
            } else {
                places.insert(key, registrations.len());
                registrations.push(found);
            }
        }
        unsigned.retain(|found| {
            let is_verified = places.contains_key(&(found.namespace.clone(), found.peer));
            skipped.duplicate += usize::from(is_verified);
            !is_verified
        });
        let unverified = once_each(unsigned, &mut skipped);
        let cookie = Cookie::from_wire(response.cookie).unwrap_or(None);
        Answer::Page { registrations, unverified, cookie, skipped, cost }
    }

    /// A registration without a signature, within the bounds of records; `None` if it breaks them.
    fn unverified(&self, namespace: Namespace, info: PeerInfo<'_>, bytes: usize, ttl: Ttl) -> Option<Unverified> {
        let peer = PeerId::from_bytes(info.id()).ok()?;
        let is_bounded =
            bytes <= self.limits.envelope_bytes_max && info.addresses().nth(self.limits.addresses_max).is_none();
        let addresses = info.addresses().filter_map(|address| Multiaddr::try_from(address.to_vec()).ok());
        is_bounded.then(|| Unverified { namespace, peer, addresses: addresses.collect(), ttl })
    }
}

/// Each (namespace, peer) once, with the longest time left.
fn once_each(unsigned: Vec<Unverified>, skipped: &mut Skipped) -> Vec<Unverified> {
    let mut unverified: Vec<Unverified> = Vec::with_capacity(unsigned.len());
    let mut places: BTreeMap<(Namespace, PeerId), usize> = BTreeMap::new();
    for found in unsigned {
        let key = (found.namespace.clone(), found.peer);
        if let Some(known) = places.get(&key).and_then(|&place| unverified.get_mut(place)) {
            skipped.duplicate += 1;
            if found.ttl > known.ttl {
                *known = found;
            }
        } else {
            places.insert(key, unverified.len());
            unverified.push(found);
        }
    }
    unverified
}

/// Which of two registrations of a peer counts: the newer record, then the longer time left.
fn rank(found: &Discovered) -> (u64, Ttl) {
    (found.record.scaled_seq(), found.ttl)
}

/// Nominal CPU time for verifying a signature of this peer.
fn work_of(signer: &PeerId) -> Duration {
    // An identity multihash of 36 bytes, which hold the public key as protobuf: type 1 is Ed25519.
    if signer.to_bytes().starts_with(&[0x00, 0x24, 0x08, 0x01]) { ED25519_WORK } else { OTHER_WORK }
}

enum Unlisted {
    Foreign,
    Malformed,
}

/// The namespace of a registration. Some points leave it out where one was asked for (berty) or write an empty one
/// (waku-spec). `last` saves an allocation where a listing of all namespaces has runs of one.
fn namespace(
    asked: Option<&Namespace>,
    register: &Register<'_>,
    last: Option<&Namespace>,
) -> Result<Namespace, Unlisted> {
    match (asked, register.namespace.unwrap_or_default()) {
        (Some(asked), []) => Ok(asked.clone()),
        (Some(asked), bytes) if bytes == asked.as_str().as_bytes() => Ok(asked.clone()),
        (Some(_), _) => Err(Unlisted::Foreign),
        (None, bytes) => match last {
            Some(last) if bytes == last.as_str().as_bytes() => Ok(last.clone()),
            _ => {
                let name = Namespace::parse(bytes).map_err(|_| Unlisted::Malformed)?;
                Namespace::new(name).map_err(|_| Unlisted::Malformed)
            }
        },
    }
}

/// A lifetime that a point told: the default where it told none, at most 72 h.
fn bounded_ttl(ttl_secs: Option<u64>, default: Ttl) -> Ttl {
    Ttl::from_wire(ttl_secs).unwrap_or(default).min(Ttl::RECOMMENDED_MAX)
}

fn refused(status: Status, text: Option<&[u8]>) -> Answer {
    // Four bytes per character at most; what is cut inside a character becomes a replacement character.
    let text = text.unwrap_or_default();
    let text = &text[..text.len().min(4 * STATUS_TEXT_CHARS_MAX)];
    Answer::Refused { status, text: sanitized(&String::from_utf8_lossy(text)) }
}

/// A stranger's words in the form that a log or a terminal can take.
pub(super) fn sanitized(text: &str) -> String {
    let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(STATUS_TEXT_CHARS_MAX).map(printable).collect()
}
