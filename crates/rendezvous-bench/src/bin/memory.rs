//! Bytes of memory per registration beyond its record.
//!
//! `cargo run --release -p rendezvous-bench --bin memory -- 1000000 50000` for a million registrations from 50,000 networks: one
//! IPv6 /56 each, in /48s of 256. Without the second number all come from nowhere.

use rendezvous_bench::{NAMESPACE, filled, ttl_of};
use rendezvous_core::server::{IpPrefix, Origin};
use rendezvous_record::Flavour;
use rendezvous_sim::fixtures;

fn main() {
    let count: u64 = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1_000_000);
    let networks: Option<u64> = std::env::args().nth(2).and_then(|networks| networks.parse().ok());
    // What the program itself and the allocator take is there before the measurement.
    let mut point = filled(1_000);
    let before = resident_bytes();
    let mut records = 0_u64;
    for number in 1_000..1_000 + count {
        let record = fixtures::record(number, Flavour::Standard);
        records += record.envelope().len() as u64;
        let origin = networks.map_or(Origin::Unlocated, |networks| network(number % networks));
        point.register_from(origin, NAMESPACE, record, ttl_of(number));
    }
    let grown = resident_bytes().saturating_sub(before);
    println!(
        "{count} registrations: {} bytes resident each, of which the record {}, so beyond it {}",
        grown / count,
        records / count,
        grown.saturating_sub(records) as f64 / count as f64,
    );
}

fn network(number: u64) -> Origin {
    let [.., a, b, c, d] = number.to_be_bytes();
    Origin::Prefix(IpPrefix::V6([0x20, 1, 0xd, a, b, c, d]))
}

/// Resident memory of this process in bytes, as Linux counts it.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this program measures on Linux");
    let pages: u64 =
        statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("the second field is a number");
    pages * 4_096
}
