//! Which registrations a peer has.
//!
//! A peer is found by its id, whose bytes stand in its record: no copy of it is kept. Most peers register once; such a
//! peer costs one table entry of four bytes and a control byte.

use hashbrown::HashTable;

use super::{blobs::Blobs, slab::Slab, slot::Slot};
use crate::server::{hash::Keys, table::Table};

/// Set in a table entry that names a list of registrations rather than one.
const MANY: u32 = 1 << 31;

/// Registrations of one peer before they get a table of their own.
const LIST_MAX: usize = 16;

/// Two or more registrations of one peer.
#[derive(Debug)]
enum Many {
    List(Vec<u32>),
    /// Found by namespace.
    Table(HashTable<u32>),
}

/// The peers that have registrations.
#[derive(Debug)]
pub(super) struct Peers {
    table: Table,
    many: Vec<Many>,
    free_many: Vec<u32>,
    keys: Keys,
}

/// What a lookup needs to tell entries apart.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) slots: &'a Slab<Slot>,
    pub(super) blobs: &'a Blobs,
}

impl Peers {
    pub(super) fn new(keys: Keys) -> Self {
        Self { table: Table::new(), many: Vec::new(), free_many: Vec::new(), keys }
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        let many: usize = self
            .many
            .iter()
            .map(|many| match many {
                Many::List(list) => list.capacity() * size_of::<u32>(),
                Many::Table(table) => table.allocation_size(),
            })
            .sum();
        self.table.allocated_bytes()
            + many
            + self.many.capacity() * size_of::<Many>()
            + self.free_many.capacity() * size_of::<u32>()
    }

    pub(super) fn find(&self, cx: Context<'_>, peer: &[u8], namespace: u32) -> Option<u32> {
        let entry = self.entry(cx, peer)?;
        if entry & MANY == 0 {
            return (cx.slots[entry].namespace == namespace).then_some(entry);
        }
        match &self.many[(entry & !MANY) as usize] {
            Many::List(list) => list.iter().copied().find(|&slot| cx.slots[slot].namespace == namespace),
            Many::Table(table) => {
                let hash = self.keys.number(namespace);
                table.find(hash, |&slot| cx.slots[slot].namespace == namespace).copied()
            }
        }
    }

    /// Number of the peer's registrations.
    pub(super) fn count(&self, cx: Context<'_>, peer: &[u8]) -> usize {
        match self.entry(cx, peer) {
            None => 0,
            Some(entry) if entry & MANY == 0 => 1,
            Some(entry) => self.many[(entry & !MANY) as usize].len(),
        }
    }

    /// One of the peer's registrations.
    pub(super) fn any(&self, cx: Context<'_>, peer: &[u8]) -> Option<u32> {
        let entry = self.entry(cx, peer)?;
        if entry & MANY == 0 {
            return Some(entry);
        }
        match &self.many[(entry & !MANY) as usize] {
            Many::List(list) => list.first().copied(),
            Many::Table(table) => table.iter().next().copied(),
        }
    }

    /// All of the peer's registrations.
    pub(super) fn all(&self, cx: Context<'_>, peer: &[u8]) -> Vec<u32> {
        match self.entry(cx, peer) {
            None => Vec::new(),
            Some(entry) if entry & MANY == 0 => vec![entry],
            Some(entry) => match &self.many[(entry & !MANY) as usize] {
                Many::List(list) => list.clone(),
                Many::Table(table) => table.iter().copied().collect(),
            },
        }
    }

    /// Adds a slot that holds a registration of `peer` in a namespace where it had none.
    pub(super) fn insert(&mut self, cx: Context<'_>, peer: &[u8], slot: u32) {
        let hash = self.keys.bytes(peer);
        let Some(entry) = self.entry(cx, peer) else {
            let rehash = |entry| self.keys.bytes(peer_of(cx, &self.many, entry));
            self.table.insert(hash, slot, rehash);
            return;
        };
        if entry & MANY != 0 {
            let keys = &self.keys;
            self.many[(entry & !MANY) as usize].insert(slot, |slot| keys.number(cx.slots[slot].namespace));
            return;
        }
        let many = Many::List(vec![entry, slot]);
        let index = match self.free_many.pop() {
            Some(index) => {
                self.many[index as usize] = many;
                index
            }
            None => {
                self.many.push(many);
                (self.many.len() - 1) as u32
            }
        };
        self.table.replace(hash, |found| found == entry, index | MANY);
    }

    /// Takes out a slot; its contents are still as they were.
    pub(super) fn remove(&mut self, cx: Context<'_>, peer: &[u8], slot: u32) {
        let hash = self.keys.bytes(peer);
        let Some(entry) = self.entry(cx, peer) else {
            debug_assert!(false, "the peer of a slot is known");
            return;
        };
        if entry & MANY == 0 {
            self.table.remove(hash, |found| found == entry);
            return;
        }
        let many = &mut self.many[(entry & !MANY) as usize];
        let keys = &self.keys;
        if let Some(last) = many.remove(slot, |slot| keys.number(cx.slots[slot].namespace)) {
            *many = Many::List(Vec::new());
            self.free_many.push(entry & !MANY);
            if self.free_many.len() == self.many.len() {
                self.many = Vec::new();
                self.free_many = Vec::new();
            }
            self.table.replace(hash, |found| found == entry, last);
        }
    }

    fn entry(&self, cx: Context<'_>, peer: &[u8]) -> Option<u32> {
        self.table.find(self.keys.bytes(peer), |entry| peer_of(cx, &self.many, entry) == peer)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    #[cfg(test)]
    pub(super) fn lists(&self) -> usize {
        self.many.len()
    }
}

fn peer_of<'a>(cx: Context<'a>, many: &[Many], entry: u32) -> &'a [u8] {
    let slot = if entry & MANY == 0 { entry } else { many[(entry & !MANY) as usize].first() };
    cx.slots[slot].peer(cx.blobs)
}

impl Many {
    fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Table(table) => table.len(),
        }
    }

    fn first(&self) -> u32 {
        match self {
            Self::List(list) => list[0],
            Self::Table(table) => *table.iter().next().expect("a table is never empty"),
        }
    }

    fn insert(&mut self, slot: u32, hash: impl Fn(u32) -> u64) {
        match self {
            Self::List(list) if list.len() < LIST_MAX => list.push(slot),
            Self::List(list) => {
                let mut table = HashTable::with_capacity(list.len() + 1);
                for &slot in list.iter().chain([&slot]) {
                    table.insert_unique(hash(slot), slot, |&slot| hash(slot));
                }
                *self = Self::Table(table);
            }
            Self::Table(table) => {
                table.insert_unique(hash(slot), slot, |&slot| hash(slot));
            }
        }
    }

    /// Takes out a slot; gives the last one left if there is but one.
    fn remove(&mut self, slot: u32, hash: impl Fn(u32) -> u64) -> Option<u32> {
        match self {
            Self::List(list) => {
                list.retain(|&listed| listed != slot);
                if let [last] = list[..] { Some(last) } else { None }
            }
            Self::Table(table) => {
                if let Ok(entry) = table.find_entry(hash(slot), |&listed| listed == slot) {
                    entry.remove();
                }
                if table.len() <= LIST_MAX / 2 {
                    *self = Self::List(table.iter().copied().collect());
                }
                None
            }
        }
    }
}
