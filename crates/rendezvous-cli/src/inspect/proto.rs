//! A bounded protobuf reader that knows where in the input it is.

/// Longest encoding of a `u64` as a varint.
const VARINT_BYTES_MAX: usize = 10;

/// Where bytes stop being what they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Counted from the first byte of the input.
    pub(super) offset: usize,
    pub(super) reason: String,
}

impl Fault {
    pub(super) fn new(offset: usize, reason: impl Into<String>) -> Self {
        Self { offset, reason: reason.into() }
    }
}

/// One field as it stands on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    /// Where its key stands in the input.
    pub(super) offset: usize,
    pub(super) value: Value<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(Span<'a>),
    /// Four or eight bytes; nothing in these messages has such a field.
    Fixed(Span<'a>),
}

/// Bytes, and where they stand in the input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) start: usize,
}

impl<'a> Span<'a> {
    pub(super) fn whole(bytes: &'a [u8]) -> Self {
        Self { bytes, start: 0 }
    }

    pub(super) fn end(&self) -> usize {
        self.start + self.bytes.len()
    }
}

/// Reads the fields of one message in the order in which they stand.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    span: Span<'a>,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(span: Span<'a>) -> Self {
        Self { span, at: 0 }
    }

    /// Where in the input the next byte stands.
    pub(super) fn offset(&self) -> usize {
        self.span.start + self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.span.bytes.len()
    }

    /// The next field, or `None` at the end of the message.
    pub(super) fn next_field(&mut self) -> Result<Option<Field<'a>>, Fault> {
        if self.is_at_end() {
            return Ok(None);
        }
        let offset = self.offset();
        let key = self.varint("a field's key")?;
        let number = u32::try_from(key).map(|key| key >> 3).ok().filter(|number| *number != 0);
        let number = number.ok_or_else(|| Fault::new(offset, "no valid field number"))?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint("a number")?),
            1 => Value::Fixed(self.take(8, offset)?),
            2 => {
                let length = self.varint("a length")?;
                Value::Bytes(self.take(length, offset)?)
            }
            5 => Value::Fixed(self.take(4, offset)?),
            other => {
                return Err(Fault::new(offset, format!("field {number} has wire type {other}, which is not in use")));
            }
        };
        Ok(Some(Field { number, offset, value }))
    }

    /// A varint, which may be longer than its value needs.
    pub(super) fn varint(&mut self, what: &str) -> Result<u64, Fault> {
        let start = self.offset();
        let mut value = 0_u64;
        for position in 0..VARINT_BYTES_MAX {
            let Some(&byte) = self.span.bytes.get(self.at) else {
                return Err(Fault::new(self.offset(), format!("the bytes end inside {what}")));
            };
            self.at += 1;
            // The tenth byte has room for the topmost bit alone.
            if position == VARINT_BYTES_MAX - 1 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * position);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Fault::new(start, format!("{what} of more than 64 bits")))
    }

    /// The next bytes, of a value that began at `offset`.
    pub(super) fn take(&mut self, length: u64, offset: usize) -> Result<Span<'a>, Fault> {
        let start = self.offset();
        let rest = &self.span.bytes[self.at..];
        let bytes = usize::try_from(length)
            .ok()
            .and_then(|length| rest.get(..length))
            .ok_or_else(|| Fault::new(offset, format!("{length} bytes are announced, and {} are there", rest.len())))?;
        self.at += bytes.len();
        Ok(Span { bytes, start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_has_its_place_in_the_input() {
        let mut reader = Reader::new(Span { bytes: &[0x08, 0x01, 0x12, 0x05, 0x00], start: 100 });
        assert!(matches!(reader.next_field(), Ok(Some(Field { number: 1, offset: 100, value: Value::Varint(1) }))));
        let fault = reader.next_field().expect_err("five bytes, one left");
        assert_eq!(fault, Fault::new(102, "5 bytes are announced, and 1 are there"));
    }

    #[test]
    fn lengths_near_the_end_of_64_bits_are_refused() {
        let hostile = b"\x32\x02\x0a\x02\x18\x01\x7a\xf1\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        let mut reader = Reader::new(Span::whole(hostile));
        assert!(reader.next_field().is_ok());
        assert!(matches!(reader.next_field(), Ok(Some(Field { number: 3, .. })) | Err(_)));
        let mut reader = Reader::new(Span::whole(&hostile[6..]));
        assert_eq!(reader.next_field().expect_err("more than there is").offset, 0);
    }

    #[test]
    fn every_truncation_ends_without_a_panic() {
        let bytes = b"\x08\x80\x01\x12\x03abc\x19\0\0\0\0\0\0\0\0\x25\0\0\0\0";
        for end in 0..bytes.len() {
            let mut reader = Reader::new(Span::whole(&bytes[..end]));
            while let Ok(Some(_)) = reader.next_field() {}
        }
    }
}
