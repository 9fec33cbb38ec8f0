//! Kinds of addresses.

use libp2p_core::{Multiaddr, multiaddr::Protocol};

/// What kind of address: an address may be of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddressKind {
    /// Begins with `/ip4`.
    Ip4,
    /// Begins with `/ip6`.
    Ip6,
    /// Begins with a name to resolve: `/dns`, `/dns4`, `/dns6` or `/dnsaddr`.
    Dns,
    /// Over TCP, and nothing that browsers speak above it.
    Tcp,
    /// QUIC, of either version.
    Quic,
    /// WebSocket, plain or with TLS.
    WebSocket,
    /// WebTransport.
    WebTransport,
    /// WebRTC, direct or not.
    WebRtc,
    /// Through a relay: has `/p2p-circuit`.
    Relayed,
    /// An IP address that reaches this machine alone.
    Loopback,
    /// An IP address of a local network: private (RFC 1918), shared (RFC 6598), link-local, or unique local (RFC 4193).
    Private,
    /// An IP address that is none of those, nor unspecified, or a name.
    Public,
    /// Within the process: begins with `/memory`.
    Memory,
}

impl AddressKind {
    /// Whether an address is of this kind.
    ///
    /// ```
    /// use rendezvous_discovery::AddressKind;
    ///
    /// let address = "/ip4/10.0.0.7/udp/4001/quic-v1".parse()?;
    /// assert!(AddressKind::Quic.is(&address) && AddressKind::Private.is(&address));
    /// assert!(!AddressKind::Tcp.is(&address));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is(self, address: &Multiaddr) -> bool {
        let has = |wanted: fn(&Protocol<'_>) -> bool| address.iter().any(|protocol| wanted(&protocol));
        let first = address.iter().next();
        match self {
            Self::Ip4 => matches!(first, Some(Protocol::Ip4(_))),
            Self::Ip6 => matches!(first, Some(Protocol::Ip6(_))),
            Self::Dns => {
                matches!(first, Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_)))
            }
            Self::Tcp => has(|it| matches!(it, Protocol::Tcp(_))) && !Self::WebSocket.is(address),
            Self::Quic => has(|it| matches!(it, Protocol::Quic | Protocol::QuicV1)) && !Self::WebTransport.is(address),
            Self::WebSocket => has(|it| matches!(it, Protocol::Ws(_) | Protocol::Wss(_))),
            Self::WebTransport => has(|it| matches!(it, Protocol::WebTransport)),
            Self::WebRtc => has(|it| matches!(it, Protocol::WebRTC | Protocol::WebRTCDirect)),
            Self::Relayed => has(|it| matches!(it, Protocol::P2pCircuit)),
            Self::Loopback => match first {
                Some(Protocol::Ip4(ip)) => ip.is_loopback(),
                Some(Protocol::Ip6(ip)) => ip.is_loopback(),
                _ => false,
            },
            Self::Private => match first {
                Some(Protocol::Ip4(ip)) => {
                    let [a, b, ..] = ip.octets();
                    ip.is_private() || ip.is_link_local() || (a == 100 && b & 0xc0 == 64)
                }
                Some(Protocol::Ip6(ip)) => ip.is_unique_local() || ip.is_unicast_link_local(),
                _ => false,
            },
            Self::Public => match first {
                Some(Protocol::Ip4(ip)) => {
                    !ip.is_unspecified() && !Self::Loopback.is(address) && !Self::Private.is(address)
                }
                Some(Protocol::Ip6(ip)) => {
                    !ip.is_unspecified() && !Self::Loopback.is(address) && !Self::Private.is(address)
                }
                _ => Self::Dns.is(address),
            },
            Self::Memory => matches!(first, Some(Protocol::Memory(_))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AddressKind::*;

    #[test]
    fn each_address_is_of_its_kinds_and_no_others() {
        let all =
            [Ip4, Ip6, Dns, Tcp, Quic, WebSocket, WebTransport, WebRtc, Relayed, Loopback, Private, Public, Memory];
        let relay = "/p2p/12D3KooWM46dzFenBGHzS7ygDtTeqVy8hK3gEiiQTXxTbxNMCMmA/p2p-circuit";
        let relayed = format!("/ip4/192.0.2.1/tcp/1{relay}");
        let cases: [(&str, &[AddressKind]); 14] = [
            ("/ip4/127.0.0.1/tcp/1", &[Ip4, Tcp, Loopback]),
            ("/ip4/10.1.2.3/udp/1/quic-v1", &[Ip4, Quic, Private]),
            ("/ip4/100.64.0.1/tcp/1", &[Ip4, Tcp, Private]),
            ("/ip4/100.128.0.1/tcp/1", &[Ip4, Tcp, Public]),
            ("/ip4/169.254.0.1/tcp/1", &[Ip4, Tcp, Private]),
            ("/ip4/0.0.0.0/tcp/1", &[Ip4, Tcp]),
            ("/ip6/::1/tcp/1", &[Ip6, Tcp, Loopback]),
            ("/ip6/fe80::1/tcp/1", &[Ip6, Tcp, Private]),
            ("/ip6/2001:db8::1/udp/1/quic-v1/webtransport", &[Ip6, WebTransport, Public]),
            ("/dns4/example.org/tcp/443/wss", &[Dns, WebSocket, Public]),
            ("/dnsaddr/example.org", &[Dns, Public]),
            ("/ip4/192.0.2.1/udp/1/webrtc-direct", &[Ip4, WebRtc, Public]),
            ("/memory/7", &[Memory]),
            (&relayed, &[Ip4, Tcp, Relayed, Public]),
        ];
        for (text, kinds) in cases {
            let address = text.parse().expect("it is a multiaddr");
            let found: Vec<_> = all.into_iter().filter(|kind| kind.is(&address)).collect();
            assert_eq!(found, kinds, "{text}");
        }
    }
}
