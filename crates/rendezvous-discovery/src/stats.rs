//! Sizes and counts: [`Stats`].

/// Sizes and counts of a manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Sources.
    pub sources: usize,
    /// Advertisements whose handles live.
    pub advertisements: usize,
    /// Queries whose streams live.
    pub finds: usize,
    /// Peers that were found and have not ended.
    pub peers: usize,
    /// What sources tell of them: (source, peer, name).
    pub listings: usize,
    /// What was not taken for want of room: see [`Config::listings_per_source_max`](crate::Config::listings_per_source_max).
    pub refused: u64,
}
