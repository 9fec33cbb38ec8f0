//! What can be wrong with a record, and whose fault it is.

use std::fmt;

use libp2p_identity::{PeerId, SigningError};

/// Bytes that are not the protobuf message they should be.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset}")]
pub struct Malformed {
    /// Where in the message the trouble starts, counted from the message's first byte. For a
    /// missing field this is the message's length.
    pub offset: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a protobuf message.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The message ends inside a value, or a length says more than what is left.
    Truncated,
    /// A varint needs more than 64 bits.
    VarintOverflow,
    /// A field number is zero or beyond what protobuf allows.
    FieldNumber,
    /// A known field has another wire type than its schema says, or a field uses groups.
    WireType,
    /// A field that may stand once stands again.
    Repeated,
    /// A field that a record cannot do without is absent; the field's name.
    Missing(&'static str),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Truncated => f.write_str("value longer than its message"),
            Problem::VarintOverflow => f.write_str("varint of more than 64 bits"),
            Problem::FieldNumber => f.write_str("invalid field number"),
            Problem::WireType => f.write_str("unexpected wire type"),
            Problem::Repeated => f.write_str("field repeated"),
            Problem::Missing(field) => write!(f, "field {field} missing"),
        }
    }
}

/// Bytes that are no signed envelope (RFC 0002, "Wire Format"). Fault: whoever sent them.
///
/// Offsets count from the envelope's first byte.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed envelope: {0}")]
pub struct EnvelopeError(pub Malformed);

/// A payload that is no peer record (RFC 0003, "Peer Record Format"). Fault: whoever signed it.
///
/// Offsets count from the payload's first byte.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed peer record: {0}")]
pub struct PayloadError(pub Malformed);

/// A public key that cannot be used (libp2p peer id specification, "Keys"). Fault: whoever made
/// the envelope.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The field is not a `PublicKey` message; the offset counts from the message's first byte.
    #[error("malformed public key: {0}")]
    Malformed(Malformed),
    /// The key type is none of RSA (0), Ed25519 (1), Secp256k1 (2) and ECDSA (3).
    #[error("public key of unknown type {0}")]
    UnknownType(u64),
    /// The bytes are no key of the type they claim; the type's name.
    #[error("invalid {0} public key")]
    Invalid(&'static str),
}

/// A departure from canonical encoding.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct Deviation {
    /// Where it stands, counted from the first byte of its message.
    pub offset: usize,
    /// What it is.
    pub kind: DeviationKind,
}

/// In which way an encoding is not canonical.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviationKind {
    /// A field that the schema does not name.
    #[error("unknown field")]
    UnknownField,
    /// Field numbers that do not ascend.
    #[error("field out of order")]
    OutOfOrder,
    /// A varint with more bytes than its value needs.
    #[error("overlong varint")]
    LongVarint,
}

/// One of the messages that a signed peer record consists of.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The envelope itself.
    Envelope,
    /// The `PublicKey` message in it.
    PublicKey,
    /// The `PeerRecord` message in it.
    Payload,
    /// The `AddressInfo` message at this place in the payload's list, counted from 0.
    Address(usize),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Envelope => f.write_str("envelope"),
            Part::PublicKey => f.write_str("public key"),
            Part::Payload => f.write_str("peer record"),
            Part::Address(index) => write!(f, "address {index}"),
        }
    }
}

/// Why bytes are not a verified peer record.
///
/// Every variant is the fault of whoever sent or signed the bytes, except the two that a larger
/// limit would let pass: [`TooLarge`](Self::TooLarge) and [`TooManyAddresses`](Self::TooManyAddresses).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The envelope has more bytes than [`Limits::envelope_bytes_max`](crate::Limits).
    #[error("envelope of {bytes} bytes exceeds the limit of {max}")]
    TooLarge {
        /// The envelope's length in bytes.
        bytes: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The bytes are no envelope.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The payload type is of neither [`Flavour`](crate::Flavour). The sender may mean well: an
    /// envelope can hold other things than peer records.
    #[error("unknown payload type {}", payload_type.escape_ascii())]
    UnknownPayloadType {
        /// The type's first bytes, at most [`PAYLOAD_TYPE_SHOWN_BYTES_MAX`].
        payload_type: Vec<u8>,
    },
    /// The public key cannot be used.
    #[error(transparent)]
    PublicKey(#[from] KeyError),
    /// A legacy record is not encoded canonically, so that its only reader might refuse it.
    #[error("legacy {part} is not canonical: {deviation}")]
    NotCanonical {
        /// The message that is not canonical.
        part: Part,
        /// Where and how.
        deviation: Deviation,
    },
    /// The signature is not one of this key over this payload in this flavour's domain.
    #[error("signature does not match key, domain and payload")]
    BadSignature,
    /// The payload is no peer record. The signer's own fault, since the signature is good.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The record's `peer_id` is no peer id.
    #[error("peer record names no valid peer id")]
    InvalidPeerId,
    /// The record speaks for another peer than the one that signed it.
    #[error("peer record of {claimed} is signed by {signer}")]
    PeerIdMismatch {
        /// The peer that the record names.
        claimed: Box<PeerId>,
        /// The peer whose key signed it.
        signer: Box<PeerId>,
    },
    /// The record is signed by another peer than the one that it is to be of
    /// ([`VerifiedRecord::verify_of`](crate::VerifiedRecord::verify_of)). Whether the signature is good was not checked.
    #[error("peer record is signed by {signer}, not by {expected}")]
    OtherSigner {
        /// The peer whose key the envelope carries.
        signer: Box<PeerId>,
        /// The peer that the record is to be of.
        expected: Box<PeerId>,
    },
    /// The record lists more addresses than [`Limits::addresses_max`](crate::Limits).
    #[error("{count} addresses exceed the limit of {max}")]
    TooManyAddresses {
        /// How many addresses the record lists.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// An address has no bytes.
    #[error("address {index} is empty")]
    EmptyAddress {
        /// The address's place in the list, counted from 0.
        index: usize,
    },
    /// An address of a legacy record is no multiaddr that this library can read. Readers of that
    /// flavour refuse every record of an answer for it.
    #[error("address {index} of a legacy record is not readable")]
    UnreadableAddress {
        /// The address's place in the list, counted from 0.
        index: usize,
    },
}

/// Most bytes of a foreign payload type that [`VerifyError::UnknownPayloadType`] keeps.
pub const PAYLOAD_TYPE_SHOWN_BYTES_MAX: usize = 64;

/// Why a record could not be signed. Fault: the caller, whose key or addresses these are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The key failed to sign. Only RSA keys can: the others have no way to fail.
    #[error("key failed to sign")]
    Key(#[from] SigningError),
    /// The record would not verify under the same limits: too large, too many addresses, or an
    /// empty address.
    #[error("record would not verify")]
    Record(#[from] VerifyError),
}
