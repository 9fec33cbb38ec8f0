//! Registrations in the order of their positions.
//!
//! New ones come at the end, since positions only grow; renewals and removals take from anywhere. So: blocks of slot
//! indexes, each with its first position, merged with a neighbour when both have become thin. An entry costs four bytes
//! and its block's slack; its position is looked up in its slot.

use std::collections::VecDeque;

use rand::Rng;

use super::{slab::Slab, slot::Slot};

/// Entries per block.
const BLOCK_ENTRIES: usize = 256;

/// Neighbours that hold no more than this together become one block.
const MERGE_ENTRIES: usize = BLOCK_ENTRIES * 3 / 4;

#[derive(Debug)]
pub(super) struct Block {
    /// No entry of this block has a lower position, and none of the block before has a higher one.
    first: u64,
    entries: Vec<u32>,
}

/// Slot indexes in ascending order of position.
#[derive(Debug)]
pub(super) enum Order {
    /// At most one block's worth: most namespaces.
    Few(Vec<u32>),
    #[expect(clippy::box_collection, reason = "an order is 24 bytes, and each namespace has two")]
    Many(Box<VecDeque<Block>>),
}

impl Order {
    pub(super) const fn new() -> Self {
        Self::Few(Vec::new())
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Few(entries) => entries.is_empty(),
            Self::Many(_) => false,
        }
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        match self {
            Self::Few(entries) => entries.capacity() * size_of::<u32>(),
            Self::Many(blocks) => {
                let entries: usize = blocks.iter().map(|block| block.entries.capacity() * size_of::<u32>()).sum();
                size_of::<VecDeque<Block>>() + blocks.capacity() * size_of::<Block>() + entries
            }
        }
    }

    /// Appends a slot whose position is above all others here.
    pub(super) fn push(&mut self, slots: &Slab<Slot>, index: u32) {
        match self {
            Self::Few(entries) if entries.len() < BLOCK_ENTRIES => {
                entries.push(index);
                return;
            }
            Self::Few(entries) => {
                let first = slots[entries[0]].position();
                let block = Block { first, entries: core::mem::take(entries) };
                *self = Self::Many(Box::new(VecDeque::from([block])));
            }
            Self::Many(_) => {}
        }
        let Self::Many(blocks) = self else { unreachable!("few entries have returned above") };
        match blocks.back_mut() {
            Some(block) if block.entries.len() < BLOCK_ENTRIES => block.entries.push(index),
            _ => {
                let mut entries = Vec::with_capacity(BLOCK_ENTRIES);
                entries.push(index);
                blocks.push_back(Block { first: slots[index].position(), entries });
            }
        }
    }

    /// Takes out a slot that is here under its present position.
    pub(super) fn remove(&mut self, slots: &Slab<Slot>, index: u32) {
        match self {
            Self::Few(entries) => {
                let at = entries.iter().position(|&entry| entry == index).expect("the slot is in its order");
                entries.remove(at);
                if entries.is_empty() {
                    *entries = Vec::new();
                }
            }
            Self::Many(blocks) => {
                let position = slots[index].position();
                let at = blocks.partition_point(|block| block.first <= position) - 1;
                let entries = &mut blocks[at].entries;
                let place = entries.iter().position(|&entry| entry == index).expect("the slot is in its block");
                entries.remove(place);
                shrink(blocks, at);
                if blocks.len() == 1 && blocks[0].entries.len() <= MERGE_ENTRIES {
                    let mut entries = blocks.pop_front().expect("there is one").entries;
                    entries.shrink_to_fit();
                    *self = Self::Few(entries);
                }
            }
        }
    }

    /// An upper bound of the number of entries. The number itself is above a quarter of it, unless it is below 256: two
    /// neighbouring blocks hold more than [`MERGE_ENTRIES`] together.
    pub(super) fn len_bound(&self) -> usize {
        match self {
            Self::Few(entries) => entries.len(),
            Self::Many(blocks) => blocks.len() * BLOCK_ENTRIES,
        }
    }

    /// One throw for an entry: each is hit with the same chance, and the chance to hit any is above a quarter.
    ///
    /// A block and a place in it are chosen, as if all blocks were full; a place that is not taken is a miss.
    pub(super) fn throw(&self, rng: &mut impl Rng) -> Option<u32> {
        let (entries, places) = match self {
            Self::Few(entries) => (entries, entries.len().max(1)),
            Self::Many(blocks) => (&blocks[rng.random_range(0..blocks.len())].entries, BLOCK_ENTRIES),
        };
        entries.get(rng.random_range(0..places)).copied()
    }

    /// The slots with positions above `after`, in order.
    pub(super) fn iter_after<'a>(&'a self, slots: &Slab<Slot>, after: u64) -> Iter<'a> {
        match self {
            Self::Few(entries) => Iter { entries: entries_after(entries, slots, after), rest: None },
            Self::Many(blocks) => {
                let at = blocks.partition_point(|block| block.first <= after).saturating_sub(1);
                Iter { entries: entries_after(&blocks[at].entries, slots, after), rest: Some((blocks, at + 1)) }
            }
        }
    }
}

fn entries_after<'a>(entries: &'a [u32], slots: &Slab<Slot>, after: u64) -> core::slice::Iter<'a, u32> {
    let at = if after == 0 { 0 } else { entries.partition_point(|&entry| slots[entry].position() <= after) };
    entries[at..].iter()
}

/// Merges block `at` with a neighbour if they have become thin.
fn shrink(blocks: &mut VecDeque<Block>, at: usize) {
    let len = blocks[at].entries.len();
    if len == 0 {
        blocks.remove(at);
        return;
    }
    let fits = |neighbour: Option<&Block>| neighbour.is_some_and(|block| block.entries.len() + len <= MERGE_ENTRIES);
    let left = if at > 0 && fits(blocks.get(at - 1)) {
        at - 1
    } else if fits(blocks.get(at + 1)) {
        at
    } else {
        return;
    };
    let right = blocks.remove(left + 1).expect("the neighbour is there");
    blocks[left].entries.extend_from_slice(&right.entries);
}

/// Iterator over an [`Order`].
pub(super) struct Iter<'a> {
    entries: core::slice::Iter<'a, u32>,
    rest: Option<(&'a VecDeque<Block>, usize)>,
}

impl Iterator for Iter<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        loop {
            if let Some(&entry) = self.entries.next() {
                return Some(entry);
            }
            let (blocks, at) = self.rest.as_mut()?;
            self.entries = blocks.get(*at)?.entries.iter();
            *at += 1;
        }
    }
}
