//! What waits to be committed, when what it renews ends meanwhile or the store fails.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may say so by panicking")]

use rendezvous_core::server::{Batch, Change, CommitFailed, Refusal, Registered};
use rendezvous_record::Flavour;
use rendezvous_sim::{
    desk::{Desk, peer},
    fixtures,
};

/// A point that commits through its store, with room for one registration.
fn desk_for_one() -> Desk {
    Desk::with(|config| {
        config.deferred_commit = true;
        config.registrations_max = 1;
    })
}

fn register(desk: &mut Desk, number: u64, ttl_secs: u64) -> Result<Registered, Refusal> {
    let record = fixtures::record(number, Flavour::Standard);
    desk.register_pending(&record.peer_id(), Some(record.envelope()), "chat", Some(ttl_secs))
}

fn commit(desk: &mut Desk) {
    while let Some(batch) = desk.server.poll_commit() {
        settle(desk, &batch, true);
    }
}

fn settle(desk: &mut Desk, batch: &Batch, is_stored: bool) {
    let result = if is_stored { Ok(()) } else { Err(CommitFailed) };
    desk.server.handle_committed(desk.now, batch.id, result);
}

#[test]
fn a_renewal_whose_registration_ends_while_it_waits_counts_as_new() {
    let mut desk = desk_for_one();
    register(&mut desk, 1, 60).unwrap();
    commit(&mut desk);
    desk.pass(50);
    register(&mut desk, 1, 60).unwrap();
    desk.pass(20);
    assert_eq!(register(&mut desk, 2, 60), Err(Refusal::Full));
    commit(&mut desk);
    assert_eq!(desk.server.stats().registrations, 1);
}

#[test]
fn a_registration_behind_one_that_failed_counts_as_new() {
    let mut desk = desk_for_one();
    register(&mut desk, 1, 60).unwrap();
    let first = desk.server.poll_commit().unwrap();
    register(&mut desk, 1, 60).unwrap();
    let second = desk.server.poll_commit().unwrap();
    settle(&mut desk, &first, false);
    assert_eq!(register(&mut desk, 2, 60), Err(Refusal::Full));
    settle(&mut desk, &second, true);
    assert_eq!(desk.server.stats().registrations, 1);
}

#[test]
fn a_registration_behind_its_withdrawal_counts_as_new() {
    let mut desk = desk_for_one();
    register(&mut desk, 1, 60).unwrap();
    commit(&mut desk);
    desk.unregister(&peer(1), Some("chat"));
    let withdrawal = desk.server.poll_commit().unwrap();
    register(&mut desk, 1, 60).unwrap();
    settle(&mut desk, &withdrawal, true);
    assert_eq!(register(&mut desk, 2, 60), Err(Refusal::Full));
    commit(&mut desk);
    assert_eq!(desk.server.stats().registrations, 1);
}

#[test]
fn bytes_of_a_record_that_ends_while_its_renewal_waits_stay_reserved() {
    let standard = fixtures::record(1, Flavour::Standard).envelope().len();
    let legacy = fixtures::record(1, Flavour::Legacy).envelope().len();
    let mut desk = Desk::with(|config| {
        config.deferred_commit = true;
        config.record_bytes_max = (standard + legacy) as u64;
    });
    let both = |desk: &mut Desk, flavour, ttl_secs| {
        let record = fixtures::record(1, flavour);
        desk.register_pending(&record.peer_id(), Some(record.envelope()), "chat", Some(ttl_secs)).unwrap();
    };
    both(&mut desk, Flavour::Standard, 600);
    both(&mut desk, Flavour::Legacy, 60);
    commit(&mut desk);
    desk.pass(50);
    both(&mut desk, Flavour::Legacy, 60);
    desk.pass(20);
    assert_eq!(register(&mut desk, 2, 60), Err(Refusal::BytesFull));
    commit(&mut desk);
    assert_eq!(desk.server.stats().record_bytes, (standard + legacy) as u64);
}

#[test]
fn what_ended_leaves_the_log_when_its_renewal_fails() {
    let mut desk = Desk::with(|config| config.deferred_commit = true);
    register(&mut desk, 1, 60).unwrap();
    commit(&mut desk);
    desk.pass(50);
    register(&mut desk, 1, 60).unwrap();
    let renewal = desk.server.poll_commit().unwrap();
    desk.pass(20);
    desk.server.handle_timeout(desk.now);
    settle(&mut desk, &renewal, false);
    register(&mut desk, 2, 60).unwrap();
    let next = desk.server.poll_commit().unwrap();
    assert!(matches!(&next.changes[..], [Change::Forget { peer: ended, .. }, Change::Put(_)] if *ended == peer(1)));
}
