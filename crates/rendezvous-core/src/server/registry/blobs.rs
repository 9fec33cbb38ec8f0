//! Where the bytes of records live: pages of equal blobs.
//!
//! An allocation of its own would cost each registration a fat pointer, an allocator header and rounding: some 30
//! bytes, half of what a registration may cost. A blob costs its rounding to the next class (2 bytes on average up to
//! 1 KiB, a sixteenth above) and is named by four bytes.
//!
//! A page goes back to the allocator with its last blob, so memory follows what is stored; a page of one class held by
//! a single small registration is at most [`PAGE_BYTES`] or one blob.

/// Size that pages aim at.
const PAGE_BYTES: usize = 16 << 10;

/// Blobs per page at most: one bit each in [`Page::used`].
const PAGE_BLOBS_MAX: usize = 64;

/// Blobs up to this size are rounded up to multiples of [`STEP`].
const FINE_BYTES_MAX: usize = 1 << 10;
const STEP: usize = 4;
const FINE_CLASSES: usize = FINE_BYTES_MAX / STEP;

/// Above, eight classes for each doubling.
const CLASSES_PER_DOUBLING: usize = 8;
const DOUBLINGS: usize = 8;
const CLASSES: usize = FINE_CLASSES + DOUBLINGS * CLASSES_PER_DOUBLING;

const _: () = assert!(CLASSES <= u16::MAX as usize);

/// Largest blob.
pub(super) const BLOB_BYTES_MAX: usize = FINE_BYTES_MAX << DOUBLINGS;

/// Names a blob: its page and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlobId(u32);

impl BlobId {
    pub(super) const NONE: Self = Self(u32::MAX);

    const fn new(page: u32, place: u32) -> Self {
        Self(page << 6 | place)
    }

    const fn page(self) -> u32 {
        self.0 >> 6
    }

    const fn place(self) -> usize {
        (self.0 & 63) as usize
    }
}

#[derive(Debug)]
struct Page {
    data: Box<[u8]>,
    /// A bit for each place that holds a blob.
    used: u64,
    class: u16,
    places: u8,
    /// Index in the class's list of pages with room, if there.
    partial_at: Option<u32>,
}

/// The blobs of a registry.
#[derive(Debug)]
pub(super) struct Blobs {
    pages: Vec<Page>,
    free_pages: Vec<u32>,
    /// For each class the pages that have room.
    partial: Vec<Vec<u32>>,
}

impl Blobs {
    pub(super) fn new() -> Self {
        Self { pages: Vec::new(), free_pages: Vec::new(), partial: vec![Vec::new(); CLASSES] }
    }

    /// Stores a copy of `bytes`, of which there are at most [`BLOB_BYTES_MAX`].
    pub(super) fn insert(&mut self, bytes: &[u8]) -> BlobId {
        let class = class_of(bytes.len());
        let page_index = match self.partial[class].last() {
            Some(&page) => page,
            None => self.add_page(class),
        };
        let page = &mut self.pages[page_index as usize];
        let place = page.used.trailing_ones();
        page.used |= 1 << place;
        let size = class_bytes(class);
        let start = place as usize * size;
        page.data[start..start + bytes.len()].copy_from_slice(bytes);
        if page.used.count_ones() == u32::from(page.places) {
            self.leave_partial(page_index);
        }
        BlobId::new(page_index, place)
    }

    /// The first `len` bytes of a blob.
    pub(super) fn bytes(&self, id: BlobId, len: usize) -> &[u8] {
        let page = &self.pages[id.page() as usize];
        let start = id.place() * class_bytes(usize::from(page.class));
        &page.data[start..start + len]
    }

    pub(super) fn remove(&mut self, id: BlobId) {
        let page_index = id.page();
        let page = &mut self.pages[page_index as usize];
        page.used &= !(1 << id.place());
        if page.used == 0 {
            if page.partial_at.is_some() {
                self.leave_partial(page_index);
            }
            self.pages[page_index as usize].data = Box::default();
            self.free_pages.push(page_index);
            if self.free_pages.len() == self.pages.len() {
                *self = Self::new();
            }
        } else if page.partial_at.is_none() {
            self.join_partial(page_index);
        }
    }

    /// Memory of the pages and their lists.
    pub(super) fn allocated_bytes(&self) -> usize {
        let pages: usize = self.pages.iter().map(|page| page.data.len()).sum();
        let lists: usize = self.partial.iter().map(Vec::capacity).sum();
        pages + self.pages.capacity() * size_of::<Page>() + (self.free_pages.capacity() + lists) * size_of::<u32>()
    }

    fn add_page(&mut self, class: usize) -> u32 {
        let size = class_bytes(class);
        let places = (PAGE_BYTES / size).clamp(1, PAGE_BLOBS_MAX);
        let page = Page {
            data: vec![0; places * size].into_boxed_slice(),
            used: 0,
            class: class as u16,
            places: places as u8,
            partial_at: None,
        };
        let index = match self.free_pages.pop() {
            Some(index) => {
                self.pages[index as usize] = page;
                index
            }
            None => {
                self.pages.push(page);
                (self.pages.len() - 1) as u32
            }
        };
        self.join_partial(index);
        index
    }

    fn join_partial(&mut self, page_index: u32) {
        let page = &mut self.pages[page_index as usize];
        let list = &mut self.partial[usize::from(page.class)];
        page.partial_at = Some(list.len() as u32);
        list.push(page_index);
    }

    fn leave_partial(&mut self, page_index: u32) {
        let page = &mut self.pages[page_index as usize];
        let at = page.partial_at.take().expect("the page is listed") as usize;
        let list = &mut self.partial[usize::from(page.class)];
        list.swap_remove(at);
        if let Some(&moved) = list.get(at) {
            self.pages[moved as usize].partial_at = Some(at as u32);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }
}

/// The class of blobs of `len` bytes.
fn class_of(len: usize) -> usize {
    if len <= FINE_BYTES_MAX {
        return len.div_ceil(STEP).max(1) - 1;
    }
    let doubling = (len - 1).ilog2() as usize - FINE_BYTES_MAX.ilog2() as usize;
    let base = FINE_BYTES_MAX << doubling;
    let step = base / CLASSES_PER_DOUBLING;
    FINE_CLASSES + doubling * CLASSES_PER_DOUBLING + (len - base).div_ceil(step) - 1
}

/// Bytes of a blob of this class.
fn class_bytes(class: usize) -> usize {
    if class < FINE_CLASSES {
        return (class + 1) * STEP;
    }
    let above = class - FINE_CLASSES;
    let base = FINE_BYTES_MAX << (above / CLASSES_PER_DOUBLING);
    base + base / CLASSES_PER_DOUBLING * (above % CLASSES_PER_DOUBLING + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_fits_its_class_and_not_the_one_below() {
        for len in 1..=BLOB_BYTES_MAX {
            let class = class_of(len);
            assert!(class < CLASSES, "{len}");
            assert!(class_bytes(class) >= len, "{len} in class of {}", class_bytes(class));
            if class > 0 {
                assert!(class_bytes(class - 1) < len, "{len} fits the class below");
            }
        }
    }

    #[test]
    fn blobs_keep_their_bytes_and_pages_go_with_their_last_blob() {
        let mut blobs = Blobs::new();
        let mut ids = Vec::new();
        for round in 0..3_000_usize {
            let len = 1 + round * 7 % 2_000;
            let bytes = vec![round as u8; len];
            ids.push((blobs.insert(&bytes), bytes));
            if round % 3 == 0 {
                let (id, bytes) = ids.swap_remove(round % ids.len());
                assert!(blobs.bytes(id, bytes.len()) == bytes, "a blob of {} bytes has changed", bytes.len());
                blobs.remove(id);
            }
        }
        for (id, bytes) in ids {
            assert!(blobs.bytes(id, bytes.len()) == bytes, "a blob of {} bytes has changed", bytes.len());
            blobs.remove(id);
        }
        assert!(blobs.is_empty());
    }
}
