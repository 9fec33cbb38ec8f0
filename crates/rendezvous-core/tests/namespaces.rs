//! The walk over the namespaces in bounded steps, for whoever must not hold a lock for long.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may say so by panicking")]

use std::collections::BTreeMap;

use rendezvous_core::server::{NamespaceCursor, Server};
use rendezvous_sim::desk::{Desk, peer};

/// Walks to the end in steps of `max`; what was given, and the number of steps.
fn walk(server: &Server, max: usize) -> (BTreeMap<String, u32>, usize) {
    let (mut all, mut steps) = (BTreeMap::new(), 0);
    let mut cursor = Some(NamespaceCursor::default());
    while let Some(at) = cursor {
        let (chunk, next) = server.namespaces_chunk(at, max);
        assert!(chunk.len() <= max, "{} in a step of {max}", chunk.len());
        for (name, count) in chunk {
            assert_eq!(all.insert(name.to_string(), count), None, "{name} is given twice");
        }
        (cursor, steps) = (next, steps + 1);
    }
    (all, steps)
}

#[test]
fn a_walk_in_steps_gives_each_namespace_once_and_no_step_looks_at_more_than_it_may() {
    let mut desk = Desk::new();
    for number in 0..500 {
        desk.register(number % 10, &format!("name-{number}"), 7_200).unwrap();
    }
    let whole: BTreeMap<String, u32> =
        desk.server.namespaces().map(|(name, count)| (name.to_string(), count)).collect();
    assert_eq!(whole.len(), 500);
    for (max, steps) in [(1, 500), (64, 8), (499, 2), (500, 1), (usize::MAX, 1), (0, 500)] {
        assert_eq!(walk(&desk.server, max.max(1)), (whole.clone(), steps), "in steps of {max}");
    }
    // Places that are empty count as well: the time of a step is bounded by places, not by names.
    for number in 0..9 {
        desk.unregister(&peer(number), None);
    }
    let (left, steps) = walk(&desk.server, 64);
    assert_eq!((left.len(), steps), (50, 8));
    desk.unregister(&peer(9), None);
    assert_eq!(walk(&desk.server, 64), (BTreeMap::new(), 1));
}
