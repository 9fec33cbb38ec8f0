//! What durability costs: REGISTER at a point that keeps registrations in its embedded store, beside one in memory.
//!
//! `cargo run --release -p rendezvous-bench --bin durability`
//!
//! Rounds of the two alternate, so that what else the machine does meets both. Each peer waits for its answer before it asks
//! again, on one stream; an answer of the embedded store comes after an fsync, which the requests of all peers share.

use anyhow::{Context as _, ensure};
use clap::{Parser, Subcommand, value_parser};
use rendezvous_bench::{
    load::{Clients, Work},
    point,
    process::Usage,
    spawned::Spawned,
};
use rendezvous_record::Flavour;

/// Peers that ask at once: one alone, some, and as many as a busy point has.
const PEERS: [u64; 3] = [1, 16, 256];

/// Measure what durability costs.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Option<Role>,
    /// Rounds of each point
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Directory in which stores are made, on the disk that is to be measured
    #[arg(long, default_value = ".")]
    directory: std::path::PathBuf,
}

#[derive(Clone, Debug, Subcommand)]
enum Role {
    /// Be one of the points: `cargo run` builds this program alone, so it starts itself
    #[command(hide = true)]
    Point(point::Args),
}

/// What a round has shown.
#[derive(Clone, Copy, Debug)]
struct Sample {
    per_sec: f64,
    p50_millis: f64,
    p99_millis: f64,
    cpu_micros: f64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(Role::Point(args)) = args.command {
        return point::run(args);
    }
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        println!(
            "{:>6} {:<9} {:>12} {:>9} {:>9} {:>12}",
            "peers", "store", "REGISTER/s", "p50 ms", "p99 ms", "CPU us each"
        );
        for peers in PEERS {
            let mut samples = [Vec::new(), Vec::new()];
            for _ in 0..args.rounds {
                samples[0].push(round(peers, None).await?);
                let place = tempfile::tempdir_in(&args.directory).context("a directory for the store")?;
                samples[1].push(round(peers, Some(place.path())).await?);
            }
            for (name, samples) in ["memory", "embedded"].into_iter().zip(samples) {
                let mean = |of: fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / samples.len() as f64;
                println!(
                    "{peers:>6} {name:<9} {:>12.0} {:>9.2} {:>9.2} {:>12.1}",
                    mean(|sample| sample.per_sec),
                    mean(|sample| sample.p50_millis),
                    mean(|sample| sample.p99_millis),
                    mean(|sample| sample.cpu_micros),
                );
            }
        }
        Ok(())
    })
}

async fn round(peers: u64, directory: Option<&std::path::Path>) -> anyhow::Result<Sample> {
    let mut args = vec!["point", "--server", "ours"];
    if let Some(directory) = directory {
        args.extend(["--data-dir", directory.to_str().context("the directory is UTF-8")?]);
    }
    let point = Spawned::start(&args).await?;
    let mut clients = Clients::connect(&point.target, peers, Flavour::Standard).await?;
    clients.run(Work::Register { series: 0 }, peers, true).await;
    let requests = if directory.is_some() && peers == 1 { 1_000 } else { 40 * peers.max(100) };
    let before = Usage::settled(point.pid).await?;
    let outcome = clients.run(Work::Register { series: 1 }, requests, true).await;
    let after = Usage::settled(point.pid).await?;
    ensure!(outcome.errors == 0, "{} of {} requests failed", outcome.errors, outcome.requests);
    drop(clients);
    point.end().await?;
    Ok(Sample {
        per_sec: outcome.answers_per_sec(),
        p50_millis: outcome.latency(0.5).as_secs_f64() * 1e3,
        p99_millis: outcome.latency(0.99).as_secs_f64() * 1e3,
        cpu_micros: after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / outcome.requests as f64,
    })
}
