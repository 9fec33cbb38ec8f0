//! Frames over byte slices: an unsigned varint with the payload's length, then the payload.
//!
//! ```
//! use rendezvous_wire::frame;
//!
//! let mut bytes = Vec::new();
//! frame::append(b"payload", &mut bytes);
//! assert_eq!(frame::split(&bytes, 64)?, Some((&b"payload"[..], 8)));
//! assert_eq!(frame::split(&bytes[..5], 64)?, None); // more bytes are needed
//! assert!(frame::split(&bytes, 6).is_err());        // longer than the reader allows
//! # Ok::<(), frame::FrameError>(())
//! ```

use quick_protobuf::{Writer, sizeofs::sizeof_len};

use crate::reader::parse_varint;

/// Longest request payload that a point reads: 64 KiB. A record of 8 KiB and a namespace leave ample room.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;

/// Longest response payload that a client reads: 4 MiB, as large as any implementation writes.
pub const RESPONSE_BYTES_MAX: usize = 4 << 20;

/// Longest DISCOVER answer that a point writes: 1 MiB, the most that rust-libp2p clients read.
pub const PAGE_BYTES_MAX: usize = 1 << 20;

/// Longest REGISTER, and longest answer to it, that is written: 4096 bytes, the most that nim-libp2p reads.
pub const REGISTER_BYTES_MAX: usize = 4_096;

/// The payload of the frame at the start of `bytes` and the length of the whole frame, or `None` if the frame is not
/// complete yet.
///
/// # Errors
/// [`FrameError`] as soon as the length prefix is seen to be no varint, or above `payload_bytes_max`.
pub fn split(bytes: &[u8], payload_bytes_max: usize) -> Result<Option<(&[u8], usize)>, FrameError> {
    let Some((prefix_len, frame_len)) = measure(bytes, payload_bytes_max)? else {
        return Ok(None);
    };
    Ok(bytes.get(prefix_len..frame_len).map(|payload| (payload, frame_len)))
}

/// Appends a frame with this payload.
pub fn append(payload: &[u8], bytes: &mut Vec<u8>) {
    bytes.reserve(sizeof_len(payload.len()));
    Writer::new(bytes).write_bytes(payload).expect("a Vec takes every write");
}

/// Lengths of the prefix and of the whole frame, as far as they can be told.
pub(crate) fn measure(bytes: &[u8], payload_bytes_max: usize) -> Result<Option<(usize, usize)>, FrameError> {
    let Some((len, prefix_len)) = parse_varint(bytes).map_err(|_| FrameError::Prefix)? else {
        return Ok(None);
    };
    let too_long = FrameError::TooLong { len_bytes: len, max_bytes: payload_bytes_max };
    let len = usize::try_from(len).ok().filter(|&len| len <= payload_bytes_max).ok_or(too_long)?;
    // A caller without a bound of its own still cannot be made to overflow.
    let frame_len = prefix_len.checked_add(len).ok_or(too_long)?;
    Ok(Some((prefix_len, frame_len)))
}

/// Why bytes are no frame. The stream cannot be read on after either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FrameError {
    /// The length prefix is no varint of 64 bits.
    #[error("frame length is not a varint")]
    Prefix,
    /// The payload is longer than the reader allows. Nothing has been allocated for it.
    #[error("frame of {len_bytes} bytes is longer than {max_bytes}")]
    TooLong {
        /// Length that the prefix announces.
        len_bytes: u64,
        /// Longest that the reader allows.
        max_bytes: usize,
    },
}
