//! Message types and response statuses. Numbers this crate does not know are kept as they are.

use core::fmt;

/// Type of a message: field `type` of `Message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// `REGISTER` = 0.
    Register,
    /// `REGISTER_RESPONSE` = 1.
    RegisterResponse,
    /// `UNREGISTER` = 2.
    Unregister,
    /// `DISCOVER` = 3.
    Discover,
    /// `DISCOVER_RESPONSE` = 4.
    DiscoverResponse,
    /// A number that the specification does not define.
    Other(i32),
}

impl MessageType {
    /// The type with this number.
    #[must_use]
    pub const fn from_number(number: i32) -> Self {
        match number {
            0 => Self::Register,
            1 => Self::RegisterResponse,
            2 => Self::Unregister,
            3 => Self::Discover,
            4 => Self::DiscoverResponse,
            other => Self::Other(other),
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::Register => 0,
            Self::RegisterResponse => 1,
            Self::Unregister => 2,
            Self::Discover => 3,
            Self::DiscoverResponse => 4,
            Self::Other(other) => other,
        }
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register => f.write_str("REGISTER"),
            Self::RegisterResponse => f.write_str("REGISTER_RESPONSE"),
            Self::Unregister => f.write_str("UNREGISTER"),
            Self::Discover => f.write_str("DISCOVER"),
            Self::DiscoverResponse => f.write_str("DISCOVER_RESPONSE"),
            Self::Other(number) => write!(f, "message type {number}"),
        }
    }
}

/// Status of a response: `ResponseStatus` of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// `OK` = 0.
    Ok,
    /// `E_INVALID_NAMESPACE` = 100.
    InvalidNamespace,
    /// `E_INVALID_SIGNED_PEER_RECORD` = 101; older implementations name it `E_INVALID_PEER_INFO`.
    InvalidSignedPeerRecord,
    /// `E_INVALID_TTL` = 102.
    InvalidTtl,
    /// `E_INVALID_COOKIE` = 103.
    InvalidCookie,
    /// `E_NOT_AUTHORIZED` = 200.
    NotAuthorized,
    /// `E_INTERNAL_ERROR` = 300.
    InternalError,
    /// `E_UNAVAILABLE` = 400.
    Unavailable,
    /// A number that the specification does not define. It is never success.
    Other(i32),
}

impl Status {
    /// The status with this code.
    #[must_use]
    pub const fn from_code(code: i32) -> Self {
        match code {
            0 => Self::Ok,
            100 => Self::InvalidNamespace,
            101 => Self::InvalidSignedPeerRecord,
            102 => Self::InvalidTtl,
            103 => Self::InvalidCookie,
            200 => Self::NotAuthorized,
            300 => Self::InternalError,
            400 => Self::Unavailable,
            other => Self::Other(other),
        }
    }

    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Ok => 0,
            Self::InvalidNamespace => 100,
            Self::InvalidSignedPeerRecord => 101,
            Self::InvalidTtl => 102,
            Self::InvalidCookie => 103,
            Self::NotAuthorized => 200,
            Self::InternalError => 300,
            Self::Unavailable => 400,
            Self::Other(other) => other,
        }
    }

    /// Whether this is success: `OK` and nothing else.
    #[must_use]
    pub const fn is_ok(self) -> bool {
        matches!(self, Self::Ok)
    }

    /// Status of a response as received: an absent one is `OK`, since writers of proto3 leave zero out.
    #[must_use]
    pub fn from_wire(status: Option<Self>) -> Self {
        status.unwrap_or(Self::Ok)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("OK"),
            Self::InvalidNamespace => f.write_str("E_INVALID_NAMESPACE"),
            Self::InvalidSignedPeerRecord => f.write_str("E_INVALID_SIGNED_PEER_RECORD"),
            Self::InvalidTtl => f.write_str("E_INVALID_TTL"),
            Self::InvalidCookie => f.write_str("E_INVALID_COOKIE"),
            Self::NotAuthorized => f.write_str("E_NOT_AUTHORIZED"),
            Self::InternalError => f.write_str("E_INTERNAL_ERROR"),
            Self::Unavailable => f.write_str("E_UNAVAILABLE"),
            Self::Other(code) => write!(f, "status {code}"),
        }
    }
}
