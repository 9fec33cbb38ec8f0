//! Where a connection comes from.

use std::net::IpAddr;

use libp2p_core::{Multiaddr, multiaddr::Protocol};
use rendezvous_core::server::{ExemptNetworks, Origin};

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

/// The bucket that a connection counts in, by its remote address.
#[must_use]
pub fn origin_of(exempt: &ExemptNetworks, remote: &Multiaddr) -> Origin {
    exempt.origin_of(remote_ip(remote))
}

#[cfg(test)]
mod tests {
    use rendezvous_core::server::IpPrefix;

    use super::*;

    fn origin(exempt: &ExemptNetworks, address: &str) -> Origin {
        origin_of(exempt, &address.parse().expect("an address"))
    }

    #[test]
    fn only_a_direct_connection_over_ip_has_a_prefix() {
        let prefix = |address: &str| origin(&ExemptNetworks::default(), address).prefix().map(|it| it.to_string());
        assert_eq!(prefix("/ip4/192.0.2.77/tcp/4001").as_deref(), Some("192.0.2.0/24"));
        assert_eq!(prefix("/ip4/192.0.2.1/udp/4001/quic-v1").as_deref(), Some("192.0.2.0/24"));
        assert_eq!(prefix("/ip6/2001:db8:1:2ff::1/tcp/4001").as_deref(), Some("2001:db8:1:200::/56"));
        assert_eq!(prefix("/ip6/::ffff:192.0.2.1/tcp/4001").as_deref(), Some("192.0.2.0/24"));
        let relay = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        assert_eq!(prefix(&format!("/ip4/192.0.2.1/tcp/4001/p2p/{relay}/p2p-circuit")), None);
        assert_eq!(prefix(&format!("/p2p/{relay}")), None);
        assert_eq!(prefix("/memory/1"), None);
    }

    #[test]
    fn a_relayed_connection_is_not_exempt_though_its_relay_is() {
        let exempt: ExemptNetworks = ["192.0.2.0/24".parse().expect("a network")].into_iter().collect();
        assert_eq!(origin(&exempt, "/ip4/192.0.2.1/tcp/4001"), Origin::Exempt);
        let other = Origin::Prefix(IpPrefix::V4([192, 0, 3]));
        assert_eq!(origin(&exempt, "/ip4/192.0.3.1/tcp/4001"), other);
        let relay = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        assert_eq!(origin(&exempt, &format!("/ip4/192.0.2.1/tcp/4001/p2p/{relay}/p2p-circuit")), Origin::Unlocated);
    }
}
