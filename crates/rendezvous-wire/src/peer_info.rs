//! `PeerInfo`: what REGISTER carried before records were signed, and still does in py-libp2p and in berty's Go.

use quick_protobuf::Writer;

use crate::{
    error::NotPeerInfo,
    reader::{Reader, parse_varint},
};

/// A peer's id and its addresses, without a signature, as `Register` carries it in field 2 in the place of a signed envelope.
///
/// Nobody but the connection that it comes on tells whether its peer has written it.
///
/// The two are told apart by what they hold: a signed envelope has a signature, field 5, and a public key in field 1, which is
/// no multihash; a `PeerInfo` has no field 5, and in field 1 a peer id, which is one.
///
/// ```
/// use rendezvous_wire::PeerInfo;
///
/// let id = [&[0x00, 0x24][..], &[7; 36]].concat();
/// let mut bytes = Vec::new();
/// PeerInfo::encode(&id, [&b"address"[..], b"another"], &mut bytes);
///
/// let info = PeerInfo::decode(&bytes)?;
/// assert_eq!(info.id(), id);
/// assert_eq!(info.addresses().collect::<Vec<_>>(), [&b"address"[..], b"another"]);
/// # Ok::<(), rendezvous_wire::NotPeerInfo>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerInfo<'a> {
    id: &'a [u8],
    /// The whole body, whose structure has been checked.
    body: &'a [u8],
}

impl<'a> PeerInfo<'a> {
    /// Reads a `PeerInfo`. Nothing is allocated; unknown fields are skipped, but for the field of a signature.
    ///
    /// # Errors
    /// [`NotPeerInfo`] if the bytes are something else, such as a signed envelope.
    pub fn decode(body: &'a [u8]) -> Result<Self, NotPeerInfo> {
        let mut id = None;
        let mut reader = Reader::new(body);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => id = Some(field.bytes()?),
                2 => {
                    field.bytes()?;
                }
                5 => return Err(NotPeerInfo::Signed),
                _ => {}
            }
        }
        match id {
            Some(id) if is_multihash(id) => Ok(Self { id, body }),
            _ => Err(NotPeerInfo::Id),
        }
    }

    /// Field 1, `id`: a multihash, which need not be a peer id of any kind that is in use.
    #[must_use]
    pub const fn id(&self) -> &'a [u8] {
        self.id
    }

    /// Field 2, `addrs`: binary multiaddrs in the order given, unchecked here. Empty ones, which mean nothing, are left out.
    pub fn addresses(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut reader = Reader::new(self.body);
        core::iter::from_fn(move || {
            loop {
                // The structure was checked by `decode`.
                let field = reader.next_field().ok()??;
                if field.number == 2
                    && let Ok(address) = field.bytes()
                    && !address.is_empty()
                {
                    return Some(address);
                }
            }
        })
    }

    /// Appends a `PeerInfo` of this id and these addresses.
    pub fn encode<'b>(id: &[u8], addresses: impl IntoIterator<Item = &'b [u8]>, bytes: &mut Vec<u8>) {
        let mut w = Writer::new(bytes);
        let mut written = w.write_with_tag(1 << 3 | 2, |w| w.write_bytes(id));
        for address in addresses {
            written = written.and_then(|()| w.write_with_tag(2 << 3 | 2, |w| w.write_bytes(address)));
        }
        written.expect("a Vec takes every write");
    }
}

/// Whether bytes are a code, a length, and exactly so many bytes.
fn is_multihash(bytes: &[u8]) -> bool {
    let Ok(Some((_, code_len))) = parse_varint(bytes) else { return false };
    let rest = &bytes[code_len..];
    matches!(parse_varint(rest), Ok(Some((digest_len, len_len))) if digest_len == (rest.len() - len_len) as u64)
}
