//! Load for any rendezvous point on this machine.
//!
//! `cargo run --release -p rendezvous-bench --bin load -- --point <address> --kind discover --registrations 1000`

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Parser, ValueEnum, value_parser};
use rendezvous_bench::{
    load::{Clients, Target, Work, fill},
    process::Usage,
};
use rendezvous_record::Flavour;

/// Send load to a rendezvous point on this machine, and say in one line what came of it.
#[derive(Debug, Parser)]
struct Args {
    /// The point, such as `/ip4/127.0.0.1/tcp/62649/p2p/<peer id>`; loopback addresses only
    #[arg(long)]
    point: Target,
    /// What is asked
    #[arg(long, value_enum, default_value_t = Kind::Discover)]
    kind: Kind,
    /// Requests in all
    #[arg(long, default_value_t = 1_000, value_parser = value_parser!(u64).range(1..=10_000_000))]
    requests: u64,
    /// Peers that ask, each over one connection and one request at a time
    #[arg(long, default_value_t = 16, value_parser = value_parser!(u64).range(1..=1_000))]
    connections: u64,
    /// Registrations that DISCOVER asks for
    #[arg(long, default_value_t = 100, value_parser = value_parser!(u64).range(1..=1_000))]
    limit: u64,
    /// Registrations to fill the point with before the measurement
    #[arg(long, default_value_t = 0, value_parser = value_parser!(u64).range(..=1_000_000))]
    registrations: u64,
    /// Namespaces that each of the peers registers in that fill the point
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..=1_000))]
    namespaces: u64,
    /// Flavour of the records: legacy is what rust-libp2p reads, standard what the others do
    #[arg(long, default_value_t = Flavour::Legacy)]
    flavour: Flavour,
    /// All requests of a peer on one stream, instead of one stream each
    #[arg(long)]
    reuse: bool,
    /// Process id of the point, to tell its CPU time for each request and its memory
    #[arg(long)]
    server_pid: Option<u32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// REGISTER in a new namespace each
    Register,
    /// REGISTER in the same namespace again
    Renew,
    /// DISCOVER of the first page
    Discover,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if args.registrations > 0 {
        let peers = args.registrations.div_ceil(args.namespaces);
        fill(&args.point, peers, args.namespaces, args.flavour).await.context("cannot fill the point")?;
    }
    let mut clients = Clients::connect(&args.point, args.connections, args.flavour).await?;
    let work = match args.kind {
        Kind::Register => Work::Register { series: 0 },
        Kind::Renew => Work::Renew,
        Kind::Discover => Work::Discover { limit: args.limit },
    };
    // The first request of a connection is not like the others: it may wait for identify, or be no renewal.
    let warm_up = if let Work::Register { .. } = work { Work::Register { series: 1 } } else { work };
    clients.run(warm_up, args.connections, args.reuse).await;

    let before = usage(args.server_pid).await?;
    let outcome = clients.run(work, args.requests, args.reuse).await;
    let after = usage(args.server_pid).await?;

    let millis = |latency: Duration| latency.as_secs_f64() * 1e3;
    print!(
        "requests={} errors={} requests_per_s={:.0} p50_ms={:.3} p99_ms={:.3}",
        outcome.requests,
        outcome.errors,
        outcome.answers_per_sec(),
        millis(outcome.latency(0.5)),
        millis(outcome.latency(0.99)),
    );
    if let Kind::Discover = args.kind {
        print!(" registrations_per_answer={:.1}", outcome.registrations as f64 / outcome.requests as f64);
    }
    if let (Some(before), Some(after)) = (before, after) {
        let cpu_micros = after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6;
        print!(" server_cpu_us={:.1}", cpu_micros / outcome.requests as f64);
        print!(" server_rss_kib={}", after.resident_bytes / 1_024);
    }
    println!();
    match outcome.first_error {
        None => Ok(()),
        Some(error) => bail!("{} of {} requests failed, the first: {error}", outcome.errors, outcome.requests),
    }
}

async fn usage(pid: Option<u32>) -> anyhow::Result<Option<Usage>> {
    let Some(pid) = pid else { return Ok(None) };
    let usage = Usage::settled(pid).await;
    usage.map(Some).with_context(|| format!("cannot read what process {pid} has used"))
}
