//! The binaries as users run them.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// Longest wait for anything: beyond the back-off of a client that has found its point away twice.
const PATIENCE: Duration = Duration::from_secs(240);

/// Cargo in the workspace, as a user calls it.
///
/// What Cargo and nextest tell the test of its own package is kept from it: build scripts that ask for the same variables,
/// such as that of `ring`, would else be run anew in each test, and everything that depends on them be compiled anew.
#[must_use]
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(args).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let is_own = |name: &str| {
        name == "OUT_DIR" || ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix))
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_own)) {
        command.env_remove(name);
    }
    command
}

/// Builds the operator's binary and says where it is.
///
/// # Panics
/// If it does not build.
#[must_use]
pub fn build() -> PathBuf {
    build_of("rendezvous-cli", "rendezvous")
}

/// Builds a binary of a package and says where it is.
///
/// # Panics
/// If it does not build.
#[must_use]
pub fn build_of(package: &str, binary: &str) -> PathBuf {
    let args = ["build", "--quiet", "--package", package, "--message-format", "json"];
    let output = cargo(&args).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).expect("cargo prints text");
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let binaries = messages.filter(|message| message["target"]["name"] == binary);
    let binary = binaries.filter_map(|message| Some(message["executable"].as_str()?.to_owned())).next();
    binary.expect("cargo names the binary").into()
}

/// A run of the binary, which reads nothing of the user who runs the tests.
#[must_use]
pub fn command(binary: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.args(args).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// The binary while it runs. It does not survive the test.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Starts it with these arguments.
    ///
    /// # Panics
    /// If it cannot be run.
    #[must_use]
    pub fn start(binary: &Path, args: &[&str]) -> Self {
        let mut child =
            command(binary, args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary runs");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    /// The next line.
    ///
    /// # Panics
    /// If there is none by then.
    #[track_caller]
    #[must_use]
    pub fn line_by(&self, deadline: Instant) -> String {
        let left = deadline.saturating_duration_since(Instant::now());
        self.lines.recv_timeout(left).unwrap_or_else(|error| panic!("no line: {error}"))
    }

    /// What comes behind this on the next line that begins with it.
    ///
    /// # Panics
    /// If there is none within a minute.
    #[track_caller]
    #[must_use]
    pub fn line_with(&self, prefix: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{prefix}: {error}"));
            if let Some(rest) = line.strip_prefix(prefix) {
                return rest.to_owned();
            }
        }
    }

    /// The next object of this event that is the right one.
    ///
    /// # Panics
    /// If there is none within a minute.
    #[track_caller]
    pub fn event(&self, name: &str, is_right: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{name}: {error}"));
            let event: Value = serde_json::from_str(&line).expect("it is JSON");
            if event["event"] == name && is_right(&event) {
                return event;
            }
        }
    }

    /// Memory that it has in use, in bytes; `None` where the system does not tell as Linux does.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib << 10)
    }

    /// Ends it as no signal handler can: `kill -9`.
    ///
    /// # Panics
    /// If it has ended already.
    pub fn kill(mut self) {
        assert!(self.child.try_wait().expect("it is a child of this process").is_none(), "it has ended by itself");
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is a child of this process");
    }

    /// Ctrl-C, and the end.
    ///
    /// # Panics
    /// If it does not end within a minute.
    #[must_use]
    pub fn stop(mut self) -> ExitStatus {
        let killed = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(killed.expect("there is a `kill`").success());
        // Its output is read to the end: it ends when the process does.
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it has not ended"),
            }
        }
        self.child.wait().expect("it is a child of this process")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
