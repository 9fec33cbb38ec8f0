//! Frames of yamux, by hand.

/// Bytes of a header.
pub const HEADER_BYTES: usize = 12;

/// The window that each stream begins with, in bytes.
pub const WINDOW_BYTES: u32 = 256 << 10;

/// Opens a stream.
pub const SYN: u16 = 1;
/// Acknowledges a stream or answers a ping.
pub const ACK: u16 = 2;
/// Ends the sender's half of a stream.
pub const FIN: u16 = 4;
/// Resets a stream.
pub const RST: u16 = 8;

/// Types of frames.
pub mod kind {
    /// Bytes of a stream.
    pub const DATA: u8 = 0;
    /// More window.
    pub const WINDOW: u8 = 1;
    /// A ping.
    pub const PING: u8 = 2;
    /// The end of the connection.
    pub const GO_AWAY: u8 = 3;
}

/// A header as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// One of [`kind`].
    pub kind: u8,
    /// [`SYN`], [`ACK`], [`FIN`], [`RST`].
    pub flags: u16,
    /// The stream.
    pub stream: u32,
    /// Bytes that follow, window or number of a ping.
    pub len: u32,
}

impl Header {
    /// Reads a header.
    #[must_use]
    pub fn read(bytes: &[u8; HEADER_BYTES]) -> Self {
        let [_, kind, flags @ .., _, _, _, _, _, _, _, _] = *bytes;
        let [_, _, _, _, stream @ .., _, _, _, _] = *bytes;
        let [_, _, _, _, _, _, _, _, len @ ..] = *bytes;
        Self {
            kind,
            flags: u16::from_be_bytes(flags),
            stream: u32::from_be_bytes(stream),
            len: u32::from_be_bytes(len),
        }
    }
}

/// Appends a header.
pub fn header(kind: u8, flags: u16, stream: u32, len: u32, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&[0, kind]);
    bytes.extend_from_slice(&flags.to_be_bytes());
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(&len.to_be_bytes());
}

/// Appends a data frame.
pub fn data(flags: u16, stream: u32, payload: &[u8], bytes: &mut Vec<u8>) {
    let len = u32::try_from(payload.len()).expect("a payload here is shorter than 4 GiB");
    header(kind::DATA, flags, stream, len, bytes);
    bytes.extend_from_slice(payload);
}

/// Appends a payload in data frames of `size` bytes.
pub fn data_in_frames(stream: u32, payload: &[u8], size: usize, bytes: &mut Vec<u8>) {
    for part in payload.chunks(size.max(1)) {
        data(0, stream, part, bytes);
    }
}

/// Appends a window update.
pub fn window(flags: u16, stream: u32, delta: u32, bytes: &mut Vec<u8>) {
    header(kind::WINDOW, flags, stream, delta, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let mut bytes = Vec::new();
        header(kind::WINDOW, SYN | ACK, 0x0102_0304, 0x0506_0708, &mut bytes);
        let bytes: [u8; HEADER_BYTES] = bytes.try_into().expect("a header has twelve bytes");
        let header = Header { kind: kind::WINDOW, flags: SYN | ACK, stream: 0x0102_0304, len: 0x0506_0708 };
        assert_eq!(Header::read(&bytes), header);
    }

    #[test]
    fn a_payload_is_cut_into_frames_of_the_size_asked_for() {
        let mut bytes = Vec::new();
        data_in_frames(1, &[7; 5], 2, &mut bytes);
        assert_eq!(bytes.len(), 3 * HEADER_BYTES + 5);
    }
}
