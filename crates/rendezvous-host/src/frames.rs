//! Frames of yamux, as they pass by in a stream of bytes.
//!
//! Source: the [yamux specification](https://github.com/hashicorp/yamux/blob/master/spec.md), "Framing".

/// Bytes of a frame's header.
pub(crate) const HEADER_BYTES: usize = 12;

/// The flag that opens a stream.
const SYN: u16 = 1;

/// The kind of a frame that carries the bytes of a stream. No other kind has a body.
const DATA: u8 = 0;

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    kind: u8,
    flags: u16,
    stream: u32,
    length: u32,
}

impl Header {
    fn decode(bytes: [u8; HEADER_BYTES]) -> Self {
        let [_version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = bytes;
        Self {
            kind,
            flags: u16::from_be_bytes([f0, f1]),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        }
    }

    /// The stream that the frame belongs to; 0 is the connection itself.
    pub(crate) fn stream(&self) -> u32 {
        self.stream
    }

    /// Whether the frame opens a stream.
    pub(crate) fn opens_stream(&self) -> bool {
        self.flags & SYN != 0 && self.stream != 0
    }

    /// Bytes of the frame's body.
    pub(crate) fn body_bytes(&self) -> usize {
        if self.kind == DATA { self.length as usize } else { 0 }
    }
}

/// Finds the frames in a stream of bytes that comes in pieces, and holds none of it but an incomplete header.
#[derive(Debug, Default)]
pub(crate) struct FrameScanner {
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    body_bytes_left: usize,
}

/// What a piece of the stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// A header is complete.
    Header(Header),
    /// So many bytes of the body of the last header's frame.
    Body(usize),
}

impl FrameScanner {
    /// Goes through the next piece of the stream.
    pub(crate) fn scan(&mut self, mut bytes: &[u8], mut on_scanned: impl FnMut(Scanned)) {
        while !bytes.is_empty() {
            if self.body_bytes_left > 0 {
                let length = self.body_bytes_left.min(bytes.len());
                self.body_bytes_left -= length;
                bytes = &bytes[length..];
                on_scanned(Scanned::Body(length));
                continue;
            }
            let length = (HEADER_BYTES - self.header_bytes).min(bytes.len());
            self.header[self.header_bytes..self.header_bytes + length].copy_from_slice(&bytes[..length]);
            self.header_bytes += length;
            bytes = &bytes[length..];
            if self.header_bytes == HEADER_BYTES {
                let header = Header::decode(self.header);
                self.header_bytes = 0;
                self.body_bytes_left = header.body_bytes();
                on_scanned(Scanned::Header(header));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u16, stream: u32, length: u32) -> Vec<u8> {
        let mut bytes = vec![0, kind];
        bytes.extend(flags.to_be_bytes());
        bytes.extend(stream.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        if kind == DATA {
            bytes.extend(vec![0xff; length as usize]);
        }
        bytes
    }

    fn headers(scanner: &mut FrameScanner, bytes: &[u8]) -> (Vec<Header>, usize) {
        let (mut headers, mut body) = (Vec::new(), 0);
        scanner.scan(bytes, |scanned| match scanned {
            Scanned::Header(header) => headers.push(header),
            Scanned::Body(length) => body += length,
        });
        (headers, body)
    }

    #[test]
    fn a_window_update_has_no_body_whatever_its_length_says() {
        let bytes = [frame(1, SYN, 3, 1 << 20), frame(2, 0, 0, 7), frame(DATA, 0, 3, 5)].concat();
        let (headers, body) = headers(&mut FrameScanner::default(), &bytes);
        let lengths: Vec<_> = headers.iter().map(Header::body_bytes).collect();
        assert_eq!((lengths, body), (vec![0, 0, 5], 5));
        assert!(headers[0].opens_stream() && !headers[1].opens_stream() && !headers[2].opens_stream());
        assert_eq!(headers[0].stream(), 3);
    }

    proptest! {
        #[test]
        fn frames_are_found_however_the_bytes_are_cut(
            frames in prop::collection::vec((0_u8..4, any::<u16>(), any::<u32>(), 0_u32..40), 0..20),
            cuts in prop::collection::vec(1_usize..30, 1..60),
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|&(kind, flags, stream, length)| frame(kind, flags, stream, length)).collect();
            let expected: Vec<_> = frames.iter().map(|&(kind, flags, stream, length)| Header { kind, flags, stream, length }).collect();
            let (mut scanner, mut rest, mut found, mut body) = (FrameScanner::default(), &bytes[..], Vec::new(), 0);
            for &cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, tail) = rest.split_at(cut.min(rest.len()));
                let (headers, length) = headers(&mut scanner, piece);
                found.extend(headers);
                body += length;
                rest = tail;
            }
            prop_assert_eq!(body, expected.iter().map(Header::body_bytes).sum::<usize>());
            prop_assert_eq!(found, expected);
        }
    }
}
