//! `rendezvous register`: be registered with points, for as long as the command runs.

use std::{collections::BTreeMap, time::Duration};

use libp2p::PeerId;
use rendezvous_record::Flavours;
use rendezvous_swarm::client::{self, ClientConfig};
use tokio::time::{Instant, timeout_at};

use crate::{
    args,
    error::Error,
    keeper::{Keeper, Stay},
    output::{CLIENT_BACKLOG, Output},
    session::{Event, Outcome},
    signals::Signals,
};

/// With `--once`, longest time behind the first success for learning whether the point wants the record in both
/// flavours, and giving it those.
const BOTH_FLAVOURS_MAX: Duration = Duration::from_secs(2);

pub(crate) async fn run(args: args::Register) -> Result<(), Error> {
    // Before anything can be registered that a signal would leave behind.
    let signals = if args.once { None } else { Some(Signals::listen()?) };
    let how = if args.once { Stay::Once } else { Stay::Refreshed };
    // Whoever stays registered is not stopped by a reader that does not read.
    let output = if args.once { Output::new(args.json) } else { Output::queued(args.json, CLIENT_BACKLOG)? };
    let keeper = Keeper::start(&args.client, args.registration, how, ClientConfig::default(), output).await?;
    match signals {
        Some(signals) => stay(keeper, signals).await,
        None => once(keeper).await,
    }
}

/// Stays registered until a signal, and withdraws.
async fn stay(mut keeper: Keeper, mut signals: Signals) -> Result<(), Error> {
    loop {
        tokio::select! {
            event = keeper.session.next() => keeper.on_event(event?)?,
            signal = signals.next() => {
                signal.map_err(Error::Start)?;
                signals.end_at_next();
                return keeper.leave().await;
            }
        }
    }
}

/// Registers at each point in the flavours that it keeps, and is done.
async fn once(mut keeper: Keeper) -> Result<(), Error> {
    let mut outcome = Outcome::default();
    let mut is_dual: BTreeMap<PeerId, bool> = BTreeMap::new();
    // Each point with the end of its time, once there is one.
    let mut waiting: BTreeMap<PeerId, Option<Instant>> =
        keeper.session.points().into_iter().map(|point| (point, None)).collect();
    while !waiting.is_empty() {
        let event = match waiting.values().flatten().min() {
            None => keeper.session.next().await?,
            Some(deadline) => match timeout_at(*deadline, keeper.session.next()).await {
                Ok(event) => event?,
                Err(_) => {
                    let now = Instant::now();
                    waiting.retain(|_, deadline| deadline.is_none_or(|deadline| deadline > now));
                    continue;
                }
            },
        };
        match event {
            Event::Identified { point, is_dual: says } => {
                is_dual.insert(point, says);
            }
            Event::Rendezvous(client::Event::RegisterFailed { point, failure, .. }) => {
                // The registration that stands is what was asked for.
                let is_open = waiting.remove(&point).is_some();
                if is_open && !keeper.is_granted(&point) {
                    outcome.fail(&keeper.session, &point, keeper.session.error(&point, failure));
                }
            }
            event => keeper.on_event(event)?,
        }
        let granted: Vec<PeerId> = waiting.keys().filter(|point| keeper.is_granted(point)).copied().collect();
        for point in granted {
            outcome.succeed();
            let registered = keeper.session.rendezvous().registered_flavours(keeper.id, &point);
            if is_dual.get(&point) == Some(&false) || registered == Flavours::BOTH {
                waiting.remove(&point);
            } else if let Some(deadline) = waiting.get_mut(&point) {
                deadline.get_or_insert_with(|| Instant::now() + BOTH_FLAVOURS_MAX);
            }
        }
    }
    outcome.result()
}
