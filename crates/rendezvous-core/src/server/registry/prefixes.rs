//! How many registrations came from each network.

use core::hash::BuildHasher as _;

use super::slab::{Entry, NONE, Slab};
use crate::server::{
    admission::{Block, Origin},
    hash::Keys,
    table::Table,
};

/// A network that registrations came from: 12 bytes.
#[derive(Clone, Debug)]
struct Network {
    block: Block,
    /// Registrations; in an unused entry the next unused one.
    count: u32,
}

const _: () = assert!(size_of::<Network>() == 12);

impl Entry for Network {
    const VACANT: Self = Self { block: Block::Unlocated, count: NONE };

    fn next_free(&self) -> u32 {
        self.count
    }

    fn set_next_free(&mut self, next: u32) {
        self.count = next;
    }
}

/// Networks that registrations came from, numbered, with a count each.
///
/// A registration counts in its smallest block and in those around it. Neither taking nor releasing moves more than a
/// bounded number of entries.
#[derive(Debug)]
pub(super) struct Prefixes {
    networks: Slab<Network>,
    table: Table,
    keys: Keys,
}

impl Prefixes {
    pub(super) fn new(keys: Keys) -> Self {
        Self { networks: Slab::new(), table: Table::new(), keys }
    }

    pub(super) fn count(&self, block: Block) -> usize {
        self.find(block).map_or(0, |number| self.networks[number].count as usize)
    }

    /// Counts one more in every block of an origin. Returns the number of the smallest block; [`NONE`] if the origin counts
    /// in none.
    pub(super) fn take(&mut self, origin: Origin) -> u32 {
        let Some(smallest) = Block::of(origin) else { return NONE };
        let mut first = NONE;
        for block in smallest.with_wider() {
            let number = self.find(block).unwrap_or_else(|| self.insert(block));
            self.networks[number].count += 1;
            if first == NONE {
                first = number;
            }
        }
        first
    }

    /// Counts one less in the block of this number and in those around it.
    pub(super) fn release(&mut self, number: u32) {
        if number == NONE {
            return;
        }
        for block in self.networks[number].block.with_wider() {
            let Some(number) = self.find(block) else { continue };
            self.networks[number].count -= 1;
            if self.networks[number].count == 0 {
                self.table.remove(self.keys.hash_one(block), |found| found == number);
                self.networks.remove(number);
            }
        }
    }

    /// The origin whose smallest block has this number.
    pub(super) fn origin(&self, number: u32) -> Origin {
        if number == NONE { Origin::Exempt } else { self.networks[number].block.origin() }
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        self.networks.allocated_bytes() + self.table.allocated_bytes()
    }

    fn find(&self, block: Block) -> Option<u32> {
        self.table.find(self.keys.hash_one(block), |number| self.networks[number].block == block)
    }

    fn insert(&mut self, block: Block) -> u32 {
        let number = self.networks.insert(Network { block, count: 0 });
        let (keys, networks) = (&self.keys, &self.networks);
        self.table.insert(keys.hash_one(block), number, |number| keys.hash_one(networks[number].block));
        number
    }
}
