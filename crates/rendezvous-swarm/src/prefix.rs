//! Where a connection comes from.

use std::net::IpAddr;

use libp2p_core::{Multiaddr, multiaddr::Protocol};
use rendezvous_core::server::IpPrefix;

/// The IP address that a connection comes from, by its remote address. `None` if that does not begin with an IP address, or
/// if the connection is relayed: the address is then the relay's.
///
/// ```
/// use rendezvous_swarm::remote_ip;
///
/// assert_eq!(remote_ip(&"/ip4/192.0.2.1/tcp/4001".parse()?), Some("192.0.2.1".parse()?));
/// assert_eq!(remote_ip(&"/memory/1".parse()?), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn remote_ip(remote: &Multiaddr) -> Option<IpAddr> {
    if remote.iter().any(|protocol| protocol == Protocol::P2pCircuit) {
        return None;
    }
    match remote.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

/// The IP prefix that a connection comes from, if its [`remote_ip`] is known.
pub(crate) fn prefix_of(remote: &Multiaddr) -> Option<IpPrefix> {
    remote_ip(remote).map(IpPrefix::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_direct_connection_over_ip_has_a_prefix() {
        let prefix = |address: &str| prefix_of(&address.parse().expect("an address")).map(|prefix| prefix.to_string());
        assert_eq!(prefix("/ip4/192.0.2.77/tcp/4001").as_deref(), Some("192.0.2.0/24"));
        assert_eq!(prefix("/ip4/192.0.2.1/udp/4001/quic-v1").as_deref(), Some("192.0.2.0/24"));
        assert_eq!(prefix("/ip6/2001:db8:1:2ff::1/tcp/4001").as_deref(), Some("2001:db8:1:200::/56"));
        assert_eq!(prefix("/ip6/::ffff:192.0.2.1/tcp/4001").as_deref(), Some("192.0.2.0/24"));
        let relay = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        assert_eq!(prefix(&format!("/ip4/192.0.2.1/tcp/4001/p2p/{relay}/p2p-circuit")), None);
        assert_eq!(prefix(&format!("/p2p/{relay}")), None);
        assert_eq!(prefix("/memory/1"), None);
    }
}
