//! Runs worlds from seeds, and says what did not hold.
//!
//! `simulate --seed N [--trace]` runs one; `simulate --seeds N [--start S]` runs many, in two threads.

use std::{
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rendezvous_sim::simulation::{Options, Tally, Trace, Violation, simulate};

const USAGE: &str = "\
usage: simulate --seed N [--trace]
       simulate --seeds N [--start S]";

/// Runs at a time.
const THREADS: u64 = 2;

/// Failures after which no further run begins.
const VIOLATIONS_MAX: usize = 10;

const PROGRESS_EVERY: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().ok();
    let is_done = match args[..] {
        ["--seed", seed] => number(seed).map(|seed| one(seed, Trace::Off)),
        ["--seed", seed, "--trace"] => number(seed).map(|seed| one(seed, Trace::Print)),
        ["--seeds", count] => number(count).map(|count| many(0, count)),
        ["--seeds", count, "--start", start] | ["--start", start, "--seeds", count] => {
            number(start).zip(number(count)).map(|(start, count)| many(start, count))
        }
        _ => None,
    };
    is_done.unwrap_or_else(|| {
        eprintln!("{USAGE}");
        ExitCode::from(2)
    })
}

fn one(seed: u64, trace: Trace) -> ExitCode {
    let outcome = simulate(seed, Options { trace, ..Options::default() });
    println!("{}", outcome.tally);
    verdict(outcome.violation.as_slice())
}

/// What the threads have in common.
#[derive(Default)]
struct Runs {
    next: AtomicU64,
    done: AtomicU64,
    sum: Mutex<(Tally, Vec<Violation>)>,
}

fn many(start: u64, count: u64) -> ExitCode {
    let (runs, began) = (Runs::default(), Instant::now());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| work(&runs, start, count))).collect();
        let mut told = Instant::now();
        while workers.iter().any(|worker| !worker.is_finished()) {
            thread::sleep(Duration::from_millis(50));
            if told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                eprintln!("{}", progress(&runs, count, began));
            }
        }
    });
    eprintln!("{}", progress(&runs, count, began));
    let (tally, mut violations) = runs.sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{tally}");
    violations.sort_by_key(|violation| violation.seed);
    verdict(&violations)
}

fn work(runs: &Runs, start: u64, count: u64) {
    loop {
        let index = runs.next.fetch_add(1, Ordering::Relaxed);
        if index >= count {
            return;
        }
        let outcome = simulate(start + index, Options::default());
        runs.done.fetch_add(1, Ordering::Relaxed);
        let mut sum = runs.sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.0.add(&outcome.tally);
        if let Some(violation) = outcome.violation {
            sum.1.push(violation);
        }
        if sum.1.len() >= VIOLATIONS_MAX {
            return;
        }
    }
}

fn progress(runs: &Runs, count: u64, began: Instant) -> String {
    let (done, secs) = (runs.done.load(Ordering::Relaxed), began.elapsed().as_secs_f64());
    format!("{done} of {count} seeds in {secs:.0} s, {:.1} a second", done as f64 / secs.max(0.001))
}

fn verdict(violations: &[Violation]) -> ExitCode {
    for violation in violations {
        println!("{violation}");
    }
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
