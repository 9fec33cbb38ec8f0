//! The log on standard error, and a limit on what strangers can make it say.
//!
//! Lower layers log what a peer sends: yamux reports a bad frame at `error`, libp2p a failed handshake at `warn`. A stranger
//! repeats either as often as it likes. So [`Limiter`] admits a bounded number of lines of each place in the code in a
//! minute, counts the others, and one note a minute reports the counts. Lines of `debug` and `trace` are not limited: an
//! operator has asked for them by `--verbose` or `RUST_LOG`, and the queue of standard error bounds them.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    io,
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{Event, Level, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_log::NormalizeEvent;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::FilterExt,
    fmt::MakeWriter,
    layer::{Context, Filter, SubscriberExt},
    util::SubscriberInitExt,
};

use crate::output;

/// What `--verbose` logs: this project's crates, and warnings and errors of all others.
const VERBOSE: &str =
    "warn,rendezvous=debug,rendezvous_core=debug,rendezvous_record=debug,rendezvous_store=debug,rendezvous_swarm=debug";

/// What a point logs without being asked.
const WARNINGS: &str = "warn";

/// The limit is counted anew so often.
const WINDOW: Duration = Duration::from_secs(60);

/// Lines of one place in the code in a window.
const LINES_PER_PLACE_MAX: u32 = 20;

/// Lines of all places together in a window.
const LINES_MAX: u32 = 600;

/// Places that are counted apart in a window; those beyond it share one.
const PLACES_MAX: usize = 1_024;

/// Places that the note about suppressed lines names, those with the most lines first.
const NAMED_MAX: usize = 10;

/// What logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Default {
    /// Nothing, unless it is asked for: the commands, whose notes and errors say what matters.
    Nothing,
    /// Warnings and errors, of libraries too: a point, which runs unattended.
    Warnings,
}

/// The limiter of this process.
static LIMITER: LazyLock<Mutex<Limiter>> = LazyLock::new(|| Mutex::new(Limiter::new(Instant::now())));

/// Starts the log. `RUST_LOG` decides what is logged; without it, `--verbose`; without that, the command's default.
pub(crate) fn start(is_verbose: bool, default: Default) {
    let is_refined = std::env::var_os(EnvFilter::DEFAULT_ENV).is_some();
    let filter = match default {
        _ if is_refined => EnvFilter::from_default_env(),
        _ if is_verbose => EnvFilter::new(VERBOSE),
        Default::Warnings => EnvFilter::new(WARNINGS),
        Default::Nothing => return,
    };
    // Without colours: the escape sequences of a terminal are what a line is cleared of.
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(Lines);
    tracing_subscriber::registry().with(lines.with_filter(filter.and(Limit))).init();
}

/// Reports suppressed lines if a window has ended, or whatever there is at the end of the program.
pub(crate) fn report_suppressed(is_end: bool) {
    let report = with_limiter(|limiter| {
        limiter.roll(Instant::now(), is_end);
        limiter.take_report()
    });
    if let Some(report) = report {
        output::note(report);
    }
}

/// Lines of the log that the limiter has suppressed since the start.
pub(crate) fn suppressed() -> u64 {
    with_limiter(|limiter| limiter.suppressed)
}

fn with_limiter<T>(act: impl FnOnce(&mut Limiter) -> T) -> T {
    act(&mut LIMITER.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The limiter as a filter of events.
struct Limit;

impl<S: Subscriber> Filter<S> for Limit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        // A record of the `log` crate is an event of one place in `tracing-log`, and has its own metadata inside.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let (level, target, line) = (*metadata.level(), metadata.target(), metadata.line());
        with_limiter(|limiter| limiter.admits(level, target, line, Instant::now()))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // Whatever the other filter says.
        Some(LevelFilter::TRACE)
    }
}

/// Counts the lines of a window.
#[derive(Debug)]
struct Limiter {
    hasher: RandomState,
    /// When the window began.
    since: Instant,
    admitted: u32,
    /// By a hash of target, line and level.
    places: HashMap<u64, Place>,
    /// What the places beyond [`PLACES_MAX`] have come to.
    others: Place,
    /// Of windows that have ended.
    report: Option<Suppressed>,
    /// Lines suppressed since the start.
    suppressed: u64,
}

/// A place in the code that logs.
#[derive(Clone, Debug, Default)]
struct Place {
    name: String,
    admitted: u32,
    suppressed: u64,
}

/// How many lines were suppressed, in all and at the places that had the most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Suppressed {
    total: u64,
    named: Vec<(String, u64)>,
}

impl Limiter {
    fn new(now: Instant) -> Self {
        Self {
            hasher: RandomState::new(),
            since: now,
            admitted: 0,
            places: HashMap::new(),
            others: Place { name: "further places".to_owned(), ..Place::default() },
            report: None,
            suppressed: 0,
        }
    }

    /// Whether a line may be written, which is counted.
    fn admits(&mut self, level: Level, target: &str, line: Option<u32>, now: Instant) -> bool {
        // `tracing` orders levels by how much they tell: what is above `INFO` has been asked for.
        if level > Level::INFO {
            return true;
        }
        self.roll(now, false);
        let key = self.hasher.hash_one((target, line, level.as_str()));
        let has_room = self.places.len() < PLACES_MAX;
        let place = match self.places.get_mut(&key) {
            Some(place) => place,
            None if has_room => {
                let line = line.map(|line| format!(":{line}")).unwrap_or_default();
                let name = format!("{target}{line}");
                self.places.entry(key).or_insert(Place { name, ..Place::default() })
            }
            None => &mut self.others,
        };
        if place.admitted < LINES_PER_PLACE_MAX && self.admitted < LINES_MAX {
            place.admitted += 1;
            self.admitted += 1;
            true
        } else {
            place.suppressed += 1;
            self.suppressed += 1;
            false
        }
    }

    /// Begins a new window if this one has ended, or anyway.
    fn roll(&mut self, now: Instant, anyway: bool) {
        if now.saturating_duration_since(self.since) < WINDOW && !anyway {
            return;
        }
        self.since = now;
        self.admitted = 0;
        let others = std::mem::take(&mut self.others);
        self.others.name.clone_from(&others.name);
        let places = self.places.drain().map(|(_, place)| place).chain([others]);
        let mut named: Vec<(String, u64)> =
            places.filter(|place| place.suppressed > 0).map(|place| (place.name, place.suppressed)).collect();
        let total: u64 = named.iter().map(|(_, lines)| lines).sum();
        if total == 0 {
            return;
        }
        named.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        named.truncate(NAMED_MAX);
        // A report that nobody has fetched keeps its names, and counts on.
        match &mut self.report {
            Some(report) => report.total += total,
            None => self.report = Some(Suppressed { total, named }),
        }
    }

    fn take_report(&mut self) -> Option<Suppressed> {
        self.report.take()
    }
}

impl fmt::Display for Suppressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of the log suppressed, at most {LINES_PER_PLACE_MAX} a minute of each place",
            output::count(self.total, "line")
        )?;
        for (index, (name, lines)) in self.named.iter().enumerate() {
            write!(f, "{}{name} {lines}", if index == 0 { " (" } else { ", " })?;
        }
        let rest = self.total - self.named.iter().map(|(_, lines)| lines).sum::<u64>();
        if rest > 0 {
            write!(f, ", and {rest} more")?;
        }
        f.write_str(")")
    }
}

/// Writes each event as a line of standard error.
#[derive(Clone, Copy, Debug)]
struct Lines;

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

impl io::Write for Lines {
    /// Takes a whole event, as the formatter hands it over.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        output::log(String::from_utf8_lossy(event).trim_end());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    const MAX: usize = LINES_PER_PLACE_MAX as usize;

    /// How many of so many lines are admitted.
    fn admitted(limiter: &mut Limiter, lines: usize, level: Level, target: &str, now: Instant) -> usize {
        (0..lines).filter(|_| limiter.admits(level, target, Some(7), now)).count()
    }

    #[test]
    fn a_place_that_a_stranger_makes_log_gets_its_lines_a_minute_and_takes_none_from_others() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        assert_eq!(admitted(&mut limiter, 1_000, Level::ERROR, "yamux::connection", start), MAX);
        assert_eq!(admitted(&mut limiter, 5, Level::WARN, "rendezvous_swarm", start), 5);
        let later = start + WINDOW - Duration::from_millis(1);
        assert_eq!(admitted(&mut limiter, 1, Level::ERROR, "yamux::connection", later), 0);
        assert_eq!(limiter.take_report(), None, "the minute has not ended");
        limiter.roll(start + WINDOW, false);
        let report = limiter.take_report().expect("it has ended").to_string();
        assert_eq!(
            report,
            "981 lines of the log suppressed, at most 20 a minute of each place (yamux::connection:7 981)"
        );
        assert_eq!(admitted(&mut limiter, 1_000, Level::ERROR, "yamux::connection", start + WINDOW), MAX);
    }

    #[test]
    fn places_without_number_share_a_total_and_a_bounded_memory() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        let lines = 10 * PLACES_MAX;
        let admitted: usize =
            (0..lines).map(|place| admitted(&mut limiter, 1, Level::WARN, &format!("place {place}"), start)).sum();
        assert_eq!(admitted, LINES_MAX as usize);
        assert_eq!(limiter.places.len(), PLACES_MAX);
        limiter.roll(start, true);
        let report = limiter.take_report().expect("some were suppressed");
        assert_eq!((report.total, report.named.len()), ((lines - admitted) as u64, NAMED_MAX));
        assert!(report.to_string().contains("(further places "), "{report}");
    }

    #[test]
    fn a_report_that_nobody_fetches_stays_one() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        for minute in 0..3 {
            admitted(&mut limiter, MAX + 1, Level::WARN, "a", start + WINDOW * minute);
        }
        limiter.roll(start + WINDOW * 3, false);
        let report = limiter.take_report().expect("some were suppressed");
        assert_eq!((report.total, report.named), (3, vec![("a:7".to_owned(), 1)]));
        assert_eq!(limiter.take_report(), None);
    }

    #[test]
    fn lines_that_were_asked_for_are_not_limited() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        assert_eq!(admitted(&mut limiter, 1_000, Level::DEBUG, "a", start), 1_000);
        assert_eq!(admitted(&mut limiter, 1_000, Level::TRACE, "a", start), 1_000);
        assert_eq!(admitted(&mut limiter, 1_000, Level::INFO, "a", start), MAX);
    }

    /// Counts the events that reach it.
    struct Count(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn events_of_tracing_and_records_of_the_log_crate_pass_the_limiter() {
        let count = Arc::new(AtomicUsize::new(0));
        let filter = EnvFilter::new(WARNINGS).and(Limit);
        let subscriber = tracing_subscriber::registry().with(Count(Arc::clone(&count)).with_filter(filter));
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..1_000 {
                tracing::warn!("of tracing");
                tracing::debug!("not asked for");
            }
            assert_eq!(count.swap(0, Ordering::Relaxed), MAX);
            // Two places of the `log` crate share one place of `tracing`, and are told apart.
            for target in ["one", "two"] {
                let metadata = log::Metadata::builder().level(log::Level::Error).target(target).build();
                for _ in 0..1_000 {
                    let text = format_args!("of log");
                    let record = log::Record::builder().metadata(metadata.clone()).args(text).build();
                    tracing_log::format_trace(&record).expect("it is passed on");
                }
            }
            assert_eq!(count.load(Ordering::Relaxed), 2 * MAX);
        });
    }
}
