//! Namespaces.

use core::{borrow::Borrow, fmt, str::FromStr};
use std::sync::Arc;

/// Longest namespace in bytes (specification, "Recommendations for Rendezvous Points configurations").
pub const NAMESPACE_BYTES_MAX: usize = 255;

/// Name under which peers register: 1 to 255 bytes of UTF-8.
///
/// Clones share one allocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// A namespace with this name.
    ///
    /// # Errors
    /// [`InvalidNamespace`] if the name is empty or longer than [`NAMESPACE_BYTES_MAX`].
    pub fn new(name: &str) -> Result<Self, InvalidNamespace> {
        Self::parse(name.as_bytes()).map(|name| Self(name.into()))
    }

    /// The name in these bytes of the wire, checked and not copied.
    ///
    /// # Errors
    /// [`InvalidNamespace`] if the bytes are empty, longer than [`NAMESPACE_BYTES_MAX`] or not UTF-8.
    pub fn parse(bytes: &[u8]) -> Result<&str, InvalidNamespace> {
        match bytes.len() {
            0 => Err(InvalidNamespace::Empty),
            len if len > NAMESPACE_BYTES_MAX => Err(InvalidNamespace::TooLong { len_bytes: len }),
            _ => core::str::from_utf8(bytes).map_err(|_| InvalidNamespace::NotUtf8),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a name is no namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidNamespace {
    /// No byte at all.
    #[error("namespace is empty")]
    Empty,
    /// More than [`NAMESPACE_BYTES_MAX`] bytes.
    #[error("namespace has {len_bytes} bytes, more than {NAMESPACE_BYTES_MAX}")]
    TooLong {
        /// Length in bytes.
        len_bytes: usize,
    },
    /// Bytes that are not UTF-8: the field is a protobuf `string`.
    #[error("namespace is not utf-8")]
    NotUtf8,
}

impl FromStr for Namespace {
    type Err = InvalidNamespace;

    fn from_str(name: &str) -> Result<Self, InvalidNamespace> {
        Self::new(name)
    }
}

impl TryFrom<&str> for Namespace {
    type Error = InvalidNamespace;

    fn try_from(name: &str) -> Result<Self, InvalidNamespace> {
        Self::new(name)
    }
}

impl AsRef<str> for Namespace {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Namespace {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_1_to_255_bytes_of_utf8() {
        assert_eq!(Namespace::new(""), Err(InvalidNamespace::Empty));
        assert!(Namespace::new(&"x".repeat(255)).is_ok());
        assert_eq!(Namespace::new(&"x".repeat(256)), Err(InvalidNamespace::TooLong { len_bytes: 256 }));
        // Bytes count, not characters: 128 of two bytes each are one too many.
        assert_eq!(Namespace::new(&"é".repeat(128)), Err(InvalidNamespace::TooLong { len_bytes: 256 }));
        assert_eq!(Namespace::parse(&[0xff]), Err(InvalidNamespace::NotUtf8));
    }
}
