//! How many registrations came from each prefix.

use hashbrown::{HashMap, hash_map::Entry};

use super::slab::NONE;
use crate::server::{admission::IpPrefix, hash::Keys};

/// Prefixes that registrations came from, numbered, with a count each.
#[derive(Debug)]
pub(super) struct Prefixes {
    numbers: HashMap<IpPrefix, u32, Keys>,
    entries: Vec<(IpPrefix, u32)>,
    free: Vec<u32>,
}

impl Prefixes {
    pub(super) fn new(keys: Keys) -> Self {
        Self { numbers: HashMap::with_hasher(keys), entries: Vec::new(), free: Vec::new() }
    }

    pub(super) fn count(&self, prefix: IpPrefix) -> usize {
        self.numbers.get(&prefix).map_or(0, |&number| self.entries[number as usize].1 as usize)
    }

    /// Counts one more, and gives the prefix's number; [`NONE`] where no prefix is known.
    pub(super) fn take(&mut self, prefix: Option<IpPrefix>) -> u32 {
        let Some(prefix) = prefix else { return NONE };
        let number = match self.numbers.entry(prefix) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let number = match self.free.pop() {
                    Some(number) => {
                        self.entries[number as usize] = (prefix, 0);
                        number
                    }
                    None => {
                        self.entries.push((prefix, 0));
                        (self.entries.len() - 1) as u32
                    }
                };
                *entry.insert(number)
            }
        };
        self.entries[number as usize].1 += 1;
        number
    }

    /// Counts one less.
    pub(super) fn release(&mut self, number: u32) {
        if number == NONE {
            return;
        }
        let (prefix, count) = &mut self.entries[number as usize];
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.numbers.remove(&*prefix);
        self.free.push(number);
        if self.numbers.is_empty() {
            self.numbers.shrink_to(0);
            self.entries = Vec::new();
            self.free = Vec::new();
        }
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        self.numbers.allocation_size()
            + self.entries.capacity() * size_of::<(IpPrefix, u32)>()
            + self.free.capacity() * size_of::<u32>()
    }
}
