//! A rendezvous point to measure, on 127.0.0.1.
//!
//! `cargo run --release -p rendezvous-bench --bin point -- --server ours`

use clap::Parser;
use rendezvous_bench::point;

/// A rendezvous point to measure, on 127.0.0.1: prints its address, and ends on SIGTERM or when its standard input ends.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    point: point::Args,
}

fn main() -> anyhow::Result<()> {
    point::run(Args::parse().point)
}
