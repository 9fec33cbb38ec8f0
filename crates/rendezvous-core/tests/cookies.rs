//! Cookie completeness: walks of random pages, while peers come, renew, leave and end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may say so by panicking")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use rendezvous_record::{Flavour, Flavours};
use rendezvous_sim::{
    desk::{Desk, peer, stranger},
    fixtures,
};

const PEERS: u64 = 24;
const NAMESPACE: &str = "chat";

#[derive(Clone, Debug)]
enum Action {
    Register { number: u64, flavour: Flavour, ttl_secs: u64 },
    Leave { number: u64 },
    Pass { secs: u64 },
    Page { limit: u64 },
}

fn action() -> impl Strategy<Value = Action> {
    let flavour = prop_oneof![2 => Just(Flavour::Standard), 1 => Just(Flavour::Legacy)];
    prop_oneof![
        3 => (0..PEERS, flavour, 60..400_u64)
            .prop_map(|(number, flavour, ttl_secs)| Action::Register { number, flavour, ttl_secs }),
        1 => (0..PEERS).prop_map(|number| Action::Leave { number }),
        1 => (0..60_u64).prop_map(|secs| Action::Pass { secs }),
        4 => (1..5_u64).prop_map(|limit| Action::Page { limit }),
    ]
}

/// What one walk has seen of a peer that was registered when it began, or has registered since.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Times that it was listed since its last REGISTER.
    since_register: u32,
    /// Whether it has been registered without a break since the walk began.
    lives: bool,
}

/// Walks to the end again and again; at each end, what lived through the walk has been listed, and at no time is anything
/// listed twice without a REGISTER in between.
fn walk(actions: Vec<Action>, all_namespaces: bool, reads: Flavours) {
    let namespace = (!all_namespaces).then_some(NAMESPACE);
    let mut desk = Desk::new();
    let mut cookie = Vec::new();
    let mut seen: BTreeMap<u64, Seen> = BTreeMap::new();
    let page = |desk: &mut Desk, cookie: &mut Vec<u8>, seen: &mut BTreeMap<u64, Seen>, limit: u64| {
        let page = desk.discover_as(&stranger(), Some(reads), namespace, limit, cookie).unwrap().unwrap();
        *cookie = page.cookie.clone();
        for found in &page.found {
            let number = (0..PEERS).find(|number| peer(*number) == found.peer).unwrap();
            let seen = seen.entry(number).or_default();
            seen.since_register += 1;
            assert_eq!(seen.since_register, 1, "listed twice without a REGISTER in between");
        }
        page.found.len()
    };
    for action in actions {
        match action {
            Action::Register { number, flavour, ttl_secs } => {
                if !reads.contains(flavour) {
                    continue;
                }
                let record = fixtures::record(number, flavour);
                desk.register_record(&record, NAMESPACE, Some(ttl_secs)).unwrap();
                let seen = seen.entry(number).or_default();
                *seen = Seen { since_register: 0, lives: true };
            }
            Action::Leave { number } => {
                desk.unregister(&peer(number), Some(NAMESPACE));
                seen.entry(number).or_default().lives = false;
            }
            Action::Pass { secs } => {
                desk.pass(secs);
                desk.server.handle_timeout(desk.now);
                for (number, seen) in &mut seen {
                    seen.lives &= desk.server.is_registered(&peer(*number), NAMESPACE);
                }
            }
            Action::Page { limit } => {
                page(&mut desk, &mut cookie, &mut seen, limit);
            }
        }
    }
    while page(&mut desk, &mut cookie, &mut seen, 3) > 0 {}
    for (number, seen) in seen {
        assert!(!seen.lives || seen.since_register == 1, "peer {number} lived through the walk and was not listed");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_lives_through_a_walk_is_listed_once_for_each_register(
        actions in proptest::collection::vec(action(), 1..80),
        all_namespaces: bool,
        reads in prop_oneof![Just(Flavours::STANDARD), Just(Flavours::BOTH)],
    ) {
        walk(actions, all_namespaces, reads);
    }
}
