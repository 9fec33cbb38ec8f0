//! The answers of several points about one namespace, as one.

use core::time::Duration;
use std::collections::BTreeMap;

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use rendezvous_record::VerifiedRecord;
use rendezvous_wire::{Namespace, Ttl};

use super::answer::{Discovered, Unverified};
use crate::Time;

/// A peer that points list under a name.
///
/// The record is one that a point lists, as it was signed: the one with the highest
/// [scaled `seq`](VerifiedRecord::scaled_seq), and of those the one with the longest time left. Addresses of several
/// records are never mixed. What is not signed counts only where no point lists a signed record.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// The name.
    pub namespace: Namespace,
    /// Who, and the addresses.
    pub record: FoundRecord,
    /// The longest time left that a point tells, at least 1 s.
    pub ttl: Ttl,
    /// The points that list the peer, the one longest known first.
    pub points: Vec<PeerId>,
}

/// What points list of a peer: signed by it, or not.
#[derive(Clone, Debug, PartialEq)]
pub enum FoundRecord {
    /// A record that the peer has signed.
    Verified(VerifiedRecord),
    /// Without a signature: points alone say that it is so. Only with
    /// [`ClientConfig::legacy_peer_info`](super::ClientConfig).
    Unverified {
        /// Who is said to have registered.
        peer: PeerId,
        /// The addresses, in the order given.
        addresses: Vec<Multiaddr>,
    },
}

impl FoundRecord {
    /// Who.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        match self {
            Self::Verified(record) => record.peer_id(),
            Self::Unverified { peer, .. } => *peer,
        }
    }

    /// The addresses.
    #[must_use]
    pub fn addresses(&self) -> Vec<Multiaddr> {
        match self {
            Self::Verified(record) => record.addresses().collect(),
            Self::Unverified { addresses, .. } => addresses.clone(),
        }
    }

    /// The record, if the peer has signed it.
    #[must_use]
    pub const fn verified(&self) -> Option<&VerifiedRecord> {
        match self {
            Self::Verified(record) => Some(record),
            Self::Unverified { .. } => None,
        }
    }

    /// What keeping it takes.
    fn bytes(&self) -> usize {
        match self {
            Self::Verified(record) => record.envelope().len(),
            Self::Unverified { addresses, .. } => addresses.iter().map(Multiaddr::len).sum(),
        }
    }

    /// Whether it is the same, byte for byte.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Verified(this), Self::Verified(other)) => this.envelope() == other.envelope(),
            (this, other) => this == other,
        }
    }
}

/// A registration on a page of a lookup.
#[derive(Debug)]
pub(super) struct Listed {
    namespace: Namespace,
    record: FoundRecord,
    ttl: Ttl,
}

impl From<Discovered> for Listed {
    fn from(Discovered { namespace, record, ttl }: Discovered) -> Self {
        Self { namespace, record: FoundRecord::Verified(record), ttl }
    }
}

impl From<Unverified> for Listed {
    fn from(Unverified { namespace, peer, addresses, ttl }: Unverified) -> Self {
        Self { namespace, record: FoundRecord::Unverified { peer, addresses }, ttl }
    }
}

/// A peer that no point lists any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The name.
    pub namespace: Namespace,
    /// Who.
    pub peer: PeerId,
    /// Why the last point that told does not count.
    pub why: GoneWhy,
}

/// Why a peer is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GoneWhy {
    /// A listing of everything does not have it.
    Unlisted,
    /// The time has ended, and nothing tells of a renewal.
    Expired,
    /// The point that told is asked no longer.
    PointRemoved,
    /// It had to make room ([`LookupConfig::peers_max`](super::LookupConfig::peers_max)).
    OutOfRoom,
}

/// What an answer, or time, has changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) found: Vec<Merged>,
    /// Those whose addresses are others than before.
    pub(super) updated: Vec<Merged>,
    pub(super) gone: Vec<Gone>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty() && self.updated.is_empty() && self.gone.is_empty()
    }
}

type Key = (Namespace, PeerId);

/// What points list, each point's word apart: a peer is there for as long as one of them stands.
#[derive(Debug)]
pub(super) struct Merge {
    claims_max: usize,
    bytes_max: usize,
    /// Between how many points the room is shared.
    points: usize,
    peers: BTreeMap<Key, Vec<Claim>>,
    by_end: BTreeMap<(Time, u64), (PeerId, Key)>,
    shares: BTreeMap<PeerId, Share>,
    /// Claims ever made: tells apart those that end together.
    serial: u64,
}

/// The word of one point about one peer.
#[derive(Debug)]
struct Claim {
    point: PeerId,
    record: FoundRecord,
    ends_at: Time,
    /// The walk that last listed it.
    walk: u64,
    serial: u64,
}

/// What one point has told.
#[derive(Debug, Default)]
struct Share {
    claims: BTreeMap<u64, Key>,
    bytes: usize,
}

impl Merge {
    pub(super) fn new(claims_max: usize, bytes_max: usize) -> Self {
        let (peers, by_end, shares) = Default::default();
        Self { claims_max, bytes_max, points: 1, peers, by_end, shares, serial: 0 }
    }

    /// Shares the room between so many points; what has more than its share gives way, the longest known first.
    pub(super) fn share_between(&mut self, points: usize, now: Time, changes: &mut Changes) {
        self.points = points.max(1);
        let (claims_max, bytes_max) = (self.claims_max / self.points, self.bytes_max / self.points);
        for point in self.shares.keys().copied().collect::<Vec<_>>() {
            while let Some(share) = self.shares.get(&point)
                && (share.claims.len() > claims_max || share.bytes > bytes_max)
                && let Some(key) = share.claims.values().next().cloned()
            {
                self.drop_claim(now, &point, &key, GoneWhy::OutOfRoom, changes);
            }
        }
    }

    /// A point lists this; `false` if there is no room for it.
    pub(super) fn list(&mut self, now: Time, point: PeerId, walk: u64, listed: Listed, changes: &mut Changes) -> bool {
        let Listed { namespace, record, ttl } = listed;
        let key = (namespace, record.peer_id());
        let ends_at = now + Duration::from_secs(ttl.as_secs());
        let bytes = record.bytes();
        let known = self.peers.get(&key).and_then(|claims| claims.iter().find(|claim| claim.point == point));
        let freed = match known {
            // The other flavour of the same registration, or one that was renewed during the walk.
            Some(known) if known.walk == walk && rank(&record, ends_at) < rank(&known.record, known.ends_at) => {
                return true;
            }
            // What nobody has signed says nothing against what the peer itself has.
            Some(known) if known.ends_at > now && known.record.verified().is_some() && record.verified().is_none() => {
                return true;
            }
            Some(known) => Some(known.record.bytes()),
            None => None,
        };
        let share = self.shares.entry(point).or_default();
        let is_over = share.claims.len() + usize::from(freed.is_none()) > self.claims_max / self.points;
        if is_over || share.bytes - freed.unwrap_or(0) + bytes > self.bytes_max / self.points {
            return false;
        }
        share.bytes = share.bytes - freed.unwrap_or(0) + bytes;

        self.serial += 1;
        let claim = Claim { point, record, ends_at, walk, serial: self.serial };
        share.claims.insert(claim.serial, key.clone());
        self.by_end.insert((ends_at, claim.serial), (point, key.clone()));
        let claims = self.peers.entry(key.clone()).or_default();
        let before = best(claims.iter()).map(|best| best.record.clone());
        match claims.iter_mut().find(|claim| claim.point == point) {
            Some(known) => {
                share.claims.remove(&known.serial);
                self.by_end.remove(&(known.ends_at, known.serial));
                *known = claim;
            }
            None => claims.push(claim),
        }
        match before {
            None => changes.found.extend(merged(now, &key, claims)),
            Some(before) => changes.updated.extend(if_moved(now, &key, claims, &before)),
        }
        true
    }

    /// A walk through everything that a point lists has ended: what it has not listed, it lists no longer.
    pub(super) fn end_walk(&mut self, now: Time, point: &PeerId, walk: u64, changes: &mut Changes) {
        let Some(share) = self.shares.get(point) else { return };
        let is_missing = |key: &&Key| {
            let claims = self.peers.get(*key).map(Vec::as_slice).unwrap_or_default();
            claims.iter().any(|claim| claim.point == *point && claim.walk != walk)
        };
        let missing: Vec<Key> = share.claims.values().filter(is_missing).cloned().collect();
        for key in missing {
            self.drop_claim(now, point, &key, GoneWhy::Unlisted, changes);
        }
    }

    /// Nothing that this point has told counts any more.
    pub(super) fn remove_point(&mut self, now: Time, point: &PeerId, changes: &mut Changes) {
        let keys = self.shares.get(point).map(|share| share.claims.values().cloned().collect::<Vec<_>>());
        for key in keys.into_iter().flatten() {
            self.drop_claim(now, point, &key, GoneWhy::PointRemoved, changes);
        }
        self.shares.remove(point);
    }

    /// Takes out what has ended.
    pub(super) fn expire(&mut self, now: Time, changes: &mut Changes) {
        while let Some((&(ends_at, _), (point, key))) = self.by_end.first_key_value()
            && ends_at <= now
        {
            let (point, key) = (*point, key.clone());
            self.drop_claim(now, &point, &key, GoneWhy::Expired, changes);
        }
    }

    /// When the next claim ends.
    pub(super) fn next_end(&self) -> Option<Time> {
        self.by_end.first_key_value().map(|(&(ends_at, _), _)| ends_at)
    }

    /// The peers whose time has not ended.
    pub(super) fn iter(&self, now: Time) -> impl Iterator<Item = Merged> {
        self.peers.iter().filter_map(move |(key, claims)| merged(now, key, claims))
    }

    pub(super) fn peers(&self) -> usize {
        self.peers.len()
    }

    /// The words of points that are kept: of several points about one peer, each counts.
    pub(super) fn claims(&self) -> usize {
        self.by_end.len()
    }

    fn drop_claim(&mut self, now: Time, point: &PeerId, key: &Key, why: GoneWhy, changes: &mut Changes) {
        let Some(claims) = self.peers.get_mut(key) else { return };
        let Some(place) = claims.iter().position(|claim| claim.point == *point) else { return };
        let before = best(claims.iter()).map(|best| best.record.clone());
        let claim = claims.remove(place);
        self.by_end.remove(&(claim.ends_at, claim.serial));
        if let Some(share) = self.shares.get_mut(point) {
            share.claims.remove(&claim.serial);
            share.bytes -= claim.record.bytes();
        }
        if claims.is_empty() {
            self.peers.remove(key);
            let (namespace, peer) = key.clone();
            changes.gone.push(Gone { namespace, peer, why });
        } else if let Some(before) = before {
            changes.updated.extend(if_moved(now, key, claims, &before));
        }
    }
}

/// What counts of two records of a peer: one that is signed, then the newer one, then the one with the longer time left.
fn rank(record: &FoundRecord, ends_at: Time) -> (Option<u64>, Time) {
    (record.verified().map(VerifiedRecord::scaled_seq), ends_at)
}

fn best<'a>(claims: impl DoubleEndedIterator<Item = &'a Claim>) -> Option<&'a Claim> {
    // Of equal ones the first.
    claims.rev().max_by_key(|claim| rank(&claim.record, claim.ends_at))
}

fn merged(now: Time, (namespace, _): &Key, claims: &[Claim]) -> Option<Merged> {
    let live = || claims.iter().filter(|claim| claim.ends_at > now);
    let left = live().map(|claim| claim.ends_at).max()?.saturating_since(now);
    let record = best(live())?.record.clone();
    let points = live().map(|claim| claim.point).collect();
    Some(Merged { namespace: namespace.clone(), record, ttl: Ttl::from_secs(left.as_secs().max(1)), points })
}

/// What is merged, if its addresses are others than those of the record that counted before, or one is signed and the other
/// is not.
fn if_moved(now: Time, key: &Key, claims: &[Claim], before: &FoundRecord) -> Option<Merged> {
    let record = &best(claims.iter())?.record;
    if record.is(before) {
        return None;
    }
    let sorted = |record: &FoundRecord| {
        let mut addresses = record.addresses();
        addresses.sort_unstable();
        (record.verified().is_some(), addresses)
    };
    if sorted(record) == sorted(before) { None } else { merged(now, key, claims) }
}
