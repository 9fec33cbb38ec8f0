//! A point that is closed and opened again at random does as one that runs on, in memory.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod common;

use common::{
    places::{InDirectory, InFiles, InMap, Place},
    point::{Point, config, desk, listing},
};
use proptest::{collection::vec, prelude::*, sample::select};
use rendezvous_core::server::{IpPrefix, Origin, Server};
use rendezvous_record::Flavour;
use rendezvous_sim::{
    desk::{Desk, peer},
    fixtures::{self, EPOCH},
};

const NAMESPACES: [&str; 3] = ["a", "b", "a longer one"];
const CLIENTS: usize = 3;

#[derive(Clone, Debug)]
enum Command {
    Register { number: u64, flavour: Flavour, namespace: &'static str, ttl_secs: u64, prefix: Option<u8> },
    Unregister { number: u64, namespace: Option<&'static str> },
    Commit,
    Pass { secs: u64 },
    Page { client: usize, limit: u64 },
    Reopen { down_secs: u64 },
}

fn command() -> impl Strategy<Value = Command> {
    let namespace = || select(&NAMESPACES[..]);
    let flavour = select(&[Flavour::Standard, Flavour::Legacy][..]);
    let ttl_secs = prop_oneof![60u64..70, 60u64..400];
    let register = (0u64..5, flavour, namespace(), ttl_secs, proptest::option::of(0u8..2)).prop_map(
        |(number, flavour, namespace, ttl_secs, prefix)| Command::Register {
            number,
            flavour,
            namespace,
            ttl_secs,
            prefix,
        },
    );
    let unregister = (0u64..5, proptest::option::of(namespace()));
    prop_oneof![
        6 => register,
        1 => unregister.prop_map(|(number, namespace)| Command::Unregister { number, namespace }),
        1 => Just(Command::Commit),
        2 => (0u64..70).prop_map(|secs| Command::Pass { secs }),
        3 => (0..CLIENTS, 1u64..6).prop_map(|(client, limit)| Command::Page { client, limit }),
        2 => prop_oneof![Just(0), 0u64..100].prop_map(|down_secs| Command::Reopen { down_secs }),
    ]
}

/// Both sides, and the cookies of some clients: the first lists all namespaces, each other one of them.
struct Sides<P: Place> {
    place: P,
    point: Option<Point<P::Store>>,
    model: Desk,
    /// As got from the point and from the model: they differ by where positions began.
    cookies: [(Vec<u8>, Vec<u8>); CLIENTS],
}

impl<P: Place> Sides<P> {
    fn new() -> Self {
        let place = P::default();
        let point = Some(place.point(0));
        let model = desk(Server::new(EPOCH, config(), [9; 16]), EPOCH);
        Self { place, point, model, cookies: Default::default() }
    }

    fn point(&mut self) -> &mut Point<P::Store> {
        self.point.as_mut().unwrap()
    }

    fn take(&mut self, command: &Command) {
        if !matches!(command, Command::Register { .. } | Command::Unregister { .. }) {
            self.point().commit_all().unwrap();
        }
        match *command {
            Command::Register { number, flavour, namespace, ttl_secs, prefix } => {
                let record = fixtures::record(number, flavour);
                let origin = Origin::from(prefix.map(|number| IpPrefix::V4([192, 0, number])));
                for desk in [&mut self.point.as_mut().unwrap().desk, &mut self.model] {
                    desk.origin = origin;
                    let envelope = Some(record.envelope());
                    desk.register_pending(&peer(number), envelope.map(|bytes| &bytes[..]), namespace, Some(ttl_secs))
                        .unwrap();
                }
            }
            Command::Unregister { number, namespace } => {
                self.point().desk.unregister(&peer(number), namespace);
                self.model.unregister(&peer(number), namespace);
            }
            Command::Commit => {}
            Command::Pass { secs } => {
                self.point().pass(secs);
                self.model.pass(secs);
            }
            Command::Page { client, limit } => {
                let namespace = client.checked_sub(1).map(|at| NAMESPACES[at]);
                let (cookie, expected_cookie) = core::mem::take(&mut self.cookies[client]);
                let found = self.point().desk.discover(namespace, limit, &cookie).unwrap();
                let expected = self.model.discover(namespace, limit, &expected_cookie).unwrap();
                assert_eq!(found.found, expected.found);
                self.cookies[client] = (found.cookie, expected.cookie);
            }
            Command::Reopen { down_secs } => {
                drop(self.point.take());
                self.model.pass(down_secs);
                let point = Point::open(self.place.open(), self.model.now).unwrap();
                assert_eq!(point.opened.now, self.model.now);
                self.point = Some(point);
            }
        }
    }
}

fn agrees<P: Place>(commands: &[Command]) {
    let mut sides = Sides::<P>::new();
    for command in commands {
        sides.take(command);
    }
    sides.take(&Command::Reopen { down_secs: 0 });
    assert_eq!(sides.point.as_mut().unwrap().listing(), listing(&mut sides.model));
    let kept = sides.model.server.stats().registrations;
    sides.take(&Command::Reopen { down_secs: 0 });
    drop(sides.point.take());
    assert_eq!(sides.place.kept(), kept as u64, "no more is kept than is registered");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_map_agrees_with_the_model(commands in vec(command(), 0..60)) {
        agrees::<InMap>(&commands);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn embedded_agrees_with_the_model(commands in vec(command(), 0..60)) {
        agrees::<InDirectory>(&commands);
    }

    #[test]
    fn files_agree_with_the_model(commands in vec(command(), 0..60)) {
        agrees::<InFiles>(&commands);
    }
}
