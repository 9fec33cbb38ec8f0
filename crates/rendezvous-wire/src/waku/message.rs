//! The dialect's messages as they stand on the wire: every field optional, nothing copied.

use quick_protobuf::{MessageWrite, Result as WriteResult, Writer, WriterBackend, sizeofs::sizeof_len};

use crate::{
    encode::{
        size_of_bytes, size_of_int32, size_of_message, size_of_varint, write_bytes, write_int32, write_message,
        write_varint,
    },
    error::{DecodeError, Malformed},
    message::{Register, RegisterResponse, Registrations},
    reader::Reader,
    status::{self, Status},
};

/// Type of a message: field `type` of `Message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// `REGISTER` = 0.
    Register,
    /// `REGISTER_RESPONSE` = 1.
    RegisterResponse,
    /// `DISCOVER` = 2.
    Discover,
    /// `DISCOVER_RESPONSE` = 3.
    DiscoverResponse,
    /// A number that the dialect does not define.
    Other(i32),
}

impl MessageType {
    /// The type with this number.
    #[must_use]
    pub const fn from_number(number: i32) -> Self {
        match number {
            0 => Self::Register,
            1 => Self::RegisterResponse,
            2 => Self::Discover,
            3 => Self::DiscoverResponse,
            other => Self::Other(other),
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::Register => 0,
            Self::RegisterResponse => 1,
            Self::Discover => 2,
            Self::DiscoverResponse => 3,
            Self::Other(other) => other,
        }
    }
}

impl From<MessageType> for status::MessageType {
    /// The type by its meaning, not by its number.
    fn from(kind: MessageType) -> Self {
        match kind {
            MessageType::Register => Self::Register,
            MessageType::RegisterResponse => Self::RegisterResponse,
            MessageType::Discover => Self::Discover,
            MessageType::DiscoverResponse => Self::DiscoverResponse,
            MessageType::Other(number) => Self::Other(number),
        }
    }
}

/// `Message`: the envelope around every request and response, in its raw form.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Message<'a> {
    /// Field 1, `type`.
    pub kind: Option<MessageType>,
    /// Field 2.
    pub register: Option<Register<'a>>,
    /// Field 3.
    pub register_response: Option<RegisterResponse<'a>>,
    /// Field 4.
    pub discover: Option<Discover<'a>>,
    /// Field 5.
    pub discover_response: Option<DiscoverResponse<'a>>,
}

/// `Discover`: a request for some registrations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discover<'a> {
    /// Field 1, `ns`.
    pub namespace: Option<&'a [u8]>,
    /// Field 2, `limit`; see [`Limit::from_wire`](crate::Limit::from_wire). It is an `int64`: a negative one arrives as a
    /// number above 2^63.
    pub limit: Option<u64>,
}

/// `DiscoverResponse`: the answer to DISCOVER.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DiscoverResponse<'a> {
    /// Field 1, repeated.
    pub registrations: Registrations<'a>,
    /// Field 3; see [`Status::from_wire`].
    pub status: Option<Status>,
    /// Field 4: free text, UTF-8 by the schema, unchecked here.
    pub status_text: Option<&'a [u8]>,
}

impl<'a> Message<'a> {
    /// Reads one frame's payload, by the rules of [`Message::decode`](crate::Message::decode) of the other dialect.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are no protobuf message, or a known field has the wrong wire type. The message's
    /// type is in it where it could be told.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut message = Self::default();
        let mut current = None;
        match message.read(payload, &mut current) {
            Ok(()) => Ok(message),
            Err(reason) => Err(DecodeError { kind: message.kind.or(current).map(Into::into), reason }),
        }
    }

    fn read(&mut self, payload: &'a [u8], current: &mut Option<MessageType>) -> Result<(), Malformed> {
        let mut reader = Reader::new(payload);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => self.kind = Some(MessageType::from_number(field.int32()?)),
                2 => {
                    *current = Some(MessageType::Register);
                    self.register = Some(Register::decode(field.bytes()?)?);
                }
                3 => {
                    *current = Some(MessageType::RegisterResponse);
                    self.register_response = Some(RegisterResponse::decode(field.bytes()?)?);
                }
                4 => {
                    *current = Some(MessageType::Discover);
                    self.discover = Some(Discover::decode(field.bytes()?)?);
                }
                5 => {
                    *current = Some(MessageType::DiscoverResponse);
                    self.discover_response = Some(DiscoverResponse::decode(field.bytes()?)?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The type of this message: the field `type`, or, where a writer left it out, the sub-message that is set. A message
    /// with neither is REGISTER, whose number proto3 writers leave out.
    #[must_use]
    pub fn effective_kind(&self) -> MessageType {
        self.kind.or(self.kind_by_body()).unwrap_or(MessageType::Register)
    }

    fn kind_by_body(&self) -> Option<MessageType> {
        if self.register.is_some() {
            Some(MessageType::Register)
        } else if self.register_response.is_some() {
            Some(MessageType::RegisterResponse)
        } else if self.discover.is_some() {
            Some(MessageType::Discover)
        } else if self.discover_response.is_some() {
            Some(MessageType::DiscoverResponse)
        } else {
            None
        }
    }

    /// The payload of a frame with this message: what is present, as it is.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(self.get_size());
        self.write_message(&mut Writer::new(&mut payload)).expect("a Vec takes every write");
        payload
    }

    /// Appends a whole frame with this message, length prefix included.
    pub fn encode_frame(&self, frame: &mut Vec<u8>) {
        frame.reserve(sizeof_len(self.get_size()));
        Writer::new(frame).write_message(self).expect("a Vec takes every write");
    }
}

impl<'a> Discover<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut discover = Self::default();
        let mut reader = Reader::new(body);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => discover.namespace = Some(field.bytes()?),
                2 => discover.limit = Some(field.varint()?),
                _ => {}
            }
        }
        Ok(discover)
    }
}

impl<'a> DiscoverResponse<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut response = Self { registrations: Registrations::encoded(body), ..Self::default() };
        let mut reader = Reader::new(body);
        while let Some(field) = reader.next_field()? {
            match field.number {
                3 => response.status = Some(Status::from_code(field.int32()?)),
                4 => response.status_text = Some(field.bytes()?),
                // 1 is left to the iterator; 2 would be a cookie.
                _ => {}
            }
        }
        Ok(response)
    }
}

impl MessageWrite for Message<'_> {
    fn get_size(&self) -> usize {
        size_of_int32(1, self.kind.map(|kind| kind.number()))
            + size_of_message(2, self.register.as_ref())
            + size_of_message(3, self.register_response.as_ref())
            + size_of_message(4, self.discover.as_ref())
            + size_of_message(5, self.discover_response.as_ref())
    }

    fn write_message<W: WriterBackend>(&self, w: &mut Writer<W>) -> WriteResult<()> {
        write_int32(w, 1, self.kind.map(|kind| kind.number()))?;
        write_message(w, 2, self.register.as_ref())?;
        write_message(w, 3, self.register_response.as_ref())?;
        write_message(w, 4, self.discover.as_ref())?;
        write_message(w, 5, self.discover_response.as_ref())
    }
}

impl MessageWrite for Discover<'_> {
    fn get_size(&self) -> usize {
        size_of_bytes(1, self.namespace) + size_of_varint(2, self.limit)
    }

    fn write_message<W: WriterBackend>(&self, w: &mut Writer<W>) -> WriteResult<()> {
        write_bytes(w, 1, self.namespace)?;
        write_varint(w, 2, self.limit)
    }
}

impl MessageWrite for DiscoverResponse<'_> {
    fn get_size(&self) -> usize {
        let registrations: usize =
            self.registrations.iter().flatten().map(|register| size_of_message(1, Some(&register))).sum();
        registrations + size_of_int32(3, self.status.map(|status| status.code())) + size_of_bytes(4, self.status_text)
    }

    fn write_message<W: WriterBackend>(&self, w: &mut Writer<W>) -> WriteResult<()> {
        for register in self.registrations.iter().flatten() {
            write_message(w, 1, Some(&register))?;
        }
        write_int32(w, 3, self.status.map(|status| status.code()))?;
        write_bytes(w, 4, self.status_text)
    }
}
