//! Inbound handshakes: how many at once, which go when there are too many, and which begin next.
//!
//! A behaviour of libp2p-swarm can only deny a connection before its handshake; the one that should go for a newcomer is in
//! the hands of the transport. So this is a transport around another.

mod plan;

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, DialOpts, ListenerId, Transport, TransportError, TransportEvent},
    },
};
use rendezvous_swarm::origin_of;
use tokio::time::{Instant, Sleep};

use self::plan::{HandshakeId, Plan, Turn};
use crate::guard::{Counters, Guard, count};

/// Handshakes of one origin that wait for their turn. One more is closed at once, which is the cheapest end there is.
const WAITING_PER_ORIGIN_MAX: usize = 128;

/// Newcomers that are refused before the swarm has its turn for other work.
const REFUSED_PER_POLL_MAX: usize = 64;

type Connected = (PeerId, StreamMuxerBox);

/// What a transport's handshakes run over. Each has places and turns of its own, since QUIC's can be forged by a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Tcp,
    Quic,
}

/// A transport whose inbound handshakes are bounded in number and in rate.
pub(crate) struct Gate {
    inner: Boxed<Connected>,
    guard: Guard,
    carrier: Carrier,
    shared: Arc<Shared>,
    delay: Option<Pin<Box<Sleep>>>,
}

struct Shared {
    guard: Guard,
    carrier: Carrier,
    state: Mutex<State>,
}

struct State {
    plan: Plan,
    /// Of each handshake that is in flight, and of those that must go until they notice.
    slots: HashMap<HandshakeId, Slot>,
}

#[derive(Debug)]
struct Slot {
    phase: Phase,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Begun,
    Evicted,
}

/// A handshake was given up because all places were taken and its network had the most of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("handshake given up: its network had the most in flight, and all places were taken")]
pub(crate) struct Evicted;

impl Gate {
    pub(crate) fn new(inner: Boxed<Connected>, guard: Guard, carrier: Carrier) -> Self {
        let config = guard.config();
        let plan = Plan::new(Instant::now(), config.handshakes_max, config.handshakes_per_second_max);
        let state = Mutex::new(State { plan, slots: HashMap::new() });
        let shared = Arc::new(Shared { guard: guard.clone(), carrier, state });
        Self { inner, guard, carrier, shared, delay: None }
    }

    /// Lets handshakes begin whose turn has come. Returns when the next may, if one waits.
    fn take_turns(&self, now: Instant) -> Option<Instant> {
        let mut state = self.shared.lock();
        loop {
            match state.plan.next_turn(now) {
                Turn::Begin(id) => {
                    if let Some(slot) = state.slots.get_mut(&id) {
                        slot.phase = Phase::Begun;
                        slot.waker.take().into_iter().for_each(Waker::wake);
                    }
                }
                Turn::Wait(wait) => return Some(now + wait),
                Turn::Idle => return None,
            }
        }
    }

    /// Gives a newcomer its place, if it gets one.
    fn arrive<F>(&self, upgrade: F, remote: &Multiaddr) -> Option<Handshake<F>> {
        let origin = origin_of(&self.guard.config().exempt, remote);
        let mut state = self.shared.lock();
        let (evicted, id) = if state.plan.waiting_of(&origin) >= WAITING_PER_ORIGIN_MAX {
            (true, None)
        } else {
            let (id, evicted) = state.plan.arrive(origin);
            state.slots.insert(id, Slot { phase: Phase::Waiting, waker: None });
            if let Some(slot) = evicted.and_then(|evicted| state.slots.get_mut(&evicted)) {
                slot.phase = Phase::Evicted;
                slot.waker.take().into_iter().for_each(Waker::wake);
            }
            (evicted.is_some(), Some(id))
        };
        self.shared.held().store(state.plan.len(), Ordering::Relaxed);
        drop(state);
        if evicted {
            count(&self.guard.counters().handshakes_evicted);
            let max = self.guard.config().handshakes_max;
            self.guard.notice(
                "transport.handshakes_max",
                origin,
                format_args!("gave up a handshake: {max} in flight over {:?} are the most", self.carrier),
            );
        }
        id.map(|id| Handshake { inner: upgrade, id, shared: self.shared.clone(), has_waited: false })
    }

    fn poll_inner(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Handshake<<Boxed<Connected> as Transport>::ListenerUpgrade>, io::Error>> {
        for _ in 0..REFUSED_PER_POLL_MAX {
            match Pin::new(&mut self.inner).poll(cx) {
                Poll::Ready(TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr }) => {
                    let Some(upgrade) = self.arrive(upgrade, &send_back_addr) else { continue };
                    return Poll::Ready(TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr });
                }
                Poll::Ready(TransportEvent::NewAddress { listener_id, listen_addr }) => {
                    return Poll::Ready(TransportEvent::NewAddress { listener_id, listen_addr });
                }
                Poll::Ready(TransportEvent::AddressExpired { listener_id, listen_addr }) => {
                    return Poll::Ready(TransportEvent::AddressExpired { listener_id, listen_addr });
                }
                Poll::Ready(TransportEvent::ListenerClosed { listener_id, reason }) => {
                    return Poll::Ready(TransportEvent::ListenerClosed { listener_id, reason });
                }
                Poll::Ready(TransportEvent::ListenerError { listener_id, error }) => {
                    return Poll::Ready(TransportEvent::ListenerError { listener_id, error });
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each critical section leaves plan and slots consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> &AtomicUsize {
        let counters: &Counters = self.guard.counters();
        match self.carrier {
            Carrier::Tcp => &counters.handshakes_tcp,
            Carrier::Quic => &counters.handshakes_quic,
        }
    }
}

impl Transport for Gate {
    type Output = Connected;
    type Error = io::Error;
    type ListenerUpgrade = Handshake<<Boxed<Connected> as Transport>::ListenerUpgrade>;
    type Dial = <Boxed<Connected> as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        self.inner.dial(address, options)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let this = &mut *self;
        loop {
            let now = Instant::now();
            if let Poll::Ready(event) = this.poll_inner(cx) {
                this.take_turns(now);
                return Poll::Ready(event);
            }
            let Some(at) = this.take_turns(now) else {
                this.delay = None;
                return Poll::Pending;
            };
            let delay = this.delay.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            if delay.deadline() != at {
                delay.as_mut().reset(at);
            }
            if delay.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            this.delay = None;
        }
    }
}

/// A handshake that waits for its turn, and may have to go for others.
pub(crate) struct Handshake<F> {
    inner: F,
    id: HandshakeId,
    shared: Arc<Shared>,
    has_waited: bool,
}

impl<F> Future for Handshake<F>
where
    F: Future<Output = io::Result<Connected>> + Unpin,
{
    type Output = io::Result<Connected>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let phase = {
            let mut state = this.shared.lock();
            // A slot stays until its handshake is dropped.
            state.slots.get_mut(&this.id).map_or(Phase::Evicted, |slot| {
                slot.waker = Some(cx.waker().clone());
                slot.phase
            })
        };
        match phase {
            Phase::Begun => Pin::new(&mut this.inner).poll(cx),
            Phase::Evicted => Poll::Ready(Err(io::Error::other(Evicted))),
            Phase::Waiting => {
                if !std::mem::replace(&mut this.has_waited, true) {
                    count(&this.shared.guard.counters().handshakes_delayed);
                }
                Poll::Pending
            }
        }
    }
}

impl<F> Drop for Handshake<F> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.slots.remove(&self.id);
        state.plan.leave(self.id);
        self.shared.held().store(state.plan.len(), Ordering::Relaxed);
    }
}
