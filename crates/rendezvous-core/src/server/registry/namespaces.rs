//! Namespaces that hold registrations, interned.

use rendezvous_record::{Flavour, Flavours};
use rendezvous_wire::Namespace;

use super::{order::Order, table::Table};
use crate::server::hash::Keys;

/// A namespace with at least one registration.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Namespace,
    /// Its registrations by position, for each flavour of record.
    pub(super) orders: [Order; 2],
    /// Registrations in it.
    pub(super) count: u32,
    /// Bytes of their records.
    pub(super) record_bytes: u64,
}

impl Entry {
    /// The flavours of which there is a record.
    pub(super) fn flavours(&self) -> Flavours {
        flavours_of(&self.orders)
    }
}

/// The flavours of which there is a record in a pair of orders.
pub(super) fn flavours_of(orders: &[Order; 2]) -> Flavours {
    Flavour::ALL.into_iter().filter(|flavour| !orders[flavour.index()].is_empty()).fold(Flavours::NONE, Flavours::with)
}

/// Namespaces by name and by number.
#[derive(Debug)]
pub(super) struct Namespaces {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    table: Table,
    keys: Keys,
    len: usize,
}

impl Namespaces {
    pub(super) fn new(keys: Keys) -> Self {
        Self { entries: Vec::new(), free: Vec::new(), table: Table::new(), keys, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        let entries: usize = self
            .entries
            .iter()
            .flatten()
            .map(|entry| entry.name.as_str().len() + entry.orders.iter().map(Order::allocated_bytes).sum::<usize>())
            .sum();
        self.table.allocated_bytes()
            + entries
            + self.entries.capacity() * size_of::<Option<Entry>>()
            + self.free.capacity() * size_of::<u32>()
    }

    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.table.find(self.keys.bytes(name.as_bytes()), |index| self.at(index).name.as_str() == name)
    }

    pub(super) fn find_or_insert(&mut self, name: &Namespace) -> u32 {
        if let Some(index) = self.find(name.as_str()) {
            return index;
        }
        let entry = Entry { name: name.clone(), orders: [const { Order::new() }; 2], count: 0, record_bytes: 0 };
        let index = match self.free.pop() {
            Some(index) => {
                self.entries[index as usize] = Some(entry);
                index
            }
            None => {
                self.entries.push(Some(entry));
                (self.entries.len() - 1) as u32
            }
        };
        self.len += 1;
        let (keys, entries) = (&self.keys, &self.entries);
        self.table.insert(keys.bytes(name.as_str().as_bytes()), index, |index| {
            keys.bytes(entry_at(entries, index).name.as_str().as_bytes())
        });
        index
    }

    /// Forgets a namespace that holds nothing.
    pub(super) fn remove_if_empty(&mut self, index: u32) {
        let entry = self.at(index);
        if entry.count > 0 {
            return;
        }
        let hash = self.keys.bytes(entry.name.as_str().as_bytes());
        self.table.remove(hash, |found| found == index);
        self.entries[index as usize] = None;
        self.free.push(index);
        self.len -= 1;
        if self.len == 0 {
            self.entries = Vec::new();
            self.free = Vec::new();
        }
    }

    pub(super) fn at(&self, index: u32) -> &Entry {
        entry_at(&self.entries, index)
    }

    pub(super) fn at_mut(&mut self, index: u32) -> &mut Entry {
        self.entries[index as usize].as_mut().expect("numbers name namespaces that hold something")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten()
    }
}

fn entry_at(entries: &[Option<Entry>], index: u32) -> &Entry {
    entries[index as usize].as_ref().expect("numbers name namespaces that hold something")
}
