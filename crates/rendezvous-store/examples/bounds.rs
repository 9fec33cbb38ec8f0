//! Measures the embedded store: `cargo run --release -p rendezvous-store --example bounds -- DIRECTORY`, on the disk in question.
//!
//! What it prints: the time and memory that opening a point with a million registrations takes, commits per second in groups
//! of several sizes, and the bytes that a registration takes on the disk after it has been renewed often.

use std::{
    env,
    error::Error,
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p_identity::PeerId;
use rendezvous_core::{
    Time,
    server::{Change, IpPrefix, Origin, Put, ServerConfig},
};
use rendezvous_record::Flavour;
use rendezvous_store::{Embedded, Store};
use rendezvous_wire::Namespace;

const NOW: Time = Time::from_unix_millis(1_700_000_000_000);
const REGISTRATIONS: u64 = 1_000_000;
const NAMESPACES: u64 = 1_000;
/// Of an ordinary record.
const RECORD_BYTES: usize = 300;

type Result<T> = core::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().collect();
    match &arguments[1..] {
        [load, directory] if load == "load" => load_all(Path::new(directory)),
        [directory] => measure(Path::new(directory)),
        _ => Err("usage: bounds DIRECTORY".into()),
    }
}

fn measure(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    let many = directory.join("many");
    let start = Instant::now();
    let mut store = Embedded::open(&many)?;
    store.load(NOW, &mut |_| Ok(()))?;
    for group in 0..REGISTRATIONS / 1_000 {
        store.commit(NOW, &(0..1_000).map(|at| put(group * 1_000 + at, 0)).collect::<Result<Vec<_>>>()?)?;
    }
    println!("{REGISTRATIONS} registered in {:.1?}", start.elapsed());
    drop(store);
    println!("bytes on the disk per registration: {}", disk_bytes(&many)? / REGISTRATIONS);
    // In a process of its own, so that its memory is told apart.
    let status = Command::new(env::current_exe()?).arg("load").arg(&many).status()?;
    assert!(status.success());

    for size in [1, 16, 256] {
        let mut store = Embedded::open(directory.join("groups"))?;
        store.load(NOW, &mut |_| Ok(()))?;
        let (start, mut commits, mut slowest) = (Instant::now(), 0, Duration::ZERO);
        while start.elapsed() < Duration::from_secs(5) {
            let changes = (0..size).map(|at| put(commits * size + at, commits)).collect::<Result<Vec<_>>>()?;
            let begun = Instant::now();
            store.commit(NOW, &changes)?;
            slowest = slowest.max(begun.elapsed());
            commits += 1;
        }
        println!(
            "groups of {size}: {} commits and {} registrations per second, slowest {slowest:.1?}",
            commits / 5,
            commits * size / 5
        );
    }

    let renewed = directory.join("renewed");
    let mut store = Embedded::open(&renewed)?;
    store.load(NOW, &mut |_| Ok(()))?;
    let start = Instant::now();
    let (registrations, rounds) = (20_000, 100);
    for round in 0..rounds {
        for group in 0..registrations / 500 {
            store.commit(NOW, &(0..500).map(|at| put(group * 500 + at, round)).collect::<Result<Vec<_>>>()?)?;
        }
    }
    println!("{registrations} registrations renewed {rounds} times in {:.1?}", start.elapsed());
    println!("bytes on the disk per registration: {}", disk_bytes(&renewed)? / registrations);
    drop(store);
    let start = Instant::now();
    drop(Embedded::open(&renewed)?);
    println!("and after the next start, in {:.1?}: {}", start.elapsed(), disk_bytes(&renewed)? / registrations);
    Ok(())
}

fn load_all(directory: &Path) -> Result<()> {
    let start = Instant::now();
    let mut store = Embedded::open(directory)?;
    let opened_in = start.elapsed();
    let config = ServerConfig::default();
    let (server, opened) = rendezvous_store::open(&mut store, NOW, config, [7; 16], &mut |_| {})?;
    println!("{} read in {:.1?}, of which {opened_in:.1?} until the first", opened.registrations, start.elapsed());
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("unknown");
    println!("peak memory: {peak}; of it the registry {} kB", server.allocated_bytes() / 1_024);
    Ok(())
}

/// A registration as the store sees it, which does not look into records. `round` makes its bytes others.
fn put(number: u64, round: u64) -> Result<Change> {
    let mut peer = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    peer.extend((0..4).flat_map(|part: u64| mixed(4 * number + part).to_be_bytes()));
    // What of a record does not repeat: the key, a signature, and the rest.
    let mut record = peer.clone();
    while record.len() < RECORD_BYTES {
        let at = record.len() as u64;
        record.extend(mixed(number ^ mixed(round + 7 * at)).to_be_bytes());
    }
    Ok(Change::Put(Put {
        peer: PeerId::from_bytes(&peer)?,
        namespace: Namespace::new(&format!("namespace-{}", number % NAMESPACES))?,
        position: NOW.as_unix_millis() * 1_000 + round * REGISTRATIONS + number,
        kind: Flavour::Standard.into(),
        record: Bytes::from(record),
        ends: NOW + Duration::from_secs(7_200),
        origin: Origin::Prefix(IpPrefix::V4([10, (number >> 8) as u8, number as u8])),
    }))
}

fn mixed(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// What the files take, holes not counted.
fn disk_bytes(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { disk_bytes(&entry.path())? } else { allocated(&metadata) };
    }
    Ok(bytes)
}

#[cfg(unix)]
fn allocated(metadata: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    metadata.blocks() * 512
}

#[cfg(not(unix))]
fn allocated(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}
