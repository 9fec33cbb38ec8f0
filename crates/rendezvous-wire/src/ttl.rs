//! Times to live and page limits.

use core::fmt;

/// Lifetime of a registration in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ttl(u64);

impl Ttl {
    /// Used where a request names none: 2 hours (specification, "Registration Lifetime").
    pub const DEFAULT: Self = Self(7_200);
    /// Shortest that the specification recommends a point to accept: 2 hours.
    pub const RECOMMENDED_MIN: Self = Self(7_200);
    /// Longest that the specification recommends a point to accept: 72 hours. No answer carries more: some clients drop
    /// a registration that does.
    pub const RECOMMENDED_MAX: Self = Self(259_200);

    /// A lifetime of so many seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs)
    }

    /// The lifetime in seconds.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// A TTL as received: an absent one and zero both say "the default", and give `None`.
    ///
    /// Writers that declare the field `int64` send a negative number as one above 2^63; it stays what it is, beyond
    /// every bound.
    #[must_use]
    pub fn from_wire(ttl_secs: Option<u64>) -> Option<Self> {
        match ttl_secs {
            None | Some(0) => None,
            Some(secs) => Some(Self(secs)),
        }
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0)
    }
}

/// Most registrations that one answer to DISCOVER may hold: 1 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Limit(u16);

impl Limit {
    /// The largest page (specification, "Recommendations for Rendezvous Points configurations"), and the default.
    pub const MAX: Self = Self(1_000);

    /// A limit of `count`, brought into 1 to 1000.
    #[must_use]
    pub const fn new(count: usize) -> Self {
        match count {
            0 => Self(1),
            1..=1_000 => Self(count as u16),
            _ => Self::MAX,
        }
    }

    /// A limit as received: absent, zero, and all above the largest page (a negative `int64` among them) are the
    /// largest page.
    #[must_use]
    pub const fn from_wire(limit: Option<u64>) -> Self {
        match limit {
            Some(count @ 1..=1_000) => Self(count as u16),
            _ => Self::MAX,
        }
    }

    /// The number of registrations.
    #[must_use]
    pub const fn count(self) -> usize {
        self.0 as usize
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_or_zero_ttl_is_the_default() {
        assert_eq!(Ttl::from_wire(None), None);
        assert_eq!(Ttl::from_wire(Some(0)), None);
        assert_eq!(Ttl::from_wire(Some(1)), Some(Ttl::from_secs(1)));
    }

    #[test]
    fn a_limit_that_is_absent_zero_or_out_of_range_is_the_largest_page() {
        for limit in [None, Some(0), Some(1_001), Some(u64::MAX)] {
            assert_eq!(Limit::from_wire(limit), Limit::MAX);
        }
        assert_eq!(Limit::from_wire(Some(7)).count(), 7);
    }
}
