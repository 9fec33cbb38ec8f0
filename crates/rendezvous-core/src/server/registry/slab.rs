//! Slots in chunks: growing moves nothing, so no single operation pays for a large copy.

/// Slots per chunk.
const CHUNK_SLOTS: usize = 1_024;

/// Index that names no slot.
pub(super) const NONE: u32 = u32::MAX;

/// A value that can stand in a free list while it is unused.
pub(super) trait Entry: Clone {
    /// An unused entry.
    const VACANT: Self;
    /// The next free index, kept in an unused entry.
    fn next_free(&self) -> u32;
    /// Sets the next free index of an unused entry.
    fn set_next_free(&mut self, next: u32);
}

/// Entries addressed by stable `u32` indexes, reused last in, first out.
#[derive(Debug)]
pub(super) struct Slab<T> {
    chunks: Vec<Box<[T]>>,
    free: u32,
    /// Indexes from here on have never been used.
    fresh: u32,
    len: usize,
}

impl<T: Entry> Slab<T> {
    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new(), free: NONE, fresh: 0, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether another entry has an index; the bound is far above every quota.
    pub(super) fn has_room(&self) -> bool {
        self.free != NONE || self.fresh < NONE >> 1
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        self.chunks.len() * CHUNK_SLOTS * size_of::<T>() + self.chunks.capacity() * size_of::<Box<[T]>>()
    }

    pub(super) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        let index = if self.free == NONE {
            let index = self.fresh;
            if index as usize == self.chunks.len() * CHUNK_SLOTS {
                self.chunks.push(vec![T::VACANT; CHUNK_SLOTS].into_boxed_slice());
            }
            self.fresh += 1;
            index
        } else {
            let index = self.free;
            self.free = self[index].next_free();
            index
        };
        self[index] = value;
        index
    }

    pub(super) fn remove(&mut self, index: u32) {
        self.len -= 1;
        if self.len == 0 {
            // An empty registry holds no memory.
            *self = Self::new();
            return;
        }
        self[index] = T::VACANT;
        let free = self.free;
        self[index].set_next_free(free);
        self.free = index;
    }
}

impl<T> core::ops::Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        &self.chunks[index as usize / CHUNK_SLOTS][index as usize % CHUNK_SLOTS]
    }
}

impl<T> core::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.chunks[index as usize / CHUNK_SLOTS][index as usize % CHUNK_SLOTS]
    }
}
