//! A bounded protobuf reader for bytes from the network.
//!
//! It borrows, never recurses, and checks every length as a `u64` against what is left before it
//! becomes a `usize`. Group fields are refused: nothing that writes records has used them.

use crate::error::{Deviation, DeviationKind, Malformed, Problem};

const WIRE_VARINT: u8 = 0;
const WIRE_FIXED_64: u8 = 1;
const WIRE_LENGTH_DELIMITED: u8 = 2;
const WIRE_FIXED_32: u8 = 5;

/// A varint has at most this many bytes: 64 bits in groups of 7.
const VARINT_BYTES_MAX: usize = 10;

/// Reads the fields of one message in order and remembers the first departure from canonical
/// encoding.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    last_number: u32,
    deviation: Option<Deviation>,
}

/// One field of a message.
#[derive(Debug)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    /// Where the field's key stands in the message.
    pub(crate) offset: usize,
    value: Value<'a>,
}

#[derive(Debug)]
enum Value<'a> {
    Varint(u64),
    Bytes(Located<'a>),
    Fixed,
}

/// A length-delimited value and where it starts in its message.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) start: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            last_number: 0,
            deviation: None,
        }
    }

    /// The next field, or `None` at the end of the message.
    pub(crate) fn next_field(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let offset = self.at;
        let malformed = |problem| Malformed { offset, problem };

        let key = self.varint()?;
        let wire_type = (key & 0b111) as u8;
        let number = u32::try_from(key)
            .map(|key| key >> 3)
            .ok()
            .filter(|number| *number != 0)
            .ok_or(malformed(Problem::FieldNumber))?;

        let value = match wire_type {
            WIRE_VARINT => Value::Varint(self.varint()?),
            WIRE_LENGTH_DELIMITED => {
                let length = self.varint()?;
                Value::Bytes(Located {
                    start: self.at,
                    bytes: self.take(length)?,
                })
            }
            WIRE_FIXED_64 => {
                self.take(8)?;
                Value::Fixed
            }
            WIRE_FIXED_32 => {
                self.take(4)?;
                Value::Fixed
            }
            _ => return Err(malformed(Problem::WireType)),
        };

        if number < self.last_number {
            self.deviate(offset, DeviationKind::OutOfOrder);
        }
        self.last_number = number;
        Ok(Some(Field {
            number,
            offset,
            value,
        }))
    }

    /// Notes that the message has a field that the schema does not name.
    pub(crate) fn skip_unknown(&mut self, field: &Field<'_>) {
        self.deviate(field.offset, DeviationKind::UnknownField);
    }

    /// The first departure from canonical encoding in what has been read.
    pub(crate) fn deviation(&self) -> Option<Deviation> {
        self.deviation
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let offset = self.at;
        let mut value = 0_u64;
        for position in 0..VARINT_BYTES_MAX {
            let Some(&byte) = self.bytes.get(self.at) else {
                return Err(Malformed {
                    offset,
                    problem: Problem::Truncated,
                });
            };
            self.at += 1;
            // The tenth byte has room for the topmost bit alone.
            if position == VARINT_BYTES_MAX - 1 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * position);
            if byte < 0x80 {
                if byte == 0 && position > 0 {
                    self.deviate(offset, DeviationKind::LongVarint);
                }
                return Ok(value);
            }
        }
        Err(Malformed {
            offset,
            problem: Problem::VarintOverflow,
        })
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let rest = &self.bytes[self.at..];
        let taken = usize::try_from(length)
            .ok()
            .and_then(|length| rest.get(..length))
            .ok_or(Malformed {
                offset: self.at,
                problem: Problem::Truncated,
            })?;
        self.at += taken.len();
        Ok(taken)
    }

    fn deviate(&mut self, offset: usize, kind: DeviationKind) {
        self.deviation.get_or_insert(Deviation { offset, kind });
    }
}

impl Located<'_> {
    /// Where the value stands in its message.
    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.bytes.len()
    }
}

impl<'a> Field<'a> {
    /// The value of a `bytes` or message field.
    pub(crate) fn bytes(&self) -> Result<Located<'a>, Malformed> {
        match self.value {
            Value::Bytes(located) => Ok(located),
            Value::Varint(_) | Value::Fixed => Err(self.malformed(Problem::WireType)),
        }
    }

    /// The value of an integer field.
    pub(crate) fn varint(&self) -> Result<u64, Malformed> {
        match self.value {
            Value::Varint(number) => Ok(number),
            Value::Bytes(_) | Value::Fixed => Err(self.malformed(Problem::WireType)),
        }
    }

    /// Stores the value of a field that may stand once.
    ///
    /// Protobuf readers disagree on a repetition: some take the last value, some merge embedded
    /// messages. Bytes that two readers understand differently have no place under a signature.
    pub(crate) fn store<T>(&self, slot: &mut Option<T>, value: T) -> Result<(), Malformed> {
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(self.malformed(Problem::Repeated)),
        }
    }

    fn malformed(&self, problem: Problem) -> Malformed {
        Malformed {
            offset: self.offset,
            problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem_of(bytes: &[u8]) -> Option<Problem> {
        let mut reader = Reader::new(bytes);
        loop {
            match reader.next_field() {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(malformed) => {
                    assert!(malformed.offset < bytes.len() || malformed.offset == bytes.len());
                    return Some(malformed.problem);
                }
            }
        }
    }

    fn deviation_of(bytes: &[u8]) -> Option<DeviationKind> {
        let mut reader = Reader::new(bytes);
        while reader
            .next_field()
            .expect("these bytes are well formed")
            .is_some()
        {}
        reader.deviation().map(|deviation| deviation.kind)
    }

    #[test]
    fn lengths_beyond_the_message_are_refused_without_overflow() {
        assert_eq!(problem_of(b"\x0a\x01"), Some(Problem::Truncated));
        let huge = b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(problem_of(huge), Some(Problem::Truncated));
        assert_eq!(problem_of(b"\x09\x00\x00\x00"), Some(Problem::Truncated));
        assert_eq!(problem_of(b"\x0d\x00\x00"), Some(Problem::Truncated));
        // A child that claims nearly all of a 64-bit address space behind a valid field.
        let hostile = b"\x32\x02\x0a\x02\x18\x01\x7a\xf1\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(problem_of(hostile), Some(Problem::Truncated));
    }

    #[test]
    fn varints_hold_64_bits_and_no_more() {
        let largest = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        let field = Reader::new(largest)
            .next_field()
            .expect("well formed")
            .expect("one field");
        assert_eq!(field.varint(), Ok(u64::MAX));
        let too_large = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02";
        assert_eq!(problem_of(too_large), Some(Problem::VarintOverflow));
        let too_long = b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01";
        assert_eq!(problem_of(too_long), Some(Problem::VarintOverflow));
        assert_eq!(problem_of(b"\x08\x80"), Some(Problem::Truncated));
    }

    #[test]
    fn field_numbers_and_wire_types_outside_the_schema_language_are_refused() {
        assert_eq!(problem_of(b"\x00\x00"), Some(Problem::FieldNumber));
        let beyond_32_bits = b"\x88\x80\x80\x80\x10\x00";
        assert_eq!(problem_of(beyond_32_bits), Some(Problem::FieldNumber));
        for wire_type in [3, 4, 6, 7] {
            assert_eq!(problem_of(&[0x08 | wire_type, 0]), Some(Problem::WireType));
        }
    }

    #[test]
    fn departures_from_canonical_encoding_are_noticed() {
        assert_eq!(deviation_of(b"\x08\x00\x12\x00"), None);
        assert_eq!(
            deviation_of(b"\x12\x00\x08\x00"),
            Some(DeviationKind::OutOfOrder)
        );
        assert_eq!(
            deviation_of(b"\x08\x80\x00"),
            Some(DeviationKind::LongVarint)
        );
        assert_eq!(
            deviation_of(b"\x88\x00\x00"),
            Some(DeviationKind::LongVarint)
        );
        assert_eq!(
            deviation_of(b"\x0a\x81\x00\xaa"),
            Some(DeviationKind::LongVarint)
        );
    }
}
