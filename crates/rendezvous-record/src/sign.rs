//! Signing one's own record.

use bytes::Bytes;
use libp2p_identity::Keypair;
use multiaddr::Multiaddr;

use crate::envelope::Envelope;
use crate::error::{SignError, VerifyError};
use crate::flavour::Flavour;
use crate::limits::Limits;
use crate::payload;
use crate::verify::{Unchecked, VerifiedRecord};

impl VerifiedRecord {
    /// Signs a record of the key's own peer.
    ///
    /// `seq` should grow from record to record, see [`SeqSource`](crate::SeqSource). The addresses
    /// are written as they are; go-libp2p leaves out a final `/p2p/<peer id>`, and so should the
    /// caller. The bytes follow from the arguments alone for Ed25519, Secp256k1 and RSA keys.
    /// Signing with an RSA key draws blinding from the operating system; nothing else in this
    /// crate does.
    ///
    /// # Errors
    ///
    /// The key failed, or the record would be refused by [`verify`](Self::verify) under the same
    /// limits: too many addresses, an empty address, or more bytes than an envelope may have.
    pub fn sign(
        key: &Keypair,
        flavour: Flavour,
        seq: u64,
        addresses: &[Multiaddr],
        limits: &Limits,
    ) -> Result<Self, SignError> {
        // Before the signature, which for RSA is costly, and before the payload is written.
        if addresses.len() > limits.addresses_max {
            return Err(SignError::Record(VerifyError::TooManyAddresses {
                count: addresses.len(),
                max: limits.addresses_max,
            }));
        }
        if let Some(index) = addresses.iter().position(Multiaddr::is_empty) {
            return Err(SignError::Record(VerifyError::EmptyAddress { index }));
        }

        let public_key = key.public();
        let payload = payload::encode(&public_key.to_peer_id().to_bytes(), seq, addresses);
        let signature = key.sign(&flavour.signed_bytes(&payload))?;
        let envelope = Envelope {
            public_key: &public_key.encode_protobuf(),
            payload_type: flavour.payload_type(),
            payload: &payload,
            signature: &signature,
        };
        let unchecked = Unchecked::parse(Bytes::from(envelope.encode()), limits)?;
        Ok(unchecked.into_record(limits)?)
    }
}
