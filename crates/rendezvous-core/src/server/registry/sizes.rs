//! A bound on the largest record, kept up to date as records come and go.

use super::RECORD_BYTES_CEILING;

/// Bytes from one class of sizes to the next. A usual record has 200 to 400 bytes, so the bound is close to its size.
const STEP_BYTES: usize = 256;

/// Numbers of records by size class.
#[derive(Debug)]
pub(super) struct Sizes {
    counts: [u32; RECORD_BYTES_CEILING / STEP_BYTES],
}

impl Sizes {
    pub(super) const fn new() -> Self {
        Self { counts: [0; RECORD_BYTES_CEILING / STEP_BYTES] }
    }

    /// Counts the records of a registration; a length of zero is no record.
    pub(super) fn add(&mut self, lens: [u16; 2]) {
        for class in lens.into_iter().filter_map(class_of) {
            self.counts[class] += 1;
        }
    }

    /// Takes the records of a registration out again.
    pub(super) fn remove(&mut self, lens: [u16; 2]) {
        for class in lens.into_iter().filter_map(class_of) {
            self.counts[class] -= 1;
        }
    }

    /// Bytes that no record exceeds; less than [`STEP_BYTES`] above the largest one, and zero without records.
    pub(super) fn largest(&self) -> usize {
        self.counts.iter().rposition(|&count| count > 0).map_or(0, |class| (class + 1) * STEP_BYTES)
    }
}

fn class_of(len: u16) -> Option<usize> {
    Some(usize::from(len.checked_sub(1)?) / STEP_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_follows_the_largest_record() {
        let mut sizes = Sizes::new();
        assert_eq!(sizes.largest(), 0);
        sizes.add([200, 0]);
        assert_eq!(sizes.largest(), 256);
        sizes.add([256, 257]);
        assert_eq!(sizes.largest(), 512);
        sizes.add([RECORD_BYTES_CEILING as u16, 0]);
        assert_eq!(sizes.largest(), RECORD_BYTES_CEILING);
        sizes.remove([RECORD_BYTES_CEILING as u16, 0]);
        sizes.remove([256, 257]);
        assert_eq!(sizes.largest(), 256);
        sizes.remove([200, 0]);
        assert_eq!(sizes.largest(), 0);
    }
}
