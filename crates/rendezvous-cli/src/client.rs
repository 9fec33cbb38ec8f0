//! `rendezvous client`: stay registered with points, and see who else is.

use std::{collections::BTreeMap, time::Duration};

use libp2p::PeerId;
use rendezvous_record::Flavour;
use rendezvous_swarm::{
    RecordKind,
    client::{self, Failure, GoneWhy},
};

use crate::{
    args,
    error::Error,
    keeper::{Keeper, Stay},
    listing::{self, Found, Told},
    output::{self, CLIENT_BACKLOG, Output},
    poller::{self, Polled, Poller},
    session::Event,
    signals::Signals,
};

pub(crate) async fn run(args: args::ClientRun) -> Result<(), Error> {
    // Before anything can be registered that a signal would leave behind.
    let mut signals = Signals::listen()?;
    let stay = if args.no_refresh { Stay::Unrefreshed } else { Stay::Refreshed };
    let namespace = args.registration.namespace.clone();
    let every = Duration::from_secs(args.every);
    let (config, output) = (poller::config(every), Output::queued(args.json, CLIENT_BACKLOG)?);
    let keeper = Keeper::start(&args.client, args.registration, stay, config, output).await?;
    let poller = Poller::new(Some(namespace), every, false);
    let mut member = Member {
        keeper,
        poller,
        is_refreshed: stay == Stay::Refreshed,
        is_looking: false,
        is_listed: false,
        own: BTreeMap::new(),
    };
    loop {
        tokio::select! {
            event = member.keeper.session.next() => member.on_event(event?)?,
            signal = signals.next() => {
                signal.map_err(Error::Start)?;
                signals.end_at_next();
                return member.keeper.leave().await;
            }
        }
    }
}

/// One that is registered and looks around.
struct Member {
    keeper: Keeper,
    poller: Poller,
    is_refreshed: bool,
    is_looking: bool,
    /// Whether it has been told that this peer is listed.
    is_listed: bool,
    own: BTreeMap<PeerId, Own>,
}

/// What the listings of a point say of this peer.
#[derive(Debug, Default)]
struct Own {
    /// Whether it was registered when the poll before ended, and thereby when this one began.
    is_expected: bool,
    /// Whether it was in the last whole listing.
    is_listed: bool,
    /// Whole listings in a row that should have had it.
    missed: u32,
}

impl Own {
    /// Takes note of a listing without this peer, though it is registered; whether to register again.
    ///
    /// The first time at once, and then ever more seldom: a point that lists nobody who asks is not chased.
    fn miss(&mut self) -> bool {
        self.missed = self.missed.saturating_add(1);
        self.missed.is_power_of_two()
    }
}

impl Member {
    fn on_event(&mut self, event: Event) -> Result<(), Error> {
        let Event::Rendezvous(told) = &event else { return self.keeper.on_event(event) };
        match told {
            client::Event::LookupChanged { .. }
            | client::Event::LookupPolled { .. }
            | client::Event::LookupFailed { .. } => {
                let Event::Rendezvous(event) = event else { return Ok(()) };
                let Keeper { session, output, .. } = &mut self.keeper;
                if let Some(polled) = self.poller.on_event(session, output, event)? {
                    self.on_polled(&polled)?;
                }
            }
            client::Event::Registered { point, .. } => {
                let point = *point;
                let was_out = !self.keeper.is_granted(&point);
                self.keeper.on_event(event)?;
                if was_out {
                    self.look();
                }
            }
            client::Event::RegisterFailed { failure, .. } => {
                // Who is there is asked once this peer is, or is known not to be let in.
                let is_refused = matches!(failure, Failure::Refused { .. });
                self.keeper.on_event(event)?;
                if is_refused && !self.is_looking {
                    self.look();
                }
            }
            _ => self.keeper.on_event(event)?,
        }
        Ok(())
    }

    /// Polls at once.
    fn look(&mut self) {
        self.is_looking = true;
        self.poller.poll(&mut self.keeper.session);
    }

    /// A poll of a point has ended, with this peer listed or not.
    fn on_polled(&mut self, polled: &Polled) -> Result<(), Error> {
        let is_registered = self.keeper.is_registered(&polled.point);
        let own = self.own.entry(polled.point).or_default();
        let was_expected = std::mem::replace(&mut own.is_expected, is_registered);
        let Some(has_own) = polled.has_own else { return Ok(()) };
        own.is_listed = has_own;
        let is_missed = !has_own && was_expected && self.is_refreshed && own.miss();
        if has_own {
            own.missed = 0;
        }
        let is_listed = self.own.values().any(|own| own.is_listed);
        if is_listed != self.is_listed {
            self.is_listed = is_listed;
            self.say_own()?;
        }
        if is_missed {
            output::note(format_args!(
                "the point{} does not list this peer: registering again",
                self.keeper.session.place(&polled.point)
            ));
            self.keeper.register_again(&polled.point);
        }
        Ok(())
    }

    /// Tells that this peer is listed, or no longer.
    fn say_own(&mut self) -> Result<(), Error> {
        let (ttl, kind) = (self.keeper.ttl_left(), self.keeper.kind().unwrap_or(Flavour::Standard.into()));
        let Keeper { session, output, namespace, .. } = &mut self.keeper;
        let listing: Vec<PeerId> = self.own.iter().filter(|(_, own)| own.is_listed).map(|(point, _)| *point).collect();
        let flavour = kind.flavour().unwrap_or(Flavour::Standard);
        let Some(record) = session.rendezvous().own_record(flavour).cloned() else {
            return Ok(());
        };
        let (peer, namespace) = (record.peer_id(), namespace.as_str());
        let found = match kind {
            RecordKind::Signed(_) => Found::new(namespace, &record, ttl),
            RecordKind::Unsigned => Found::unverified(namespace, &peer, session.rendezvous().addresses(), ttl),
        };
        let told = if self.is_listed {
            Told::Found(found.at(session, &listing).own())
        } else {
            listing::gone(&peer, namespace, GoneWhy::Unlisted, true)
        };
        output.result(&told, &told)?;
        output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_that_never_lists_this_peer_is_asked_ever_more_seldom() {
        let mut own = Own::default();
        let asked: Vec<usize> = (1..=20).filter(|_| own.miss()).collect();
        assert_eq!(asked, [1, 2, 4, 8, 16]);
    }
}
