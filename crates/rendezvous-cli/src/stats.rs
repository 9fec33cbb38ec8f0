//! The statistics that `serve` prints.

use std::fmt;

use rendezvous_core::server::Stats;
use rendezvous_swarm::{limits, server::ShellStats};
use rendezvous_wire::Namespace;
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeStruct},
};

use crate::output::{count, printable};

/// Namespaces that a line names.
const TOP: usize = 10;

/// Namespaces that a list names: as many as somebody looks through, and a bound on what is printed at a time.
const LISTED: usize = 1_000;

/// How the namespaces are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Style {
    /// A few of them in the line.
    #[default]
    Line,
    /// Each on a line of its own.
    List,
}

impl Style {
    /// How many namespaces are told, the fullest first.
    pub(crate) fn namespaces_max(self) -> usize {
        match self {
            Self::Line => TOP,
            Self::List => LISTED,
        }
    }
}

/// What this process did not write, since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unwritten {
    pub(crate) stdout_lines: u64,
    pub(crate) stderr_lines: u64,
    /// Lines of the log above the limit of their place in the code.
    pub(crate) log_lines: u64,
}

/// The counters of all parts of a point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) stats: Stats,
    pub(crate) connections: limits::Stats,
    pub(crate) shell: ShellStats,
    pub(crate) transport: rendezvous_host::Stats,
}

/// What a point holds, and what has happened since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    counters: Counters,
    unwritten: Unwritten,
    /// The fullest namespaces, the fullest first.
    top: Vec<(Namespace, u32)>,
    style: Style,
}

impl Snapshot {
    /// The state of a point with these namespaces and their numbers of registrations.
    pub(crate) fn new(counters: Counters, top: Vec<(Namespace, u32)>, style: Style) -> Self {
        Self { counters, unwritten: Unwritten::default(), top, style }
    }

    /// The same with what was not written.
    pub(crate) fn with_unwritten(self, unwritten: Unwritten) -> Self {
        Self { unwritten, ..self }
    }

    /// Whether these are the statistics of the same state. Who comes and goes without a request does not change it, and
    /// who is denied or cut does. Lines that are not written do not: else a statistics line that is dropped would call for
    /// another one.
    pub(crate) fn is_of(&self, counters: &Counters) -> bool {
        self.counters.stats == counters.stats
            && Denied::of(&self.counters.connections) == Denied::of(&counters.connections)
            && limits_met(&self.counters) == limits_met(counters)
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats { registrations, namespaces, .. } = self.counters.stats;
        let Stats { registers, renewals, unregisters, discovers, expiries, refusals, .. } = self.counters.stats;
        let held = count(registrations as u64, "registration");
        write!(f, "statistics: {held} in {}", count(namespaces as u64, "namespace"))?;
        if self.style == Style::Line {
            self.show_top(f)?;
        }
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
        show_counts(f, self.counters.stats.refused.iter().map(|(kind, number)| (kind.name(), number)))?;
        let denied = Denied::of(&self.counters.connections).total();
        write!(f, ", {} denied; {} connected", count(denied, "connection"), self.counters.connections.established)?;
        let met = self.limits_met();
        if met.iter().any(|(_, number)| *number > 0) {
            f.write_str("; limits met")?;
            show_counts(f, met.into_iter().filter(|(_, number)| *number > 0))?;
        }
        if self.style == Style::List {
            for (name, size) in &self.top {
                write!(f, "\n  {size:>8}  {}", printable(name.as_str()))?;
            }
            match namespaces.saturating_sub(self.top.len()) {
                0 => {}
                more => write!(f, "\n            and {} more", count(more as u64, "namespace"))?,
            }
        }
        Ok(())
    }
}

impl Snapshot {
    /// How often each limit was met.
    fn limits_met(&self) -> Vec<(&'static str, u64)> {
        let Unwritten { stdout_lines, stderr_lines, log_lines } = self.unwritten;
        let unwritten = [
            ("stdout_lines_dropped", stdout_lines),
            ("stderr_lines_dropped", stderr_lines),
            ("log_lines_suppressed", log_lines),
        ];
        limits_met(&self.counters).into_iter().chain(unwritten).collect()
    }

    /// Names the fullest namespaces within the line.
    fn show_top(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, size)) in self.top.iter().enumerate() {
            write!(f, "{}{} {size}", if index == 0 { " (" } else { ", " }, printable(name.as_str()))?;
        }
        if self.counters.stats.namespaces > self.top.len() && !self.top.is_empty() {
            f.write_str(", …")?;
        }
        f.write_str(if self.top.is_empty() { "" } else { ")" })
    }
}

/// Numbers of things in parentheses; nothing if there are none.
fn show_counts<'a>(f: &mut fmt::Formatter<'_>, counts: impl Iterator<Item = (&'a str, u64)>) -> fmt::Result {
    let mut is_first = true;
    for (name, number) in counts {
        write!(f, "{}{name} {number}", if is_first { " (" } else { ", " })?;
        is_first = false;
    }
    f.write_str(if is_first { "" } else { ")" })
}

/// How often each limit of streams, answers, connections, the store and the transport was met. Idle connections that are closed
/// are an everyday event, and are told beside the connections.
fn limits_met(Counters { shell, connections, transport, .. }: &Counters) -> [(&'static str, u64); 22] {
    [
        ("streams_refused", shell.streams_refused),
        ("streams_refused_in_all", shell.streams_refused_in_all),
        ("streams_evicted", shell.streams_evicted),
        ("bad_frames", shell.bad_frames),
        ("slow_senders", shell.slow_senders),
        ("slow_readers", shell.slow_readers),
        ("idle_streams", shell.idle_streams),
        ("spent_streams", shell.spent_streams),
        ("pages_awaited", shell.pages_awaited),
        ("pages_shrunk", shell.pages_shrunk),
        ("pages_refused", shell.pages_refused),
        ("requests_refused", shell.requests_refused),
        ("pipelined_refused", shell.pipelined_refused),
        ("negotiating_closed", shell.negotiating_closed),
        ("slow_commits", shell.slow_commits),
        ("commits_failed", shell.commits_failed),
        ("connections_displaced", connections.displaced_closed),
        ("connections_unresponsive", connections.unresponsive_closed),
        ("handshakes_evicted", transport.handshakes_evicted),
        ("closed_unread", transport.closed_unread),
        ("closed_under_pressure", transport.closed_under_pressure),
        ("closed_stalled", transport.closed_stalled),
    ]
}

/// Numbers by name as `--json` prints them.
struct Counts(Vec<(&'static str, u64)>);

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, number) in &self.0 {
            map.serialize_entry(name, number)?;
        }
        map.end()
    }
}

/// The store as `--json` prints it.
#[derive(Debug, Serialize)]
struct Store {
    commits: u64,
    changes: u64,
}

/// A namespace as `--json` prints it.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    namespace: &'a str,
    registrations: u32,
}

/// The connections as `--json` prints them.
#[derive(Debug, Serialize)]
struct Connections {
    established: usize,
    pending: usize,
    peers: usize,
    prefixes: usize,
    closing: usize,
    idle_closed: u64,
    denied: Denied,
}

impl Connections {
    fn of(stats: &limits::Stats) -> Self {
        let limits::Stats { established, pending, peers, prefixes, closing, idle_closed, .. } = *stats;
        Self { established, pending, peers, prefixes, closing, idle_closed, denied: Denied::of(stats) }
    }
}

/// The transport as `--json` prints it.
#[derive(Debug, Serialize)]
struct Transport {
    unread_bytes: usize,
    unsent_bytes: usize,
    handshakes_tcp: usize,
    handshakes_quic: usize,
    handshakes_delayed: u64,
    closes_cut_short: u64,
    throttled: u64,
    is_squeezing: bool,
}

impl Transport {
    fn of(stats: &rendezvous_host::Stats) -> Self {
        Self {
            unread_bytes: stats.unread_bytes,
            unsent_bytes: stats.unsent_bytes,
            handshakes_tcp: stats.handshakes_tcp,
            handshakes_quic: stats.handshakes_quic,
            handshakes_delayed: stats.handshakes_delayed,
            closes_cut_short: stats.closes_cut_short,
            throttled: stats.throttled,
            is_squeezing: stats.is_squeezing,
        }
    }
}

/// The connections denied so far, by the setting that they met, in `[connections]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Denied {
    max: u64,
    per_peer_max: u64,
    per_prefix_max: u64,
    pending_max: u64,
    pending_per_prefix_max: u64,
}

impl Denied {
    fn of(stats: &limits::Stats) -> Self {
        Self {
            max: stats.connections_denied,
            per_peer_max: stats.connections_per_peer_denied,
            per_prefix_max: stats.connections_per_prefix_denied,
            pending_max: stats.pending_denied,
            pending_per_prefix_max: stats.pending_per_prefix_denied,
        }
    }

    fn total(&self) -> u64 {
        self.max + self.per_peer_max + self.per_prefix_max + self.pending_max + self.pending_per_prefix_max
    }
}

impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.top.iter();
        let entries = entries.map(|(name, count)| Entry { namespace: name.as_str(), registrations: *count });
        let mut object = serializer.serialize_struct("Stats", 15)?;
        object.serialize_field("event", "stats")?;
        object.serialize_field("registrations", &self.counters.stats.registrations)?;
        object.serialize_field("namespaces", &self.counters.stats.namespaces)?;
        object.serialize_field("top", &entries.collect::<Vec<_>>())?;
        object.serialize_field("registers", &self.counters.stats.registers)?;
        object.serialize_field("renewals", &self.counters.stats.renewals)?;
        object.serialize_field("unregisters", &self.counters.stats.unregisters)?;
        object.serialize_field("discovers", &self.counters.stats.discovers)?;
        object.serialize_field("expiries", &self.counters.stats.expiries)?;
        object.serialize_field("refusals", &self.counters.stats.refusals)?;
        let refused = self.counters.stats.refused.iter().map(|(kind, number)| (kind.name(), number));
        object.serialize_field("refused", &Counts(refused.collect()))?;
        object.serialize_field("limits_met", &Counts(self.limits_met()))?;
        let store = Store { commits: self.counters.shell.commits, changes: self.counters.shell.changes };
        object.serialize_field("store", &store)?;
        object.serialize_field("connections", &Connections::of(&self.counters.connections))?;
        object.serialize_field("transport", &Transport::of(&self.counters.transport))?;
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
        let counters = Counters { stats, ..Counters::default() };
        let whole = Snapshot::new(counters, vec![(name("a"), 3), (name("b\n"), 1)], Style::Line).to_string();
        assert!(
            whole.starts_with("statistics: 4 registrations in 2 namespaces (a 3, b\\u{a} 1); so far 0 reg"),
            "{whole}"
        );
        let cut = Snapshot::new(counters, vec![(name("a"), 3)], Style::Line).to_string();
        assert!(cut.contains("(a 3, …); so far"), "{cut}");
    }

    #[test]
    fn a_list_has_a_line_per_namespace_and_says_how_many_there_are_besides() {
        let mut stats = Stats::default();
        (stats.namespaces, stats.registrations) = (7, 12);
        let top = vec![(Namespace::new("a").expect("it is a namespace"), 6)];
        let counters = Counters { stats, ..Counters::default() };
        let list = Snapshot::new(counters, top, Style::List).to_string();
        let lines: Vec<&str> = list.lines().collect();
        assert!(lines[0].starts_with("statistics: 12 registrations in 7 namespaces; so far"), "{list}");
        assert_eq!(lines[1..], ["         6  a", "            and 6 namespaces more"]);
    }

    #[test]
    fn an_empty_point_names_no_namespace() {
        let line = Snapshot::default().to_string();
        assert!(line.starts_with("statistics: 0 registrations in 0 namespaces; so far 0 registers, "), "{line}");
    }

    #[test]
    fn limits_that_were_met_are_told_and_others_are_not() {
        let mut counters = Counters::default();
        let line = |counters| Snapshot::new(counters, Vec::new(), Style::Line);
        assert!(!line(counters).to_string().contains("limits met"));
        (counters.shell.slow_readers, counters.shell.commits_failed) = (2, 1);
        let line = line(counters);
        assert!(line.to_string().ends_with("; limits met (slow_readers 2, commits_failed 1)"), "{line}");
        let unwritten = Unwritten { stdout_lines: 3, ..Unwritten::default() };
        let unwritten = Snapshot::default().with_unwritten(unwritten);
        assert!(unwritten.to_string().ends_with("; limits met (stdout_lines_dropped 3)"), "{unwritten}");
        assert!(unwritten.is_of(&Counters::default()));
        assert!(!Snapshot::default().is_of(&counters));
    }
}
