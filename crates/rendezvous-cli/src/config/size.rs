//! Settings that are a number of bytes, with a unit where that reads better.

use serde_json::Value as Json;

use super::{
    error::{Expected, Invalid},
    field::{Bounds, Field, Given},
};

/// Units by their names, the largest first.
const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// A number of bytes: in a file a number, or a text such as `"1 GiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteSize(pub(crate) u64);

impl ByteSize {
    /// Reads a number of bytes with or without a unit.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        for (unit, shift) in UNITS {
            if let Some(number) = text.strip_suffix(unit) {
                return number.trim_end().parse::<u64>().ok()?.checked_mul(1 << shift).map(Self);
            }
        }
        text.parse().ok().map(Self)
    }
}

impl std::fmt::Display for ByteSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = UNITS.iter().find(|(_, shift)| self.0 > 0 && self.0.is_multiple_of(1 << shift));
        match unit {
            Some((unit, shift)) => write!(f, "{} {unit}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Field for ByteSize {
    fn read(given: Given<'_>, bounds: Bounds) -> Result<Self, Invalid> {
        let size = match given {
            Given::Toml(item) if item.is_integer() => {
                item.as_integer().and_then(|number| u64::try_from(number).ok()).map(Self)
            }
            Given::Toml(_) | Given::Words(_) => given.text().and_then(Self::parse),
        };
        let size = size.filter(|size| (bounds.min..=bounds.max).contains(&size.0));
        size.ok_or_else(|| given.unexpected(Expected::Size { min: Self(bounds.min), max: Self(bounds.max) }))
    }

    fn show(&self) -> Json {
        match self.to_string() {
            text if text.contains(' ') => text.into(),
            _ => self.0.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_with_and_without_a_unit_and_shown_with_the_largest_that_fits() {
        let cases = [("1 GiB", 1 << 30, "1 GiB"), ("1024MiB", 1 << 30, "1 GiB"), ("1536 MiB", 3 << 29, "1536 MiB")];
        for (text, bytes, shown) in cases {
            let size = ByteSize::parse(text).expect("it is a size");
            assert_eq!((size.0, size.to_string()), (bytes, shown.to_owned()));
        }
        assert_eq!(ByteSize::parse("1000"), Some(ByteSize(1_000)));
        assert_eq!(ByteSize(1_000).to_string(), "1000");
        for text in ["", "1 GB", "GiB", "-1", "1.5 GiB", "99999999999 TiB"] {
            assert_eq!(ByteSize::parse(text), None, "{text}");
        }
    }
}
