//! The point's operations at 1k, 100k and 1M registrations: what grows, and how.

use std::{hint::black_box, time::Duration};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rendezvous_bench::{NAMESPACE, filled, ttl_of};
use rendezvous_record::{Flavour, VerifiedRecord};
use rendezvous_sim::fixtures;
use rendezvous_wire::PositionCookie;

/// Records that come and go during a measurement.
const SAMPLE: u64 = 10_000;

fn registry(c: &mut Criterion) {
    let sizes: Vec<u64> = match std::env::var("RENDEZVOUS_BENCH_SIZES") {
        Ok(sizes) => {
            sizes.split(',').map(|size| size.parse().expect("RENDEZVOUS_BENCH_SIZES is a list of numbers")).collect()
        }
        Err(_) => vec![1_000, 100_000, 1_000_000],
    };
    for size in sizes {
        let mut point = filled(size);
        let newcomers: Vec<VerifiedRecord> =
            (0..SAMPLE).map(|number| fixtures::record(size + number, Flavour::Standard)).collect();
        let step = (size / SAMPLE.min(size)).max(1);
        let members: Vec<VerifiedRecord> = (0..size)
            .step_by(step as usize)
            .take(SAMPLE as usize)
            .map(|number| fixtures::record(number, Flavour::Standard))
            .collect();

        let mut group = c.benchmark_group("registry");
        group.measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));

        // A registration and its withdrawal, so that the size stays.
        let mut next = newcomers.iter().enumerate().cycle();
        group.bench_function(BenchmarkId::new("register_and_unregister", size), |b| {
            b.iter(|| {
                let (number, record) = next.next().expect("the cycle has no end");
                let peer = record.peer_id();
                point.register(NAMESPACE, record.clone(), ttl_of(number as u64));
                let unregister = point.reader.unregister_decoded(Some(NAMESPACE)).expect("a valid namespace");
                point.server.handle_unregister(point.now, &peer, &unregister);
            });
        });
        let mut next = members.iter().enumerate().cycle();
        group.bench_function(BenchmarkId::new("renew", size), |b| {
            b.iter(|| {
                let (number, record) = next.next().expect("the cycle has no end");
                point.register(NAMESPACE, record.clone(), ttl_of(number as u64));
            });
        });
        // One expiry: a registration ends in a second, and time moves on by one.
        let mut next = newcomers.iter().cycle();
        group.bench_function(BenchmarkId::new("expire_1000", size), |b| {
            b.iter_batched_ref(
                || (),
                |()| {
                    // The registering is measured with it; see `register_and_unregister` for its share.
                    for record in next.by_ref().take(1_000) {
                        point.register(NAMESPACE, record.clone(), rendezvous_wire::Ttl::from_secs(60));
                    }
                    point.now = point.now + Duration::from_secs(61);
                    let before = point.server.stats().expiries;
                    while point.server.stats().expiries < before + 1_000 {
                        point.server.handle_timeout(point.now);
                    }
                },
                BatchSize::PerIteration,
            );
        });
        for limit in [100, 1_000] {
            group.throughput(Throughput::Elements(limit));
            // Follow the cookie, so that pages come from all over the namespace.
            let mut cookie: Option<Vec<u8>> = None;
            group.bench_function(BenchmarkId::new(format!("discover_{limit}"), size), |b| {
                b.iter(|| {
                    let page = point.discover(limit, cookie.as_deref());
                    cookie = next_cookie(&page, limit);
                    black_box(page)
                });
            });
        }
        for limit in [50, 1_000] {
            group.throughput(Throughput::Elements(limit));
            group.bench_function(BenchmarkId::new(format!("sample_{limit}"), size), |b| {
                b.iter(|| black_box(point.sample(limit)));
            });
        }
        group.finish();
    }
}

/// The cookie of a full page; after a last page the walk starts again.
fn next_cookie(page: &rendezvous_wire::Page, limit: u64) -> Option<Vec<u8>> {
    if (page.count() as u64) < limit {
        return None;
    }
    let bytes = page.as_bytes();
    // The page ends with its cookie and the status: tag 18, two bytes; the cookie is 8 bytes and the namespace.
    let end = bytes.len() - 2;
    let cookie = bytes[end - 8 - NAMESPACE.len()..end].to_vec();
    PositionCookie::decode(&cookie).expect("the cookie stands before the status");
    Some(cookie)
}

criterion_group!(benches, registry);
criterion_main!(benches);
