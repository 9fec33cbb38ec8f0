//! How the value of a setting is read, from TOML and from text, and how it is shown.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::PathBuf,
};

use rendezvous_core::server::{Access, ExemptNetworks};
use rendezvous_record::{Flavour, Flavours};
use rendezvous_wire::{Dialect, Dialects, Namespace};
use serde_json::Value as Json;
use toml_edit::Item;

use super::error::{Expected, Invalid};
use crate::address::ListenAddress;

/// What is given for a setting.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Given<'a> {
    /// In a file.
    Toml(&'a Item),
    /// In words: a variable's value, or those of all occurrences of a flag.
    Words(&'a [OsString]),
}

impl<'a> Given<'a> {
    /// A single text.
    pub(super) fn text(self) -> Option<&'a str> {
        match self {
            Self::Toml(item) => item.as_str(),
            Self::Words(_) => self.word()?.to_str(),
        }
    }

    fn word(self) -> Option<&'a OsStr> {
        match self {
            Self::Words([word]) => Some(word),
            _ => None,
        }
    }

    /// The texts of a list, which has one at least, and where in the file each of them is. Words are separated by commas.
    fn list(self) -> Option<Vec<(&'a str, Option<usize>)>> {
        let list: Vec<_> = match self {
            Self::Toml(item) => {
                let element =
                    |value: &'a toml_edit::Value| Some((value.as_str()?, value.span().map(|span| span.start)));
                item.as_array()?.iter().map(element).collect::<Option<_>>()?
            }
            Self::Words(words) => {
                let words = words.iter().map(|word| word.to_str()).collect::<Option<Vec<_>>>()?;
                words.iter().flat_map(|word| word.split(',')).map(|word| (word.trim(), None)).collect()
            }
        };
        (!list.is_empty()).then_some(list)
    }

    pub(super) fn unexpected(self, expected: Expected) -> Invalid {
        Invalid::unexpected(expected, self.to_string())
    }
}

impl fmt::Display for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words(words) => {
                let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
                write!(f, "{:?}", words.join(","))
            }
            Self::Toml(item) => match (item.as_integer(), item.as_bool(), item.as_float(), item.as_str()) {
                (Some(number), ..) => write!(f, "{number}"),
                (_, Some(truth), ..) => write!(f, "{truth}"),
                (_, _, Some(number), _) => write!(f, "{number:?}"),
                (.., Some(text)) => write!(f, "{text:?}"),
                _ => match item.type_name() {
                    kind @ ("array" | "array of tables" | "inline table") => write!(f, "an {kind}"),
                    kind => write!(f, "a {kind}"),
                },
            },
        }
    }
}

/// Least and most of a number; nothing to what is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(super) min: u64,
    pub(super) max: u64,
    pub(super) or_unlimited: bool,
}

impl Bounds {
    /// For what is no number.
    pub(super) const NONE: Self = Self::new(0, u64::MAX);

    pub(super) const fn new(min: u64, max: u64) -> Self {
        Self { min, max, or_unlimited: false }
    }

    /// With a word for no limit beside the numbers.
    pub(super) const fn or_unlimited(mut self) -> Self {
        self.or_unlimited = true;
        self
    }
}

/// How a setting is given on a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// By its flag alone, or `=true`, `=false`.
    Switch,
    /// With one value.
    One,
    /// With several values, separated by commas or by repeating the flag.
    Many,
}

/// What a setting can be.
pub(crate) trait Field: Sized {
    const SHAPE: Shape = Shape::One;

    /// Reads it.
    fn read(given: Given<'_>, bounds: Bounds) -> Result<Self, Invalid>;

    /// As it would be given in a file. What JSON writes of texts, numbers and arrays of texts is TOML too.
    fn show(&self) -> Json;
}

impl Field for bool {
    const SHAPE: Shape = Shape::Switch;

    fn read(given: Given<'_>, _: Bounds) -> Result<Self, Invalid> {
        match (given, given.text()) {
            (Given::Toml(item), _) => item.as_bool(),
            (_, Some("true")) => Some(true),
            (_, Some("false")) => Some(false),
            _ => None,
        }
        .ok_or_else(|| given.unexpected(Expected::Truth))
    }

    fn show(&self) -> Json {
        (*self).into()
    }
}

impl Field for Option<PathBuf> {
    fn read(given: Given<'_>, _: Bounds) -> Result<Self, Invalid> {
        let path = match given {
            Given::Toml(item) => item.as_str().map(PathBuf::from),
            Given::Words(_) => given.word().map(PathBuf::from),
        };
        match path {
            Some(path) if !path.as_os_str().is_empty() => Ok(Some(path)),
            _ => Err(given.unexpected(Expected::Path)),
        }
    }

    fn show(&self) -> Json {
        self.as_ref().map(|path| path.to_string_lossy()).into()
    }
}

impl Field for Vec<ListenAddress> {
    const SHAPE: Shape = Shape::Many;

    fn read(given: Given<'_>, _: Bounds) -> Result<Self, Invalid> {
        let list = given.list().ok_or_else(|| given.unexpected(Expected::Addresses))?;
        let address = |(text, at): (&str, _)| text.parse().map_err(|source| Invalid::address(text, source).at(at));
        list.into_iter().map(address).collect()
    }

    fn show(&self) -> Json {
        self.iter().map(|address| address.0.to_string()).collect()
    }
}

impl Field for Access {
    const SHAPE: Shape = Shape::Many;

    fn read(given: Given<'_>, _: Bounds) -> Result<Self, Invalid> {
        match given.text() {
            Some("anyone") => return Ok(Self::Anyone),
            Some("nobody") => return Ok(Self::Nobody),
            _ => {}
        }
        let list = given.list().ok_or_else(|| given.unexpected(Expected::Access))?;
        let peer = |(text, at): (&str, _)| {
            text.parse().map_err(|_| Invalid::unexpected(Expected::PeerId, format!("{text:?}")).at(at))
        };
        list.into_iter().map(peer).collect::<Result<_, _>>().map(Self::Only)
    }

    fn show(&self) -> Json {
        match self {
            Self::Anyone => "anyone".into(),
            Self::Nobody => "nobody".into(),
            Self::Only(peers) => peers.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Field for Flavours {
    const SHAPE: Shape = Shape::Many;

    fn read(given: Given<'_>, _: Bounds) -> Result<Self, Invalid> {
        let list = given.list().ok_or_else(|| given.unexpected(Expected::Flavours))?;
        let mut flavours = Self::NONE;
        for (text, at) in list {
            let wrong = |_| Invalid::unexpected(Expected::Flavours, format!("{text:?}")).at(at);
            flavours = flavours.with(text.parse::<Flavour>().map_err(wrong)?);
        }
        Ok(flavours)
    }

    fn show(&self) -> Json {
        self.iter().map(|flavour| flavour.to_string()).collect()
    }
}

impl Field for Dialects {
    const SHAPE: Shape = Shape::Many;

    fn read(given: Given<'_>, _: Bounds) -> Result<Self, Invalid> {
        let list = given.list().ok_or_else(|| given.unexpected(Expected::Dialects))?;
        let dialect = |(text, at): (&str, _)| {
            text.parse::<Dialect>().map_err(|_| Invalid::unexpected(Expected::Dialects, format!("{text:?}")).at(at))
        };
        list.into_iter().map(dialect).collect()
    }

    fn show(&self) -> Json {
        self.iter().map(|dialect| dialect.to_string()).collect()
    }
}

/// The only list that may be empty.
impl Field for ExemptNetworks {
    const SHAPE: Shape = Shape::Many;

    fn read(given: Given<'_>, _: Bounds) -> Result<Self, Invalid> {
        let is_empty = match given {
            Given::Toml(item) => item.as_array().is_some_and(toml_edit::Array::is_empty),
            Given::Words(_) => given.text() == Some(""),
        };
        if is_empty {
            return Ok(Self::default());
        }
        let list = given.list().ok_or_else(|| given.unexpected(Expected::Networks))?;
        let network = |(text, at): (&str, _)| text.parse().map_err(|source| Invalid::network(source).at(at));
        list.into_iter().map(network).collect()
    }

    fn show(&self) -> Json {
        self.networks().iter().map(ToString::to_string).collect()
    }
}

impl Field for Option<Namespace> {
    fn read(given: Given<'_>, _: Bounds) -> Result<Self, Invalid> {
        let namespace = given.text().and_then(|text| Namespace::new(text).ok());
        namespace.map(Some).ok_or_else(|| given.unexpected(Expected::Namespace))
    }

    fn show(&self) -> Json {
        self.as_ref().map(Namespace::as_str).into()
    }
}

impl Field for Option<String> {
    fn read(given: Given<'_>, bounds: Bounds) -> Result<Self, Invalid> {
        match given.text() {
            Some(text) if text.len() as u64 <= bounds.max => Ok(Some(text.to_owned())),
            _ => Err(given.unexpected(Expected::Text { bytes_max: bounds.max })),
        }
    }

    fn show(&self) -> Json {
        self.as_deref().into()
    }
}
