//! Reading and writing messages.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rendezvous_record::Flavour;
use rendezvous_sim::fixtures;
use rendezvous_wire::{PageWriter, Register, Request, Response, frame};

fn wire(c: &mut Criterion) {
    let records: Vec<_> = (0..1_000).map(|number| fixtures::record(number, Flavour::Standard)).collect();
    let mut register = Vec::new();
    let request = Request::Register(Register {
        namespace: Some(b"/bench/chat/1"),
        signed_peer_record: Some(records[0].envelope()),
        ttl_secs: Some(7_200),
    });
    request.encode_frame(&mut register);
    let (payload, _) = frame::split(&register, frame::REQUEST_BYTES_MAX).expect("a frame").expect("a whole one");
    c.bench_function("wire/decode_register", |b| b.iter(|| Request::decode(black_box(payload)).is_ok()));

    let page = || {
        let mut page = PageWriter::new(frame::PAGE_BYTES_MAX);
        page.reserve(256_000);
        for record in &records {
            assert!(page.push(b"/bench/chat/1", record.envelope(), 7_200));
        }
        page.finish(&[0; 21])
    };
    let bytes = page();
    let (payload, _) = frame::split(bytes.as_bytes(), frame::PAGE_BYTES_MAX).expect("a frame").expect("a whole one");
    let mut group = c.benchmark_group("wire");
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("decode_page_of_1000", |b| {
        b.iter(|| {
            let Ok(Response::Discover(answer)) = Response::decode(black_box(payload)) else { panic!("a page") };
            answer.registrations.iter().flatten().filter_map(|registration| registration.signed_peer_record).count()
        });
    });
    group.bench_function("encode_page_of_1000", |b| b.iter(page));
    group.finish();
}

criterion_group!(benches, wire);
criterion_main!(benches);
