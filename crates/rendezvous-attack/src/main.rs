//! `rendezvous-attack`: see the library.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use rendezvous_attack::{
    arena::Carrier,
    attacks::{self, Attack},
    point::Target,
    report::{self, Row},
    run::{self, Settings},
    scenarios::{self, Scenario},
    sink,
};

/// Prefixes of the long form.
const PREFIXES_LONG: [u32; 3] = [1, 16, 200];

/// Attack a rendezvous point on this machine, and report what honest clients notice.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,

    #[command(flatten)]
    suite: Suite,
}

#[derive(Debug, Args)]
struct Suite {
    /// Attacks to run; all without one. A name that ends with `*` stands for those that begin so
    names: Vec<String>,

    /// List the attacks
    #[arg(long)]
    list: bool,

    /// From 1, 16 and 200 prefixes, for three times as long, with the baseline
    #[arg(long)]
    long: bool,

    /// The binary under attack
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,

    /// Prefixes that the attacks come from, in place of each attack's own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    prefixes: Option<u32>,

    /// What carries the attacks; those that it cannot carry are left out
    #[arg(long, value_enum)]
    carrier: Option<Carrier>,

    /// Run each attack against a bare sink too
    #[arg(long)]
    sink: bool,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// The attacker's process
    #[command(hide = true)]
    Attacker {
        name: String,
        #[arg(long)]
        target: Target,
        #[arg(long, value_enum)]
        carrier: Carrier,
        #[arg(long)]
        prefixes: u32,
        #[arg(long)]
        millis: u64,
    },
    /// The baseline's process
    #[command(hide = true)]
    Sink,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    // One thread: everything but the point shares one core.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        match cli.part {
            None => suite(cli.suite).await,
            Some(Part::Sink) => sink::serve().await.map(|()| ExitCode::SUCCESS),
            Some(Part::Attacker { name, target, carrier, prefixes, millis }) => {
                let attacks = attacks::all();
                let attack = attacks.iter().find(|attack| attack.name == name).context("there is no such attack")?;
                run::attack(attack, target, carrier, prefixes, Duration::from_millis(millis)).await?;
                Ok(ExitCode::SUCCESS)
            }
        }
    });
    runtime.shutdown_background();
    result
}

async fn suite(args: Suite) -> anyhow::Result<ExitCode> {
    let (attacks, scenarios) = (attacks::all(), scenarios::all());
    if args.list {
        let attacks = attacks.iter().map(|attack| (attack.name, attack.about));
        for (name, about) in attacks.chain(scenarios.iter().map(|scenario| (scenario.name, scenario.about))) {
            println!("{name:24} {about}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = Chosen::new(&attacks, &scenarios, &args.names)?;
    let binary = args.binary.clone().or_else(beside).context("name the binary with --binary")?;
    let settings = Settings { binary, is_long: args.long, with_sink: args.sink || args.long };
    let begin = Instant::now();
    let mut results = Results::default();
    for attack in chosen.attacks {
        for (carrier, prefixes) in variants(attack, &args) {
            let label = format!("{} over {carrier} from {prefixes} prefixes", attack.name);
            let mut run = run::run(&settings, attack, carrier, prefixes).await;
            if is_tried_again(&label, &run, &args) {
                run = run::run(&settings, attack, carrier, prefixes).await;
            }
            results.add(&label, run);
        }
    }
    for scenario in chosen.scenarios {
        let mut run = (scenario.run)(settings.clone()).await;
        if is_tried_again(scenario.name, &run, &args) {
            run = (scenario.run)(settings.clone()).await;
        }
        results.add(scenario.name, run);
    }
    println!("\n{} s", begin.elapsed().as_secs());
    Ok(results.end())
}

/// In the short form a run that breaks a bound is repeated once, and the second counts: attacker and probe share a core, so that
/// something else on the machine can starve the probe until it times out.
fn is_tried_again(label: &str, run: &anyhow::Result<Row>, args: &Suite) -> bool {
    let broken = match run {
        Ok(row) => row.violations().into_iter().next().map(|violation| violation.to_string()),
        Err(error) => Some(format!("{error:#}")),
    };
    let Some(broken) = broken.filter(|_| !args.long) else { return false };
    println!("{label}: once more, since: {broken}");
    true
}

/// What has been run so far.
#[derive(Default)]
struct Results {
    rows: Vec<Row>,
    failures: Vec<String>,
}

impl Results {
    fn add(&mut self, label: &str, run: anyhow::Result<Row>) {
        match run {
            Ok(row) => {
                print(label, &row);
                self.failures.extend(row.violations().into_iter().map(|violation| format!("{label}: {violation}")));
                self.rows.push(row);
            }
            Err(error) => {
                println!("{label}: not carried out: {error:#}");
                self.failures.push(format!("{label}: not carried out: {error:#}"));
            }
        }
    }

    fn end(self) -> ExitCode {
        println!("\n{}", report::table(&self.rows));
        if self.failures.is_empty() {
            println!("every bound was kept");
            return ExitCode::SUCCESS;
        }
        println!("{} bounds were broken:", self.failures.len());
        for failure in self.failures {
            println!("- {failure}");
        }
        ExitCode::FAILURE
    }
}

fn variants(attack: &Attack, args: &Suite) -> Vec<(Carrier, u32)> {
    let carriers: Vec<Carrier> = match args.carrier {
        Some(carrier) => attack.carriers.iter().copied().filter(|known| *known == carrier).collect(),
        None if args.long => attack.carriers.to_vec(),
        None => attack.carriers[..1].to_vec(),
    };
    let prefixes = match args.prefixes {
        Some(prefixes) => vec![prefixes],
        None if args.long => PREFIXES_LONG.to_vec(),
        None => vec![attack.prefixes],
    };
    carriers.iter().flat_map(|&carrier| prefixes.iter().map(move |&prefixes| (carrier, prefixes))).collect()
}

/// What the names on the command line stand for.
struct Chosen<'a> {
    attacks: Vec<&'a Attack>,
    scenarios: Vec<&'a Scenario>,
}

impl<'a> Chosen<'a> {
    fn new(attacks: &'a [Attack], scenarios: &'a [Scenario], names: &[String]) -> anyhow::Result<Self> {
        let is_named = |name: &str, pattern: &str| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == pattern,
        };
        let is_wanted = |name: &str| names.is_empty() || names.iter().any(|pattern| is_named(name, pattern));
        for pattern in names {
            let mut known =
                attacks.iter().map(|attack| attack.name).chain(scenarios.iter().map(|scenario| scenario.name));
            if !known.any(|name| is_named(name, pattern)) {
                bail!("there is no attack {pattern}; --list lists them");
            }
        }
        Ok(Self {
            attacks: attacks.iter().filter(|attack| is_wanted(attack.name)).collect(),
            scenarios: scenarios.iter().filter(|scenario| is_wanted(scenario.name)).collect(),
        })
    }
}

/// The binary that was built beside this one.
fn beside() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.with_file_name("rendezvous");
    path.exists().then_some(path)
}

fn print(label: &str, row: &Row) {
    let verdict = if row.violations().is_empty() { "kept" } else { "BROKEN" };
    println!("{label}: {verdict}");
    for violation in row.violations() {
        println!("    {violation}");
    }
    println!("    attacker: {}", row.attacker);
    for (phase, seen) in &row.seen {
        let mut line = format!("    {phase:?}: {} answered, {} failed", seen.answers(), seen.failures());
        for kind in seen.answered.keys() {
            let millis = |share| seen.quantile(*kind, share).map_or(0.0, |time| time.as_secs_f64() * 1e3);
            line += &format!("; {kind:?} p50 {:.1} p99 {:.1} ms", millis(0.5), millis(0.99));
        }
        println!("{line}");
    }
    println!(
        "    point: CPU {:.2} to {:.2} s/s, memory {} to {} to {} MiB, descriptors {} to {} to {}, {} log lines",
        row.cpu_before,
        row.cpu_during,
        row.resident_before >> 20,
        row.resident_peak >> 20,
        row.resident_after >> 20,
        row.descriptors_before,
        row.descriptors_peak,
        row.descriptors_after,
        row.log_lines,
    );
}
