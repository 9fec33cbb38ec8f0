//! Addresses of discovered peers, until their registrations end.

use std::collections::{BTreeMap, BTreeSet};

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use rendezvous_record::VerifiedRecord;

use crate::Time;

/// A bounded book of peers, each with its newest record and the latest end that a point told.
///
/// When the book is full, the point that has brought most of its entries loses the one that ends first: a point that
/// lists strangers by the thousand pushes out its own.
#[derive(Debug)]
pub(super) struct Book {
    peers_max: usize,
    per_point_max: usize,
    bytes_max: usize,
    entries: BTreeMap<PeerId, Entry>,
    by_end: BTreeMap<EndKey, PeerId>,
    /// Per point that brought them: the entries by their end.
    by_point: BTreeMap<PeerId, BTreeSet<EndKey>>,
    /// The points by the number of their entries.
    by_share: BTreeSet<(usize, PeerId)>,
    bytes: usize,
    /// Entries ever made: tells apart those that end together.
    serial: u64,
}

/// An entry's end and its serial number.
type EndKey = (Time, u64);

#[derive(Debug)]
struct Entry {
    record: VerifiedRecord,
    ends_at: Time,
    serial: u64,
    point: PeerId,
}

impl Book {
    pub(super) fn new(peers_max: usize, per_point_max: usize, bytes_max: usize) -> Self {
        Self {
            peers_max,
            per_point_max,
            bytes_max,
            entries: BTreeMap::new(),
            by_end: BTreeMap::new(),
            by_point: BTreeMap::new(),
            by_share: BTreeSet::new(),
            bytes: 0,
            serial: 0,
        }
    }

    /// Notes what a point listed. The newer record counts, and of two equally new ones the one that ends later; the end
    /// moves later, never earlier. Addresses of two records are never mixed.
    pub(super) fn insert(&mut self, point: PeerId, record: &VerifiedRecord, ends_at: Time) {
        let peer = record.peer_id();
        let entry = match self.remove(&peer) {
            None => {
                self.serial += 1;
                Entry { record: record.clone(), ends_at, serial: self.serial, point }
            }
            Some(known) => {
                let rank = |record: &VerifiedRecord, ends_at| (record.scaled_seq(), ends_at);
                let is_newer = rank(record, ends_at) > rank(&known.record, known.ends_at);
                let record = if is_newer { record.clone() } else { known.record.clone() };
                Entry { record, ends_at: known.ends_at.max(ends_at), ..known }
            }
        };
        if self.peers_max == 0 || self.per_point_max == 0 || entry.record.envelope().len() > self.bytes_max {
            return;
        }
        let bringer = entry.point;
        self.add(peer, entry);
        while self.by_point.get(&bringer).is_some_and(|share| share.len() > self.per_point_max) {
            self.evict_of(&bringer);
        }
        while self.entries.len() > self.peers_max || self.bytes > self.bytes_max {
            self.evict();
        }
    }

    /// The record of a peer whose registration has not ended.
    pub(super) fn record(&self, now: Time, peer: &PeerId) -> Option<&VerifiedRecord> {
        self.entries.get(peer).filter(|entry| entry.ends_at > now).map(|entry| &entry.record)
    }

    pub(super) fn addresses(&self, now: Time, peer: &PeerId, max: usize) -> Vec<Multiaddr> {
        self.record(now, peer).map(|record| record.addresses().take(max).collect()).unwrap_or_default()
    }

    /// Takes a peer whose registration has ended, the earliest first.
    pub(super) fn pop_ended(&mut self, now: Time) -> Option<PeerId> {
        let (&(ends_at, _), &peer) = self.by_end.first_key_value()?;
        if ends_at > now {
            return None;
        }
        self.remove(&peer);
        Some(peer)
    }

    /// When the next registration ends. It is in the past where one has ended that was not told of.
    pub(super) fn next_end(&self) -> Option<Time> {
        self.by_end.first_key_value().map(|(&(ends_at, _), _)| ends_at)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn evict(&mut self) {
        if let Some((_, point)) = self.by_share.last().copied() {
            self.evict_of(&point);
        }
    }

    /// Takes out of what a point has brought what ends first.
    fn evict_of(&mut self, point: &PeerId) {
        let victim = self.by_point.get(point).and_then(BTreeSet::first).and_then(|key| self.by_end.get(key)).copied();
        if let Some(victim) = victim {
            self.remove(&victim);
        }
    }

    fn add(&mut self, peer: PeerId, entry: Entry) {
        let key = (entry.ends_at, entry.serial);
        let point = entry.point;
        self.bytes += entry.record.envelope().len();
        self.by_end.insert(key, peer);
        self.entries.insert(peer, entry);
        let share = self.by_point.entry(point).or_default();
        self.by_share.remove(&(share.len(), point));
        share.insert(key);
        self.by_share.insert((share.len(), point));
    }

    fn remove(&mut self, peer: &PeerId) -> Option<Entry> {
        let entry = self.entries.remove(peer)?;
        let key = (entry.ends_at, entry.serial);
        self.bytes -= entry.record.envelope().len();
        self.by_end.remove(&key);
        if let Some(share) = self.by_point.get_mut(&entry.point) {
            self.by_share.remove(&(share.len(), entry.point));
            share.remove(&key);
            if share.is_empty() {
                self.by_point.remove(&entry.point);
            } else {
                self.by_share.insert((share.len(), entry.point));
            }
        }
        Some(entry)
    }
}
