//! Source addresses in 127.0.0.0/8.

use std::net::{Ipv4Addr, SocketAddr};

/// Addresses of a prefix that are used: `.1` to `.250`.
const HOSTS: u32 = 250;

/// The prefix of the honest probe, which an attack never uses: the addresses that a socket gets unbound.
pub const PROBE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The prefix of the clients that fill a point.
pub const FILLER: Ipv4Addr = Ipv4Addr::new(127, 203, 0, 1);

/// The prefix of the peers behind one NAT.
pub const NAT: Ipv4Addr = Ipv4Addr::new(127, 201, 0, 1);

/// The address of the client with a hundred streams.
pub const CROWD: Ipv4Addr = Ipv4Addr::new(127, 202, 0, 1);

/// Addresses of so many prefixes, each a /24, from `127.10.0.0/24` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    /// Prefixes, at least 1.
    pub prefixes: u32,
}

impl Sources {
    /// Address number `number`, any port: neighbours are of different prefixes.
    #[must_use]
    pub fn address(self, number: u32) -> SocketAddr {
        let prefixes = self.prefixes.max(1);
        let (prefix, host) = (number % prefixes, number / prefixes % HOSTS + 1);
        let [_, b, c, _] = (prefix << 8).to_be_bytes();
        // A byte of at most 250 fits.
        let host = u8::try_from(host).unwrap_or(u8::MAX);
        SocketAddr::from((Ipv4Addr::new(127, 10 + b, c, host), 0))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn so_many_prefixes_are_used_as_asked_for_and_never_the_probes() {
        for prefixes in [1, 16, 200, 1_000] {
            let sources = Sources { prefixes };
            let seen: HashSet<[u8; 3]> = (0..10_000)
                .map(|number| match sources.address(number).ip() {
                    std::net::IpAddr::V4(ip) => [ip.octets()[0], ip.octets()[1], ip.octets()[2]],
                    std::net::IpAddr::V6(_) => panic!("the sources are IPv4"),
                })
                .collect();
            assert_eq!(seen.len(), prefixes as usize);
            assert!(!seen.contains(&[127, 0, 0]) && !seen.contains(&[127, 201, 0]));
        }
    }
}
