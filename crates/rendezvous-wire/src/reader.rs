//! A bounded protobuf reader over one slice.
//!
//! A sub-message is a slice of its parent, so no child can read past it; lengths are read as `u64` and checked against
//! what is left before they become a `usize`; nothing is allocated. Depth is fixed by the schema: the reader never
//! recurses into what it does not know.

use crate::error::Malformed;

/// Longest encoding of a `u64` as a varint.
pub(crate) const VARINT_BYTES_MAX: usize = 10;

const WIRE_VARINT: u8 = 0;
const WIRE_FIXED64: u8 = 1;
const WIRE_LEN: u8 = 2;
const WIRE_FIXED32: u8 = 5;

/// One field as it stands on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    value: Value<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

impl<'a> Field<'a> {
    /// The value of a `uint64` or `int64` field.
    pub(crate) fn varint(self) -> Result<u64, Malformed> {
        match self.value {
            Value::Varint(value) => Ok(value),
            Value::Bytes(_) | Value::Fixed => Err(Malformed::WireType { field: self.number }),
        }
    }

    /// The value of an enum or `int32` field: protobuf keeps the low 32 bits.
    pub(crate) fn int32(self) -> Result<i32, Malformed> {
        self.varint().map(|value| value as i32)
    }

    /// The value of a `bytes` or `string` field, or the body of a sub-message.
    pub(crate) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Varint(_) | Value::Fixed => Err(Malformed::WireType { field: self.number }),
        }
    }
}

/// Reads the fields of one message body in the order they stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// The next field, or `None` at the end of the body.
    pub(crate) fn next_field(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.read_varint()?;
        let tag = u32::try_from(tag).map_err(|_| Malformed::Tag)?;
        let number = tag >> 3;
        if number == 0 {
            return Err(Malformed::Tag);
        }
        let value = match (tag & 7) as u8 {
            WIRE_VARINT => Value::Varint(self.read_varint()?),
            WIRE_FIXED64 => self.take(8).map(|_| Value::Fixed)?,
            WIRE_LEN => {
                let len = self.read_varint()?;
                Value::Bytes(self.take(len)?)
            }
            WIRE_FIXED32 => self.take(4).map(|_| Value::Fixed)?,
            // Groups (3, 4) left protobuf before this protocol was written; 6 and 7 never existed.
            _ => return Err(Malformed::Tag),
        };
        Ok(Some(Field { number, value }))
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(len).map_err(|_| Malformed::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn read_varint(&mut self) -> Result<u64, Malformed> {
        // Tags, enum values and most lengths are one byte.
        if let Some((&first, rest)) = self.rest.split_first()
            && first < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(first));
        }
        match parse_varint(self.rest)? {
            Some((value, len)) => {
                self.rest = &self.rest[len..];
                Ok(value)
            }
            None => Err(Malformed::Truncated),
        }
    }
}

/// A varint at the start of `bytes` and its length, or `None` if the bytes end within it.
///
/// Encodings longer than needed are accepted, as every protobuf reader does.
pub(crate) fn parse_varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, Malformed> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        // One bit is left for the tenth byte, and no eleventh may follow.
        if index == VARINT_BYTES_MAX - 1 && byte > 1 {
            return Err(Malformed::Varint);
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok(Some((value, index + 1)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varint_of_ten_bytes_holds_all_of_u64_and_no_more() {
        let max = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(parse_varint(&max), Ok(Some((u64::MAX, 10))));
        let over = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(parse_varint(&over), Err(Malformed::Varint));
        assert_eq!(parse_varint(&[0x80; 11]), Err(Malformed::Varint));
        assert_eq!(parse_varint(&[0x80; 9]), Ok(None));
    }

    #[test]
    fn varint_longer_than_needed_is_read() {
        assert_eq!(parse_varint(&[0x81, 0x00]), Ok(Some((1, 2))));
    }

    #[test]
    fn a_child_longer_than_its_parent_is_truncated() {
        let mut reader = Reader::new(&[0x0a, 0x02, 0x18]);
        assert_eq!(reader.next_field().expect_err("two bytes, one left"), Malformed::Truncated);
    }

    #[test]
    fn groups_and_field_zero_are_refused() {
        for tag in [0x0b_u8, 0x0c, 0x0e, 0x0f, 0x00, 0x02] {
            let body = [tag, 0x00];
            assert_eq!(Reader::new(&body).next_field().expect_err("no such field"), Malformed::Tag);
        }
    }
}
