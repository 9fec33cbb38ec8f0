//! The project's own clients at a point that never comes to an end.

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use asynchronous_codec::FramedRead;
use futures::{AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, SwarmBuilder, identify,
    multiaddr::Protocol,
    noise,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use rendezvous_wire::{DiscoverResponse, FrameCodec, Register, Registrations, Response, Status, frame};
use tokio::{io::AsyncReadExt as _, process::Command, task::JoinSet, time::timeout};

use super::Scenario;
use crate::{place, process::Usage, report::Row, request, run::Settings};

/// Registrations of a page.
const PER_PAGE: usize = 800;

/// Time that a client is watched.
const WATCH: Duration = Duration::from_secs(12);

/// Bytes that a client may read of one point in that time: a budget of 16 MiB for each of as many walks as there are
/// seconds, and as much again.
const BYTES_MAX: u64 = 384 << 20;

/// Memory that a client may take, in bytes.
const RESIDENT_MAX_BYTES: u64 = 512 << 20;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "endless-pages",
        about: "`discover` at a point that answers with the same page and a new cookie without end",
        run: |settings| Box::pin(endless("endless-pages", settings, false, false)),
    },
    Scenario {
        name: "endless-pages-new",
        about: "as endless-pages, with peers on each page that were not listed before",
        run: |settings| Box::pin(endless("endless-pages-new", settings, false, true)),
    },
    Scenario {
        name: "endless-pages-every",
        about: "as endless-pages, with `discover --every 1`",
        run: |settings| Box::pin(endless("endless-pages-every", settings, true, false)),
    },
];

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    streams: libp2p_stream::Behaviour,
}

/// A point that is none.
struct FakePoint {
    address: Multiaddr,
    peer: PeerId,
    bytes: Arc<AtomicU64>,
    pages: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl FakePoint {
    async fn start(is_new: bool) -> anyhow::Result<Self> {
        let mut swarm = SwarmBuilder::with_existing_identity(request::key(4, 0))
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
            .with_behaviour(|key| Behaviour {
                identify: identify::Behaviour::new(identify::Config::new("ipfs/0.1.0".to_owned(), key.public())),
                streams: libp2p_stream::Behaviour::new(),
            })?
            .build();
        let peer = *swarm.local_peer_id();
        swarm.listen_on(Multiaddr::from(Ipv4Addr::LOCALHOST).with(Protocol::Tcp(0)))?;
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        let mut incoming =
            swarm.behaviour().streams.new_control().accept(StreamProtocol::new(rendezvous_wire::PROTOCOL))?;
        let (bytes, pages) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        let (sent, served) = (Arc::clone(&bytes), Arc::clone(&pages));
        tasks.spawn(async move {
            let mut streams = JoinSet::new();
            while let Some((_, stream)) = incoming.next().await {
                streams.spawn(serve(stream, Arc::clone(&sent), Arc::clone(&served), is_new));
            }
        });
        Ok(Self { address, peer, bytes, pages, _tasks: tasks })
    }
}

async fn serve(stream: Stream, bytes: Arc<AtomicU64>, pages: Arc<AtomicU64>, is_new: bool) {
    let mut frames: FramedRead<Stream, FrameCodec> = FramedRead::new(stream, FrameCodec::new(frame::REQUEST_BYTES_MAX));
    let mut records = records(0);
    while let Some(Ok(_)) = frames.next().await {
        let number = pages.fetch_add(1, Relaxed) + 1;
        if is_new {
            records = self::records(number);
        }
        let page = page(&records, number);
        if frames.write_all(&page).await.is_err() || frames.flush().await.is_err() {
            return;
        }
        bytes.fetch_add(page.len() as u64, Relaxed);
    }
}

/// Records of so many peers; those of another number are of other peers.
fn records(number: u64) -> Vec<Vec<u8>> {
    let first = number * PER_PAGE as u64;
    let records = (first..first + PER_PAGE as u64).filter_map(|peer| {
        let record = request::record(&request::key(5, peer), if number == 0 { 24 } else { 2 }).ok()?;
        Some(record.envelope().to_vec())
    });
    records.collect()
}

fn page(records: &[Vec<u8>], number: u64) -> Vec<u8> {
    let registrations: Vec<Register<'_>> = records
        .iter()
        .map(|record| Register {
            namespace: Some(b"rendezvous"),
            signed_peer_record: Some(record),
            ttl_secs: Some(7_200),
        })
        .collect();
    let mut frame = Vec::new();
    Response::Discover(DiscoverResponse {
        registrations: Registrations::listed(&registrations),
        cookie: Some(&number.to_be_bytes()),
        status: Some(Status::Ok),
        status_text: None,
    })
    .encode_frame(&mut frame);
    frame
}

async fn endless(name: &str, settings: Settings, every: bool, is_new: bool) -> anyhow::Result<Row> {
    let point = FakePoint::start(is_new).await?;
    let binary: &PathBuf = &settings.binary;
    let mut command: Command = place::on_core(place::POINT, binary);
    command.args(["discover", "--json", "--point", &format!("{}/p2p/{}", point.address, point.peer)]);
    if every {
        command.args(["--every", "1"]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut client = command.spawn().context("the client does not start")?;
    let pid = client.id().context("the client has ended")?;
    let (Some(mut stdout), Some(mut stderr)) = (client.stdout.take(), client.stderr.take()) else {
        bail!("the client has no output");
    };
    let mut said = String::new();
    let output = async {
        let mut scratch = vec![0; 64 << 10];
        let stdout = async { while matches!(stdout.read(&mut scratch).await, Ok(1..)) {} };
        let (_, said) = tokio::join!(stdout, stderr.read_to_string(&mut said));
        said
    };
    let is_ended = timeout(WATCH, output).await.is_ok();
    let usage = Usage::of(pid).unwrap_or_default();
    client.kill().await?;
    let (bytes, pages) = (point.bytes.load(Relaxed), point.pages.load(Relaxed));
    let mut faults = Vec::new();
    if bytes > BYTES_MAX {
        let (bytes, max, secs) = (bytes >> 20, BYTES_MAX >> 20, WATCH.as_secs());
        faults.push(format!("bytes read by a client in {secs} s: {bytes} MiB, bound {max} MiB"));
    }
    if usage.resident_bytes > RESIDENT_MAX_BYTES {
        let (bytes, max) = (usage.resident_bytes >> 20, RESIDENT_MAX_BYTES >> 20);
        faults.push(format!("memory of a client: {bytes} MiB, bound {max} MiB"));
    }
    if !every && !is_ended && !is_new {
        faults.push(format!("a walk without anything new must end: it goes on after {} s", WATCH.as_secs()));
    }
    if pages == 0 {
        faults.push(format!("the client has asked for nothing: {said}"));
    }
    Ok(Row {
        name: name.to_owned(),
        carrier: "tcp".to_owned(),
        prefixes: 1,
        cpu_during: usage.cpu.as_secs_f64() / WATCH.as_secs_f64(),
        resident_peak: usage.resident_bytes,
        attacker: serde_json::json!({ "pages": pages, "bytes": bytes, "ended": is_ended, "said": said.trim() }),
        faults,
        is_probed: false,
        ..Row::default()
    })
}
