//! The acceptor's end of the queue.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use libp2p::{PeerId, StreamProtocol, swarm::ConnectionId};
use tokio::sync::mpsc;

use super::{acceptors::Waiting, shared::Shared, stream::Stream};

/// The streams that peers open under the protocols of one acceptor, from [`Control::accept`](super::Control::accept).
///
/// Each comes with its peer and its connection, and [names its protocol](Stream::protocol). When
/// [`Config::queue_max`](super::Config::queue_max) of them wait here, the new ones are reset and counted as
/// [`Stats::queue_refused`](super::Stats::queue_refused): those that wait are older, and closer to their time-outs. Of one peer
/// no more than [`Config::queue_per_peer_max`](super::Config::queue_per_peer_max) wait at all acceptors, so that none fills
/// them.
///
/// When this is dropped the protocols are offered no more, and the streams that wait are reset. It ends when the
/// [`Behaviour`](super::Behaviour) is gone.
#[must_use = "the protocols are offered until this is dropped"]
pub struct Incoming {
    shared: Arc<Shared>,
    protocols: Vec<StreamProtocol>,
    queue: mpsc::Receiver<Waiting>,
}

impl Incoming {
    pub(super) fn new(shared: Arc<Shared>, protocols: Vec<StreamProtocol>, queue: mpsc::Receiver<Waiting>) -> Self {
        Self { shared, protocols, queue }
    }

    /// The protocols of this acceptor, as they were given.
    #[must_use]
    pub fn protocols(&self) -> &[StreamProtocol] {
        &self.protocols
    }
}

impl futures::Stream for Incoming {
    type Item = (PeerId, ConnectionId, Stream);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.queue.poll_recv(cx).map(|waiting| waiting.map(|(stream, _)| (stream.peer(), stream.connection(), stream)))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.shared.accept_no_more(&self.protocols);
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("protocols", &self.protocols)
            .field("waiting", &self.queue.len())
            .finish_non_exhaustive()
    }
}
