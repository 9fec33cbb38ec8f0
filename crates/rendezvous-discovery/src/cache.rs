//! What sources have told of peers, and what it comes to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
    time::Instant,
};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use rendezvous_wire::Namespace;

use crate::{
    attribute::Attributes,
    config::{ADDRESS_BYTES_MAX, ADDRESSES_MAX, TTL_MAX},
    peer::{Peer, View},
    source::{Found, SourceId, SourceName},
};

/// Most names under which one source may tell of one peer. What a peer is, is found out by going through all it is told of.
const LISTINGS_PER_PEER_MAX: usize = 64;

/// Whose word it is, and about what.
type Key = (Instant, PeerId, SourceId, Option<Namespace>);

/// What sources have told, each bounded by itself, and what changed last.
///
/// **Invariant:** a peer with a listing has one entry, and stands once in `changes`, at its last change.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: HashMap<PeerId, Entry>,
    /// The last change of each peer. Whoever follows is a position in it.
    changes: BTreeMap<u64, PeerId>,
    last_change: u64,
    /// When listings end.
    ends: BTreeSet<Key>,
    counts: BTreeMap<SourceId, usize>,
    /// Peers that have lost their last listing, until [`take_removed`](Self::take_removed).
    removed: Vec<PeerId>,
    refused: u64,
}

#[derive(Debug)]
struct Entry {
    listings: Vec<Listing>,
    change: u64,
    peer: Peer,
}

/// What one source tells of a peer under one name.
#[derive(Debug)]
struct Listing {
    source: SourceId,
    source_name: SourceName,
    namespace: Option<Namespace>,
    addresses: Vec<Multiaddr>,
    seq: Option<u64>,
    ends_at: Instant,
    attributes: Attributes,
}

impl Cache {
    /// Takes a source's word about a peer. `false` if there is no room for it.
    pub(crate) fn put(
        &mut self,
        now: Instant,
        source: SourceId,
        source_name: &SourceName,
        found: Found,
        listings_max: usize,
    ) -> bool {
        let Found { peer, namespace, mut addresses, seq, ttl, attributes } = found;
        addresses.retain(|address| address.len() <= ADDRESS_BYTES_MAX);
        addresses.truncate(ADDRESSES_MAX);
        let ends_at = now + ttl.min(TTL_MAX);
        let listing = Listing {
            source,
            source_name: source_name.clone(),
            namespace: namespace.clone(),
            addresses,
            seq,
            ends_at,
            attributes,
        };
        let count = self.counts.entry(source).or_default();
        let known = self.entries.get_mut(&peer).and_then(|entry| entry.place(source, namespace.as_ref()));
        let listings_of_peer = self.entries.get(&peer).map_or(0, |entry| entry.count(source));
        if known.is_none() && (*count >= listings_max || listings_of_peer >= LISTINGS_PER_PEER_MAX) {
            self.refused += 1;
            return false;
        }
        match (known, self.entries.get_mut(&peer)) {
            (Some(place), Some(entry)) => {
                let old = mem::replace(&mut entry.listings[place], listing);
                self.ends.remove(&(old.ends_at, peer, source, namespace.clone()));
            }
            (None, Some(entry)) => {
                *count += 1;
                entry.listings.push(listing);
            }
            (_, None) => {
                *count += 1;
                let listings = vec![listing];
                let seen = view(peer, &listings);
                self.entries.insert(peer, Entry { listings, change: 0, peer: seen });
            }
        }
        self.ends.insert((ends_at, peer, source, namespace));
        self.settle(peer);
        true
    }

    /// A source tells of a peer no longer, under this name.
    pub(crate) fn remove(&mut self, peer: PeerId, source: SourceId, namespace: Option<&Namespace>) {
        let Some(entry) = self.entries.get_mut(&peer) else { return };
        let Some(place) = entry.place(source, namespace) else { return };
        let listing = entry.listings.remove(place);
        self.forget(peer, listing);
        self.settle(peer);
    }

    /// A source tells nothing any more.
    pub(crate) fn remove_source(&mut self, source: SourceId) {
        let peers: Vec<PeerId> =
            self.entries.iter().filter(|(_, entry)| entry.count(source) > 0).map(|(peer, _)| *peer).collect();
        for peer in peers {
            let Some(entry) = self.entries.get_mut(&peer) else { continue };
            let (gone, kept) = mem::take(&mut entry.listings).into_iter().partition(|it| it.source == source);
            entry.listings = kept;
            let gone: Vec<Listing> = gone;
            for listing in gone {
                self.forget(peer, listing);
            }
            self.settle(peer);
        }
        self.counts.remove(&source);
    }

    /// Lets what a source has told under a name end by then at the latest.
    pub(crate) fn shorten(&mut self, source: SourceId, namespace: Option<&Namespace>, until: Instant) {
        for (peer, entry) in &mut self.entries {
            let Some(place) = entry.place(source, namespace) else { continue };
            let listing = &mut entry.listings[place];
            if listing.ends_at > until {
                self.ends.remove(&(listing.ends_at, *peer, source, listing.namespace.clone()));
                listing.ends_at = until;
                self.ends.insert((until, *peer, source, listing.namespace.clone()));
            }
        }
    }

    /// Takes out what has ended.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((ends_at, ..)) = self.ends.first()
            && *ends_at <= now
        {
            let Some((_, peer, source, namespace)) = self.ends.pop_first() else { return };
            self.remove(peer, source, namespace.as_ref());
        }
    }

    /// When the next listing ends.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(ends_at, ..)| *ends_at)
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.removed.extend(self.entries.drain().map(|(peer, _)| peer));
        self.changes.clear();
        self.ends.clear();
        self.counts.clear();
    }

    /// The first change behind a position.
    pub(crate) fn change_after(&self, position: u64) -> Option<(u64, &Peer)> {
        let (change, peer) = self.changes.range(position.checked_add(1)?..).next()?;
        Some((*change, &self.entries.get(peer)?.peer))
    }

    /// Everybody, in the order of their last change.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.changes.values().filter_map(|peer| self.entries.get(peer)).map(|entry| &entry.peer)
    }

    /// Who has lost the last listing since this was asked.
    pub(crate) fn take_removed(&mut self) -> Vec<PeerId> {
        mem::take(&mut self.removed)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn listings(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    pub(crate) fn last_change(&self) -> u64 {
        self.last_change
    }

    /// Takes a listing that is out of its entry out of the indexes.
    fn forget(&mut self, peer: PeerId, listing: Listing) {
        self.ends.remove(&(listing.ends_at, peer, listing.source, listing.namespace));
        if let Some(count) = self.counts.get_mut(&listing.source) {
            *count = count.saturating_sub(1);
        }
    }

    /// Finds out what a peer is after its listings have changed.
    fn settle(&mut self, peer: PeerId) {
        let Some(entry) = self.entries.get_mut(&peer) else { return };
        if entry.listings.is_empty() {
            self.changes.remove(&entry.change);
            self.entries.remove(&peer);
            self.removed.push(peer);
            return;
        }
        let seen = view(peer, &entry.listings);
        // Whoever follows is told of nothing when a listing was only renewed.
        if entry.change != 0 && seen == entry.peer {
            return;
        }
        entry.peer = seen;
        self.changes.remove(&entry.change);
        self.last_change += 1;
        entry.change = self.last_change;
        self.changes.insert(entry.change, peer);
    }
}

impl Entry {
    fn place(&self, source: SourceId, namespace: Option<&Namespace>) -> Option<usize> {
        self.listings.iter().position(|it| it.source == source && it.namespace.as_ref() == namespace)
    }

    fn count(&self, source: SourceId) -> usize {
        self.listings.iter().filter(|it| it.source == source).count()
    }
}

/// What a peer is by all that is told of it.
fn view(id: PeerId, listings: &[Listing]) -> Peer {
    let signed = listings.iter().filter(|it| it.seq.is_some()).max_by_key(|it| (it.seq, it.ends_at));
    let unsigned = listings.iter().filter(|it| it.seq.is_none());
    let mut addresses: Vec<Multiaddr> = Vec::new();
    for address in signed.into_iter().chain(unsigned).flat_map(|it| &it.addresses) {
        if addresses.len() < ADDRESSES_MAX && !addresses.contains(address) {
            addresses.push(address.clone());
        }
    }
    let mut own = Attributes::default();
    let mut attributes = Attributes::default().with(id);
    for address in &addresses {
        attributes.insert(address.clone());
    }
    for listing in listings {
        own.extend(&listing.attributes);
        if let Some(namespace) = &listing.namespace {
            attributes.insert(namespace.clone());
        }
        attributes.insert(listing.source_name.clone());
    }
    attributes.extend(&own);
    Peer::new(View { id, addresses, seq: signed.and_then(|it| it.seq), own, attributes })
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use libp2p_identity::Keypair;

    use super::*;

    const A: SourceId = SourceId::new(1);
    const B: SourceId = SourceId::new(2);
    const MAX: usize = 8;

    struct Rig {
        cache: Cache,
        now: Instant,
        peer: PeerId,
    }

    impl Rig {
        fn new() -> Self {
            Self { cache: Cache::default(), now: Instant::now(), peer: peer() }
        }

        fn put(&mut self, source: SourceId, seq: Option<u64>, address: &str, ttl_secs: u64) -> bool {
            let ttl = Duration::from_secs(ttl_secs);
            let found = Found::new(self.peer, None, ttl).with_addresses([address.parse().expect("it is an address")]);
            let found = seq.map_or(found.clone(), |seq| found.with_seq(seq));
            self.cache.put(self.now, source, &SourceName::new("a"), found, MAX)
        }

        fn addresses(&self) -> Vec<String> {
            let peer = &self.cache.entries[&self.peer].peer;
            peer.addresses().iter().map(ToString::to_string).collect()
        }

        fn assert_empty(&self) {
            let Cache { entries, changes, ends, counts, .. } = &self.cache;
            assert!(entries.is_empty() && changes.is_empty() && ends.is_empty());
            assert!(counts.values().all(|count| *count == 0));
        }
    }

    fn peer() -> PeerId {
        Keypair::generate_ed25519().public().to_peer_id()
    }

    #[test]
    fn the_higher_seq_wins_then_the_longer_ttl() {
        let mut rig = Rig::new();
        rig.put(A, Some(7), "/memory/1", 60);
        rig.put(B, Some(6), "/memory/2", 600);
        assert_eq!(rig.addresses(), ["/memory/1"]);
        rig.put(B, Some(7), "/memory/2", 600);
        assert_eq!(rig.addresses(), ["/memory/2"]);
        rig.put(A, Some(8), "/memory/3", 1);
        assert_eq!(rig.addresses(), ["/memory/3"]);
        rig.cache.expire(rig.now + Duration::from_secs(1));
        assert_eq!(rig.addresses(), ["/memory/2"]);
    }

    #[test]
    fn addresses_that_nobody_signed_stand_behind_and_take_nothing_away() {
        let mut rig = Rig::new();
        rig.put(A, None, "/memory/1", 60);
        rig.put(B, Some(1), "/memory/2", 60);
        assert_eq!(rig.addresses(), ["/memory/2", "/memory/1"]);
    }

    #[test]
    fn a_renewal_is_no_change_and_is_not_ended_by_the_old_deadline() {
        let mut rig = Rig::new();
        rig.put(A, Some(1), "/memory/1", 60);
        let change = rig.cache.last_change();
        rig.now += Duration::from_secs(50);
        rig.put(A, Some(1), "/memory/1", 60);
        assert_eq!(rig.cache.last_change(), change);
        rig.cache.expire(rig.now + Duration::from_secs(59));
        assert_eq!(rig.cache.len(), 1);
        rig.cache.expire(rig.now + Duration::from_secs(60));
        assert_eq!(rig.cache.take_removed(), [rig.peer]);
        rig.assert_empty();
    }

    #[test]
    fn a_source_takes_no_more_room_than_it_has_and_no_other_ones() {
        let mut rig = Rig::new();
        for _ in 0..MAX {
            rig.peer = peer();
            assert!(rig.put(A, None, "/memory/1", 60));
        }
        let last = rig.peer;
        rig.peer = peer();
        assert!(!rig.put(A, None, "/memory/1", 60), "there is no room");
        assert!(rig.put(B, None, "/memory/1", 60), "another source has its own");
        rig.peer = last;
        assert!(rig.put(A, None, "/memory/2", 60), "who is there is renewed");
        assert_eq!(rig.cache.refused(), 1);
        rig.cache.remove_source(A);
        rig.cache.remove_source(B);
        rig.assert_empty();
    }

    #[test]
    fn one_peer_under_many_names_is_bounded() {
        let mut rig = Rig::new();
        let mut put = |number: usize| {
            let namespace = Namespace::new(&number.to_string()).expect("it is a name");
            let found = Found::new(rig.peer, Some(namespace), Duration::from_secs(60));
            rig.cache.put(rig.now, A, &SourceName::new("a"), found, usize::MAX)
        };
        assert!((0..LISTINGS_PER_PEER_MAX).all(&mut put));
        assert!(!put(LISTINGS_PER_PEER_MAX));
        rig.cache.clear();
        rig.assert_empty();
    }

    #[test]
    fn addresses_are_bounded_in_number_and_length() {
        let mut rig = Rig::new();
        let long: Multiaddr = format!("/dns4/{}/tcp/1", "a".repeat(ADDRESS_BYTES_MAX)).parse().expect("an address");
        let many = (0..100).map(|at| format!("/memory/{at}").parse().expect("an address"));
        let found = Found::new(rig.peer, None, Duration::MAX).with_addresses([long].into_iter().chain(many));
        rig.cache.put(rig.now, A, &SourceName::new("a"), found, MAX);
        assert_eq!(rig.addresses().len(), ADDRESSES_MAX);
        assert_eq!(rig.addresses()[0], "/memory/0");
        assert_eq!(rig.cache.next_end(), Some(rig.now + TTL_MAX));
    }

    #[test]
    fn what_is_not_looked_for_ends_sooner_and_never_later() {
        let mut rig = Rig::new();
        rig.put(A, None, "/memory/1", 600);
        rig.cache.shorten(A, None, rig.now + Duration::from_secs(60));
        assert_eq!(rig.cache.next_end(), Some(rig.now + Duration::from_secs(60)));
        rig.cache.shorten(A, None, rig.now + Duration::from_secs(70));
        rig.cache.expire(rig.now + Duration::from_secs(60));
        rig.assert_empty();
    }
}
