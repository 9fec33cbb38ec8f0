//! What a command prints: results on standard output, for people or as one JSON object per line; notes on standard error.

use std::{
    borrow::Cow,
    fmt,
    io::{self, BufWriter, Stdout, Write},
};

use serde::Serialize;

use crate::error::Error;

/// Standard output.
///
/// A reader that goes away, such as `head`, is no error: from then on nothing is written, and
/// [`is_closed`](Self::is_closed) lets commands end that only print.
#[derive(Debug)]
pub(crate) struct Output {
    is_json: bool,
    stdout: BufWriter<Stdout>,
    is_closed: bool,
}

impl Output {
    pub(crate) fn new(is_json: bool) -> Self {
        Self { is_json, stdout: BufWriter::new(io::stdout()), is_closed: false }
    }

    /// Whether whoever read the output has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Writes one result: `human` for people, or `json` as one line.
    pub(crate) fn result(&mut self, human: impl fmt::Display, json: &impl Serialize) -> Result<(), Error> {
        if self.is_closed {
            return Ok(());
        }
        let written = if self.is_json {
            serde_json::to_writer(&mut self.stdout, json).map_err(io::Error::from).and_then(|()| writeln!(self.stdout))
        } else {
            writeln!(self.stdout, "{human}")
        };
        self.check(written)
    }

    /// Writes what only `--json` has a line for.
    pub(crate) fn json(&mut self, json: &impl Serialize) -> Result<(), Error> {
        if self.is_json { self.result("", json) } else { Ok(()) }
    }

    /// Writes a line that `--json` has no use for.
    pub(crate) fn human(&mut self, line: impl fmt::Display) -> Result<(), Error> {
        if self.is_json || self.is_closed {
            return Ok(());
        }
        let written = writeln!(self.stdout, "{line}");
        self.check(written)
    }

    /// Hands over what is written: after every event, since somebody may be waiting for it.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        if self.is_closed {
            return Ok(());
        }
        let flushed = self.stdout.flush();
        self.check(flushed)
    }

    fn check(&mut self, result: io::Result<()>) -> Result<(), Error> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            result => result.map_err(Error::Output),
        }
    }
}

/// Writes a remark to standard error, as one line.
pub(crate) fn note(remark: impl fmt::Display) {
    to_stderr("note", &remark.to_string());
}

/// Writes an error to standard error, as one line.
pub(crate) fn error(error: &impl fmt::Display) {
    to_stderr("error", &error.to_string());
}

fn to_stderr(kind: &str, text: &str) {
    // There is nobody left to tell if this fails.
    let _ = writeln!(io::stderr().lock(), "{kind}: {}", printable(text));
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
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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
    fn what_a_stranger_wrote_cannot_move_the_cursor_or_forge_a_line() {
        assert_eq!(printable("plain, ünïcode"), "plain, ünïcode");
        assert_eq!(printable("a\x1b[2Jb\nc\u{202e}d"), "a\\u{1b}[2Jb\\u{a}c\\u{202e}d");
    }
}
