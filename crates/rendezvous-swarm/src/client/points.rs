//! Addresses of points, as the application gives them.

use std::collections::BTreeMap;

use libp2p_core::{Multiaddr, multiaddr::Protocol};
use libp2p_identity::PeerId;

/// Most addresses kept of one point: each may be dialled.
pub const ADDRESSES_PER_POINT_MAX: usize = 16;

/// Most points whose addresses are kept.
pub const POINTS_MAX: usize = 1_024;

/// Why an address of a point is not kept. The fault is the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PointAddressError {
    /// The address ends in `/p2p/` with another peer's id.
    #[error("address is one of {0}")]
    OtherPeer(PeerId),
    /// [`ADDRESSES_PER_POINT_MAX`] is reached.
    #[error("more than {ADDRESSES_PER_POINT_MAX} addresses of one point")]
    TooManyAddresses,
    /// [`POINTS_MAX`] is reached.
    #[error("addresses of more than {POINTS_MAX} points")]
    TooManyPoints,
}

/// Addresses by point.
#[derive(Debug, Default)]
pub(super) struct PointAddresses(BTreeMap<PeerId, Vec<Multiaddr>>);

impl PointAddresses {
    pub(super) fn add(&mut self, point: PeerId, mut address: Multiaddr) -> Result<(), PointAddressError> {
        if let Some(Protocol::P2p(peer)) = address.iter().last() {
            if peer != point {
                return Err(PointAddressError::OtherPeer(peer));
            }
            address.pop();
        }
        let of_point = self.of(&point);
        if of_point.contains(&address) {
            return Ok(());
        }
        if of_point.len() >= ADDRESSES_PER_POINT_MAX {
            return Err(PointAddressError::TooManyAddresses);
        }
        if of_point.is_empty() && self.0.len() >= POINTS_MAX {
            return Err(PointAddressError::TooManyPoints);
        }
        self.0.entry(point).or_default().push(address);
        Ok(())
    }

    pub(super) fn remove(&mut self, point: &PeerId) -> bool {
        self.0.remove(point).is_some()
    }

    pub(super) fn of(&self, point: &PeerId) -> &[Multiaddr] {
        self.0.get(point).map(Vec::as_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: usize) -> Multiaddr {
        format!("/ip4/192.0.2.1/tcp/{port}").parse().expect("an address")
    }

    #[test]
    fn an_address_is_kept_once_and_without_the_peer_id() {
        let (mut points, point) = (PointAddresses::default(), PeerId::random());
        assert_eq!(points.add(point, address(1)), Ok(()));
        assert_eq!(points.add(point, address(1).with(Protocol::P2p(point))), Ok(()));
        assert_eq!(points.of(&point), [address(1)]);
        assert!(points.remove(&point) && !points.remove(&point));
        assert_eq!(points.of(&point), []);
    }

    #[test]
    fn an_address_of_another_peer_is_refused() {
        let (point, other) = (PeerId::random(), PeerId::random());
        let of_other = address(1).with(Protocol::P2p(other));
        assert_eq!(PointAddresses::default().add(point, of_other), Err(PointAddressError::OtherPeer(other)));
    }

    #[test]
    fn addresses_and_points_are_bounded() {
        let (mut points, point) = (PointAddresses::default(), PeerId::random());
        for port in 0..ADDRESSES_PER_POINT_MAX {
            assert_eq!(points.add(point, address(port)), Ok(()));
        }
        let one_more = address(ADDRESSES_PER_POINT_MAX);
        assert_eq!(points.add(point, one_more.clone()), Err(PointAddressError::TooManyAddresses));
        for _ in 1..POINTS_MAX {
            assert_eq!(points.add(PeerId::random(), one_more.clone()), Ok(()));
        }
        assert_eq!(points.add(PeerId::random(), one_more), Err(PointAddressError::TooManyPoints));
    }
}
