//! Signed envelopes and peer records of libp2p.

mod envelope;
mod error;
mod flavour;
mod key;
mod limits;
mod payload;
mod reader;
mod seq;
mod sign;
mod verify;

pub use envelope::Envelope;
pub use error::{
    Deviation, DeviationKind, EnvelopeError, KeyError, Malformed, PAYLOAD_TYPE_SHOWN_BYTES_MAX,
    Part, PayloadError, Problem, SignError, VerifyError,
};
pub use flavour::{Flavour, Flavours, ParseFlavourError};
pub use limits::{ADDRESSES_MAX, ENVELOPE_BYTES_MAX, Limits};
pub use payload::PeerRecordPayload;
pub use seq::SeqSource;
pub use verify::VerifiedRecord;
