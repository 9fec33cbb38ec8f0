//! The messages of `/rendezvous/1.0.0` as they stand on the wire: every field optional, nothing copied.

use core::fmt;

use crate::{
    error::{DecodeError, Malformed},
    reader::Reader,
    status::{MessageType, Status},
};

/// `Message`: the envelope around every request and response.
///
/// This is the raw form: what was absent is `None`, numbers are as received. [`Request`](crate::Request) and
/// [`Response`](crate::Response) are the forms to work with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Message<'a> {
    /// Field 1, `type`.
    pub kind: Option<MessageType>,
    /// Field 2.
    pub register: Option<Register<'a>>,
    /// Field 3.
    pub register_response: Option<RegisterResponse<'a>>,
    /// Field 4.
    pub unregister: Option<Unregister<'a>>,
    /// Field 5.
    pub discover: Option<Discover<'a>>,
    /// Field 6.
    pub discover_response: Option<DiscoverResponse<'a>>,
}

/// `Register`: a request to be listed, and one registration of a DISCOVER answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Register<'a> {
    /// Field 1, `ns`: UTF-8 by the schema, unchecked here; see [`Namespace::parse`](crate::Namespace::parse).
    pub namespace: Option<&'a [u8]>,
    /// Field 2, `signedPeerRecord`: a signed envelope, not looked into. Some implementations write a
    /// [`PeerInfo`](crate::PeerInfo) here.
    pub signed_peer_record: Option<&'a [u8]>,
    /// Field 3, `ttl` in seconds; see [`Ttl::from_wire`](crate::Ttl::from_wire).
    pub ttl_secs: Option<u64>,
}

/// `RegisterResponse`: the answer to REGISTER.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegisterResponse<'a> {
    /// Field 1; see [`Status::from_wire`].
    pub status: Option<Status>,
    /// Field 2: free text, UTF-8 by the schema, unchecked here.
    pub status_text: Option<&'a [u8]>,
    /// Field 3, `ttl`: granted, in seconds.
    pub ttl_secs: Option<u64>,
}

/// `Unregister`: a request to be listed no longer. It has no response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unregister<'a> {
    /// Field 1, `ns`: UTF-8 by the schema, unchecked here.
    pub namespace: Option<&'a [u8]>,
    /// Field 2, `id`: deprecated by the specification; some points insist on the sender's peer id here.
    pub id: Option<&'a [u8]>,
}

/// `Discover`: a request for a page of registrations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discover<'a> {
    /// Field 1, `ns`: absent for all namespaces.
    pub namespace: Option<&'a [u8]>,
    /// Field 2, `limit`; see [`Limit::from_wire`](crate::Limit::from_wire).
    pub limit: Option<u64>,
    /// Field 3, `cookie`; see [`Cookie::from_wire`](crate::Cookie::from_wire).
    pub cookie: Option<&'a [u8]>,
    /// Field 64, an extension: the envelope flavours that the requester reads, a bit each (bit 0 the standard flavour,
    /// bit 1 the legacy one). Points that do not know the field skip it.
    pub reads: Option<u64>,
}

/// `DiscoverResponse`: the answer to DISCOVER.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DiscoverResponse<'a> {
    /// Field 1, repeated.
    pub registrations: Registrations<'a>,
    /// Field 2; see [`Cookie::from_wire`](crate::Cookie::from_wire).
    pub cookie: Option<&'a [u8]>,
    /// Field 3; see [`Status::from_wire`].
    pub status: Option<Status>,
    /// Field 4: free text, UTF-8 by the schema, unchecked here.
    pub status_text: Option<&'a [u8]>,
}

impl<'a> Message<'a> {
    /// Reads one frame's payload.
    ///
    /// Fields that the schema does not have are skipped. Of a field that stands twice the last counts; sub-messages are
    /// not merged. Registrations of an answer are checked when they are iterated, so that one that is broken does not
    /// take the others along.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are no protobuf message, or a known field has the wrong wire type. The message's
    /// type is in it where it could be told.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut message = Self::default();
        // Which sub-message the fault is in tells the type, where the field `type` does not.
        let mut current = None;
        match message.read(payload, &mut current) {
            Ok(()) => Ok(message),
            Err(reason) => Err(DecodeError { kind: message.kind.or(current), reason }),
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
                    *current = Some(MessageType::Unregister);
                    self.unregister = Some(Unregister::decode(field.bytes()?)?);
                }
                5 => {
                    *current = Some(MessageType::Discover);
                    self.discover = Some(Discover::decode(field.bytes()?)?);
                }
                6 => {
                    *current = Some(MessageType::DiscoverResponse);
                    self.discover_response = Some(DiscoverResponse::decode(field.bytes()?)?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The type of this message: the field `type`, or, where a writer left it out, the sub-message that is set.
    ///
    /// A message with neither is REGISTER, the type whose number proto3 writers leave out.
    #[must_use]
    pub fn effective_kind(&self) -> MessageType {
        self.kind.or(self.kind_by_body()).unwrap_or(MessageType::Register)
    }

    fn kind_by_body(&self) -> Option<MessageType> {
        if self.register.is_some() {
            Some(MessageType::Register)
        } else if self.register_response.is_some() {
            Some(MessageType::RegisterResponse)
        } else if self.unregister.is_some() {
            Some(MessageType::Unregister)
        } else if self.discover.is_some() {
            Some(MessageType::Discover)
        } else if self.discover_response.is_some() {
            Some(MessageType::DiscoverResponse)
        } else {
            None
        }
    }
}

impl<'a> Register<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut register = Self::default();
        let mut reader = Reader::new(body);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => register.namespace = Some(field.bytes()?),
                2 => register.signed_peer_record = Some(field.bytes()?),
                3 => register.ttl_secs = Some(field.varint()?),
                _ => {}
            }
        }
        Ok(register)
    }
}

impl<'a> RegisterResponse<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut response = Self::default();
        let mut reader = Reader::new(body);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => response.status = Some(Status::from_code(field.int32()?)),
                2 => response.status_text = Some(field.bytes()?),
                3 => response.ttl_secs = Some(field.varint()?),
                _ => {}
            }
        }
        Ok(response)
    }
}

impl<'a> Unregister<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut unregister = Self::default();
        let mut reader = Reader::new(body);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => unregister.namespace = Some(field.bytes()?),
                2 => unregister.id = Some(field.bytes()?),
                _ => {}
            }
        }
        Ok(unregister)
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
                3 => discover.cookie = Some(field.bytes()?),
                64 => discover.reads = Some(field.varint()?),
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
                // Left to the iterator, so that a registration of the wrong wire type loses itself alone.
                1 => {}
                2 => response.cookie = Some(field.bytes()?),
                3 => response.status = Some(Status::from_code(field.int32()?)),
                4 => response.status_text = Some(field.bytes()?),
                _ => {}
            }
        }
        Ok(response)
    }
}

/// The registrations of a DISCOVER answer, in the order of the wire.
///
/// Nothing is allocated for them: they are read from the frame as they are iterated.
#[derive(Clone, Copy, Default)]
pub struct Registrations<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    /// Body of a `DiscoverResponse` whose outer structure has been checked.
    Encoded(&'a [u8]),
    Listed(&'a [Register<'a>]),
}

impl Default for Source<'_> {
    fn default() -> Self {
        Self::Listed(&[])
    }
}

impl<'a> Registrations<'a> {
    /// Registrations to be encoded.
    #[must_use]
    pub const fn listed(registrations: &'a [Register<'a>]) -> Self {
        Self(Source::Listed(registrations))
    }

    /// The registrations in the body of an answer, whose outer structure the caller checks.
    pub(crate) const fn encoded(body: &'a [u8]) -> Self {
        Self(Source::Encoded(body))
    }

    /// Iterates over the registrations; one that cannot be decoded is an error of its own.
    #[must_use]
    pub fn iter(&self) -> RegistrationsIter<'a> {
        RegistrationsIter(match self.0 {
            Source::Encoded(body) => Cursor::Encoded(Reader::new(body)),
            Source::Listed(registrations) => Cursor::Listed(registrations.iter()),
        })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<'a> IntoIterator for Registrations<'a> {
    type Item = Result<Register<'a>, Malformed>;
    type IntoIter = RegistrationsIter<'a>;

    fn into_iter(self) -> RegistrationsIter<'a> {
        self.iter()
    }
}

impl PartialEq for Registrations<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Registrations<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Iterator over [`Registrations`].
#[derive(Clone, Debug)]
pub struct RegistrationsIter<'a>(Cursor<'a>);

#[derive(Clone, Debug)]
enum Cursor<'a> {
    Encoded(Reader<'a>),
    Listed(core::slice::Iter<'a, Register<'a>>),
}

impl<'a> Iterator for RegistrationsIter<'a> {
    type Item = Result<Register<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Cursor::Listed(registrations) => registrations.next().copied().map(Ok),
            Cursor::Encoded(reader) => loop {
                // The outer structure was checked by `decode`; a fault here would end the list.
                let field = reader.next_field().ok()??;
                if field.number == 1 {
                    return Some(field.bytes().and_then(Register::decode));
                }
            },
        }
    }
}
