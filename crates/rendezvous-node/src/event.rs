//! What a node tells: [`Event`].

use core::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::broadcast;
use tokio_util::sync::ReusableBoxFuture;

use crate::{DisconnectReason, sub_protocol::Direction};

/// Most events that wait for a reader; beyond it the oldest go, and [`Event::Missed`] tells how many.
pub const EVENTS_MAX: usize = 1_024;

/// Something that has happened to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A peer is connected, and admitted.
    PeerAdded {
        /// Who.
        peer: PeerId,
        /// Who opened the connection.
        direction: Direction,
        /// Where it is.
        remote_addr: Multiaddr,
    },
    /// A peer has told what it calls itself, and which protocols it speaks.
    PeerIdentified {
        /// Who.
        peer: PeerId,
        /// Its name, which nothing proves.
        name: String,
    },
    /// The last connection to a peer that was added is gone.
    PeerDropped {
        /// Who.
        peer: PeerId,
        /// Why.
        departure: Departure,
    },
    /// A peer was turned away: it was not added.
    PeerRefused {
        /// Who.
        peer: PeerId,
        /// Why; it was told so.
        reason: DisconnectReason,
    },
    /// A session of a sub-protocol has begun.
    SessionStarted {
        /// With whom.
        peer: PeerId,
        /// Name of the sub-protocol.
        sub_protocol: String,
        /// The version in use.
        version: u32,
    },
    /// A session of a sub-protocol has ended.
    SessionEnded {
        /// With whom.
        peer: PeerId,
        /// Name of the sub-protocol.
        sub_protocol: String,
        /// How, in words.
        how: String,
        /// Why, in the terms of peers.
        reason: DisconnectReason,
    },
    /// A message of a sub-protocol was sent.
    MessageSent {
        /// To whom.
        peer: PeerId,
        /// Name of the sub-protocol.
        sub_protocol: String,
        /// The message's code.
        code: u16,
        /// Length of its content.
        size_bytes: usize,
    },
    /// A message of a sub-protocol was received.
    MessageReceived {
        /// From whom.
        peer: PeerId,
        /// Name of the sub-protocol.
        sub_protocol: String,
        /// The message's code.
        code: u16,
        /// Length of its content.
        size_bytes: usize,
    },
    /// The node listens on an address.
    Listening {
        /// The address, without the peer id.
        address: Multiaddr,
    },
    /// So many events were not read in time, and are lost to this reader.
    Missed(u64),
}

/// Who ended the connection to a peer, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Departure {
    /// This side did.
    Local(DisconnectReason),
    /// The other side did, and said why.
    Remote(DisconnectReason),
    /// The connection was lost, or closed without a word.
    Lost,
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(reason) => write!(f, "by this side: {reason}"),
            Self::Remote(reason) => write!(f, "by the other side: {reason}"),
            Self::Lost => f.write_str("connection lost"),
        }
    }
}

type Received = (Result<Event, broadcast::error::RecvError>, broadcast::Receiver<Event>);

/// The events of a node, from the time on at which this was asked for, over stops and starts. It ends when every handle of the
/// node is dropped and it does not run.
pub struct Events {
    next: ReusableBoxFuture<'static, Received>,
    has_ended: bool,
}

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<Event>) -> Self {
        Self { next: ReusableBoxFuture::new(receive(receiver)), has_ended: false }
    }
}

async fn receive(mut receiver: broadcast::Receiver<Event>) -> Received {
    (receiver.recv().await, receiver)
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let (result, receiver) = core::task::ready!(self.next.poll(cx));
        self.next.set(receive(receiver));
        Poll::Ready(match result {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Event::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => {
                self.has_ended = true;
                None
            }
        })
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
