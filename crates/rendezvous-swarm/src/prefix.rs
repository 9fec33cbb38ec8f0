//! Where a connection comes from.

use libp2p_core::{Multiaddr, multiaddr::Protocol};
use rendezvous_core::server::IpPrefix;

/// The IP prefix of an address, if it begins with an IP address and is not one by way of a relay.
pub(crate) fn prefix_of(address: &Multiaddr) -> Option<IpPrefix> {
    if address.iter().any(|protocol| protocol == Protocol::P2pCircuit) {
        return None;
    }
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpPrefix::of(ip.into())),
        Protocol::Ip6(ip) => Some(IpPrefix::of(ip.into())),
        _ => None,
    }
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
