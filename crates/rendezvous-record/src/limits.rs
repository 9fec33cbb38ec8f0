//! How large a record may be.

/// Default for [`Limits::envelope_bytes_max`], in bytes.
///
/// The RFCs give no bound. An envelope with an RSA-4096 key and 32 addresses with certificate
/// hashes stays below 6 KiB, and 1000 envelopes of this size are what one point holds for a peer
/// at most.
pub const ENVELOPE_BYTES_MAX: usize = 8 * 1024;

/// Default for [`Limits::addresses_max`].
///
/// The RFCs give no bound. Hosts announce a handful of addresses, twenty with every transport on
/// every interface; each address more is a dial that a record can provoke.
pub const ADDRESSES_MAX: usize = 32;

/// Bounds that a record must keep to be verified or signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes that an encoded envelope may have. Values above `u32::MAX` act as `u32::MAX`.
    pub envelope_bytes_max: usize,
    /// Most addresses that a record may list, readable or not.
    pub addresses_max: usize,
}

impl Default for Limits {
    /// [`ENVELOPE_BYTES_MAX`] and [`ADDRESSES_MAX`].
    fn default() -> Self {
        Self {
            envelope_bytes_max: ENVELOPE_BYTES_MAX,
            addresses_max: ADDRESSES_MAX,
        }
    }
}
