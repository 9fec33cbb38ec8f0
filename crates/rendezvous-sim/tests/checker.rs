//! The checks notice what is broken: each invariant with a component that is broken on purpose.

use rendezvous_sim::simulation::{Flaw, Invariant, Options, simulate};

/// Seeds in which a flaw must be noticed at least once.
const SEEDS: u64 = 200;

/// Runs until the flaw is noticed as what it is. In other seeds it may show first as one of `also`, and as nothing else.
fn is_noticed(flaw: Flaw, as_breach_of: Invariant, also: &[Invariant]) {
    for seed in 0..SEEDS {
        let outcome = simulate(seed, Options { flaw: Some(flaw), ..Options::default() });
        let Some(violation) = outcome.violation else { continue };
        if violation.invariant == as_breach_of {
            return;
        }
        assert!(also.contains(&violation.invariant), "{flaw:?} is noticed otherwise: {violation}");
    }
    panic!("{flaw:?} is not noticed in {SEEDS} seeds");
}

#[test]
fn a_store_that_acknowledges_before_it_syncs() {
    is_noticed(Flaw::StoreAcknowledgesEarly, Invariant::Acknowledged, &[]);
}

#[test]
fn a_point_that_drops_a_registration_from_its_pages() {
    is_noticed(Flaw::PageDropsRegistration, Invariant::Acknowledged, &[]);
}

#[test]
fn a_point_that_lists_what_has_ended() {
    // One that was withdrawn has no TTL to be listed after.
    is_noticed(Flaw::PageServesEnded, Invariant::Expiry, &[Invariant::Identity]);
}

#[test]
fn a_point_that_takes_anybodys_record() {
    is_noticed(Flaw::RegistersForAnother, Invariant::Identity, &[]);
}

#[test]
fn cookies_that_skip() {
    is_noticed(Flaw::CookieSkips, Invariant::Cookies, &[]);
}

#[test]
fn cookies_that_repeat() {
    is_noticed(Flaw::CookieRepeats, Invariant::Cookies, &[]);
}

#[test]
fn a_point_that_does_not_know_its_quotas() {
    is_noticed(Flaw::QuotasIgnored, Invariant::Quotas, &[]);
}

#[test]
fn a_store_that_keeps_what_has_ended() {
    is_noticed(Flaw::StoreForgetsNothing, Invariant::Memory, &[]);
}

#[test]
fn a_client_whose_time_never_comes() {
    is_noticed(Flaw::ClientNeverCalled, Invariant::Answers, &[]);
}

#[test]
fn a_network_that_never_heals() {
    is_noticed(Flaw::NeverQuiet, Invariant::Quiet, &[]);
}
