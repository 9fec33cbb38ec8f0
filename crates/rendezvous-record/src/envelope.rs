//! The signed envelope of RFC 0002, parsed without a look at what it holds.

use std::ops::Range;

use libp2p_identity::PeerId;
use quick_protobuf::Writer;
use quick_protobuf::sizeofs::sizeof_len;

use crate::error::{Deviation, EnvelopeError, KeyError, Malformed, Problem};
use crate::flavour::Flavour;
use crate::key::SignerKey;
use crate::reader::{Located, Reader};

const PUBLIC_KEY: u32 = 1;
const PAYLOAD_TYPE: u32 = 2;
const PAYLOAD: u32 = 3;
const SIGNATURE: u32 = 5;

/// A signed envelope, borrowed from its bytes and not verified (RFC 0002, "Wire Format").
///
/// [`VerifiedRecord::verify`](crate::VerifiedRecord::verify) is the way to a record that can be
/// trusted; this type is for looking at one that cannot.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Field 1: the encoded `PublicKey` message of the signer.
    pub public_key: &'a [u8],
    /// Field 2: what the payload is, see [`flavour`](Self::flavour).
    pub payload_type: &'a [u8],
    /// Field 3: what is signed, see [`PeerRecordPayload::parse`](crate::PeerRecordPayload::parse).
    pub payload: &'a [u8],
    /// Field 5: the signature, in the form that is usual for the key's type.
    pub signature: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Reads the four fields. Unknown fields are skipped.
    ///
    /// # Errors
    ///
    /// The bytes are no protobuf message, or one of the four fields is missing, repeated or of
    /// another wire type.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        LocatedEnvelope::parse(bytes).map(|located| located.envelope)
    }

    /// The flavour of peer record that the payload claims to be, if any.
    #[must_use]
    pub fn flavour(&self) -> Option<Flavour> {
        Flavour::of_payload_type(self.payload_type)
    }

    /// The peer whose key the envelope carries, whether or not that key has signed it.
    ///
    /// # Errors
    ///
    /// The field holds no key of a known type.
    pub fn signer(&self) -> Result<PeerId, KeyError> {
        SignerKey::parse(self.public_key).map(|(key, _)| key.peer_id())
    }

    /// Microseconds of one core that the check of the signature takes, by the key's type and length: a weight for rate
    /// limits, which costs no cryptography itself.
    ///
    /// Ed25519 30, secp256k1 50, ECDSA 250, RSA from 19 for 2048 bits to 305 for 8192; RSA with an exponent other than 3 and
    /// 65537 four times as much. Zero if the field holds no key of a known type. At most 1,220.
    #[must_use]
    pub fn verify_micros(&self) -> u32 {
        crate::cost::verify_micros(self.public_key)
    }

    /// Writes the four fields canonically.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let fields = [
            (PUBLIC_KEY, self.public_key),
            (PAYLOAD_TYPE, self.payload_type),
            (PAYLOAD, self.payload),
            (SIGNATURE, self.signature),
        ];
        let capacity = fields.iter().map(|(_, value)| 1 + sizeof_len(value.len())).sum();
        let mut bytes = Vec::with_capacity(capacity);
        let mut writer = Writer::new(&mut bytes);
        for (number, value) in fields {
            writer
                .write_with_tag(number << 3 | 2, |writer| writer.write_bytes(value))
                .expect("a Vec accepts every write");
        }
        bytes
    }
}

/// An envelope with what verification needs to know about its encoding.
pub(crate) struct LocatedEnvelope<'a> {
    pub(crate) envelope: Envelope<'a>,
    /// Where the payload stands in the envelope.
    pub(crate) payload: Range<usize>,
    /// Where the signature stands in the envelope.
    pub(crate) signature: Range<usize>,
    pub(crate) deviation: Option<Deviation>,
}

impl<'a> LocatedEnvelope<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        Self::read(bytes).map_err(EnvelopeError)
    }

    fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let [mut public_key, mut payload_type, mut payload, mut signature] = [None; 4];
        while let Some(field) = reader.next_field()? {
            let slot = match field.number {
                PUBLIC_KEY => &mut public_key,
                PAYLOAD_TYPE => &mut payload_type,
                PAYLOAD => &mut payload,
                SIGNATURE => &mut signature,
                _ => {
                    reader.skip_unknown(&field);
                    continue;
                }
            };
            field.store(slot, field.bytes()?)?;
        }

        let present = |field: Option<Located<'a>>, name| {
            field.ok_or(Malformed { offset: bytes.len(), problem: Problem::Missing(name) })
        };
        let public_key = present(public_key, "public_key")?;
        let payload_type = present(payload_type, "payload_type")?;
        let payload = present(payload, "payload")?;
        let signature = present(signature, "signature")?;
        Ok(Self {
            envelope: Envelope {
                public_key: public_key.bytes,
                payload_type: payload_type.bytes,
                payload: payload.bytes,
                signature: signature.bytes,
            },
            payload: payload.range(),
            signature: signature.range(),
            deviation: reader.deviation(),
        })
    }
}
