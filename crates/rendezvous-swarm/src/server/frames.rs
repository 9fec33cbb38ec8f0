//! Reading frames so that a stream between them holds no buffer.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use asynchronous_codec::Decoder as _;
use bytes::{Bytes, BytesMut};
use futures::AsyncRead;
use rendezvous_wire::{CodecError, FrameCodec};

use super::budget::{Budget, Share};

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
    /// What all streams together may hold of frames that are not complete.
    budget: Arc<Budget>,
    /// What this one holds of it.
    share: Option<Share>,
}

/// Why a stream cannot be read on.
#[derive(Debug)]
pub(super) enum Unreadable {
    Codec(CodecError),
    /// All streams together hold as much as they may.
    NoRoom,
}

impl From<CodecError> for Unreadable {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

impl Frames {
    pub(super) fn new(payload_bytes_max: usize, budget: Arc<Budget>) -> Self {
        Self { codec: FrameCodec::new(payload_bytes_max), buffer: BytesMut::new(), budget, share: None }
    }

    /// Has the buffer count against the budget, in chunks; whether there was room.
    fn account(&mut self) -> bool {
        let held = self.buffer.len().next_multiple_of(CHUNK_BYTES);
        match &mut self.share {
            Some(share) => share.grow_to(held),
            None => {
                self.share = self.budget.try_take(held);
                self.share.is_some()
            }
        }
    }

    /// Whether a frame has begun and is not complete.
    pub(super) fn has_begun(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The payload of the next frame; `None` at the end of the stream.
    ///
    /// # Errors
    /// [`Unreadable`]: the stream cannot be read on.
    pub(super) fn poll_next<S>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<Result<Option<Bytes>, Unreadable>>
    where
        S: AsyncRead + Unpin,
    {
        loop {
            if let Some(payload) = self.codec.decode(&mut self.buffer)? {
                if self.buffer.is_empty() {
                    self.buffer = BytesMut::new();
                    self.share = None;
                }
                return Poll::Ready(Ok(Some(payload)));
            }
            // Most requests come whole, and count for nothing.
            if self.has_begun() && !self.account() {
                return Poll::Ready(Err(Unreadable::NoRoom));
            }
            let mut chunk = [0; CHUNK_BYTES];
            let read = match ready!(Pin::new(&mut *stream).poll_read(cx, &mut chunk)) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Poll::Ready(Err(CodecError::from(error).into())),
            };
            if read == 0 {
                let ended =
                    if self.has_begun() { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) } else { Ok(None) };
                return Poll::Ready(ended.map_err(|error| CodecError::Io(error).into()));
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

    fn frames(payload_bytes_max: usize, budget_bytes: usize) -> Frames {
        Frames::new(payload_bytes_max, Arc::new(Budget::new(budget_bytes)))
    }

    fn next(frames: &mut Frames, stream: &mut Cursor<Vec<u8>>) -> Result<Option<Bytes>, Unreadable> {
        block_on(poll_fn(|cx| frames.poll_next(cx, stream)))
    }

    #[test]
    fn frames_come_in_order_and_the_buffer_goes_with_the_last() {
        let mut bytes = Vec::new();
        let payloads = [&b"one"[..], b"", &[7; 3 * CHUNK_BYTES], b"four"];
        for payload in payloads {
            frame::append(payload, &mut bytes);
        }
        let (mut frames, mut stream) = (frames(1 << 16, 1 << 20), Cursor::new(bytes));
        for payload in payloads {
            assert_eq!(next(&mut frames, &mut stream).expect("a frame").as_deref(), Some(payload));
        }
        assert_eq!((frames.buffer.capacity(), frames.budget.used()), (0, 0));
        assert_eq!(next(&mut frames, &mut stream).expect("the end"), None);
    }

    #[test]
    fn an_announced_length_above_the_bound_ends_the_reading_with_nothing_held_for_it() {
        let (mut frames, mut stream) = (frames(64, 1 << 20), Cursor::new(vec![65, 1, 2, 3]));
        let error = next(&mut frames, &mut stream).expect_err("too long");
        assert!(matches!(
            error,
            Unreadable::Codec(CodecError::Frame(FrameError::TooLong { len_bytes: 65, max_bytes: 64 }))
        ));
        assert!(frames.buffer.capacity() < 65);
    }

    #[test]
    fn an_end_inside_a_frame_is_an_error() {
        let (mut frames, mut stream) = (frames(64, 1 << 20), Cursor::new(vec![3, 1, 2]));
        let error = next(&mut frames, &mut stream).expect_err("an end inside a frame");
        assert!(
            matches!(error, Unreadable::Codec(CodecError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof)
        );
        assert!(frames.has_begun());
    }

    #[test]
    fn what_is_held_of_frames_that_are_not_complete_is_bounded_over_all_streams() {
        let budget = Arc::new(Budget::new(3 * CHUNK_BYTES));
        let half = || Cursor::new([&[0x80, 0x80, 2][..], &[7; 2 * CHUNK_BYTES - 3]].concat());
        let begin = |frames: &mut Frames| {
            let mut stream = Waiting(half());
            let mut cx = Context::from_waker(std::task::Waker::noop());
            frames.poll_next(&mut cx, &mut stream)
        };
        let mut first = Frames::new(1 << 16, budget.clone());
        assert!(begin(&mut first).is_pending());
        assert_eq!(budget.used(), 2 * CHUNK_BYTES);
        let mut second = Frames::new(1 << 16, budget.clone());
        assert!(matches!(begin(&mut second), Poll::Ready(Err(Unreadable::NoRoom))));
        drop(second);
        drop(first);
        assert_eq!(budget.used(), 0);
    }

    /// A stream that says nothing more after its bytes.
    struct Waiting(Cursor<Vec<u8>>);

    impl AsyncRead for Waiting {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
            match ready!(Pin::new(&mut self.0).poll_read(cx, buffer))? {
                0 => Poll::Pending,
                read => Poll::Ready(Ok(read)),
            }
        }
    }
}
