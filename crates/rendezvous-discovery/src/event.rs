//! What handles are told: [`FindEvent`] and [`AdvertisementEvent`].

use core::time::Duration;

use libp2p_identity::PeerId;

use crate::{
    peer::Peer,
    source::{Failure, SourceName},
};

/// What a query is told.
#[derive(Clone, Debug, PartialEq)]
pub enum FindEvent {
    /// A peer matches that did not before.
    Found(Peer),
    /// A peer that matches has another record, other addresses, or other attributes that a source has told beyond those.
    Updated(Peer),
    /// A peer is there no longer, or matches no longer: as it was told last.
    Expired(Peer),
}

impl FindEvent {
    /// Who it is about.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        match self {
            Self::Found(peer) | Self::Updated(peer) | Self::Expired(peer) => peer,
        }
    }
}

/// What has become of an advertisement at a source.
#[derive(Clone, Debug)]
pub enum AdvertisementEvent {
    /// This peer can be found there: told of every renewal.
    Advertised {
        /// The source.
        source: SourceName,
        /// The place of it, such as a rendezvous point, if it has several.
        place: Option<PeerId>,
        /// For how long.
        ttl: Duration,
    },
    /// It has failed there. It is tried again when it is due, or sooner if the source does so by itself.
    Failed {
        /// The source.
        source: SourceName,
        /// The place of it, if it has several.
        place: Option<PeerId>,
        /// Why.
        failure: Failure,
    },
}

impl AdvertisementEvent {
    /// The place of the source.
    #[must_use]
    pub const fn place(&self) -> Option<PeerId> {
        match self {
            Self::Advertised { place, .. } | Self::Failed { place, .. } => *place,
        }
    }
}
