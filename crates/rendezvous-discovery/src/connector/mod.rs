//! Connections to peers that are found: [`Behaviour`].
//!
//! Who is found was named by strangers, and so were the addresses. Dialling all of them at once would let whoever lists
//! something decide whom this machine talks to, and how much. So few are dialled at a time, no peer twice within its
//! back-off, and no more than are wanted:
//!
//! ```
//! use rendezvous_discovery::{DiscoveryManager, Namespace, connector};
//!
//! let (manager, driver) = DiscoveryManager::new(Default::default());
//! let found = manager.find(Namespace::new("chat")?)?;
//! let behaviour = connector::Behaviour::new(found, connector::Config::default());
//! // … goes into a swarm beside the behaviours whose peers it finds, such as gossipsub.
//! # drop((driver, behaviour));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What the query is told is told to the swarm as well, as this behaviour's events. Connections are never closed by it.

mod claimed;
mod plan;

use core::{
    convert::Infallible,
    fmt,
    task::{Context, Poll, Waker},
    time::Duration,
};
use std::{collections::HashMap, time::Instant};

use futures::{FutureExt, StreamExt, stream::SelectAll};
use futures_timer::Delay;
use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure},
    dial_opts::{DialOpts, PeerCondition},
    dummy,
};

use self::{
    claimed::Claimed,
    plan::{Claim, Plan},
};
use crate::{event::FindEvent, find::Find};

/// Settings of a [`Behaviour`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Most found peers that are to be connected; others wait. Default: 64.
    pub connected_max: usize,
    /// Most dials at once. Default: 8.
    pub dials_max: usize,
    /// Most found peers that are kept. Beyond it what is new is not taken, and counted in [`Stats::refused`]. Default: 4096.
    pub known_max: usize,
    /// Shortest time until a peer is dialled again, after a failure or the end of a connection. Default: 10 s.
    pub backoff_min: Duration,
    /// Longest time. Default: 1 h.
    pub backoff_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connected_max: 64,
            dials_max: 8,
            known_max: 4_096,
            backoff_min: Duration::from_secs(10),
            backoff_max: Duration::from_secs(3_600),
        }
    }
}

/// Sizes and counts of a [`Behaviour`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Found peers that are kept.
    pub known: usize,
    /// Those of them that are connected.
    pub connected: usize,
    /// Those of them that are being dialled.
    pub dialling: usize,
    /// Found peers that were not taken: see [`Config::known_max`].
    pub refused: u64,
}

/// Connects to the peers that queries find.
pub struct Behaviour {
    found: SelectAll<Claimed>,
    last_find: u64,
    plan: Plan,
    /// Dials of this behaviour.
    dials: HashMap<ConnectionId, PeerId>,
    timer: Option<(Instant, Delay)>,
    waker: Option<Waker>,
}

impl Behaviour {
    /// Connects to whom this query finds.
    #[must_use]
    pub fn new(found: Find, config: Config) -> Self {
        let mut this = Self::without_query(config);
        this.add(found);
        this
    }

    /// Connects to nobody, until a query is [added](Self::add).
    #[must_use]
    pub fn without_query(config: Config) -> Self {
        Self {
            found: SelectAll::new(),
            last_find: 0,
            plan: Plan::new(config),
            dials: HashMap::new(),
            timer: None,
            waker: None,
        }
    }

    /// Connects to whom this query finds as well, for as long as the query lasts: when its manager ends, they are found no longer.
    pub fn add(&mut self, found: Find) {
        self.last_find += 1;
        self.found.push(Claimed::new(self.last_find, found));
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    /// Connects to this peer, whoever has found it, until it is [released](Self::release). There is room for it whatever has been
    /// found, and the addresses come before those of queries.
    pub fn keep(&mut self, peer: PeerId, addresses: &[Multiaddr]) {
        self.plan.found(Instant::now(), Claim::Kept, peer, addresses);
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    /// Connects to a peer no longer that was to be [kept](Self::keep), unless a query finds it. A connection that stands is left
    /// alone.
    pub fn release(&mut self, peer: &PeerId) {
        self.plan.expired(Claim::Kept, peer);
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    /// Sizes and counts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.plan.stats()
    }

    fn is_due(&mut self, at: Instant, cx: &mut Context<'_>) -> bool {
        if self.timer.as_ref().is_none_or(|(set, _)| *set != at) {
            self.timer = Some((at, Delay::new(at.saturating_duration_since(Instant::now()))));
        }
        let is_due = self.timer.as_mut().is_some_and(|(_, delay)| delay.poll_unpin(cx).is_ready());
        if is_due {
            self.timer = None;
        }
        is_due
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = FindEvent;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let now = Instant::now();
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, connection_id, .. }) => {
                self.dials.remove(&connection_id);
                self.plan.handle_connected(now, peer_id);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, remaining_established: 0, .. }) => {
                self.plan.handle_closed(now, peer_id);
            }
            FromSwarm::DialFailure(DialFailure { connection_id, .. }) => {
                if let Some(peer) = self.dials.remove(&connection_id) {
                    self.plan.handle_failed(now, peer);
                }
            }
            _ => return,
        }
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        let never: Infallible = event;
        match never {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<FindEvent, THandlerInEvent<Self>>> {
        while let Poll::Ready(Some((claim, event))) = self.found.poll_next_unpin(cx) {
            let Some(event) = event else {
                self.plan.ended(claim);
                continue;
            };
            match &event {
                FindEvent::Found(peer) | FindEvent::Updated(peer) => {
                    self.plan.found(Instant::now(), claim, peer.id(), peer.addresses());
                }
                FindEvent::Expired(peer) => self.plan.expired(claim, &peer.id()),
            }
            return Poll::Ready(ToSwarm::GenerateEvent(event));
        }
        loop {
            if let Some((peer, addresses)) = self.plan.pop_dial(Instant::now()) {
                let opts = DialOpts::peer_id(peer)
                    .addresses(addresses)
                    .condition(PeerCondition::DisconnectedAndNotDialing)
                    // Two that find each other at once, and dial from the ports they listen on, make one TCP connection in
                    // which neither listens.
                    .allocate_new_port()
                    .build();
                self.dials.insert(opts.connection_id(), peer);
                return Poll::Ready(ToSwarm::Dial { opts });
            }
            match self.plan.next_due() {
                Some(at) if self.is_due(at, cx) => {}
                _ => break,
            }
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behaviour").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
