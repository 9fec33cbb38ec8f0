//! Properties of what is held, with connections that send without a network.

use std::task::{Context, Waker};

use proptest::prelude::*;
use rendezvous_core::server::IpPrefix;

use super::*;
use crate::{
    config::FRAME_COST_BYTES,
    frames::{FrameScanner, Scanned},
};

fn origin(number: u8) -> Origin {
    Origin::Prefix(IpPrefix::V4([127, 0, number]))
}

fn guard(change: impl FnOnce(&mut Config)) -> Guard {
    let mut config = Config::default();
    change(&mut config);
    Guard::new(config)
}

/// A data frame without flags, or with the flag that opens its stream.
fn frame(stream: u32, opens: bool, body_bytes: u32) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, u8::from(opens)];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(body_bytes.to_be_bytes());
    bytes.extend(vec![0; body_bytes as usize]);
    bytes
}

fn receive(connection: &ConnectionGuard, bytes: &[u8]) -> Result<(), Closing> {
    let mut scanner = FrameScanner::default();
    connection.received(bytes.len(), |on_scanned: &mut dyn FnMut(Scanned)| scanner.scan(bytes, on_scanned))
}

fn is_closing(connection: &ConnectionGuard) -> bool {
    connection.begin_poll(&Context::from_waker(Waker::noop())).is_err()
}

#[test]
fn unread_frames_count_with_what_they_cost_until_they_are_read() {
    let guard = guard(|_| {});
    let connection = guard.connect(origin(1));
    receive(&connection, &frame(1, true, 100)).expect("room");
    receive(&connection, &frame(1, false, 50)).expect("room");
    assert_eq!(guard.stats().unread_bytes, 150 + 2 * FRAME_COST_BYTES);
    connection.consumed(1, 99);
    assert_eq!(guard.stats().unread_bytes, 51 + 2 * FRAME_COST_BYTES);
    connection.consumed(1, 2);
    assert_eq!(guard.stats().unread_bytes, 49 + FRAME_COST_BYTES);
    connection.dropped(1);
    assert_eq!(guard.stats().unread_bytes, 0);
    receive(&connection, &frame(1, false, 50)).expect("yamux drops frames of unknown streams");
    assert_eq!(guard.stats().unread_bytes, 0);
}

#[test]
fn a_connection_that_sends_more_than_may_be_unread_is_closed_and_holds_nothing() {
    let guard = guard(|config| config.unread_per_connection_max = 1_000);
    let (greedy, honest) = (guard.connect(origin(1)), guard.connect(origin(1)));
    receive(&honest, &frame(1, true, 500)).expect("room");
    receive(&greedy, &frame(1, true, 800)).expect("room");
    assert_eq!(receive(&greedy, &frame(3, true, 1)), Err(Closing::Unread));
    assert!(is_closing(&greedy) && !is_closing(&honest));
    let stats = guard.stats();
    assert_eq!((stats.unread_bytes, stats.closed_unread), (500 + FRAME_COST_BYTES, 1));
}

#[test]
fn frames_of_one_byte_meet_the_bound_by_their_number() {
    let guard = guard(|config| config.unread_per_connection_max = 1 << 20);
    let connection = guard.connect(origin(1));
    receive(&connection, &frame(1, true, 1)).expect("room");
    let byte = frame(1, false, 1);
    let admitted = (1..20_000).take_while(|_| receive(&connection, &byte).is_ok()).count();
    assert_eq!(admitted, (1 << 20) / (1 + FRAME_COST_BYTES) - 1);
}

#[test]
fn above_the_total_the_largest_connection_of_the_largest_prefix_is_closed() {
    let guard = guard(|config| config.unread_max = 10_000);
    let small: Vec<_> = (0..4).map(|_| guard.connect(origin(1))).collect();
    for connection in &small {
        receive(connection, &frame(1, true, 1_000)).expect("room");
    }
    // The largest connection of all, of a prefix that holds less than the other.
    let large = guard.connect(origin(2));
    receive(&large, &frame(1, true, 3_000)).expect("room");
    receive(&small[2], &frame(1, false, 500)).expect("room");
    let newcomer = guard.connect(origin(3));
    receive(&newcomer, &frame(1, true, 2_500)).expect("a newcomer does not pay for others");
    assert!(is_closing(&small[2]), "the largest of the prefix that held the most");
    assert!(!is_closing(&large) && !is_closing(&newcomer));
    assert_eq!(guard.stats().closed_under_pressure, 1);
    assert!(guard.stats().unread_bytes <= 10_000);
}

#[test]
fn writers_wait_while_too_much_is_unsent_and_go_on_when_it_has_left() {
    let guard = guard(|_| {});
    let connection = guard.connect(origin(1));
    let cx = Context::from_waker(Waker::noop());
    assert!(connection.poll_unsent_below(&cx, 1_000).is_ready());
    connection.written(1_000);
    assert!(connection.poll_unsent_below(&cx, 1_000).is_pending());
    connection.sent(1);
    assert!(connection.poll_unsent_below(&cx, 1_000).is_ready());
    connection.sent(999);
    assert_eq!(guard.stats().unsent_bytes, 0);
}

#[test]
fn nothing_is_kept_of_origins_whose_connections_have_ended() {
    let guard = guard(|_| {});
    for number in 0..=u16::MAX {
        let [a, b] = number.to_be_bytes();
        drop(guard.connect(Origin::Prefix(IpPrefix::V4([10, a, b]))));
    }
    assert!(lock(&guard.0.origins).known.len() <= 2 * ORIGINS_MIN);
    assert_eq!(guard.stats().connections, 0);
}

#[derive(Clone, Debug)]
enum Step {
    Receive { connection: usize, stream: u32, bytes: u32 },
    Read { connection: usize, stream: u32, bytes: usize },
    DropStream { connection: usize, stream: u32 },
    Write { connection: usize, bytes: usize },
    Send { connection: usize, bytes: usize },
    Reconnect { connection: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (connection, stream) = (0_usize..6, (0_u32..4).prop_map(|stream| 2 * stream + 1));
    let step = prop_oneof![
        4 => (connection.clone(), stream.clone(), 0_u32..2_000)
            .prop_map(|(connection, stream, bytes)| Step::Receive { connection, stream, bytes }),
        2 => (connection.clone(), stream.clone(), 0_usize..3_000)
            .prop_map(|(connection, stream, bytes)| Step::Read { connection, stream, bytes }),
        1 => (connection.clone(), stream).prop_map(|(connection, stream)| Step::DropStream { connection, stream }),
        2 => (connection.clone(), 0_usize..2_000).prop_map(|(connection, bytes)| Step::Write { connection, bytes }),
        2 => (connection.clone(), 0_usize..2_000).prop_map(|(connection, bytes)| Step::Send { connection, bytes }),
        1 => connection.prop_map(|connection| Step::Reconnect { connection }),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    /// The totals are the sums of what the connections hold, never more than their maxima, and zero at the end.
    #[test]
    fn totals_are_sums_and_stay_within_their_bounds(steps in steps()) {
        let (unread_max, unsent_max) = (12_000, 8_000);
        let guard = guard(|config| {
            config.unread_per_connection_max = 5_000;
            (config.unread_max, config.unsent_max) = (unread_max, unsent_max);
        });
        let connect = |number: usize| guard.connect(origin((number % 3) as u8));
        let mut connections: Vec<_> = (0..6).map(connect).collect();
        for step in steps {
            match step {
                Step::Receive { connection, stream, bytes } => {
                    let _ = receive(&connections[connection], &frame(stream, true, bytes));
                }
                Step::Read { connection, stream, bytes } => connections[connection].consumed(stream, bytes),
                Step::DropStream { connection, stream } => connections[connection].dropped(stream),
                Step::Write { connection, bytes } => connections[connection].written(bytes),
                Step::Send { connection, bytes } => connections[connection].sent(bytes),
                Step::Reconnect { connection } => connections[connection] = connect(connection),
            }
            let stats = guard.stats();
            let held: Vec<_> = connections.iter().map(ConnectionGuard::unread_and_unsent).collect();
            prop_assert_eq!(stats.unread_bytes, held.iter().map(|held| held.0).sum::<usize>());
            prop_assert_eq!(stats.unsent_bytes, held.iter().map(|held| held.1).sum::<usize>());
            prop_assert!(stats.unread_bytes <= unread_max && stats.unsent_bytes <= unsent_max);
            let of_origins: usize =
                lock(&guard.0.origins).known.values().map(|entry| entry.held.load(Ordering::Relaxed)).sum();
            prop_assert_eq!(of_origins, stats.unread_bytes + stats.unsent_bytes);
        }
        connections.clear();
        let stats = guard.stats();
        prop_assert_eq!((stats.unread_bytes, stats.unsent_bytes, stats.connections), (0, 0, 0));
    }
}
