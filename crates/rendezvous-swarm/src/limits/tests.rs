//! The behaviour as the swarm drives it: a connection is asked for, and then it is established or has failed.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use libp2p_core::{ConnectedPoint, Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{
    CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, DialError, DialFailure, FromSwarm, ListenError,
    ListenFailure, NetworkBehaviour as _, ToSwarm,
};
use proptest::prelude::*;

use super::*;
use crate::{activity::Activity, clock::Ticks};

const ALICE: u8 = 1;
const BOB: u8 = 2;

fn peer(number: u8) -> PeerId {
    Keypair::ed25519_from_bytes([number; 32]).expect("a key").public().to_peer_id()
}

fn address(text: &str) -> Multiaddr {
    text.parse().expect("an address")
}

/// An address of the network 10.0.`network`.0/24, and another one with each port.
fn of_network(network: u8, port: u16) -> Multiaddr {
    address(&format!("/ip4/10.0.{network}.{}/tcp/{port}", port % 250))
}

fn limits(change: impl FnOnce(&mut Config)) -> Swarm {
    let mut config = Config::default();
    change(&mut config);
    Swarm { behaviour: Behaviour::new(config), next: 0 }
}

/// Calls the behaviour in the order in which a swarm does.
struct Swarm {
    behaviour: Behaviour,
    next: usize,
}

impl Swarm {
    fn id(&mut self) -> ConnectionId {
        self.next += 1;
        ConnectionId::new_unchecked(self.next)
    }

    /// A handshake begins.
    fn incoming(&mut self, remote: &Multiaddr) -> Result<ConnectionId, Exceeded> {
        let id = self.id();
        match self.behaviour.handle_pending_inbound_connection(id, &address("/ip4/192.0.2.1/tcp/1"), remote) {
            Ok(()) => Ok(id),
            Err(denied) => Err(self.denied(id, remote, None, denied)),
        }
    }

    /// A handshake ends well.
    fn established(&mut self, id: ConnectionId, number: u8, remote: &Multiaddr) -> Result<ConnectionId, Exceeded> {
        let (peer, local) = (peer(number), address("/ip4/192.0.2.1/tcp/1"));
        match self.behaviour.handle_established_inbound_connection(id, peer, &local, remote) {
            Ok(_) => Ok(id),
            Err(denied) => Err(self.denied(id, remote, Some(peer), denied)),
        }
    }

    /// What a swarm tells all behaviours of a connection that one of them has denied.
    fn denied(
        &mut self,
        id: ConnectionId,
        remote: &Multiaddr,
        peer: Option<PeerId>,
        denied: ConnectionDenied,
    ) -> Exceeded {
        let exceeded = *denied.downcast_ref().expect("the reason");
        self.failed(id, remote, peer, &ListenError::Denied { cause: denied });
        exceeded
    }

    fn failed(
        &mut self,
        connection_id: ConnectionId,
        remote: &Multiaddr,
        peer_id: Option<PeerId>,
        error: &ListenError,
    ) {
        let local_addr = &address("/ip4/192.0.2.1/tcp/1");
        let failure = ListenFailure { local_addr, send_back_addr: remote, error, connection_id, peer_id };
        self.behaviour.on_swarm_event(FromSwarm::ListenFailure(failure));
    }

    fn closed(&mut self, connection_id: ConnectionId) {
        // The limits go by the id alone.
        let endpoint = &ConnectedPoint::Listener {
            local_addr: address("/ip4/192.0.2.1/tcp/1"),
            send_back_addr: address("/ip4/192.0.2.2/tcp/1"),
        };
        let closed =
            ConnectionClosed { peer_id: peer(0), connection_id, endpoint, cause: None, remaining_established: 0 };
        self.behaviour.on_swarm_event(FromSwarm::ConnectionClosed(closed));
    }

    fn connect(&mut self, number: u8, remote: &Multiaddr) -> Result<ConnectionId, Exceeded> {
        let id = self.incoming(remote)?;
        self.established(id, number, remote)
    }

    fn dial(&mut self) -> ConnectionId {
        let id = self.id();
        let asked = self.behaviour.handle_pending_outbound_connection(id, None, &[], Endpoint::Dialer);
        assert!(asked.is_ok_and(|addresses| addresses.is_empty()));
        id
    }

    fn dialled(&mut self, id: ConnectionId, number: u8) {
        let (remote, role) = (of_network(0, 1), Endpoint::Dialer);
        let answered =
            self.behaviour.handle_established_outbound_connection(id, peer(number), &remote, role, PortUse::New);
        assert!(answered.is_ok());
    }

    fn dial_failed(&mut self, connection_id: ConnectionId) {
        let failure = DialFailure { peer_id: None, error: &DialError::Aborted, connection_id };
        self.behaviour.on_swarm_event(FromSwarm::DialFailure(failure));
    }

    fn stats(&self) -> Stats {
        self.behaviour.stats()
    }

    /// The connections that the behaviour has the swarm close.
    fn closes(&mut self) -> Vec<ConnectionId> {
        let mut cx = Context::from_waker(futures::task::noop_waker_ref());
        let mut closes = Vec::new();
        while let Poll::Ready(event) = self.behaviour.poll(&mut cx) {
            let ToSwarm::CloseConnection { connection: CloseConnection::One(id), .. } = event else {
                panic!("it closes connections and does nothing else")
            };
            closes.push(id);
        }
        closes
    }
}

#[test]
fn connections_in_total_are_refused_exactly_above_the_limit() {
    let mut swarm = limits(|config| config.connections_max = 2);
    let first = swarm.connect(1, &of_network(1, 1)).expect("room");
    swarm.connect(2, &of_network(2, 1)).expect("room");
    assert_eq!(swarm.connect(3, &of_network(3, 1)), Err(Exceeded::Connections { max: 2 }));
    swarm.closed(first);
    swarm.connect(3, &of_network(3, 1)).expect("room again");
    assert_eq!(
        swarm.stats(),
        Stats { established: 2, peers: 2, prefixes: 2, connections_denied: 1, ..Stats::default() }
    );
}

#[test]
fn connections_of_a_peer_are_refused_exactly_above_the_limit() {
    let mut swarm = limits(|config| config.connections_per_peer_max = 2);
    let first = swarm.connect(ALICE, &of_network(1, 1)).expect("room");
    swarm.connect(ALICE, &of_network(2, 1)).expect("room");
    assert_eq!(swarm.connect(ALICE, &of_network(3, 1)), Err(Exceeded::ConnectionsPerPeer { max: 2 }));
    swarm.connect(BOB, &of_network(3, 1)).expect("room for another peer");
    swarm.closed(first);
    swarm.connect(ALICE, &of_network(3, 1)).expect("room again");
    assert_eq!(swarm.stats().connections_per_peer_denied, 1);
}

#[test]
fn connections_from_a_prefix_are_refused_exactly_above_the_limit() {
    for (same, other) in [
        (["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.254/udp/1/quic-v1"], "/ip4/192.0.3.1/tcp/1"),
        (["/ip6/2001:db8:1:200::1/tcp/1", "/ip6/2001:db8:1:2ff::1/tcp/1"], "/ip6/2001:db8:1:300::1/tcp/1"),
        (["/ip4/192.0.2.1/tcp/1", "/ip6/::ffff:192.0.2.2/tcp/1"], "/ip6/2001:db8::1/tcp/1"),
        (["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.2/tcp/1"], "/ip6/::1/tcp/1"),
    ] {
        let [same, too] = same.map(address);
        let mut swarm = limits(|config| config.connections_per_prefix_max = 2);
        let first = swarm.connect(1, &same).expect("room");
        swarm.connect(2, &too).expect("room");
        assert_eq!(swarm.connect(3, &same), Err(Exceeded::ConnectionsPerPrefix { max: 2 }));
        assert_eq!(swarm.connect(3, &too), Err(Exceeded::ConnectionsPerPrefix { max: 2 }));
        swarm.connect(3, &address(other)).expect("room for another prefix");
        swarm.closed(first);
        swarm.connect(4, &too).expect("room again");
        assert_eq!(swarm.stats().connections_per_prefix_denied, 2);
    }
}

#[test]
fn handshakes_in_total_are_refused_exactly_above_the_limit() {
    let mut swarm = limits(|config| config.pending_max = 2);
    let (one, two) = (of_network(1, 1), of_network(2, 1));
    let first = swarm.incoming(&one).expect("room");
    let second = swarm.incoming(&two).expect("room");
    assert_eq!(swarm.incoming(&of_network(3, 1)), Err(Exceeded::Pending { max: 2 }));
    // A handshake leaves its place when it fails and when it ends well.
    swarm.failed(first, &one, None, &ListenError::Aborted);
    swarm.incoming(&one).expect("room again");
    swarm.established(second, ALICE, &two).expect("room");
    swarm.incoming(&two).expect("room again");
    assert_eq!(swarm.incoming(&of_network(3, 1)), Err(Exceeded::Pending { max: 2 }));
    let stats = swarm.stats();
    assert_eq!((stats.pending, stats.established, stats.pending_denied), (2, 1, 2));
}

#[test]
fn handshakes_with_a_prefix_are_refused_exactly_above_the_limit() {
    let mut swarm = limits(|config| config.pending_per_prefix_max = 2);
    let first = swarm.incoming(&of_network(1, 1)).expect("room");
    swarm.incoming(&of_network(1, 2)).expect("room");
    assert_eq!(swarm.incoming(&of_network(1, 3)), Err(Exceeded::PendingPerPrefix { max: 2 }));
    swarm.incoming(&of_network(2, 1)).expect("room for another prefix");
    swarm.established(first, ALICE, &of_network(1, 1)).expect("room");
    swarm.incoming(&of_network(1, 3)).expect("room again");
    let stats = swarm.stats();
    assert_eq!((stats.pending, stats.prefixes, stats.pending_per_prefix_denied), (3, 2, 1));
}

#[test]
fn connections_without_an_ip_address_have_the_limits_of_one_prefix_together() {
    let mut swarm = limits(|config| {
        config.connections_max = 4;
        config.connections_per_prefix_max = 3;
    });
    let relay = address(&format!("/ip4/192.0.2.1/tcp/1/p2p/{}/p2p-circuit/p2p/{}", peer(9), peer(ALICE)));
    for remote in [&relay, &address(&format!("/p2p/{}", peer(ALICE))), &address("/memory/1")] {
        swarm.connect(ALICE, remote).expect("room");
    }
    assert_eq!(swarm.stats().prefixes, 0);
    assert_eq!(swarm.connect(BOB, &relay), Err(Exceeded::ConnectionsPerPrefix { max: 3 }));
    swarm.connect(BOB, &of_network(1, 1)).expect("room for a prefix");
    assert_eq!(swarm.connect(BOB, &of_network(2, 1)), Err(Exceeded::Connections { max: 4 }));
}

#[test]
fn an_exempt_network_has_no_limit_of_its_own() {
    let mut swarm = limits(|config| {
        config.connections_max = 3;
        config.connections_per_prefix_max = 1;
        config.pending_per_prefix_max = 0;
        config.exempt = ["10.0.1.0/24".parse().expect("a network")].into_iter().collect();
    });
    for number in 1..4 {
        swarm.connect(number, &of_network(1, 1)).expect("room");
    }
    assert_eq!(swarm.incoming(&of_network(2, 1)), Err(Exceeded::PendingPerPrefix { max: 0 }));
    assert_eq!(swarm.connect(4, &of_network(1, 1)), Err(Exceeded::Connections { max: 3 }));
}

/// Limits that watch an activity record, its clock's hand in milliseconds, and the record.
fn watching(change: impl FnOnce(&mut Config)) -> (Swarm, Arc<AtomicU64>, Activity) {
    let (ticks, hand) = Ticks::manual();
    let activity = Activity::with_ticks(ticks);
    let mut swarm = limits(change);
    swarm.behaviour.watch(activity.clone());
    (swarm, hand, activity)
}

#[test]
fn a_connection_that_says_nothing_is_closed_at_the_idle_timeout_and_one_that_asks_stays() {
    let (mut swarm, hand, activity) = watching(|_| {});
    let silent = swarm.connect(1, &of_network(1, 1)).expect("room");
    let asking = swarm.connect(2, &of_network(1, 2)).expect("room");
    let on_one_stream = swarm.connect(3, &of_network(2, 1)).expect("room");
    let meters = [asking, on_one_stream].map(|id| activity.opened(id));
    let stream = meters[1].used_stream();
    let timeout_millis = u64::try_from(IDLE_TIMEOUT.as_millis()).expect("it fits");
    hand.store(timeout_millis - 1, Ordering::Relaxed);
    assert_eq!(swarm.closes(), []);
    meters[0].note();
    hand.store(2 * timeout_millis - 2, Ordering::Relaxed);
    assert_eq!(swarm.closes(), [silent]);
    assert_eq!((swarm.stats().established, swarm.stats().closing, swarm.stats().idle_closed), (2, 1, 1));
    // The end of a stream is a use.
    drop(stream);
    hand.store(3 * timeout_millis - 3, Ordering::Relaxed);
    assert_eq!(swarm.closes(), [asking]);
    hand.store(4 * timeout_millis, Ordering::Relaxed);
    assert_eq!(swarm.closes(), [on_one_stream]);
    [silent, asking, on_one_stream].into_iter().for_each(|id| swarm.closed(id));
    assert!(swarm.behaviour.is_empty());
}

#[test]
fn an_application_that_notes_the_use_of_a_connection_keeps_it() {
    let (mut swarm, hand, activity) = watching(|config| config.idle_timeout = Duration::from_secs(60));
    let id = swarm.connect(1, &of_network(1, 1)).expect("room");
    let _meter = activity.opened(id);
    hand.store(59_000, Ordering::Relaxed);
    activity.note_use(id);
    hand.store(118_000, Ordering::Relaxed);
    assert_eq!(swarm.closes(), []);
    hand.store(180_000, Ordering::Relaxed);
    assert_eq!(swarm.closes(), [id]);
    activity.closed(id);
    activity.note_use(id);
    assert_eq!(activity.len(), 0);
}

#[test]
fn nothing_is_closed_where_nobody_tells_what_is_used() {
    let mut swarm = limits(|config| {
        config.connections_max = 1;
        config.idle_timeout = Duration::ZERO;
    });
    swarm.connect(1, &of_network(1, 1)).expect("room");
    assert_eq!(swarm.closes(), []);
}

#[test]
fn a_peer_that_does_not_answer_is_closed_once() {
    let mut swarm = limits(|_| {});
    let inbound = swarm.connect(1, &of_network(1, 1)).expect("room");
    let outbound = swarm.dial();
    swarm.dialled(outbound, ALICE);
    for id in [inbound, outbound] {
        assert!(swarm.behaviour.peer_unresponsive(id));
        assert!(!swarm.behaviour.peer_unresponsive(id));
        assert_eq!(swarm.closes(), [id]);
        swarm.closed(id);
        assert!(!swarm.behaviour.peer_unresponsive(id));
    }
    assert!(swarm.behaviour.is_empty());
    assert_eq!(swarm.stats().unresponsive_closed, 2);
}

#[test]
fn a_newcomer_takes_the_place_of_the_idlest_connection_of_the_largest_network() {
    let (mut swarm, hand, activity) = watching(|config| config.connections_max = 64);
    let mut ids = Vec::new();
    for number in 0..60 {
        hand.fetch_add(1, Ordering::Relaxed);
        let id = swarm.connect(number, &of_network(1, u16::from(number))).expect("room");
        activity.opened(id);
        ids.push(id);
    }
    let others: Vec<_> =
        (100..104).map(|number| swarm.connect(number, &of_network(2, u16::from(number))).expect("room")).collect();
    activity.note_use(ids[0]);
    // Too fresh to be closed for little room, but not to leave their places to newcomers.
    assert_eq!(swarm.closes(), []);
    for (number, idlest) in (110..114).zip(&ids[1..]) {
        swarm.connect(number, &of_network(number, 1)).expect("a place");
        assert_eq!(swarm.closes(), [*idlest]);
        assert_eq!(swarm.stats().established, 64);
        swarm.closed(*idlest);
    }
    assert_eq!(swarm.connect(99, &of_network(1, 1)), Err(Exceeded::Connections { max: 64 }));
    assert_eq!((swarm.stats().displaced_closed, swarm.stats().connections_denied), (4, 1));
    others.into_iter().for_each(|id| assert!(swarm.behaviour.peer_unresponsive(id), "it is there"));
}

#[test]
fn no_more_connections_are_closing_than_an_eighth_of_the_total() {
    let (mut swarm, _hand, _activity) = watching(|config| config.connections_max = 16);
    for number in 0..16 {
        swarm.connect(number, &of_network(1, u16::from(number))).expect("room");
    }
    swarm.connect(20, &of_network(2, 1)).expect("a place");
    swarm.connect(21, &of_network(3, 1)).expect("a place");
    assert_eq!(swarm.stats().closing, 2);
    assert_eq!(swarm.connect(22, &of_network(4, 1)), Err(Exceeded::Connections { max: 16 }));
    let closing = swarm.closes();
    swarm.closed(closing[0]);
    swarm.connect(22, &of_network(4, 1)).expect("a place");
}

#[test]
fn with_little_room_idle_connections_above_the_share_are_closed_and_those_within_it_stay() {
    let (mut swarm, hand, activity) = watching(|config| config.connections_max = 64);
    let nat: Vec<_> =
        (0..10).map(|number| swarm.connect(number, &of_network(1, u16::from(number))).expect("room")).collect();
    let attacker: Vec<_> =
        (0..37).map(|number| swarm.connect(number, &of_network(2, u16::from(number))).expect("room")).collect();
    let meter = activity.opened(attacker[0]);
    let _stream = meter.used_stream();
    hand.store(10_000, Ordering::Relaxed);
    assert_eq!(swarm.closes(), [], "there is room");
    let newcomer = swarm.connect(200, &of_network(3, 1)).expect("room");
    // Above three quarters, idle for ten seconds, and of the largest network.
    let closed = swarm.closes();
    assert_eq!(closed, attacker[1..2]);
    assert!(nat.iter().chain([&newcomer]).all(|id| !closed.contains(id)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the others do, a newcomer within its share gets in while somebody is above his, and who is within his share
    /// is not displaced.
    #[test]
    fn a_newcomer_within_its_share_gets_in_and_nobody_within_his_is_displaced(
        max in 8_usize..40,
        actions in prop::collection::vec((0_u8..6, 0_u8..8, any::<prop::sample::Index>()), 1..300),
    ) {
        let (mut swarm, hand, activity) = watching(|config| {
            config.connections_max = max;
            config.connections_per_peer_max = usize::MAX;
            config.idle_timeout = Duration::MAX;
        });
        let mut established: Vec<(u8, ConnectionId)> = Vec::new();
        for (network, action, index) in actions {
            let sizes: Vec<usize> =
                (0..6).map(|its| established.iter().filter(|(network, _)| *network == its).count()).collect();
            let size = sizes[usize::from(network)];
            let holders = sizes.iter().filter(|size| **size > 0).count();
            let share = (max / (holders + usize::from(size == 0) + 1)).max(1);
            match action {
                0..5 => {
                    let came = swarm.connect(network, &Model::remote(network));
                    let displaced = swarm.closes();
                    let has_to_pay = sizes.iter().any(|size| *size > share);
                    if established.len() < max || size < share && has_to_pay {
                        prop_assert!(came.is_ok());
                    }
                    for id in displaced {
                        let place = established.iter().position(|(_, its)| *its == id);
                        let (loser, id) = established.swap_remove(place.expect("it was established"));
                        let newcomers = usize::from(loser == network && came.is_ok());
                        prop_assert!(sizes[usize::from(loser)] + newcomers > share);
                        activity.closed(id);
                        swarm.closed(id);
                    }
                    if let Ok(id) = came {
                        activity.opened(id);
                        established.push((network, id));
                    }
                }
                5 if !established.is_empty() => {
                    let (_, id) = established.swap_remove(index.index(established.len()));
                    activity.closed(id);
                    swarm.closed(id);
                }
                6 if !established.is_empty() => activity.note_use(established[index.index(established.len())].1),
                _ => drop(hand.fetch_add(1_000, Ordering::Relaxed)),
            }
            prop_assert!(established.len() <= max);
            prop_assert_eq!(swarm.stats().established, established.len());
        }
        established.into_iter().for_each(|(_, id)| swarm.closed(id));
        prop_assert!(swarm.behaviour.is_empty());
    }
}

#[test]
fn no_handshake_is_begun_for_what_is_full() {
    let mut swarm = limits(|config| {
        config.connections_max = 2;
        config.connections_per_prefix_max = 1;
    });
    swarm.connect(1, &of_network(1, 1)).expect("room");
    assert_eq!(swarm.incoming(&of_network(1, 2)), Err(Exceeded::ConnectionsPerPrefix { max: 1 }));
    swarm.connect(2, &of_network(2, 1)).expect("room");
    assert_eq!(swarm.incoming(&of_network(3, 1)), Err(Exceeded::Connections { max: 2 }));
    assert_eq!(swarm.stats().pending, 0);
}

#[test]
fn of_handshakes_that_end_together_no_more_are_admitted_than_there_is_room() {
    let mut swarm = limits(|config| config.connections_max = 2);
    let remotes = [1, 2, 3].map(|network| of_network(network, 1));
    let ids = [0, 1, 2].map(|index| swarm.incoming(&remotes[index]).expect("room for a handshake"));
    swarm.established(ids[0], 1, &remotes[0]).expect("room");
    swarm.established(ids[1], 2, &remotes[1]).expect("room");
    assert_eq!(swarm.established(ids[2], 3, &remotes[2]), Err(Exceeded::Connections { max: 2 }));
    let stats = swarm.stats();
    assert_eq!((stats.pending, stats.established, stats.connections_denied), (0, 2, 1));
}

#[test]
fn a_peer_that_bypasses_is_admitted_above_the_limits_in_total_and_per_prefix() {
    let mut swarm = limits(|config| {
        config.connections_max = 1;
        config.connections_per_prefix_max = 1;
        config.connections_per_peer_max = 2;
    });
    swarm.connect(BOB, &of_network(1, 1)).expect("room");
    swarm.behaviour.bypass(peer(ALICE));
    let first = swarm.connect(ALICE, &of_network(1, 2)).expect("bypass");
    swarm.connect(ALICE, &of_network(2, 1)).expect("bypass");
    // It counts, and has a limit of its own.
    assert_eq!(swarm.stats().established, 3);
    assert_eq!(swarm.connect(ALICE, &of_network(3, 1)), Err(Exceeded::ConnectionsPerPeer { max: 2 }));
    // Others are denied after the handshake.
    let remote = of_network(1, 3);
    let id = swarm.incoming(&remote).expect("a handshake");
    assert_eq!(swarm.established(id, 3, &remote), Err(Exceeded::ConnectionsPerPrefix { max: 1 }));
    swarm.behaviour.unbypass(&peer(ALICE));
    swarm.closed(first);
    assert_eq!(swarm.connect(ALICE, &of_network(3, 1)), Err(Exceeded::Connections { max: 1 }));
}

#[test]
fn what_another_behaviour_denies_leaves_no_trace() {
    let mut swarm = limits(|_| {});
    let remote = of_network(1, 1);
    let pending = swarm.incoming(&remote).expect("room");
    swarm.failed(pending, &remote, None, &ListenError::Aborted);
    assert!(swarm.behaviour.is_empty());
    let established = swarm.connect(ALICE, &remote).expect("room");
    swarm.failed(established, &remote, Some(peer(ALICE)), &ListenError::Aborted);
    assert!(swarm.behaviour.is_empty());
    // Denied before this behaviour was asked.
    let unknown = swarm.id();
    swarm.failed(unknown, &remote, Some(peer(ALICE)), &ListenError::Aborted);
    let dial = swarm.dial();
    swarm.dialled(dial, ALICE);
    swarm.dial_failed(dial);
    assert!(swarm.behaviour.is_empty());
    assert_eq!(swarm.stats(), Stats::default());
}

#[test]
fn outbound_connections_are_counted_and_neither_denied_nor_in_the_way() {
    let mut swarm = limits(|config| {
        config.connections_max = 1;
        config.connections_per_peer_max = 1;
        config.pending_max = 1;
    });
    let ids = [(); 3].map(|()| swarm.dial());
    assert_eq!(swarm.stats().pending_outbound, 3);
    ids.iter().for_each(|&id| swarm.dialled(id, ALICE));
    assert_eq!((swarm.stats().pending_outbound, swarm.stats().established_outbound), (0, 3));
    let id = swarm.connect(ALICE, &of_network(1, 1)).expect("room");
    ids.into_iter().chain([id]).for_each(|id| swarm.closed(id));
    assert!(swarm.behaviour.is_empty());
}

#[test]
fn each_denial_says_which_limit_and_its_value() {
    let max = 7;
    for (exceeded, text) in [
        (Exceeded::Connections { max }, "too many connections: 7 is the most"),
        (Exceeded::ConnectionsPerPeer { max }, "too many connections of this peer: 7 is the most"),
        (Exceeded::ConnectionsPerPrefix { max }, "too many connections from this network: 7 is the most"),
        (Exceeded::Pending { max }, "too many handshakes in flight: 7 is the most"),
        (Exceeded::PendingPerPrefix { max }, "too many handshakes in flight with this network: 7 is the most"),
    ] {
        assert_eq!(exceeded.to_string(), text);
    }
}

/// What happens next; connections are picked by a number modulo how many there are of their kind.
#[derive(Clone, Copy, Debug)]
enum Action {
    Incoming {
        network: u8,
    },
    Established {
        pick: usize,
        peer: u8,
    },
    /// A handshake fails, or another behaviour denies it.
    PendingFailed {
        pick: usize,
    },
    /// The handshake ends well, this behaviour is asked, and a later one denies.
    DeniedByAnother {
        pick: usize,
        peer: u8,
    },
    Closed {
        pick: usize,
    },
    Dial,
    Dialled {
        pick: usize,
    },
    DialFailed {
        pick: usize,
    },
    Bypass {
        peer: u8,
    },
    Unbypass {
        peer: u8,
    },
    /// Of a connection that there is not.
    Stray,
}

fn action() -> impl Strategy<Value = Action> {
    let (pick, peer) = (any::<usize>(), 1_u8..6);
    prop_oneof![
        6 => (0_u8..4).prop_map(|network| Action::Incoming { network }),
        6 => (pick, peer.clone()).prop_map(|(pick, peer)| Action::Established { pick, peer }),
        1 => pick.prop_map(|pick| Action::PendingFailed { pick }),
        1 => (pick, peer.clone()).prop_map(|(pick, peer)| Action::DeniedByAnother { pick, peer }),
        2 => pick.prop_map(|pick| Action::Closed { pick }),
        1 => Just(Action::Dial),
        1 => pick.prop_map(|pick| Action::Dialled { pick }),
        1 => pick.prop_map(|pick| Action::DialFailed { pick }),
        1 => peer.clone().prop_map(|peer| Action::Bypass { peer }),
        2 => peer.prop_map(|peer| Action::Unbypass { peer }),
        1 => Just(Action::Stray),
    ]
}

/// Lists of all there is, counted anew each time. Network 0 stands for connections without a prefix.
#[derive(Default)]
struct Model {
    config: Config,
    pending: Vec<(ConnectionId, u8)>,
    established: Vec<(ConnectionId, u8, u8)>,
    dials: Vec<ConnectionId>,
    outbound: Vec<ConnectionId>,
    bypassing: Vec<u8>,
    denials: Stats,
}

impl Model {
    fn remote(network: u8) -> Multiaddr {
        if network == 0 { address("/memory/1") } else { of_network(network, 1) }
    }

    fn room(&self, network: u8) -> Result<(), Exceeded> {
        let of_network = self.established.iter().filter(|(_, _, its)| *its == network).count();
        let (per_prefix, total) = (self.config.connections_per_prefix_max, self.config.connections_max);
        if of_network >= per_prefix {
            Err(Exceeded::ConnectionsPerPrefix { max: per_prefix })
        } else if self.established.len() >= total {
            Err(Exceeded::Connections { max: total })
        } else {
            Ok(())
        }
    }

    fn may_come(&mut self, network: u8) -> Result<(), Exceeded> {
        let of_network = self.pending.iter().filter(|(_, its)| *its == network).count();
        let (per_prefix, total) = (self.config.pending_per_prefix_max, self.config.pending_max);
        let result = if of_network >= per_prefix {
            Err(Exceeded::PendingPerPrefix { max: per_prefix })
        } else if self.pending.len() >= total {
            Err(Exceeded::Pending { max: total })
        } else if self.bypassing.is_empty() {
            self.room(network)
        } else {
            Ok(())
        };
        self.count(result)
    }

    fn may_stay(&mut self, peer: u8, network: u8) -> Result<(), Exceeded> {
        let max = self.config.connections_per_peer_max;
        let result = if self.established.iter().filter(|(_, its, _)| *its == peer).count() >= max {
            Err(Exceeded::ConnectionsPerPeer { max })
        } else if self.bypassing.contains(&peer) {
            Ok(())
        } else {
            self.room(network)
        };
        self.count(result)
    }

    fn count(&mut self, result: Result<(), Exceeded>) -> Result<(), Exceeded> {
        let denials = &mut self.denials;
        match result {
            Ok(()) => {}
            Err(Exceeded::Connections { .. }) => denials.connections_denied += 1,
            Err(Exceeded::ConnectionsPerPeer { .. }) => denials.connections_per_peer_denied += 1,
            Err(Exceeded::ConnectionsPerPrefix { .. }) => denials.connections_per_prefix_denied += 1,
            Err(Exceeded::Pending { .. }) => denials.pending_denied += 1,
            Err(Exceeded::PendingPerPrefix { .. }) => denials.pending_per_prefix_denied += 1,
        }
        result
    }

    fn stats(&self) -> Stats {
        let of_established = self.established.iter().map(|(_, _, network)| *network);
        let of_pending = self.pending.iter().map(|(_, network)| *network);
        let networks: HashSet<u8> = of_established.chain(of_pending).filter(|&network| network > 0).collect();
        let peers: HashSet<u8> = self.established.iter().map(|(_, peer, _)| *peer).collect();
        Stats {
            pending: self.pending.len(),
            established: self.established.len(),
            pending_outbound: self.dials.len(),
            established_outbound: self.outbound.len(),
            peers: peers.len(),
            prefixes: networks.len(),
            ..self.denials
        }
    }
}

/// Takes out the one that is picked, if there is any.
fn take<T>(list: &mut Vec<T>, pick: usize) -> Option<T> {
    if list.is_empty() { None } else { Some(list.swap_remove(pick % list.len())) }
}

fn act(swarm: &mut Swarm, model: &mut Model, action: Action) {
    match action {
        Action::Incoming { network } => {
            let came = swarm.incoming(&Model::remote(network));
            assert_eq!(came.map(drop), model.may_come(network));
            model.pending.extend(came.map(|id| (id, network)));
        }
        Action::Established { pick, peer } => {
            let Some((id, network)) = take(&mut model.pending, pick) else { return };
            let stays = swarm.established(id, peer, &Model::remote(network));
            assert_eq!(stays.map(drop), model.may_stay(peer, network));
            model.established.extend(stays.map(|id| (id, peer, network)));
        }
        Action::PendingFailed { pick } => {
            let Some((id, network)) = take(&mut model.pending, pick) else { return };
            swarm.failed(id, &Model::remote(network), None, &ListenError::Aborted);
        }
        Action::DeniedByAnother { pick, peer: number } => {
            let Some((id, network)) = take(&mut model.pending, pick) else { return };
            let remote = Model::remote(network);
            let stays = swarm.established(id, number, &remote);
            assert_eq!(stays.map(drop), model.may_stay(number, network));
            if stays.is_ok() {
                swarm.failed(id, &remote, Some(peer(number)), &ListenError::Aborted);
            }
        }
        Action::Closed { pick } => {
            if pick % 4 == 0 {
                take(&mut model.outbound, pick).into_iter().for_each(|id| swarm.closed(id));
            } else {
                take(&mut model.established, pick).into_iter().for_each(|(id, ..)| swarm.closed(id));
            }
        }
        Action::Dial => model.dials.push(swarm.dial()),
        Action::Dialled { pick } => {
            let Some(id) = take(&mut model.dials, pick) else { return };
            swarm.dialled(id, ALICE);
            model.outbound.push(id);
        }
        Action::DialFailed { pick } => take(&mut model.dials, pick).into_iter().for_each(|id| swarm.dial_failed(id)),
        Action::Bypass { peer: number } => {
            swarm.behaviour.bypass(peer(number));
            model.bypassing.push(number);
        }
        Action::Unbypass { peer: number } => {
            swarm.behaviour.unbypass(&peer(number));
            model.bypassing.retain(|its| *its != number);
        }
        Action::Stray => {
            let id = swarm.id();
            swarm.failed(id, &of_network(1, 1), Some(peer(ALICE)), &ListenError::Aborted);
            swarm.dial_failed(id);
            swarm.closed(id);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn limits_and_naive_limits_agree_and_nothing_is_kept(
        [total, per_peer, per_prefix, pending, pending_per_prefix] in prop::array::uniform5(0_usize..8),
        actions in prop::collection::vec(action(), 1..200),
    ) {
        let config = Config {
            connections_max: 2 * total,
            connections_per_peer_max: per_peer,
            connections_per_prefix_max: per_prefix,
            pending_max: 2 * pending,
            pending_per_prefix_max: pending_per_prefix,
            ..Config::default()
        };
        let mut swarm = Swarm { behaviour: Behaviour::new(config.clone()), next: 0 };
        let mut model = Model { config, ..Model::default() };
        for action in actions {
            act(&mut swarm, &mut model, action);
            prop_assert_eq!(swarm.stats(), model.stats());
        }
        for (id, network) in model.pending {
            swarm.failed(id, &Model::remote(network), None, &ListenError::Aborted);
        }
        model.established.into_iter().map(|(id, ..)| id).chain(model.outbound).for_each(|id| swarm.closed(id));
        model.dials.into_iter().for_each(|id| swarm.dial_failed(id));
        prop_assert!(swarm.behaviour.is_empty());
        prop_assert_eq!(swarm.stats(), model.denials);
    }
}
