//! One connection: the streams that its peer opens.

use std::{
    array,
    convert::Infallible,
    fmt,
    iter::Flatten,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use libp2p_core::upgrade::{DeniedUpgrade, InboundUpgrade, UpgradeInfo};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionHandler, ConnectionHandlerEvent, Stream, StreamProtocol, SubstreamProtocol,
    handler::{ConnectionEvent, FullyNegotiatedInbound},
};
use rendezvous_core::server::{Origin, Reads};
use rendezvous_record::Flavours;
use rendezvous_wire::{Dialect, Dialects};

use super::{
    agent::Agent,
    budget::Member,
    config::NEGOTIATION_TIMEOUT,
    shared::{Counters, Shared},
    stream::Session,
    turns::Turns,
};
use crate::{DUAL_PROTOCOL, PROTOCOL, WAKU_PROTOCOL, activity::Meter};

/// Handler of [`Behaviour`](super::Behaviour): each stream is served in the task of its connection.
pub struct Handler {
    session: Session,
    negotiations: Arc<Negotiations>,
    /// At most [`Config::streams_per_connection_max`](super::Config::streams_per_connection_max).
    streams: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Handler {
    pub(super) fn new(
        peer: PeerId,
        origin: Origin,
        shared: Arc<Shared>,
        meter: Arc<Meter>,
        reads: Option<Option<Reads>>,
    ) -> Self {
        let agent = Arc::new(Agent::default());
        if let Some(reads) = reads {
            agent.set(reads);
        }
        let turns = Arc::new(Turns::new(shared.config.pages_per_connection_max));
        let member = shared.budgets.join(origin);
        let negotiations = Arc::new(Negotiations {
            shared: shared.clone(),
            member: member.clone(),
            count: 0.into(),
            is_closing: false.into(),
        });
        Self {
            negotiations,
            session: Session {
                peer,
                member,
                meter,
                shared,
                agent,
                turns,
                slice: Arc::default(),
                dialect: Dialect::default(),
            },
            streams: FuturesUnordered::new(),
        }
    }
}

/// The streams of a connection whose protocol is being negotiated.
#[derive(Debug)]
pub(super) struct Negotiations {
    shared: Arc<Shared>,
    member: Arc<Member>,
    count: AtomicUsize,
    is_closing: AtomicBool,
}

/// One of them, until it is dropped: the swarm holds the upgrade that it has from [`Handler::listen_protocol`] while it
/// negotiates a stream.
#[derive(Debug)]
struct Negotiation(Arc<Negotiations>);

impl Negotiations {
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn member(&self) -> &Member {
        &self.member
    }

    /// Whether the connection has been told to close.
    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    pub(super) fn set_closing(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    fn begin(self: &Arc<Self>) -> Negotiation {
        self.count.fetch_add(1, Ordering::Relaxed);
        if self.member.begin_negotiation() {
            self.shared.wake();
        }
        Negotiation(self.clone())
    }
}

impl Drop for Negotiation {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        self.0.member.end_negotiation();
    }
}

impl Handler {
    pub(super) fn negotiations(&self) -> Arc<Negotiations> {
        self.negotiations.clone()
    }
}

/// What the behaviour tells a connection.
#[derive(Clone, Copy, Debug)]
pub struct Notice(pub(super) Told);

#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    /// What the agent version tells of the flavours that the peer reads.
    Agent(Option<Reads>),
    /// Other dialects are served. To be told is enough: the protocols are listed anew whenever the connection is polled.
    Dialects,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Notice;
    type ToBehaviour = Infallible;
    type InboundProtocol = Upgrade;
    type OutboundProtocol = DeniedUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Upgrade> {
        let shared = &self.session.shared;
        let is_dual = shared.config.server.accepts == Flavours::BOTH;
        let upgrade = Upgrade { dialects: shared.dialects(), is_dual, _negotiation: self.negotiations.begin() };
        SubstreamProtocol::new(upgrade, ()).with_timeout(NEGOTIATION_TIMEOUT)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, (), Infallible>> {
        self.session.slice.begin();
        while let Poll::Ready(Some(())) = self.streams.poll_next_unpin(cx) {}
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, Notice(told): Notice) {
        match told {
            Told::Agent(reads) => self.session.agent.set(reads),
            Told::Dialects => {}
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Upgrade, DeniedUpgrade>) {
        if let ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) = event {
            let (stream, dialect) = protocol;
            let shared = &self.session.shared;
            let origin = self.session.member.origin();
            if self.streams.len() >= shared.config.streams_per_connection_max {
                Counters::count(&shared.counters.streams_refused);
                let what = "streams are reset because their connection has its most";
                shared.note_limit("streams.per_connection_max", origin, what);
                tracing::debug!(peer = %self.session.peer, "stream refused: the connection has its most");
                return;
            }
            let slot = match self.session.member.open() {
                Ok(slot) => slot,
                Err(exceeded) => {
                    Counters::count(&shared.counters.streams_refused_in_all);
                    shared.note_exceeded("streams.max", origin, exceeded, "streams are reset");
                    tracing::debug!(peer = %self.session.peer, "stream refused: all connections have their most");
                    return;
                }
            };
            let session = Session { dialect, ..self.session.clone() };
            let served = session.serve(stream, slot);
            self.streams.push(served.boxed());
        }
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("peer", &self.session.peer).field("streams", &self.streams.len()).finish()
    }
}

/// Accepts streams of the dialects that are served. Beside `/rendezvous/1.0.0` a point that takes records of both flavours
/// lists `/rendezvous/dual/1.0.0`, the sign that it keeps one of each; a stream under that name is served alike.
#[derive(Debug)]
pub struct Upgrade {
    dialects: Dialects,
    is_dual: bool,
    _negotiation: Negotiation,
}

impl UpgradeInfo for Upgrade {
    type Info = StreamProtocol;
    type InfoIter = Flatten<array::IntoIter<Option<StreamProtocol>, 3>>;

    fn protocol_info(&self) -> Self::InfoIter {
        let is_served = self.dialects.contains(Dialect::Rendezvous);
        [
            is_served.then_some(PROTOCOL),
            (is_served && self.is_dual).then_some(DUAL_PROTOCOL),
            self.dialects.contains(Dialect::Waku).then_some(WAKU_PROTOCOL),
        ]
        .into_iter()
        .flatten()
    }
}

impl InboundUpgrade<Stream> for Upgrade {
    type Output = (Stream, Dialect);
    type Error = Infallible;
    type Future = futures::future::Ready<Result<(Stream, Dialect), Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        let dialect = if protocol == WAKU_PROTOCOL { Dialect::Waku } else { Dialect::Rendezvous };
        futures::future::ready(Ok((stream, dialect)))
    }
}
