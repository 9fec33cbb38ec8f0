//! Runs the binary as a user does, and waits for what it prints.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Longest wait for anything: beyond the back-off of a client that has found its point away twice.
const PATIENCE: Duration = Duration::from_secs(240);

/// The binary.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rendezvous"));
    // Nothing of the user who runs the tests is read or written.
    let settings =
        std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("RENDEZVOUS_"));
    settings.for_each(|name| _ = command.env_remove(name));
    // A data directory serves one point at a time.
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let data_home = fresh(&format!("data-home-{}-{run}", std::process::id()));
    command.env_remove("RUST_LOG").env("XDG_DATA_HOME", data_home);
    command
}

/// An empty place for files, which only this name has.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}"));
    fs::create_dir_all(&path).expect("the target directory can be written");
    path
}

/// An empty place for files, cleared of what an earlier run has left.
pub(crate) fn fresh(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}"));
    if path.exists() {
        fs::remove_dir_all(&path).expect("the target directory can be written");
    }
    scratch(name)
}

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Ended {
    /// Checks the status, and that there is no more than one line of error beside the log, which it returns.
    #[track_caller]
    pub(crate) fn error(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        // A line of the log begins with its time.
        let is_log =
            |line: &&String| line.starts_with("20") && line.split(' ').next().is_some_and(|time| time.ends_with('Z'));
        let lines: Vec<_> = self.stderr.iter().filter(|line| !is_log(line)).collect();
        let [line] = lines.as_slice() else { panic!("one line: {self:?}") };
        assert!(line.starts_with("error: "), "{line}");
        line
    }

    #[track_caller]
    pub(crate) fn succeeded(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
}

/// Runs the binary to its end.
pub(crate) fn run(args: &[&str]) -> Ended {
    Running::start(args).ended()
}

/// The binary while it runs. It does not survive the test.
pub(crate) struct Running {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Running {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::spawn(program().args(args))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self::spawn_as_it_is(command.stdin(Stdio::null()))
    }

    /// With the standard input that the command has.
    pub(crate) fn spawn_as_it_is(command: &mut Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let stdout = lines(child.stdout.take().expect("it is piped"));
        let stderr = lines(child.stderr.take().expect("it is piped"));
        Self { child, stdout, stderr }
    }

    /// The next line of standard output.
    #[track_caller]
    pub(crate) fn line(&self) -> String {
        match self.stdout.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(error) => panic!("a line: {error}; {:?}", self.stderr.try_iter().collect::<Vec<_>>()),
        }
    }

    /// The next line of standard output that begins so; what comes before it is skipped.
    #[track_caller]
    pub(crate) fn line_with(&self, prefix: &str) -> String {
        loop {
            let line = self.line();
            if line.starts_with(prefix) {
                return line;
            }
        }
    }

    /// The next line of standard error that contains this.
    #[track_caller]
    pub(crate) fn note_with(&self, part: &str) -> String {
        loop {
            let line = self.stderr.recv_timeout(PATIENCE).expect("a note");
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Sends a signal, by its name without "SIG".
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(status.expect("there is a `kill`").success());
    }

    /// Waits for the end.
    pub(crate) fn ended(mut self) -> Ended {
        // Both pipes are read to their ends in threads, so that the child cannot wait for its reader.
        let end = Instant::now() + PATIENCE;
        let (stdout, stderr) = (rest(&self.stdout, end), rest(&self.stderr, end));
        let status = self.child.wait().expect("it is a child of this process");
        Ended { code: status.code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A point on loopback, on any port.
pub(crate) struct Point {
    pub(crate) running: Running,
    /// Its address with its peer id.
    pub(crate) address: String,
    pub(crate) peer: String,
}

impl Point {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_with_key(&fresh_key("point"), args)
    }

    pub(crate) fn start_with_key(key: &str, args: &[&str]) -> Self {
        Self::listen("/ip4/127.0.0.1/tcp/0", key, args)
    }

    /// On an address that was listened on before.
    pub(crate) fn start_at(address: &str, key: &str) -> Self {
        Self::listen(address, key, &[])
    }

    /// Stops it as an operator does; its address without the peer id, and the peer id, are left.
    pub(crate) fn stop(self) -> (String, String) {
        self.running.signal("INT");
        self.running.ended().succeeded();
        let (address, _) = self.address.split_once("/p2p/").expect("it has a peer id");
        (address.to_owned(), self.peer)
    }

    fn listen(address: &str, key: &str, args: &[&str]) -> Self {
        let listen = ["serve", "--listen", address, "--key", key];
        let running = Running::start(&[&listen, args].concat());
        let first = running.line();
        let peer = first.strip_prefix("peer id: ").expect("the peer id comes first").to_owned();
        let second = running.line();
        let address = second.strip_prefix("listening: ").expect("then the address").to_owned();
        assert!(running.line().starts_with("store: "));
        assert!(running.line().starts_with("try: "));
        Self { running, address, peer }
    }
}

/// A path for a key that nobody else uses and that is not there yet.
pub(crate) fn fresh_key(name: &str) -> String {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let directory = scratch("keys");
    let path = directory.join(format!("{name}-{}-{number}", std::process::id()));
    let _ = fs::remove_file(&path);
    path.to_str().expect("the target directory is UTF-8").to_owned()
}

/// Writes a file as private as a key is, so that nothing is said about its mode.
pub(crate) fn write_private(path: &str, bytes: &[u8]) {
    fs::write(path, bytes).expect("the target directory can be written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    }
}

/// The names of an object's fields, sorted.
#[track_caller]
pub(crate) fn fields(line: &str) -> Vec<String> {
    let value: serde_json::Value = serde_json::from_str(line).expect(line);
    let mut fields: Vec<String> = value.as_object().expect("an object").keys().cloned().collect();
    fields.sort();
    fields
}

/// A field of an object, as text.
#[track_caller]
pub(crate) fn text(line: &str, field: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(line).expect(line);
    value[field].as_str().expect(field).to_owned()
}

fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn rest(lines: &Receiver<String>, end: Instant) -> Vec<String> {
    let mut rest = Vec::new();
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => rest.push(line),
            Err(RecvTimeoutError::Disconnected) => return rest,
            Err(RecvTimeoutError::Timeout) => panic!("it has not ended; so far {rest:?}"),
        }
    }
}
