//! What was discovered ends, whatever the shell calls at that instant.

use core::time::Duration;

use rendezvous_core::client::{Answer, Client, ClientConfig, Discovered, Event, From, PageCost, Skipped};
use rendezvous_record::Flavour;
use rendezvous_sim::fixtures::{self, EPOCH};
use rendezvous_wire::{Namespace, Ttl};

#[test]
fn the_end_of_a_peer_has_its_timeout_even_if_another_call_has_brought_the_clock_past_it() {
    let mut client = Client::new(ClientConfig::default(), fixtures::keypair(1), [0; 32]);
    let point = fixtures::keypair(2).public().to_peer_id();
    let record = fixtures::record(3, Flavour::Standard);
    let namespace = Namespace::new("chat").expect("a short name");

    client.discover(EPOCH, point, Some(namespace.clone()), None, From::Fresh);
    let request = client.poll_request(EPOCH).expect("a DISCOVER");
    let registrations = vec![Discovered { namespace, record: record.clone(), ttl: Ttl::from_secs(1) }];
    let page = Answer::Page {
        registrations,
        unverified: Vec::new(),
        cookie: None,
        skipped: Skipped::default(),
        cost: PageCost::default(),
    };
    client.handle_answer(EPOCH, request.id, page);
    assert!(matches!(client.poll_event(), Some(Event::Discovered { .. })));
    let end = EPOCH + Duration::from_secs(1);
    assert_eq!(client.poll_timeout(), Some(end));

    // A shell wakes at the end, and goes through its drive loop: the event is not there yet, then the clock moves.
    assert_eq!(client.poll_event(), None);
    assert_eq!(client.poll_request(end), None);
    assert_eq!(client.poll_timeout(), Some(end), "there is something left to be told");
    client.handle_timeout(end);
    assert_eq!(client.poll_event(), Some(Event::PeerExpired { peer: record.peer_id() }));
    assert_eq!(client.poll_timeout(), None);
}
