//! The state machine in virtual time.

use core::{
    task::{Context, Poll},
    time::Duration,
};
use std::time::Instant;

use futures::task::noop_waker_ref;
use libp2p_identity::{Keypair, PeerId};
use rendezvous_wire::Namespace;

use super::*;
use crate::{
    event::FindEvent,
    source::{FailureKind, Found, Urgency},
};

const SECOND: Duration = Duration::from_secs(1);

/// A manager's state, and its time.
struct Rig {
    state: State,
    now: Instant,
}

impl Rig {
    fn new() -> Self {
        let now = Instant::now();
        Self { state: State::new(now, Config::default()), now }
    }

    fn source(&mut self, name: &'static str) -> SourceId {
        self.state.add_source(self.now, SourceName::new(name), Timing::default())
    }

    fn acts(&mut self) -> Vec<(SourceId, Act)> {
        std::iter::from_fn(|| self.state.pop_act(self.now)).collect()
    }

    /// Passes time, through every deadline on the way.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.state.poll_timeout().filter(|at| self.now < *at && *at <= end) {
            self.now = at;
            self.state.handle_timeout(self.now);
        }
        self.now = end;
        self.state.handle_timeout(self.now);
    }

    fn report(&mut self, source: SourceId, report: Report) {
        self.state.handle_report(self.now, source, report);
    }

    fn found(&mut self, source: SourceId, peer: PeerId, seq: u64, address: &str) {
        let found = Found::new(peer, Some(name("a")), 60 * SECOND).with_seq(seq);
        self.report(source, Report::Found(found.with_addresses([address.parse().expect("it is an address")])));
    }

    /// What a query is told now, in short.
    fn told(&mut self, find: FindId) -> Vec<String> {
        let mut told = Vec::new();
        let mut cx = Context::from_waker(noop_waker_ref());
        while let Poll::Ready(Some(event)) = self.state.poll_find(self.now, find, &mut cx) {
            let address = event.peer().addresses().first().map(ToString::to_string).unwrap_or_default();
            told.push(match event {
                FindEvent::Found(_) => format!("found {address}"),
                FindEvent::Updated(_) => format!("updated {address}"),
                FindEvent::Expired(_) => format!("expired {address}"),
            });
        }
        told
    }
}

fn name(name: &str) -> Namespace {
    Namespace::new(name).expect("it is a name")
}

fn peer() -> PeerId {
    Keypair::generate_ed25519().public().to_peer_id()
}

fn query() -> Query {
    Query::namespace(name("a"))
}

fn request(urgency: Urgency) -> Act {
    Act::Request(Some(name("a")), urgency)
}

fn advertise() -> Act {
    Act::Advertise(name("a"), crate::TTL)
}

#[test]
fn a_new_advertisement_is_sent_at_once_and_then_at_every_tta() {
    let mut rig = Rig::new();
    let source = rig.source("s");
    rig.pass(17 * SECOND);
    let id = rig.state.advertise(rig.now, name("a"));
    assert_eq!(rig.acts(), [(source, advertise())]);
    rig.pass(crate::TTA - SECOND);
    assert_eq!(rig.acts(), []);
    rig.pass(SECOND);
    assert_eq!(rig.acts(), [(source, advertise())]);
    rig.state.end_advertisement(rig.now, id);
    assert_eq!(rig.acts(), [(source, Act::Withdraw(name("a")))]);
    rig.pass(10 * crate::TTA);
    assert_eq!(rig.acts(), []);
}

#[test]
fn queries_of_one_name_share_its_requests_and_the_last_releases_it() {
    let mut rig = Rig::new();
    let source = rig.source("s");
    let [first, second] = [rig.state.find(rig.now, query()), rig.state.find(rig.now, query())];
    assert_eq!(rig.acts(), [(source, request(Urgency::Due))]);
    rig.pass(crate::TTR);
    assert_eq!(rig.acts(), [(source, request(Urgency::Due))]);
    rig.state.end_find(rig.now, first);
    assert_eq!(rig.acts(), []);
    rig.state.end_find(rig.now, second);
    assert_eq!(rig.acts(), [(source, Act::Release(Some(name("a"))))]);
}

#[test]
fn a_source_that_joins_is_told_what_is_wanted_and_one_that_leaves_takes_its_word_along() {
    let mut rig = Rig::new();
    let find = rig.state.find(rig.now, query());
    rig.state.advertise(rig.now, name("a"));
    let [first, second] = ["first", "second"].map(|name| rig.source(name));
    let acts = rig.acts();
    for source in [first, second] {
        assert!(acts.contains(&(source, advertise())) && acts.contains(&(source, request(Urgency::Due))));
    }
    let [both, alone] = [peer(), peer()];
    rig.found(first, both, 1, "/memory/1");
    rig.found(second, both, 1, "/memory/1");
    rig.found(first, alone, 1, "/memory/2");
    assert_eq!(rig.told(find), ["found /memory/1", "found /memory/2"]);
    assert!(rig.state.remove_source(rig.now, first));
    assert_eq!(rig.told(find), ["expired /memory/2"]);
    rig.pass(10 * crate::TTA);
    assert!(rig.acts().iter().all(|(source, _)| *source == second));
}

#[test]
fn one_record_is_told_once_however_many_tell_it() {
    let mut rig = Rig::new();
    let [first, second] = ["first", "second"].map(|name| rig.source(name));
    let find = rig.state.find(rig.now, query());
    let peer = peer();
    rig.found(first, peer, 5, "/memory/1");
    rig.found(second, peer, 5, "/memory/1");
    rig.found(first, peer, 5, "/memory/1");
    assert_eq!(rig.told(find), ["found /memory/1"]);
    rig.found(second, peer, 5, "/memory/1");
    rig.found(second, peer, 4, "/memory/2");
    assert_eq!(rig.told(find), Vec::<String>::new(), "an older record counts for nothing");
    rig.found(second, peer, 6, "/memory/3");
    assert_eq!(rig.told(find), ["updated /memory/3"]);
    rig.found(second, peer, 7, "/memory/3");
    assert_eq!(rig.told(find), ["updated /memory/3"], "it is another record");
}

#[test]
fn what_ends_is_told_and_what_is_renewed_stays() {
    let mut rig = Rig::new();
    let source = rig.source("s");
    let find = rig.state.find(rig.now, query());
    let [stays, ends] = [peer(), peer()];
    rig.found(source, stays, 1, "/memory/1");
    rig.found(source, ends, 1, "/memory/2");
    assert_eq!(rig.told(find).len(), 2);
    rig.pass(50 * SECOND);
    rig.found(source, stays, 1, "/memory/1");
    rig.pass(10 * SECOND);
    assert_eq!(rig.told(find), ["expired /memory/2"]);
    rig.report(source, Report::Gone { peer: stays, namespace: Some(name("a")) });
    assert_eq!(rig.told(find), ["expired /memory/1"]);
}

#[test]
fn a_reader_who_does_not_read_is_told_how_it_stands_then() {
    let mut rig = Rig::new();
    let source = rig.source("s");
    let find = rig.state.find(rig.now, query());
    let [known, changes] = [peer(), peer()];
    rig.found(source, known, 1, "/memory/1");
    assert_eq!(rig.told(find), ["found /memory/1"]);
    for round in 0..1_000_u64 {
        rig.found(source, changes, round + 1, &format!("/memory/{}", round + 100));
        let passes = peer();
        rig.found(source, passes, 1, "/memory/9");
        rig.report(source, Report::Gone { peer: passes, namespace: Some(name("a")) });
    }
    rig.report(source, Report::Gone { peer: known, namespace: Some(name("a")) });
    assert_eq!(rig.told(find), ["expired /memory/1", "found /memory/1099"]);
}

#[test]
fn who_was_found_already_is_told_to_a_new_query_and_matching_may_end() {
    let mut rig = Rig::new();
    let source = rig.source("s");
    let first = rig.state.find(rig.now, query());
    let peer = peer();
    rig.found(source, peer, 1, "/memory/1");
    assert_eq!(rig.told(first), ["found /memory/1"]);
    let memory = rig.state.find(rig.now, query() & Query::at("/memory/1".parse().expect("it is an address")));
    assert_eq!(rig.told(memory), ["found /memory/1"]);
    rig.found(source, peer, 2, "/memory/2");
    assert_eq!(rig.told(memory), ["expired /memory/1"]);
    assert_eq!(rig.told(first), ["updated /memory/2"]);
}

#[test]
fn this_peer_is_never_found() {
    let mut rig = Rig::new();
    let own = peer();
    rig.state = State::new(rig.now, Config { local_peer: Some(own), ..Config::default() });
    let source = rig.source("s");
    let find = rig.state.find(rig.now, query());
    rig.found(source, own, 1, "/memory/1");
    assert_eq!(rig.told(find), Vec::<String>::new());
}

#[test]
fn what_nobody_looks_for_is_kept_for_a_while() {
    let mut rig = Rig::new();
    let source = rig.source("s");
    let find = rig.state.find(rig.now, query());
    rig.acts();
    rig.report(source, Report::Found(Found::new(peer(), Some(name("a")), 7_200 * SECOND)));
    rig.state.end_find(rig.now, find);
    rig.acts();
    rig.pass(59 * SECOND);
    assert_eq!(rig.state.cached(rig.now, &query()).len(), 1);
    rig.pass(SECOND);
    assert_eq!(rig.state.cached(rig.now, &query()).len(), 0);
}

#[test]
fn a_cleared_cache_is_asked_for_anew() {
    let mut rig = Rig::new();
    let source = rig.source("s");
    let find = rig.state.find(rig.now, query());
    rig.acts();
    let peer = peer();
    rig.found(source, peer, 1, "/memory/1");
    assert_eq!(rig.told(find), ["found /memory/1"]);
    rig.state.clear(rig.now);
    assert_eq!(rig.told(find), ["expired /memory/1"]);
    assert_eq!(rig.acts(), [(source, request(Urgency::Now))]);
    rig.found(source, peer, 1, "/memory/1");
    assert_eq!(rig.told(find), ["found /memory/1"]);
}

fn poll_refresh(rig: &mut Rig, id: RefreshId) -> Poll<usize> {
    let mut cx = Context::from_waker(noop_waker_ref());
    rig.state.poll_refresh(rig.now, id, &mut cx).map(|peers| peers.expect("it runs").len())
}

#[test]
fn a_refresh_asks_now_and_waits_for_every_source_that_can_be_asked() {
    let mut rig = Rig::new();
    let [first, second, third] = ["first", "second", "third"].map(|name| rig.source(name));
    let answered = || Report::Requested { namespace: Some(name("a")) };
    let refresh = rig.state.refresh(rig.now, query());
    rig.report(first, answered());
    assert_eq!(poll_refresh(&mut rig, refresh), Poll::Pending, "what was answered before it was asked does not count");
    let all = [first, second, third].map(|source| (source, request(Urgency::Now)));
    assert_eq!(rig.acts(), all);
    rig.state.handle_taken(third, &Item::Request(Some(name("a"))), false);
    rig.found(first, peer(), 1, "/memory/1");
    rig.report(first, answered());
    assert_eq!(poll_refresh(&mut rig, refresh), Poll::Pending);
    let failure = FailureKind::Unreachable.into();
    rig.report(second, Report::RequestFailed { namespace: Some(name("a")), failure });
    assert_eq!(poll_refresh(&mut rig, refresh), Poll::Ready(1));
    rig.state.end_refresh(rig.now, refresh);
    assert_eq!(rig.acts().len(), 2, "released where it was taken");
    assert_eq!(rig.state.stats().finds, 0);
}

#[test]
fn a_source_that_never_answers_does_not_hold_a_refresh_for_ever() {
    let mut rig = Rig::new();
    rig.source("mute");
    let refresh = rig.state.refresh(rig.now, query());
    rig.acts();
    rig.pass(29 * SECOND);
    assert_eq!(poll_refresh(&mut rig, refresh), Poll::Pending);
    rig.pass(SECOND);
    assert_eq!(poll_refresh(&mut rig, refresh), Poll::Ready(0));
    let leaving = rig.source("leaving");
    let refresh = rig.state.refresh(rig.now, query());
    rig.state.remove_source(rig.now, leaving);
    assert_eq!(poll_refresh(&mut rig, refresh), Poll::Pending, "the mute one is left");
}

#[test]
fn the_last_word_of_each_place_waits_for_the_advertisement() {
    let mut rig = Rig::new();
    let source = rig.source("s");
    let id = rig.state.advertise(rig.now, name("a"));
    rig.acts();
    let [here, there] = [Some(peer()), Some(peer())];
    for _ in 0..5_000 {
        for place in [here, there] {
            let failure = FailureKind::Refused.into();
            rig.report(source, Report::AdvertiseFailed { namespace: name("a"), place, failure });
        }
    }
    rig.report(source, Report::Advertised { namespace: name("a"), place: here, ttl: SECOND });
    let mut cx = Context::from_waker(noop_waker_ref());
    let told: Vec<_> = std::iter::from_fn(|| match rig.state.poll_advertisement(id, &mut cx) {
        Poll::Ready(event) => event.map(|event| (event.place(), format!("{event:?}").starts_with("Advertised"))),
        Poll::Pending => None,
    })
    .collect();
    assert_eq!(told, [(there, false), (here, true)]);
}

#[test]
fn stopping_withdraws_and_ends_when_that_is_said_or_in_its_time() {
    for is_answered in [true, false] {
        let mut rig = Rig::new();
        let source = rig.source("s");
        let find = rig.state.find(rig.now, query());
        rig.state.advertise(rig.now, name("a"));
        rig.acts();
        rig.state.stop(rig.now);
        assert!(!rig.state.is_running());
        assert_eq!(rig.acts().len(), 2);
        rig.state.handle_timeout(rig.now);
        assert!(!rig.state.has_ended());
        if is_answered {
            rig.report(source, Report::Withdrawn { namespace: name("a"), failure: None });
            rig.state.handle_timeout(rig.now);
        } else {
            rig.pass(5 * SECOND);
        }
        assert!(rig.state.has_ended());
        let mut cx = Context::from_waker(noop_waker_ref());
        assert!(matches!(rig.state.poll_find(rig.now, find, &mut cx), Poll::Ready(None)));
    }
}

#[test]
fn a_source_that_does_not_advertise_is_not_told_to_withdraw() {
    let mut rig = Rig::new();
    let source = rig.source("s");
    let id = rig.state.advertise(rig.now, name("a"));
    assert_eq!(rig.acts(), [(source, advertise())]);
    rig.state.handle_taken(source, &Item::Advertise(name("a")), false);
    rig.pass(10 * crate::TTA);
    assert_eq!(rig.acts(), [], "nor asked again");
    rig.state.end_advertisement(rig.now, id);
    assert_eq!(rig.acts(), []);
    assert!(!rig.state.is_withdrawing(&name("a")));
}

#[test]
fn a_name_that_is_wanted_again_before_it_was_withdrawn_stays() {
    let mut rig = Rig::new();
    let source = rig.source("s");
    let id = rig.state.advertise(rig.now, name("a"));
    rig.acts();
    rig.state.end_advertisement(rig.now, id);
    rig.state.advertise(rig.now, name("a"));
    assert_eq!(rig.acts(), [(source, advertise())]);
    assert!(!rig.state.is_withdrawing(&name("a")));
}

#[test]
fn nothing_is_left_when_everything_is_given_back() {
    let mut rig = Rig::new();
    let source = rig.source("s");
    for _ in 0..100 {
        let find = rig.state.find(rig.now, query());
        let advertisement = rig.state.advertise(rig.now, name("a"));
        rig.acts();
        rig.found(source, peer(), 1, "/memory/1");
        rig.told(find);
        rig.state.end_find(rig.now, find);
        rig.state.end_advertisement(rig.now, advertisement);
        rig.acts();
        rig.report(source, Report::Withdrawn { namespace: name("a"), failure: None });
    }
    rig.pass(61 * SECOND);
    rig.state.remove_source(rig.now, source);
    assert_eq!(rig.state.poll_timeout(), None);
    assert_eq!(rig.state.stats(), Stats::default());
}
