//! CPU time, memory and descriptors of a process, as Linux counts them in `/proc`.

use std::{
    fs, io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, interval},
};

/// Clock ticks per second in `/proc/<pid>/stat`: `USER_HZ`, the same on every architecture that Rust runs Linux on.
const TICKS_PER_SEC: u64 = 100;

/// Bytes of a page.
const PAGE_BYTES: u64 = 4_096;

/// Time from one sample to the next.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// A process at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all its threads since its start, in user and kernel mode.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

impl Usage {
    /// The process with this id.
    ///
    /// # Errors
    /// There is no such process, or it has ended.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (ticks, pages) = parse_stat(&stat)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/<pid>/stat is not as Linux writes it"))?;
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64;
        let cpu = Duration::from_millis(ticks * 1_000 / TICKS_PER_SEC);
        Ok(Self { cpu, resident_bytes: pages * PAGE_BYTES, descriptors })
    }
}

/// `utime + stime` in ticks, and resident pages.
fn parse_stat(stat: &str) -> Option<(u64, u64)> {
    // The second field is the program's name in parentheses, which may hold anything.
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    // proc(5) counts from 1, and two fields are cut off: utime is field 14, stime 15, rss 24.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some((field(14)? + field(15)?, field(24)?))
}

/// The highest numbers that a process reaches.
#[derive(Debug)]
pub struct Sampler {
    peak: Arc<Mutex<Usage>>,
    _task: JoinSet<()>,
}

impl Sampler {
    /// Looks at the process every 50 ms, until this is dropped or the process has ended.
    #[must_use]
    pub fn start(pid: u32) -> Self {
        let peak = Arc::<Mutex<Usage>>::default();
        let seen = Arc::clone(&peak);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut ticks = interval(SAMPLE_EVERY);
            loop {
                ticks.tick().await;
                let Ok(now) = Usage::of(pid) else { return };
                let mut peak = seen.lock().unwrap_or_else(PoisonError::into_inner);
                peak.cpu = now.cpu;
                peak.resident_bytes = peak.resident_bytes.max(now.resident_bytes);
                peak.descriptors = peak.descriptors.max(now.descriptors);
            }
        });
        Self { peak, _task: task }
    }

    /// The highest numbers so far; CPU time is the latest.
    #[must_use]
    pub fn peak(&self) -> Usage {
        *self.peak.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// CPU time per second of time between two looks.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    at: Instant,
    cpu: Duration,
}

impl Meter {
    /// Begins to count.
    #[must_use]
    pub fn start(cpu: Duration) -> Self {
        Self { at: Instant::now(), cpu }
    }

    /// Seconds of CPU time per second since then.
    #[must_use]
    pub fn rate(self, cpu: Duration) -> f64 {
        cpu.saturating_sub(self.cpu).as_secs_f64() / self.at.elapsed().as_secs_f64().max(0.001)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_any_name() {
        let stat = "42 (a ) (b) S 1 42 42 0 -1 4194304 1 0 0 0 17 25 0 0 20 0 3 0 100 1000 345 18446744073709551615 1";
        assert_eq!(parse_stat(stat), Some((42, 345)));
        assert_eq!(parse_stat("42 (a"), None);
    }

    #[test]
    fn this_process_has_memory_and_descriptors_and_a_process_that_is_none_is_an_error() {
        let own = Usage::of(std::process::id()).expect("this process is there");
        assert!(own.resident_bytes > 0 && own.descriptors > 0);
        assert!(Usage::of(u32::MAX).is_err());
    }
}
