//! The client's part in one connection.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use libp2p_core::upgrade::{DeniedUpgrade, ReadyUpgrade};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionHandler, ConnectionHandlerEvent, Stream, StreamProtocol, StreamUpgradeError, SubstreamProtocol,
    handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedOutbound, ProtocolsChange},
};
use rendezvous_core::client::{Answer, Failure, RequestId, RequestKind};
use rendezvous_wire::Dialect;

use crate::{DUAL_PROTOCOL, WAKU_PROTOCOL};

use super::{
    config::Config,
    exchange::{self, Ended, Mode, Outcome, Request},
    kept::Kept,
    readers::{Lent, Readers},
};

/// Handles the client's requests on one connection: opens streams, sends requests, and reads and verifies their answers.
pub struct Handler {
    config: Arc<Config>,
    reader: Lent,
    /// Whether the connection is there for requests that are yet to come.
    is_awaited: bool,
    /// Requests that wait for their turn. Bounded by the state machine's bound on requests in flight at one point.
    queue: VecDeque<Queued>,
    /// Streams that are being opened.
    opening: usize,
    exchanges: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// Streams of each dialect, by [`Dialect::index`].
    kept: [Kept; 2],
    reports: VecDeque<Report>,
    /// Failures that are reported when the connection outlives them: the stream may have failed with its connection.
    suspects: Vec<RequestId>,
}

struct Queued {
    request: Request,
    /// Whether it has failed on a reused stream, and gets one of its own.
    is_retry: bool,
}

/// What a behaviour tells its handler: a request, or, with none, that the connection is awaited no longer.
#[derive(Debug)]
pub struct Command(pub(super) Option<Request>);

/// What a handler tells its behaviour.
#[derive(Debug)]
pub struct Report(pub(super) Told);

#[derive(Debug)]
pub(super) enum Told {
    Ended {
        id: RequestId,
        result: Result<Answer, Failure>,
    },
    /// Whether the peer keeps a record of each flavour.
    Dual(bool),
    /// Whether the peer reads several requests on one stream; `None`: what was known is in doubt.
    KeepsStreams(Option<bool>),
}

impl Handler {
    /// A handler of a connection to this peer; `keeps_streams` is what earlier connections have shown of it. One that
    /// `is_awaited` keeps the connection alive until the first command.
    pub(super) fn new(
        peer: PeerId,
        config: Arc<Config>,
        readers: &Readers,
        is_awaited: bool,
        keeps_streams: Option<bool>,
    ) -> Self {
        Self {
            kept: Dialect::ALL.map(|dialect| {
                // What is remembered was seen in the point's own protocol; another dialect has its own code there.
                let known = keeps_streams.filter(|_| dialect == Dialect::Rendezvous);
                Kept::new(config.reuse_streams, known)
            }),
            config,
            reader: readers.lend(peer),
            is_awaited,
            queue: VecDeque::new(),
            opening: 0,
            exchanges: FuturesUnordered::new(),
            reports: VecDeque::new(),
            suspects: Vec::new(),
        }
    }

    fn report(&mut self, id: RequestId, result: Result<Answer, Failure>) {
        self.reports.push_back(Report(Told::Ended { id, result }));
    }

    fn is_busy(&self) -> bool {
        !self.queue.is_empty() || self.opening > 0 || !self.exchanges.is_empty()
    }

    fn kept_len(&self) -> usize {
        self.kept.iter().map(Kept::len).sum()
    }

    fn streams_max(&self) -> usize {
        self.config.streams_max.max(1)
    }

    /// Starts the next request that has its turn; `Some` if it needs a stream.
    fn start_next(&mut self) -> Option<Request> {
        while self.opening + self.exchanges.len() < self.streams_max() {
            let Queued { request, is_retry } = self.queue.pop_front()?;
            if request.time_left().is_zero() {
                self.report(request.id, Err(Failure::TimedOut));
                continue;
            }
            let can_reuse = !is_retry && request.kind != RequestKind::Unregister;
            let dialect = request.dialect.index();
            match if can_reuse { self.kept[dialect].take() } else { None } {
                Some(stream) => self.exchanges.push(exchange::run(stream, request, Mode::Reused).boxed()),
                None => {
                    // A kept stream gives way where the peer may not take one more.
                    if self.opening + self.exchanges.len() + self.kept_len() >= self.streams_max() {
                        drop(self.kept.iter_mut().find_map(Kept::take));
                    }
                    return Some(request);
                }
            }
        }
        None
    }

    fn on_stream(&mut self, stream: Stream, request: Request) {
        let mode = if request.kind == RequestKind::Unregister {
            Mode::OneShot
        } else {
            self.kept[request.dialect.index()].mode_of_new()
        };
        self.exchanges.push(exchange::run(exchange::framed(stream), request, mode).boxed());
    }

    fn on_ended(&mut self, ended: Ended) {
        let Ended { request, mode, outcome, stream } = ended;
        self.kept[request.dialect.index()].ended(mode, stream);
        match outcome {
            Outcome::Answered(payload) => self.on_answer(&request, payload),
            Outcome::Sent => self.report(request.id, Ok(Answer::Sent)),
            Outcome::Malformed(error) => self.report(request.id, Err(Failure::Malformed(error.into()))),
            Outcome::TimedOut => self.report(request.id, Err(Failure::TimedOut)),
            Outcome::NotSent => self.report(request.id, Err(Failure::Unreachable)),
            Outcome::Closed if mode == Mode::Reused => self.queue.push_front(Queued { request, is_retry: true }),
            Outcome::Closed => self.suspects.push(request.id),
        }
    }

    fn on_answer(&mut self, request: &Request, payload: Bytes) {
        let answer = self.reader.get().read_in(request.dialect, request.kind, request.namespace.as_ref(), payload);
        self.report(request.id, answer.map_err(Failure::Malformed));
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Command;
    type ToBehaviour = Report;
    type InboundProtocol = DeniedUpgrade;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Request;

    fn listen_protocol(&self) -> SubstreamProtocol<DeniedUpgrade> {
        SubstreamProtocol::new(DeniedUpgrade, ())
    }

    fn connection_keep_alive(&self) -> bool {
        self.is_awaited || self.is_busy()
    }

    fn on_behaviour_event(&mut self, Command(request): Command) {
        self.is_awaited = false;
        self.queue.extend(request.map(|request| Queued { request, is_retry: false }));
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, DeniedUpgrade, ReadyUpgrade<StreamProtocol>, (), Request>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, info: request }) => {
                self.opening = self.opening.saturating_sub(1);
                self.on_stream(stream, request);
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: request, error }) => {
                self.opening = self.opening.saturating_sub(1);
                self.report(request.id, Err(not_opened(&error)));
            }
            ConnectionEvent::RemoteProtocolsChange(change) => {
                let is_dual = |protocol: &StreamProtocol| *protocol == DUAL_PROTOCOL;
                let (concerns_dual, dual) = match change {
                    ProtocolsChange::Added(mut added) => (added.any(is_dual), true),
                    ProtocolsChange::Removed(mut removed) => (removed.any(is_dual), false),
                };
                if concerns_dual {
                    self.reports.push_back(Report(Told::Dual(dual)));
                }
            }
            _ => {}
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, Request, Report>> {
        for id in std::mem::take(&mut self.suspects) {
            self.report(id, Err(Failure::ClosedWithoutAnswer));
        }
        loop {
            self.kept.iter_mut().for_each(|kept| kept.poll(cx));
            if let Some(learnt) = self.kept[Dialect::Rendezvous.index()].take_learnt() {
                self.reports.push_back(Report(Told::KeepsStreams(learnt)));
            }
            if let Some(report) = self.reports.pop_front() {
                return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(report));
            }
            if let Some(request) = self.start_next() {
                self.opening += 1;
                let timeout = self.config.negotiation_timeout.min(request.time_left());
                let protocol = match request.dialect {
                    Dialect::Rendezvous => self.config.protocol.clone(),
                    Dialect::Waku => WAKU_PROTOCOL,
                };
                let protocol = SubstreamProtocol::new(ReadyUpgrade::new(protocol), request);
                let protocol = protocol.with_timeout(timeout);
                return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
            }
            match self.exchanges.poll_next_unpin(cx) {
                Poll::Ready(Some(ended)) => self.on_ended(ended),
                Poll::Ready(None) | Poll::Pending if self.reports.is_empty() => break,
                Poll::Ready(None) | Poll::Pending => {}
            }
        }
        if !self.suspects.is_empty() {
            // The connection looks after itself behind this call, and closes if it is dead.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Report>> {
        // Answers that came together with the end count; what else there is fails with the connection.
        loop {
            if let Some(report) = self.reports.pop_front() {
                return Poll::Ready(Some(report));
            }
            match self.exchanges.poll_next_unpin(cx) {
                Poll::Ready(Some(Ended { request, outcome: Outcome::Answered(payload), .. })) => {
                    self.on_answer(&request, payload);
                }
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) | Poll::Pending => return Poll::Ready(None),
            }
        }
    }
}

/// Why no stream could be opened.
fn not_opened(error: &StreamUpgradeError<Infallible>) -> Failure {
    match error {
        StreamUpgradeError::NegotiationFailed => Failure::Unsupported,
        StreamUpgradeError::Timeout => Failure::TimedOut,
        StreamUpgradeError::Io(_) => Failure::Unreachable,
        StreamUpgradeError::Apply(never) => match *never {},
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("queued", &self.queue.len())
            .field("opening", &self.opening)
            .field("exchanges", &self.exchanges.len())
            .field("kept", &self.kept_len())
            .finish_non_exhaustive()
    }
}
