//! Requests on their way to a point.

use core::fmt;

use bytes::Bytes;
use libp2p_identity::PeerId;
use rendezvous_wire::{Dialect, Namespace};

use crate::Time;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Ids grow and are never given twice by one client.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub(super) u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// Names a registration from [`register`](super::Client::register) until
    /// [`unregister`](super::Client::unregister).
    RegistrationId
}
id! {
    /// Names one query of [`discover`](super::Client::discover).
    QueryId
}
id! {
    /// Names a lookup from [`look_up`](super::Client::look_up) until [`end_lookup`](super::Client::end_lookup).
    LookupId
}
id! {
    /// Names one request to one point, and its answer.
    RequestId
}

/// Kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RequestKind {
    /// REGISTER, answered by REGISTER_RESPONSE.
    Register,
    /// UNREGISTER, which has no answer.
    Unregister,
    /// DISCOVER, answered by DISCOVER_RESPONSE.
    Discover,
}

impl fmt::Display for RequestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Register => "REGISTER",
            Self::Unregister => "UNREGISTER",
            Self::Discover => "DISCOVER",
        })
    }
}

/// A request for the shell to send: open a stream to `point`, write `frame`, read one frame if `expects_answer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// Comes back with the answer or the failure.
    pub id: RequestId,
    /// The point to send it to; the shell connects to it where it is not connected.
    pub point: PeerId,
    /// The dialect to ask in: whose protocol the stream is opened with.
    pub dialect: Dialect,
    /// What is asked: with `dialect` and `namespace`, what [`AnswerReader::read_in`](super::AnswerReader::read_in) needs to
    /// know.
    pub kind: RequestKind,
    /// The namespace it is about; `None` for a DISCOVER over all of them.
    pub namespace: Option<Namespace>,
    /// The whole frame, length prefix included; of a REGISTER at most
    /// [`REGISTER_BYTES_MAX`](rendezvous_wire::frame::REGISTER_BYTES_MAX) bytes.
    pub frame: Bytes,
    /// Whether one frame is to be read. Otherwise the answer is [`Answer::Sent`](super::Answer::Sent), once the frame is
    /// written.
    pub expects_answer: bool,
    /// When the client gives it up by itself; the shell need not watch it, and may cancel then.
    pub deadline: Time,
}
