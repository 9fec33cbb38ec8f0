//! Verifying records: singly, in batches, and from memory.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rendezvous_record::{Flavour, Limits, MemoryLimits, VerifiedRecord, Verifier, verify_batch};
use rendezvous_sim::fixtures;

fn record(c: &mut Criterion) {
    let limits = Limits::default();
    let envelopes: Vec<Bytes> =
        (0..1_024).map(|number| fixtures::record(number, Flavour::Standard).envelope().clone()).collect();
    c.bench_function("record/verify", |b| {
        let mut next = envelopes.iter().cycle();
        b.iter(|| {
            let envelope = next.next().expect("the cycle has no end").clone();
            VerifiedRecord::verify(black_box(envelope), &limits).is_ok()
        });
    });
    let mut group = c.benchmark_group("record/verify_batch");
    for size in [1, 16, 64, 256, 1_024] {
        group.throughput(Throughput::Elements(size));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| verify_batch(envelopes.iter().take(size as usize).cloned(), &limits));
        });
    }
    group.finish();
    let mut verifier = Verifier::new(limits, MemoryLimits::default());
    let first = verifier.verify_page(envelopes.iter().cloned());
    assert!(first.iter().all(Result::is_ok));
    let mut group = c.benchmark_group("record/verify_remembered");
    group.throughput(Throughput::Elements(1_024));
    group.bench_function("1024", |b| b.iter(|| verifier.verify_page(envelopes.iter().cloned())));
    group.finish();
}

criterion_group!(benches, record);
criterion_main!(benches);
