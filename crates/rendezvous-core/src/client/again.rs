//! Registering before it is due.

use libp2p_identity::PeerId;
use rendezvous_record::{Flavour, VerifiedRecord};

use super::{Client, RegistrationId};
use crate::Time;

impl Client {
    /// Registers again at once, at every point of a registration: for an application that has seen that a point does not
    /// list this peer, as after the point's restart. Registering what stands renews it. How often is the caller's choice.
    ///
    /// `false` if there is no such registration.
    pub fn register_again(&mut self, now: Time, id: RegistrationId) -> bool {
        self.advance(now);
        let Some(standings) = self.registrations.get(&id).map(|registration| registration.standings().to_vec()) else {
            return false;
        };
        for standing_id in standings {
            let Some(standing) = self.standings.get_mut(&standing_id) else { continue };
            standing.want_now(self.now, self.points.is_dual(&standing.point));
            self.settle(standing_id);
        }
        true
    }

    /// The same at one point of a registration.
    ///
    /// `false` if this is no point of such a registration.
    pub fn register_again_at(&mut self, now: Time, id: RegistrationId, point: &PeerId) -> bool {
        self.advance(now);
        let Some(registration) = self.registrations.get(&id) else { return false };
        let key = (*point, registration.namespace().clone());
        let Some(standing_id) = self.standing_of.get(&key).copied() else { return false };
        let Some(standing) = self.standings.get_mut(&standing_id) else { return false };
        if !standing.owners.contains_key(&id) {
            return false;
        }
        standing.want_now(self.now, self.points.is_dual(point));
        self.settle(standing_id);
        true
    }

    /// The record of a flavour that is registered; `None` before there is an address to register.
    #[must_use]
    pub fn own_record(&self, flavour: Flavour) -> Option<&VerifiedRecord> {
        self.own.record(flavour)
    }
}
