//! The points of the source, which may change while it runs.

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use rendezvous_swarm::client::PointAddressError;

use super::Behaviour;

impl Behaviour {
    /// Uses a rendezvous point, from now on: all names are registered and looked up there too. The addresses are those it is
    /// dialled at; there may be none where the swarm knows how to reach it.
    ///
    /// # Errors
    /// [`PointAddressError`] if an address is another peer's, or a bound is reached. The point is used all the same.
    pub fn add_point(
        &mut self,
        point: PeerId,
        addresses: impl IntoIterator<Item = Multiaddr>,
    ) -> Result<(), PointAddressError> {
        self.with(|translator, client, _| {
            let mut result = Ok(());
            for address in addresses {
                result = result.and(client.add_point_address(point, address));
            }
            if translator.points.insert(point) {
                for id in translator.registrations.values() {
                    client.add_registration_point(*id, point);
                }
                for lookup in translator.lookups.values_mut() {
                    client.add_lookup_point(lookup.id, point);
                }
            }
            result
        })
    }

    /// Uses a rendezvous point no longer: what stands there is withdrawn, and who is listed there alone is gone.
    ///
    /// `false` if it was not used.
    pub fn remove_point(&mut self, point: &PeerId) -> bool {
        self.with(|translator, client, out| {
            if !translator.points.remove(point) {
                return false;
            }
            for id in translator.registrations.values() {
                client.remove_registration_point(*id, point);
            }
            let names: Vec<_> = translator.lookups.keys().cloned().collect();
            for name in names {
                let Some(lookup) = translator.lookups.get_mut(&name) else { continue };
                client.remove_lookup_point(lookup.id, point);
                if lookup.awaited.remove(point) {
                    translator.settle_request(&name, out);
                }
            }
            true
        })
    }

    /// The points in use.
    pub fn points(&self) -> impl Iterator<Item = &PeerId> {
        self.translate().points.iter()
    }
}
