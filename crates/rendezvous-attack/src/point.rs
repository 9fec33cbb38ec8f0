//! The point under attack: the operator's binary in a process of its own.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::Stdio,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    place,
    process::{Sampler, Usage},
};

/// Time for a point to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Time for a point to end after SIGTERM.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a point listens, and who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its address for TCP.
    pub tcp: SocketAddr,
    /// Its address for QUIC.
    pub quic: SocketAddr,
    /// Its identity.
    pub peer: PeerId,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{},{}", self.tcp, self.quic, self.peer)
    }
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(',');
        let mut next = || parts.next().context("a target is TCP,QUIC,PEER");
        Ok(Self { tcp: next()?.parse()?, quic: next()?.parse()?, peer: next()?.parse()? })
    }
}

impl Target {
    /// The address for TCP as libp2p writes it.
    #[must_use]
    pub fn multiaddr(&self) -> Multiaddr {
        Multiaddr::from(self.tcp.ip()).with(Protocol::Tcp(self.tcp.port()))
    }

    /// The address for QUIC as libp2p writes it.
    #[must_use]
    pub fn quic_multiaddr(&self) -> Multiaddr {
        Multiaddr::from(self.quic.ip()).with(Protocol::Udp(self.quic.port())).with(Protocol::QuicV1)
    }
}

/// What is done with the point's standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stdout {
    /// It is read.
    #[default]
    Read,
    /// It is a pipe that nobody reads after the point has started.
    Unread,
    /// It is a pipe whose reader goes away after the start.
    Closed,
    /// It is a file on a full disk. The point is reached at ports that are chosen beforehand.
    Full,
}

/// How a point is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Its standard output.
    pub stdout: Stdout,
    /// Its soft limit of open descriptors; the system's without.
    pub descriptors: Option<u32>,
    /// Variables of its environment that scale a total down, so that an attack meets it within seconds.
    pub scaled: Option<(&'static str, &'static str)>,
    /// Size of a disk of its own for its data, in MiB. The data ends with the process.
    pub disk_mib: Option<u32>,
    /// Whether it prints statistics each second, with the names of the namespaces.
    pub prints_much: bool,
}

/// A running point. It does not outlive this value.
#[derive(Debug)]
pub struct Point {
    process: Child,
    /// Its process id.
    pub pid: u32,
    /// Where it is.
    pub target: Target,
    /// The highest numbers of its process.
    pub sampler: Sampler,
    /// Lines that it has written to standard error.
    pub log_lines: Arc<AtomicU64>,
    _output: JoinSet<()>,
    /// An end of a pipe that nobody reads.
    _unread: Option<tokio::process::ChildStdout>,
}

impl Point {
    /// Starts the binary with its defaults on free ports of 127.0.0.1.
    ///
    /// # Errors
    /// It does not start, or prints no address within 20 s.
    pub async fn start(binary: &PathBuf, data: &TempDir, options: Options) -> anyhow::Result<Self> {
        let (tcp, udp) = match options.stdout {
            Stdout::Full => free_ports()?,
            Stdout::Read | Stdout::Unread | Stdout::Closed => (0, 0),
        };
        let mut command = command(binary, data, options);
        command.args(["serve", "--json", "--data-dir"]).arg(data.path());
        command.args(["--listen", &format!("/ip4/127.0.0.1/tcp/{tcp}")]);
        command.args(["--listen", &format!("/ip4/127.0.0.1/udp/{udp}/quic-v1")]);
        if let Some((name, value)) = options.scaled {
            command.env(name, value);
        }
        if options.prints_much {
            command.env("RENDEZVOUS_STATISTICS_INTERVAL_SECS", "1").env("RENDEZVOUS_STATISTICS_NAMESPACES", "true");
        }
        command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        match options.stdout {
            Stdout::Full => command.stdout(std::fs::OpenOptions::new().write(true).open("/dev/full")?),
            Stdout::Read | Stdout::Unread | Stdout::Closed => command.stdout(Stdio::piped()),
        };
        let mut process = command.spawn().with_context(|| format!("{} does not start", binary.display()))?;
        let pid = process.id().context("the point has ended")?;
        let log_lines = Arc::<AtomicU64>::default();
        let mut output = JoinSet::new();
        if let Some(stderr) = process.stderr.take() {
            output.spawn(count_lines(stderr, Arc::clone(&log_lines)));
        }
        let mut unread = None;
        let target = match process.stdout.take() {
            None => at_ports(data, tcp, udp, binary).await?,
            Some(stdout) => {
                let mut reader = BufReader::new(stdout);
                let target =
                    timeout(START_TIMEOUT, started(&mut reader)).await.context("the point does not start")??;
                match options.stdout {
                    Stdout::Read => drop(output.spawn(count_lines(reader, Arc::default()))),
                    Stdout::Unread => unread = Some(reader.into_inner()),
                    Stdout::Closed | Stdout::Full => {}
                }
                target
            }
        };
        Ok(Self { process, pid, target, sampler: Sampler::start(pid), log_lines, _output: output, _unread: unread })
    }

    /// What it uses.
    ///
    /// # Errors
    /// It has ended.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.pid).context("the point has ended")
    }

    /// Why it has ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        match self.process.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// `kill` is not there, or the process is not.
    pub async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let status = Command::new("kill").args(["-s", signal, &self.pid.to_string()]).status().await?;
        ensure!(status.success(), "kill -s {signal} has ended with {status}");
        Ok(())
    }

    /// Ends it, by SIGTERM and after ten seconds by SIGKILL. Whether SIGTERM was enough.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn end(mut self) -> anyhow::Result<bool> {
        if self.ended().is_none() {
            self.signal("TERM").await?;
        }
        match timeout(END_TIMEOUT, self.process.wait()).await {
            Ok(status) => Ok(status.is_ok()),
            Err(_) => {
                self.process.kill().await?;
                Ok(false)
            }
        }
    }

    /// Ends it by SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.process.kill().await?)
    }
}

/// The binary on its core, under its limit of descriptors, with its disk.
fn command(binary: &PathBuf, data: &TempDir, options: Options) -> Command {
    let mut command = place::on_core(place::POINT, binary);
    if let Some(descriptors) = options.descriptors {
        // The soft limit alone: a point may raise it.
        command = place::within("prlimit", &[&format!("--nofile={descriptors}:")], &command);
    }
    if let Some(mib) = options.disk_mib {
        // A namespace of its own: the disk is gone with the process. `exec` keeps the process id.
        let script = "mount -t tmpfs -o size=\"$1\"m tmpfs \"$2\" && shift 2 && exec \"$@\"";
        let data = data.path().to_string_lossy().into_owned();
        let args = ["--map-root-user", "--mount", "sh", "-c", script, "sh", &mib.to_string(), &data];
        command = place::within("unshare", &args, &command);
    }
    command
}

/// Reads the line with which a point says where it is.
async fn started(reader: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> anyhow::Result<Target> {
    let mut line = String::new();
    ensure!(reader.read_line(&mut line).await? > 0, "the point has ended at its start");
    let start: serde_json::Value = serde_json::from_str(&line).context("the point's first line is no JSON")?;
    let peer = start["peer_id"].as_str().context("the point does not name itself")?.parse()?;
    let (mut tcp, mut quic) = (None, None);
    for address in start["addresses"].as_array().context("the point names no address")? {
        let address: Multiaddr = address.as_str().context("an address is no text")?.parse()?;
        let parts: Vec<Protocol<'_>> = address.iter().collect();
        match parts.as_slice() {
            [Protocol::Ip4(ip), Protocol::Tcp(port), ..] => tcp = Some(SocketAddr::from((*ip, *port))),
            [Protocol::Ip4(ip), Protocol::Udp(port), ..] => quic = Some(SocketAddr::from((*ip, *port))),
            _ => {}
        }
    }
    Ok(Target { tcp: tcp.context("no TCP")?, quic: quic.context("no QUIC")?, peer })
}

/// Waits for a point that cannot tell where it is.
async fn at_ports(data: &TempDir, tcp: u16, udp: u16, binary: &PathBuf) -> anyhow::Result<Target> {
    let key = data.path().join("key");
    let address = SocketAddr::from(([127, 0, 0, 1], tcp));
    // Bounded by count: one try each 50 ms.
    for _ in 0..START_TIMEOUT.as_millis() / 50 {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            let shown = Command::new(binary).args(["key", "show", "--json"]).arg(&key).output().await?;
            let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).context("the key is not shown")?;
            let peer = shown["peer"].as_str().context("the key has no peer id")?.parse()?;
            return Ok(Target { tcp: address, quic: SocketAddr::from(([127, 0, 0, 1], udp)), peer });
        }
        sleep(Duration::from_millis(50)).await;
    }
    bail!("the point does not start")
}

/// A port of TCP and one of UDP that are free.
fn free_ports() -> std::io::Result<(u16, u16)> {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0")?;
    let udp = std::net::UdpSocket::bind("127.0.0.1:0")?;
    Ok((tcp.local_addr()?.port(), udp.local_addr()?.port()))
}

async fn count_lines(reader: impl AsyncRead + Unpin, lines: Arc<AtomicU64>) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line).await, Ok(1..)) {
        lines.fetch_add(1, Relaxed);
        line.clear();
    }
}
