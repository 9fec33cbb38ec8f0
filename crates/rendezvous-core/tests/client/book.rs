//! Addresses of discovered peers.

use rendezvous_core::client::{ClientConfig, Discovered, Event, From};
use rendezvous_record::{Flavour, Limits, VerifiedRecord};
use rendezvous_sim::fixtures;
use rendezvous_wire::Ttl;

use crate::rig::*;

impl Rig {
    /// A point lists these.
    fn discovered(&mut self, at: u64, registrations: Vec<Discovered>) {
        self.client.discover(self.now, point(at), Some(chat()), None, From::Fresh);
        let request = self.request();
        self.answer(&request, page(registrations, None));
        self.events();
    }
}

/// A registration of peer 2 with the addresses of another number, as of this `seq`.
fn record(seq: u64, addresses: u64, ttl_secs: u64) -> Discovered {
    let addresses = fixtures::addresses(addresses);
    let record = VerifiedRecord::sign(&fixtures::keypair(2), Flavour::Standard, seq, &addresses, &Limits::default())
        .expect("within the limits");
    Discovered { namespace: chat(), record, ttl: Ttl::from_secs(ttl_secs) }
}

const SEQ: u64 = 1_700_000_000_000_000_000;

#[test]
fn addresses_are_known_until_the_ttl_ends_and_the_end_is_told() {
    let mut rig = Rig::new();
    rig.discovered(0, vec![found(&chat(), 2, 100)]);
    assert_eq!(rig.client.addresses_of(rig.now, &peer(2)), fixtures::addresses(2));
    assert!(rig.client.addresses_of(rig.now, &peer(3)).is_empty());
    assert_eq!(rig.client.poll_timeout(), Some(rig.now + secs(100)));
    let end = rig.now + secs(100);
    assert!(rig.client.addresses_of(end, &peer(2)).is_empty(), "even before the client is told the time");
    rig.pass(secs(99));
    assert!(!rig.client.addresses_of(rig.now, &peer(2)).is_empty());
    rig.pass(secs(1));
    assert_eq!(rig.event(), Event::PeerExpired { peer: peer(2) });
    assert_eq!(rig.client.stats().peers, 0);
    assert_eq!(rig.client.poll_timeout(), None);
}

#[test]
fn rediscovery_extends_an_entry_and_never_shortens_it() {
    let mut rig = Rig::new();
    rig.discovered(0, vec![found(&chat(), 2, 100)]);
    rig.discovered(1, vec![found(&chat(), 2, 10)]);
    rig.pass(secs(50));
    assert!(!rig.client.addresses_of(rig.now, &peer(2)).is_empty());
    rig.discovered(1, vec![found(&chat(), 2, 100)]);
    rig.pass(secs(99));
    assert!(rig.events().is_empty(), "the end that was before does not count");
    rig.pass(secs(1));
    assert_eq!(rig.event(), Event::PeerExpired { peer: peer(2) });
}

#[test]
fn the_newer_record_counts_whichever_point_tells_it_first() {
    for [first, second] in [[1, 2], [2, 1]] {
        let mut rig = Rig::new();
        rig.discovered(0, vec![record(SEQ + first, 10 + first, 100)]);
        rig.discovered(1, vec![record(SEQ + second, 10 + second, 50)]);
        assert_eq!(rig.client.addresses_of(rig.now, &peer(2)), fixtures::addresses(12));
        assert_eq!(rig.client.record_of(rig.now, &peer(2)).map(VerifiedRecord::seq), Some(SEQ + 2));
    }
}

#[test]
fn a_seq_in_seconds_is_compared_as_nanoseconds() {
    let mut rig = Rig::new();
    rig.discovered(0, vec![record(SEQ, 11, 100)]);
    rig.discovered(0, vec![record(SEQ / 1_000_000_000 + 1, 12, 100)]);
    assert_eq!(rig.client.addresses_of(rig.now, &peer(2)), fixtures::addresses(12));
}

#[test]
fn no_more_addresses_are_given_of_a_peer_than_the_setting_says() {
    let mut rig = Rig::with(ClientConfig { addresses_per_peer_max: 2, ..ClientConfig::default() });
    rig.discovered(0, vec![found(&chat(), 2, 100)]);
    assert_eq!(rig.client.addresses_of(rig.now, &peer(2)), fixtures::addresses(2)[..2]);
}

#[test]
fn a_full_book_takes_room_from_the_point_that_uses_most_of_it() {
    let mut rig = Rig::with(ClientConfig { peers_max: 20, ..ClientConfig::default() });
    rig.discovered(0, (10..15).map(|number| found(&chat(), number, 60)).collect());
    // A flood of strangers who all claim to stay for days.
    rig.discovered(1, (100..400).map(|number| found(&chat(), number, 259_200)).collect());
    assert_eq!(rig.client.stats().peers, 20);
    for number in 10..15 {
        assert!(!rig.client.addresses_of(rig.now, &peer(number)).is_empty(), "the other point's peers stay");
    }
    // And of its own, those that end first go first.
    rig.discovered(1, (400..500).map(|number| found(&chat(), number, 100)).collect());
    assert_eq!(rig.client.stats().peers, 20);
    assert!((400..499).all(|number| rig.client.addresses_of(rig.now, &peer(number)).is_empty()));
}

#[test]
fn the_bytes_of_the_book_are_bounded() {
    let bytes = found(&chat(), 2, 1).record.envelope().len();
    let config = ClientConfig { peers_bytes_max: 10 * bytes + 9, ..ClientConfig::default() };
    let mut rig = Rig::with(config.clone());
    rig.discovered(0, (10..60).map(|number| found(&chat(), number, 60)).collect());
    let stats = rig.client.stats();
    assert!(stats.peers >= 9 && stats.peers_bytes <= config.peers_bytes_max, "{stats:?}");

    // Nothing at all is a setting too.
    for config in [
        ClientConfig { peers_max: 0, ..ClientConfig::default() },
        ClientConfig { peers_bytes_max: 0, ..ClientConfig::default() },
    ] {
        let mut rig = Rig::with(config);
        rig.discovered(0, vec![found(&chat(), 2, 100)]);
        assert_eq!(rig.client.stats().peers, 0);
        assert_eq!(rig.client.poll_timeout(), None);
    }
}
