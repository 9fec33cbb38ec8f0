//! Registering before it is due, and not at all once it stands.

use std::time::Duration;

use libp2p_identity::{Keypair, PeerId};
use rendezvous_core::{
    Time,
    client::{Answer, Client, ClientConfig, Event, RegistrationId, RequestKind},
};
use rendezvous_record::Flavour;
use rendezvous_wire::{Namespace, Ttl};

const START: Time = Time::from_unix_millis(1_700_000_000_000);

fn key(seed: u8) -> Keypair {
    Keypair::ed25519_from_bytes([seed; 32]).expect("32 bytes are a key")
}

fn point() -> PeerId {
    key(2).public().to_peer_id()
}

/// A client whose registration stands for 100 s.
fn registered(config: ClientConfig) -> (Client, RegistrationId) {
    let mut client = Client::new(config, key(1), [3; 32]);
    client.set_addresses(START, vec!["/ip4/192.0.2.1/tcp/4001".parse().expect("it is a multiaddr")]);
    let id = client.register(START, Namespace::new("chat").expect("it is a namespace"), [point()], None);
    answer(&mut client, START);
    assert!(client.is_registered(id, &point()));
    (client, id)
}

/// Takes the one request that is due, and grants it.
fn answer(client: &mut Client, now: Time) {
    let request = client.poll_request(now).expect("a request");
    assert_eq!(request.kind, RequestKind::Register);
    client.handle_answer(now, request.id, Answer::Registered { ttl: Ttl::from_secs(100) });
    assert!(matches!(client.poll_event(), Some(Event::Registered { .. })));
    assert!(client.poll_request(now).is_none(), "one request");
}

#[test]
fn a_registration_is_sent_again_when_it_is_asked_for_and_refreshed_from_then() {
    let (mut client, id) = registered(ClientConfig::default());
    let now = START + Duration::from_secs(50);
    assert!(client.poll_request(now).is_none(), "nothing is due at half of the lifetime");
    assert!(client.register_again(now, id));
    answer(&mut client, now);
    assert!(client.poll_timeout().is_some_and(|at| at >= now + Duration::from_secs(75)), "the refresh moves along");
}

#[test]
fn a_registration_that_is_gone_is_not_sent_again() {
    let (mut client, id) = registered(ClientConfig::default());
    client.unregister(START, id);
    assert!(!client.register_again(START, id));
    let request = client.poll_request(START).expect("a request");
    assert_eq!(request.kind, RequestKind::Unregister);
}

#[test]
fn without_refreshes_a_registration_lapses_once_and_can_be_sent_again() {
    let (mut client, id) = registered(ClientConfig { refreshes: false, ..ClientConfig::default() });
    let lapse = START + Duration::from_secs(100);
    assert_eq!(client.poll_timeout(), Some(lapse), "no refresh before the end");
    client.handle_timeout(lapse);
    assert!(matches!(client.poll_event(), Some(Event::Lapsed { id: lapsed, .. }) if lapsed == id));
    assert!(client.poll_request(lapse).is_none() && client.poll_timeout().is_none(), "nothing more is due");
    assert!(client.register_again(lapse, id));
    answer(&mut client, lapse);
}

#[test]
fn the_record_that_is_registered_is_known() {
    let (client, _) = registered(ClientConfig::default());
    for flavour in Flavour::ALL {
        let record = client.own_record(flavour).expect("there is an address");
        assert_eq!((record.peer_id(), record.flavour()), (client.peer_id(), flavour));
    }
    assert!(Client::new(ClientConfig::default(), key(1), [3; 32]).own_record(Flavour::Standard).is_none());
}
