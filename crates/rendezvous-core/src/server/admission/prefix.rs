//! Where a connection comes from, as coarsely as one party can change it at will.

use core::{fmt, net::IpAddr};

/// The network that an address belongs to: the first 24 bits of an IPv4 address, the first 56 of an IPv6 one.
///
/// Within these a single party usually commands all addresses, so limits count them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IpPrefix {
    /// /24.
    V4([u8; 3]),
    /// /56.
    V6([u8; 7]),
}

impl IpPrefix {
    /// The prefix of an address. IPv4 addresses mapped into IPv6 count as IPv4.
    ///
    /// ```
    /// use rendezvous_core::server::IpPrefix;
    ///
    /// let prefix = IpPrefix::of("192.0.2.77".parse()?);
    /// assert_eq!(prefix, IpPrefix::of("192.0.2.1".parse()?));
    /// assert_eq!(prefix, IpPrefix::of("::ffff:192.0.2.5".parse()?));
    /// assert_eq!(prefix.to_string(), "192.0.2.0/24");
    /// assert_eq!(IpPrefix::of("2001:db8:1:2ff::1".parse()?).to_string(), "2001:db8:1:200::/56");
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g])
            }
        }
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4([a, b, c]) => write!(f, "{a}.{b}.{c}.0/24"),
            Self::V6(bytes) => {
                let mut octets = [0; 16];
                octets[..7].copy_from_slice(&bytes);
                write!(f, "{}/56", core::net::Ipv6Addr::from(octets))
            }
        }
    }
}
