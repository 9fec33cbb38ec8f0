//! Frames over a stream.

#![cfg(feature = "codec")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use asynchronous_codec::{Decoder, Encoder, FramedRead, FramedWrite};
use bytes::{Bytes, BytesMut};
use futures::{AsyncRead, SinkExt, TryStreamExt, executor::block_on, io::Cursor};
use rendezvous_wire::{
    CodecError, FrameCodec, PageWriter, Request,
    frame::{self, FrameError},
};

/// Payloads whose lengths need one, two and three bytes, an empty one among them.
fn payloads() -> Vec<Vec<u8>> {
    [0, 1, 127, 128, 9_000, 16_383, 16_384, 65_536].map(|len| (0..len).map(|at| at as u8).collect()).into()
}

/// A stream that gives a single byte at a time, and between any two of them none yet.
struct ByteByByte {
    bytes: std::vec::IntoIter<u8>,
    ready: bool,
}

impl ByteByByte {
    fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into_iter(), ready: false }
    }
}

impl AsyncRead for ByteByByte {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.ready = !self.ready;
        if !self.ready {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(self.bytes.next().map_or(0, |byte| {
            buf[0] = byte;
            1
        })))
    }
}

fn read_all(stream: impl AsyncRead + Unpin, payload_bytes_max: usize) -> Result<Vec<Bytes>, CodecError> {
    block_on(FramedRead::new(stream, FrameCodec::new(payload_bytes_max)).try_collect())
}

#[test]
fn what_is_written_is_read_whole_and_byte_by_byte() {
    let mut writer = FramedWrite::new(Cursor::new(Vec::new()), FrameCodec::new(0));
    block_on(async {
        for payload in &payloads() {
            writer.send(payload.as_slice()).await.unwrap();
        }
    });
    let bytes = writer.into_inner().into_inner();

    let mut expected = Vec::new();
    payloads().iter().for_each(|payload| frame::append(payload, &mut expected));
    assert!(bytes == expected, "the codec writes the frames that the slice functions write");

    assert!(read_all(Cursor::new(&bytes), frame::REQUEST_BYTES_MAX).unwrap() == payloads());
    assert!(read_all(ByteByByte::new(bytes), frame::REQUEST_BYTES_MAX).unwrap() == payloads());
}

#[test]
fn the_end_of_the_stream_inside_a_frame_is_an_error() {
    let mut frame = Vec::new();
    frame::append(&[1; 200], &mut frame);
    for len in 1..frame.len() {
        match read_all(Cursor::new(&frame[..len]), 200) {
            Err(CodecError::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof),
            other => panic!("{len} bytes of a frame gave {other:?}"),
        }
    }
    assert_eq!(read_all(Cursor::new(&[]), 200).unwrap(), Vec::<Bytes>::new(), "between frames it is the end");
}

#[test]
fn a_frame_above_the_limit_is_refused_by_its_prefix_alone() {
    let mut codec = FrameCodec::new(4_096);
    let mut src = BytesMut::from(&[0x81, 0x20][..]);
    let expected = FrameError::TooLong { len_bytes: 4_097, max_bytes: 4_096 };
    assert!(matches!(codec.decode(&mut src), Err(CodecError::Frame(error)) if error == expected));

    let mut src = BytesMut::from(&[0x80, 0x20][..]);
    assert!(matches!(codec.decode(&mut src), Ok(None)), "4096 bytes are allowed");
}

#[test]
fn memory_follows_the_bytes_that_came_and_not_those_announced() {
    let mut codec = FrameCodec::new(frame::RESPONSE_BYTES_MAX);
    let mut src = BytesMut::from(&[0x80, 0x80, 0x80, 0x02][..]); // 4 MiB
    assert!(codec.decode(&mut src).unwrap().is_none());
    assert!(src.capacity() < 1_024, "{} bytes for a prefix of four", src.capacity());
}

#[test]
fn a_payload_is_not_copied_out_of_the_read_buffer() {
    let mut src = BytesMut::new();
    FrameCodec::new(0).encode(&[5; 300], &mut src).unwrap();
    FrameCodec::new(0).encode(&[6; 300], &mut src).unwrap();
    let start = src.as_ptr();

    let mut codec = FrameCodec::new(300);
    let first = codec.decode(&mut src).unwrap().unwrap();
    let second = codec.decode(&mut src).unwrap().unwrap();
    assert_eq!(first.as_ptr(), start.wrapping_add(2));
    assert_eq!(second.as_ptr(), start.wrapping_add(2 + 300 + 2));
    assert_eq!((&first[..], &second[..]), (&[5; 300][..], &[6; 300][..]));
    assert!(codec.decode(&mut src).unwrap().is_none());
}

#[test]
fn pages_and_requests_that_bring_their_prefix_are_frames_to_the_codec() {
    let mut page = PageWriter::new(frame::PAGE_BYTES_MAX);
    assert!(page.push(b"chat", &[0; 500], 7_200));
    let page = page.finish(&[0; 8]);
    let mut stream = page.as_bytes().to_vec();
    Request::Unregister(rendezvous_wire::Unregister::default()).encode_frame(&mut stream);

    let payloads = read_all(Cursor::new(&stream), frame::PAGE_BYTES_MAX).unwrap();
    let (payload, frame_len) = frame::split(page.as_bytes(), frame::PAGE_BYTES_MAX).unwrap().unwrap();
    assert_eq!(payloads.len(), 2);
    assert_eq!(payloads[0], payload);
    assert_eq!(Request::decode(&payloads[1]), Ok(Request::Unregister(rendezvous_wire::Unregister::default())));
    assert_eq!(frame_len, page.as_bytes().len());
}
