//! Between this project's verified records and libp2p-core's own types.

use libp2p_core::{PeerRecord, SignedEnvelope, peer_record::FromEnvelopeError, signed_envelope};
use rendezvous_record::{Flavour, Limits, VerifiedRecord, VerifyError};

/// The record as libp2p-core has it, verified once more by its rules.
///
/// # Errors
/// [`ConvertError`] if libp2p-core cannot read the record, as with an address of a kind that it does not know.
///
/// ```
/// use libp2p_identity::Keypair;
/// use rendezvous_record::{Flavour, Limits, VerifiedRecord};
/// use rendezvous_swarm::{from_signed_envelope, to_peer_record};
///
/// let key = Keypair::ed25519_from_bytes([1; 32])?;
/// let record = VerifiedRecord::sign(&key, Flavour::Standard, 7, &["/ip4/192.0.2.1/tcp/1".parse()?], &Limits::default())?;
/// let theirs = to_peer_record(&record)?;
/// assert_eq!((theirs.peer_id(), theirs.seq()), (record.peer_id(), 7));
/// assert_eq!(from_signed_envelope(theirs.into_signed_envelope(), &Limits::default())?, record);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn to_peer_record(record: &VerifiedRecord) -> Result<PeerRecord, ConvertError> {
    let envelope = SignedEnvelope::from_protobuf_encoding(record.envelope())?;
    Ok(match record.flavour() {
        Flavour::Standard => PeerRecord::from_signed_envelope_interop(envelope)?,
        Flavour::Legacy => PeerRecord::from_signed_envelope(envelope)?,
    })
}

/// The record in one of libp2p-core's envelopes, of either flavour, verified.
///
/// # Errors
/// [`VerifyError`] as from [`VerifiedRecord::verify`].
pub fn from_signed_envelope(envelope: SignedEnvelope, limits: &Limits) -> Result<VerifiedRecord, VerifyError> {
    VerifiedRecord::verify(envelope.into_protobuf_encoding().into(), limits)
}

/// Why libp2p-core does not take a record.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// It cannot read the envelope.
    #[error(transparent)]
    Envelope(#[from] signed_envelope::DecodingError),
    /// It cannot read the record, or does not find it valid.
    #[error(transparent)]
    Record(#[from] FromEnvelopeError),
}

#[cfg(test)]
mod tests {
    use libp2p_identity::Keypair;

    use super::*;

    #[test]
    fn records_of_both_flavours_go_there_and_back_unchanged() {
        let key = Keypair::ed25519_from_bytes([4; 32]).expect("any 32 bytes are a seed");
        let addresses = ["/ip4/192.0.2.1/tcp/4001", "/dns4/example.org/udp/443/quic-v1"];
        let addresses = addresses.map(|address| address.parse().expect("a multiaddr"));
        for flavour in Flavour::ALL {
            let record = VerifiedRecord::sign(&key, flavour, 9, &addresses, &Limits::default()).expect("it signs");
            let theirs = to_peer_record(&record).expect("libp2p-core reads it");
            assert_eq!(theirs.addresses(), addresses);
            let back = from_signed_envelope(theirs.into_signed_envelope(), &Limits::default()).expect("it verifies");
            assert_eq!(back, record);
        }
    }

    #[test]
    fn an_envelope_of_another_kind_is_refused() {
        let key = Keypair::ed25519_from_bytes([4; 32]).expect("any 32 bytes are a seed");
        let envelope = SignedEnvelope::new(&key, "another domain".into(), vec![9], vec![1, 2, 3]).expect("it signs");
        let refused = from_signed_envelope(envelope, &Limits::default());
        assert!(matches!(refused, Err(VerifyError::UnknownPayloadType { .. })), "{refused:?}");
    }
}
