//! The two halves of a stream: frames in, frames out. Both keep what is half done, so that dropping a future loses nothing.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use asynchronous_codec::{Decoder as _, Encoder as _};
use bytes::{Buf as _, Bytes, BytesMut};
use futures::{
    AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _,
    io::{ReadHalf, WriteHalf},
};
use rendezvous_wire::{CodecError, FrameCodec, frame::FrameError};
use tokio::time::{Instant, timeout};

use super::{
    error::{Breach, StreamFailure},
    limits::Limits,
    wire::NUMBER_BYTES,
};
use crate::io::Io;

/// What one read of the stream takes at most.
const READ_BYTES: usize = 8 << 10;

/// Capacity that a buffer keeps once it is empty, lest one long message holds memory for as long as the session lasts.
const KEPT_BYTES: usize = 64 << 10;

/// Why no frame comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    Breach(Breach),
    Stream(StreamFailure),
}

/// Reads frames.
pub(super) struct Incoming {
    /// `None` once nothing more is to be read.
    io: Option<ReadHalf<Io>>,
    codec: FrameCodec,
    buffer: BytesMut,
    deadline: Duration,
    /// What is left of the deadline for the message that has begun.
    left: Duration,
}

impl Incoming {
    pub(super) fn new(io: ReadHalf<Io>, limits: &Limits) -> Self {
        Self {
            io: Some(io),
            codec: FrameCodec::new(limits.message_bytes_max.saturating_add(NUMBER_BYTES)),
            buffer: BytesMut::new(),
            deadline: limits.read_deadline,
            left: limits.read_deadline,
        }
    }

    /// Payload of the next frame. May be dropped and called again at any point.
    pub(super) async fn frame(&mut self) -> Result<Bytes, Unreadable> {
        loop {
            if let Some(payload) = self.codec.decode(&mut self.buffer).map_err(unreadable)? {
                self.left = self.deadline;
                self.shed();
                return Ok(payload);
            }
            let begun = !self.buffer.is_empty();
            let io = self.io.as_mut().ok_or(Unreadable::Stream(StreamFailure::Closed))?;
            let read = poll_fn(|cx| poll_read(io, &mut self.buffer, cx));
            let read = if begun {
                let clock = Clock { left: &mut self.left, started: Instant::now() };
                let in_time = timeout(*clock.left, read).await;
                in_time.map_err(|_| Unreadable::Stream(StreamFailure::ReadDeadline))?
            } else {
                read.await
            };
            match read {
                Ok(0) if begun => return Err(failed(io::ErrorKind::UnexpectedEof)),
                Ok(0) => return Err(Unreadable::Stream(StreamFailure::Closed)),
                Ok(_) => {}
                Err(error) => return Err(failed(error.kind())),
            }
        }
    }

    pub(super) fn close(&mut self) {
        self.io = None;
        self.buffer = BytesMut::new();
    }

    /// Lets go of the memory of a long frame: what follows it is at most what one read took.
    fn shed(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        } else if self.buffer.capacity() > KEPT_BYTES {
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
    }
}

/// Takes the time that was waited off what is left, also when the wait is dropped.
struct Clock<'a> {
    left: &'a mut Duration,
    started: Instant,
}

impl Drop for Clock<'_> {
    fn drop(&mut self) {
        *self.left = self.left.saturating_sub(self.started.elapsed());
    }
}

fn poll_read(io: &mut ReadHalf<Io>, buffer: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut chunk = [0; READ_BYTES];
    let read = ready!(Pin::new(io).poll_read(cx, &mut chunk))?;
    buffer.extend_from_slice(&chunk[..read]);
    Poll::Ready(Ok(read))
}

fn unreadable(error: CodecError) -> Unreadable {
    match error {
        CodecError::Frame(FrameError::Prefix) => Unreadable::Breach(Breach::Prefix),
        CodecError::Frame(FrameError::TooLong { len_bytes, max_bytes }) => Unreadable::Breach(Breach::TooLong {
            len_bytes: len_bytes.saturating_sub(NUMBER_BYTES as u64),
            max_bytes: max_bytes.saturating_sub(NUMBER_BYTES),
        }),
        CodecError::Io(error) => failed(error.kind()),
    }
}

const fn failed(kind: io::ErrorKind) -> Unreadable {
    Unreadable::Stream(StreamFailure::Io(kind))
}

/// Writes frames.
pub(super) struct Outgoing {
    /// `None` once nothing more is to be written.
    io: Option<WriteHalf<Io>>,
    codec: FrameCodec,
    /// Frames that the stream has not taken yet: that of a write in progress, and of writes that were dropped.
    buffer: BytesMut,
}

impl Outgoing {
    pub(super) fn new(io: WriteHalf<Io>) -> Self {
        Self { io: Some(io), codec: FrameCodec::new(usize::MAX), buffer: BytesMut::new() }
    }

    /// Writes a frame. When this is dropped, the stream takes the rest with the next one, so that no frame is torn. The
    /// rest of an earlier one goes first, so that at most two are held.
    pub(super) async fn write(&mut self, payload: &[u8]) -> Result<(), StreamFailure> {
        self.flush().await?;
        // The codec does not fail to write.
        self.codec.encode(payload, &mut self.buffer).map_err(|_| StreamFailure::Closed)?;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), StreamFailure> {
        let io = self.io.as_mut().ok_or(StreamFailure::Closed)?;
        poll_fn(|cx| poll_flush(io, &mut self.buffer, cx)).await.map_err(|error| write_failure(&error))?;
        if self.buffer.capacity() > KEPT_BYTES {
            self.buffer = BytesMut::new();
        }
        Ok(())
    }

    /// Closes this direction, whose other side then sees the end of the stream.
    pub(super) async fn finish(&mut self) -> Result<(), StreamFailure> {
        let io = self.io.as_mut().ok_or(StreamFailure::Closed)?;
        io.close().await.map_err(|error| write_failure(&error))
    }

    pub(super) fn close(&mut self) {
        self.io = None;
        self.buffer = BytesMut::new();
    }
}

fn write_failure(error: &io::Error) -> StreamFailure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => StreamFailure::Closed,
        kind => StreamFailure::Io(kind),
    }
}

fn poll_flush(io: &mut WriteHalf<Io>, buffer: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    while !buffer.is_empty() {
        let written = ready!(Pin::new(&mut *io).poll_write(cx, buffer))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        buffer.advance(written);
    }
    Pin::new(io).poll_flush(cx)
}
