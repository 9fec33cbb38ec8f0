//! Opens and accepts streams from outside the swarm.

use std::{fmt, sync::Arc};

use futures::channel::oneshot;
use libp2p::{PeerId, StreamProtocol};
use tokio::time::{self, Instant};

use super::{
    config::Stats,
    error::{AlreadyAccepted, OpenError},
    incoming::Incoming,
    link::Request,
    shared::{Counters, Shared},
    stream::Stream,
};

/// Opens and accepts streams, from any task; made by [`Behaviour::control`](super::Behaviour::control).
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

impl Control {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Opens a stream on a connection with the peer that stands, the newest first. Never dials.
    ///
    /// Ends within [`Config::open_timeout`](super::Config::open_timeout). When the future is dropped its place is free
    /// again, and the stream is dropped if it comes all the same.
    ///
    /// # Errors
    /// See [`OpenError`].
    ///
    /// # Panics
    /// Outside a Tokio runtime that has its timers on.
    pub async fn open(&self, peer: PeerId, protocol: StreamProtocol) -> Result<Stream, OpenError> {
        let _places = self.shared.open_places(peer)?;
        let after = self.shared.config.timeout();
        let deadline = Instant::now() + after;
        let result = match time::timeout_at(deadline, self.negotiate(peer, protocol, deadline)).await {
            Ok(result) => result,
            Err(_) => Err(OpenError::TimedOut { after }),
        };
        match &result {
            Ok(_) => Counters::count(&self.shared.counters.opened),
            Err(OpenError::TimedOut { .. }) => Counters::count(&self.shared.counters.opens_timed_out),
            Err(_) => {}
        }
        result
    }

    /// Offers a protocol, and gives the streams that peers open under it. It is offered until the [`Incoming`] is
    /// dropped, on connections that stand as well as on those that come.
    ///
    /// # Errors
    /// [`AlreadyAccepted`] if the protocol has an acceptor.
    pub fn accept(&self, protocol: StreamProtocol) -> Result<Incoming, AlreadyAccepted> {
        self.accept_all([protocol])
    }

    /// Offers several protocols with one acceptor, such as the versions of one; [`Stream::protocol`] tells which was
    /// negotiated. Which one it is where the peer supports several is the peer's choice. A protocol given twice counts
    /// once; with no protocol at all the [`Incoming`] ends at once.
    ///
    /// # Errors
    /// [`AlreadyAccepted`] if one of them has an acceptor; none is offered then.
    pub fn accept_all(&self, protocols: impl IntoIterator<Item = StreamProtocol>) -> Result<Incoming, AlreadyAccepted> {
        self.shared.accept(protocols.into_iter().collect())
    }

    /// What there is at this time, and how often each limit was met. Visits every connection.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Asks one connection after another, as each closes before it has answered.
    async fn negotiate(&self, peer: PeerId, protocol: StreamProtocol, deadline: Instant) -> Result<Stream, OpenError> {
        let mut is_lost = false;
        loop {
            let (reply, answer) = oneshot::channel();
            let request = Request { protocol: protocol.clone(), deadline, reply };
            let Some(_ticket) = self.shared.push(&peer, request) else {
                return Err(if is_lost { OpenError::ConnectionLost } else { OpenError::NotConnected { peer } });
            };
            match answer.await {
                Ok(result) => return result,
                Err(oneshot::Canceled) => is_lost = true,
            }
        }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
