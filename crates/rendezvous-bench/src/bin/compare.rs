//! This project's rendezvous point beside the published `libp2p-rendezvous`, each as a process of its own under the same
//! load: CPU time for each request, and memory.
//!
//! `cargo run --release -p rendezvous-bench --bin compare -- --short`
//!
//! A round starts a point, fills it, and sends each kind of request; rounds of the two points alternate, so that what else
//! the machine does meets both. CPU time is that of the point's process, whatever the load takes; connections are open
//! before the measurement begins, save where they are what is measured. Records are of the legacy flavour, the one that
//! both read. The published point takes one request on a stream, so that is what both get.
//!
//! Each peer that fills a point registers over a connection of its own, in one namespace or in ten. DISCOVER asks for the
//! first page of one namespace, and more is in it than a page holds. New registrations are withdrawn after each part of at
//! most a quarter of what the point holds, so that its size stays what it says.

use anyhow::{Context as _, bail, ensure};
use clap::{Parser, Subcommand, value_parser};
use rendezvous_bench::{
    load::{Clients, Outcome, Work, fill},
    point::{self, Kind},
    process::Usage,
    spawned::Spawned,
};
use rendezvous_record::Flavour;

/// Peers that ask, one request at a time each.
const CONNECTIONS: u64 = 16;

/// The flavour that the published point reads.
const FLAVOUR: Flavour = Flavour::Legacy;

/// Compare this project's rendezvous point with the published one.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Option<Role>,
    /// One size and two rounds: less than two minutes
    #[arg(long)]
    short: bool,
    /// Rounds of each point
    #[arg(long, value_parser = value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
}

#[derive(Clone, Debug, Subcommand)]
enum Role {
    /// Be one of the points: `cargo run` builds this program alone, so it starts itself
    #[command(hide = true)]
    Point(point::Args),
}

/// How much is asked of a point that holds how much.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    peers: u64,
    /// In which each of the peers registers.
    namespaces: u64,
    rounds: u32,
    registers: u64,
    renewals: u64,
    discovers_of_100: u64,
    discovers_of_1000: u64,
}

const SHORT: &[Scenario] = &[Scenario {
    peers: 1_000,
    namespaces: 1,
    rounds: 2,
    registers: 2_000,
    renewals: 2_000,
    discovers_of_100: 2_000,
    discovers_of_1000: 400,
}];

/// The published point looks at every registration for each REGISTER: the larger, the fewer.
const LONG: &[Scenario] = &[
    Scenario {
        peers: 1_000,
        namespaces: 1,
        rounds: 3,
        registers: 4_000,
        renewals: 4_000,
        discovers_of_100: 4_000,
        discovers_of_1000: 1_000,
    },
    Scenario {
        peers: 10_000,
        namespaces: 1,
        rounds: 3,
        registers: 4_000,
        renewals: 4_000,
        discovers_of_100: 4_000,
        discovers_of_1000: 1_000,
    },
    Scenario {
        peers: 10_000,
        namespaces: 10,
        rounds: 2,
        registers: 2_000,
        renewals: 2_000,
        discovers_of_100: 2_000,
        discovers_of_1000: 500,
    },
];

/// What is measured, in the order of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// Connect, identify, REGISTER once or more, and leave.
    Fill,
    Discover100,
    Discover1000,
    Renew,
    Register,
    Unregister,
}

const MEASURES: [Measure; 6] = [
    Measure::Fill,
    Measure::Register,
    Measure::Renew,
    Measure::Unregister,
    Measure::Discover100,
    Measure::Discover1000,
];

impl Measure {
    fn name(self) -> &'static str {
        match self {
            Self::Fill => "connect, REGISTER, leave",
            Self::Register => "REGISTER, new",
            Self::Renew => "REGISTER, renewal",
            Self::Unregister => "UNREGISTER",
            Self::Discover100 => "DISCOVER 100",
            Self::Discover1000 => "DISCOVER 1000",
        }
    }

    /// The most of the published point's CPU time that this project's is to take.
    fn target(self) -> Option<f64> {
        match self {
            Self::Register | Self::Renew => Some(0.6),
            Self::Discover100 => Some(0.3),
            Self::Discover1000 => Some(0.2),
            Self::Fill | Self::Unregister => None,
        }
    }
}

/// What one request, or one peer, has cost in one round.
#[derive(Clone, Copy, Debug)]
struct Sample {
    kind: Kind,
    measure: Measure,
    cpu_micros: f64,
    grown_bytes: f64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(Role::Point(args)) = args.command {
        return point::run(args);
    }
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        for scenario in if args.short { SHORT } else { LONG } {
            let scenario = Scenario { rounds: args.rounds.unwrap_or(scenario.rounds), ..*scenario };
            let mut samples = Vec::new();
            for _ in 0..scenario.rounds {
                for kind in [Kind::Ours, Kind::Published] {
                    samples.extend(round(kind, &scenario).await.with_context(|| format!("{kind:?}"))?);
                }
            }
            print(&scenario, &samples);
        }
        Ok(())
    })
}

/// Starts a point, asks everything of it once, and ends it.
async fn round(kind: Kind, scenario: &Scenario) -> anyhow::Result<Vec<Sample>> {
    let point = Point::start(kind).await?;
    let mut samples = Vec::new();
    // What connections and the first requests of all take once is there before the measurement.
    Clients::connect(&point.process.target, 2 * CONNECTIONS, FLAVOUR)
        .await?
        .run(Work::Renew, 4 * CONNECTIONS, false)
        .await;

    let before = point.usage().await?;
    checked(fill(&point.process.target, scenario.peers, scenario.namespaces, FLAVOUR).await?)?;
    let after = point.usage().await?;
    samples.push(point.sample(Measure::Fill, before, after, scenario.peers));

    let mut clients = Clients::connect(&point.process.target, CONNECTIONS, FLAVOUR).await?;
    for (measure, limit, requests) in [
        (Measure::Discover100, 100, scenario.discovers_of_100),
        (Measure::Discover1000, 1_000, scenario.discovers_of_1000),
    ] {
        checked(clients.run(Work::Discover { limit }, CONNECTIONS, false).await)?;
        let before = point.usage().await?;
        let outcome = checked(clients.run(Work::Discover { limit }, requests, false).await)?;
        let after = point.usage().await?;
        ensure!(outcome.registrations == requests * limit, "pages are to be full, and one was not");
        samples.push(point.sample(measure, before, after, requests));
    }

    checked(clients.run(Work::Renew, CONNECTIONS, false).await)?;
    let before = point.usage().await?;
    checked(clients.run(Work::Renew, scenario.renewals, false).await)?;
    let after = point.usage().await?;
    samples.push(point.sample(Measure::Renew, before, after, scenario.renewals));

    samples.extend(registers(&point, &mut clients, scenario).await?);
    point.process.end().await?;
    Ok(samples)
}

/// New registrations, part by part, each withdrawn before the next.
async fn registers(point: &Point, clients: &mut Clients, scenario: &Scenario) -> anyhow::Result<[Sample; 2]> {
    let part_max = scenario.peers * scenario.namespaces / 4;
    let (mut left, mut series) = (scenario.registers, 0);
    let mut sums = [Usage::default(); 2];
    let mut last = point.usage().await?;
    while left > 0 {
        let requests = left.min(part_max);
        for (work, sum) in [Work::Register { series }, Work::Unregister { series }].into_iter().zip(&mut sums) {
            checked(clients.run(work, requests, false).await)?;
            let usage = point.usage().await?;
            sum.cpu += usage.cpu - last.cpu;
            last = usage;
        }
        left -= requests;
        series += 1;
    }
    let [register, unregister] = sums;
    let none = Usage::default();
    Ok([
        point.sample(Measure::Register, none, register, scenario.registers),
        point.sample(Measure::Unregister, none, unregister, scenario.registers),
    ])
}

fn checked(outcome: Outcome) -> anyhow::Result<Outcome> {
    match &outcome.first_error {
        None => Ok(outcome),
        Some(error) => bail!("{} of {} requests failed, the first: {error}", outcome.errors, outcome.requests),
    }
}

/// A point in a process of its own.
struct Point {
    kind: Kind,
    process: Spawned,
}

impl Point {
    async fn start(kind: Kind) -> anyhow::Result<Self> {
        let name = match kind {
            Kind::Ours => "ours",
            Kind::Published => "published",
        };
        Ok(Self { kind, process: Spawned::start(&["point", "--server", name]).await? })
    }

    async fn usage(&self) -> anyhow::Result<Usage> {
        Ok(Usage::settled(self.process.pid).await?)
    }

    fn sample(&self, measure: Measure, before: Usage, after: Usage, requests: u64) -> Sample {
        let grown_bytes = after.resident_bytes as f64 - before.resident_bytes as f64;
        Sample {
            kind: self.kind,
            measure,
            cpu_micros: after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / requests as f64,
            grown_bytes: grown_bytes / requests as f64,
        }
    }
}

fn print(scenario: &Scenario, samples: &[Sample]) {
    let Scenario { peers, namespaces, rounds, .. } = scenario;
    let registrations = peers * namespaces;
    let each = if *namespaces == 1 { "one namespace".to_owned() } else { format!("{namespaces} namespaces") };
    println!("{registrations} registrations: {peers} peers in {each}; rounds of each point: {rounds}");
    println!(
        "{:<42} {:<24} {:<28} {:<6} target",
        "CPU of the point, µs each: mean and range", "ours", "published", "ratio"
    );
    for measure in MEASURES {
        let [ours, published] = [Kind::Ours, Kind::Published].map(|kind| Spread::of(samples, kind, measure, cpu));
        let ratio = ours.mean / published.mean;
        let verdict = measure
            .target()
            .map_or(String::new(), |target| format!("{target} {}", if ratio <= target { "met" } else { "missed" }));
        println!("  {:<40} {ours:<24} {published:<28} {ratio:<6.3} {verdict}", measure.name());
    }
    println!("Memory that stays, bytes each: mean and range");
    for measure in [Measure::Fill, Measure::Renew, Measure::Discover100, Measure::Discover1000] {
        // A sample of the filling is of one peer.
        let (name, divisor) =
            if measure == Measure::Fill { ("registration", *namespaces) } else { (measure.name(), 1) };
        let [ours, published] = [Kind::Ours, Kind::Published]
            .map(|kind| Spread::of(samples, kind, measure, |sample| sample.grown_bytes / divisor as f64));
        println!("  {name:<40} {ours:<24} {published:<28}");
    }
    println!();
}

fn cpu(sample: &Sample) -> f64 {
    sample.cpu_micros
}

/// Mean and range over the rounds.
#[derive(Clone, Copy, Debug)]
struct Spread {
    mean: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(samples: &[Sample], kind: Kind, measure: Measure, value: impl Fn(&Sample) -> f64) -> Self {
        let values: Vec<f64> =
            samples.iter().filter(|sample| sample.kind == kind && sample.measure == measure).map(value).collect();
        Self {
            mean: values.iter().sum::<f64>() / values.len() as f64,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { mean, min, max } = self;
        f.pad(&format!("{mean:.1} ({min:.1}–{max:.1})"))
    }
}
