//! What occurred in runs.

use core::fmt;

use rendezvous_core::server::RefusalKind;

macro_rules! tally {
    ($($name:ident: $text:literal,)*) => {
        /// Counts of what occurred.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is described by its text in `Tally::counts`")]
        pub struct Tally {
            $(pub $name: u64,)*
            /// Refusals by the number of their kind.
            pub refusals: [u64; RefusalKind::ALL.len()],
        }

        impl Tally {
            /// Each count but the refusals, with what it counts.
            #[must_use]
            pub fn counts(&self) -> Vec<(&'static str, u64)> {
                vec![$(($text, self.$name),)*]
            }

            /// Adds another run's.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
                for (sum, count) in self.refusals.iter_mut().zip(other.refusals) {
                    *sum += count;
                }
            }
        }
    };
}

tally! {
    steps: "steps",
    audits: "audits",
    acknowledged: "acknowledged registrations",
    renewals: "renewals",
    withdrawals: "withdrawals",
    lapses: "registrations ended by their TTL",
    pages: "pages",
    walks: "walks to the end",
    walks_over_restarts: "walks over a restart",
    commits: "commits",
    commits_failed: "failed commits",
    commits_cut: "commits cut by a crash",
    commits_long: "commits of seconds",
    commits_back: "changes of unknown outcome found after a crash",
    crashes: "crashes",
    stops: "orderly restarts",
    starts_failed: "failed starts",
    clocks_forward: "clocks set forward",
    clocks_back: "clocks set back",
    peer_restarts: "client restarts",
    peer_deaths: "clients gone for good",
    dials_failed: "failed dials",
    cuts: "cut connections",
    lost: "lost messages",
    resets: "reset streams",
    overtaken: "messages overtaken",
    late: "answers after the deadline",
    slow_readers: "answers cut for a slow reader",
    garbage: "requests that are none",
    forgeries: "requests in another's name",
    floods: "floods",
    lies: "answers of a lying point",
    waits_for_agent: "answers that waited for identify",
    failed_requests: "requests that failed",
    failed_queries: "lookups that failed",
}

impl Tally {
    /// What has not occurred at all.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let counts = self.counts().into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name.to_owned());
        // Nobody here registers without a signature.
        let is_of_legacy_mode = |kind| matches!(kind, RefusalKind::UnsignedNotAccepted | RefusalKind::PeerInfo);
        // The totals of these worlds are so small that their last quarter is one registration, and a share is never less.
        let is_rare = |kind| kind == RefusalKind::NearlyFull;
        let refusals = RefusalKind::ALL.into_iter().filter(|kind| !is_of_legacy_mode(*kind) && !is_rare(*kind));
        let refusals = refusals.filter(|kind| self.refusals[*kind as usize] == 0);
        counts.chain(refusals.map(|kind| format!("refusals {kind:?}"))).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.counts() {
            writeln!(f, "{count:>12} {name}")?;
        }
        for kind in RefusalKind::ALL {
            writeln!(f, "{:>12} refused: {kind:?}", self.refusals[kind as usize])?;
        }
        Ok(())
    }
}
