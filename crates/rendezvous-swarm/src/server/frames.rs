//! Reading frames so that a stream between them holds no buffer.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use asynchronous_codec::Decoder as _;
use bytes::{Bytes, BytesMut};
use futures::AsyncRead;
use rendezvous_wire::{CodecError, FrameCodec};

/// Bytes taken from the stream at once: most requests whole.
const CHUNK_BYTES: usize = 4_096;

/// Splits what a stream gives into frames.
///
/// Most streams are silent most of the time, and a connection may have many; so the buffer is let go of when it is empty,
/// and grows with the bytes that come. It never holds more than one frame and one chunk.
#[derive(Debug)]
pub(super) struct Frames {
    codec: FrameCodec,
    buffer: BytesMut,
}

impl Frames {
    pub(super) fn new(payload_bytes_max: usize) -> Self {
        Self { codec: FrameCodec::new(payload_bytes_max), buffer: BytesMut::new() }
    }

    /// Whether a frame has begun and is not complete.
    pub(super) fn has_begun(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The payload of the next frame; `None` at the end of the stream.
    ///
    /// # Errors
    /// [`CodecError`]: the stream cannot be read on.
    pub(super) fn poll_next<S>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<Result<Option<Bytes>, CodecError>>
    where
        S: AsyncRead + Unpin,
    {
        loop {
            if let Some(payload) = self.codec.decode(&mut self.buffer)? {
                if self.buffer.is_empty() {
                    self.buffer = BytesMut::new();
                }
                return Poll::Ready(Ok(Some(payload)));
            }
            let mut chunk = [0; CHUNK_BYTES];
            let read = match ready!(Pin::new(&mut *stream).poll_read(cx, &mut chunk)) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Poll::Ready(Err(error.into())),
            };
            if read == 0 {
                let ended =
                    if self.has_begun() { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) } else { Ok(None) };
                return Poll::Ready(ended.map_err(CodecError::Io));
            }
            self.buffer.extend_from_slice(&chunk[..read]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::{executor::block_on, io::Cursor};
    use rendezvous_wire::frame::{self, FrameError};

    use super::*;

    fn next(frames: &mut Frames, stream: &mut Cursor<Vec<u8>>) -> Result<Option<Bytes>, CodecError> {
        block_on(poll_fn(|cx| frames.poll_next(cx, stream)))
    }

    #[test]
    fn frames_come_in_order_and_the_buffer_goes_with_the_last() {
        let mut bytes = Vec::new();
        let payloads = [&b"one"[..], b"", &[7; 3 * CHUNK_BYTES], b"four"];
        for payload in payloads {
            frame::append(payload, &mut bytes);
        }
        let (mut frames, mut stream) = (Frames::new(1 << 16), Cursor::new(bytes));
        for payload in payloads {
            assert_eq!(next(&mut frames, &mut stream).expect("a frame").as_deref(), Some(payload));
        }
        assert_eq!(frames.buffer.capacity(), 0);
        assert_eq!(next(&mut frames, &mut stream).expect("the end"), None);
    }

    #[test]
    fn an_announced_length_above_the_bound_ends_the_reading_with_nothing_held_for_it() {
        let (mut frames, mut stream) = (Frames::new(64), Cursor::new(vec![65, 1, 2, 3]));
        let error = next(&mut frames, &mut stream).expect_err("too long");
        assert!(matches!(error, CodecError::Frame(FrameError::TooLong { len_bytes: 65, max_bytes: 64 })), "{error}");
        assert!(frames.buffer.capacity() < 65);
    }

    #[test]
    fn an_end_inside_a_frame_is_an_error() {
        let (mut frames, mut stream) = (Frames::new(64), Cursor::new(vec![3, 1, 2]));
        let error = next(&mut frames, &mut stream).expect_err("an end inside a frame");
        assert!(matches!(error, CodecError::Io(ref error) if error.kind() == io::ErrorKind::UnexpectedEof), "{error}");
        assert!(frames.has_begun());
    }
}
