//! Which request goes to which connection, and which waits for one.

use std::collections::{BTreeSet, HashMap, VecDeque};

use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionId, DialError,
    dial_opts::{DialOpts, PeerCondition},
};
use rendezvous_core::{
    Time,
    client::{Outbound, RequestId},
};

/// Connections, dials, and the requests on them.
///
/// Bounded by the state machine: it has a bounded number of requests in flight, and each is here at most once.
#[derive(Debug, Default)]
pub(super) struct Links {
    connections: HashMap<PeerId, Vec<Connection>>,
    /// Points that requests wait for.
    awaited: HashMap<PeerId, Awaited>,
}

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    in_flight: BTreeSet<RequestId>,
}

#[derive(Debug)]
struct Awaited {
    dial: Dial,
    requests: VecDeque<Outbound>,
}

/// The dial that is to bring a connection.
#[derive(Debug, PartialEq, Eq)]
enum Dial {
    Ours(ConnectionId),
    /// The swarm was dialling the peer already.
    Others,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Step {
    Send { connection: ConnectionId, request: Outbound },
    Dial(DialOpts),
}

impl Links {
    /// Finds a way for a request; `None` if it waits for a dial that is under way.
    pub(super) fn send(&mut self, now: Time, request: Outbound) -> Option<Step> {
        let point = request.point;
        if let Some(connection) = self.least_busy(&point) {
            connection.in_flight.insert(request.id);
            return Some(Step::Send { connection: connection.id, request });
        }
        if let Some(awaited) = self.awaited.get_mut(&point) {
            // The state machine has given these up, and may have sent others in their place.
            awaited.requests.retain(|waiting| waiting.deadline > now);
            awaited.requests.push_back(request);
            return None;
        }
        let opts = dial(point);
        let awaited = Awaited { dial: Dial::Ours(opts.connection_id()), requests: [request].into() };
        self.awaited.insert(point, awaited);
        Some(Step::Dial(opts))
    }

    /// There is a connection; gives the requests that were waiting for one.
    pub(super) fn connected(&mut self, now: Time, peer: PeerId, id: ConnectionId) -> Vec<Outbound> {
        let mut connection = Connection { id, in_flight: BTreeSet::new() };
        let mut requests: Vec<Outbound> = self.awaited.remove(&peer).map(|it| it.requests.into()).unwrap_or_default();
        requests.retain(|waiting| waiting.deadline > now);
        connection.in_flight.extend(requests.iter().map(|request| request.id));
        self.connections.entry(peer).or_default().push(connection);
        requests
    }

    /// A connection is gone; gives the requests that were on it.
    pub(super) fn closed(&mut self, peer: &PeerId, id: ConnectionId) -> BTreeSet<RequestId> {
        let Some(connections) = self.connections.get_mut(peer) else { return BTreeSet::new() };
        let place = connections.iter().position(|connection| connection.id == id);
        let lost = place.map(|place| connections.swap_remove(place).in_flight).unwrap_or_default();
        if connections.is_empty() {
            self.connections.remove(peer);
        }
        lost
    }

    pub(super) fn is_connected(&self, peer: &PeerId) -> bool {
        self.connections.contains_key(peer)
    }

    /// A request has ended; `false` if it was not on this connection.
    pub(super) fn ended(&mut self, peer: &PeerId, id: ConnectionId, request: RequestId) -> bool {
        let Some(connections) = self.connections.get_mut(peer) else { return false };
        let connection = connections.iter_mut().find(|connection| connection.id == id);
        connection.is_some_and(|connection| connection.in_flight.remove(&request))
    }

    /// A dial failed, ours or another's. Gives the requests that have failed with it, or another dial to try.
    pub(super) fn dial_failed(&mut self, peer: &PeerId, id: ConnectionId, error: &DialError) -> DialFailed {
        let Some(awaited) = self.awaited.get_mut(peer) else { return DialFailed::default() };
        match awaited.dial {
            Dial::Ours(ours) if ours == id => match error {
                DialError::DialPeerConditionFalse(_) => {
                    awaited.dial = Dial::Others;
                    DialFailed::default()
                }
                _ => DialFailed { failed: self.give_up(peer), redial: None },
            },
            Dial::Ours(_) => DialFailed::default(),
            // Ours may know more addresses.
            Dial::Others => {
                let opts = dial(*peer);
                awaited.dial = Dial::Ours(opts.connection_id());
                DialFailed { failed: Vec::new(), redial: Some(opts) }
            }
        }
    }

    /// Takes the requests that have waited for a connection until their deadline. The dials go on.
    pub(super) fn take_overdue(&mut self, now: Time) -> Vec<RequestId> {
        let mut overdue = Vec::new();
        for awaited in self.awaited.values_mut() {
            awaited.requests.retain(|request| {
                if request.deadline <= now {
                    overdue.push(request.id);
                }
                request.deadline > now
            });
        }
        overdue
    }

    fn give_up(&mut self, peer: &PeerId) -> Vec<RequestId> {
        let requests = self.awaited.remove(peer).map(|awaited| awaited.requests).unwrap_or_default();
        requests.iter().map(|request| request.id).collect()
    }

    fn least_busy(&mut self, peer: &PeerId) -> Option<&mut Connection> {
        self.connections.get_mut(peer)?.iter_mut().min_by_key(|connection| connection.in_flight.len())
    }
}

/// What follows from a failed dial.
#[derive(Debug, Default)]
pub(super) struct DialFailed {
    pub(super) failed: Vec<RequestId>,
    pub(super) redial: Option<DialOpts>,
}

fn dial(point: PeerId) -> DialOpts {
    DialOpts::peer_id(point).condition(PeerCondition::DisconnectedAndNotDialing).build()
}
