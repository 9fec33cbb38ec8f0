//! Where the load goes.

use std::str::FromStr;

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

/// A rendezvous point on this machine. Load is sent to no other: whoever runs a point elsewhere has not asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its peer id.
    pub peer: PeerId,
    /// Its address, without the peer id.
    pub address: Multiaddr,
}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let mut address: Multiaddr = text.parse()?;
        let Some(Protocol::P2p(peer)) = address.pop() else { return Err(InvalidTarget::NoPeerId) };
        let protocols: Vec<Protocol<'_>> = address.iter().collect();
        let is_loopback = match protocols.as_slice() {
            [Protocol::Ip4(ip), Protocol::Tcp(_)] => ip.is_loopback(),
            [Protocol::Ip6(ip), Protocol::Tcp(_)] => ip.is_loopback(),
            _ => return Err(InvalidTarget::NotIpAndTcp),
        };
        if is_loopback { Ok(Self { peer, address }) } else { Err(InvalidTarget::NotLoopback) }
    }
}

/// Why an address is no target.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTarget {
    /// It is no multiaddr.
    #[error("{0}: expected a multiaddr such as /ip4/127.0.0.1/tcp/62649/p2p/<peer id>")]
    Multiaddr(#[from] libp2p::multiaddr::Error),
    /// The peer to authenticate is missing.
    #[error("it does not end with /p2p/<peer id>")]
    NoPeerId,
    /// Of another transport, or behind a name.
    #[error("expected /ip4/127.0.0.1/tcp/<port>/p2p/<peer id> or /ip6/::1/tcp/<port>/p2p/<peer id>")]
    NotIpAndTcp,
    /// It is another machine's.
    #[error("it is not on this machine: load is sent to loopback addresses only")]
    NotLoopback,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";

    #[test]
    fn a_target_is_a_loopback_address_with_a_peer_id() {
        for address in ["/ip4/127.0.0.1/tcp/1", "/ip4/127.8.0.1/tcp/62649", "/ip6/::1/tcp/62649"] {
            let target: Target = format!("{address}/p2p/{PEER}").parse().expect(address);
            assert_eq!((target.address.to_string().as_str(), target.peer.to_string().as_str()), (address, PEER));
        }
    }

    #[test]
    fn other_machines_are_refused() {
        for address in ["/ip4/192.0.2.1/tcp/1", "/ip4/0.0.0.0/tcp/1", "/ip6/2001:db8::1/tcp/1", "/ip6/::/tcp/1"] {
            let refused = format!("{address}/p2p/{PEER}").parse::<Target>();
            assert!(matches!(refused, Err(InvalidTarget::NotLoopback)), "{address}");
        }
        // A name may lead anywhere.
        let refused = format!("/dns4/localhost/tcp/1/p2p/{PEER}").parse::<Target>();
        assert!(matches!(refused, Err(InvalidTarget::NotIpAndTcp)));
    }

    #[test]
    fn an_address_without_a_peer_id_is_refused() {
        assert!(matches!("/ip4/127.0.0.1/tcp/1".parse::<Target>(), Err(InvalidTarget::NoPeerId)));
        assert!(matches!("127.0.0.1:1".parse::<Target>(), Err(InvalidTarget::Multiaddr(_))));
    }
}
