//! What must hold, and the report of what did not.

use core::{fmt, time::Duration};

/// What is checked after everything that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// An acknowledged registration is found until it ends, is withdrawn or is replaced, over restarts too.
    Acknowledged,
    /// Nothing is found after its TTL, by the clock of the point.
    Expiry,
    /// Nobody is registered or withdrawn by another.
    Identity,
    /// Following cookies shows everything that is there at the end, and nothing twice unless renewed.
    Cookies,
    /// Quotas and rates are kept, and nothing is refused without cause.
    Quotas,
    /// Memory, queues and the store are bounded.
    Memory,
    /// Each request and each query ends exactly once, in time.
    Answers,
    /// Once faults have ended, everybody is registered, found, and nobody else is.
    Quiet,
}

impl Invariant {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::Acknowledged,
        Self::Expiry,
        Self::Identity,
        Self::Cookies,
        Self::Quotas,
        Self::Memory,
        Self::Answers,
        Self::Quiet,
    ];
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Acknowledged => "what was acknowledged is found",
            Self::Expiry => "nothing is found after its TTL",
            Self::Identity => "nobody acts for another",
            Self::Cookies => "cookies skip nothing and repeat nothing",
            Self::Quotas => "quotas and rates are kept",
            Self::Memory => "memory is bounded",
            Self::Answers => "every request ends once, in time",
            Self::Quiet => "without faults everybody is found",
        })
    }
}

/// An invariant that does not hold, and how that was seen.
pub(super) type Breach = (Invariant, String);

/// An invariant that did not hold in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which run.
    pub seed: u64,
    /// Which invariant.
    pub invariant: Invariant,
    /// Virtual time since the start of the run.
    pub after: Duration,
    /// How it was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, invariant, after, what } = self;
        write!(f, "seed {seed}: not true that {invariant}, at {:.3} s: {what}; ", after.as_secs_f64())?;
        write!(f, "replay: cargo xtask simulate --seed {seed} --trace")
    }
}
