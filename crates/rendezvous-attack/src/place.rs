//! Which core a child runs on, and how it gives way.

use std::{ffi::OsStr, process::Stdio, thread};

use tokio::process::Command;

/// The core of the point.
pub const POINT: usize = 0;

/// The core of the attacker and the probe.
pub const CLIENTS: usize = 1;

/// How far the attacker gives way to the probe: a third of the probe's weight, so that neither starves.
const NICENESS: &str = "5";

/// A command that runs on this core, where there is more than one and `taskset` is installed.
#[must_use]
pub fn on_core(core: usize, program: impl AsRef<OsStr>) -> Command {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    if cores <= core || !is_installed("taskset") {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.arg("--cpu-list").arg(core.to_string()).arg(program);
    command
}

/// As [`on_core`], and it gives way to everything else on the core: what the attacker computes must not delay the probe.
#[must_use]
pub fn on_core_giving_way(core: usize, program: impl AsRef<OsStr>) -> Command {
    let inner = on_core(core, program);
    if !is_installed("nice") {
        return inner;
    }
    within("nice", &["-n", NICENESS], &inner)
}

/// A command whose soft limit of descriptors is the hard one, where `prlimit` is installed.
#[must_use]
pub fn with_all_descriptors(inner: &Command) -> Command {
    match descriptors_hard() {
        Some(hard) if is_installed("prlimit") => within("prlimit", &[&format!("--nofile={hard}:")], inner),
        _ => within("env", &[], inner),
    }
}

/// A command that another one starts.
#[must_use]
pub fn within(outer: &str, args: &[&str], inner: &Command) -> Command {
    let mut command = Command::new(outer);
    command.args(args).arg(inner.as_std().get_program()).args(inner.as_std().get_args());
    command
}

/// The hard limit of this process's descriptors.
fn descriptors_hard() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    line.split_ascii_whitespace().nth(4)?.parse().ok()
}

/// Whether a tool of the system is there.
#[must_use]
pub fn is_installed(tool: &str) -> bool {
    let mut command = std::process::Command::new(tool);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Whether this user can mount a disk of its own in a namespace of its own.
pub async fn can_mount() -> bool {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}
