//! The addresses that are listened on, and those of them that are advertised.

use libp2p::Multiaddr;
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

    /// What others may reach: loopback for want of another.
    fn reachable(&self) -> Vec<Multiaddr> {
        let others = self.0.iter().filter(|address| !AddressKind::Loopback.is(address)).cloned();
        let others: Vec<Multiaddr> = others.collect();
        if others.is_empty() { self.0.clone() } else { others }
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
