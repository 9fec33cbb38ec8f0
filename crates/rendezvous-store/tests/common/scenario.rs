//! A fixed course of commands, to be disturbed at every point.

use rendezvous_core::server::Server;
use rendezvous_record::Flavour::{self, Legacy, Standard};
use rendezvous_sim::{
    desk::{Found, peer},
    fixtures::{self, EPOCH},
};
use rendezvous_store::{CommitError, Store};

use super::point::{Point, config, desk, listing};

/// What one peer registers.
pub type Registering = (u64, Flavour, &'static str, u64);

/// One command, and the commit of what it changes.
#[derive(Clone, Debug)]
pub enum Step {
    Register(Registering),
    /// Of several peers, in one commit.
    Group(Vec<Registering>),
    Unregister(u64, Option<&'static str>),
    Pass(u64),
    /// The point ends, and is opened again so many seconds later.
    Reopen(u64),
}

/// Every kind of change, renewals, ends, and two restarts.
pub fn scenario() -> Vec<Step> {
    vec![
        Step::Register((1, Standard, "a", 3_600)),
        Step::Register((2, Standard, "a", 100)),
        Step::Register((1, Legacy, "a", 200)),
        Step::Group(vec![
            (3, Standard, "a", 3_600),
            (3, Standard, "b", 90),
            (4, Legacy, "b", 3_600),
            (2, Legacy, "b", 90),
        ]),
        Step::Unregister(1, Some("a")),
        Step::Reopen(10),
        Step::Register((1, Standard, "a", 3_600)),
        Step::Register((1, Standard, "a", 1_800)),
        Step::Pass(100),
        Step::Group(vec![(2, Standard, "a", 3_600), (5, Standard, "c", 60), (2, Standard, "a", 7_200)]),
        Step::Unregister(3, None),
        Step::Reopen(100),
        Step::Register((5, Legacy, "c", 3_600)),
        Step::Register((6, Standard, "a", 3_600)),
    ]
}

impl Step {
    /// Does it; `Reopen` is whoever calls this to do.
    pub fn run<S: Store>(&self, point: &mut Point<S>) -> Result<(), CommitError> {
        match self {
            Self::Register(one) => {
                register(&mut point.desk, one);
                point.commit_all()
            }
            Self::Group(all) => {
                all.iter().for_each(|one| register(&mut point.desk, one));
                point.commit_all()
            }
            Self::Unregister(number, namespace) => point.unregister(*number, *namespace),
            Self::Pass(secs) => {
                point.pass(*secs);
                Ok(())
            }
            Self::Reopen(_) => panic!("it is opened by whoever closes it"),
        }
    }
}

fn register(desk: &mut rendezvous_sim::desk::Desk, &(number, flavour, namespace, ttl_secs): &Registering) {
    let record = fixtures::record(number, flavour);
    desk.register_pending(&peer(number), Some(record.envelope()), namespace, Some(ttl_secs)).unwrap();
}

/// What is listed after these steps by a point in memory that runs on.
pub fn expected(steps: &[Step]) -> [Vec<Found>; 3] {
    let mut desk = desk(Server::new(EPOCH, config(), [9; 16]), EPOCH);
    for step in steps {
        match step {
            Step::Register(one) => register(&mut desk, one),
            Step::Group(all) => all.iter().for_each(|one| register(&mut desk, one)),
            Step::Unregister(number, namespace) => desk.unregister(&peer(*number), *namespace),
            Step::Pass(secs) | Step::Reopen(secs) => desk.pass(*secs),
        }
    }
    listing(&mut desk)
}
