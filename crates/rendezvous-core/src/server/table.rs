//! A hash table that grows by splitting one part in two.
//!
//! A table that doubles moves all it holds in one operation: seconds at ten million entries. Here an insertion moves at
//! most [`PART_ENTRIES_MAX`]. (Extendible hashing: a directory indexed by the leading bits of the hash.)

use hashbrown::HashTable;

/// Entries of a part before it is split: all that 2048 buckets hold.
const PART_ENTRIES_MAX: usize = 1_792;

/// Directory of at most 2^20 parts: room for more entries than a slab has indexes.
const DEPTH_MAX: u8 = 20;

#[derive(Debug)]
struct Part {
    entries: HashTable<u32>,
    /// Leading bits of the hash that all entries of this part share.
    depth: u8,
}

/// `u32` values found by hash and equality.
#[derive(Debug)]
pub(super) struct Table {
    parts: Vec<Part>,
    /// 2^depth indexes into `parts`.
    directory: Vec<u32>,
    depth: u8,
    len: usize,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { parts: vec![Part { entries: HashTable::new(), depth: 0 }], directory: vec![0], depth: 0, len: 0 }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Memory of the parts and their directory; nothing for an empty table.
    pub(super) fn allocated_bytes(&self) -> usize {
        if self.len == 0 {
            return 0;
        }
        let entries: usize = self.parts.iter().map(|part| part.entries.allocation_size()).sum();
        entries + self.parts.capacity() * size_of::<Part>() + self.directory.capacity() * size_of::<u32>()
    }

    pub(super) fn find(&self, hash: u64, eq: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut eq = eq;
        self.part(hash).entries.find(hash, |&value| eq(value)).copied()
    }

    /// Adds a value that is not there; `rehash` gives the hash of a value that is.
    pub(super) fn insert(&mut self, hash: u64, value: u32, rehash: impl Fn(u32) -> u64) {
        while self.part(hash).entries.len() >= PART_ENTRIES_MAX && self.part(hash).depth < DEPTH_MAX {
            self.split(self.directory_index(hash), &rehash);
        }
        let part = self.part_mut(hash);
        part.entries.insert_unique(hash, value, |&value| rehash(value));
        self.len += 1;
    }

    /// Puts `value` in the place of the one found.
    pub(super) fn replace(&mut self, hash: u64, mut eq: impl FnMut(u32) -> bool, value: u32) {
        let found = self.part_mut(hash).entries.find_mut(hash, |&value| eq(value));
        *found.expect("the value to replace is there") = value;
    }

    pub(super) fn remove(&mut self, hash: u64, mut eq: impl FnMut(u32) -> bool) {
        let part = self.part_mut(hash);
        match part.entries.find_entry(hash, |&value| eq(value)) {
            Ok(entry) => {
                entry.remove();
                if part.entries.is_empty() {
                    part.entries = HashTable::new();
                }
                self.len -= 1;
                if self.len == 0 {
                    *self = Self::new();
                }
            }
            Err(_) => debug_assert!(false, "the value to remove is there"),
        }
    }

    fn directory_index(&self, hash: u64) -> usize {
        if self.depth == 0 { 0 } else { (directory_bits(hash) >> (64 - u32::from(self.depth))) as usize }
    }

    fn part(&self, hash: u64) -> &Part {
        &self.parts[self.directory[self.directory_index(hash)] as usize]
    }

    fn part_mut(&mut self, hash: u64) -> &mut Part {
        let index = self.directory_index(hash);
        &mut self.parts[self.directory[index] as usize]
    }

    fn split(&mut self, index: usize, rehash: impl Fn(u32) -> u64) {
        let old_index = self.directory[index];
        let depth = self.parts[old_index as usize].depth;
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|&part| [part, part]).collect();
            self.depth += 1;
        }
        let new_index = self.parts.len() as u32;
        let bit = 1_u64 << (63 - u32::from(depth));
        let old = &mut self.parts[old_index as usize];
        old.depth += 1;
        let entries = core::mem::take(&mut old.entries);
        let mut halves = [HashTable::with_capacity(entries.len() / 2), HashTable::with_capacity(entries.len() / 2)];
        for value in entries {
            let hash = rehash(value);
            let half = usize::from(directory_bits(hash) & bit != 0);
            halves[half].insert_unique(hash, value, |&value| rehash(value));
        }
        let [low, high] = halves;
        self.parts[old_index as usize].entries = low;
        self.parts.push(Part { entries: high, depth: depth + 1 });
        // Entries of the directory that named the old part, and whose bit is set, name the new one.
        let directory_bit = 1_usize << (self.depth - depth - 1);
        for (index, part) in self.directory.iter_mut().enumerate() {
            if *part == old_index && index & directory_bit != 0 {
                *part = new_index;
            }
        }
    }
}

/// The bits that the directory uses, as leading bits. hashbrown takes its tag from the top seven and its bucket from the
/// low ones, so these come from the middle.
fn directory_bits(hash: u64) -> u64 {
    hash << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(value: u32) -> u64 {
        u64::from(value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xff51_afd7_ed55_8ccd)
    }

    #[test]
    fn values_are_found_through_splits_and_gone_after_removal() {
        let mut table = Table::new();
        for value in 0..50_000 {
            table.insert(hash(value), value, hash);
        }
        assert_eq!(table.len(), 50_000);
        assert!(table.parts.len() > 20, "{} parts", table.parts.len());
        for value in 0..50_000 {
            assert_eq!(table.find(hash(value), |found| found == value), Some(value));
        }
        assert_eq!(table.find(hash(50_000), |found| found == 50_000), None);
        for value in (0..50_000).step_by(2) {
            table.remove(hash(value), |found| found == value);
        }
        for value in 0..50_000 {
            assert_eq!(table.find(hash(value), |found| found == value).is_some(), value % 2 == 1);
        }
        for value in (1..50_000).step_by(2) {
            table.remove(hash(value), |found| found == value);
        }
        assert_eq!((table.len(), table.parts.len()), (0, 1));
    }
}
