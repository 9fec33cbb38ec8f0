//! The older dialect of Waku, `/vac/waku/rendezvous/0.0.1`, as go-waku-rendezvous speaks it.
//!
//! Framing, [`Register`] and [`RegisterResponse`] are those of `/rendezvous/1.0.0`. What differs: the numbers of DISCOVER and
//! its answer, there is no UNREGISTER and there are no cookies, lifetimes are 20 seconds, and DISCOVER is answered with a random
//! choice. The dialect is proto3, so its writers leave out every zero: REGISTER has no `type`, success no `status`.
//! Here zeros are written; a proto3 reader takes them alike.
//!
//! Reading is as lenient, as bounded and as free of allocation as that of the other dialect.
//!
//! ```
//! use rendezvous_wire::{frame, waku};
//!
//! let mut bytes = Vec::new();
//! let discover = waku::Discover { namespace: Some(b"chat"), limit: Some(10) };
//! waku::Request::Discover(discover).encode_frame(&mut bytes);
//!
//! let (payload, _) = frame::split(&bytes, frame::REQUEST_BYTES_MAX)?.expect("a whole frame");
//! assert_eq!(waku::Request::decode(payload)?, waku::Request::Discover(discover));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod message;

pub use message::{Discover, DiscoverResponse, Message, MessageType};

use crate::{
    error::{RequestError, ResponseError},
    message::{Register, RegisterResponse},
    ttl::Ttl,
};

/// Protocol id of the dialect.
pub const PROTOCOL: &str = "/vac/waku/rendezvous/0.0.1";

/// Used where a REGISTER names no lifetime.
pub const TTL_DEFAULT: Ttl = Ttl::from_secs(20);

/// Longest lifetime of a registration: it is kept up by renewing it every few seconds.
pub const TTL_MAX: Ttl = Ttl::from_secs(20);

/// What a client asks of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// List the sender in a namespace.
    Register(Register<'a>),
    /// Give some registrations of a namespace.
    Discover(Discover<'a>),
}

impl<'a> Request<'a> {
    /// Reads one frame's payload as a request. An absent sub-message is an empty one.
    ///
    /// # Errors
    /// [`RequestError`] if the payload is no message, or no request.
    pub fn decode(payload: &'a [u8]) -> Result<Self, RequestError> {
        let message = Message::decode(payload)?;
        match message.effective_kind() {
            MessageType::Register => Ok(Self::Register(message.register.unwrap_or_default())),
            MessageType::Discover => Ok(Self::Discover(message.discover.unwrap_or_default())),
            kind @ (MessageType::RegisterResponse | MessageType::DiscoverResponse | MessageType::Other(_)) => {
                Err(RequestError::NotARequest(kind.into()))
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

impl<'a> From<Request<'a>> for crate::Request<'a> {
    /// The request of `/rendezvous/1.0.0` that says the same.
    fn from(request: Request<'a>) -> Self {
        match request {
            Request::Register(register) => Self::Register(register),
            Request::Discover(Discover { namespace, limit }) => {
                Self::Discover(crate::Discover { namespace, limit, ..crate::Discover::default() })
            }
        }
    }
}

/// What a point answers.
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
            kind @ (MessageType::Register | MessageType::Discover | MessageType::Other(_)) => {
                Err(ResponseError::NotAResponse(kind.into()))
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

impl<'a> From<Response<'a>> for crate::Response<'a> {
    /// The response of `/rendezvous/1.0.0` that says the same.
    fn from(response: Response<'a>) -> Self {
        match response {
            Response::Register(response) => Self::Register(response),
            Response::Discover(DiscoverResponse { registrations, status, status_text }) => {
                Self::Discover(crate::DiscoverResponse { registrations, status, status_text, cookie: None })
            }
        }
    }
}
