//! The addresses that are listened on, and those of them that are advertised.

use core::time::Duration;
use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
};

use libp2p::{Multiaddr, multiaddr::Protocol};
use rendezvous_discovery::AddressKind;

use super::Driver;

/// The addresses that are listened on.
#[derive(Debug, Default)]
pub(crate) struct Listening(Vec<Multiaddr>);

impl Listening {
    pub(crate) fn add(&mut self, address: Multiaddr) {
        if !self.0.contains(&address) {
            self.0.push(address);
        }
    }

    pub(crate) fn remove(&mut self, address: &Multiaddr) {
        self.0.retain(|known| known != address);
    }

    pub(crate) fn addresses(&self) -> &[Multiaddr] {
        &self.0
    }

    /// The UDP sockets among them.
    pub(super) fn udp(&self) -> Vec<SocketAddr> {
        let socket = |address: &Multiaddr| {
            let mut parts = address.iter();
            let ip: IpAddr = match parts.next()? {
                Protocol::Ip4(ip) => ip.into(),
                Protocol::Ip6(ip) => ip.into(),
                _ => return None,
            };
            match parts.next()? {
                Protocol::Udp(port) => Some(SocketAddr::new(ip, port)),
                _ => None,
            }
        };
        self.0.iter().filter_map(socket).collect()
    }

    /// What others may reach: loopback for want of another.
    fn reachable(&self) -> Vec<Multiaddr> {
        let others = self.0.iter().filter(|address| !AddressKind::Loopback.is(address)).cloned();
        let others: Vec<Multiaddr> = others.collect();
        if others.is_empty() { self.0.clone() } else { others }
    }
}

/// Time from one look at a socket to the next.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until these sockets are closed. Those of QUIC outlive their swarm by some round trips, in which they answer what is
/// still on its way; nothing but that a port can be had tells that they are.
pub(super) async fn closed(sockets: Vec<SocketAddr>) {
    for socket in sockets {
        while UdpSocket::bind(socket).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Driver {
    /// Lets the swarm advertise what others may reach, unless the settings name it.
    pub(super) fn advertise_addresses(&mut self) {
        if !self.settings.external.is_empty() {
            return;
        }
        let reachable = self.listening.reachable();
        let known: Vec<Multiaddr> = self.swarm.external_addresses().cloned().collect();
        for address in known.iter().filter(|address| !reachable.contains(address)) {
            self.swarm.remove_external_address(address);
        }
        for address in reachable {
            if !known.contains(&address) {
                self.swarm.add_external_address(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_advertised_for_want_of_another() {
        let [loopback, lan]: [Multiaddr; 2] =
            ["/ip4/127.0.0.1/tcp/1", "/ip4/192.0.2.1/tcp/1"].map(|text| text.parse().expect("an address"));
        let mut listening = Listening::default();
        listening.add(loopback.clone());
        assert_eq!(listening.reachable(), std::slice::from_ref(&loopback));
        listening.add(lan.clone());
        assert_eq!(listening.reachable(), std::slice::from_ref(&lan));
        listening.remove(&lan);
        assert_eq!(listening.reachable(), [loopback]);
    }
}
