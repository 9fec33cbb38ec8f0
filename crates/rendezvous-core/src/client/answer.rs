//! From the payload of a frame to a typed answer, outside the state machine.

use std::collections::BTreeMap;

use bytes::Bytes;
use libp2p_identity::PeerId;
use rendezvous_record::{Limits, MemoryLimits, VerifiedRecord, Verifier};
use rendezvous_wire::{
    Cookie, Dialect, DiscoverResponse, Limit, MessageType, Namespace, Register, Response, Status, Ttl, waku,
};

use super::{failure::MalformedAnswer, outbound::RequestKind};

/// Most characters of a status text that are kept. Points write a few words; the field has no bound of its own.
pub const STATUS_TEXT_CHARS_MAX: usize = 256;

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
        /// Where the next page begins; `None` if the point gave none, or one of 1000 bytes or more.
        cookie: Option<Cookie>,
        /// What the answer held besides.
        skipped: Skipped,
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

/// Registrations of an answer that are not handed on, counted by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Not readable as a registration, without a record, or without a namespace where all were asked for.
    pub malformed: usize,
    /// The record is no peer record that verifies.
    pub unverified: usize,
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
    pub(super) fn add(&mut self, more: &Self) {
        self.malformed += more.malformed;
        self.unverified += more.unverified;
        self.foreign += more.foreign;
        self.duplicate += more.duplicate;
        self.own += more.own;
        self.over_limit += more.over_limit;
    }

    /// All of them.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.malformed + self.unverified + self.foreign + self.duplicate + self.own + self.over_limit
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
}

impl AnswerReader {
    /// A reader of records within these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { verifier: Verifier::new(limits, MemoryLimits::default()) }
    }

    /// The same reader with other bounds on what it remembers; it starts empty.
    #[must_use]
    pub fn with_memory(limits: Limits, memory: MemoryLimits) -> Self {
        Self { verifier: Verifier::new(limits, memory) }
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
            match namespace(asked, &register, listed.last().map(|(namespace, _)| namespace)) {
                Ok(namespace) => {
                    listed.push((namespace, bounded_ttl(register.ttl_secs, ttl_default)));
                    envelopes.push(payload.slice_ref(envelope));
                }
                Err(Unlisted::Foreign) => skipped.foreign += 1,
                Err(Unlisted::Malformed) => skipped.malformed += 1,
            }
        }

        let mut registrations: Vec<Discovered> = Vec::with_capacity(listed.len());
        let mut places: BTreeMap<(Namespace, PeerId), usize> = BTreeMap::new();
        for ((namespace, ttl), record) in listed.into_iter().zip(self.verifier.verify_page(envelopes)) {
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
        let cookie = Cookie::from_wire(response.cookie).unwrap_or(None);
        Answer::Page { registrations, cookie, skipped }
    }
}

/// Which of two registrations of a peer counts: the newer record, then the longer time left.
fn rank(found: &Discovered) -> (u64, Ttl) {
    (found.record.scaled_seq(), found.ttl)
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
