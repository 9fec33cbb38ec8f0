//! Bytes of memory per registration beyond its record.
//!
//! `cargo run --release -p rendezvous-bench --bin memory -- 1000000`

use rendezvous_bench::{NAMESPACE, filled, ttl_of};
use rendezvous_record::Flavour;
use rendezvous_sim::fixtures;

fn main() {
    let count: u64 = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1_000_000);
    // What the program itself and the allocator take is there before the measurement.
    let mut point = filled(1_000);
    let before = resident_bytes();
    let mut records = 0_u64;
    for number in 1_000..1_000 + count {
        let record = fixtures::record(number, Flavour::Standard);
        records += record.envelope().len() as u64;
        point.register(NAMESPACE, record, ttl_of(number));
    }
    let grown = resident_bytes().saturating_sub(before);
    println!(
        "{count} registrations: {} bytes resident each, of which the record {}, so beyond it {}",
        grown / count,
        records / count,
        grown.saturating_sub(records) as f64 / count as f64,
    );
}

/// Resident memory of this process in bytes, as Linux counts it.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this program measures on Linux");
    let pages: u64 =
        statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("the second field is a number");
    pages * 4_096
}
