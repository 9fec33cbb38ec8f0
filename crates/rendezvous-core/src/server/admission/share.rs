//! Shares of the registrations for each network, and how they shrink near the total.

use super::{origin::Origin, prefix::IpPrefix};
use crate::server::config::ServerConfig;

/// The default share of an IP prefix (/24, /56) is the total divided by this.
///
/// With 1 %, a hundred networks have to work together before nobody else finds room, and the largest share of a point of a
/// million registrations is 10,000: a carrier's NAT of 5,000 peers in two namespaces each.
pub const PREFIX_SHARE_DIVISOR: usize = 100;

/// The default share of an IP prefix is at least this, or all of a smaller total: the default quota of one peer. Points
/// with small totals are for groups that often sit behind one address.
pub const PREFIX_SHARE_MIN: usize = 1_000;

/// Shares of a prefix that an IPv6 /48 has: a /48 is one site, or 256 homes, and some providers give one to anybody for
/// free. So who owns one gets twice the share of a home and not 256 times.
pub const SHARES_PER_48: usize = 2;

/// Shares of a prefix that an IPv6 /32 has: it is the smallest block that a provider is allocated, and whoever pays for a
/// membership of a registry can own one. A provider's customers together get 5 % of the default total.
pub const SHARES_PER_32: usize = 5;

/// A block of addresses with a share of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::server) enum Block {
    /// IPv4 /24.
    V4([u8; 3]),
    /// IPv6 /56.
    V6([u8; 7]),
    /// IPv6 /48.
    Site([u8; 6]),
    /// IPv6 /32.
    Provider([u8; 4]),
    /// All connections without an IP address.
    Unlocated,
}

impl Block {
    /// The smallest block that an origin counts in; `None` if it counts in none.
    pub(in crate::server) fn of(origin: Origin) -> Option<Self> {
        match origin {
            Origin::Prefix(IpPrefix::V4(prefix)) => Some(Self::V4(prefix)),
            Origin::Prefix(IpPrefix::V6(prefix)) => Some(Self::V6(prefix)),
            Origin::Unlocated => Some(Self::Unlocated),
            Origin::Exempt => None,
        }
    }

    /// This block and those around it that have a share, the smallest first.
    pub(in crate::server) fn with_wider(self) -> impl Iterator<Item = Self> {
        let wider = match self {
            Self::V6([a, b, c, d, e, f, _]) => {
                [Some(self), Some(Self::Site([a, b, c, d, e, f])), Some(Self::Provider([a, b, c, d]))]
            }
            _ => [Some(self), None, None],
        };
        wider.into_iter().flatten()
    }

    /// The origin that counts in a smallest block.
    pub(in crate::server) fn origin(self) -> Origin {
        match self {
            Self::V4(prefix) => Origin::Prefix(IpPrefix::V4(prefix)),
            Self::V6(prefix) => Origin::Prefix(IpPrefix::V6(prefix)),
            Self::Site(_) | Self::Provider(_) | Self::Unlocated => Origin::Unlocated,
        }
    }

    /// How many shares of a prefix it has.
    pub(in crate::server) fn shares(self) -> usize {
        match self {
            Self::V4(_) | Self::V6(_) | Self::Unlocated => 1,
            Self::Site(_) => SHARES_PER_48,
            Self::Provider(_) => SHARES_PER_32,
        }
    }
}

/// All of the last quarter of a total, as [`Room`] counts it.
const ROOM_ALL: u32 = 1 << 16;

/// How much of the last quarter of a total is left: all while the point is less than three quarters full, nothing when it is
/// full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::server) struct Room(u32);

impl Room {
    /// The room that is left of a total.
    pub(in crate::server) fn of(used: u64, total: u64) -> Self {
        let left = u128::from(total.saturating_sub(used));
        let of_last_quarter = left * 4 * u128::from(ROOM_ALL) / u128::from(total.max(1));
        Self(u32::try_from(of_last_quarter).unwrap_or(ROOM_ALL).min(ROOM_ALL))
    }

    /// Whether the last quarter is begun.
    pub(in crate::server) fn is_scarce(self) -> bool {
        self.0 < ROOM_ALL
    }

    /// A number that falls in proportion to the room, rounded up.
    pub(in crate::server) fn scale(self, number: u64) -> u64 {
        let scaled = (u128::from(number) * u128::from(self.0)).div_ceil(u128::from(ROOM_ALL));
        u64::try_from(scaled).unwrap_or(number)
    }
}

impl ServerConfig {
    /// Registrations that may come from one IP prefix: [`Self::registrations_per_prefix_max`], or the default share if that
    /// is `None`, which is the total divided by [`PREFIX_SHARE_DIVISOR`] and at least [`PREFIX_SHARE_MIN`].
    ///
    /// ```
    /// use rendezvous_core::server::ServerConfig;
    ///
    /// let mut config = ServerConfig::default();
    /// assert_eq!((config.registrations_max, config.prefix_share()), (1_000_000, 10_000));
    /// config.registrations_max = 10;
    /// assert_eq!(config.prefix_share(), 1_000, "more than all: a small point has no shares");
    /// ```
    #[must_use]
    pub fn prefix_share(&self) -> usize {
        let by_default = || (self.registrations_max / PREFIX_SHARE_DIVISOR).max(PREFIX_SHARE_MIN);
        self.registrations_per_prefix_max.unwrap_or_else(by_default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_falls_from_three_quarters_to_the_total() {
        assert_eq!(Room::of(0, 0).scale(1_000), 0, "no total, no room");
        for total in [4, 1_000, 1_000_000, u64::MAX] {
            assert_eq!(Room::of(0, total).scale(1_000), 1_000);
            assert_eq!(Room::of(total / 2, total).scale(1_000), 1_000);
            assert_eq!(Room::of(total, total).scale(1_000), 0);
            assert_eq!(Room::of(u64::MAX, total).scale(1_000), 0);
        }
        assert!(!Room::of(750, 1_000).is_scarce());
        assert!(Room::of(751, 1_000).is_scarce());
        assert_eq!(Room::of(875, 1_000).scale(10_000), 5_000);
        assert_eq!(Room::of(999, 1_000).scale(100), 1, "rounded up: a newcomer is let in to the last place");
    }

    #[test]
    fn an_ipv6_prefix_counts_for_its_site_and_its_provider() {
        let origin = Origin::Prefix(IpPrefix::of("2001:db8:1:2ff::1".parse().expect("an address")));
        let block = Block::of(origin).expect("it has a share");
        let shares: Vec<_> = block.with_wider().map(Block::shares).collect();
        assert_eq!(shares, [1, SHARES_PER_48, SHARES_PER_32]);
        assert_eq!(block.origin(), origin);
        for origin in [Origin::Unlocated, Origin::Prefix(IpPrefix::V4([192, 0, 2]))] {
            let block = Block::of(origin).expect("it has a share");
            assert_eq!(block.with_wider().collect::<Vec<_>>(), [block]);
            assert_eq!(block.origin(), origin);
        }
        assert_eq!(Block::of(Origin::Exempt), None);
    }
}
