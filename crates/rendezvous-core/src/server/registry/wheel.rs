//! When registrations end: a hierarchical timing wheel, linked through the slots.
//!
//! Each slot is in exactly one bucket, so a renewal moves its one deadline in O(1) and nothing is left behind. Slots
//! move down a level at most [`LEVELS`] times in their life, one at a time, so each call's work has a bound.

use super::slab::{NONE, Slab};
use super::slot::Slot;

const LEVELS: usize = 7;
const LEVEL_BITS: u32 = 5;
const BUCKETS: usize = 1 << LEVEL_BITS;

/// An instant of the registry: tenths of a second since its epoch.
pub(super) type Tick = u32;

/// Buckets of slots by deadline.
#[derive(Debug)]
pub(super) struct Wheel {
    heads: [[u32; BUCKETS]; LEVELS],
    /// For each level a bit for each bucket that is not empty.
    occupied: [u32; LEVELS],
    /// Every deadline before this tick has been handed out.
    elapsed: Tick,
}

impl Wheel {
    pub(super) const fn new() -> Self {
        Self { heads: [[NONE; BUCKETS]; LEVELS], occupied: [0; LEVELS], elapsed: 0 }
    }

    /// Links a slot by its deadline.
    pub(super) fn insert(&mut self, slots: &mut Slab<Slot>, index: u32) {
        let (level, bucket) = self.place(slots[index].deadline);
        let head = self.heads[level][bucket];
        let slot = &mut slots[index];
        slot.bucket = (level * BUCKETS + bucket) as u8;
        slot.prev = NONE;
        slot.next = head;
        if head != NONE {
            slots[head].prev = index;
        }
        self.heads[level][bucket] = index;
        self.occupied[level] |= 1 << bucket;
    }

    /// Unlinks a slot.
    pub(super) fn remove(&mut self, slots: &mut Slab<Slot>, index: u32) {
        let slot = &slots[index];
        let (prev, next) = (slot.prev, slot.next);
        let (level, bucket) = (usize::from(slot.bucket) / BUCKETS, usize::from(slot.bucket) % BUCKETS);
        if next != NONE {
            slots[next].prev = prev;
        }
        if prev == NONE {
            self.heads[level][bucket] = next;
            if next == NONE {
                self.occupied[level] &= !(1 << bucket);
            }
        } else {
            slots[prev].next = next;
        }
    }

    /// The next slot whose deadline is at or before `now`, unlinked; `None` when there is none or `budget` is used up.
    ///
    /// Each slot touched costs one of `budget`, whether it is due or only moves down a level.
    pub(super) fn pop_due(&mut self, slots: &mut Slab<Slot>, now: Tick, budget: &mut usize) -> Option<u32> {
        loop {
            let Some((start, level, bucket)) = self.earliest() else {
                self.elapsed = self.elapsed.max(now);
                return None;
            };
            if start > now {
                self.elapsed = self.elapsed.max(now);
                return None;
            }
            if *budget == 0 {
                return None;
            }
            *budget -= 1;
            self.elapsed = self.elapsed.max(start);
            let index = self.heads[level][bucket];
            self.remove(slots, index);
            if slots[index].deadline <= now {
                return Some(index);
            }
            self.insert(slots, index);
        }
    }

    /// When [`Self::pop_due`] has something to do next, at the latest; `None` when the wheel is empty.
    pub(super) fn next_tick(&self) -> Option<Tick> {
        self.earliest().map(|(start, ..)| start.max(self.elapsed))
    }

    fn place(&self, deadline: Tick) -> (usize, usize) {
        let deadline = deadline.max(self.elapsed);
        let differing = (deadline ^ self.elapsed) | (BUCKETS as u32 - 1);
        let level = ((31 - differing.leading_zeros()) / LEVEL_BITS) as usize;
        (level, (deadline >> (level as u32 * LEVEL_BITS)) as usize % BUCKETS)
    }

    /// First tick, level and number of the earliest bucket that is not empty.
    fn earliest(&self) -> Option<(Tick, usize, usize)> {
        let current = |level: usize| (self.elapsed >> (level as u32 * LEVEL_BITS)) as usize % BUCKETS;
        // The bucket that `elapsed` stands in is being emptied: what is left in it may be due before all else.
        for level in (1..LEVELS).rev() {
            let bucket = current(level);
            if self.occupied[level] & 1 << bucket != 0 {
                return Some((self.elapsed, level, bucket));
            }
        }
        // All others are ahead of `elapsed`, and lower levels come first.
        for level in 0..LEVELS {
            let ahead = self.occupied[level] & (u32::MAX << current(level));
            if ahead != 0 {
                let bucket = ahead.trailing_zeros();
                let shift = level as u32 * LEVEL_BITS;
                let above = u64::from(self.elapsed) >> (shift + LEVEL_BITS) << (shift + LEVEL_BITS);
                let start = above | u64::from(bucket) << shift;
                return Some((start.min(u64::from(Tick::MAX)) as Tick, level, bucket as usize));
            }
        }
        None
    }
}
