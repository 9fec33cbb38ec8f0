//! What a run has measured, the bounds that it must keep, and the table.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use crate::probe::{Kind, Phase, Seen};

/// Bytes of a MiB.
const MIB: u64 = 1 << 20;

/// The point's default for `memory_max`: what it may take beyond its registrations.
pub const MEMORY_MAX_BYTES: u64 = 1_024 * MIB;

/// Memory that may be left of an attack 30 s after it.
pub const LEFT_MAX_BYTES: u64 = 64 * MIB;

/// Memory that a registration may take, its record included. The attacks register records of less than 512 bytes.
pub const REGISTRATION_BYTES: u64 = 1_024;

/// One run of one attack.
#[derive(Clone, Debug)]
pub struct Row {
    /// The attack.
    pub name: String,
    /// What carried it.
    pub carrier: String,
    /// Prefixes that it came from.
    pub prefixes: u32,
    /// What the probe has seen.
    pub seen: BTreeMap<Phase, Seen>,
    /// CPU seconds per second of the point in calm.
    pub cpu_before: f64,
    /// The same during the attack.
    pub cpu_during: f64,
    /// Resident memory in calm, in bytes.
    pub resident_before: u64,
    /// The highest.
    pub resident_peak: u64,
    /// Afterwards: once it is low enough, or after 30 s.
    pub resident_after: u64,
    /// Open descriptors in calm.
    pub descriptors_before: u64,
    /// The most.
    pub descriptors_peak: u64,
    /// Afterwards.
    pub descriptors_after: u64,
    /// Registrations that the attack may have added.
    pub registrations_added: u64,
    /// Lines that the point wrote to standard error.
    pub log_lines: u64,
    /// What the attacker has done.
    pub attacker: serde_json::Value,
    /// The same attack on a bare sink: p99 of a TCP dial and echo beside it, over that in calm.
    pub sink_ratio: Option<f64>,
    /// Why the point has ended, if it has.
    pub ended: Option<String>,
    /// Acknowledged registrations that are not there afterwards.
    pub lost: u64,
    /// Acknowledged registrations that were looked for.
    pub checked: u64,
    /// What else does not hold.
    pub faults: Vec<String>,
    /// Whether the probe was there: without it nothing is asserted of its requests.
    pub is_probed: bool,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            name: String::new(),
            carrier: String::new(),
            prefixes: 1,
            seen: BTreeMap::new(),
            cpu_before: 0.0,
            cpu_during: 0.0,
            resident_before: 0,
            resident_peak: 0,
            resident_after: 0,
            descriptors_before: 0,
            descriptors_peak: 0,
            descriptors_after: 0,
            registrations_added: 0,
            log_lines: 0,
            attacker: serde_json::Value::Null,
            sink_ratio: None,
            ended: None,
            lost: 0,
            checked: 0,
            faults: Vec::new(),
            is_probed: true,
        }
    }
}

impl Row {
    /// Bounds that were not kept: which, and by how much.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        let mut found = self.faults.clone();
        if let Some(ended) = &self.ended {
            found.push(format!("the point must live: it has ended with {ended}"));
        }
        let registrations = self.registrations_added * REGISTRATION_BYTES;
        let peak_max = self.resident_before + MEMORY_MAX_BYTES + registrations;
        if self.resident_peak > peak_max {
            found.push(format!("peak memory: {} MiB, bound {} MiB", self.resident_peak / MIB, peak_max / MIB));
        }
        let after_max = self.resident_before + LEFT_MAX_BYTES + registrations;
        if self.ended.is_none() && self.resident_after > after_max {
            found.push(format!("memory 30 s after: {} MiB, bound {} MiB", self.resident_after / MIB, after_max / MIB));
        }
        if self.is_probed {
            for (phase, seen) in &self.seen {
                if seen.failures() > 0 {
                    let asked = seen.failures() + seen.answers() as u64;
                    let most = seen.failed.iter().max_by_key(|(_, count)| **count);
                    let most = most.map_or(String::new(), |(what, count)| format!(", most of all {what} ({count})"));
                    found.push(format!(
                        "honest requests failed {phase:?}: {} of {asked}, bound 0{most}",
                        seen.failures()
                    ));
                }
            }
            if self.seen.get(&Phase::During).is_none_or(|seen| seen.answers() == 0) {
                found.push("honest requests answered During: 0".to_owned());
            }
        }
        if self.lost > 0 {
            found.push(format!("acknowledged registrations lost: {} of {}, bound 0", self.lost, self.checked));
        }
        found
    }

    /// p99 of a kind of request during the attack, over that in calm.
    #[must_use]
    pub fn ratio(&self, kind: Kind) -> Option<f64> {
        let p99 = |phase| self.seen.get(&phase).and_then(|seen| seen.quantile(kind, 0.99));
        let (before, during) = (p99(Phase::Before)?, p99(Phase::During)?);
        Some(during.as_secs_f64() / before.as_secs_f64().max(1e-6))
    }
}

/// The rows as a table of Markdown.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut table = String::from(
        "| attack | carrier | prefixes | DISCOVER p50 before / during / after, ms | DISCOVER p99 before / during / after, ms \
         | ratio of p99 | connect p99 before / during, ms | sink ratio | honest failures of requests | CPU s/s before / during \
         | RSS before / peak / after, MiB | descriptors before / peak / after | log lines | bounds |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let quantiles = |kind, share, phases: &[Phase]| {
            let times =
                phases.iter().map(|phase| millis(row.seen.get(phase).and_then(|seen| seen.quantile(kind, share))));
            times.collect::<Vec<_>>().join(" / ")
        };
        const ALL: &[Phase] = &[Phase::Before, Phase::During, Phase::After];
        let failed: u64 = row.seen.values().map(Seen::failures).sum();
        let asked = failed + row.seen.values().map(|seen| seen.answers() as u64).sum::<u64>();
        let verdict = if row.violations().is_empty() { "kept" } else { "BROKEN" };
        writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {failed} of {asked} | {:.2} / {:.2} | {} / {} / {} | {} / {} / {} | {} | {verdict} |",
            row.name,
            row.carrier,
            row.prefixes,
            quantiles(Kind::Discover, 0.5, ALL),
            quantiles(Kind::Discover, 0.99, ALL),
            times(row.ratio(Kind::Discover)),
            quantiles(Kind::Connect, 0.99, &ALL[..2]),
            times(row.sink_ratio),
            row.cpu_before,
            row.cpu_during,
            row.resident_before / MIB,
            row.resident_peak / MIB,
            row.resident_after / MIB,
            row.descriptors_before,
            row.descriptors_peak,
            row.descriptors_after,
            row.log_lines,
        )
        .expect("a String takes every write");
    }
    table
}

fn millis(time: Option<Duration>) -> String {
    time.map_or("–".to_owned(), |time| format!("{:.1}", time.as_secs_f64() * 1e3))
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or("–".to_owned(), |ratio| format!("×{ratio:.1}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calm() -> Row {
        let mut answered = Seen::default();
        answered.answered.insert(Kind::Discover, vec![Duration::from_millis(1)]);
        let seen = [(Phase::Before, answered.clone()), (Phase::During, answered.clone()), (Phase::After, answered)];
        Row { seen: seen.into(), resident_before: 20 * MIB, resident_peak: 20 * MIB, ..Row::default() }
    }

    #[test]
    fn a_run_in_which_nothing_happens_keeps_every_bound() {
        assert_eq!(calm().violations(), Vec::<String>::new());
        assert_eq!(calm().ratio(Kind::Discover), Some(1.0));
        assert!(table(&[calm()]).contains("| kept |"));
    }

    #[test]
    fn each_bound_can_be_broken_and_names_its_value() {
        let broken = |change: fn(&mut Row)| {
            let mut row = calm();
            change(&mut row);
            let violations = row.violations();
            assert_eq!(violations.len(), 1, "{violations:?}");
            violations.concat()
        };
        assert!(broken(|row| row.resident_peak = 1_100 * MIB).contains("1100 MiB, bound 1044 MiB"));
        assert!(broken(|row| row.resident_after = 100 * MIB).contains("100 MiB, bound 84 MiB"));
        assert!(broken(|row| row.ended = Some("signal 9".to_owned())).contains("signal 9"));
        assert!(broken(|row| row.lost = 3).contains("lost: 3"));
        assert!(broken(|row| drop(row.seen.remove(&Phase::During))).contains("answered During: 0"));
        let refused = broken(|row| {
            row.seen.entry(Phase::During).or_default().failed.insert("Connect: reset".to_owned(), 2);
        });
        assert!(refused.contains("2 of 3") && refused.contains("Connect: reset"), "{refused}");
    }

    #[test]
    fn registrations_of_the_attack_may_take_their_memory() {
        let row = Row { resident_after: 180 * MIB, registrations_added: 100 << 10, ..calm() };
        assert_eq!(row.violations(), Vec::<String>::new());
    }
}
