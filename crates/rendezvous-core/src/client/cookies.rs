//! Where the next page begins, per point and namespace.

use std::collections::BTreeMap;

use libp2p_identity::PeerId;
use rendezvous_wire::{Cookie, Namespace};

use super::{config::COOKIES_MAX, outbound::LookupId, walk::Meter};

/// A cookie belongs to one point and one listing: that of a namespace, or that of all. Each lookup has its own, since a
/// cookie says what its reader has seen; those without one are of queries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listing {
    pub(super) point: PeerId,
    pub(super) namespace: Option<Namespace>,
    pub(super) lookup: Option<LookupId>,
}

/// A place in a listing.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Where the next page begins; `None` if the point has refused the cookie.
    pub(super) cookie: Option<Cookie>,
    /// Pages of the walk that led here; 0 where it has ended.
    pub(super) pages: u32,
    /// What the application's walk that is at this place has used; `None` where it has ended, and in lookups.
    pub(super) meter: Option<Meter>,
}

/// The places, at most [`COOKIES_MAX`]; the one longest unused is forgotten first, which costs a listing from the start.
#[derive(Debug, Default)]
pub(super) struct Cookies {
    places: BTreeMap<Listing, (Place, u64)>,
    by_use: BTreeMap<u64, Listing>,
    uses: u64,
}

impl Cookies {
    pub(super) fn get(&mut self, listing: &Listing) -> Option<&mut Place> {
        let (place, used) = self.places.get_mut(listing)?;
        self.uses += 1;
        self.by_use.remove(used);
        self.by_use.insert(self.uses, listing.clone());
        *used = self.uses;
        Some(place)
    }

    pub(super) fn put(&mut self, listing: Listing, place: Place) {
        self.uses += 1;
        self.by_use.insert(self.uses, listing.clone());
        if let Some((_, used)) = self.places.insert(listing, (place, self.uses)) {
            self.by_use.remove(&used);
        }
        while self.places.len() > COOKIES_MAX
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.places.remove(&oldest);
        }
    }

    pub(super) fn remove(&mut self, listing: &Listing) {
        if let Some((_, used)) = self.places.remove(listing) {
            self.by_use.remove(&used);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Registrations that walks of the application remember.
    pub(super) fn seen(&self) -> usize {
        self.places.values().filter_map(|(place, _)| place.meter.as_ref()).map(Meter::seen).sum()
    }
}
