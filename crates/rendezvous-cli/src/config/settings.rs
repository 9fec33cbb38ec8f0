//! The settings of a point, as `serve` uses them.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use rendezvous_core::server::{ExemptNetworks, Rate, WORK_MAX_PER_SEC, WORK_PER_PEER, WORK_PER_PREFIX, WorkRate};
use rendezvous_host::MemoryShares;
use rendezvous_swarm::{limits, server};

use super::size::ByteSize;
use crate::{address::ListenAddress, args::PORT_DEFAULT, error::Error, node};

/// Memory for connections, requests and answers: room for the default bounds on a machine of 2 GiB.
const MEMORY_MAX: ByteSize = ByteSize(rendezvous_host::MEMORY_MAX as u64);

/// File in the data directory that holds the key.
const KEY_FILE: &str = "key";

/// Everything that an operator can set. What the libraries take is held in their own types; the defaults of those are
/// the defaults here.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) listen: Vec<ListenAddress>,
    /// File with the key; `None` only where there is no home directory either.
    pub(crate) key: Option<PathBuf>,
    /// Directory for what is kept; `None` only where there is no home directory.
    pub(crate) data_dir: Option<PathBuf>,
    /// Whether registrations are kept in memory only.
    pub(crate) ephemeral: bool,
    pub(crate) json: bool,
    /// Memory that the point may take beyond its registrations.
    pub(crate) memory_max: ByteSize,
    pub(crate) statistics: Statistics,
    pub(crate) server: server::Config,
    pub(crate) rates: Rates,
    pub(crate) work: Work,
    pub(crate) connections: Connections,
    /// Bounds of the transport.
    pub(crate) transport: rendezvous_host::Config,
}

/// What is printed of the statistics.
#[derive(Clone, Debug)]
pub(crate) struct Statistics {
    pub(crate) interval: Duration,
    /// Whether the namespaces are listed.
    pub(crate) namespaces: bool,
}

/// How often requests may come; [`Rates`] become [`Rate`]s when all is read, since their parts are set one by one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    pub(crate) per_peer: Frequency,
    pub(crate) per_prefix: Frequency,
}

/// The parts of a [`Rate`].
#[derive(Clone, Debug)]
pub(crate) struct Frequency {
    /// `None` for no limit.
    pub(crate) burst: Option<u32>,
    pub(crate) period_millis: u64,
}

impl Default for Frequency {
    fn default() -> Self {
        Self { burst: None, period_millis: 1_000 }
    }
}

impl Frequency {
    fn rate(&self) -> Option<Rate> {
        self.burst.map(|burst| Rate { burst, period: Duration::from_millis(self.period_millis) })
    }
}

/// How much of the processor's time requests may take; it becomes [`WorkRate`]s when all is read.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) per_peer: WorkShare,
    pub(crate) per_prefix: WorkShare,
    /// `None` for no limit.
    pub(crate) max_millis_per_sec: Option<u32>,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            per_peer: WorkShare::of(WORK_PER_PEER),
            per_prefix: WorkShare::of(WORK_PER_PREFIX),
            max_millis_per_sec: Some(millis(WORK_MAX_PER_SEC)),
        }
    }
}

/// The parts of a [`WorkRate`].
#[derive(Clone, Debug)]
pub(crate) struct WorkShare {
    /// `None` for no limit.
    pub(crate) burst_millis: Option<u32>,
    pub(crate) millis_per_sec: u64,
}

impl WorkShare {
    fn of(rate: WorkRate) -> Self {
        Self { burst_millis: Some(millis(rate.burst)), millis_per_sec: millis(rate.per_sec).into() }
    }

    fn rate(&self) -> Option<WorkRate> {
        let burst = Duration::from_millis(self.burst_millis?.into());
        Some(WorkRate { burst, per_sec: Duration::from_millis(self.millis_per_sec) })
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// Limits on connections.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    pub(crate) limits: limits::Config,
    /// Networks whose connections have no share per IP prefix.
    pub(crate) exempt: ExemptNetworks,
}

impl Default for Connections {
    fn default() -> Self {
        let mut limits = limits::Config::default();
        // The transport chooses whose handshake goes when there are too many, so a network may have half of them.
        limits.pending_per_prefix_max = limits.pending_max / 2;
        Self { limits, exempt: ExemptNetworks::default() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: node::everywhere(PORT_DEFAULT).map(ListenAddress).into(),
            key: None,
            data_dir: None,
            ephemeral: false,
            json: false,
            memory_max: MEMORY_MAX,
            statistics: Statistics { interval: Duration::from_secs(10), namespaces: false },
            server: server::Config::default(),
            rates: Rates::default(),
            work: Work::default(),
            connections: Connections::default(),
            transport: rendezvous_host::Config::default(),
        }
    }
}

impl Settings {
    /// Fills in what follows from other settings, or from the machine.
    pub(super) fn complete(&mut self) {
        self.data_dir = self.data_dir.take().or_else(default_data_dir);
        let in_data_dir = || self.data_dir.as_ref().map(|directory| directory.join(KEY_FILE));
        self.key = self.key.take().or_else(in_data_dir);
        let server = &mut self.server.server;
        server.ttl_default = server.ttl_default.clamp(server.ttl_min, server.ttl_max);
        server.rate_per_peer = self.rates.per_peer.rate();
        server.rate_per_prefix = self.rates.per_prefix.rate();
        server.work_per_peer = self.work.per_peer.rate();
        server.work_per_prefix = self.work.per_prefix.rate();
        server.work_max_per_sec = self.work.max_millis_per_sec.map(|millis| Duration::from_millis(millis.into()));
        self.share_memory();
        self.server.exempt = self.connections.exempt.clone();
        self.connections.limits.exempt = self.connections.exempt.clone();
        self.transport.exempt = self.connections.exempt.clone();
    }

    /// Brings each bound on memory within its share of [`Self::memory_max`].
    fn share_memory(&mut self) {
        let shares = MemoryShares::of(usize::try_from(self.memory_max.0).unwrap_or(usize::MAX));
        for (bound, share) in [
            (&mut self.connections.limits.connections_max, shares.connections_max),
            (&mut self.server.streams_max, shares.streams_max),
            (&mut self.server.pages_bytes_max, shares.page_bytes_max),
            (&mut self.server.requests_bytes_max, shares.request_bytes_max),
            (&mut self.server.server.pending_bytes_max, shares.pending_bytes_max),
            (&mut self.transport.unread_max, shares.unread_bytes_max),
            (&mut self.transport.unsent_max, shares.unsent_bytes_max),
        ] {
            *bound = (*bound).min(share);
        }
    }

    /// Where the key is kept.
    pub(crate) fn key_file(&self) -> Result<&Path, Error> {
        self.key.as_deref().ok_or(Error::NoDataDir)
    }

    /// Whether it is left to the machine which of the addresses can be listened on.
    pub(crate) fn listens_everywhere(&self) -> bool {
        self.listen == Self::default().listen
    }
}

/// By the XDG Base Directory Specification, which has relative paths ignored.
fn default_data_dir() -> Option<PathBuf> {
    let data_home = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || env::home_dir().filter(|path| path.is_absolute()).map(|home| home.join(".local").join("share"));
    data_home.or_else(home).map(|data| data.join("rendezvous"))
}
