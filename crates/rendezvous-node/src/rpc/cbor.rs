//! Values as CBOR, within bounds in both directions.

use std::io;

use serde::{Serialize, de::DeserializeOwned};

/// Deepest nesting of a value that is read. Each level costs the reader stack, and sixty-four are more than types have.
pub const DEPTH_MAX: usize = 64;

/// Why bytes are not the value that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// They are no CBOR.
    #[error("not CBOR at byte {offset}")]
    Syntax {
        /// Where, from the start of the value.
        offset: usize,
    },
    /// They end inside the value.
    #[error("value is cut short")]
    Truncated,
    /// They are a value of another type.
    #[error("not of the expected type: {reason}")]
    Type {
        /// What was found and what was expected.
        reason: String,
    },
    /// The value is nested deeper than [`DEPTH_MAX`].
    #[error("value is nested too deep")]
    TooDeep,
    /// Bytes follow the value.
    #[error("{bytes} bytes follow the value")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// Why a value is not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EncodeError {
    /// It takes more than so many bytes.
    TooLarge { max_bytes: usize },
    /// Its type refuses.
    Refused { reason: String },
}

/// Appends the value, of at most `max_bytes`, to the buffer.
pub(super) fn append<T: Serialize + ?Sized>(
    value: &T,
    max_bytes: usize,
    buffer: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    ciborium::into_writer(value, Bounded { buffer, left_bytes: max_bytes }).map_err(|error| match error {
        ciborium::ser::Error::Io(_) => EncodeError::TooLarge { max_bytes },
        ciborium::ser::Error::Value(reason) => EncodeError::Refused { reason },
    })
}

/// The one value that the bytes are.
///
/// Lengths that are announced are not believed: serde's collections reserve at most 1 MiB on such a word, and the rest as
/// elements arrive.
pub(super) fn read<T: DeserializeOwned>(mut bytes: &[u8]) -> Result<T, DecodeError> {
    use ciborium::de::Error;

    let value = ciborium::de::from_reader_with_recursion_limit(&mut bytes, DEPTH_MAX).map_err(|error| match error {
        Error::Io(_) => DecodeError::Truncated,
        Error::Syntax(offset) => DecodeError::Syntax { offset },
        Error::Semantic(_, reason) => DecodeError::Type { reason },
        Error::RecursionLimitExceeded => DecodeError::TooDeep,
    })?;
    if bytes.is_empty() { Ok(value) } else { Err(DecodeError::Trailing { bytes: bytes.len() }) }
}

/// A buffer that takes so much and then fails, so that a value that is too large is not held in whole.
struct Bounded<'a> {
    buffer: &'a mut Vec<u8>,
    left_bytes: usize,
}

impl io::Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left_bytes = self.left_bytes.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ciborium::Value;

    use super::*;

    fn written<T: Serialize>(value: &T) -> Vec<u8> {
        let mut bytes = Vec::new();
        append(value, usize::MAX, &mut bytes).expect("a value of CBOR");
        bytes
    }

    #[test]
    fn a_value_is_read_as_written_and_nothing_else_is() {
        let value = (7_u32, "seven".to_owned(), vec![1_u8, 2, 3]);
        let mut bytes = written(&value);
        assert_eq!(read(&bytes), Ok(value.clone()));
        for cut in 0..bytes.len() {
            assert!(read::<(u32, String, Vec<u8>)>(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        bytes.push(0);
        assert_eq!(read::<(u32, String, Vec<u8>)>(&bytes), Err(DecodeError::Trailing { bytes: 1 }));
        assert!(matches!(read::<String>(&written(&7)), Err(DecodeError::Type { .. })));
    }

    #[test]
    fn a_value_that_is_too_large_is_refused_at_the_bound() {
        let value = vec![0_u32; 100];
        let len = written(&value).len();
        let mut bytes = Vec::new();
        assert_eq!(append(&value, len, &mut bytes), Ok(()));
        let mut bytes = Vec::new();
        assert_eq!(append(&value, len - 1, &mut bytes), Err(EncodeError::TooLarge { max_bytes: len - 1 }));
        assert!(bytes.len() < len);
    }

    #[test]
    fn nesting_is_bounded_whatever_is_nested() {
        // An array of one, a map from 0, and a tag, each round the next.
        for level in [&[0x81][..], &[0xa1, 0x00], &[0xc6]] {
            let mut bytes = level.repeat(100_000);
            bytes.push(0);
            assert_eq!(read::<Value>(&bytes), Err(DecodeError::TooDeep));
            // As a field that nobody knows.
            let mut field = vec![0xa1, 0x61, b'x'];
            field.extend_from_slice(&bytes);
            assert!(read::<Known>(&field).is_err());
        }
    }

    #[derive(Debug, serde::Deserialize)]
    struct Known {
        #[serde(default)]
        #[expect(dead_code, reason = "it is the field that is known")]
        known: u8,
    }

    #[test]
    fn announced_lengths_are_not_believed() {
        // Arrays, maps, text and bytes of 2^60.
        for major in [0x9b, 0xbb, 0x7b, 0x5b_u8] {
            let bytes = [major, 0x10, 0, 0, 0, 0, 0, 0, 0];
            assert!(read::<Value>(&bytes).is_err());
            assert!(read::<Vec<u64>>(&bytes).is_err());
            assert!(read::<Vec<[u64; 32]>>(&bytes).is_err());
            assert!(read::<String>(&bytes).is_err());
            assert!(read::<std::collections::HashMap<u64, u64>>(&bytes).is_err());
        }
    }
}
