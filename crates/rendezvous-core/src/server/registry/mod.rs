//! The registry: which peer is registered where, with which records, until when.
//!
//! Every operation is O(log n + results). A registration of (peer, namespace) is one [`Slot`], its records' bytes are one
//! blob, and six structures find it: by peer and namespace ([`Peers`], [`Namespaces`]), by position within its namespace
//! and over all ([`Order`], one per flavour of record), and by deadline ([`Wheel`]).

mod blobs;
mod namespaces;
mod order;
mod peers;
mod prefixes;
mod sample;
mod sizes;
mod slab;
mod slot;
mod table;
mod wheel;

#[cfg(test)]
mod tests;

use core::iter::Peekable;

use rendezvous_record::{Flavour, Flavours};
use rendezvous_wire::Namespace;

use self::{
    blobs::{BLOB_BYTES_MAX, Blobs},
    namespaces::{Namespaces, flavours_of},
    order::Order,
    peers::{Context, Peers},
    prefixes::Prefixes,
    sizes::Sizes,
    slab::Slab,
    slot::{Slot, write_dual},
    wheel::{Tick, Wheel},
};
use crate::{
    Time,
    server::{admission::IpPrefix, hash::Keys},
};

/// Milliseconds per tick: deadlines are kept in tenths of a second.
///
/// Instants are rounded down before a TTL is added and when it is compared, so a registration is never found after its
/// TTL and ends at most one tick before it.
const TICK_MILLIS: u64 = 100;

/// Largest record: two of them and their deadlines fit a blob, and their lengths fit the slot.
pub(crate) const RECORD_BYTES_CEILING: usize = 32 << 10;

const _: () = assert!(2 * RECORD_BYTES_CEILING + 8 <= BLOB_BYTES_MAX && RECORD_BYTES_CEILING <= u16::MAX as usize);

/// A record to be stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) flavour: Flavour,
    pub(crate) bytes: &'a [u8],
    /// Where the peer id stands in `bytes`.
    pub(crate) peer_start: usize,
    pub(crate) peer_len: usize,
}

/// A registration as it is served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served<'a> {
    pub(crate) namespace: &'a Namespace,
    pub(crate) record: &'a [u8],
    /// Whole seconds left, at least 1.
    pub(crate) ttl_secs: u64,
    pub(crate) position: u64,
}

/// Records whose time has come.
#[derive(Debug)]
pub(crate) struct Expired {
    pub(crate) peer: Vec<u8>,
    pub(crate) namespace: Namespace,
    pub(crate) flavours: Flavours,
    /// Whether the registration has no other record, and is taken out.
    pub(crate) is_gone: bool,
}

#[derive(Debug)]
pub(crate) struct Registry {
    slots: Slab<Slot>,
    blobs: Blobs,
    peers: Peers,
    namespaces: Namespaces,
    prefixes: Prefixes,
    /// All registrations by position, for each flavour of record.
    all: [Order; 2],
    wheel: Wheel,
    epoch: Time,
    record_bytes: u64,
    sizes: Sizes,
    /// Reused to put two records together.
    scratch: Vec<u8>,
    keys: Keys,
}

impl Registry {
    /// An empty registry. `keys` must be secret from those who register.
    pub(crate) fn new(epoch: Time, keys: Keys) -> Self {
        Self {
            slots: Slab::new(),
            blobs: Blobs::new(),
            peers: Peers::new(keys),
            namespaces: Namespaces::new(keys),
            prefixes: Prefixes::new(keys),
            all: [const { Order::new() }; 2],
            wheel: Wheel::new(),
            epoch,
            record_bytes: 0,
            sizes: Sizes::new(),
            scratch: Vec::new(),
            keys,
        }
    }

    /// Registrations of (peer, namespace).
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn namespaces_len(&self) -> usize {
        self.namespaces.len()
    }

    /// Bytes of all records.
    pub(crate) fn record_bytes(&self) -> u64 {
        self.record_bytes
    }

    /// Memory that the registry's structures have allocated, records included; what is reused between calls, a few
    /// kilobytes, is not counted. Zero when it is empty.
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.slots.allocated_bytes()
            + self.blobs.allocated_bytes()
            + self.peers.allocated_bytes()
            + self.namespaces.allocated_bytes()
            + self.prefixes.allocated_bytes()
            + self.all.iter().map(Order::allocated_bytes).sum::<usize>()
    }

    /// Whether one more registration can be named at all.
    pub(crate) fn has_room(&self) -> bool {
        self.slots.has_room()
    }

    /// Whether the peer, by the bytes of its id, is registered in the namespace.
    pub(crate) fn contains(&self, peer: &[u8], namespace: &str) -> bool {
        self.find(peer, namespace).is_some()
    }

    /// Number of the peer's registrations.
    pub(crate) fn count_of(&self, peer: &[u8]) -> usize {
        self.peers.count(self.context(), peer)
    }

    /// Number of registrations that came from a prefix.
    pub(crate) fn count_of_prefix(&self, prefix: IpPrefix) -> usize {
        self.prefixes.count(prefix)
    }

    /// Number of registrations in a namespace.
    pub(crate) fn count_in(&self, namespace: &str) -> usize {
        self.namespaces.find(namespace).map_or(0, |index| self.namespaces.at(index).count as usize)
    }

    /// Bytes of the records in a namespace, or in all.
    pub(crate) fn record_bytes_in(&self, namespace: Option<&str>) -> u64 {
        match namespace {
            None => self.record_bytes,
            Some(name) => self.namespaces.find(name).map_or(0, |index| self.namespaces.at(index).record_bytes),
        }
    }

    /// Bytes that no record exceeds.
    pub(crate) fn largest_record_bytes(&self) -> usize {
        self.sizes.largest()
    }

    /// Whether the peer's registration has a record of this flavour.
    pub(crate) fn has_record(&self, peer: &[u8], namespace: &str, flavour: Flavour) -> bool {
        self.find(peer, namespace).is_some_and(|index| self.slots[index].has(flavour))
    }

    /// Whole seconds, at least one, until the last record of the peer's registration ends; `None` if all have ended, or there
    /// are none.
    pub(crate) fn ttl_secs(&self, now: Time, peer: &[u8], namespace: &str) -> Option<u64> {
        let slot = &self.slots[self.find(peer, namespace)?];
        let now = self.tick(now);
        let deadlines = Flavour::ALL.into_iter().filter_map(|flavour| slot.record(flavour, &self.blobs));
        let last = deadlines.map(|(_, deadline)| deadline).filter(|&deadline| deadline > now).max()?;
        Some(secs_left(now, last))
    }

    /// Bytes of the records of the peer's registration.
    pub(crate) fn bytes_of(&self, peer: &[u8], namespace: &str) -> usize {
        self.find(peer, namespace).map_or(0, |index| self.slots[index].record_bytes())
    }

    /// Bytes by which a record is longer than the one of its flavour that it would replace.
    pub(crate) fn growth(&self, peer: &[u8], namespace: &str, flavour: Flavour, len: usize) -> usize {
        let old = self.find(peer, namespace).map_or(0, |index| usize::from(self.slots[index].lens[flavour.index()]));
        len.saturating_sub(old)
    }

    /// Flavours of one of the peer's registrations: what it can read itself.
    pub(crate) fn flavours_of(&self, peer: &[u8]) -> Option<Flavours> {
        Some(self.slots[self.peers.any(self.context(), peer)?].flavours())
    }

    /// Flavours of the records in a namespace, or in all.
    pub(crate) fn flavours_in(&self, namespace: Option<&str>) -> Flavours {
        match namespace {
            None => flavours_of(&self.all),
            Some(name) => match self.namespaces.find(name) {
                None => Flavours::NONE,
                Some(index) => self.namespaces.at(index).flavours(),
            },
        }
    }

    /// Names and counts of the namespaces that hold registrations, in no particular order.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = (&Namespace, u32)> {
        self.namespaces.iter().map(|entry| (&entry.name, entry.count))
    }

    /// Registers, or renews: the record takes the place of the one of its flavour, the position is the new one, the
    /// record's deadline is moved. `position` is above all positions before. Whether it is a renewal is returned.
    pub(crate) fn put(
        &mut self,
        namespace: &Namespace,
        record: Record<'_>,
        position: u64,
        ends: Time,
        prefix: Option<IpPrefix>,
    ) -> bool {
        let deadline = self.tick(ends);
        let peer = &record.bytes[record.peer_start..record.peer_start + record.peer_len];
        let namespace_index = self.namespaces.find_or_insert(namespace);
        match self.peers.find(self.context(), peer, namespace_index) {
            Some(index) => {
                self.unlink(index);
                self.replace(index, record, position, deadline);
                self.link(index);
                self.move_prefix(index, prefix);
                true
            }
            None => {
                let index = self.add(namespace_index, record, position, deadline);
                self.link(index);
                self.move_prefix(index, prefix);
                false
            }
        }
    }

    /// Like [`Self::put`] in any order of positions, to be followed by [`Self::finish_restore`]: until then nothing is
    /// found by position or deadline.
    pub(crate) fn restore(
        &mut self,
        namespace: &Namespace,
        record: Record<'_>,
        position: u64,
        ends: Time,
        prefix: Option<IpPrefix>,
    ) {
        let deadline = self.tick(ends);
        let peer = &record.bytes[record.peer_start..record.peer_start + record.peer_len];
        let namespace_index = self.namespaces.find_or_insert(namespace);
        let index = match self.peers.find(self.context(), peer, namespace_index) {
            Some(index) => {
                let position = position.max(self.slots[index].position());
                self.replace(index, record, position, deadline);
                index
            }
            None => self.add(namespace_index, record, position, deadline),
        };
        self.move_prefix(index, prefix);
    }

    /// Enters what [`Self::restore`] has put in into the orders and the wheel. Returns the highest position.
    pub(crate) fn finish_restore(&mut self) -> u64 {
        // Nothing has been removed, so the slots in use are the first ones.
        let mut indexes: Vec<u32> = (0..self.slots.len() as u32).collect();
        indexes.sort_unstable_by_key(|&index| self.slots[index].position());
        for &index in &indexes {
            self.link(index);
        }
        indexes.last().map_or(0, |&index| self.slots[index].position())
    }

    /// Enters a new slot; to be linked.
    fn add(&mut self, namespace: u32, record: Record<'_>, position: u64, deadline: Tick) -> u32 {
        let mut lens = [0; 2];
        lens[record.flavour.index()] = record.bytes.len() as u16;
        let mut slot = Slot {
            blob: self.blobs.insert(record.bytes),
            lens,
            deadline,
            namespace,
            peer_start: record.peer_start as u16,
            peer_len: record.peer_len as u8,
            ..<Slot as slab::Entry>::VACANT
        };
        slot.set_position(position);
        let index = self.slots.insert(slot);
        self.count_records(namespace, [0; 2], lens);
        self.namespaces.at_mut(namespace).count += 1;
        let context = Context { slots: &self.slots, blobs: &self.blobs };
        self.peers.insert(context, self.slots[index].peer(&self.blobs), index);
        index
    }

    /// Counts a registration for the prefix that its last REGISTER came from.
    fn move_prefix(&mut self, index: u32, prefix: Option<IpPrefix>) {
        let old = self.slots[index].prefix;
        self.slots[index].prefix = self.prefixes.take(prefix);
        self.prefixes.release(old);
    }

    /// Puts a record into the place of the one of its flavour. The slot must not be linked.
    fn replace(&mut self, index: u32, record: Record<'_>, position: u64, deadline: Tick) {
        let slot = &self.slots[index];
        let (namespace, old_lens) = (slot.namespace, slot.lens);
        let other = slot.record(record.flavour.other(), &self.blobs);
        let mut lens = [0_u16; 2];
        lens[record.flavour.index()] = record.bytes.len() as u16;
        let (blob, peer_start, ends) = match other {
            None => (self.blobs.insert(record.bytes), record.peer_start, deadline),
            Some((other_bytes, other_deadline)) => {
                lens[record.flavour.other().index()] = other_bytes.len() as u16;
                let (records, deadlines, peer_start) = match record.flavour {
                    Flavour::Standard => ([record.bytes, other_bytes], [deadline, other_deadline], record.peer_start),
                    Flavour::Legacy => {
                        ([other_bytes, record.bytes], [other_deadline, deadline], record.peer_start + other_bytes.len())
                    }
                };
                write_dual(&mut self.scratch, records, deadlines);
                (self.blobs.insert(&self.scratch), peer_start, deadline.min(other_deadline))
            }
        };
        let slot = &mut self.slots[index];
        let old_blob = core::mem::replace(&mut slot.blob, blob);
        slot.lens = lens;
        slot.deadline = ends;
        slot.peer_start = peer_start as u16;
        slot.set_position(position);
        self.count_records(namespace, old_lens, lens);
        self.blobs.remove(old_blob);
    }

    /// Counts the bytes of a registration's records, by the lengths that they had and those that they have.
    fn count_records(&mut self, namespace: u32, old_lens: [u16; 2], lens: [u16; 2]) {
        let bytes_of = |lens: [u16; 2]| lens.into_iter().map(u64::from).sum::<u64>();
        let of_namespace = &mut self.namespaces.at_mut(namespace).record_bytes;
        for total in [&mut self.record_bytes, of_namespace] {
            *total = *total + bytes_of(lens) - bytes_of(old_lens);
        }
        self.sizes.remove(old_lens);
        self.sizes.add(lens);
    }

    /// Withdraws a registration; whether there was one.
    pub(crate) fn remove(&mut self, peer: &[u8], namespace: &str) -> bool {
        match self.find(peer, namespace) {
            Some(index) => {
                self.remove_slot(index);
                true
            }
            None => false,
        }
    }

    /// The namespaces that the peer is registered in: as many as its quota allows at most.
    pub(crate) fn namespaces_of(&self, peer: &[u8]) -> Vec<Namespace> {
        let slots = self.peers.all(self.context(), peer);
        slots.iter().map(|&slot| self.namespaces.at(self.slots[slot].namespace).name.clone()).collect()
    }

    /// The namespace of this name, if it holds a registration.
    pub(crate) fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.find(name).map(|index| &self.namespaces.at(index).name)
    }

    /// Takes out the next records that have ended: all of a registration, or the one that ended before the other. `None`
    /// when nothing is due or `budget`, in slots touched, is used up.
    pub(crate) fn pop_expired(&mut self, now: Time, budget: &mut usize) -> Option<Expired> {
        let now = self.tick(now);
        let index = self.wheel.pop_due(&mut self.slots, now, budget)?;
        // Linked again, so that both ways out unlink alike.
        self.wheel.insert(&mut self.slots, index);
        let slot = &self.slots[index];
        let survivor = Flavour::ALL.into_iter().find(|&flavour| {
            slot.is_dual() && slot.record(flavour, &self.blobs).is_some_and(|(_, deadline)| deadline > now)
        });
        let flavours = match survivor {
            Some(flavour) => Flavours::from(flavour.other()),
            None => slot.flavours(),
        };
        let expired = Expired {
            peer: slot.peer(&self.blobs).to_vec(),
            namespace: self.namespaces.at(slot.namespace).name.clone(),
            flavours,
            is_gone: survivor.is_none(),
        };
        match survivor {
            Some(flavour) => self.keep_only(index, flavour),
            None => self.remove_slot(index),
        }
        Some(expired)
    }

    /// When [`Self::pop_expired`] has something to do next, at the latest.
    pub(crate) fn next_expiry(&self) -> Option<Time> {
        let tick = self.wheel.next_tick()?;
        Some(self.epoch + core::time::Duration::from_millis(u64::from(tick) * TICK_MILLIS))
    }

    /// Registrations of a namespace (or of all) with a record that is read, by position above `after`.
    ///
    /// A registration with records of both flavours is served once, with the standard one if that is read.
    pub(crate) fn iter_after(
        &self,
        now: Time,
        namespace: Option<&str>,
        reads: Flavours,
        after: u64,
    ) -> impl Iterator<Item = Option<Served<'_>>> {
        let orders = match namespace {
            None => Some(&self.all),
            Some(name) => self.namespaces.find(name).map(|index| &self.namespaces.at(index).orders),
        };
        let cursor = |flavour: Flavour| {
            orders
                .filter(|_| reads.contains(flavour))
                .map(|orders| orders[flavour.index()].iter_after(&self.slots, after))
                .into_iter()
                .flatten()
                .peekable()
        };
        let merged = Merged { slots: &self.slots, cursors: [cursor(Flavour::Standard), cursor(Flavour::Legacy)] };
        let now = self.tick(now);
        merged.map(move |index| self.served(index, reads, now))
    }

    /// The registration in a slot, unless it has ended and only waits to be taken out.
    fn served(&self, index: u32, reads: Flavours, now: Tick) -> Option<Served<'_>> {
        let slot = &self.slots[index];
        let readable = |flavour: &Flavour| reads.contains(*flavour);
        let (record, deadline) = Flavour::ALL
            .into_iter()
            .filter(readable)
            .filter_map(|flavour| slot.record(flavour, &self.blobs))
            .find(|&(_, deadline)| deadline > now)?;
        Some(Served {
            namespace: &self.namespaces.at(slot.namespace).name,
            record,
            ttl_secs: secs_left(now, deadline),
            position: slot.position(),
        })
    }

    fn find(&self, peer: &[u8], namespace: &str) -> Option<u32> {
        self.peers.find(self.context(), peer, self.namespaces.find(namespace)?)
    }

    fn context(&self) -> Context<'_> {
        Context { slots: &self.slots, blobs: &self.blobs }
    }

    /// Drops the record of the other flavour. The position stays, so the order of the kept flavour is not touched.
    fn keep_only(&mut self, index: u32, flavour: Flavour) {
        let other = flavour.other().index();
        let slot = &self.slots[index];
        let namespace = slot.namespace;
        self.namespaces.at_mut(namespace).orders[other].remove(&self.slots, index);
        self.all[other].remove(&self.slots, index);
        self.wheel.remove(&mut self.slots, index);

        let slot = &self.slots[index];
        let (record, deadline) = slot.record(flavour, &self.blobs).expect("the record to keep is there");
        let peer = slot.peer(&self.blobs);
        // The id that was read so far may have stood in the record that goes.
        let peer_start = record.windows(peer.len()).position(|window| window == peer);
        let peer_start = peer_start.expect("a verified record holds the id of its peer");
        self.scratch.clear();
        self.scratch.extend_from_slice(record);
        let blob = self.blobs.insert(&self.scratch);
        let slot = &mut self.slots[index];
        let old_blob = core::mem::replace(&mut slot.blob, blob);
        let old_lens = slot.lens;
        slot.lens[other] = 0;
        let lens = slot.lens;
        slot.deadline = deadline;
        slot.peer_start = peer_start as u16;
        self.count_records(namespace, old_lens, lens);
        self.blobs.remove(old_blob);
        self.wheel.insert(&mut self.slots, index);
    }

    fn remove_slot(&mut self, index: u32) {
        self.unlink(index);
        let slot = &self.slots[index];
        let (blob, namespace, prefix, lens) = (slot.blob, slot.namespace, slot.prefix, slot.lens);
        let context = Context { slots: &self.slots, blobs: &self.blobs };
        self.peers.remove(context, slot.peer(&self.blobs), index);
        self.count_records(namespace, lens, [0; 2]);
        self.namespaces.at_mut(namespace).count -= 1;
        self.namespaces.remove_if_empty(namespace);
        self.prefixes.release(prefix);
        self.blobs.remove(blob);
        self.slots.remove(index);
    }

    /// Enters a slot into the orders and the wheel.
    fn link(&mut self, index: u32) {
        let slot = &self.slots[index];
        let (namespace, lens) = (slot.namespace, slot.lens);
        let entry = self.namespaces.at_mut(namespace);
        for flavour in Flavour::ALL.map(Flavour::index) {
            if lens[flavour] != 0 {
                entry.orders[flavour].push(&self.slots, index);
                self.all[flavour].push(&self.slots, index);
            }
        }
        self.wheel.insert(&mut self.slots, index);
    }

    /// Takes a slot out of the orders and the wheel, while its position and deadline are as they were entered.
    fn unlink(&mut self, index: u32) {
        let slot = &self.slots[index];
        let (namespace, lens) = (slot.namespace, slot.lens);
        let entry = self.namespaces.at_mut(namespace);
        for flavour in Flavour::ALL.map(Flavour::index) {
            if lens[flavour] != 0 {
                entry.orders[flavour].remove(&self.slots, index);
                self.all[flavour].remove(&self.slots, index);
            }
        }
        self.wheel.remove(&mut self.slots, index);
    }

    /// The tick that an instant lies in; thirteen years after the epoch the last one.
    fn tick(&self, time: Time) -> Tick {
        let millis = time.saturating_since(self.epoch).as_millis();
        Tick::try_from(millis / u128::from(TICK_MILLIS)).unwrap_or(Tick::MAX)
    }
}

/// Whole seconds from one tick to a later one, at least 1.
fn secs_left(now: Tick, deadline: Tick) -> u64 {
    (u64::from(deadline - now) * TICK_MILLIS / 1_000).max(1)
}

/// The slots of two orders by position, one that stands in both once.
struct Merged<'a, I: Iterator<Item = u32>> {
    slots: &'a Slab<Slot>,
    cursors: [Peekable<I>; 2],
}

impl<I: Iterator<Item = u32>> Iterator for Merged<'_, I> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let [standard, legacy] = &mut self.cursors;
        match (standard.peek(), legacy.peek()) {
            (Some(a), Some(b)) if a == b => {
                legacy.next();
                standard.next()
            }
            (Some(&a), Some(&b)) if self.slots[b].position() < self.slots[a].position() => legacy.next(),
            (Some(_), _) => standard.next(),
            (None, _) => legacy.next(),
        }
    }
}
