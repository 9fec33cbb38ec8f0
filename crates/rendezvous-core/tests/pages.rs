//! Bytes of a page: what its caller reserves for it, and what it has.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may say so by panicking")]

use bytes::Bytes;
use libp2p_identity::PeerId;
use proptest::prelude::*;
use rendezvous_core::server::{Command, Discovered, PAGE_BYTES_MIN, Requester, Server, WakuCommand};
use rendezvous_record::{Flavour, Limits, VerifiedRecord};
use rendezvous_sim::{
    desk::{Desk, stranger},
    fixtures,
};
use rendezvous_wire::{Discover, Page, Request, waku};

/// A record with so many addresses: of about 100 to 5,000 bytes.
fn record(number: u64, addresses: usize, flavour: Flavour) -> VerifiedRecord {
    let long = |index| format!("/dns4/{index:0>150}.example.org/tcp/443").parse().unwrap();
    let addresses: Vec<_> = (0..addresses).map(long).collect();
    VerifiedRecord::sign(&fixtures::keypair(number), flavour, 1, &addresses, &Limits::default()).unwrap()
}

fn request(namespace: Option<&str>, limit: u64, cookie: &[u8]) -> Bytes {
    let (namespace, cookie) = (namespace.map(str::as_bytes), (!cookie.is_empty()).then_some(cookie));
    let discover = Discover { namespace, limit: Some(limit), cookie, reads: Some(3) };
    Request::Discover(discover).to_message().encode().into()
}

/// The page within a bound, and the bytes that the point said it can need.
fn discover(desk: &mut Desk, payload: &Bytes, page_bytes_max: usize) -> (Page, usize) {
    let reader = desk.server.reader();
    let Ok(Command::Discover(discover)) = reader.read(&stranger().peer, payload) else { panic!("not read") };
    let discover = discover.with_page_bytes_max(page_bytes_max);
    let needed = desk.server.page_bytes_needed(&discover);
    match desk.server.handle_discover(desk.now, &stranger(), &discover).unwrap() {
        Discovered::Page(page) => (page, needed),
        Discovered::AgentUnknown => panic!("it says what it reads"),
    }
}

fn sample(server: &mut Server, now: rendezvous_core::Time, limit: u64, page_bytes_max: usize) -> (Page, usize) {
    let discover = waku::Discover { namespace: Some(b"chat"), limit: Some(limit) };
    let payload = Bytes::from(waku::Request::Discover(discover).to_message().encode());
    let asker: PeerId = stranger().peer;
    let Ok(WakuCommand::Sample(sample)) = server.waku_reader().read(&asker, &payload) else { panic!("not read") };
    let sample = sample.with_page_bytes_max(page_bytes_max);
    let needed = server.sample_bytes_needed(&sample);
    (server.handle_sample(now, &Requester::new(asker), &sample), needed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_page_has_no_more_bytes_than_were_needed_for_it(
        registrations in prop::collection::vec((0..40_u64, 0..30_usize, any::<bool>(), any::<bool>()), 0..60),
        limit in 1..60_u64,
        in_all in any::<bool>(),
    ) {
        let mut desk = Desk::new();
        for (number, addresses, is_legacy, is_chat) in registrations {
            let flavour = if is_legacy { Flavour::Legacy } else { Flavour::Standard };
            let namespace = if is_chat { "chat" } else { "another" };
            desk.register_record(&record(number, addresses, flavour), namespace, None).unwrap();
        }
        let payload = request((!in_all).then_some("chat"), limit, &[]);
        let (whole, needed) = discover(&mut desk, &payload, usize::MAX);
        prop_assert!(whole.as_bytes().len() <= needed, "{} of {needed}", whole.as_bytes().len());
        let (bounded, _) = discover(&mut desk, &payload, needed);
        prop_assert_eq!(bounded.as_bytes(), whole.as_bytes(), "with what it needs it is the same page");

        let now = desk.now;
        let (whole, needed) = sample(&mut desk.server, now, limit, usize::MAX);
        prop_assert!(whole.as_bytes().len() <= needed, "{} of {needed}", whole.as_bytes().len());
        let (bounded, _) = sample(&mut desk.server, now, limit, needed);
        prop_assert_eq!(bounded.count(), whole.count());
    }
}

#[test]
fn a_small_listing_needs_few_bytes_whatever_the_limit() {
    let mut desk = Desk::new();
    for number in 0..10 {
        desk.register_record(&record(number, 1, Flavour::Standard), "chat", None).unwrap();
    }
    let (page, needed) = discover(&mut desk, &request(Some("chat"), 1_000, &[]), usize::MAX);
    assert!(needed < page.as_bytes().len() + 2_000, "{needed} for {}", page.as_bytes().len());
    // A huge record elsewhere changes nothing for a namespace that has small ones.
    desk.register_record(&record(99, 30, Flavour::Standard), "another", None).unwrap();
    assert_eq!(discover(&mut desk, &request(Some("chat"), 1_000, &[]), usize::MAX).1, needed);
    let (page, needed) = discover(&mut desk, &request(Some("nobody"), 1_000, &[]), usize::MAX);
    assert!(page.count() == 0 && needed < 2_000, "{needed}");
}

#[test]
fn a_page_with_little_room_has_fewer_registrations_and_the_listing_goes_on() {
    let mut desk = Desk::new();
    for number in 0..50 {
        desk.register_record(&record(number, 3, Flavour::Standard), "chat", None).unwrap();
    }
    for room in [0, 1, 3_000, 10_000, PAGE_BYTES_MIN] {
        let (mut cookie, mut listed, mut pages) = (Vec::new(), 0, 0);
        loop {
            let (page, _) = discover(&mut desk, &request(Some("chat"), 1_000, &cookie), room);
            pages += 1;
            let bound = if page.count() == 1 { room.max(PAGE_BYTES_MIN) } else { room };
            assert!(listed == 50 || page.as_bytes().len() <= bound, "{} within {room}", page.as_bytes().len());
            if page.count() == 0 {
                break;
            }
            listed += page.count();
            let (payload, _) =
                rendezvous_wire::frame::split(page.as_bytes(), usize::MAX).unwrap().expect("a whole frame");
            let answer = rendezvous_wire::Response::decode(payload).unwrap();
            let rendezvous_wire::Response::Discover(answer) = answer else { panic!("another response") };
            cookie = answer.cookie.unwrap().to_vec();
        }
        assert_eq!(listed, 50, "within {room}");
        assert!(room > 0 || pages == 51, "{pages} pages");
    }
    let now = desk.now;
    assert_eq!(sample(&mut desk.server, now, 10, 0).0.count(), 1);
    let (page, _) = sample(&mut desk.server, now, 50, 5_000);
    assert!((2..10).contains(&page.count()), "{}", page.count());
    assert!(page.as_bytes().len() <= 5_000);
}
