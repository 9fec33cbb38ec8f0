//! The specification, sentence by sentence: each test is named after what the specification says and quotes it.
//!
//! Sections as in <https://github.com/libp2p/specs/blob/master/rendezvous/README.md>. `cargo xtask conformance` makes the
//! list in `tests/CONFORMANCE.md` from this file.

use bytes::Bytes;
use rendezvous_core::{
    client::{ClientConfig, Event, From},
    server::Refusal,
};
use rendezvous_record::{Flavour, Limits, VerifiedRecord};
use rendezvous_sim::{
    Network, World,
    desk::{Desk, peer},
    fixtures,
};
use rendezvous_wire::{InvalidNamespace, Limit, MessageType, Namespace, Status, Ttl};

/// "The Protocol".
mod the_protocol {
    use super::*;

    /// "Peers connect to the rendezvous point and register their presence in one or more namespaces."
    #[test]
    fn a_peer_registers_in_one_or_more_namespaces() {
        let mut desk = Desk::new();
        for namespace in ["my-app", "another-app"] {
            desk.register(1, namespace, 7_200).expect("a registration");
        }
        for namespace in ["my-app", "another-app"] {
            assert_eq!(desk.discover(Some(namespace), 10, &[]).expect("a page").peers(), [peer(1)]);
        }
    }

    /// "It is not allowed to register arbitrary peers in a namespace; only the peer initiating the registration can register
    /// itself."
    #[test]
    fn only_the_peer_initiating_the_registration_can_register_itself() {
        let mut desk = Desk::new();
        let of_another = fixtures::record(1, Flavour::Standard);
        let refusal = desk.register_pending(&peer(2), Some(of_another.envelope()), "my-app", None);
        let refusal = refusal.expect_err("it is another peer's record");
        assert_eq!(refusal, Refusal::ForeignRecord);
        assert_eq!(refusal.status(MessageType::Register), Status::NotAuthorized);
        assert!(desk.discover(Some("my-app"), 10, &[]).expect("a page").found.is_empty());
    }

    /// "The register message contains a serialized signed peer record created by the peer, which can be validated by others."
    #[test]
    fn the_signed_peer_record_is_passed_on_as_it_was_received_and_can_be_validated() {
        let mut desk = Desk::new();
        let record = fixtures::record(1, Flavour::Standard);
        desk.register_record(&record, "my-app", None).expect("a registration");
        // The desk verifies each record of a page as any reader would; here once more, byte for byte.
        let envelope = Bytes::copy_from_slice(record.envelope());
        let again = VerifiedRecord::verify(envelope, &Limits::default()).expect("it is validated");
        assert_eq!(again, record);
        assert_eq!(desk.discover(Some("my-app"), 10, &[]).expect("a page").peers(), [record.peer_id()]);
    }

    /// The status `E_INVALID_SIGNED_PEER_RECORD` of the section "Protobuf": a record that others could not validate.
    #[test]
    fn a_register_without_a_valid_signed_peer_record_is_refused() {
        let mut desk = Desk::new();
        let mut broken = fixtures::record(1, Flavour::Standard).envelope().to_vec();
        broken[100] ^= 1;
        for envelope in [None, Some(&[][..]), Some(&broken)] {
            let refusal = desk.register_pending(&peer(1), envelope, "my-app", None).expect_err("no valid record");
            assert_eq!(refusal.status(MessageType::Register), Status::InvalidSignedPeerRecord);
        }
    }

    /// "The query specifies the namespace for limiting application scope …"
    #[test]
    fn a_query_is_limited_to_its_namespace() {
        let mut desk = Desk::new();
        desk.register(1, "my-app", 7_200).expect("a registration");
        desk.register(2, "another-app", 7_200).expect("a registration");
        assert_eq!(desk.discover(Some("my-app"), 10, &[]).expect("a page").peers(), [peer(1)]);
    }

    /// "… and optionally a maximum number of peers to return."
    #[test]
    fn a_query_may_carry_a_maximum_number_of_peers() {
        let mut desk = Desk::new();
        for number in 0..5 {
            desk.register(number, "my-app", 7_200).expect("a registration");
        }
        assert_eq!(desk.discover(Some("my-app"), 3, &[]).expect("a page").found.len(), 3);
    }

    /// "The namespace can be omitted in the query, which asks for all peers registered to the rendezvous point."
    #[test]
    fn a_query_without_a_namespace_asks_for_all_peers() {
        let mut desk = Desk::new();
        desk.register(1, "my-app", 7_200).expect("a registration");
        desk.register(2, "another-app", 7_200).expect("a registration");
        assert_eq!(desk.discover(None, 10, &[]).expect("a page").peers(), [peer(1), peer(2)]);
    }

    /// "The query can also include a cookie, obtained from the response to a previous query, such that only registrations
    /// that weren't included in the previous response will be returned."
    #[test]
    fn a_query_with_a_cookie_returns_only_what_the_response_before_did_not_include() {
        let mut desk = Desk::new();
        desk.register(1, "my-app", 7_200).expect("a registration");
        let cookie = desk.discover(Some("my-app"), 10, &[]).expect("a page").cookie;
        assert!(desk.discover(Some("my-app"), 10, &cookie).expect("a page").found.is_empty());
        desk.register(2, "my-app", 7_200).expect("a registration");
        assert_eq!(desk.discover(Some("my-app"), 10, &cookie).expect("a page").peers(), [peer(2)]);
    }

    /// "This allows peers to progressively refresh their network view without overhead …"
    #[test]
    fn a_peer_refreshes_its_view_progressively() {
        let mut desk = Desk::new();
        let mut cookie = desk.discover(Some("my-app"), 10, &[]).expect("a page").cookie;
        for number in 0..10 {
            desk.register(number, "my-app", 7_200).expect("a registration");
            let page = desk.discover(Some("my-app"), 10, &cookie).expect("a page");
            assert_eq!(page.peers(), [peer(number)]);
            cookie = page.cookie;
        }
    }

    /// "It also allows for pagination of query responses, so that large numbers of peer registrations can be managed."
    #[test]
    fn large_numbers_of_registrations_are_read_in_pages() {
        let mut desk = Desk::new();
        for number in 0..2_500 {
            desk.register(number, "my-app", 7_200).expect("a registration");
        }
        assert_eq!(desk.discover(Some("my-app"), 1_000, &[]).expect("a page").found.len(), 1_000);
        let walked: Vec<_> = desk.walk(Some("my-app"), 1_000, &[]).into_iter().map(|found| found.peer).collect();
        assert_eq!(walked, (0..2_500).map(peer).collect::<Vec<_>>());
    }

    /// "The rendezvous protocol runs over libp2p streams using the protocol id `/rendezvous/1.0.0`."
    #[test]
    fn the_protocol_id_is_rendezvous_1_0_0() {
        assert_eq!(rendezvous_wire::PROTOCOL, "/rendezvous/1.0.0");
    }
}

/// "Registration Lifetime".
mod registration_lifetime {
    use super::*;

    /// "Registration lifetime is controlled by an optional TTL parameter in the `REGISTER` message. If a TTL is specified, then
    /// the registration persists until the TTL expires."
    #[test]
    fn a_registration_persists_until_its_ttl_expires() {
        let mut desk = Desk::new();
        desk.register(1, "my-app", 7_200).expect("a registration");
        desk.pass(7_199);
        assert_eq!(desk.discover(Some("my-app"), 10, &[]).expect("a page").found.len(), 1);
        desk.pass(1);
        assert!(desk.discover(Some("my-app"), 10, &[]).expect("a page").found.is_empty());
    }

    /// "If no TTL was specified, then a default of 2hrs is implied."
    #[test]
    fn without_a_ttl_the_default_is_two_hours() {
        let mut desk = Desk::new();
        let granted = desk.register_record(&fixtures::record(1, Flavour::Standard), "my-app", None);
        assert_eq!(granted, Ok(Ttl::from_secs(2 * 60 * 60)));
        assert_eq!(desk.discover(Some("my-app"), 10, &[]).expect("a page").found[0].ttl_secs, 7_200);
    }

    /// "There may be a rendezvous point-specific upper bound on TTL, with a minimum such value of 72hrs."
    #[test]
    fn the_upper_bound_on_ttl_is_72_hours() {
        let mut desk = Desk::new();
        assert_eq!(desk.register(1, "my-app", 72 * 60 * 60), Ok(Ttl::from_secs(259_200)));
        assert!(matches!(desk.register(1, "my-app", 72 * 60 * 60 + 1), Err(Refusal::TtlTooLong { .. })));
    }

    /// "If the TTL of a registration is inadmissible, the rendezvous point may reject the registration with an
    /// `E_INVALID_TTL` status."
    #[test]
    fn an_inadmissible_ttl_is_rejected_with_e_invalid_ttl() {
        let mut desk = Desk::new();
        for ttl in [1, 259_201, u64::MAX] {
            let refusal = desk.register(1, "my-app", ttl).expect_err("out of bounds");
            assert_eq!(refusal.status(MessageType::Register), Status::InvalidTtl);
        }
    }

    /// "Peers can refresh their registrations at any time with a new `REGISTER` message; the TTL of the new message supersedes
    /// previous registrations."
    #[test]
    fn a_new_register_refreshes_and_its_ttl_supersedes() {
        let mut desk = Desk::new();
        desk.register(1, "my-app", 7_200).expect("a registration");
        desk.pass(100);
        desk.register(1, "my-app", 60).expect("a shorter one");
        assert_eq!(desk.discover(Some("my-app"), 10, &[]).expect("a page").found[0].ttl_secs, 60);
        desk.register(1, "my-app", 10_000).expect("a longer one");
        desk.pass(9_999);
        assert_eq!(desk.discover(Some("my-app"), 10, &[]).expect("a page").found.len(), 1);
        assert_eq!(desk.server.stats().registrations, 1);
    }

    /// "Peers can also cancel existing registrations at any time with an explicit `UNREGISTER` message."
    #[test]
    fn an_unregister_cancels_the_registration() {
        let mut desk = Desk::new();
        desk.register(1, "my-app", 7_200).expect("a registration");
        desk.register(1, "another-app", 7_200).expect("a registration");
        desk.unregister(&peer(1), Some("my-app"));
        assert!(desk.discover(Some("my-app"), 10, &[]).expect("a page").found.is_empty());
        assert_eq!(desk.discover(Some("another-app"), 10, &[]).expect("a page").found.len(), 1);
    }

    /// "The registration response includes the actual TTL of the registration, so that peers know when to refresh."
    #[test]
    fn the_response_includes_the_actual_ttl_and_clients_refresh_by_it() {
        let mut world = World::new(5, Network::default(), rendezvous_core::server::ServerConfig::default());
        let client = world.add_client(ClientConfig::default());
        let namespace = Namespace::new("my-app").expect("a short name");
        let ttl = Ttl::from_secs(600);
        world.command(client, |client, now, point| client.register(now, namespace.clone(), [point], Some(ttl)));
        world.run_for(core::time::Duration::from_secs(3_000));
        let registered: Vec<_> = world.take_events(client);
        assert!(
            registered
                .iter()
                .all(|(_, event)| matches!(event, Event::Registered { ttl: granted, .. } if *granted == ttl))
        );
        for pair in registered.windows(2) {
            let between = pair[1].0.saturating_since(pair[0].0).as_secs();
            assert!((449..=526).contains(&between), "refreshed after {between} s of 600");
        }
        assert!(registered.len() >= 6);
    }
}

/// "Interaction".
mod interaction {
    use super::*;

    fn found(desk: &mut Desk, namespace: Option<&str>) -> Vec<libp2p_identity::PeerId> {
        desk.discover(namespace, 10, &[]).expect("a page").peers()
    }

    /// "Clients A and B connect to the rendezvous point R and register for namespace my-app … Client C connects and registers
    /// for namespace another-app … Another client D can discover peers in my-app by sending a DISCOVER message; the rendezvous
    /// point responds with the list of current peer registrations and a cookie."
    #[test]
    fn a_client_discovers_the_current_registrations_of_a_namespace_and_gets_a_cookie() {
        let mut desk = Desk::new();
        let (a, b, c) = (1, 2, 3);
        for (client, namespace) in [(a, "my-app"), (b, "my-app"), (c, "another-app")] {
            desk.register(client, namespace, 7_200).expect("OK");
        }
        let page = desk.discover(Some("my-app"), 10, &[]).expect("a page");
        assert_eq!(page.peers(), [peer(a), peer(b)]);
        assert!(!page.cookie.is_empty());
    }

    /// "If D wants to discover all peers registered with R, then it can omit the namespace in the query."
    #[test]
    fn a_client_discovers_all_peers_by_omitting_the_namespace() {
        let mut desk = Desk::new();
        for (client, namespace) in [(1, "my-app"), (2, "my-app"), (3, "another-app")] {
            desk.register(client, namespace, 7_200).expect("OK");
        }
        assert_eq!(found(&mut desk, None), [peer(1), peer(2), peer(3)]);
    }

    /// "If D wants to progressively poll for real time discovery, it can use the cookie obtained from a previous response in
    /// order to only ask for new registrations. … a new client E registering after the first query, and a subsequent query that
    /// discovers just that peer by including the cookie."
    #[test]
    fn a_client_polls_with_its_cookie_and_discovers_just_the_new_peer() {
        let mut world = World::new(6, Network::default(), rendezvous_core::server::ServerConfig::default());
        let namespace = Namespace::new("my-app").expect("a short name");
        let clients: Vec<_> = (0..4).map(|_| world.add_client(ClientConfig::default())).collect();
        let (a, b, d, e) = (clients[0], clients[1], clients[2], clients[3]);
        let register = |world: &mut World, client| {
            world.command(client, |client, now, point| client.register(now, namespace.clone(), [point], None));
            world.run_for(core::time::Duration::from_secs(1));
        };
        let poll = |world: &mut World| {
            world.command(d, |client, now, point| {
                client.discover(now, point, Some(namespace.clone()), None, From::Cookie)
            });
            world.run_for(core::time::Duration::from_secs(1));
            world
                .take_events(d)
                .into_iter()
                .flat_map(|(_, event)| match event {
                    Event::Discovered { registrations, .. } => {
                        registrations.iter().map(|found| found.record.peer_id()).collect::<Vec<_>>()
                    }
                    other => panic!("a page, not {other:?}"),
                })
                .collect::<Vec<_>>()
        };
        register(&mut world, a);
        register(&mut world, b);
        assert_eq!(poll(&mut world), [world.peer(a), world.peer(b)]);
        register(&mut world, e);
        assert_eq!(poll(&mut world), [world.peer(e)]);
    }
}

/// "Recommendations for Rendezvous Points configurations".
mod recommendations {
    use super::*;

    /// "a minimum acceptable ttl of 2H": a setting here, since peers of other implementations ask for less.
    #[test]
    fn a_minimum_acceptable_ttl_of_2_hours_under_its_setting() {
        let mut desk = Desk::with(|config| config.ttl_min = Ttl::RECOMMENDED_MIN);
        assert!(matches!(desk.register(1, "my-app", 7_199), Err(Refusal::TtlTooShort { .. })));
        assert_eq!(desk.register(1, "my-app", 7_200), Ok(Ttl::from_secs(7_200)));
    }

    /// "a maximum acceptable ttl of 72H".
    #[test]
    fn a_maximum_acceptable_ttl_of_72_hours() {
        let mut desk = Desk::new();
        assert_eq!(desk.register(1, "my-app", 259_200), Ok(Ttl::RECOMMENDED_MAX));
        assert!(matches!(desk.register(1, "my-app", 259_201), Err(Refusal::TtlTooLong { .. })));
    }

    /// "a maximum namespace length of 255".
    #[test]
    fn a_maximum_namespace_length_of_255() {
        let mut desk = Desk::new();
        assert!(desk.register(1, &"x".repeat(255), 7_200).is_ok());
        let refusal = desk.register(1, &"x".repeat(256), 7_200).expect_err("one byte too many");
        assert_eq!(refusal, Refusal::Namespace(InvalidNamespace::TooLong { len_bytes: 256 }));
        assert_eq!(refusal.status(MessageType::Register), Status::InvalidNamespace);
        let refusal = desk.discover(Some(&"x".repeat(256)), 10, &[]).expect_err("one byte too many");
        assert_eq!(refusal.status(MessageType::Discover), Status::InvalidNamespace);
    }

    /// "a maximum of 1000 registration for each peer".
    #[test]
    fn a_maximum_of_1000_registrations_for_each_peer() {
        let mut desk = Desk::new();
        let record = fixtures::record(1, Flavour::Standard);
        for number in 0..1_000 {
            desk.register_record(&record, &format!("app-{number}"), None).expect("within the quota");
        }
        assert_eq!(desk.register_record(&record, "app-1000", None), Err(Refusal::PeerFull { max: 1_000 }));
        assert!(desk.register_record(&record, "app-7", None).is_ok(), "a renewal passes");
        assert!(desk.register(2, "app-1000", 7_200).is_ok(), "another peer has a quota of its own");
    }

    /// "a maximum of 1000 peers should be returned per namespace query".
    #[test]
    fn a_maximum_of_1000_peers_is_returned_per_query() {
        let mut desk = Desk::new();
        for number in 0..1_001 {
            desk.register(number, "my-app", 7_200).expect("a registration");
        }
        for limit in [0, 1_000, 1_001, u64::MAX] {
            assert_eq!(desk.discover(Some("my-app"), limit, &[]).expect("a page").found.len(), 1_000);
        }
        assert_eq!(Limit::MAX.count(), 1_000);
    }
}
