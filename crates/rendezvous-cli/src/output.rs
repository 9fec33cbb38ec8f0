//! What a command prints: results on standard output, for people or as one JSON object per line; notes on standard error.
//!
//! Commands that do one thing print directly, and wait for whoever reads them. A command that goes on for long puts a
//! [`LineQueue`] in front of both streams, so that a reader who does not read, or a full disk, does not stop it.

use std::{
    borrow::Cow,
    fmt,
    io::{self, BufWriter, Stdout, Write},
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    error::Error,
    line_queue::{Backlog, LineQueue, Options, Trouble},
};

/// What may wait for standard output in `serve`: more than the largest statistics, of 1,000 namespaces.
pub(crate) const SERVE_BACKLOG: Backlog = Backlog { bytes_max: 4 << 20, lines_max: 16_384 };

/// What may wait for standard output in a client command: a listing of 100,000 registrations.
pub(crate) const CLIENT_BACKLOG: Backlog = Backlog { bytes_max: 64 << 20, lines_max: 1_000_000 };

/// What may wait for standard error.
const NOTES_BACKLOG: Backlog = Backlog { bytes_max: 1 << 20, lines_max: 4_096 };

/// Longest line on standard error; what a stranger makes longer is cut.
const NOTE_BYTES_MAX: usize = 8 << 10;

/// Longest wait at the end for what has not been written.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Longest wait for the first lines.
const START_MAX: Duration = Duration::from_secs(5);

/// The queues of this process, once a command has started them.
static STDOUT: OnceLock<LineQueue> = OnceLock::new();
static STDERR: OnceLock<LineQueue> = OnceLock::new();

/// Standard output.
///
/// A reader that goes away, such as `head`, is no error: from then on nothing is written, and
/// [`is_closed`](Self::is_closed) lets commands end that only print.
#[derive(Debug)]
pub(crate) struct Output {
    is_json: bool,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    /// Waits for the reader.
    Direct { stdout: BufWriter<Stdout>, is_closed: bool },
    /// Waits for nobody. With `is_lossless`, the command waits for [`Output::has_room`] before it produces more.
    Queued { queue: &'static LineQueue, is_lossless: bool },
}

impl Output {
    /// Output that waits for its reader.
    pub(crate) fn new(is_json: bool) -> Self {
        Self { is_json, sink: Sink::Direct { stdout: BufWriter::new(io::stdout()), is_closed: false } }
    }

    /// Output that waits for nobody: lines that are too many are dropped and counted. Notes are queued too from now on.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub(crate) fn queued(is_json: bool, backlog: Backlog) -> Result<Self, Error> {
        Self::start(is_json, backlog, false)
    }

    /// Output that loses nothing: the command waits for [`has_room`](Self::has_room) whenever it can, and ends by
    /// [`is_useless`](Self::is_useless). Notes are queued from now on.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub(crate) fn lossless(is_json: bool, backlog: Backlog) -> Result<Self, Error> {
        Self::start(is_json, backlog, true)
    }

    fn start(is_json: bool, backlog: Backlog, is_lossless: bool) -> Result<Self, Error> {
        let queue = start_queues(is_json, backlog, is_lossless)?;
        Ok(Self { is_json, sink: Sink::Queued { queue, is_lossless } })
    }

    /// Whether whoever read the output has gone.
    pub(crate) fn is_closed(&self) -> bool {
        match &self.sink {
            Sink::Direct { is_closed, .. } => *is_closed,
            Sink::Queued { queue, .. } => queue.is_closed(),
        }
    }

    /// Waits for a reader that is behind.
    pub(crate) async fn has_room(&self) {
        if let Sink::Queued { queue, .. } = &self.sink {
            queue.has_room().await;
        }
    }

    /// Waits until the first lines have been written, cannot be written, or have waited for long.
    pub(crate) async fn is_started(&self) {
        if let Sink::Queued { queue, .. } = &self.sink {
            // What hinders them has been noted.
            let _ = tokio::time::timeout(START_MAX, queue.is_drained()).await;
        }
    }

    /// Waits until nothing more can be printed: because the reader has gone, or with the error of a write.
    pub(crate) async fn is_useless(&self) -> Result<(), Error> {
        match &self.sink {
            Sink::Queued { queue, .. } => queue.is_useless().await.map_err(Error::Output),
            Sink::Direct { .. } => std::future::pending().await,
        }
    }

    /// Writes one result: `human` for people, or `json` as one line.
    pub(crate) fn result(&mut self, human: impl fmt::Display, json: &impl Serialize) -> Result<(), Error> {
        if self.is_closed() {
            return Ok(());
        }
        let is_json = self.is_json;
        match &mut self.sink {
            Sink::Direct { stdout, .. } => {
                let written = if is_json { write_json(stdout, json) } else { writeln!(stdout, "{human}") };
                self.check(written)
            }
            Sink::Queued { queue, is_lossless } => {
                let mut lines = Vec::new();
                if is_json { write_json(&mut lines, json) } else { writeln!(lines, "{human}") }
                    .map_err(Error::Output)?;
                if *is_lossless {
                    queue.push_anyway(lines)
                } else {
                    queue.push(lines)
                }
                Ok(())
            }
        }
    }

    /// Writes what only `--json` has a line for.
    pub(crate) fn json(&mut self, json: &impl Serialize) -> Result<(), Error> {
        if self.is_json { self.result("", json) } else { Ok(()) }
    }

    /// Writes a line that `--json` has no use for.
    pub(crate) fn human(&mut self, line: impl fmt::Display) -> Result<(), Error> {
        if self.is_json { Ok(()) } else { self.result(line, &()) }
    }

    /// Hands over what is written: after every event, since somebody may be waiting for it.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        match &mut self.sink {
            Sink::Direct { stdout, is_closed: false } => {
                let flushed = stdout.flush();
                self.check(flushed)
            }
            // The queue's thread writes what there is at once.
            Sink::Direct { .. } | Sink::Queued { .. } => Ok(()),
        }
    }

    fn check(&mut self, result: io::Result<()>) -> Result<(), Error> {
        match (result, &mut self.sink) {
            (Err(error), Sink::Direct { is_closed, .. }) if error.kind() == io::ErrorKind::BrokenPipe => {
                *is_closed = true;
                Ok(())
            }
            (result, _) => result.map_err(Error::Output),
        }
    }
}

fn write_json(to: &mut impl Write, json: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *to, json).map_err(io::Error::from)?;
    writeln!(to)
}

/// What `--json` prints about the streams themselves.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum StreamEvent {
    /// Lines are missing here.
    Dropped { lines: u64 },
    /// Standard error takes nothing.
    Stderr { error: String },
}

/// Puts a queue in front of both streams.
fn start_queues(is_json: bool, backlog: Backlog, is_lossless: bool) -> Result<&'static LineQueue, Error> {
    let stdout = Options {
        backlog,
        gap: if is_json { json_gap } else { human_gap },
        on_trouble: Box::new(move |trouble| {
            // A command that exists to print ends with the error instead.
            if !is_lossless {
                note(format_args!("standard output {}", describe(&trouble)));
            }
        }),
    };
    let stderr = Options {
        backlog: NOTES_BACKLOG,
        gap: human_gap,
        on_trouble: Box::new(move |trouble| {
            let Some(queue) = STDOUT.get() else { return };
            let error = describe(&trouble);
            queue.push(match is_json {
                true => json_line(&StreamEvent::Stderr { error }),
                false => format!("note: standard error {error}\n").into_bytes(),
            });
        }),
    };
    let queue = LineQueue::start(raw_stdout()?, stdout).map_err(Error::Start)?;
    let notes = LineQueue::start(raw_stderr()?, stderr).map_err(Error::Start)?;
    // A command starts its output once, so that these are empty.
    let _ = STDERR.set(notes);
    Ok(STDOUT.get_or_init(|| queue))
}

fn describe(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Full => "is not read: further lines are dropped and counted until it is".to_owned(),
        Trouble::Failed(error) => format!("cannot be written: {error}; lines are dropped and counted until it can"),
    }
}

fn human_gap(lines: u64) -> String {
    match lines {
        1 => "note: 1 line was not written".to_owned(),
        lines => format!("note: {lines} lines were not written"),
    }
}

fn json_gap(lines: u64) -> String {
    let mut line = String::from_utf8(json_line(&StreamEvent::Dropped { lines })).unwrap_or_default();
    line.truncate(line.trim_end().len());
    line
}

fn json_line(event: &StreamEvent) -> Vec<u8> {
    let mut line = Vec::new();
    // Writing to memory does not fail.
    let _ = write_json(&mut line, event);
    line
}

/// Standard output without the buffer of the standard library, which would write again what a failed write had left.
#[cfg(unix)]
fn raw_stdout() -> Result<std::fs::File, Error> {
    use std::os::fd::AsFd;
    io::stdout().as_fd().try_clone_to_owned().map(Into::into).map_err(Error::Start)
}

#[cfg(unix)]
fn raw_stderr() -> Result<std::fs::File, Error> {
    use std::os::fd::AsFd;
    io::stderr().as_fd().try_clone_to_owned().map(Into::into).map_err(Error::Start)
}

#[cfg(not(unix))]
fn raw_stdout() -> Result<Stdout, Error> {
    Ok(io::stdout())
}

#[cfg(not(unix))]
fn raw_stderr() -> Result<io::Stderr, Error> {
    Ok(io::stderr())
}

/// Writes a remark to standard error, as one line.
pub(crate) fn note(remark: impl fmt::Display) {
    to_stderr(&line("note: ", &remark.to_string()), false);
}

/// Writes an error to standard error, as one line. It is the last one, and is not dropped.
pub(crate) fn error(error: &impl fmt::Display) {
    to_stderr(&line("error: ", &error.to_string()), true);
}

/// Writes a line of the log to standard error.
pub(crate) fn log(text: &str) {
    to_stderr(&line("", text), false);
}

/// Lines dropped since the start, of standard output and of standard error.
pub(crate) fn dropped() -> [u64; 2] {
    [&STDOUT, &STDERR].map(|queue| queue.get().map_or(0, LineQueue::dropped))
}

/// Waits a second at most for what is queued: the end of the program.
pub(crate) fn finish() {
    finish_within(FLUSH_MAX);
}

/// The same with another time.
pub(crate) fn finish_within(time: Duration) {
    let deadline = Instant::now() + time;
    for queue in [&STDOUT, &STDERR].into_iter().filter_map(OnceLock::get) {
        queue.finish(deadline);
    }
}

fn to_stderr(line: &str, is_last: bool) {
    match STDERR.get() {
        Some(queue) if is_last => queue.push_anyway(line.into()),
        Some(queue) => queue.push(line.into()),
        // There is nobody left to tell if this fails.
        None => _ = io::stderr().lock().write_all(line.as_bytes()),
    }
}

/// A text as one bounded line, with its line feed.
fn line(kind: &str, text: &str) -> String {
    let is_boundary = |end: &usize| text.is_char_boundary(*end);
    let end = (0..=NOTE_BYTES_MAX.min(text.len())).rev().find(is_boundary).unwrap_or(0);
    let cut = if end < text.len() { "…" } else { "" };
    format!("{kind}{}{cut}\n", printable(&text[..end]))
}

/// A number of things, as one says it.
pub(crate) fn count(number: u64, thing: &str) -> String {
    match thing.strip_suffix('y') {
        _ if number == 1 => format!("{number} {thing}"),
        Some(stem) => format!("{number} {stem}ies"),
        None => format!("{number} {thing}s"),
    }
}

/// A stranger's words in a form that a terminal takes without acting on them, on one line.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    // Bidirectional controls change the order in which everything around them is shown.
    let is_unfit = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(is_unfit) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unfit(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_standard_error_is_one_line_and_bounded() {
        assert_eq!(line("note: ", "a\nb"), "note: a\\u{a}b\n");
        let long = line("note: ", &"ü".repeat(NOTE_BYTES_MAX));
        assert!(long.len() < NOTE_BYTES_MAX + 16 && long.ends_with("ü…\n"));
    }

    #[test]
    fn a_gap_in_json_is_an_object() {
        assert_eq!(json_gap(3), "{\"event\":\"dropped\",\"lines\":3}");
        assert_eq!(
            (human_gap(1), human_gap(2)),
            ("note: 1 line was not written".into(), "note: 2 lines were not written".into())
        );
    }

    #[test]
    fn what_a_stranger_wrote_cannot_move_the_cursor_or_forge_a_line() {
        assert_eq!(printable("plain, ünïcode"), "plain, ünïcode");
        assert_eq!(printable("a\x1b[2Jb\nc\u{202e}d"), "a\\u{1b}[2Jb\\u{a}c\\u{202e}d");
    }
}
