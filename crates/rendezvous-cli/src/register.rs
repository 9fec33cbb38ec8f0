//! `rendezvous register`: be registered with a point, for as long as the command runs.

use std::time::Duration;

use rendezvous_record::Flavours;
use rendezvous_swarm::client;
use tokio::time::{Instant, timeout_at};

use crate::{
    args,
    error::Error,
    keeper::{Keeper, Stay},
    output::Output,
    session::Event,
    signals::Signals,
};

/// With `--once`, longest time behind the first success for learning whether the point wants the record in both
/// flavours, and giving it those.
const BOTH_FLAVOURS_MAX: Duration = Duration::from_secs(2);

pub(crate) async fn run(args: args::Register) -> Result<(), Error> {
    // Before anything can be registered that a signal would leave behind.
    let signals = if args.once { None } else { Some(Signals::listen()?) };
    let how = if args.once { Stay::Once } else { Stay::Refreshed };
    let keeper = Keeper::start(&args.client, args.registration, how, Output::new(args.json)).await?;
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

/// Registers in the flavours that the point keeps, and is done.
async fn once(mut keeper: Keeper) -> Result<(), Error> {
    let point = keeper.session.point().peer;
    let mut is_dual = None;
    let mut deadline = None;
    loop {
        let event = match deadline {
            None => keeper.session.next().await?,
            Some(deadline) => match timeout_at(deadline, keeper.session.next()).await {
                Ok(event) => event?,
                Err(_) => return Ok(()),
            },
        };
        match event {
            Event::Identified { is_dual: says } => is_dual = Some(says),
            // The registration that stands is what was asked for.
            Event::Rendezvous(client::Event::RegisterFailed { .. }) if keeper.flavour.is_some() => return Ok(()),
            Event::Rendezvous(client::Event::RegisterFailed { failure, .. }) => {
                return Err(keeper.session.error(failure));
            }
            event => keeper.on_event(event)?,
        }
        if keeper.flavour.is_some() {
            deadline = deadline.or_else(|| Some(Instant::now() + BOTH_FLAVOURS_MAX));
            let registered = keeper.session.rendezvous().registered_flavours(keeper.id, &point);
            if is_dual == Some(false) || registered == Flavours::BOTH {
                return Ok(());
            }
        }
    }
}
