//! The public key in an envelope.

use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use libp2p_identity::{PeerId, PublicKey, ecdsa, rsa, secp256k1};

use crate::error::{Deviation, KeyError, Malformed, Problem};
use crate::reader::Reader;

const TYPE: u32 = 1;
const DATA: u32 = 2;

pub(crate) const RSA: u64 = 0;
pub(crate) const ED25519: u64 = 1;
pub(crate) const SECP256K1: u64 = 2;
pub(crate) const ECDSA: u64 = 3;

/// What stands before the 32 key bytes in the peer id of an Ed25519 key: an identity multihash of
/// 36 bytes, then the `PublicKey` message's type and the length of its data.
const ED25519_PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// A key that signatures can be checked with.
///
/// Ed25519 keys are kept in the form that batch verification takes, so that the point is
/// decompressed once.
pub(crate) enum SignerKey {
    Ed25519(Box<VerifyingKey>),
    Other(PublicKey),
}

impl SignerKey {
    /// Reads a `PublicKey` message and says how it departs from canonical encoding.
    ///
    /// An absent type is 0, RSA: py-libp2p leaves it out.
    pub(crate) fn parse(bytes: &[u8]) -> Result<(Self, Option<Deviation>), KeyError> {
        let (key_type, data, deviation) = read(bytes).map_err(KeyError::Malformed)?;
        let key = match key_type {
            RSA => rsa::PublicKey::try_decode_x509(data)
                .map(|key| Self::Other(key.into()))
                .map_err(|_| KeyError::Invalid("rsa")),
            ED25519 => VerifyingKey::try_from(data)
                .map(|key| Self::Ed25519(Box::new(key)))
                .map_err(|_| KeyError::Invalid("ed25519")),
            SECP256K1 => secp256k1::PublicKey::try_from_bytes(data)
                .map(|key| Self::Other(key.into()))
                .map_err(|_| KeyError::Invalid("secp256k1")),
            ECDSA => ecdsa::PublicKey::try_decode_der(data)
                .map(|key| Self::Other(key.into()))
                .map_err(|_| KeyError::Invalid("ecdsa")),
            unknown => Err(KeyError::UnknownType(unknown)),
        }?;
        Ok((key, deviation))
    }

    pub(crate) fn peer_id(&self) -> PeerId {
        match self {
            Self::Ed25519(key) => {
                let mut bytes = [0; ED25519_PEER_ID_PREFIX.len() + 32];
                let (prefix, rest) = bytes.split_at_mut(ED25519_PEER_ID_PREFIX.len());
                prefix.copy_from_slice(&ED25519_PEER_ID_PREFIX);
                rest.copy_from_slice(key.as_bytes());
                PeerId::from_bytes(&bytes).expect("an identity multihash of 36 bytes is a peer id")
            }
            Self::Other(key) => key.to_peer_id(),
        }
    }

    /// Checks one signature on its own.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => {
                Signature::from_slice(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
            }
            Self::Other(key) => key.verify(message, signature),
        }
    }
}

/// The type and the data of a `PublicKey` message.
pub(crate) fn read(bytes: &[u8]) -> Result<(u64, &[u8], Option<Deviation>), Malformed> {
    let mut reader = Reader::new(bytes);
    let (mut key_type, mut data) = (None, None);
    while let Some(field) = reader.next_field()? {
        match field.number {
            TYPE => field.store(&mut key_type, field.varint()?)?,
            DATA => field.store(&mut data, field.bytes()?.bytes)?,
            _ => reader.skip_unknown(&field),
        }
    }
    let data = data.ok_or(Malformed { offset: bytes.len(), problem: Problem::Missing("data") })?;
    Ok((key_type.unwrap_or(RSA), data, reader.deviation()))
}
