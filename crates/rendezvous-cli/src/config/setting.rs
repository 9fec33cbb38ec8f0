//! What a setting is made of.

use serde_json::Value as Json;

use super::{
    environment,
    error::Invalid,
    field::{Bounds, Field, Given, Shape},
};

/// A setting, which has its place in an `S`.
pub(crate) struct Setting<S: 'static> {
    /// Its path in a file, such as `ttl.min_secs`.
    pub(crate) key: &'static str,
    /// Its flag, if it has one.
    pub(crate) flag: Option<Flag>,
    /// One sentence; with the default at its end where that takes words.
    pub(crate) help: &'static str,
    pub(super) shape: fn(&S) -> Shape,
    pub(super) bounds: Bounds,
    pub(super) read: fn(&mut S, Given<'_>, Bounds) -> Result<(), Invalid>,
    pub(super) show: fn(&S) -> Json,
}

/// A flag, and what its value is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) value: &'static str,
}

impl<S> Setting<S> {
    pub(crate) fn set(&self, settings: &mut S, given: Given<'_>) -> Result<(), Invalid> {
        (self.read)(settings, given, self.bounds)
    }

    /// Its value as in a file; null where it has none.
    pub(crate) fn value(&self, settings: &S) -> Json {
        (self.show)(settings)
    }

    pub(super) fn shape(&self, settings: &S) -> Shape {
        (self.shape)(settings)
    }

    /// The table that it is in, empty for the top level.
    pub(crate) fn table(&self) -> &'static str {
        self.key.rsplit_once('.').map_or("", |(table, _)| table)
    }

    /// Its name in the environment.
    pub(crate) fn variable(&self) -> String {
        format!("{}{}", environment::PREFIX, self.key.replace('.', "_").to_uppercase())
    }
}

/// The shape of what is at a place.
pub(super) fn shape<F: Field>(_: &F) -> Shape {
    F::SHAPE
}

/// An entry: key, flag and the name of its value, bounds, place, help.
macro_rules! setting {
    ($key:literal, $flag:expr, $bounds:expr, $($place:ident).+, $help:expr) => {
        Setting {
            key: $key,
            flag: $flag,
            help: $help,
            shape: |settings| shape(&settings.$($place).+),
            bounds: $bounds,
            read: |settings, given, bounds| {
                settings.$($place).+ = Field::read(given, bounds)?;
                Ok(())
            },
            show: |settings| settings.$($place).+.show(),
        }
    };
}
pub(super) use setting;
