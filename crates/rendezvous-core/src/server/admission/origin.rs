//! Which bucket a connection is counted in: that of its IP prefix, the common one, or none.

use core::{fmt, net::IpAddr, str::FromStr};

use super::prefix::IpPrefix;

/// The bucket that a connection, and everything that it costs, is counted in.
///
/// Each shared resource has a share for each IP prefix, so that one network cannot use up what all share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// The connection counts against the share of its IP prefix.
    Prefix(IpPrefix),
    /// No IP address is known: a relayed connection, or a memory transport. All such connections share one bucket, which
    /// has the share of one prefix.
    Unlocated,
    /// The operator has exempted the network ([`ExemptNetworks`]): totals and shares per connection apply, shares per
    /// prefix do not.
    Exempt,
}

impl Origin {
    /// The IP prefix, if the connection counts against one.
    ///
    /// ```
    /// use rendezvous_core::server::{IpPrefix, Origin};
    ///
    /// let prefix = IpPrefix::of("192.0.2.1".parse()?);
    /// assert_eq!(Origin::Prefix(prefix).prefix(), Some(prefix));
    /// assert_eq!(Origin::Unlocated.prefix(), None);
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn prefix(self) -> Option<IpPrefix> {
        match self {
            Self::Prefix(prefix) => Some(prefix),
            Self::Unlocated | Self::Exempt => None,
        }
    }
}

impl From<Option<IpPrefix>> for Origin {
    fn from(prefix: Option<IpPrefix>) -> Self {
        prefix.map_or(Self::Unlocated, Self::Prefix)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(prefix) => prefix.fmt(f),
            Self::Unlocated => f.write_str("connections without an IP address"),
            Self::Exempt => f.write_str("an exempt network"),
        }
    }
}

/// A block of IP addresses in CIDR notation (RFC 4632, RFC 4291 section 2.3), such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpNetwork {
    address: IpAddr,
    prefix_bits: u8,
}

/// A text is not a block of IP addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IpNetworkError {
    /// The part before the slash is not an IP address.
    #[error("{0:?} is not an IP address")]
    Address(String),
    /// The part behind the slash is not a number of bits, or is more than the address has.
    #[error("{0:?} is not a number of bits from 0 to {1}")]
    Bits(String, u8),
    /// Bits behind the prefix are set: `10.0.0.1/8` may be meant as `10.0.0.0/8` or as `10.0.0.1/32`.
    #[error("{0} has bits set behind its prefix; write {1} for the whole block")]
    HostBits(String, IpNetwork),
}

impl IpNetwork {
    /// The block of this many leading bits that holds an address. More bits than the address has count as all of them.
    /// IPv4 addresses mapped into IPv6 count as IPv4.
    #[must_use]
    pub fn containing(address: IpAddr, prefix_bits: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let prefix_bits = prefix_bits.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix_bits)).unwrap_or(0);
                Self { address: IpAddr::V4((u32::from(address) & mask).into()), prefix_bits }
            }
            IpAddr::V6(address) => {
                let prefix_bits = prefix_bits.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix_bits)).unwrap_or(0);
                Self { address: IpAddr::V6((u128::from(address) & mask).into()), prefix_bits }
            }
        }
    }

    /// Whether an address lies in the block.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && Self::containing(address, self.prefix_bits) == *self
    }
}

impl FromStr for IpNetwork {
    type Err = IpNetworkError;

    fn from_str(text: &str) -> Result<Self, IpNetworkError> {
        let (address_text, bits_text) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let parsed = address_text.parse::<IpAddr>().map_err(|_| IpNetworkError::Address(address_text.to_owned()))?;
        let bits_max = if parsed.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match bits_text {
            None => bits_max,
            Some(bits) => {
                let parsed = bits.parse().ok().filter(|&bits: &u8| bits <= bits_max);
                parsed.ok_or_else(|| IpNetworkError::Bits(bits.to_owned(), bits_max))?
            }
        };
        let network = match parsed {
            IpAddr::V4(_) => Self::containing(parsed, prefix_bits),
            // A mapped address keeps its form here, so that its bits count from the front of the IPv6 address.
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() && prefix_bits >= 96 => {
                Self::containing(parsed, prefix_bits - 96)
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix_bits)).unwrap_or(0);
                Self { address: IpAddr::V6((u128::from(v6) & mask).into()), prefix_bits }
            }
        };
        if network.address != parsed.to_canonical() && network.address != parsed {
            return Err(IpNetworkError::HostBits(text.to_owned(), network));
        }
        Ok(network)
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

/// Networks whose connections have no share per IP prefix.
///
/// Behind a proxy or a container bridge every client has the same prefix, and a share per prefix would be the share of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExemptNetworks(Vec<IpNetwork>);

impl ExemptNetworks {
    /// The bucket of connections from an address; `None` is a connection without an IP address.
    ///
    /// ```
    /// use rendezvous_core::server::{ExemptNetworks, IpPrefix, Origin};
    ///
    /// let bridge: ExemptNetworks = ["172.17.0.0/16".parse()?].into_iter().collect();
    /// assert_eq!(bridge.origin_of(Some("172.17.0.1".parse()?)), Origin::Exempt);
    /// let other = "192.0.2.1".parse()?;
    /// assert_eq!(bridge.origin_of(Some(other)), Origin::Prefix(IpPrefix::of(other)));
    /// assert_eq!(bridge.origin_of(None), Origin::Unlocated);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn origin_of(&self, address: Option<IpAddr>) -> Origin {
        match address {
            None => Origin::Unlocated,
            Some(address) if self.0.iter().any(|network| network.contains(address)) => Origin::Exempt,
            Some(address) => Origin::Prefix(IpPrefix::of(address)),
        }
    }

    /// The networks.
    #[must_use]
    pub fn networks(&self) -> &[IpNetwork] {
        &self.0
    }
}

impl FromIterator<IpNetwork> for ExemptNetworks {
    fn from_iter<I: IntoIterator<Item = IpNetwork>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> IpNetwork {
        text.parse().expect("it is a network")
    }

    #[test]
    fn a_network_contains_the_addresses_with_its_leading_bits() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("::1", "::1", "::2"),
            ("192.0.2.0/25", "::ffff:192.0.2.127", "::ffff:192.0.2.128"),
            ("::ffff:192.0.2.0/120", "192.0.2.255", "192.0.3.0"),
        ] {
            let network = network(text);
            assert!(network.contains(inside.parse().expect("an address")), "{inside} in {text}");
            assert!(!network.contains(outside.parse().expect("an address")), "{outside} in {text}");
            assert_eq!(network.to_string().parse(), Ok(network));
        }
    }

    #[test]
    fn a_text_that_is_no_network_is_refused_with_its_fault() {
        let fault = |text: &str| text.parse::<IpNetwork>().expect_err("it is no network").to_string();
        assert_eq!(fault("example.com/8"), "\"example.com\" is not an IP address");
        assert_eq!(fault("10.0.0.0/33"), "\"33\" is not a number of bits from 0 to 32");
        assert_eq!(fault("::/129"), "\"129\" is not a number of bits from 0 to 128");
        assert_eq!(fault("10.0.0.0/"), "\"\" is not a number of bits from 0 to 32");
        assert_eq!(
            fault("10.0.0.1/8"),
            "10.0.0.1/8 has bits set behind its prefix; write 10.0.0.0/8 for the whole block"
        );
    }
}
