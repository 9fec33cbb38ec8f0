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

use crate::DUAL_PROTOCOL;

use super::{
    config::Config,
    exchange::{self, Ended, Framed, Mode, Outcome, Request},
    readers::{Lent, Readers},
};

/// Most streams kept for further requests. Requests that find none take a new one.
const IDLE_STREAMS_MAX: usize = 4;

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
    reuse: Reuse,
    idle: Vec<Framed>,
    reports: VecDeque<Report>,
    /// Failures that are reported when the connection outlives them: the stream may have failed with its connection.
    suspects: Vec<RequestId>,
}

struct Queued {
    request: Request,
    /// Whether it has failed on a reused stream, and gets one of its own.
    is_retry: bool,
}

/// Whether the peer reads several requests on one stream.
enum Reuse {
    /// Not tried yet.
    Unknown,
    /// The first exchange on a stream that is left open is under way.
    Trying,
    /// It has answered; whether it keeps the stream open shows within a second.
    Watching(BoxFuture<'static, Option<Framed>>),
    Yes,
    No,
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
}

impl Handler {
    /// A handler of a connection to this peer. One that `is_awaited` keeps the connection alive until the first command.
    pub(super) fn new(peer: PeerId, config: Arc<Config>, readers: &Readers, is_awaited: bool) -> Self {
        Self {
            reuse: if config.reuse_streams { Reuse::Unknown } else { Reuse::No },
            config,
            reader: readers.lend(peer),
            is_awaited,
            queue: VecDeque::new(),
            opening: 0,
            exchanges: FuturesUnordered::new(),
            idle: Vec::new(),
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

    fn streams_max(&self) -> usize {
        self.config.streams_max.max(1)
    }

    /// Streams that are open or being opened.
    fn streams(&self) -> usize {
        self.opening + self.exchanges.len() + self.idle.len() + usize::from(matches!(self.reuse, Reuse::Watching(_)))
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
            match if can_reuse { self.idle.pop() } else { None } {
                Some(stream) => self.exchanges.push(exchange::run(stream, request, Mode::Reused).boxed()),
                None => {
                    // A kept stream gives way where the peer may not take one more.
                    if self.streams() >= self.streams_max() {
                        self.idle.pop();
                    }
                    return Some(request);
                }
            }
        }
        None
    }

    fn on_stream(&mut self, stream: Stream, request: Request) {
        let mode = match self.reuse {
            _ if request.kind == RequestKind::Unregister => Mode::OneShot,
            Reuse::Unknown => {
                self.reuse = Reuse::Trying;
                Mode::Kept
            }
            Reuse::Yes => Mode::Kept,
            Reuse::Trying | Reuse::Watching(_) | Reuse::No => Mode::OneShot,
        };
        self.exchanges.push(exchange::run(exchange::framed(stream), request, mode).boxed());
    }

    fn on_ended(&mut self, ended: Ended) {
        let Ended { request, mode, outcome, stream } = ended;
        match (stream, &self.reuse) {
            (Some(stream), Reuse::Trying) if mode == Mode::Kept => {
                self.reuse = Reuse::Watching(exchange::watch(unheld(stream)).boxed());
            }
            (Some(stream), Reuse::Yes) if self.idle.len() < IDLE_STREAMS_MAX => self.idle.push(unheld(stream)),
            // Whatever the reason, the next try is one that everybody reads.
            (None, Reuse::Trying) if mode == Mode::Kept => self.reuse = Reuse::No,
            _ => {}
        }
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
        let answer = self.reader.get().read(request.kind, request.namespace.as_ref(), payload);
        self.report(request.id, answer.map_err(Failure::Malformed));
    }

    /// Drops kept streams that the peer has closed, or on which it speaks unasked.
    fn poll_idle(&mut self, cx: &mut Context<'_>) {
        self.idle.retain_mut(|stream| stream.poll_next_unpin(cx).is_pending() && stream.read_buffer().is_empty());
    }

    fn poll_watch(&mut self, cx: &mut Context<'_>) {
        let Reuse::Watching(watch) = &mut self.reuse else { return };
        match watch.poll_unpin(cx) {
            Poll::Ready(Some(stream)) => {
                self.reuse = Reuse::Yes;
                self.idle.push(stream);
            }
            Poll::Ready(None) => self.reuse = Reuse::No,
            Poll::Pending => {}
        }
    }
}

/// A stream that does not keep its connection alive by being there; the handler does while requests are on their way.
fn unheld(mut stream: Framed) -> Framed {
    stream.ignore_for_keep_alive();
    stream
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
        self.poll_watch(cx);
        self.poll_idle(cx);
        loop {
            if let Some(report) = self.reports.pop_front() {
                return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(report));
            }
            if let Some(request) = self.start_next() {
                self.opening += 1;
                let timeout = self.config.negotiation_timeout.min(request.time_left());
                let protocol = SubstreamProtocol::new(ReadyUpgrade::new(self.config.protocol.clone()), request);
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
            .field("idle", &self.idle.len())
            .finish_non_exhaustive()
    }
}
