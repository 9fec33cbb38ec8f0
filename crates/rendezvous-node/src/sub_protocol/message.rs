//! Messages and their content.

use core::fmt;
use std::io;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::error::SendError;

/// Deepest nesting of CBOR that is read: 128, far above what data needs and far below what a thread's stack holds.
pub const CBOR_DEPTH_MAX: usize = 128;

/// A message that was received.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Which of the version's messages it is.
    pub code: u16,
    /// Its content: CBOR if it was sent as a value, whatever was sent if it was sent as bytes.
    pub payload: Bytes,
}

impl Message {
    /// Length of the content in bytes.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.payload.len()
    }

    /// The content as a value, from CBOR.
    ///
    /// # Errors
    /// [`DecodeError`] when the content is something else, is nested deeper than [`CBOR_DEPTH_MAX`], or has bytes after
    /// the value.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        let error = |kind| DecodeError { code: self.code, kind };
        let mut rest = &self.payload[..];
        let value = ciborium::de::from_reader_with_recursion_limit(&mut rest, CBOR_DEPTH_MAX)
            .map_err(|source| error(source.into()))?;
        if rest.is_empty() { Ok(value) } else { Err(error(DecodeErrorKind::Trailing { len_bytes: rest.len() })) }
    }

    /// Drops the content unread, for a reader to see that this is meant.
    pub fn discard(self) {}
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message {{ code: {}, size: {} }}", self.code, self.size())
    }
}

/// Appends a value as CBOR.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) -> Result<(), SendError> {
    ciborium::into_writer(value, bytes).map_err(|error| match error {
        ciborium::ser::Error::Value(text) => SendError::Encode(text.into()),
        ciborium::ser::Error::Io(error) => SendError::Encode(error.to_string().into()),
    })
}

/// The content of a message is not what was to be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("content of message {code}: {kind}")]
pub struct DecodeError {
    /// Code of the message.
    pub code: u16,
    /// What is wrong with the content.
    pub kind: DecodeErrorKind,
}

/// What is wrong with a message's content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    /// It is no CBOR.
    #[error("no CBOR at byte {offset}")]
    Syntax {
        /// Where the reader gave up.
        offset: usize,
    },
    /// It ends inside a value.
    #[error("ends inside a value")]
    Truncated,
    /// It is nested deeper than [`CBOR_DEPTH_MAX`].
    #[error("nested too deep")]
    TooDeep,
    /// It is CBOR of another type; the text says which was expected.
    #[error("another type: {0}")]
    Type(Box<str>),
    /// There are bytes after the value.
    #[error("{len_bytes} bytes after the value")]
    Trailing {
        /// How many.
        len_bytes: usize,
    },
}

impl From<ciborium::de::Error<io::Error>> for DecodeErrorKind {
    fn from(error: ciborium::de::Error<io::Error>) -> Self {
        match error {
            // A slice fails to be read in no other way.
            ciborium::de::Error::Io(_) => Self::Truncated,
            ciborium::de::Error::Syntax(offset) => Self::Syntax { offset },
            ciborium::de::Error::Semantic(_, text) => Self::Type(text.into()),
            ciborium::de::Error::RecursionLimitExceeded => Self::TooDeep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, DecodeErrorKind> {
        Message { code: 0, payload: Bytes::copy_from_slice(payload) }.decode().map_err(|error| error.kind)
    }

    #[test]
    fn a_value_is_read_as_it_was_written() {
        let mut bytes = Vec::new();
        encode(&("foo", 7_u8, [1.5_f32]), &mut bytes).expect("it has CBOR");
        assert_eq!(decode(&bytes), Ok((String::from("foo"), 7_u8, [1.5_f32])));
    }

    #[test]
    fn each_thing_that_can_be_wrong_with_content_has_its_name() {
        assert_eq!(decode::<u8>(&[]), Err(DecodeErrorKind::Truncated));
        assert_eq!(decode::<Vec<u8>>(&[0x82, 0x01]), Err(DecodeErrorKind::Truncated));
        assert_eq!(decode::<u8>(&[0x1c]), Err(DecodeErrorKind::Syntax { offset: 0 }));
        assert!(matches!(decode::<u8>(&[0x61, b'a']), Err(DecodeErrorKind::Type(_))));
        assert_eq!(decode::<u8>(&[0x01, 0x02, 0x03]), Err(DecodeErrorKind::Trailing { len_bytes: 2 }));
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        // Arrays in arrays, tags in tags, maps in maps, and arrays of no stated length.
        for opening in [&[0x81][..], &[0xc1], &[0xa1, 0x01], &[0x9f]] {
            let bytes = opening.repeat(1 << 20);
            let error = decode::<ciborium::Value>(&bytes).expect_err("a million levels");
            assert!(matches!(error, DecodeErrorKind::TooDeep), "{opening:x?}: {error:?}");
        }
        let mut bytes = vec![0x81; CBOR_DEPTH_MAX - 1];
        bytes.push(0x01);
        decode::<ciborium::Value>(&bytes).expect("the deepest that is read");
    }

    #[test]
    fn nothing_is_allocated_for_what_is_only_announced() {
        // 2^62 elements, entries, bytes and characters.
        for major in [0x9b_u8, 0xbb, 0x5b, 0x7b] {
            let mut bytes = vec![major, 0x40];
            bytes.extend([0; 7]);
            decode::<ciborium::Value>(&bytes).expect_err("there is nothing after the length");
        }
    }
}
