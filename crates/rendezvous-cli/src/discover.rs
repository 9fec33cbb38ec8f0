//! `rendezvous discover`: list who is registered with a point.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use libp2p::PeerId;
use rendezvous_swarm::client::{
    self, ClientConfig, Discovered, Failure, From, Limit, Namespace, Skipped, Unverified, WalkLimit,
};

use crate::{
    args,
    error::Error,
    listing::{self, Found},
    output::{self, CLIENT_BACKLOG, Output, count},
    poller::{self, FOLLOWED_MAX, Poller},
    session::{Event, Outcome, Session},
    signals::Signals,
};

/// Most registrations of one walk: as many as a large point holds, and a bound on what is remembered of them here.
const REGISTRATIONS_MAX: u64 = 10_000_000;

/// Bytes that a listing may have for each registration that is wanted: some three times the ordinary size.
const REGISTRATION_BYTES: u64 = 1_024;

/// Registrations that a listing has room for if nothing was said with --limit: half a million of the largest ordinary size,
/// or nearly two million of the ordinary one.
const UNLIMITED: u64 = 512 << 10;

/// Bytes that a listing may have however few registrations are wanted: four of the largest pages.
const WALK_BYTES_MIN: u64 = 16 << 20;

/// Time that a listing may take for each registration that is wanted, beyond the state machine's default: a page a second
/// takes half of it.
const REGISTRATION_TIME: Duration = Duration::from_millis(2);

/// A page that the point has given.
struct Page {
    registrations: Vec<Discovered>,
    unverified: Vec<Unverified>,
    has_more: bool,
    skipped: Skipped,
    cut: Option<WalkLimit>,
}

pub(crate) async fn run(args: args::Discover) -> Result<(), Error> {
    match args.every {
        Some(secs) => watch(args, Duration::from_secs(secs)).await,
        None => list(args).await,
    }
}

/// Lists everybody once.
async fn list(args: args::Discover) -> Result<(), Error> {
    let (session, _) = Session::start_with(&args.client, config(args.limit))?;
    if session.has_several() { list_merged(session, args).await } else { list_pages(session, args).await }
}

/// Settings for listing so many registrations: what is read is in proportion to what is wanted.
fn config(limit: Option<u64>) -> ClientConfig {
    let wanted = limit.unwrap_or(UNLIMITED).min(REGISTRATIONS_MAX);
    let default = ClientConfig::default();
    ClientConfig {
        walk_bytes_max: wanted.saturating_mul(REGISTRATION_BYTES).max(WALK_BYTES_MIN),
        walk_timeout: default.walk_timeout.max(REGISTRATION_TIME * u32::try_from(wanted).unwrap_or(u32::MAX)),
        ..default
    }
}

/// Lists what several points have, when the last of them has answered.
async fn list_merged(mut session: Session, args: args::Discover) -> Result<(), Error> {
    let mut output = Output::new(args.json);
    let namespace = (!args.all).then_some(args.namespace);
    let points = session.points();
    let config = poller::lookup_config(points.len());
    let asked = session.rendezvous().look_up(namespace.clone(), points, config);
    let mut outcome = Outcome::default();
    let mut skipped_in_all = Skipped::default();
    loop {
        match session.next().await? {
            Event::Rendezvous(client::Event::LookupPolled { lookup, point, skipped, cut, .. }) if lookup == asked => {
                match cut {
                    Some(limit) => outcome.fail(&session, &point, session.error(&point, Failure::Listing(limit))),
                    None => outcome.succeed(),
                }
                skipped_in_all += skipped;
            }
            Event::Rendezvous(client::Event::LookupFailed { lookup, point, failure, .. }) if lookup == asked => {
                outcome.fail(&session, &point, session.error(&point, failure));
            }
            Event::Rendezvous(client::Event::LookupEnded { lookup }) if lookup == asked => break,
            _ => {}
        }
    }
    // What a point listed before it was given up is printed, too.
    let result = outcome.result();
    if result.is_err() && session.rendezvous().found(asked).next().is_none() {
        return result;
    }
    let wanted = args.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let found: Vec<_> = session.rendezvous().found(asked).take(wanted).collect();
    for merged in &found {
        let found = Found::merged(merged, &session);
        output.result(&found, &found)?;
    }
    output.flush()?;
    if skipped_in_all.over_limit > 0 {
        output::note(format_args!("a point has more than {FOLLOWED_MAX} registrations: the rest is left out"));
    }
    summarise(found.len() as u64, namespace.as_ref(), &skipped_in_all);
    result
}

/// Lists the pages of the only point as they come.
async fn list_pages(mut session: Session, args: args::Discover) -> Result<(), Error> {
    let mut output = Output::new(args.json);
    let namespace = (!args.all).then_some(args.namespace);
    let wanted = args.limit.unwrap_or(REGISTRATIONS_MAX).min(REGISTRATIONS_MAX);

    let mut seen = Seen::default();
    let mut skipped = Skipped::default();
    let mut from = From::Fresh;
    loop {
        let limit = Limit::new(usize::try_from(wanted - seen.count()).unwrap_or(usize::MAX));
        let page = next_page(&mut session, namespace.clone(), limit, from).await?;
        for found in &page.registrations {
            if seen.count() < wanted && seen.insert(found.record.peer_id(), &found.namespace) {
                let found = Found::of(found);
                output.result(&found, &found)?;
            }
        }
        for found in &page.unverified {
            if seen.count() < wanted && seen.insert(found.peer, &found.namespace) {
                let found = Found::of_unverified(found);
                output.result(&found, &found)?;
            }
        }
        output.flush()?;
        skipped += page.skipped;
        let is_full = seen.count() >= wanted;
        if let Some(limit) = page.cut.filter(|_| !is_full && !output.is_closed()) {
            let point = session.points()[0];
            return Err(session.error(&point, Failure::Listing(limit)));
        }
        if is_full || !page.has_more || output.is_closed() {
            let is_bounded = is_full && args.limit.is_none_or(|limit| limit > wanted) && page.has_more;
            if is_bounded {
                output::note("the point lists more than is read of one: the rest is left out");
            }
            break;
        }
        from = From::Cookie;
    }
    summarise(seen.count(), namespace.as_ref(), &skipped);
    Ok(())
}

async fn next_page(
    session: &mut Session,
    namespace: Option<Namespace>,
    limit: Limit,
    from: From,
) -> Result<Page, Error> {
    let point = session.points()[0];
    let asked = session.rendezvous().discover(point, namespace, Some(limit), from);
    loop {
        match session.next().await? {
            Event::Rendezvous(client::Event::Discovered {
                query,
                registrations,
                unverified,
                more,
                skipped,
                cut,
                ..
            }) if query == asked => {
                return Ok(Page { registrations, unverified, has_more: more, skipped, cut });
            }
            Event::Rendezvous(client::Event::DiscoverFailed { query, failure, .. }) if query == asked => {
                return Err(session.error(&point, failure));
            }
            _ => {}
        }
    }
}

/// Goes on until a signal.
async fn watch(args: args::Discover, every: Duration) -> Result<(), Error> {
    let mut signals = Signals::listen()?;
    let mut output = Output::lossless(args.json, CLIENT_BACKLOG)?;
    let (mut session, _) = Session::start_with(&args.client, poller::config(every))?;
    let mut poller = Poller::new((!args.all).then_some(args.namespace), every, args.fresh);
    poller.poll(&mut session);
    loop {
        // A reader that is behind holds the polls up, and the signals not.
        let next = async {
            output.has_room().await;
            session.next().await
        };
        let event = tokio::select! {
            event = next => event?,
            ended = output.is_useless() => return ended,
            signal = signals.next() => return signal.map_err(Error::Start),
        };
        if let Event::Rendezvous(event) = event {
            poller.on_event(&mut session, &mut output, event)?;
        }
    }
}

fn summarise(number: u64, namespace: Option<&Namespace>, skipped: &Skipped) {
    let place = match namespace {
        Some(namespace) => format!("under {namespace}"),
        None => "under any name".to_owned(),
    };
    match number {
        0 if skipped.own > 0 => output::note(format_args!("nobody else is registered {place}")),
        0 => output::note(format_args!("nobody is registered {place}")),
        number => output::note(format_args!("{} {place}", count(number, "registration"))),
    }
    listing::note_left_out(skipped);
}

/// What has been listed: a peer that renews during the walk comes a second time.
///
/// Fingerprints, since there may be millions: that two of ten million are equal has a chance of one to 400,000.
#[derive(Default)]
struct Seen {
    hasher: RandomState,
    fingerprints: HashSet<u64>,
}

impl Seen {
    /// `false` if it was there.
    fn insert(&mut self, peer: PeerId, namespace: &Namespace) -> bool {
        self.fingerprints.insert(self.hasher.hash_one((peer, namespace)))
    }

    fn count(&self) -> u64 {
        self.fingerprints.len() as u64
    }
}
