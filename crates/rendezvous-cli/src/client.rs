//! `rendezvous client`: be registered with a point, and see who else is.

use std::time::Duration;

use rendezvous_record::Flavour;
use rendezvous_swarm::client::{self, Failure};

use crate::{
    args,
    error::Error,
    keeper::{Keeper, Stay},
    listing::{self, Found, Told},
    output::{self, Output},
    poller::{Polled, Poller},
    session::Event,
    signals::Signals,
    watch::Why,
};

pub(crate) async fn run(args: args::ClientRun) -> Result<(), Error> {
    // Before anything can be registered that a signal would leave behind.
    let mut signals = Signals::listen()?;
    let stay = if args.no_refresh { Stay::Unrefreshed } else { Stay::Refreshed };
    let namespace = args.registration.namespace.clone();
    let keeper = Keeper::start(&args.client, args.registration, stay, Output::new(args.json)).await?;
    let poller = Poller::new(Some(namespace), Duration::from_secs(args.every), false);
    let mut member =
        Member { keeper, poller, is_refreshed: stay == Stay::Refreshed, is_looking: false, own: Own::default() };
    loop {
        // Who is there is asked once this peer is, or is known not to be let in.
        let is_polling = member.is_looking;
        tokio::select! {
            event = member.keeper.session.next() => member.on_event(event?)?,
            () = member.poller.due(), if is_polling => member.poll(),
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
    own: Own,
}

/// What the listings say of this peer.
#[derive(Debug, Default)]
struct Own {
    /// Whether it was registered when the poll began.
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
    fn poll(&mut self) {
        self.own.is_expected = self.keeper.is_registered();
        self.poller.poll(&mut self.keeper.session);
    }

    fn on_event(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Rendezvous(event @ (client::Event::Discovered { .. } | client::Event::DiscoverFailed { .. })) => {
                let Keeper { session, output, .. } = &mut self.keeper;
                if let Some(Polled { has_own: Some(has_own) }) = self.poller.on_event(session, output, event)? {
                    self.on_listing(has_own)?;
                }
                Ok(())
            }
            event => {
                let was_out = self.keeper.flavour.is_none();
                let is_refused = matches!(
                    &event,
                    Event::Rendezvous(client::Event::RegisterFailed { failure: Failure::Refused { .. }, .. })
                );
                self.keeper.on_event(event)?;
                if was_out && self.keeper.flavour.is_some() {
                    self.poller.hasten();
                }
                self.is_looking |= is_refused || self.keeper.flavour.is_some();
                Ok(())
            }
        }
    }

    /// A whole listing has come, with this peer in it or not.
    fn on_listing(&mut self, has_own: bool) -> Result<(), Error> {
        if has_own != self.own.is_listed {
            self.own.is_listed = has_own;
            self.say_own()?;
        }
        if has_own {
            self.own.missed = 0;
        } else if self.own.is_expected && self.is_refreshed && self.own.miss() {
            output::note("the point does not list this peer: registering again");
            self.keeper.register_again();
        }
        Ok(())
    }

    /// Tells that this peer is listed, or no longer.
    fn say_own(&mut self) -> Result<(), Error> {
        let ttl = self.keeper.ttl_left();
        let Keeper { session, output, namespace, flavour, .. } = &mut self.keeper;
        let own = session.rendezvous().own_record(flavour.unwrap_or(Flavour::Standard));
        let Some(record) = own else { return Ok(()) };
        let told = if self.own.is_listed {
            Told::Found(Found::new(namespace.as_str(), record, ttl).own())
        } else {
            listing::gone(&record.peer_id(), namespace.as_str(), Why::Unlisted, true)
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
