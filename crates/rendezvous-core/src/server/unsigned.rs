//! Records without a signature, and signed ones in that form.

use bytes::Bytes;
use libp2p_identity::PeerId;
use multiaddr::Protocol;
use rendezvous_record::{Envelope, Limits, PeerRecordPayload};
use rendezvous_wire::PeerInfo;

use super::{
    PeerBytes,
    refusal::{PeerInfoFault, Refusal},
};

/// Bytes of a tag and a length in front of a peer id.
const ID_START: usize = 2;

/// An unsigned record that has passed every check that needs no state: of the peer that sent it, and bounded.
#[derive(Clone, Debug)]
pub(super) struct UnsignedRecord {
    /// A `PeerInfo` written anew, so that it holds the id, addresses that can be read, and nothing else.
    pub(super) bytes: Bytes,
    pub(super) peer_len: usize,
}

impl UnsignedRecord {
    /// Where the peer's id begins in the bytes.
    pub(super) const PEER_START: usize = ID_START;

    /// What `peer`, authenticated by the transport, says of itself.
    ///
    /// Addresses that cannot be read are left out, as of signed records of the standard flavour: one of them could cost a
    /// reader its whole page.
    pub(super) fn read(peer: &PeerId, given: &[u8], info: PeerInfo<'_>, limits: &Limits) -> Result<Self, Refusal> {
        let mut buffer = PeerBytes::new();
        let id = buffer.of(peer);
        if info.id() != id {
            return Err(Refusal::ForeignRecord);
        }
        if given.len() > limits.envelope_bytes_max {
            return Err(PeerInfoFault::TooLarge { bytes: given.len(), max: limits.envelope_bytes_max }.into());
        }
        if info.addresses().nth(limits.addresses_max).is_some() {
            return Err(PeerInfoFault::TooManyAddresses { max: limits.addresses_max }.into());
        }
        if !info.addresses().any(is_readable) {
            return Err(PeerInfoFault::NoAddress.into());
        }
        let mut bytes = Vec::with_capacity(given.len());
        PeerInfo::encode(id, info.addresses().filter(|address| is_readable(address)), &mut bytes);
        Ok(Self { bytes: bytes.into(), peer_len: id.len() })
    }
}

/// Writes the id and the readable addresses of a signed record as a `PeerInfo`, in the place of what the buffer held; `false`
/// if the envelope is none, which those of the registry never are.
pub(super) fn derive(envelope: &[u8], buffer: &mut Vec<u8>) -> bool {
    let Ok(envelope) = Envelope::parse(envelope) else { return false };
    let Ok(payload) = PeerRecordPayload::parse(envelope.payload) else { return false };
    buffer.clear();
    PeerInfo::encode(payload.peer_id(), payload.addresses().filter(|address| is_readable(address)), buffer);
    true
}

/// Whether the bytes are a multiaddr, not empty, whose every protocol is known.
fn is_readable(address: &[u8]) -> bool {
    let mut rest = address;
    while !rest.is_empty() {
        match Protocol::from_bytes(rest) {
            Ok((_, after)) => rest = after,
            Err(_) => return false,
        }
    }
    !address.is_empty()
}
