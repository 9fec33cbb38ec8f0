//! What a process has used, as Linux counts it in `/proc`.

use std::{fs, io, time::Duration};

/// Clock ticks per second in `/proc/<pid>/stat`: `USER_HZ`, the same on every architecture that Rust runs Linux on.
const TICKS_PER_SEC: u64 = 100;

/// Bytes of a page.
const PAGE_BYTES: u64 = 4_096;

/// Time after the last answer in which a point closes its streams: what it does then belongs to the requests.
const SETTLE: Duration = Duration::from_millis(100);

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all its threads, in user and kernel mode.
    pub cpu: Duration,
    /// Bytes of resident memory.
    pub resident_bytes: u64,
}

impl Usage {
    /// What the process with this id has used once it is done with what it has answered.
    ///
    /// # Errors
    /// See [`Self::of`].
    pub async fn settled(pid: u32) -> io::Result<Self> {
        tokio::time::sleep(SETTLE).await;
        Self::of(pid)
    }

    /// What the process with this id has used.
    ///
    /// CPU time is the scheduler's, in nanoseconds and summed over the threads that live, where the kernel keeps it;
    /// else `utime + stime`, in ticks of 10 ms.
    ///
    /// # Errors
    /// There is no such process, or `/proc` is not Linux's.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (ticks, pages) = parse_stat(&stat).ok_or_else(|| malformed("stat"))?;
        let cpu = match scheduled(pid) {
            Ok(nanos) if nanos > 0 => Duration::from_nanos(nanos),
            _ => Duration::from_millis(ticks * 1_000 / TICKS_PER_SEC),
        };
        Ok(Self { cpu, resident_bytes: pages * PAGE_BYTES })
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

/// Nanoseconds that the threads of a process have run.
fn scheduled(pid: u32) -> io::Result<u64> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
        let ran = schedstat.split_ascii_whitespace().next().and_then(|ran| ran.parse::<u64>().ok());
        nanos += ran.ok_or_else(|| malformed("schedstat"))?;
    }
    Ok(nanos)
}

fn malformed(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc/<pid>/{file} is not as Linux writes it"))
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
    fn this_process_has_used_memory_and_a_process_that_is_none_is_an_error() {
        assert!(Usage::of(std::process::id()).expect("this process is there").resident_bytes > 0);
        assert!(Usage::of(u32::MAX).is_err());
    }
}
