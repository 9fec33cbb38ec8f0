//! One attack from its beginning to its end.

use std::{path::PathBuf, process::Stdio, sync::atomic::Ordering::Relaxed, time::Duration};

use anyhow::{Context as _, ensure};
use libp2p::noise;
use rendezvous_record::Flavour;
use rendezvous_wire::Status;
use tokio::{
    io::AsyncReadExt as _,
    process::Child,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    arena::{Arena, Carrier},
    attacks::Attack,
    client::Client,
    place,
    point::{Point, Target},
    probe::{self, Phase, Probe},
    process::Meter,
    raw::{Link, Reading},
    report::{LEFT_MAX_BYTES, REGISTRATION_BYTES, Row},
    request,
    sink::Sink,
    sources::{self, Sources},
};

/// Registrations with records of about 1 KiB that a point is filled with, so that a page has its 1 MiB.
const FILLED: usize = 1_000;

/// Longest wait for the memory to fall after an attack.
const AFTER_MAX: Duration = Duration::from_secs(30);

/// Time that an attacker has after its end to give its counts.
const ATTACKER_GRACE: Duration = Duration::from_secs(5);

/// Memory of the point at which an attack is ended early, so that the machine survives it.
const RESIDENT_END_BYTES: u64 = 3 << 30;

/// Acknowledged registrations that are looked for at most.
const CHECKED_MAX: usize = 400;

/// How attacks are run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The binary under attack.
    pub binary: PathBuf,
    /// Whether it is the long form.
    pub is_long: bool,
    /// Whether the same attack is run against a sink too.
    pub with_sink: bool,
}

impl Settings {
    /// Time of the calm phase.
    #[must_use]
    pub fn calm(&self) -> Duration {
        Duration::from_millis(if self.is_long { 5_000 } else { 1_000 })
    }
}

/// Runs an attack against a point that is started for it.
///
/// # Errors
/// The attack could not be carried out: nothing is known about the point then.
pub async fn run(settings: &Settings, attack: &Attack, carrier: Carrier, prefixes: u32) -> anyhow::Result<Row> {
    let data = tempfile::tempdir()?;
    let mut point = Point::start(&settings.binary, &data, attack.options).await?;
    // A point that prints its namespaces begins with few of them, and a share of a smaller total is smaller.
    let is_small = attack.options.prints_much || attack.options.scaled.is_some();
    let large = if is_small { 0 } else { FILLED };
    fill_with(point.target, large).await.context("the point cannot be filled")?;
    let probe = Probe::start(point.target).await.context("the probe does not get in before the attack")?;

    let meter = Meter::start(point.usage()?.cpu);
    sleep(settings.calm()).await;
    let before = point.usage()?;
    let cpu_before = meter.rate(before.cpu);

    probe.enter(Phase::During);
    let meter = Meter::start(before.cpu);
    let duration = attack.duration(settings.is_long);
    let attacker = Attacker::start(attack, point.target, carrier, prefixes, duration)?;
    let (attacker, is_early) = attacker.end(&point, duration).await?;
    let cpu_during = meter.rate(point.sampler.peak().cpu);

    probe.enter(Phase::After);
    let registrations_added = if attack.name.starts_with("fill") || attack.name.starts_with("stdout") {
        attacker["done"].as_u64().unwrap_or(0)
    } else {
        0
    };
    let bound = before.resident_bytes + LEFT_MAX_BYTES + registrations_added * REGISTRATION_BYTES;
    let end = Instant::now() + AFTER_MAX;
    // The probe needs some time to see the point after the attack.
    sleep(Duration::from_millis(700)).await;
    while Instant::now() < end && point.usage().is_ok_and(|usage| usage.resident_bytes > bound) {
        sleep(Duration::from_millis(100)).await;
    }
    let after = point.usage().unwrap_or_default();
    let (seen, acknowledged) = probe.end().await;
    let ended = point.ended();
    let mut faults = Vec::new();
    if is_early {
        faults.push(format!("the attack was ended early at {} MiB", RESIDENT_END_BYTES >> 20));
    }
    let checked = acknowledged.len().min(CHECKED_MAX) as u64;
    let lost = match ended {
        None => lost(point.target, &acknowledged).await.unwrap_or_else(|error| {
            faults.push(format!("the point must answer after the attack: {error:#}"));
            0
        }),
        Some(_) => 0,
    };
    let peak = point.sampler.peak();
    let sink_ratio = match settings.with_sink && carrier == Carrier::Tcp {
        true => Some(against_sink(attack, point.target, prefixes, settings.calm()).await?),
        false => None,
    };
    let row = Row {
        name: attack.name.to_owned(),
        carrier: carrier.to_string(),
        prefixes,
        seen,
        cpu_before,
        cpu_during,
        resident_before: before.resident_bytes,
        resident_peak: peak.resident_bytes,
        resident_after: after.resident_bytes,
        descriptors_before: before.descriptors,
        descriptors_peak: peak.descriptors,
        descriptors_after: after.descriptors,
        registrations_added,
        log_lines: point.log_lines.load(Relaxed),
        attacker,
        sink_ratio,
        ended,
        lost,
        checked,
        faults,
        is_probed: true,
    };
    point.kill().await?;
    Ok(row)
}

/// Fills a point: ten peers in the namespace that the probe discovers, and a thousand registrations with large records.
///
/// # Errors
/// One of them is refused.
pub async fn fill(target: Target) -> anyhow::Result<()> {
    fill_with(target, FILLED).await
}

/// As [`fill`], with so many large registrations.
async fn fill_with(target: Target, large: usize) -> anyhow::Result<()> {
    for number in 0..=probe::LISTED as u64 {
        let key = request::key(0, number);
        let source = (sources::FILLER, 0).into();
        let link = Link::dial(source, target.tcp, target.peer, noise::Config::new(&key)?, Reading::Honest).await?;
        let (count, addresses, namespace) = match number as usize {
            probe::LISTED => (large, request::LARGE_RECORD_ADDRESSES, "filled"),
            _ => (1, 3, probe::NAMESPACE),
        };
        if count == 1 {
            // The published client reads this flavour alone.
            let record = request::record_of(&key, addresses, Flavour::Legacy)?;
            let frame = request::register(namespace, record.envelope());
            timeout(Duration::from_secs(10), exchange(&link, &frame, 1)).await??;
        }
        let record = request::record(&key, addresses)?;
        let mut registered = 0;
        // So many on a stream that the requests which wait stay below the point's bound for them.
        while registered < count {
            let part = (count - registered).min(30);
            let mut frames = Vec::new();
            for place in registered..registered + part {
                let namespace = if count == 1 { namespace.to_owned() } else { format!("{namespace}/{place}") };
                frames.extend_from_slice(&request::register(&namespace, record.envelope()));
            }
            let payloads = timeout(Duration::from_secs(10), exchange(&link, &frames, part)).await??;
            for payload in payloads {
                let (status, _) = request::status(&payload)?;
                ensure!(status == Status::Ok, "a registration is refused: {status}");
            }
            registered += part;
        }
    }
    Ok(())
}

/// Sends frames on a stream of their own, and reads so many answers.
///
/// # Errors
/// The stream or the connection ends before.
pub async fn exchange(link: &Link, frames: &[u8], answers: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    let (_, mut receiver) = link.open_read(&request::stream(frames)).await.context("the connection has ended")?;
    let mut read = request::Answers::default();
    let mut payloads = Vec::new();
    while payloads.len() < answers {
        match read.take()? {
            Some(payload) => payloads.push(payload),
            None => read.push(&receiver.recv().await.context("the stream has ended")?),
        }
    }
    Ok(payloads)
}

/// How many of the acknowledged registrations are not listed, of the latest 400.
///
/// # Errors
/// The client does not get in.
pub async fn lost(target: Target, acknowledged: &[(u64, String)]) -> anyhow::Result<u64> {
    let mut client = Client::connect(&target.multiaddr(), target.peer, request::key(2, u64::MAX)).await?;
    let mut lost = 0;
    for (_, namespace) in acknowledged.iter().rev().take(CHECKED_MAX) {
        if client.ask_ok(&request::discover(Some(namespace), 10, &[]), 1).await.is_err() {
            lost += 1;
        }
    }
    Ok(lost)
}

/// p99 of a dial to a sink beside the attack, over that in calm.
async fn against_sink(attack: &Attack, target: Target, prefixes: u32, calm: Duration) -> anyhow::Result<f64> {
    let sink = Sink::start().await?;
    let before = sink.p99(std::time::Instant::now() + calm).await;
    let target = Target { tcp: sink.address, ..target };
    let duration = attack.duration(false);
    let mut attacker = Attacker::start(attack, target, Carrier::Tcp, prefixes, duration)?;
    let during = sink.p99(std::time::Instant::now() + duration).await;
    attacker.process.kill().await?;
    Ok(during / before.max(1e-6))
}

/// The attacker in a process of its own, which gives way to the probe on their core.
#[derive(Debug)]
pub struct Attacker {
    process: Child,
}

impl Attacker {
    /// Starts this program as the attacker.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(
        attack: &Attack,
        target: Target,
        carrier: Carrier,
        prefixes: u32,
        duration: Duration,
    ) -> anyhow::Result<Self> {
        let inner = place::on_core_giving_way(place::CLIENTS, std::env::current_exe()?);
        // Many sockets need many descriptors: the soft limit goes up to the hard one.
        let mut command = place::with_all_descriptors(&inner);
        command.args(["attacker", attack.name, "--target", &target.to_string()]);
        command.args(["--carrier", &carrier.to_string(), "--prefixes", &prefixes.to_string()]);
        command.args(["--millis", &duration.as_millis().to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        Ok(Self { process: command.spawn().context("the attacker does not start")? })
    }

    /// Waits for its end, and gives its counts, and whether it was ended because the point's memory had grown too far.
    ///
    /// # Errors
    /// It has failed.
    pub async fn end(mut self, point: &Point, duration: Duration) -> anyhow::Result<(serde_json::Value, bool)> {
        let end = Instant::now() + duration + ATTACKER_GRACE;
        let mut stdout = self.process.stdout.take().context("the attacker has an output")?;
        let mut counts = String::new();
        let too_much = async {
            while point.sampler.peak().resident_bytes < RESIDENT_END_BYTES {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let is_early = tokio::select! {
            read = stdout.read_to_string(&mut counts) => {
                read?;
                false
            }
            () = too_much => true,
            () = sleep_until(end) => false,
        };
        self.process.kill().await?;
        ensure!(is_early || !counts.is_empty() || Instant::now() >= end, "the attacker has failed");
        Ok((serde_json::from_str(&counts).unwrap_or_default(), is_early))
    }
}

/// The attacker's part: attacks until the time is over, and prints its counts.
///
/// # Errors
/// The attack cannot be carried out.
pub async fn attack(
    attack: &Attack,
    target: Target,
    carrier: Carrier,
    prefixes: u32,
    duration: Duration,
) -> anyhow::Result<()> {
    let arena = Arena::new(target, Sources { prefixes }, carrier, Instant::now() + duration);
    let counts = std::sync::Arc::clone(&arena.counts);
    (attack.run)(arena).await?;
    println!("{}", counts.to_json());
    Ok(())
}
