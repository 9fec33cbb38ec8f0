//! The dialects of the protocol: which messages a stream carries.

use core::{fmt, str::FromStr};

use crate::{PROTOCOL, ttl::Ttl, waku};

/// A dialect: a protocol id and the messages that are spoken under it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialect {
    /// The protocol of the specification, `/rendezvous/1.0.0`.
    #[default]
    Rendezvous,
    /// The older dialect of Waku, `/vac/waku/rendezvous/0.0.1`; see [`waku`].
    Waku,
}

impl Dialect {
    /// Every dialect, in the order of [`index`](Self::index).
    pub const ALL: [Self; 2] = [Self::Rendezvous, Self::Waku];

    /// The protocol id under which it is negotiated.
    #[must_use]
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Rendezvous => PROTOCOL,
            Self::Waku => waku::PROTOCOL,
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Rendezvous => 0,
            Self::Waku => 1,
        }
    }

    /// The lifetime that an absent or zero `ttl` stands for.
    #[must_use]
    pub const fn ttl_default(self) -> Ttl {
        match self {
            Self::Rendezvous => Ttl::DEFAULT,
            Self::Waku => waku::TTL_DEFAULT,
        }
    }

    /// The longest lifetime that is asked for.
    #[must_use]
    pub const fn ttl_max(self) -> Ttl {
        match self {
            Self::Rendezvous => Ttl::RECOMMENDED_MAX,
            Self::Waku => waku::TTL_MAX,
        }
    }

    /// Its name in settings: `rendezvous` or `waku`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rendezvous => "rendezvous",
            Self::Waku => "waku",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no [`Dialect`]. Fault: whoever wrote the setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown dialect {0:?}, expected rendezvous or waku")]
pub struct ParseDialectError(String);

impl FromStr for Dialect {
    type Err = ParseDialectError;

    /// Reads what [`Display`](fmt::Display) writes, in lower case.
    fn from_str(text: &str) -> Result<Self, ParseDialectError> {
        let named = Self::ALL.into_iter().find(|dialect| dialect.name() == text);
        named.ok_or_else(|| ParseDialectError(text.to_owned()))
    }
}

/// A set of [`Dialect`]s, such as those that a point serves. By default it holds `/rendezvous/1.0.0` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dialects(u8);

impl Dialects {
    /// No dialect.
    pub const NONE: Self = Self(0);
    /// `/rendezvous/1.0.0` alone.
    pub const RENDEZVOUS: Self = Self::NONE.with(Dialect::Rendezvous);
    /// Waku's alone.
    pub const WAKU: Self = Self::NONE.with(Dialect::Waku);
    /// Every dialect.
    pub const ALL: Self = Self::RENDEZVOUS.with(Dialect::Waku);

    /// Whether `dialect` is in the set.
    #[must_use]
    pub const fn contains(self, dialect: Dialect) -> bool {
        self.0 & (1 << dialect.index()) != 0
    }

    /// The set with `dialect` added.
    #[must_use]
    pub const fn with(self, dialect: Dialect) -> Self {
        Self(self.0 | 1 << dialect.index())
    }

    /// The set without `dialect`.
    #[must_use]
    pub const fn without(self, dialect: Dialect) -> Self {
        Self(self.0 & !(1 << dialect.index()))
    }

    /// Whether it holds none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The dialects of the set, in the order of [`Dialect::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Dialect> {
        Dialect::ALL.into_iter().filter(move |&dialect| self.contains(dialect))
    }

    /// A bit for each dialect, by [`Dialect::index`].
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set with these bits; bits without a dialect are dropped.
    #[must_use]
    pub const fn from_bits_truncate(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }
}

impl Default for Dialects {
    fn default() -> Self {
        Self::RENDEZVOUS
    }
}

impl FromIterator<Dialect> for Dialects {
    fn from_iter<I: IntoIterator<Item = Dialect>>(dialects: I) -> Self {
        dialects.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for Dialects {
    /// The names with commas between; `none` for no dialect.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (index, dialect) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            dialect.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialect_is_read_by_the_name_that_it_is_written_with() {
        for (index, dialect) in Dialect::ALL.into_iter().enumerate() {
            assert_eq!((dialect.to_string().parse(), dialect.index()), (Ok(dialect), index));
        }
        assert!("Waku".parse::<Dialect>().is_err());
    }

    #[test]
    fn a_set_holds_what_was_put_in_and_no_other() {
        for set in [Dialects::NONE, Dialects::RENDEZVOUS, Dialects::WAKU, Dialects::ALL] {
            assert_eq!(set.iter().collect::<Dialects>(), set);
            assert_eq!(Dialects::from_bits_truncate(set.bits() | 0xf0), set);
            assert_eq!(set.without(Dialect::Waku).with(Dialect::Waku), set.with(Dialect::Waku));
        }
        assert_eq!((Dialects::ALL.to_string(), Dialects::NONE.to_string()), ("rendezvous, waku".into(), "none".into()));
    }
}
