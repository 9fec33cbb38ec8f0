//! The statistics that `serve` prints.

use std::fmt;

use rendezvous_core::server::Stats;
use rendezvous_wire::Namespace;
use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::output::{count, printable};

/// Namespaces that a line names.
pub(crate) const TOP: usize = 10;

/// What a point holds, and what has happened since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    stats: Stats,
    /// The fullest namespaces, the fullest first.
    top: Vec<(Namespace, u32)>,
}

impl Snapshot {
    /// The state of a point with these namespaces and their numbers of registrations.
    pub(crate) fn new(stats: Stats, top: Vec<(Namespace, u32)>) -> Self {
        Self { stats, top }
    }

    /// Whether these are the statistics of the same state.
    pub(crate) fn is_of(&self, stats: &Stats) -> bool {
        self.stats == *stats
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats { registrations, namespaces, .. } = self.stats;
        let Stats { registers, renewals, unregisters, discovers, expiries, refusals, .. } = self.stats;
        let held = count(registrations as u64, "registration");
        write!(f, "statistics: {held} in {}", count(namespaces as u64, "namespace"))?;
        for (index, (name, size)) in self.top.iter().enumerate() {
            write!(f, "{}{} {size}", if index == 0 { " (" } else { ", " }, printable(name.as_str()))?;
        }
        if namespaces > self.top.len() && !self.top.is_empty() {
            f.write_str(", …")?;
        }
        f.write_str(if self.top.is_empty() { "" } else { ")" })?;
        let counters = [
            (registers, "register"),
            (renewals, "renewal"),
            (unregisters, "unregister"),
            (discovers, "discover"),
            (expiries, "expiry"),
            (refusals, "refusal"),
        ];
        f.write_str("; so far")?;
        for (index, (number, thing)) in counters.into_iter().enumerate() {
            write!(f, "{} {}", if index == 0 { "" } else { "," }, count(number, thing))?;
        }
        Ok(())
    }
}

/// A namespace as `--json` prints it.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    namespace: &'a str,
    registrations: u32,
}

impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.top.iter();
        let entries = entries.map(|(name, count)| Entry { namespace: name.as_str(), registrations: *count });
        let mut object = serializer.serialize_struct("Stats", 10)?;
        object.serialize_field("event", "stats")?;
        object.serialize_field("registrations", &self.stats.registrations)?;
        object.serialize_field("namespaces", &self.stats.namespaces)?;
        object.serialize_field("top", &entries.collect::<Vec<_>>())?;
        object.serialize_field("registers", &self.stats.registers)?;
        object.serialize_field("renewals", &self.stats.renewals)?;
        object.serialize_field("unregisters", &self.stats.unregisters)?;
        object.serialize_field("discovers", &self.stats.discovers)?;
        object.serialize_field("expiries", &self.stats.expiries)?;
        object.serialize_field("refusals", &self.stats.refusals)?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_namespaces_and_says_if_there_are_more() {
        let mut stats = Stats::default();
        (stats.namespaces, stats.registrations) = (2, 4);
        let name = |name: &str| Namespace::new(name).expect("it is a namespace");
        let whole = Snapshot::new(stats, vec![(name("a"), 3), (name("b\n"), 1)]).to_string();
        assert!(
            whole.starts_with("statistics: 4 registrations in 2 namespaces (a 3, b\\u{a} 1); so far 0 reg"),
            "{whole}"
        );
        let cut = Snapshot::new(stats, vec![(name("a"), 3)]).to_string();
        assert!(cut.contains("(a 3, …); so far"), "{cut}");
    }

    #[test]
    fn an_empty_point_names_no_namespace() {
        let line = Snapshot::default().to_string();
        assert!(line.starts_with("statistics: 0 registrations in 0 namespaces; so far 0 registers, "), "{line}");
    }
}
