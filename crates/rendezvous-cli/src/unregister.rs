//! `rendezvous unregister`: withdraw what an earlier run has left.

use rendezvous_swarm::client;
use rendezvous_wire::Dialect;
use serde::Serialize;

use crate::{
    args,
    error::Error,
    output::{self, Output, printable},
    session::{Event, Session},
};

/// What `--json` prints.
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
    let point = session.point().peer;
    let asked = session.rendezvous().unregister_at(point, args.namespace.clone());
    // What is pending is tried once, rather than again after a while.
    session.rendezvous().shutdown();
    loop {
        let Event::Rendezvous(client::Event::UnregisteredAt { request, failure, .. }) = session.next().await? else {
            continue;
        };
        if request != asked {
            continue;
        }
        if let Some(failure) = failure {
            return Err(session.error(failure));
        }
        let point = session.point().to_string();
        let namespace = args.namespace.as_str();
        let human = format_args!("unregistered: {} at {point}", printable(namespace)).to_string();
        output.result(human, &Unregistered { event: "unregistered", namespace, point })?;
        return output.flush();
    }
}
