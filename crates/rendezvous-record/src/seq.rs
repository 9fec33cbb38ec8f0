//! Sequence numbers for one's own records.

/// Gives strictly increasing sequence numbers in nanoseconds since 1970.
///
/// RFC 0003 asks for a number that grows with every change, and suggests a Unix timestamp. Some
/// implementations count in seconds and some in nanoseconds; nanoseconds are above whatever
/// another one has written for the same key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeqSource {
    last: u64,
}

impl SeqSource {
    /// A source that starts at whatever the clock says first.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: 0 }
    }

    /// A source that continues above `last`, such as a number kept from an earlier run.
    #[must_use]
    pub const fn after(last: u64) -> Self {
        Self { last }
    }

    /// The next number: `now_unix_nanos`, or one more than the last number when the clock has not
    /// moved past it. At `u64::MAX`, which as a time is the year 2554, it stays there.
    pub fn next(&mut self, now_unix_nanos: u64) -> u64 {
        self.last = self.last.saturating_add(1).max(now_unix_nanos);
        self.last
    }

    /// The last number given, or what the source was told to continue above.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_increase_when_the_clock_stands_or_goes_back() {
        let mut source = SeqSource::new();
        let given: Vec<_> = [5, 5, 3, 10, 0].map(|now| source.next(now)).into();
        assert_eq!(given, [5, 6, 7, 10, 11]);
        assert_eq!(source.last(), 11);
    }

    #[test]
    fn a_source_continues_above_an_earlier_run() {
        assert_eq!(SeqSource::after(100).next(50), 101);
        assert_eq!(SeqSource::after(100).next(500), 500);
    }

    #[test]
    fn a_clock_of_zero_gives_no_zero() {
        assert_eq!(SeqSource::new().next(0), 1);
    }

    #[test]
    fn the_largest_number_is_not_passed() {
        let mut source = SeqSource::after(u64::MAX - 1);
        assert_eq!(source.next(0), u64::MAX);
        assert_eq!(source.next(0), u64::MAX);
    }
}
