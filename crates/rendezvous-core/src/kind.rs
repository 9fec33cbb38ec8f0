//! In which form a record stands at a point.

use core::fmt;

use rendezvous_record::Flavour;

/// The form of a record: a signed envelope of one of the two flavours, or a `PeerInfo` without a signature.
///
/// Unsigned records exist only in the legacy mode ([`ServerConfig::legacy_peer_info`](crate::server::ServerConfig),
/// [`ClientConfig::legacy_peer_info`](crate::client::ClientConfig)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordKind {
    /// A signed envelope.
    Signed(Flavour),
    /// A `PeerInfo`.
    Unsigned,
}

impl RecordKind {
    /// All there are, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Signed(Flavour::Standard), Self::Signed(Flavour::Legacy), Self::Unsigned];

    /// Its number, the place in [`ALL`](Self::ALL): that of the flavour, or 2.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Signed(flavour) => flavour.index(),
            Self::Unsigned => 2,
        }
    }

    /// The flavour, if it is signed.
    #[must_use]
    pub const fn flavour(self) -> Option<Flavour> {
        match self {
            Self::Signed(flavour) => Some(flavour),
            Self::Unsigned => None,
        }
    }
}

impl From<Flavour> for RecordKind {
    fn from(flavour: Flavour) -> Self {
        Self::Signed(flavour)
    }
}

/// "standard", "legacy" or "unsigned".
impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed(flavour) => flavour.fmt(f),
            Self::Unsigned => f.write_str("unsigned"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places() {
        assert!(RecordKind::ALL.into_iter().enumerate().all(|(place, kind)| kind.index() == place));
    }
}
