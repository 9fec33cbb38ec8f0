//! A point that is stopped, killed, or out of disk.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use tokio::time::sleep;

use super::Scenario;
use crate::{
    arena::Carrier,
    attacks,
    client::Client,
    place,
    point::{Options, Point},
    probe::{Phase, Probe},
    report::Row,
    request,
    run::{self, Attacker, Settings},
};

/// Bytes of the disk that fills, in MiB: the store's journal alone is larger after a few thousand registrations.
const DISK_MIB: u32 = 80;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "stop-continue",
        about: "SIGSTOP for three seconds under load, then SIGCONT: whoever waited is answered",
        run: |settings| Box::pin(stop(settings)),
    },
    Scenario {
        name: "kill-under-load",
        about: "SIGKILL while registrations come in, and a start with the same data: whatever was acknowledged is there",
        run: |settings| Box::pin(kill(settings)),
    },
    Scenario {
        name: "full-disk",
        about: "registrations until the disk is full: pages are served, whatever was acknowledged is there",
        run: |settings| Box::pin(full_disk(settings)),
    },
];

async fn stop(settings: Settings) -> anyhow::Result<Row> {
    let data = tempfile::tempdir()?;
    let mut point = Point::start(&settings.binary, &data, Options::default()).await?;
    run::fill(point.target).await?;
    let probe = Probe::start(point.target).await?;
    sleep(settings.calm()).await;
    let before = point.usage()?;
    probe.enter(Phase::During);
    sleep(Duration::from_millis(300)).await;
    point.signal("STOP").await?;
    sleep(Duration::from_secs(3)).await;
    point.signal("CONT").await?;
    sleep(Duration::from_secs(1)).await;
    probe.enter(Phase::After);
    sleep(settings.calm()).await;
    let after = point.usage()?;
    let (seen, acknowledged) = probe.end().await;
    let lost = run::lost(point.target, &acknowledged).await?;
    let row = Row {
        seen,
        resident_before: before.resident_bytes,
        resident_peak: point.sampler.peak().resident_bytes,
        resident_after: after.resident_bytes,
        lost,
        checked: acknowledged.len() as u64,
        ended: point.ended(),
        ..row("stop-continue")
    };
    point.kill().await?;
    Ok(row)
}

async fn kill(settings: Settings) -> anyhow::Result<Row> {
    let data = tempfile::tempdir()?;
    let point = Point::start(&settings.binary, &data, Options::default()).await?;
    run::fill(point.target).await?;
    let probe = Probe::start(point.target).await?;
    let load = *attacks::all().iter().find(|attack| attack.name == "fill-registry-spread").context("no such attack")?;
    let attacker = Attacker::start(&load, point.target, Carrier::Tcp, 16, Duration::from_secs(10))?;
    sleep(Duration::from_secs(2)).await;
    point.kill().await?;
    drop(attacker);
    let (_, acknowledged) = probe.end().await;
    let mut point = Point::start(&settings.binary, &data, Options::default()).await?;
    let lost = run::lost(point.target, &acknowledged).await?;
    let mut faults = Vec::new();
    if acknowledged.is_empty() {
        faults.push("nothing was acknowledged before the end".to_owned());
    }
    let row = Row {
        lost,
        checked: acknowledged.len() as u64,
        ended: point.ended(),
        faults,
        is_probed: false,
        ..row("kill-under-load")
    };
    point.kill().await?;
    Ok(row)
}

async fn full_disk(settings: Settings) -> anyhow::Result<Row> {
    let data = tempfile::tempdir()?;
    let mut row = Row { is_probed: false, ..row("full-disk") };
    if !place::can_mount().await {
        println!("full-disk: left out, since this user cannot mount a disk in a namespace of its own");
        return Ok(row);
    }
    let options = Options { disk_mib: Some(DISK_MIB), ..Options::default() };
    let mut point = Point::start(&PathBuf::from(&settings.binary), &data, options).await?;
    run::fill(point.target).await?;
    let before = point.usage()?;
    let key = request::key(3, 7);
    let mut client = Client::connect(&point.target.multiaddr(), point.target.peer, key.clone()).await?;
    let large = request::record(&key, 31)?;
    let load = *attacks::all().iter().find(|attack| attack.name == "fill-registry-spread").context("no such attack")?;
    let attacker = Attacker::start(&load, point.target, Carrier::Tcp, 16, Duration::from_secs(60))?;
    let mut acknowledged = Vec::new();
    let (mut is_full, mut refused) = (false, String::new());
    // Bounded by count. The load fills the disk, and this client notices when.
    for number in 0..3_000 {
        let namespace = format!("disk/{}", number % 900);
        match client.ask_ok(&request::register(&namespace, large.envelope()), 0).await {
            Ok(()) => acknowledged.push((0, namespace)),
            Err(failure) => {
                is_full = true;
                refused = failure.to_string();
                break;
            }
        }
        sleep(Duration::from_millis(5)).await;
    }
    drop(attacker);
    if let Err(failure) = client.ask_ok(&request::discover(Some("probe/listed"), 10, &[]), 10).await {
        row.faults.push(format!("a page is not served with a full disk: {failure}"));
    }
    acknowledged.dedup();
    row.lost = run::lost(point.target, &acknowledged).await?;
    row.checked = acknowledged.len() as u64;
    row.attacker = serde_json::json!({ "is_full": is_full, "refused": refused });
    row.ended = point.ended();
    row.resident_before = before.resident_bytes;
    row.resident_peak = before.resident_bytes;
    row.resident_after = before.resident_bytes;
    point.kill().await?;
    Ok(row)
}

fn row(name: &str) -> Row {
    Row { name: name.to_owned(), carrier: "tcp".to_owned(), prefixes: 1, ..Row::default() }
}
