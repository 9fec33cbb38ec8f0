//! The verified record, and the steps that lead to one.

use std::ops::Range;

use bytes::Bytes;
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;

use crate::envelope::LocatedEnvelope;
use crate::error::{PAYLOAD_TYPE_SHOWN_BYTES_MAX, Part, VerifyError};
use crate::flavour::Flavour;
use crate::key::SignerKey;
use crate::limits::Limits;
use crate::payload::{PeerRecordPayload, address_bytes, is_readable};

/// [`VerifiedRecord::scaled_seq`] takes values below this for seconds since 1970. As seconds it
/// stands for the year 33658, as nanoseconds for a quarter of an hour after the start of 1970.
const SEQ_SECONDS_BELOW: u64 = 1_000_000_000_000;

/// Values from there to below this are milliseconds. As such this stands for the year 33658, and as
/// nanoseconds for the twelfth day of 1970.
const SEQ_MILLIS_BELOW: u64 = 1_000_000_000_000_000;

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const NANOS_PER_MILLI: u64 = 1_000_000;

/// A peer record whose envelope is kept as it was received, and whose signature, peer id and
/// addresses have been checked.
///
/// Only this crate can make one, so whoever holds one need not check again. What the signature
/// does not cover, a record cannot show: neither the namespace it was registered in nor its
/// lifetime, nor that it is the peer's newest.
///
/// A record is 64 bytes plus a share in the bytes that its envelope was cut from; see
/// [`detach`](Self::detach).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRecord {
    envelope: Bytes,
    seq: u64,
    // Places in the envelope, which has at most `u32::MAX` bytes.
    payload_start: u32,
    payload_end: u32,
    peer_id_start: u32,
    peer_id_end: u32,
    unreadable_addresses: u32,
    flavour: Flavour,
}

impl VerifiedRecord {
    /// Checks an encoded envelope and keeps its bytes as they are.
    ///
    /// The order of the checks is that of RFC 0002 and RFC 0003: size, the envelope's structure,
    /// flavour, key, then the signature, and only under a good signature the payload, the peer id
    /// and the addresses. An error names the first check that failed.
    ///
    /// In the standard flavour, unknown fields are skipped as protobuf has it, and so are
    /// addresses that this library cannot read ([`unreadable_addresses`](Self::unreadable_addresses)).
    /// A record of the legacy flavour must be encoded canonically and every address readable,
    /// because its readers, rust-libp2p nodes, lose a whole answer over one record they cannot
    /// read. Fields that may stand once are never accepted twice.
    ///
    /// # Errors
    ///
    /// See [`VerifyError`].
    pub fn verify(envelope: Bytes, limits: &Limits) -> Result<Self, VerifyError> {
        let unchecked = Unchecked::parse(envelope, limits)?;
        if !unchecked.verify_signature() {
            return Err(VerifyError::BadSignature);
        }
        unchecked.into_record(limits)
    }

    /// Like [`verify`](Self::verify), for a record that must be of one peer: the peer that the connection has
    /// authenticated.
    ///
    /// The peer ids are compared before the signature is checked: that of the key in the envelope, and the one that the
    /// record names. So a record that was copied from another peer costs no verification. (RSA and ECDSA take 75 to 800
    /// microseconds, which a sender of copies would have for the price of some hundred bytes.)
    ///
    /// RSA keys are taken from 2048 to 8192 bits and with exponents of up to 33 bits, as rust-libp2p takes them: such peers
    /// connect, so their records must be admitted. Limit how often a peer may have its records verified by
    /// [`Envelope::verify_micros`](crate::Envelope::verify_micros).
    ///
    /// # Errors
    ///
    /// [`VerifyError::PeerIdMismatch`] if the envelope's key is not that of the peer that the record names, and
    /// [`VerifyError::OtherSigner`] if it is not that of `peer`, whether or not the signature is good; any other as from
    /// [`verify`](Self::verify).
    pub fn verify_of(peer: &PeerId, envelope: Bytes, limits: &Limits) -> Result<Self, VerifyError> {
        let unchecked = Unchecked::parse(envelope, limits)?;
        unchecked.check_owner(peer)?;
        if !unchecked.verify_signature() {
            return Err(VerifyError::BadSignature);
        }
        unchecked.into_record(limits)
    }

    /// The encoded envelope, byte for byte as it was received or signed.
    #[must_use]
    pub fn envelope(&self) -> &Bytes {
        &self.envelope
    }

    /// The peer that signed the record and that the record is about.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        PeerId::from_bytes(&self.envelope[self.peer_id_range()]).expect("verification has read a peer id here")
    }

    /// Where the bytes of the peer id stand in [`envelope`](Self::envelope).
    #[must_use]
    pub fn peer_id_range(&self) -> Range<usize> {
        self.peer_id_start as usize..self.peer_id_end as usize
    }

    /// The record's place in the order of this peer's records, in the writer's own unit; see
    /// [`scaled_seq`](Self::scaled_seq) for one that records of different writers share.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// [`seq`](Self::seq) in nanoseconds since 1970 as far as its unit can be told: a value below
    /// 10^12 is taken for seconds, one from there to below 10^15 for milliseconds. The product
    /// saturates at `u64::MAX`.
    ///
    /// rust-libp2p and nim-libp2p count in seconds, js-libp2p in milliseconds, go-libp2p and
    /// py-libp2p in nanoseconds. For comparing records of one peer; nobody vouches that it is a time.
    #[must_use]
    pub fn scaled_seq(&self) -> u64 {
        match self.seq {
            secs @ ..SEQ_SECONDS_BELOW => secs.saturating_mul(NANOS_PER_SECOND),
            millis @ SEQ_SECONDS_BELOW..SEQ_MILLIS_BELOW => millis.saturating_mul(NANOS_PER_MILLI),
            nanos => nanos,
        }
    }

    /// The flavour that the record was signed in.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// The readable addresses, in the record's order, at most
    /// [`Limits::addresses_max`](crate::Limits). A legacy record has no others.
    ///
    /// Whether an address is public, or ends in `/p2p/` and somebody's peer id, is for the caller
    /// to look at.
    pub fn addresses(&self) -> impl Iterator<Item = Multiaddr> + '_ {
        address_bytes(self.payload()).filter_map(|address| Multiaddr::try_from(address.to_vec()).ok())
    }

    /// How many addresses of the record [`addresses`](Self::addresses) leaves out, because they
    /// use a protocol that this library does not know. Always 0 in the legacy flavour.
    #[must_use]
    pub fn unreadable_addresses(&self) -> usize {
        self.unreadable_addresses as usize
    }

    /// The record with an envelope that shares no memory with the frame it was received in.
    ///
    /// A record that is kept should be detached: the slice of a frame keeps the whole frame in
    /// memory, and a page of them can be a mebibyte.
    #[must_use]
    pub fn detach(self) -> Self {
        Self { envelope: Bytes::copy_from_slice(&self.envelope), ..self }
    }

    fn payload(&self) -> &[u8] {
        &self.envelope[self.payload_start as usize..self.payload_end as usize]
    }
}

/// An envelope of a known flavour and with a usable key, whose signature is not checked.
pub(crate) struct Unchecked {
    envelope: Bytes,
    flavour: Flavour,
    pub(crate) key: SignerKey,
    payload: Range<usize>,
    signature: Range<usize>,
    /// What the signature must cover.
    pub(crate) message: Vec<u8>,
}

impl Unchecked {
    /// The checks that come before the signature.
    pub(crate) fn parse(envelope: Bytes, limits: &Limits) -> Result<Self, VerifyError> {
        let max = limits.envelope_bytes_max.min(u32::MAX as usize);
        if envelope.len() > max {
            return Err(VerifyError::TooLarge { bytes: envelope.len(), max });
        }
        let located = LocatedEnvelope::parse(&envelope)?;
        let payload_type = located.envelope.payload_type;
        let flavour = Flavour::of_payload_type(payload_type).ok_or_else(|| {
            let shown = payload_type.len().min(PAYLOAD_TYPE_SHOWN_BYTES_MAX);
            VerifyError::UnknownPayloadType { payload_type: payload_type[..shown].to_vec() }
        })?;
        let (key, key_deviation) = SignerKey::parse(located.envelope.public_key)?;
        if flavour == Flavour::Legacy {
            let deviation = located
                .deviation
                .map(|deviation| (Part::Envelope, deviation))
                .or(key_deviation.map(|deviation| (Part::PublicKey, deviation)));
            if let Some((part, deviation)) = deviation {
                return Err(VerifyError::NotCanonical { part, deviation });
            }
        }
        let message = flavour.signed_bytes(located.envelope.payload);
        let (payload, signature) = (located.payload, located.signature);
        Ok(Self { envelope, flavour, key, payload, signature, message })
    }

    pub(crate) fn signature(&self) -> &[u8] {
        &self.envelope[self.signature.clone()]
    }

    /// Whether the envelope claims to be of a peer: by its key, and by the peer id in its payload.
    ///
    /// A payload that names no peer id is left to [`Self::into_record`], so that its error says what is wrong with it.
    fn check_owner(&self, peer: &PeerId) -> Result<(), VerifyError> {
        let signer = self.key.peer_id();
        let payload = PeerRecordPayload::parse(&self.envelope[self.payload.clone()]);
        let claimed = payload.ok().and_then(|payload| PeerId::from_bytes(payload.peer_id()).ok());
        if let Some(claimed) = claimed.filter(|claimed| *claimed != signer) {
            return Err(VerifyError::PeerIdMismatch { claimed: Box::new(claimed), signer: Box::new(signer) });
        }
        if signer != *peer {
            return Err(VerifyError::OtherSigner { signer: Box::new(signer), expected: Box::new(*peer) });
        }
        Ok(())
    }

    /// Checks the signature on its own.
    pub(crate) fn verify_signature(&self) -> bool {
        self.key.verify(&self.message, self.signature())
    }

    /// The checks that come after the signature, for a caller that has seen that it is good.
    pub(crate) fn into_record(self, limits: &Limits) -> Result<VerifiedRecord, VerifyError> {
        let payload = PeerRecordPayload::parse(&self.envelope[self.payload.clone()])?;
        if self.flavour == Flavour::Legacy
            && let Some((part, deviation)) = payload.deviation()
        {
            return Err(VerifyError::NotCanonical { part, deviation });
        }

        let signer = self.key.peer_id();
        let claimed = PeerId::from_bytes(payload.peer_id()).map_err(|_| VerifyError::InvalidPeerId)?;
        if claimed != signer {
            return Err(VerifyError::PeerIdMismatch { claimed: Box::new(claimed), signer: Box::new(signer) });
        }

        if payload.address_count() > limits.addresses_max {
            return Err(VerifyError::TooManyAddresses { count: payload.address_count(), max: limits.addresses_max });
        }
        let mut unreadable_addresses = 0;
        for (index, address) in payload.addresses().enumerate() {
            if address.is_empty() {
                return Err(VerifyError::EmptyAddress { index });
            }
            if !is_readable(address) {
                if self.flavour == Flavour::Legacy {
                    return Err(VerifyError::UnreadableAddress { index });
                }
                unreadable_addresses += 1;
            }
        }

        let narrow = |place: usize| u32::try_from(place).expect("an envelope is at most u32::MAX bytes long");
        let peer_id = payload.peer_id_range();
        Ok(VerifiedRecord {
            seq: payload.seq(),
            payload_start: narrow(self.payload.start),
            payload_end: narrow(self.payload.end),
            peer_id_start: narrow(self.payload.start + peer_id.start),
            peer_id_end: narrow(self.payload.start + peer_id.end),
            unreadable_addresses,
            flavour: self.flavour,
            envelope: self.envelope,
        })
    }
}
