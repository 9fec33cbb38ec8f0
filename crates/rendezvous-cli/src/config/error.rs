//! What is wrong with a configuration, and where: each error in one line that says what to do.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rendezvous_core::server::IpNetworkError;

use super::{field::Bounds, size::ByteSize};
use crate::address::InvalidAddress;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) path: Arc<Path>,
    /// From 1.
    pub(crate) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// Where the value of a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    File(Place),
    /// The variable of this name.
    Environment(String),
    /// The flag of this name, without its dashes.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(place) => place.fmt(f),
            Self::Environment(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// A setting with its value and source, as whoever set it wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stated {
    pub(crate) key: &'static str,
    pub(crate) value: String,
    pub(crate) source: Source,
}

impl fmt::Display for Stated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, source } = self;
        match source {
            Source::Default | Source::File(_) => write!(f, "{key} = {value} ({source})"),
            Source::Environment(name) => write!(f, "{name}={value}"),
            Source::Flag(name) => write!(f, "--{name} {value}"),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration {}: {source}; name another file with --config", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{at}: this is not TOML: {message}")]
    Syntax { at: Place, message: String },
    #[error("{at}: there is no setting {key}{}", meant(nearest))]
    UnknownKey { at: Place, key: String, nearest: Option<String> },
    #[error("{name}: there is no setting for this variable{}", meant(nearest))]
    UnknownVariable { name: String, nearest: Option<String> },
    #[error("{at}: {key}: {invalid}")]
    InvalidKey { at: Place, key: String, invalid: Box<Invalid> },
    #[error("{name}: {invalid}")]
    InvalidVariable { name: String, invalid: Box<Invalid> },
    #[error("--{name}: {invalid}")]
    InvalidFlag { name: &'static str, invalid: Box<Invalid> },
    #[error("{one} is above {other}: change one of them")]
    Above { one: Box<Stated>, other: Box<Stated> },
    #[error("{period} means nothing while {burst}: set {} too", burst.key)]
    RateWithoutBurst { period: Box<Stated>, burst: Box<Stated> },
    #[error("{at}: this policy is for no namespaces: give it a `namespace` or a `prefix`")]
    PolicyWithoutPattern { at: Place },
    #[error("{namespace} and {prefix} are of one policy: leave one of them out")]
    PolicyOfTwoPatterns { namespace: Box<Stated>, prefix: Box<Stated> },
    #[error("{again} has its policy already, {first}: leave one of them out")]
    PolicyTwice { first: Box<Stated>, again: Box<Stated> },
}

/// Why a value is none of its setting.
#[derive(Debug)]
pub(crate) struct Invalid {
    reason: Reason,
    /// Byte of the file from which it is wrong, where that is a part of the value.
    pub(super) offset: Option<usize>,
}

#[derive(Debug)]
enum Reason {
    Unexpected { expected: Expected, found: String },
    Address { text: String, source: InvalidAddress },
    Network(IpNetworkError),
}

impl Invalid {
    pub(super) fn unexpected(expected: Expected, found: String) -> Self {
        Self { reason: Reason::Unexpected { expected, found }, offset: None }
    }

    pub(super) fn address(text: &str, source: InvalidAddress) -> Self {
        Self { reason: Reason::Address { text: text.to_owned(), source }, offset: None }
    }

    pub(super) fn network(source: IpNetworkError) -> Self {
        Self { reason: Reason::Network(source), offset: None }
    }

    pub(super) fn at(mut self, offset: Option<usize>) -> Self {
        self.offset = offset;
        self
    }

    /// What would be right, for where the value is told already.
    pub(super) fn advice(&self) -> String {
        match &self.reason {
            Reason::Unexpected { expected, .. } => format!("expected {expected}"),
            Reason::Address { source, .. } => source.to_string(),
            Reason::Network(source) => source.to_string(),
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Unexpected { expected, found } => write!(f, "expected {expected}, found {found}"),
            Reason::Address { text, source } => write!(f, "{text:?}: {source}"),
            Reason::Network(source) => source.fmt(f),
        }
    }
}

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Expected {
    #[error("true or false")]
    Truth,
    #[error("a whole number from {} to {}{}", .0.min, .0.max, if .0.or_unlimited { ", or \"unlimited\"" } else { "" })]
    Number(Bounds),
    #[error("a path")]
    Path,
    #[error("a list of multiaddrs such as /ip4/0.0.0.0/tcp/62649")]
    Addresses,
    #[error("\"anyone\", \"nobody\" or a list of peer ids")]
    Access,
    #[error("a peer id")]
    PeerId,
    #[error("a list of \"standard\", \"legacy\" or both")]
    Flavours,
    #[error("a list of \"rendezvous\", \"waku\" or both")]
    Dialects,
    #[error("a name of 1 to 255 bytes")]
    Namespace,
    #[error("a list of networks such as 10.0.0.0/8")]
    Networks,
    #[error("a size from {min} to {max}, as a number of bytes or with a unit such as \"1 GiB\"")]
    Size { min: ByteSize, max: ByteSize },
    #[error("a text of at most {bytes_max} bytes")]
    Text { bytes_max: u64 },
    #[error("a table")]
    Table,
    #[error("tables, each under [[policy]]")]
    Policies,
}

fn meant(nearest: &Option<String>) -> String {
    match nearest {
        Some(nearest) => format!("; the nearest is {nearest}"),
        None => "; `rendezvous serve --check-config` lists all there are".to_owned(),
    }
}

/// The name most like this one, if one is like it at all.
pub(super) fn nearest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let last = |path: &str| path.rsplit('.').next().map(str::to_owned);
    let likeness = |known: &String| {
        // In a wrong table or in none, the name itself may be right.
        let of_name: f64 = if known.contains('.') && last(known) == last(name) { 0.8 } else { 0.0 };
        strsim::jaro_winkler(name, known).max(of_name)
    };
    let rated = known.map(|known| (likeness(&known), known)).filter(|(likeness, _)| *likeness > 0.7);
    rated.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}
