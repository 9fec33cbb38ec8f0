//! Framing for `asynchronous-codec` (feature `codec`).

use std::io;

use asynchronous_codec::{Decoder, Encoder};
use bytes::{Bytes, BytesMut};
use quick_protobuf::{BytesWriter, Writer, sizeofs::sizeof_varint};

use crate::{
    frame::{self, FrameError},
    reader::VARINT_BYTES_MAX,
};

/// Splits a stream into frames and writes payloads as frames.
///
/// Decoded items are the payloads, to be read by [`Request::decode`](crate::Request::decode) or
/// [`Response::decode`](crate::Response::decode); they share the read buffer and are not copied. Buffered are at most
/// the bytes of one frame and one read of the stream, and memory is taken as bytes arrive, not as they are announced.
#[derive(Clone, Debug)]
pub struct FrameCodec {
    payload_bytes_max: usize,
}

impl FrameCodec {
    /// A codec that reads payloads of at most so many bytes; writing is not bounded by it.
    #[must_use]
    pub const fn new(payload_bytes_max: usize) -> Self {
        Self { payload_bytes_max }
    }
}

impl Decoder for FrameCodec {
    type Item = Bytes;
    type Error = CodecError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, CodecError> {
        let Some((prefix_len, frame_len)) = frame::measure(src, self.payload_bytes_max)? else {
            return Ok(None);
        };
        if src.len() < frame_len {
            // Nothing is reserved for what was only announced: memory follows the bytes that came.
            return Ok(None);
        }
        let mut frame = src.split_to(frame_len);
        Ok(Some(frame.split_off(prefix_len).freeze()))
    }
}

impl Encoder for FrameCodec {
    type Item<'a> = &'a [u8];
    type Error = CodecError;

    fn encode(&mut self, payload: &[u8], dst: &mut BytesMut) -> Result<(), CodecError> {
        let mut prefix = [0; VARINT_BYTES_MAX];
        let prefix_len = sizeof_varint(payload.len() as u64);
        Writer::new(BytesWriter::new(&mut prefix))
            .write_varint(payload.len() as u64)
            .expect("the prefix has room for the longest varint");
        dst.reserve(prefix_len + payload.len());
        dst.extend_from_slice(&prefix[..prefix_len]);
        dst.extend_from_slice(payload);
        Ok(())
    }
}

/// Why reading or writing a frame failed.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The other side sent no frame, or one that is too long.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The stream failed, or ended inside a frame.
    #[error(transparent)]
    Io(#[from] io::Error),
}
