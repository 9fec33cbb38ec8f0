//! The streams of one connection.

use std::{
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use libp2p::{
    PeerId, StreamProtocol,
    core::upgrade::ReadyUpgrade,
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};
use tokio::{sync::Semaphore, time::Instant};

use super::{
    error::OpenError,
    link::{Link, Reply, Request},
    shared::Shared,
    stream::Stream,
    upgrade::Upgrade,
};

/// Handler of [`Behaviour`](super::Behaviour): negotiates the streams that are asked for, and hands over those that come.
///
/// Requests and protocols reach it by what it shares with the controls, so that its behaviour has nothing to tell it.
pub struct Handler {
    peer: PeerId,
    link: Arc<Link>,
    shared: Arc<Shared>,
    /// Places of inbound streams on this connection.
    inbound: Arc<Semaphore>,
    /// Negotiations under way, those that nobody waits for among them. At most
    /// [`Config::opens_per_peer_max`](super::Config::opens_per_peer_max).
    negotiating: usize,
    /// Failures that have come since this was polled.
    failed: Vec<(Reply, OpenError)>,
    /// Failures that are reported when the connection outlives them: the stream may have failed with its connection, and
    /// its end alone reads as a refusal of the protocol.
    suspects: Vec<(Reply, OpenError)>,
}

/// A stream that is being negotiated, and who waits for it.
#[derive(Debug)]
pub struct Opening {
    protocol: StreamProtocol,
    reply: Reply,
}

impl Handler {
    pub(super) fn new(peer: PeerId, link: Arc<Link>, shared: Arc<Shared>) -> Self {
        Self {
            peer,
            link,
            inbound: shared.inbound_of_connection(),
            shared,
            negotiating: 0,
            failed: Vec::new(),
            suspects: Vec::new(),
        }
    }

    fn on_inbound(&self, stream: libp2p::Stream, protocol: StreamProtocol) {
        let Some(places) = self.shared.inbound_places(&self.inbound) else {
            tracing::debug!(peer = %self.peer, %protocol, "stream refused: too many are alive");
            return;
        };
        self.shared.give(Stream::new(stream, self.peer, &self.link, protocol, Some(places)));
    }

    fn on_outbound(&mut self, stream: libp2p::Stream, Opening { protocol, reply }: Opening) {
        self.negotiating = self.negotiating.saturating_sub(1);
        let stream = Stream::new(stream, self.peer, &self.link, protocol, None);
        // A stream that nobody waits for comes back, and is dropped.
        drop(reply.send(Ok(stream)));
    }

    fn on_failed(&mut self, opening: Opening, error: StreamUpgradeError<Infallible>) {
        self.negotiating = self.negotiating.saturating_sub(1);
        let error = match error {
            StreamUpgradeError::NegotiationFailed => OpenError::Unsupported { protocol: opening.protocol },
            StreamUpgradeError::Timeout => OpenError::TimedOut { after: self.shared.config.timeout() },
            StreamUpgradeError::Io(error) => OpenError::Io(error),
            StreamUpgradeError::Apply(never) => match never {},
        };
        self.failed.push((opening.reply, error));
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = Upgrade;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Opening;

    fn listen_protocol(&self) -> SubstreamProtocol<Upgrade> {
        let upgrade = Upgrade::new(self.shared.protocols());
        SubstreamProtocol::new(upgrade, ()).with_timeout(self.shared.config.timeout())
    }

    fn connection_keep_alive(&self) -> bool {
        self.link.len() > 0 || !self.failed.is_empty() || !self.suspects.is_empty()
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Upgrade, ReadyUpgrade<StreamProtocol>, (), Opening>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol), ..
            }) => {
                self.on_inbound(stream, protocol);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, info }) => {
                self.on_outbound(stream, info);
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => self.on_failed(info, error),
            _ => {}
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, Opening, Infallible>> {
        for (reply, error) in self.suspects.drain(..) {
            // Whoever waits no more need not know.
            drop(reply.send(Err(error)));
        }
        // Before the queue is looked at, or a request that comes in between is not seen.
        self.link.register(cx.waker());
        if self.negotiating < self.shared.config.opens_per_peer_max
            && let Some(Request { protocol, deadline, reply }) = self.link.pop()
        {
            self.negotiating += 1;
            let upgrade = ReadyUpgrade::new(protocol.clone());
            let protocol = SubstreamProtocol::new(upgrade, Opening { protocol, reply })
                .with_timeout(deadline.saturating_duration_since(Instant::now()));
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        if !self.failed.is_empty() {
            self.suspects.append(&mut self.failed);
            // The connection looks after itself behind this call, and closes if it is dead.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        // Ahead of the swarm's word of the close, and in its place where there is none: the connection was denied by another
        // behaviour, or its task was aborted.
        self.shared.closed(self.peer, self.link.connection());
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("peer", &self.peer)
            .field("connection", &self.link.connection())
            .field("queued", &self.link.len())
            .field("negotiating", &self.negotiating)
            .finish_non_exhaustive()
    }
}
