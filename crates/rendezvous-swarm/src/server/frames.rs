//! Reading frames so that a stream between them holds no buffer.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use asynchronous_codec::Decoder as _;
use bytes::{Bytes, BytesMut};
use futures::AsyncRead;
use rendezvous_wire::{CodecError, FrameCodec, frame};

use super::{
    budget::{Exceeded, Resource, Slot},
    config::Config,
};

/// Bytes taken from the stream at once: most requests whole.
const CHUNK_BYTES: usize = 4_096;

/// Splits what a stream gives into frames.
///
/// Most streams are silent most of the time, and a connection may have many; so the buffer is let go of when it is empty,
/// and grows with the bytes that come. Between requests it holds at most one frame and one chunk; while a request waits,
/// as much as [`Config::pipelined_bytes_max`] allows.
#[derive(Debug)]
pub(super) struct Frames<'a> {
    codec: FrameCodec,
    payload_bytes_max: usize,
    pipelined_requests_max: usize,
    pipelined_bytes_max: usize,
    buffer: BytesMut,
    /// The buffer counts against the budget of all streams, in chunks.
    slot: &'a Slot,
    /// Bytes for which it counts.
    accounted_bytes: usize,
    /// Complete frames at the start of the buffer that were counted while a request waited, and their bytes.
    ahead_frames: usize,
    ahead_bytes: usize,
    /// The stream has ended, in order or not, behind what is buffered.
    end: Option<io::Result<()>>,
}

/// Why a stream cannot be read on.
#[derive(Debug)]
pub(super) enum Unreadable {
    Codec(CodecError),
    /// All streams together buffer as much as they may.
    NoRoom(Exceeded),
    /// More came while a request waited than [`Config::pipelined_requests_max`] or [`Config::pipelined_bytes_max`].
    TooMuchAhead,
}

impl From<CodecError> for Unreadable {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

impl<'a> Frames<'a> {
    pub(super) fn new(config: &Config, slot: &'a Slot) -> Self {
        let payload_bytes_max = config.request_bytes_max;
        Self {
            codec: FrameCodec::new(payload_bytes_max),
            payload_bytes_max,
            pipelined_requests_max: config.pipelined_requests_max,
            // One frame and one chunk are read in any case.
            pipelined_bytes_max: config.pipelined_bytes_max.max(payload_bytes_max.saturating_add(CHUNK_BYTES)),
            buffer: BytesMut::new(),
            slot,
            accounted_bytes: 0,
            ahead_frames: 0,
            ahead_bytes: 0,
            end: None,
        }
    }

    /// Has the buffer count against the budget of all streams.
    fn account(&mut self) -> Result<(), Unreadable> {
        let held = self.buffer.len().next_multiple_of(CHUNK_BYTES);
        if held > self.accounted_bytes {
            self.slot.grow_to(Resource::RequestBytes, held).map_err(Unreadable::NoRoom)?;
        } else if held < self.accounted_bytes {
            self.slot.shrink_to(Resource::RequestBytes, held);
        }
        self.accounted_bytes = held;
        Ok(())
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
            let before = self.buffer.len();
            if let Some(payload) = self.codec.decode(&mut self.buffer)? {
                self.ahead_bytes = self.ahead_bytes.saturating_sub(before - self.buffer.len());
                self.ahead_frames = self.ahead_frames.saturating_sub(1);
                if self.buffer.is_empty() {
                    self.buffer = BytesMut::new();
                    // Most requests come whole, and count for nothing.
                    self.account()?;
                }
                return Poll::Ready(Ok(Some(payload)));
            }
            if let Some(end) = self.end.take() {
                return Poll::Ready(match end {
                    Ok(()) if self.has_begun() => Err(CodecError::Io(io::ErrorKind::UnexpectedEof.into()).into()),
                    Ok(()) => Ok(None),
                    Err(error) => Err(CodecError::Io(error).into()),
                });
            }
            if self.has_begun() {
                self.account()?;
            }
            self.end = ready!(self.poll_chunk(cx, stream));
        }
    }

    /// Reads on while a request of the stream waits: bytes that nobody reads would stay in the muxer, where they count
    /// for nothing. Ready if that has to end the stream.
    pub(super) fn poll_ahead<S>(&mut self, cx: &mut Context<'_>, stream: &mut S) -> Poll<Unreadable>
    where
        S: AsyncRead + Unpin,
    {
        while self.end.is_none() {
            loop {
                match frame::split(&self.buffer[self.ahead_bytes..], self.payload_bytes_max) {
                    Ok(Some((_, frame_bytes))) => {
                        self.ahead_bytes += frame_bytes;
                        self.ahead_frames += 1;
                    }
                    Ok(None) => break,
                    // The stream ends there, when its turn comes.
                    Err(_) => return Poll::Pending,
                }
            }
            if self.ahead_frames > self.pipelined_requests_max || self.buffer.len() > self.pipelined_bytes_max {
                return Poll::Ready(Unreadable::TooMuchAhead);
            }
            if let Err(unreadable) = self.account() {
                return Poll::Ready(unreadable);
            }
            self.end = ready!(self.poll_chunk(cx, stream));
        }
        Poll::Pending
    }

    /// Reads once; what ends the stream is returned.
    fn poll_chunk<S>(&mut self, cx: &mut Context<'_>, stream: &mut S) -> Poll<Option<io::Result<()>>>
    where
        S: AsyncRead + Unpin,
    {
        let mut chunk = [0; CHUNK_BYTES];
        loop {
            return Poll::Ready(match ready!(Pin::new(&mut *stream).poll_read(cx, &mut chunk)) {
                Ok(0) => Some(Ok(())),
                Ok(read) => {
                    self.buffer.extend_from_slice(&chunk[..read]);
                    None
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Some(Err(error)),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::Arc};

    use futures::{executor::block_on, io::Cursor};
    use rendezvous_core::server::Origin;
    use rendezvous_wire::frame::{self, FrameError};

    use super::*;
    use crate::server::budget::Budgets;

    fn config(request_bytes_max: usize) -> Config {
        Config { request_bytes_max, pipelined_requests_max: 8, pipelined_bytes_max: 0, ..Config::default() }
    }

    fn budgets(request_bytes: usize) -> Arc<Budgets> {
        Arc::new(Budgets::new(100, 0, request_bytes, 0))
    }

    fn slot(budgets: &Arc<Budgets>) -> Slot {
        budgets.join(Origin::Unlocated).open().expect("a place")
    }

    fn next(frames: &mut Frames<'_>, stream: &mut Cursor<Vec<u8>>) -> Result<Option<Bytes>, Unreadable> {
        block_on(poll_fn(|cx| frames.poll_next(cx, stream)))
    }

    fn ahead<S: AsyncRead + Unpin>(frames: &mut Frames<'_>, stream: &mut S) -> Poll<Unreadable> {
        frames.poll_ahead(&mut Context::from_waker(std::task::Waker::noop()), stream)
    }

    #[test]
    fn frames_come_in_order_and_the_buffer_goes_with_the_last() {
        let mut bytes = Vec::new();
        let payloads = [&b"one"[..], b"", &[7; 3 * CHUNK_BYTES], b"four"];
        for payload in payloads {
            frame::append(payload, &mut bytes);
        }
        let budgets = budgets(1 << 20);
        let slot = slot(&budgets);
        let (mut frames, mut stream) = (Frames::new(&config(1 << 16), &slot), Cursor::new(bytes));
        for payload in payloads {
            assert_eq!(next(&mut frames, &mut stream).expect("a frame").as_deref(), Some(payload));
        }
        assert_eq!((frames.buffer.capacity(), budgets.used(Resource::RequestBytes)), (0, 0));
        assert_eq!(next(&mut frames, &mut stream).expect("the end"), None);
    }

    #[test]
    fn an_announced_length_above_the_bound_ends_the_reading_with_nothing_held_for_it() {
        let slot = slot(&budgets(1 << 20));
        let (mut frames, mut stream) = (Frames::new(&config(64), &slot), Cursor::new(vec![65, 1, 2, 3]));
        let error = next(&mut frames, &mut stream).expect_err("too long");
        assert!(matches!(
            error,
            Unreadable::Codec(CodecError::Frame(FrameError::TooLong { len_bytes: 65, max_bytes: 64 }))
        ));
        assert!(frames.buffer.capacity() < 65);
    }

    #[test]
    fn an_end_inside_a_frame_is_an_error() {
        let slot = slot(&budgets(1 << 20));
        let (mut frames, mut stream) = (Frames::new(&config(64), &slot), Cursor::new(vec![3, 1, 2]));
        let error = next(&mut frames, &mut stream).expect_err("an end inside a frame");
        assert!(
            matches!(error, Unreadable::Codec(CodecError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof)
        );
        assert!(frames.has_begun());
    }

    #[test]
    fn what_is_held_of_frames_that_are_not_complete_is_bounded_over_all_streams() {
        let budgets = budgets(3 * CHUNK_BYTES);
        let half = || Cursor::new([&[0x80, 0x80, 2][..], &[7; 2 * CHUNK_BYTES - 3]].concat());
        let begin = |frames: &mut Frames<'_>| {
            let mut stream = Waiting(half());
            let mut cx = Context::from_waker(std::task::Waker::noop());
            frames.poll_next(&mut cx, &mut stream)
        };
        let (one, other) = (slot(&budgets), slot(&budgets));
        let mut first = Frames::new(&config(1 << 16), &one);
        assert!(begin(&mut first).is_pending());
        assert_eq!(budgets.used(Resource::RequestBytes), 2 * CHUNK_BYTES);
        let mut second = Frames::new(&config(1 << 16), &other);
        assert!(matches!(begin(&mut second), Poll::Ready(Err(Unreadable::NoRoom(Exceeded::Share)))));
        drop((one, other));
        assert_eq!(budgets.used(Resource::RequestBytes), 0);
    }

    #[test]
    fn requests_that_come_while_one_waits_are_read_and_served_in_order() {
        let mut bytes = Vec::new();
        (0..8).for_each(|number| frame::append(&[number], &mut bytes));
        bytes.extend([5, 1]);
        let budgets = budgets(1 << 20);
        let slot = slot(&budgets);
        let (mut frames, mut stream) = (Frames::new(&config(64), &slot), Waiting(Cursor::new(bytes)));
        assert!(ahead(&mut frames, &mut stream).is_pending());
        assert_eq!((frames.ahead_frames, stream.0.position()), (8, 18));
        assert_eq!(budgets.used(Resource::RequestBytes), CHUNK_BYTES);
        for number in 0..8 {
            let payload = block_on(poll_fn(|cx| frames.poll_next(cx, &mut stream))).expect("a frame");
            assert_eq!(payload.as_deref(), Some(&[number][..]));
            assert!(ahead(&mut frames, &mut stream).is_pending());
        }
        assert_eq!((frames.ahead_frames, frames.ahead_bytes), (0, 0));
        assert!(frames.has_begun());
    }

    #[test]
    fn an_end_that_comes_while_a_request_waits_is_the_end_behind_those_before_it() {
        let mut bytes = Vec::new();
        frame::append(b"last", &mut bytes);
        let slot = slot(&budgets(1 << 20));
        let (mut frames, mut stream) = (Frames::new(&config(64), &slot), Cursor::new(bytes));
        assert!(ahead(&mut frames, &mut stream).is_pending());
        assert!(ahead(&mut frames, &mut stream).is_pending());
        assert_eq!(next(&mut frames, &mut stream).expect("a frame").as_deref(), Some(&b"last"[..]));
        assert_eq!(next(&mut frames, &mut stream).expect("the end"), None);
    }

    #[test]
    fn more_than_the_bound_of_requests_or_of_bytes_ends_a_stream_whose_request_waits() {
        let slot = slot(&budgets(1 << 20));
        let mut many = Vec::new();
        (0..9).for_each(|number| frame::append(&[number], &mut many));
        let mut large = Vec::new();
        (0..4).for_each(|_| frame::append(&[7; CHUNK_BYTES], &mut large));
        for bytes in [many, large] {
            let mut frames = Frames::new(&config(CHUNK_BYTES), &slot);
            let mut stream = Waiting(Cursor::new(bytes));
            assert!(matches!(ahead(&mut frames, &mut stream), Poll::Ready(Unreadable::TooMuchAhead)));
            assert!(frames.buffer.len() <= 4 * CHUNK_BYTES);
        }
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
