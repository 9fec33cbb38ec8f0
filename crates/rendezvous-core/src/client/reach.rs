//! Which addresses are worth more than others.

use core::net::{Ipv4Addr, Ipv6Addr};

use multiaddr::{Multiaddr, Protocol};

/// From how far an address can be reached, the farthest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// A public IP address, a name, or a transport of its own kind.
    Public,
    /// An address of a private network, or a name in one.
    Private,
    /// This machine or its link.
    Local,
}

/// The places of these addresses, the one most worth having first: public before private before loopback and link-local,
/// direct before relayed, shorter before longer, and else as they stand.
pub(super) fn ranked(addresses: &[Multiaddr]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..addresses.len()).collect();
    places.sort_by_cached_key(|&place| {
        let address = &addresses[place];
        let is_relayed = address.iter().any(|part| part == Protocol::P2pCircuit);
        (reach(address), is_relayed, address.len(), place)
    });
    places
}

/// Of a relayed address it is that of the relay.
fn reach(address: &Multiaddr) -> Reach {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => reach_v4(ip),
        Some(Protocol::Ip6(ip)) => ip.to_ipv4_mapped().map_or_else(|| reach_v6(ip), reach_v4),
        Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) | Protocol::Dnsaddr(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let is_under =
                |zone: &str| name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
            match name {
                _ if is_under("localhost") => Reach::Local,
                _ if is_under("local") || is_under("internal") || is_under("home.arpa") => Reach::Private,
                _ => Reach::Public,
            }
        }
        Some(Protocol::Memory(_) | Protocol::Unix(_)) => Reach::Local,
        _ => Reach::Public,
    }
}

fn reach_v4(ip: Ipv4Addr) -> Reach {
    let [first, second, ..] = ip.octets();
    let is_shared = first == 100 && (64..128).contains(&second);
    match ip {
        _ if ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() => Reach::Local,
        _ if ip.is_private() || is_shared => Reach::Private,
        _ => Reach::Public,
    }
}

fn reach_v6(ip: Ipv6Addr) -> Reach {
    match ip {
        _ if ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified() => Reach::Local,
        _ if ip.is_unique_local() => Reach::Private,
        _ => Reach::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_comes_before_private_before_local_direct_before_relayed_and_short_before_long() {
        let relay = "p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5/p2p-circuit";
        let ordered = [
            "/ip4/198.51.100.1/tcp/1".to_owned(),
            "/ip4/198.51.100.2/tcp/1".to_owned(),
            "/ip4/198.51.100.1/tcp/1/ws".to_owned(),
            "/dns4/example.org/tcp/1".to_owned(),
            "/ip6/2001:db8::1/tcp/1".to_owned(),
            format!("/ip4/198.51.100.1/tcp/1/{relay}"),
            "/ip4/10.0.0.1/tcp/1".to_owned(),
            "/ip4/100.64.0.1/tcp/1".to_owned(),
            "/dns/printer.local/tcp/443".to_owned(),
            "/ip6/::ffff:192.168.0.1/tcp/1".to_owned(),
            "/ip6/fd00::1/tcp/1".to_owned(),
            format!("/ip4/192.168.0.1/tcp/1/{relay}"),
            "/ip4/127.0.0.1/tcp/1".to_owned(),
            "/ip4/169.254.0.1/tcp/1".to_owned(),
            "/dns/localhost/tcp/1".to_owned(),
            "/ip6/::1/tcp/1".to_owned(),
            "/ip6/fe80::1/tcp/1".to_owned(),
        ]
        .map(|text| text.parse::<Multiaddr>().expect("it is a multiaddr"));
        let mut given: Vec<_> = ordered.to_vec();
        given.reverse();
        // Equal ones stand as they were given.
        for (a, b) in [(0, 1), (6, 7), (9, 10), (12, 13), (15, 16)] {
            given.swap(ordered.len() - 1 - a, ordered.len() - 1 - b);
        }
        let ranked: Vec<_> = ranked(&given).into_iter().map(|place| given[place].clone()).collect();
        assert_eq!(ranked, ordered);
    }
}
