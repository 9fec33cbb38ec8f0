//! A fixed range of seeds: nothing is violated, and every kind of fault and refusal occurs in it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may say so by panicking")]

use std::{
    sync::Mutex,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use rendezvous_sim::simulation::{Options, Tally, Trace, simulate};

const SEEDS: u64 = 120;

#[test]
fn nothing_is_violated_and_everything_occurs() {
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Tally::default()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= SEEDS {
                        break;
                    }
                    let outcome = simulate(seed, Options::default());
                    assert!(outcome.violation.is_none(), "{}", outcome.violation.unwrap());
                    sum.lock().unwrap().add(&outcome.tally);
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap();
    assert_eq!(sum.missing(), Vec::<String>::new(), "{sum}");
}

#[test]
fn the_same_seed_has_the_same_trace() {
    for seed in [3, 4, 17] {
        let run = || simulate(seed, Options { trace: Trace::Keep, ..Options::default() });
        let (first, second) = (run(), run());
        assert!(first.trace.len() > 100, "the trace of seed {seed} has {} lines", first.trace.len());
        assert!(first == second, "seed {seed}");
    }
    let other = |seed| simulate(seed, Options { trace: Trace::Keep, ..Options::default() }).trace;
    assert_ne!(other(3), other(4));
}
