//! The frames of a call.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use asynchronous_codec::{FramedRead, FramedWrite};
use bytes::{Buf as _, Bytes};
use futures::{Sink as _, SinkExt as _, Stream as _, future::poll_fn};
use rendezvous_wire::{CodecError, FrameCodec, frame::FrameError};
use serde::{Deserialize, Serialize};

use super::{
    cbor::{self, EncodeError},
    pipe::{ReadHalf, WriteHalf},
};

/// What a frame is: its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FrameKind {
    /// Which method is called (1).
    Header,
    /// A value: of the request, or of the answer (2).
    Item,
    /// The sender has no more items (3).
    End,
    /// The call has failed (4).
    Error,
    /// The caller wants no answer (5).
    Cancel,
    /// A kind that has no name here.
    Other(u8),
}

impl FrameKind {
    /// From this number on, a kind that is not known may be skipped.
    const SKIPPABLE: u8 = 0x80;

    /// The byte that stands for it on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Header => 1,
            Self::Item => 2,
            Self::End => 3,
            Self::Error => 4,
            Self::Cancel => 5,
            Self::Other(code) => code,
        }
    }

    /// The kind that a byte stands for.
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Header,
            2 => Self::Item,
            3 => Self::End,
            4 => Self::Error,
            5 => Self::Cancel,
            code => Self::Other(code),
        }
    }
}

/// The body of a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) service: String,
    pub(super) method: String,
    /// Time that is left for the call; as long as the server allows where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) timeout_ms: Option<u64>,
}

/// The body of an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ErrorBody {
    pub(super) status: u64,
    /// The application's own number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<u32>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) message: String,
    /// The bound that was passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) max_bytes: Option<u64>,
}

/// The payload of a frame with this value.
pub(super) fn payload<T: Serialize + ?Sized>(
    kind: FrameKind,
    value: &T,
    max_bytes: usize,
) -> Result<Bytes, EncodeError> {
    let mut payload = vec![kind.code()];
    cbor::append(value, max_bytes, &mut payload)?;
    Ok(payload.into())
}

/// A frame as it was read.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) kind: FrameKind,
    pub(super) body: Bytes,
}

/// Why no frame is read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// It is longer than is read.
    TooLong { max_bytes: usize },
    /// Its length is no number, or nothing is in it.
    Malformed(&'static str),
    /// The stream has failed, or has ended inside a frame.
    Io(io::Error),
}

/// Reads frames.
pub(super) struct FrameReader(FramedRead<ReadHalf, FrameCodec>);

impl FrameReader {
    pub(super) fn new(half: ReadHalf, body_bytes_max: usize) -> Self {
        Self(FramedRead::new(half, FrameCodec::new(body_bytes_max + 1)))
    }

    /// From the next frame on, bodies of so many bytes are read.
    pub(super) fn set_body_bytes_max(&mut self, body_bytes_max: usize) {
        *self.0.decoder_mut() = FrameCodec::new(body_bytes_max + 1);
    }

    /// The next frame that must not be skipped; `None` at the stream's end.
    pub(super) async fn next(&mut self) -> Result<Option<Frame>, ReadError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, ReadError>> {
        loop {
            let mut body = match ready!(Pin::new(&mut self.0).poll_next(cx)) {
                None => return Poll::Ready(Ok(None)),
                Some(Ok(body)) => body,
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
            };
            if body.is_empty() {
                return Poll::Ready(Err(ReadError::Malformed("frame without a kind")));
            }
            let kind = FrameKind::from_code(body.get_u8());
            if !matches!(kind, FrameKind::Other(FrameKind::SKIPPABLE..)) {
                return Poll::Ready(Ok(Some(Frame { kind, body })));
            }
        }
    }

    pub(super) fn half(&self) -> &ReadHalf {
        &self.0
    }
}

impl From<CodecError> for ReadError {
    fn from(error: CodecError) -> Self {
        match error {
            // The kind is not part of the body.
            CodecError::Frame(FrameError::TooLong { max_bytes, .. }) => Self::TooLong { max_bytes: max_bytes - 1 },
            CodecError::Frame(FrameError::Prefix) => Self::Malformed("frame length is not a varint"),
            CodecError::Io(error) => Self::Io(error),
        }
    }
}

/// Writes frames.
pub(super) struct FrameWriter(FramedWrite<WriteHalf, FrameCodec>);

impl FrameWriter {
    pub(super) fn new(half: WriteHalf) -> Self {
        // Payloads are bounded where they are made.
        Self(FramedWrite::new(half, FrameCodec::new(0)))
    }

    /// Has the frame written by the next flush.
    pub(super) fn push(&mut self, payload: &[u8]) {
        Pin::new(&mut self.0).start_send(payload).expect("a frame is put into the buffer, which grows");
    }

    /// Has a frame without a body written by the next flush.
    pub(super) fn push_bare(&mut self, kind: FrameKind) {
        self.push(&[kind.code()]);
    }

    /// Writes what was pushed. What was begun is gone on with by the next call, so that dropping this breaks no frame.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx).map_err(io_error)
    }

    /// Writes what was pushed, and ends the direction.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.0.close().await.map_err(io_error)
    }

    pub(super) fn half(&self) -> &WriteHalf {
        &self.0
    }
}

fn io_error(error: CodecError) -> io::Error {
    match error {
        CodecError::Io(error) => error,
        CodecError::Frame(error) => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_as_what_it_was_written_for() {
        for code in 0..=u8::MAX {
            assert_eq!(FrameKind::from_code(code).code(), code);
        }
    }

    /// The example of the module's documentation.
    #[test]
    fn a_header_has_the_bytes_that_are_documented() {
        let header = Header { service: "Arith".to_owned(), method: "Add".to_owned(), timeout_ms: Some(1_000) };
        let payload = payload(FrameKind::Header, &header, 4_096).expect("a short header");
        let expected: &[u8] = b"\x01\xa3\x67service\x65Arith\x66method\x63Add\x6atimeout_ms\x19\x03\xe8";
        assert_eq!(&payload[..], expected);
        assert_eq!(cbor::read::<Header>(&payload[1..]), Ok(header));
    }

    #[test]
    fn fields_that_are_not_known_are_passed_over() {
        let body = b"\xa3\x67service\x61a\x66method\x61b\x65later\x82\x01\x02";
        let header = Header { service: "a".to_owned(), method: "b".to_owned(), timeout_ms: None };
        assert_eq!(cbor::read::<Header>(body), Ok(header));
    }
}
