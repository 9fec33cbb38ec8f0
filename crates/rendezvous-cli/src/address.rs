//! Addresses as they are given on the command line: parsed once, with what is wrong said before anything starts.

use std::{fmt, net::IpAddr, str::FromStr};

use libp2p::{
    Multiaddr, PeerId,
    multiaddr::{self, Protocol},
};

/// A rendezvous point: where it is, and who it must prove to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// The point's peer id.
    pub(crate) peer: PeerId,
    /// Its address, without the peer id at the end.
    pub(crate) address: Multiaddr,
}

impl Point {
    /// Whether the way to the point does not leave this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        match self.address.iter().next() {
            Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) => name == "localhost",
            _ => is_loopback(&self.address),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/p2p/{}", self.address, self.peer)
    }
}

impl FromStr for Point {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let mut address: Multiaddr = text.parse()?;
        let Some(Protocol::P2p(peer)) = address.pop() else { return Err(InvalidAddress::NoPeerId) };
        let protocols: Vec<Protocol<'_>> = address.iter().collect();
        match protocols.as_slice() {
            [] => return Err(InvalidAddress::OnlyPeerId),
            // What it stands for names the transport.
            [Protocol::Dnsaddr(_)] => {}
            [
                Protocol::Ip4(_)
                | Protocol::Ip6(_)
                | Protocol::Dns(_)
                | Protocol::Dns4(_)
                | Protocol::Dns6(_)
                | Protocol::Dnsaddr(_),
                ..,
            ] if carrier(&address).is_some() => check_dialable(&address)?,
            _ => return Err(InvalidAddress::NoCarrier),
        }
        Ok(Self { peer, address })
    }
}

/// An address to listen on: an IP address, which may be a wildcard, and a port of TCP or QUIC, which may be 0 for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenAddress(pub(crate) Multiaddr);

impl FromStr for ListenAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let address: Multiaddr = text.parse()?;
        match (ip(&address), carrier(&address)) {
            (Some(_), Some(_)) => Ok(Self(address)),
            _ => Err(InvalidAddress::NotIpAndPort),
        }
    }
}

/// An address under which others are to reach this peer, of whatever transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AdvertisedAddress(pub(crate) Multiaddr);

impl AdvertisedAddress {
    /// The peer id at its end, if there is one.
    pub(crate) fn peer(&self) -> Option<PeerId> {
        match self.0.iter().last() {
            Some(Protocol::P2p(peer)) => Some(peer),
            _ => None,
        }
    }
}

impl FromStr for AdvertisedAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let address: Multiaddr = text.parse()?;
        if address.is_empty() {
            return Err(InvalidAddress::Empty);
        }
        check_dialable(&address)?;
        Ok(Self(address))
    }
}

/// What is wrong with an address, and what would be right.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidAddress {
    #[error("{0}: expected a multiaddr such as /ip4/192.0.2.1/tcp/62649")]
    Multiaddr(#[from] multiaddr::Error),
    #[error("it is empty: expected a multiaddr such as /ip4/192.0.2.1/tcp/62649")]
    Empty,
    #[error("it does not end with /p2p/<peer id>: give a whole `listening:` line of the point")]
    NoPeerId,
    #[error("it is a peer id without an address: put /ip4/<address>/tcp/<port> in front")]
    OnlyPeerId,
    #[error(
        "it is neither a TCP nor a QUIC address: use /ip4/…, /ip6/… or /dns/… with /tcp/<port> or /udp/<port>/quic-v1, and \
         /p2p/<peer id>"
    )]
    NoCarrier,
    #[error("expected /ip4/<address> or /ip6/<address> with /tcp/<port> or /udp/<port>/quic-v1")]
    NotIpAndPort,
    #[error("{0} is no address that can be dialled: give one of this machine's own, such as the point's `listening:`")]
    Wildcard(IpAddr),
    #[error("port 0 cannot be dialled: give the port that is listened on")]
    PortZero,
}

/// The IP address that a multiaddr begins with.
pub(crate) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(ip.into()),
        Some(Protocol::Ip6(ip)) => Some(ip.into()),
        _ => None,
    }
}

/// What carries connections to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Carrier {
    Tcp,
    Quic,
}

/// The carrier and its port, of an address that is a host and these, and nothing more.
pub(crate) fn carrier(address: &Multiaddr) -> Option<(Carrier, u16)> {
    let protocols: Vec<Protocol<'_>> = address.iter().skip(1).collect();
    match protocols.as_slice() {
        [Protocol::Tcp(port)] => Some((Carrier::Tcp, *port)),
        [Protocol::Udp(port), Protocol::QuicV1] => Some((Carrier::Quic, *port)),
        _ => None,
    }
}

/// Whether it is reachable from this machine only.
pub(crate) fn is_loopback(address: &Multiaddr) -> bool {
    ip(address).is_some_and(|ip| ip.is_loopback())
}

/// Whether it names one link without saying which: of no use to anybody else.
pub(crate) fn is_link_local(address: &Multiaddr) -> bool {
    match ip(address) {
        Some(IpAddr::V4(ip)) => ip.is_link_local(),
        Some(IpAddr::V6(ip)) => ip.is_unicast_link_local(),
        None => false,
    }
}

/// Whether it stands for all addresses of the machine.
pub(crate) fn is_wildcard(address: &Multiaddr) -> bool {
    ip(address).is_some_and(|ip| ip.is_unspecified())
}

fn check_dialable(address: &Multiaddr) -> Result<(), InvalidAddress> {
    if let Some(ip) = ip(address).filter(IpAddr::is_unspecified) {
        return Err(InvalidAddress::Wildcard(ip));
    }
    match address.iter().nth(1) {
        Some(Protocol::Tcp(0) | Protocol::Udp(0)) => Err(InvalidAddress::PortZero),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";

    fn point_error(text: &str) -> String {
        text.parse::<Point>().expect_err(text).to_string()
    }

    #[test]
    fn a_point_is_an_address_of_tcp_or_quic_and_a_peer_id() {
        for address in [
            "/ip4/192.0.2.1/tcp/1",
            "/ip6/2001:db8::1/tcp/62649",
            "/ip4/192.0.2.1/udp/1/quic-v1",
            "/ip6/2001:db8::1/udp/1/quic-v1",
            "/dns/example.org/tcp/443",
            "/dns4/example.org/udp/443/quic-v1",
            "/dns6/example.org/tcp/443",
            "/dnsaddr/a.b",
            "/dnsaddr/a.b/tcp/1",
        ] {
            let text = format!("{address}/p2p/{PEER}");
            let point: Point = text.parse().expect("it is a point");
            assert_eq!((point.address.to_string(), point.to_string()), (address.to_owned(), text));
        }
    }

    #[test]
    fn each_wrong_point_is_told_apart() {
        assert!(point_error("192.0.2.1:62649").contains("expected a multiaddr"));
        assert!(point_error("/ip4/192.0.2.1/tcp/1").contains("does not end with /p2p/"));
        assert!(point_error(&format!("/p2p/{PEER}")).contains("without an address"));
        for carrier in ["udp/1", "tcp/1/ws", "udp/1/quic", "udp/1/quic-v1/webtransport"] {
            assert!(point_error(&format!("/ip4/192.0.2.1/{carrier}/p2p/{PEER}")).contains("neither a TCP nor a QUIC"));
        }
        assert!(point_error(&format!("/tcp/1/p2p/{PEER}")).contains("neither a TCP nor a QUIC"));
        assert!(point_error(&format!("/ip4/0.0.0.0/tcp/1/p2p/{PEER}")).contains("0.0.0.0"));
        for zero in ["ip4/192.0.2.1/tcp/0", "dns/a.b/tcp/0", "ip4/192.0.2.1/udp/0/quic-v1"] {
            assert!(point_error(&format!("/{zero}/p2p/{PEER}")).contains("port 0"), "{zero}");
        }
    }

    #[test]
    fn wildcards_are_listened_on_and_not_advertised() {
        assert!("/ip6/::/tcp/0".parse::<ListenAddress>().is_ok());
        assert!("/ip4/0.0.0.0/udp/0/quic-v1".parse::<ListenAddress>().is_ok());
        assert!("/ip4/0.0.0.0/udp/0".parse::<ListenAddress>().is_err());
        assert!("/dns/localhost/tcp/1".parse::<ListenAddress>().is_err());
        assert!("/ip6/::/tcp/1".parse::<AdvertisedAddress>().is_err());
        assert!("".parse::<AdvertisedAddress>().is_err());
        assert!("/ip4/192.0.2.1/udp/1/quic-v1".parse::<AdvertisedAddress>().is_ok());
    }
}
