//! Which request goes to which connection, and which waits for one.

use std::collections::{BTreeMap, HashMap, VecDeque};

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
    in_flight: BTreeMap<RequestId, Outbound>,
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
            connection.in_flight.insert(request.id, request.clone());
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

    /// There is a connection; gives the requests that were waiting for one, if it [was awaited](Self::is_awaited).
    pub(super) fn connected(&mut self, now: Time, peer: PeerId, id: ConnectionId) -> Option<Vec<Outbound>> {
        let waiting: Option<Vec<Outbound>> = self.awaited.remove(&peer).map(|awaited| {
            // The state machine has given up the others.
            awaited.requests.into_iter().filter(|request| request.deadline > now).collect()
        });
        let in_flight = waiting.iter().flatten().map(|request| (request.id, request.clone())).collect();
        self.connections.entry(peer).or_default().push(Connection { id, in_flight });
        waiting
    }

    /// A connection is gone; gives the requests that were on it.
    pub(super) fn closed(&mut self, peer: &PeerId, id: ConnectionId) -> Vec<Outbound> {
        let Some(connections) = self.connections.get_mut(peer) else { return Vec::new() };
        let place = connections.iter().position(|connection| connection.id == id);
        let lost = place.map(|place| connections.swap_remove(place).in_flight).unwrap_or_default();
        if connections.is_empty() {
            self.connections.remove(peer);
        }
        lost.into_values().collect()
    }

    /// Whether a connection to this peer is dialled for requests.
    pub(super) fn is_awaited(&self, peer: &PeerId) -> bool {
        self.awaited.contains_key(peer)
    }

    pub(super) fn is_connected(&self, peer: &PeerId) -> bool {
        self.connections.contains_key(peer)
    }

    /// A request has ended; `false` if it was not on this connection.
    pub(super) fn ended(&mut self, peer: &PeerId, id: ConnectionId, request: RequestId) -> bool {
        let Some(connections) = self.connections.get_mut(peer) else { return false };
        let connection = connections.iter_mut().find(|connection| connection.id == id);
        connection.is_some_and(|connection| connection.in_flight.remove(&request).is_some())
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

#[cfg(test)]
mod tests {
    use rendezvous_core::client::{Client, ClientConfig, From};
    use rendezvous_wire::Namespace;

    use super::*;

    const NOW: Time = Time::from_unix_millis(1_000_000);

    /// Requests to one point, as the state machine hands them out.
    fn requests(point: PeerId, count: usize) -> Vec<Outbound> {
        let key = libp2p_identity::Keypair::generate_ed25519();
        let mut client = Client::new(ClientConfig::default(), key, [0; 32]);
        let namespace = Namespace::new("chat").expect("a namespace");
        for _ in 0..count {
            client.discover(NOW, point, Some(namespace.clone()), None, From::Fresh);
        }
        let requests: Vec<_> = std::iter::from_fn(|| client.poll_request(NOW)).collect();
        assert_eq!(requests.len(), count);
        requests
    }

    fn connection(id: usize) -> ConnectionId {
        ConnectionId::new_unchecked(id)
    }

    /// Sends a request that must bring about a dial, and gives its id.
    fn dialled(links: &mut Links, request: Outbound) -> ConnectionId {
        match links.send(NOW, request) {
            Some(Step::Dial(opts)) => opts.connection_id(),
            step => panic!("{step:?}"),
        }
    }

    #[test]
    fn requests_wait_for_one_dial_and_leave_with_the_connection() {
        let (mut links, point) = (Links::default(), PeerId::random());
        let [first, second, third] = requests(point, 3).try_into().expect("three");
        let ids = [first.id, second.id];
        dialled(&mut links, first);
        assert!(links.send(NOW, second).is_none());
        // An inbound connection serves as well as the one that is dialled.
        assert!(links.is_awaited(&point));
        let waiting = links.connected(NOW, point, connection(9)).expect("it was awaited");
        assert!(!links.is_awaited(&point));
        assert_eq!(waiting.iter().map(|request| request.id).collect::<Vec<_>>(), ids);

        let third_id = third.id;
        assert!(matches!(links.send(NOW, third), Some(Step::Send { .. })));
        assert!(links.ended(&point, connection(9), ids[0]));
        assert!(!links.ended(&point, connection(9), ids[0]), "once only");
        let lost = links.closed(&point, connection(9));
        assert_eq!(lost.iter().map(|request| request.id).collect::<Vec<_>>(), [ids[1], third_id]);
        assert!(links.closed(&point, connection(9)).is_empty(), "once only");
        assert!(!links.ended(&point, connection(9), third_id));
        assert!(links.connections.is_empty() && links.awaited.is_empty());
    }

    #[test]
    fn a_failed_dial_fails_what_waits_for_it_and_nothing_else() {
        let (mut links, point) = (Links::default(), PeerId::random());
        let [first, second] = requests(point, 2).try_into().expect("two");
        let id = first.id;
        let dial = dialled(&mut links, first);
        let other = links.dial_failed(&point, connection(7), &DialError::Aborted);
        assert!(other.failed.is_empty() && other.redial.is_none(), "another's dial");
        assert_eq!(links.dial_failed(&point, dial, &DialError::NoAddresses).failed, [id]);
        assert!(links.awaited.is_empty());
        dialled(&mut links, second);
    }

    #[test]
    fn where_the_swarm_dials_already_its_failure_is_followed_by_a_dial_of_ours() {
        let (mut links, point) = (Links::default(), PeerId::random());
        let [request] = requests(point, 1).try_into().expect("one");
        let id = request.id;
        let dial = dialled(&mut links, request);
        let refused = DialError::DialPeerConditionFalse(PeerCondition::DisconnectedAndNotDialing);
        let outcome = links.dial_failed(&point, dial, &refused);
        assert!(outcome.failed.is_empty() && outcome.redial.is_none());

        let wrong = DialError::WrongPeerId {
            obtained: PeerId::random(),
            address: "/ip4/192.0.2.1/tcp/1".parse().expect("an address"),
        };
        let outcome = links.dial_failed(&point, connection(7), &wrong);
        assert!(outcome.failed.is_empty());
        let ours = outcome.redial.expect("a dial of ours").connection_id();
        assert_eq!(links.dial_failed(&point, ours, &DialError::Aborted).failed, [id]);
    }

    #[test]
    fn what_has_waited_too_long_is_dropped_and_not_sent() {
        let (mut links, point) = (Links::default(), PeerId::random());
        let [first, second, third] = requests(point, 3).try_into().expect("three");
        let (ids, deadline) = ([first.id, second.id], first.deadline);
        dialled(&mut links, first);
        assert!(links.send(NOW, second).is_none());
        assert_eq!(links.take_overdue(NOW), []);
        assert_eq!(links.take_overdue(deadline), ids);
        assert_eq!(links.take_overdue(deadline), []);
        assert!(links.send(deadline, third).is_none(), "the dial goes on");
        let waiting = links.connected(deadline, point, connection(1));
        assert!(waiting.is_some_and(|requests| requests.is_empty()));
    }

    #[test]
    fn the_connection_with_the_fewest_requests_gets_the_next() {
        let (mut links, point) = (Links::default(), PeerId::random());
        assert!(links.connected(NOW, point, connection(1)).is_none());
        assert!(links.connected(NOW, point, connection(2)).is_none());
        let mut used = Vec::new();
        for request in requests(point, 4) {
            match links.send(NOW, request) {
                Some(Step::Send { connection, .. }) => used.push(connection),
                step => panic!("{step:?}"),
            }
        }
        used.sort();
        assert_eq!(used, [connection(1), connection(1), connection(2), connection(2)]);
    }
}
