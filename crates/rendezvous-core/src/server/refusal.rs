//! Why a request is refused, and how that is said on the wire.

use std::borrow::Cow;

use rendezvous_record::{Flavour, VerifyError};
use rendezvous_wire::{DiscoverResponse, InvalidNamespace, MessageType, RegisterResponse, Response, Status, Ttl, waku};

/// Longest text of a refusal in bytes: with it an answer to REGISTER stays far below the 4096 bytes that some clients
/// read.
pub const STATUS_TEXT_BYTES_MAX: usize = 256;

/// Why a request is refused. All but [`Refusal::StoreFailed`] are the requester's doing or a limit it met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The frame is no well-formed message; of its type no more is known than this refusal's request.
    #[error("malformed request")]
    Malformed,
    /// The namespace breaks its rules.
    #[error(transparent)]
    Namespace(#[from] InvalidNamespace),
    /// REGISTER without a record.
    #[error("signed peer record is missing")]
    RecordMissing,
    /// The record does not verify.
    #[error("signed peer record is not valid: {0}")]
    Record(#[from] VerifyError),
    /// The record is of a flavour that this point does not take.
    #[error("signed peer records of the {0} flavour are not accepted here")]
    FlavourNotAccepted(Flavour),
    /// The record is of another peer than the one that sent it.
    #[error("peer record is of another peer")]
    ForeignRecord,
    /// The record is a `PeerInfo` without a signature, which this point does not take.
    #[error("peer info without a signature is not accepted here: register a signed peer record")]
    UnsignedNotAccepted,
    /// The record is a `PeerInfo` without a signature, and breaks a bound.
    #[error("peer info is not valid: {0}")]
    PeerInfo(#[from] PeerInfoFault),
    /// The TTL is below the point's bound.
    #[error("ttl {ttl} is below the minimum of {min}")]
    TtlTooShort {
        /// Asked for.
        ttl: Ttl,
        /// The bound.
        min: Ttl,
    },
    /// The TTL is above the point's bound.
    #[error("ttl {ttl} is above the maximum of {max}")]
    TtlTooLong {
        /// Asked for.
        ttl: Ttl,
        /// The bound.
        max: Ttl,
    },
    /// The cookie is none of this point's, or of another namespace.
    #[error("cookie is not valid here: ask without one")]
    Cookie,
    /// The peer has as many registrations as it may.
    #[error("too many registrations of this peer: {max} is the most")]
    PeerFull {
        /// The quota.
        max: usize,
    },
    /// The point has as many registrations as it may.
    #[error("the rendezvous point is full")]
    Full,
    /// The peer's IP prefix, or an IPv6 /48 or /32 around it, has as many registrations as it may.
    #[error("too many registrations from this network: {max} is the most")]
    PrefixFull {
        /// The quota.
        max: usize,
    },
    /// The point is nearly full, and what is left is for networks that have fewer registrations.
    #[error("the rendezvous point is nearly full: networks with {max} registrations or more have to wait")]
    NearlyFull {
        /// The share of the peer's network at present.
        max: usize,
    },
    /// The namespace has as many registrations as it may.
    #[error("the namespace is full")]
    NamespaceFull,
    /// The records held take as many bytes as they may.
    #[error("the rendezvous point has no room for more records")]
    BytesFull,
    /// The peer, or its IP prefix, asks more often than it may.
    #[error("too many requests: come back in {} s", retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0))]
    TooFast {
        /// When there is a token again.
        retry_after: core::time::Duration,
    },
    /// The peer may not register in this namespace.
    #[error("this peer may not register in this namespace")]
    RegisterDenied,
    /// The peer may not discover in this namespace.
    #[error("this peer may not discover in this namespace")]
    DiscoverDenied,
    /// The peer may not list all namespaces at once.
    #[error("this peer may not discover in all namespaces: name one")]
    DiscoverAllDenied,
    /// More changes wait to be committed than may, or more bytes of answers to be written.
    #[error("the rendezvous point is overloaded: try again later")]
    Overloaded,
    /// The store did not take the change. The point's own fault.
    #[error("the rendezvous point could not store the registration")]
    StoreFailed,
}

/// Why a `PeerInfo` is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerInfoFault {
    /// It is longer than a record may be.
    #[error("{bytes} bytes are more than {max}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// [`Limits::envelope_bytes_max`](rendezvous_record::Limits).
        max: usize,
    },
    /// It lists more addresses than a record may.
    #[error("there are more than {max} addresses")]
    TooManyAddresses {
        /// [`Limits::addresses_max`](rendezvous_record::Limits).
        max: usize,
    },
    /// It lists no address that can be read.
    #[error("there is no readable address")]
    NoAddress,
}

/// What a [`Refusal`] is, without its particulars: what refusals are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is the variant of `Refusal` of the same name")]
pub enum RefusalKind {
    Malformed,
    Namespace,
    RecordMissing,
    Record,
    FlavourNotAccepted,
    ForeignRecord,
    UnsignedNotAccepted,
    PeerInfo,
    TtlTooShort,
    TtlTooLong,
    Cookie,
    PeerFull,
    Full,
    PrefixFull,
    NearlyFull,
    NamespaceFull,
    BytesFull,
    TooFast,
    RegisterDenied,
    DiscoverDenied,
    DiscoverAllDenied,
    Overloaded,
    StoreFailed,
}

impl RefusalKind {
    /// Every kind.
    pub const ALL: [Self; 23] = [
        Self::Malformed,
        Self::Namespace,
        Self::RecordMissing,
        Self::Record,
        Self::FlavourNotAccepted,
        Self::ForeignRecord,
        Self::UnsignedNotAccepted,
        Self::PeerInfo,
        Self::TtlTooShort,
        Self::TtlTooLong,
        Self::Cookie,
        Self::PeerFull,
        Self::Full,
        Self::PrefixFull,
        Self::NearlyFull,
        Self::NamespaceFull,
        Self::BytesFull,
        Self::TooFast,
        Self::RegisterDenied,
        Self::DiscoverDenied,
        Self::DiscoverAllDenied,
        Self::Overloaded,
        Self::StoreFailed,
    ];

    /// Its name in statistics: words joined by underscores.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Namespace => "namespace",
            Self::RecordMissing => "record_missing",
            Self::Record => "record",
            Self::FlavourNotAccepted => "flavour_not_accepted",
            Self::ForeignRecord => "foreign_record",
            Self::UnsignedNotAccepted => "unsigned_not_accepted",
            Self::PeerInfo => "peer_info",
            Self::TtlTooShort => "ttl_too_short",
            Self::TtlTooLong => "ttl_too_long",
            Self::Cookie => "cookie",
            Self::PeerFull => "peer_full",
            Self::Full => "full",
            Self::PrefixFull => "prefix_full",
            Self::NearlyFull => "nearly_full",
            Self::NamespaceFull => "namespace_full",
            Self::BytesFull => "bytes_full",
            Self::TooFast => "too_fast",
            Self::RegisterDenied => "register_denied",
            Self::DiscoverDenied => "discover_denied",
            Self::DiscoverAllDenied => "discover_all_denied",
            Self::Overloaded => "overloaded",
            Self::StoreFailed => "store_failed",
        }
    }
}

/// Numbers of refusals by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusalCounts([u64; RefusalKind::ALL.len()]);

impl RefusalCounts {
    /// Number of refusals of a kind.
    #[must_use]
    pub fn of(&self, kind: RefusalKind) -> u64 {
        self.0[kind as usize]
    }

    /// The kinds that have occurred, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (RefusalKind, u64)> {
        RefusalKind::ALL.into_iter().map(|kind| (kind, self.of(kind))).filter(|&(_, count)| count > 0)
    }

    pub(super) fn count(&mut self, kind: RefusalKind) {
        self.0[kind as usize] += 1;
    }
}

impl Refusal {
    /// What it is, without its particulars.
    #[must_use]
    pub const fn kind(&self) -> RefusalKind {
        match self {
            Self::Malformed => RefusalKind::Malformed,
            Self::Namespace(_) => RefusalKind::Namespace,
            Self::RecordMissing => RefusalKind::RecordMissing,
            Self::Record(_) => RefusalKind::Record,
            Self::FlavourNotAccepted(_) => RefusalKind::FlavourNotAccepted,
            Self::ForeignRecord => RefusalKind::ForeignRecord,
            Self::UnsignedNotAccepted => RefusalKind::UnsignedNotAccepted,
            Self::PeerInfo(_) => RefusalKind::PeerInfo,
            Self::TtlTooShort { .. } => RefusalKind::TtlTooShort,
            Self::TtlTooLong { .. } => RefusalKind::TtlTooLong,
            Self::Cookie => RefusalKind::Cookie,
            Self::PeerFull { .. } => RefusalKind::PeerFull,
            Self::Full => RefusalKind::Full,
            Self::PrefixFull { .. } => RefusalKind::PrefixFull,
            Self::NearlyFull { .. } => RefusalKind::NearlyFull,
            Self::NamespaceFull => RefusalKind::NamespaceFull,
            Self::BytesFull => RefusalKind::BytesFull,
            Self::TooFast { .. } => RefusalKind::TooFast,
            Self::RegisterDenied => RefusalKind::RegisterDenied,
            Self::DiscoverDenied => RefusalKind::DiscoverDenied,
            Self::DiscoverAllDenied => RefusalKind::DiscoverAllDenied,
            Self::Overloaded => RefusalKind::Overloaded,
            Self::StoreFailed => RefusalKind::StoreFailed,
        }
    }

    /// The setting whose limit was met, as the command line names it; `None` for what no setting changes.
    #[must_use]
    pub const fn setting(&self) -> Option<&'static str> {
        match self {
            Self::PeerFull { .. } => Some("registrations.per_peer_max"),
            Self::PrefixFull { .. } => Some("registrations.per_prefix_max"),
            Self::NearlyFull { .. } | Self::Full => Some("registrations.max"),
            Self::NamespaceFull => Some("registrations.per_namespace_max"),
            Self::BytesFull => Some("registrations.record_bytes_max"),
            _ => None,
        }
    }

    /// The status that says this on the wire, to a request of this type.
    ///
    /// What a peer is not allowed is `E_NOT_AUTHORIZED` (its quota among it, as in the Go, JavaScript and Nim points);
    /// what nobody gets is `E_UNAVAILABLE`.
    #[must_use]
    pub fn status(&self, request: MessageType) -> Status {
        match self {
            // There is no status for this. The nearest are those that name what the request carries.
            Self::Malformed if request == MessageType::Register => Status::InvalidSignedPeerRecord,
            Self::Malformed => Status::InvalidNamespace,
            Self::Namespace(_) => Status::InvalidNamespace,
            Self::RecordMissing
            | Self::Record(_)
            | Self::FlavourNotAccepted(_)
            | Self::UnsignedNotAccepted
            | Self::PeerInfo(_) => Status::InvalidSignedPeerRecord,
            Self::ForeignRecord
            | Self::PeerFull { .. }
            | Self::RegisterDenied
            | Self::DiscoverDenied
            | Self::DiscoverAllDenied => Status::NotAuthorized,
            Self::TtlTooShort { .. } | Self::TtlTooLong { .. } => Status::InvalidTtl,
            Self::Cookie => Status::InvalidCookie,
            Self::Full
            | Self::PrefixFull { .. }
            | Self::NearlyFull { .. }
            | Self::NamespaceFull
            | Self::BytesFull
            | Self::TooFast { .. }
            | Self::Overloaded => Status::Unavailable,
            Self::StoreFailed => Status::InternalError,
        }
    }

    /// The text beside the status: at most [`STATUS_TEXT_BYTES_MAX`] bytes.
    #[must_use]
    pub fn text(&self) -> Cow<'static, str> {
        match self {
            Self::Malformed => "malformed request".into(),
            refusal => {
                let mut text = refusal.to_string();
                let end = text.floor_char_boundary_at(STATUS_TEXT_BYTES_MAX);
                text.truncate(end);
                text.into()
            }
        }
    }

    /// Appends the whole frame that answers a request of this type; `false`, and nothing is written, for UNREGISTER and
    /// for what is no request: they have no answer.
    pub fn encode_frame(&self, request: MessageType, frame: &mut Vec<u8>) -> bool {
        let (status, text) = (Some(self.status(request)), self.text());
        let status_text = Some(text.as_bytes());
        let response = match request {
            MessageType::Register => {
                Response::Register(RegisterResponse { status, status_text, ..RegisterResponse::default() })
            }
            MessageType::Discover => {
                Response::Discover(DiscoverResponse { status, status_text, ..DiscoverResponse::default() })
            }
            MessageType::RegisterResponse
            | MessageType::Unregister
            | MessageType::DiscoverResponse
            | MessageType::Other(_) => return false,
        };
        response.encode_frame(frame);
        true
    }

    /// Like [`Self::encode_frame`], in the Waku dialect. It has the same statuses but for E_INVALID_COOKIE, which answers
    /// none of its requests; 101 is its E_INVALID_PEER_INFO.
    pub fn encode_waku_frame(&self, request: MessageType, frame: &mut Vec<u8>) -> bool {
        let (status, text) = (Some(self.status(request)), self.text());
        let status_text = Some(text.as_bytes());
        let response = match request {
            MessageType::Register => {
                waku::Response::Register(RegisterResponse { status, status_text, ..RegisterResponse::default() })
            }
            MessageType::Discover => waku::Response::Discover(waku::DiscoverResponse {
                status,
                status_text,
                ..waku::DiscoverResponse::default()
            }),
            MessageType::RegisterResponse
            | MessageType::Unregister
            | MessageType::DiscoverResponse
            | MessageType::Other(_) => return false,
        };
        response.encode_frame(frame);
        true
    }
}

/// `str::floor_char_boundary` for the declared MSRV.
trait FloorCharBoundary {
    fn floor_char_boundary_at(&self, index: usize) -> usize;
}

impl FloorCharBoundary for String {
    fn floor_char_boundary_at(&self, index: usize) -> usize {
        (0..=index.min(self.len())).rev().find(|&at| self.is_char_boundary(at)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_status_and_a_short_text() {
        let register = MessageType::Register;
        let min = Ttl::from_secs(60);
        let cases = [
            (Refusal::Malformed, 101, "malformed request"),
            (Refusal::Namespace(InvalidNamespace::Empty), 100, "namespace is empty"),
            (Refusal::RecordMissing, 101, "signed peer record is missing"),
            (Refusal::Record(VerifyError::BadSignature), 101, "signed peer record is not valid: "),
            (
                Refusal::FlavourNotAccepted(Flavour::Legacy),
                101,
                "signed peer records of the legacy flavour are not accepted here",
            ),
            (Refusal::ForeignRecord, 200, "peer record is of another peer"),
            (
                Refusal::UnsignedNotAccepted,
                101,
                "peer info without a signature is not accepted here: register a signed",
            ),
            (Refusal::PeerInfo(PeerInfoFault::NoAddress), 101, "peer info is not valid: there is no readable address"),
            (Refusal::TtlTooShort { ttl: Ttl::from_secs(1), min }, 102, "ttl 1 s is below the minimum of 60 s"),
            (
                Refusal::TtlTooLong { ttl: Ttl::from_secs(u64::MAX), max: min },
                102,
                "ttl 18446744073709551615 s is above the maximum of 60 s",
            ),
            (Refusal::Cookie, 103, "cookie is not valid here: ask without one"),
            (Refusal::PeerFull { max: 1_000 }, 200, "too many registrations of this peer: 1000 is the most"),
            (Refusal::Full, 400, "the rendezvous point is full"),
            (Refusal::PrefixFull { max: 10 }, 400, "too many registrations from this network: 10 is the most"),
            (
                Refusal::NearlyFull { max: 7 },
                400,
                "the rendezvous point is nearly full: networks with 7 registrations or more have to wait",
            ),
            (Refusal::NamespaceFull, 400, "the namespace is full"),
            (Refusal::BytesFull, 400, "the rendezvous point has no room for more records"),
            (
                Refusal::TooFast { retry_after: core::time::Duration::from_millis(2_001) },
                400,
                "too many requests: come back in 3 s",
            ),
            (Refusal::RegisterDenied, 200, "this peer may not register in this namespace"),
            (Refusal::DiscoverDenied, 200, "this peer may not discover in this namespace"),
            (Refusal::DiscoverAllDenied, 200, "this peer may not discover in all namespaces: name one"),
            (Refusal::Overloaded, 400, "the rendezvous point is overloaded: try again later"),
            (Refusal::StoreFailed, 300, "the rendezvous point could not store the registration"),
        ];
        for (refusal, code, text) in &cases {
            assert_eq!(refusal.status(register).code(), *code, "{refusal:?}");
            assert!(refusal.text().starts_with(*text), "{refusal:?} says {:?}", refusal.text());
            assert!(refusal.text().len() <= STATUS_TEXT_BYTES_MAX);
        }
        assert_eq!(cases.map(|(refusal, ..)| refusal.kind()), RefusalKind::ALL);
        assert!(RefusalKind::ALL.into_iter().enumerate().all(|(index, kind)| kind as usize == index));
        assert_eq!(Refusal::Malformed.status(MessageType::Discover).code(), 100);
    }

    #[test]
    fn unregister_and_what_is_no_request_have_no_answer() {
        let mut frame = Vec::new();
        for kind in [MessageType::Unregister, MessageType::RegisterResponse, MessageType::Other(100)] {
            assert!(!Refusal::Malformed.encode_frame(kind, &mut frame));
        }
        assert!(frame.is_empty());
        assert!(Refusal::Malformed.encode_frame(MessageType::Register, &mut frame));
    }
}
