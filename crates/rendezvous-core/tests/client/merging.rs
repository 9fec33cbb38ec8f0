//! What several points say of the same peers.

use rendezvous_core::client::{Discovered, Event, Gone, GoneWhy, LookupConfig, LookupId, Merged};
use rendezvous_record::{Flavour, Limits, VerifiedRecord};
use rendezvous_sim::fixtures;
use rendezvous_wire::Ttl;

use crate::rig::*;

const SEQ: u64 = 1_700_000_000_000_000_000;

/// A lookup that lists everything at two points, whenever it is told to.
struct Two {
    rig: Rig,
    id: LookupId,
}

impl Two {
    fn new() -> Self {
        Self::with(LookupConfig::default())
    }

    fn with(config: LookupConfig) -> Self {
        let mut rig = Rig::new();
        let id = rig.client.look_up(rig.now, Some(chat()), [point(0), point(1)], config);
        let mut two = Self { rig, id };
        two.answer([Vec::new(), Vec::new()]);
        two
    }

    /// Both points list these; returns what was found, updated and gone.
    fn poll(&mut self, listed: [Vec<Discovered>; 2]) -> (Vec<Merged>, Vec<Merged>, Vec<Gone>) {
        assert!(self.rig.client.look_up_again(self.rig.now, self.id));
        self.answer(listed)
    }

    fn answer(&mut self, listed: [Vec<Discovered>; 2]) -> (Vec<Merged>, Vec<Merged>, Vec<Gone>) {
        let requests = self.rig.requests();
        assert_eq!(requests.len(), 2);
        for request in requests {
            let at = usize::from(request.point == point(1));
            self.rig.answer(&request, page(listed[at].clone(), None));
        }
        self.changes()
    }

    fn changes(&mut self) -> (Vec<Merged>, Vec<Merged>, Vec<Gone>) {
        let mut all = (Vec::new(), Vec::new(), Vec::new());
        for event in self.rig.events() {
            if let Event::LookupChanged { found, updated, gone, .. } = event {
                all.0.extend(found);
                all.1.extend(updated);
                all.2.extend(gone);
            }
        }
        all
    }

    fn found(&self) -> Vec<Merged> {
        self.rig.client.found(self.rig.now, self.id).collect()
    }

    fn only(&self) -> Merged {
        let [merged] = self.found().try_into().expect("one peer");
        merged
    }
}

/// A registration of peer 2 with the addresses of another number.
fn record(seq: u64, addresses: u64, ttl_secs: u64) -> Discovered {
    flavoured(seq, addresses, ttl_secs, Flavour::Standard)
}

fn flavoured(seq: u64, addresses: u64, ttl_secs: u64, flavour: Flavour) -> Discovered {
    let addresses = fixtures::addresses(addresses);
    let record = VerifiedRecord::sign(&fixtures::keypair(2), flavour, seq, &addresses, &Limits::default())
        .expect("within the limits");
    Discovered { namespace: chat(), record, ttl: Ttl::from_secs(ttl_secs) }
}

fn addresses(merged: &Merged) -> Vec<multiaddr::Multiaddr> {
    merged.record.addresses()
}

#[test]
fn a_peer_that_both_points_list_is_found_once_with_both_and_the_longest_time() {
    let mut two = Two::new();
    let (found, updated, gone) = two.poll([vec![record(SEQ, 2, 100)], vec![record(SEQ, 2, 300)]]);
    assert_eq!((found.len(), updated, gone), (1, vec![], vec![]));
    assert_eq!(found[0].points, [point(0)], "as it was first told");
    let merged = two.only();
    assert_eq!((merged.ttl, merged.points), (Ttl::from_secs(300), vec![point(0), point(1)]));
}

#[test]
fn the_higher_seq_counts_whichever_point_tells_it_and_its_addresses_alone() {
    for [first, second] in [[1, 2], [2, 1]] {
        let mut two = Two::new();
        two.poll([vec![record(SEQ + first, 10 + first, 100)], vec![record(SEQ + second, 10 + second, 50)]]);
        let merged = two.only();
        assert_eq!(addresses(&merged), fixtures::addresses(12));
        assert_eq!(merged.ttl, Ttl::from_secs(100));
    }
    // Seconds, milliseconds and nanoseconds are one scale.
    let mut two = Two::new();
    two.poll([vec![record(SEQ / 1_000_000_000 + 1, 11, 100)], vec![record(SEQ / 1_000_000 + 2_000, 12, 100)]]);
    assert_eq!(addresses(&two.only()), fixtures::addresses(12));
}

#[test]
fn of_equally_new_records_the_one_with_the_longer_time_counts() {
    let mut two = Two::new();
    two.poll([vec![flavoured(SEQ, 11, 100, Flavour::Legacy)], vec![flavoured(SEQ, 12, 101, Flavour::Standard)]]);
    assert_eq!(addresses(&two.only()), fixtures::addresses(12));
}

#[test]
fn a_peer_that_one_point_has_dropped_stays_until_the_others_word_ends() {
    let mut two = Two::new();
    two.poll([vec![record(SEQ, 2, 300)], vec![record(SEQ, 2, 100)]]);
    let (_, _, gone) = two.poll([vec![], vec![record(SEQ, 2, 100)]]);
    assert_eq!(gone, []);
    let merged = two.only();
    assert_eq!((merged.ttl, merged.points), (Ttl::from_secs(100), vec![point(1)]));
    two.rig.pass(secs(99));
    assert_eq!(two.only().ttl, Ttl::from_secs(1));
    two.rig.pass(secs(1));
    let gone = Gone { namespace: chat(), peer: peer(2), why: GoneWhy::Expired };
    assert_eq!(two.changes().2, [gone]);

    two.poll([vec![record(SEQ, 2, 300)], vec![]]);
    let (_, _, gone) = two.poll([vec![], vec![]]);
    assert_eq!(gone, [Gone { namespace: chat(), peer: peer(2), why: GoneWhy::Unlisted }]);
}

#[test]
fn nothing_is_listed_beyond_its_time_even_before_the_client_is_told_the_time() {
    let mut two = Two::new();
    two.poll([vec![record(SEQ, 2, 100)], vec![]]);
    two.rig.now = two.rig.now + secs(100);
    assert_eq!(two.found(), []);
}

#[test]
fn other_addresses_are_told_and_another_seq_alone_is_not() {
    let mut two = Two::new();
    two.poll([vec![record(SEQ, 2, 100)], vec![]]);
    let (found, updated, gone) = two.poll([vec![record(SEQ + 1, 2, 100)], vec![]]);
    assert_eq!((found, updated, gone), (vec![], vec![], vec![]));
    let (_, updated, _) = two.poll([vec![record(SEQ + 2, 3, 100)], vec![]]);
    assert_eq!(updated.iter().map(addresses).collect::<Vec<_>>(), [fixtures::addresses(3)]);
}

#[test]
fn when_the_newest_word_ends_the_next_one_counts() {
    let mut two = Two::new();
    two.poll([vec![record(SEQ + 1, 11, 50)], vec![record(SEQ, 12, 100)]]);
    assert_eq!(addresses(&two.only()), fixtures::addresses(11));
    two.rig.pass(secs(50));
    let (_, updated, gone) = two.changes();
    assert_eq!((updated.len(), gone.len()), (1, 0));
    assert_eq!(addresses(&two.only()), fixtures::addresses(12), "never addresses of both");
}

#[test]
fn a_clock_that_was_set_back_does_not_freeze_a_peer_at_the_point_that_lists_it() {
    let mut two = Two::new();
    two.poll([vec![record(SEQ, 11, 100)], vec![]]);
    two.poll([vec![record(SEQ - 5, 12, 100)], vec![]]);
    assert_eq!(addresses(&two.only()), fixtures::addresses(12));
}

#[test]
fn both_flavours_of_one_registration_are_no_change() {
    let mut two = Two::new();
    let (new, old) = (flavoured(SEQ + 1, 11, 100, Flavour::Standard), flavoured(SEQ, 12, 100, Flavour::Legacy));
    for round in 0..3 {
        let (found, updated, _) = two.poll([vec![new.clone(), old.clone()], vec![]]);
        assert_eq!((found.len(), updated.len()), (usize::from(round == 0), 0));
        assert_eq!(addresses(&two.only()), fixtures::addresses(11));
    }
}

#[test]
fn a_point_that_floods_fills_its_own_share_and_no_other() {
    let mut two = Two::with(LookupConfig { peers_max: 20, ..LookupConfig::default() });
    let flood = (100..400).map(|number| found(&chat(), number, 259_200)).collect();
    two.poll([flood, (10..15).map(|number| found(&chat(), number, 60)).collect()]);
    assert_eq!(two.rig.client.stats().found_listings, 15);
    let peers: Vec<_> = two.found().iter().map(|merged| merged.record.peer_id()).collect();
    assert!((10..15).all(|number| peers.contains(&peer(number))));

    let bytes = found(&chat(), 2, 1).record.envelope().len();
    let mut two = Two::with(LookupConfig { peers_bytes_max: 10 * bytes + 9, ..LookupConfig::default() });
    two.poll([(100..200).map(|number| found(&chat(), number, 60)).collect(), vec![]]);
    assert!((3..=5).contains(&two.found().len()), "half of the bytes");
}

#[test]
fn a_point_that_is_added_gets_its_share_of_a_full_lookup() {
    let mut two = Two::with(LookupConfig { peers_max: 30, ..LookupConfig::default() });
    let flood = |from: u64| (from..from + 50).map(|number| found(&chat(), number, 600)).collect::<Vec<_>>();
    two.poll([flood(100), flood(200)]);
    assert_eq!(two.found().len(), 30);
    two.rig.client.add_lookup_point(two.rig.now, two.id, point(2));
    let (_, _, gone) = two.changes();
    assert_eq!(gone.len(), 10);
    assert!(gone.iter().all(|gone| gone.why == GoneWhy::OutOfRoom));
    let request = two.rig.request();
    two.rig.answer(&request, page(flood(300), None));
    assert_eq!(two.found().len(), 30);
    assert_eq!(two.found().iter().filter(|merged| merged.points == [point(2)]).count(), 10);
}
