//! How many descriptors the process may have open, and what that leaves for connections.
//!
//! A TCP connection takes a descriptor, and so does a file of the store. If connections took the last one, the store
//! could open no file and the point would refuse registrations, and newcomers would wait for their timeout unheard. So
//! `serve` raises the limit as far as it may, and lowers `connections.max` where even that is too little: newcomers above
//! it are turned away at once, and the store keeps what it needs.

use std::fmt;

use rendezvous_swarm::limits;

/// Descriptors of the process itself: standard streams, the runtime, signals, the key, and connections that are accepted
/// only to be turned away.
const OWN: u64 = 24;

/// Descriptors of a listener: its socket, and the watch over the interfaces.
const PER_LISTENER: u64 = 3;

/// Descriptors of the store: 48 tables that it keeps open, its locks and logs, and the files that a compaction writes.
const STORE: u64 = 64;

/// One of so many places is for a connection that is being closed, which keeps its descriptor meanwhile.
const CLOSING_SHARE: u64 = 8;

/// The key of the setting that may be lowered.
pub(crate) const SETTING: &str = "connections.max";

/// What the limit of descriptors leaves for connections, where that is less than the settings say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lowered {
    /// The limit of descriptors.
    limit: u64,
    /// Established connections, in place of `connections.max`.
    pub(crate) connections: usize,
    /// Connections that are being set up, in place of `connections.pending_max`.
    pending: usize,
    /// As the settings say.
    wanted: usize,
}

impl Lowered {
    /// What is left under this limit; `None` if it is enough, or if there is no limit.
    pub(crate) fn of(limit: Option<u64>, limits: &limits::Config, listeners: usize, has_store: bool) -> Option<Self> {
        let limit = limit?;
        // Under a limit that is very low, the store is as modest as everything else.
        let store = if has_store { STORE.min(limit / 4) } else { 0 };
        let left = limit.saturating_sub(OWN).saturating_sub(PER_LISTENER * listeners as u64).saturating_sub(store);
        let left = usize::try_from(left - left / CLOSING_SHARE).unwrap_or(usize::MAX);
        let pending = limits.pending_max.min(left / 4).max(1);
        let connections = limits.connections_max.min(left.saturating_sub(pending)).max(1);
        let is_lower = connections < limits.connections_max || pending < limits.pending_max;
        is_lower.then_some(Self { limit, connections, pending, wanted: limits.connections_max })
    }

    /// Lowers the limits on connections.
    pub(crate) fn apply(&self, limits: &mut limits::Config) {
        limits.connections_max = self.connections;
        limits.pending_max = self.pending;
    }
}

impl fmt::Display for Lowered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, connections, wanted, .. } = self;
        write!(
            f,
            "{connections} connections at most in place of {wanted} (connections.max), since this process may open {limit} files: \
             raise that with `ulimit -n`, or LimitNOFILE= of systemd"
        )
    }
}

/// Raises the limit of descriptors to what the process may have; the limit then. `None` if there is none, or none is known.
#[cfg(unix)]
pub(crate) fn raise() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Some systems report no limit and refuse to set none: then as many as any default of ours needs.
    for wanted in [maximum, Some(ENOUGH)] {
        let is_more = wanted.is_none_or(|wanted| current.is_some_and(|current| wanted > current));
        if is_more && current.is_some() && setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum }).is_ok() {
            return wanted;
        }
    }
    current
}

/// What [`raise`] would come to.
#[cfg(unix)]
pub(crate) fn attainable() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum
}

/// Descriptors for the default of `connections.max`, and as many again.
#[cfg(unix)]
const ENOUGH: u64 = 20_480;

#[cfg(not(unix))]
pub(crate) fn raise() -> Option<u64> {
    None
}

#[cfg(not(unix))]
pub(crate) fn attainable() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lowered(limit: u64) -> Option<Lowered> {
        Lowered::of(Some(limit), &limits::Config::default(), 4, true)
    }

    #[test]
    fn a_limit_that_is_high_enough_changes_nothing() {
        assert_eq!(Lowered::of(None, &limits::Config::default(), 4, true), None);
        assert_eq!(lowered(20_000), None);
    }

    #[test]
    fn connections_and_those_being_set_up_leave_the_store_its_files() {
        for limit in [64, 128, 256, 1_024, 4_096, 10_000] {
            let lowered = lowered(limit).expect("it is too low");
            let taken = (lowered.connections + lowered.pending) as u64;
            let kept = STORE.min(limit / 4) + OWN + 4 * PER_LISTENER;
            assert!(taken >= 2 && taken + kept <= limit, "{limit}: {lowered:?}");
        }
    }

    #[test]
    fn the_note_names_the_limit_and_how_to_raise_it() {
        let note = lowered(1_024).expect("it is too low").to_string();
        assert!(note.contains("may open 1024 files") && note.contains("in place of 10000"), "{note}");
        assert!(note.contains("ulimit -n") && note.contains("LimitNOFILE"), "{note}");
    }
}
