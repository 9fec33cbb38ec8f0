//! Requests and responses: different types, so that neither can be taken for the other.

use crate::{
    error::{RequestError, ResponseError},
    message::{Discover, DiscoverResponse, Message, Register, RegisterResponse, Unregister},
    status::MessageType,
};

/// What a client asks of a rendezvous point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// List the sender in a namespace.
    Register(Register<'a>),
    /// List the sender no longer. There is no response.
    Unregister(Unregister<'a>),
    /// Give a page of registrations.
    Discover(Discover<'a>),
}

impl<'a> Request<'a> {
    /// Reads one frame's payload as a request.
    ///
    /// Lenient: an absent `type` is told by the sub-message that is set, an absent sub-message is an empty one.
    ///
    /// # Errors
    /// [`RequestError`] if the payload is no message, or no request.
    pub fn decode(payload: &'a [u8]) -> Result<Self, RequestError> {
        let message = Message::decode(payload)?;
        match message.effective_kind() {
            MessageType::Register => Ok(Self::Register(message.register.unwrap_or_default())),
            MessageType::Unregister => Ok(Self::Unregister(message.unregister.unwrap_or_default())),
            MessageType::Discover => Ok(Self::Discover(message.discover.unwrap_or_default())),
            kind @ (MessageType::RegisterResponse | MessageType::DiscoverResponse | MessageType::Other(_)) => {
                Err(RequestError::NotARequest(kind))
            }
        }
    }

    /// This request as a message, with its `type`.
    #[must_use]
    pub fn to_message(&self) -> Message<'a> {
        match *self {
            Self::Register(register) => {
                Message { kind: Some(MessageType::Register), register: Some(register), ..Message::default() }
            }
            Self::Unregister(unregister) => {
                Message { kind: Some(MessageType::Unregister), unregister: Some(unregister), ..Message::default() }
            }
            Self::Discover(discover) => {
                Message { kind: Some(MessageType::Discover), discover: Some(discover), ..Message::default() }
            }
        }
    }

    /// Appends a whole frame with this request, length prefix included.
    pub fn encode_frame(&self, frame: &mut Vec<u8>) {
        self.to_message().encode_frame(frame);
    }
}

/// What a rendezvous point answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Response<'a> {
    /// To REGISTER.
    Register(RegisterResponse<'a>),
    /// To DISCOVER.
    Discover(DiscoverResponse<'a>),
}

impl<'a> Response<'a> {
    /// Reads one frame's payload as a response, with the same leniency as [`Request::decode`].
    ///
    /// # Errors
    /// [`ResponseError`] if the payload is no message, or no response.
    pub fn decode(payload: &'a [u8]) -> Result<Self, ResponseError> {
        let message = Message::decode(payload)?;
        match message.effective_kind() {
            MessageType::RegisterResponse => Ok(Self::Register(message.register_response.unwrap_or_default())),
            MessageType::DiscoverResponse => Ok(Self::Discover(message.discover_response.unwrap_or_default())),
            kind
            @ (MessageType::Register | MessageType::Unregister | MessageType::Discover | MessageType::Other(_)) => {
                Err(ResponseError::NotAResponse(kind))
            }
        }
    }

    /// This response as a message, with its `type`.
    #[must_use]
    pub fn to_message(&self) -> Message<'a> {
        match *self {
            Self::Register(response) => Message {
                kind: Some(MessageType::RegisterResponse),
                register_response: Some(response),
                ..Message::default()
            },
            Self::Discover(response) => Message {
                kind: Some(MessageType::DiscoverResponse),
                discover_response: Some(response),
                ..Message::default()
            },
        }
    }

    /// Appends a whole frame with this response, length prefix included.
    pub fn encode_frame(&self, frame: &mut Vec<u8>) {
        self.to_message().encode_frame(frame);
    }
}
