//! `rendezvous unregister`: withdraw what an earlier run has left.

use std::collections::BTreeMap;

use rendezvous_swarm::client;
use rendezvous_wire::Dialect;
use serde::Serialize;

use crate::{
    args,
    error::Error,
    output::{self, Output, printable},
    session::{Event, Outcome, Session},
};

/// What `--json` prints, an object per point.
#[derive(Debug, Serialize)]
struct Unregistered<'a> {
    event: &'static str,
    namespace: &'a str,
    point: String,
}

pub(crate) async fn run(args: args::Unregister) -> Result<(), Error> {
    if args.client.dialect == Dialect::Waku {
        return Err(Error::NoUnregister(args.client.dialect));
    }
    let mut output = Output::new(args.json);
    let (mut session, key) = Session::start(&args.client)?;
    if key.is_new {
        let remedy = "the key is new, and nothing is registered with it: give the key of the registration with --key";
        output::note(remedy);
    }
    let mut asked = BTreeMap::new();
    for point in session.points() {
        asked.insert(session.rendezvous().unregister_at(point, args.namespace.clone()), point);
    }
    // What is pending is tried once, rather than again after a while.
    session.rendezvous().shutdown();
    let mut outcome = Outcome::default();
    while !asked.is_empty() {
        let Event::Rendezvous(client::Event::UnregisteredAt { request, failure, .. }) = session.next().await? else {
            continue;
        };
        let Some(point) = asked.remove(&request) else { continue };
        if let Some(failure) = failure {
            outcome.fail(&session, &point, session.error(&point, failure));
            continue;
        }
        outcome.succeed();
        let point = session.name(&point);
        let namespace = args.namespace.as_str();
        let human = format_args!("unregistered: {} at {point}", printable(namespace)).to_string();
        output.result(human, &Unregistered { event: "unregistered", namespace, point })?;
        output.flush()?;
    }
    outcome.result()
}
