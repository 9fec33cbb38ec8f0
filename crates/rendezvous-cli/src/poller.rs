//! Asking a point again and again who is registered.

use std::time::Duration;

use rendezvous_swarm::client::{self, Dialect, From, Namespace, QueryId};
use tokio::time::{Instant, sleep_until};

use crate::{
    error::Error,
    listing::{self, Told},
    output::{self, Output, count},
    session::{PAGES_MAX, Session},
    watch::{WATCHED_MAX, Watch},
};

/// A listing of so many, a page, is taken from the start in each poll.
const WHOLE_MAX: u64 = 1_000;

/// Where the cookie is followed, every so many polls list everything.
const WHOLE_EVERY: u32 = 10;

/// Longest wait for a point that is away, where polls are not further apart by themselves.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Polls a point, and keeps account of who is there.
pub(crate) struct Poller {
    namespace: Option<Namespace>,
    every: Duration,
    /// Whether every poll lists everything.
    is_fresh: bool,
    watch: Watch,
    /// The poll that is under way.
    walk: Option<Walk>,
    due: Instant,
    /// What the last whole listing held; `None` before the first.
    listed: Option<u64>,
    /// Polls since then.
    deltas: u32,
    /// Polls that have failed in a row.
    failures: u32,
}

struct Walk {
    query: QueryId,
    /// Whether it began at the start of the listing.
    is_whole: bool,
    started_at: Instant,
    pages: u32,
    listed: u64,
    has_own: bool,
    left_out: usize,
}

/// What a poll has come to.
pub(crate) struct Polled {
    /// Whether this peer itself is listed, where all was listed.
    pub(crate) has_own: Option<bool>,
}

impl Poller {
    pub(crate) fn new(namespace: Option<Namespace>, every: Duration, is_fresh: bool) -> Self {
        Self {
            namespace,
            every,
            is_fresh,
            watch: Watch::default(),
            walk: None,
            due: Instant::now(),
            listed: None,
            deltas: 0,
            failures: 0,
        }
    }

    /// The time for the next poll has come. Never while one is under way.
    pub(crate) async fn due(&self) {
        match self.walk {
            None => sleep_until(self.due).await,
            Some(_) => std::future::pending().await,
        }
    }

    /// Has the next poll done at once.
    pub(crate) fn hasten(&mut self) {
        self.due = Instant::now();
    }

    /// Starts a poll.
    pub(crate) fn poll(&mut self, session: &mut Session) {
        let is_whole = self.is_fresh || is_whole_due(self.listed, self.deltas);
        let query = self.ask(session, if is_whole { From::Fresh } else { From::Cookie });
        let started_at = Instant::now();
        self.watch.begin();
        self.walk = Some(Walk { query, is_whole, started_at, pages: 0, listed: 0, has_own: false, left_out: 0 });
    }

    /// Takes an event of a query, prints what it tells, and goes on; `Some` at the end of a poll that succeeded.
    ///
    /// # Errors
    /// What ends the command: an output that cannot be written, and a point that is of no use from the first poll.
    pub(crate) fn on_event(
        &mut self,
        session: &mut Session,
        output: &mut Output,
        event: client::Event,
    ) -> Result<Option<Polled>, Error> {
        let asked = self.walk.as_ref().map(|walk| walk.query);
        match event {
            client::Event::Discovered { query, registrations, more, skipped, .. } if asked == Some(query) => {
                let now = Instant::now().into_std();
                let next = more.then(|| self.ask(session, From::Cookie));
                let Some(walk) = &mut self.walk else { return Ok(None) };
                walk.pages += 1;
                walk.listed += registrations.len() as u64;
                walk.has_own |= skipped.own > 0;
                walk.left_out += skipped.total() - skipped.own - skipped.duplicate;
                if let Some(next) = next {
                    walk.query = next;
                }
                for found in registrations {
                    if let Some(change) = self.watch.list(now, found) {
                        listing::print(output, &change)?;
                    }
                }
                if next.is_some() { output.flush().map(|()| None) } else { self.end(session, output).map(Some) }
            }
            client::Event::DiscoverFailed { query, failure, .. } if asked == Some(query) => {
                let error = session.error(failure);
                self.fail(session, output, error)?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn ask(&self, session: &mut Session, from: From) -> QueryId {
        let point = session.point().peer;
        session.rendezvous().discover(point, self.namespace.clone(), None, from)
    }

    fn end(&mut self, session: &Session, output: &mut Output) -> Result<Polled, Error> {
        let Some(walk) = self.walk.take() else { return Ok(Polled { has_own: None }) };
        let is_first = self.listed.is_none();
        // A random choice of a page's size is one of more.
        let is_choice = session.dialect() == Dialect::Waku && walk.listed + u64::from(walk.has_own) >= WHOLE_MAX;
        let is_whole = walk.is_whole && walk.pages < PAGES_MAX && !is_choice;
        if self.failures > 0 {
            output::note(format_args!("the point at {} is back", session.point()));
            output.json(&Told::Back { point: session.point().to_string() })?;
        }
        self.failures = 0;
        for change in self.watch.end(Instant::now().into_std(), is_whole) {
            listing::print(output, &change)?;
        }
        if is_whole || is_choice {
            (self.listed, self.deltas) = (Some(walk.listed), 0);
        } else {
            self.deltas += 1;
        }
        if self.watch.take_over() {
            output::note(format_args!("there are more than {WATCHED_MAX} registrations: the rest is left out"));
        }
        if is_first {
            if self.watch.count() == 0 && !walk.has_own {
                output::note("nobody is registered so far");
            }
            if walk.left_out > 0 {
                let left_out = count(walk.left_out as u64, "registration");
                output::note(format_args!("left out {left_out}: malformed, or not signed by the peer"));
            }
        }
        self.due = (walk.started_at + self.every).max(Instant::now());
        output.flush()?;
        Ok(Polled { has_own: is_whole.then_some(walk.has_own) })
    }

    fn fail(&mut self, session: &Session, output: &mut Output, error: Error) -> Result<(), Error> {
        self.walk = None;
        if self.listed.is_none() && error.is_permanent() {
            return Err(error);
        }
        let longest = self.every.max(BACKOFF_MAX);
        let wait = self.every.saturating_mul(2_u32.saturating_pow(self.failures)).min(longest);
        self.due = Instant::now() + wait;
        if self.failures == 0 {
            let retry_secs = wait.as_secs();
            output::note(format_args!("{error} (polled on, next in {retry_secs} s)"));
            let point = session.point().to_string();
            output.json(&Told::Away { point, error: error.to_string(), retry_secs })?;
        }
        self.failures = self.failures.saturating_add(1);
        // Time goes on for what is known.
        for change in self.watch.end(Instant::now().into_std(), false) {
            listing::print(output, &change)?;
        }
        output.flush()
    }
}

/// Whether a poll lists everything, where the last one to do so, so many polls ago, listed that many.
fn is_whole_due(listed: Option<u64>, deltas: u32) -> bool {
    listed.is_none_or(|listed| listed <= WHOLE_MAX) || deltas + 1 >= WHOLE_EVERY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_listed_whole_each_time_and_more_than_a_page_every_tenth_time() {
        assert!(is_whole_due(None, 0));
        assert!((0..20).all(|deltas| is_whole_due(Some(WHOLE_MAX), deltas)));
        let due: Vec<u32> = (0..10).filter(|deltas| is_whole_due(Some(WHOLE_MAX + 1), *deltas)).collect();
        assert_eq!(due, [9]);
    }
}
