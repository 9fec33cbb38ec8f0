//! Messages and frames of the [libp2p rendezvous protocol], `/rendezvous/1.0.0`, and of the older dialect in [`waku`].
//!
//! This crate turns bytes into messages and messages into bytes, and nothing else: no runtime, no cryptography, no
//! opinion on what to answer.
//!
//! - **Reading is lenient and bounded.** Implementations differ in what they leave out, so everything is optional and
//!   the rules of leniency are methods ([`Ttl::from_wire`], [`Status::from_wire`], [`Request::decode`] …). Decoding
//!   borrows the frame and allocates nothing, however long the frame.
//! - **Writing is explicit.** What some implementation misses when it is absent is written, zeros included.
//!
//! One exchange, from frame to frame:
//!
//! ```
//! use rendezvous_wire::{Discover, Request, frame};
//!
//! // A client asks for ten registrations of a namespace …
//! let mut bytes = Vec::new();
//! let discover = Discover { namespace: Some(b"chat"), limit: Some(10), ..Discover::default() };
//! Request::Discover(discover).encode_frame(&mut bytes);
//!
//! // … and the point reads that.
//! let (payload, frame_len) = frame::split(&bytes, frame::REQUEST_BYTES_MAX)?.expect("a whole frame");
//! assert_eq!(frame_len, bytes.len());
//! assert_eq!(Request::decode(payload)?, Request::Discover(discover));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Neighbours
//! `rendezvous-record` reads the signed envelopes that a [`Register`] carries; `rendezvous-core` decides what to answer.
//!
//! # Features
//! - `codec` (default): [`FrameCodec`], the framing as an `asynchronous-codec` codec.
//!
//! [libp2p rendezvous protocol]: https://github.com/libp2p/specs/blob/master/rendezvous/README.md

#[cfg(feature = "codec")]
mod codec;
mod cookie;
mod dialect;
mod encode;
mod error;
pub mod frame;
mod message;
mod namespace;
mod page;
mod peer_info;
mod reader;
mod request;
mod status;
mod ttl;
pub mod waku;

#[cfg(feature = "codec")]
pub use codec::{CodecError, FrameCodec};
pub use cookie::{COOKIE_BYTES_END, Cookie, CookieTooLong, PositionCookie, UndecodableCookie};
pub use dialect::{Dialect, Dialects, ParseDialectError};
pub use error::{DecodeError, Malformed, NotPeerInfo, RequestError, ResponseError};
pub use message::{
    Discover, DiscoverResponse, Message, Register, RegisterResponse, Registrations, RegistrationsIter, Unregister,
};
pub use namespace::{InvalidNamespace, NAMESPACE_BYTES_MAX, Namespace};
pub use page::{Page, PageWriter};
pub use peer_info::PeerInfo;
pub use request::{Request, Response};
pub use status::{MessageType, Status};
pub use ttl::{Limit, Ttl};

/// Protocol id of the rendezvous protocol.
pub const PROTOCOL: &str = "/rendezvous/1.0.0";
