//! Asking points again and again who is registered.

use std::{collections::BTreeMap, time::Duration};

use libp2p::PeerId;
use rendezvous_core::Time;
use rendezvous_swarm::client::{self, ClientConfig, LookupConfig, LookupId, Namespace, WalkLimit};

use crate::{
    error::Error,
    listing::{self, Found, Told},
    output::{self, Output},
    session::Session,
};

/// Most registrations of each point that are followed: some 50 MiB of records.
pub(crate) const FOLLOWED_MAX: usize = 100_000;

/// Most bytes of their records: as many of twice the ordinary size.
const FOLLOWED_BYTES_MAX: usize = 100 << 20;

/// Longest wait for a point that is away, where polls are not further apart by themselves.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Polls points, and tells who comes and goes.
pub(crate) struct Poller {
    namespace: Option<Namespace>,
    every: Duration,
    /// Whether every poll lists everything.
    is_fresh: bool,
    lookup: Option<LookupId>,
    points: BTreeMap<PeerId, State>,
    has_own: bool,
    is_over: bool,
    has_said_nobody: bool,
}

/// How it stands with a point.
#[derive(Debug, Default)]
struct State {
    has_answered: bool,
    is_away: bool,
    /// Whether its last listing was given up at a limit.
    is_partial: bool,
}

/// What a poll of a point has come to.
pub(crate) struct Polled {
    pub(crate) point: PeerId,
    /// Whether this peer itself is listed; `None` where it was not and not all was listed, or the poll failed.
    pub(crate) has_own: Option<bool>,
}

/// Settings of the state machine for polls that are so far apart: a point that is away is tried on at this pace at first.
pub(crate) fn config(every: Duration) -> ClientConfig {
    let backoff_min = every.min(BACKOFF_MAX);
    ClientConfig { backoff_min, backoff_max: BACKOFF_MAX, ..ClientConfig::default() }
}

/// What is followed of so many points.
pub(crate) fn lookup_config(points: usize) -> LookupConfig {
    let peers_max = FOLLOWED_MAX.saturating_mul(points);
    let peers_bytes_max = FOLLOWED_BYTES_MAX.saturating_mul(points);
    // Each point may send once over what is followed of it.
    let walk_bytes_max = FOLLOWED_BYTES_MAX as u64;
    LookupConfig { peers_max, peers_bytes_max, walk_bytes_max, ..LookupConfig::default() }
}

impl Poller {
    pub(crate) fn new(namespace: Option<Namespace>, every: Duration, is_fresh: bool) -> Self {
        Self {
            namespace,
            every,
            is_fresh,
            lookup: None,
            points: BTreeMap::new(),
            has_own: false,
            is_over: false,
            has_said_nobody: false,
        }
    }

    /// Starts to poll, or polls at once.
    pub(crate) fn poll(&mut self, session: &mut Session) {
        if let Some(lookup) = self.lookup {
            session.rendezvous().look_up_again(lookup);
            return;
        }
        let points = session.points();
        self.points = points.iter().map(|point| (*point, State::default())).collect();
        let (every, lists_everything) = (Some(self.every), self.is_fresh);
        let config = LookupConfig { every, lists_everything, ..lookup_config(points.len()) };
        self.lookup = Some(session.rendezvous().look_up(self.namespace.clone(), points, config));
    }

    /// Takes an event, and prints what it tells; `Some` at the end of a poll.
    ///
    /// # Errors
    /// What ends the command: an output that cannot be written, and points that are of no use from the first poll.
    pub(crate) fn on_event(
        &mut self,
        session: &mut Session,
        output: &mut Output,
        event: client::Event,
    ) -> Result<Option<Polled>, Error> {
        let ours = self.lookup;
        match event {
            client::Event::LookupChanged { lookup, point, found, updated, gone } if ours == Some(lookup) => {
                if let Some(point) = point {
                    self.answered(session, output, &point)?;
                }
                for merged in &found {
                    let told = Told::Found(Found::merged(merged, session));
                    output.result(&told, &told)?;
                }
                for merged in &updated {
                    let told = Told::Changed(Found::merged(merged, session));
                    output.result(&told, &told)?;
                }
                for gone in gone {
                    let told = listing::gone(&gone.peer, gone.namespace.as_str(), gone.why, false);
                    output.result(&told, &told)?;
                }
                output.flush()?;
                Ok(None)
            }
            client::Event::LookupPolled { lookup, point, is_whole, skipped, cut, next_at, .. }
                if ours == Some(lookup) =>
            {
                let is_first = self.answered(session, output, &point)?;
                self.has_own |= skipped.own > 0;
                if skipped.over_limit > 0 && !std::mem::replace(&mut self.is_over, true) {
                    output::note(format_args!(
                        "a point has more than {FOLLOWED_MAX} registrations: the rest is left out"
                    ));
                }
                self.note_partial(session, output, point, cut, next_at)?;
                if is_first {
                    listing::note_left_out(&skipped);
                }
                self.say_nobody(session);
                output.flush()?;
                let has_own = skipped.own > 0;
                Ok(Some(Polled { point, has_own: (is_whole || has_own).then_some(has_own) }))
            }
            client::Event::LookupFailed { lookup, point, failure, retry_at } if ours == Some(lookup) => {
                let error = session.error(&point, failure);
                let now = session.rendezvous().now();
                let retry_secs = retry_at.map_or(0, |at| at.saturating_since(now).as_secs());
                self.fail(session, output, point, error, retry_secs)?;
                Ok(Some(Polled { point, has_own: None }))
            }
            _ => Ok(None),
        }
    }

    /// A point has answered; whether for the first time.
    fn answered(&mut self, session: &Session, output: &mut Output, point: &PeerId) -> Result<bool, Error> {
        let Some(state) = self.points.get_mut(point) else { return Ok(false) };
        let is_first = !std::mem::replace(&mut state.has_answered, true);
        if std::mem::take(&mut state.is_away) {
            let point = session.name(point);
            output::note(format_args!("the point at {point} is back"));
            output.json(&Told::Back { point })?;
        }
        Ok(is_first)
    }

    fn fail(
        &mut self,
        session: &mut Session,
        output: &mut Output,
        point: PeerId,
        error: Error,
        retry_secs: u64,
    ) -> Result<(), Error> {
        let Some(state) = self.points.get_mut(&point) else { return Ok(()) };
        if !state.has_answered && error.is_permanent() {
            self.points.remove(&point);
            let (Some(lookup), false) = (self.lookup, self.points.is_empty()) else { return Err(error) };
            output::note(format_args!("{}; the others are polled on", session.remark(&point, &error)));
            session.rendezvous().remove_lookup_point(lookup, &point);
            return Ok(());
        }
        if !std::mem::replace(&mut state.is_away, true) {
            output::note(format_args!("{} (polled on, next in {retry_secs} s)", session.remark(&point, &error)));
            let point = session.name(&point);
            output.json(&Told::Away { point, error: error.to_string(), retry_secs })?;
        }
        output.flush()
    }

    /// Says when listings of a point begin to be given up at a limit.
    fn note_partial(
        &mut self,
        session: &mut Session,
        output: &mut Output,
        point: PeerId,
        cut: Option<WalkLimit>,
        next_at: Option<Time>,
    ) -> Result<(), Error> {
        let Some(state) = self.points.get_mut(&point) else { return Ok(()) };
        let was_partial = std::mem::replace(&mut state.is_partial, cut.is_some());
        let Some(limit) = cut.filter(|_| !was_partial) else { return Ok(()) };
        let now = session.rendezvous().now();
        let retry_secs = next_at.map_or(0, |at| at.saturating_since(now).as_secs());
        let point = session.name(&point);
        output::note(format_args!(
            "gave up on a listing of the point at {point}: {limit}; what it listed until then is followed, and others may be \
             registered there (polled on, next in {retry_secs} s): use another --point"
        ));
        output.json(&Told::Partial { point, error: limit.to_string(), retry_secs })
    }

    /// Says so once, when every point has answered that nobody is there.
    fn say_nobody(&mut self, session: &mut Session) {
        let have_answered = self.points.values().all(|state| state.has_answered);
        let Some(lookup) = self.lookup.filter(|_| have_answered && !self.has_said_nobody) else { return };
        self.has_said_nobody = true;
        if !self.has_own && session.rendezvous().found(lookup).next().is_none() {
            output::note("nobody is registered so far");
        }
    }
}
