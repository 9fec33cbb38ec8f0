//! Whether a signed envelope verifies, and where it stops being valid.

use libp2p::bytes::Bytes;
use rendezvous_record::{Envelope, Flavour, KeyError, Limits, Part, VerifiedRecord, VerifyError};
use serde::Serialize;

use super::{
    proto::{Fault, Span},
    schema::Node,
};

// Fields of an envelope and of a peer record.
const PUBLIC_KEY: u32 = 1;
const PAYLOAD_TYPE: u32 = 2;
const PAYLOAD: u32 = 3;
const SIGNATURE: u32 = 5;
const PEER_ID: u32 = 1;
const ADDRESSES: u32 = 3;

/// What can be said of an envelope.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Verdict {
    verifies: bool,
    /// By the payload type.
    flavour: Option<String>,
    /// The peer whose key the envelope carries, whether or not it has signed.
    signer: Option<String>,
    #[serde(skip)]
    pub(super) fault: Option<Fault>,
}

impl Verdict {
    /// In words.
    pub(super) fn say(&self) -> String {
        let flavour = self.flavour.as_deref().map(|flavour| format!("{flavour} flavour")).unwrap_or_default();
        let key = self.signer.as_deref().unwrap_or_default();
        match &self.fault {
            None => format!("verifies: {flavour}, signed by {key}"),
            Some(fault) => format!("does not verify: {} (at byte {})", fault.reason, fault.offset),
        }
    }
}

/// Verifies an envelope, whose fields have been read.
pub(super) fn of(span: Span<'_>, fields: &[Node]) -> Verdict {
    let envelope = Envelope::parse(span.bytes).ok();
    let flavour = envelope.and_then(|envelope| envelope.flavour()).map(|flavour: Flavour| flavour.to_string());
    let signer = envelope.and_then(|envelope| envelope.signer().ok()).map(|signer| signer.to_string());
    let verified = VerifiedRecord::verify(Bytes::copy_from_slice(span.bytes), &Limits::default());
    let fault = verified.err().map(|error| locate(span, fields, &error));
    Verdict { verifies: fault.is_none(), flavour, signer, fault }
}

/// Where in the input the trouble is.
fn locate(span: Span<'_>, fields: &[Node], error: &VerifyError) -> Fault {
    let field = |number| fields.iter().find(|node| node.number == number);
    let key_of = |number| field(number).map_or(span.start, |node| node.offset);
    let inside = |number| field(number).map_or(span.start, |node| node.start);
    let address = |index| {
        let addresses = field(PAYLOAD).into_iter().flat_map(|payload| &payload.fields);
        addresses.filter(|node| node.number == ADDRESSES).nth(index).map_or(inside(PAYLOAD), |node| node.offset)
    };
    let peer_id =
        || field(PAYLOAD).and_then(|payload| payload.field(PEER_ID)).map_or(inside(PAYLOAD), |node| node.offset);
    match error {
        VerifyError::Envelope(error) => {
            Fault::new(span.start + error.0.offset, format!("malformed envelope: {}", error.0.problem))
        }
        VerifyError::PublicKey(KeyError::Malformed(error)) => {
            Fault::new(inside(PUBLIC_KEY) + error.offset, format!("malformed public key: {}", error.problem))
        }
        VerifyError::Payload(error) => {
            Fault::new(inside(PAYLOAD) + error.0.offset, format!("malformed peer record: {}", error.0.problem))
        }
        VerifyError::NotCanonical { part, deviation } => {
            let start = match part {
                Part::Envelope => span.start,
                Part::PublicKey => inside(PUBLIC_KEY),
                Part::Payload => inside(PAYLOAD),
                Part::Address(index) => address(*index),
            };
            let reason = format!("legacy {part} is not canonical: {}", deviation.kind);
            Fault::new(start + deviation.offset, reason)
        }
        error => {
            let offset = match error {
                VerifyError::UnknownPayloadType { .. } => key_of(PAYLOAD_TYPE),
                VerifyError::PublicKey(_) => key_of(PUBLIC_KEY),
                VerifyError::BadSignature => key_of(SIGNATURE),
                VerifyError::InvalidPeerId | VerifyError::PeerIdMismatch { .. } => peer_id(),
                VerifyError::EmptyAddress { index } | VerifyError::UnreadableAddress { index } => address(*index),
                VerifyError::TooManyAddresses { max, .. } => address(*max),
                _ => span.start,
            };
            Fault::new(offset, error.to_string())
        }
    }
}
