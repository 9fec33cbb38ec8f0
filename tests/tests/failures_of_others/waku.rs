//! What go-waku-rendezvous does with lifetimes and with its choice.

use core::time::Duration;
use std::collections::BTreeSet;

use bytes::Bytes;
use rendezvous_core::server::{Requester, Server, ServerConfig, WakuCommand};
use rendezvous_record::Flavour;
use rendezvous_sim::{
    desk::stranger,
    fixtures::{self, EPOCH},
};
use rendezvous_wire::{Register, frame, waku};

/// A point where so many peers have registered in the Waku dialect, naming no lifetime.
fn point(peers: u64) -> Server {
    let mut server = Server::new(EPOCH, ServerConfig::default(), [7; 16]);
    for number in 0..peers {
        let record = fixtures::record(number, Flavour::Standard);
        let register =
            Register { namespace: Some(b"mesh"), signed_peer_record: Some(record.envelope()), ttl_secs: None };
        let payload = Bytes::from(waku::Request::Register(register).to_message().encode());
        let requester = Requester::new(record.peer_id());
        let Ok(WakuCommand::Register(register)) = server.waku_reader().read(&requester.peer, &payload) else {
            panic!("a REGISTER");
        };
        server.handle_register(EPOCH, &requester, register).unwrap();
    }
    server
}

/// The records of an answer to a DISCOVER.
fn sample(server: &mut Server, after: Duration, limit: u64) -> Vec<Vec<u8>> {
    let discover = waku::Discover { namespace: Some(b"mesh"), limit: Some(limit) };
    let payload = Bytes::from(waku::Request::Discover(discover).to_message().encode());
    let requester = stranger();
    let Ok(WakuCommand::Sample(sample)) = server.waku_reader().read(&requester.peer, &payload) else {
        panic!("a DISCOVER");
    };
    let page = server.handle_sample(EPOCH + after, &requester, &sample);
    let (payload, _) = frame::split(page.as_bytes(), frame::PAGE_BYTES_MAX).unwrap().unwrap();
    let Ok(waku::Response::Discover(answer)) = waku::Response::decode(payload) else { panic!("an answer") };
    answer.registrations.iter().map(|it| it.unwrap().signed_peer_record.unwrap().to_vec()).collect()
}

/// "The TTL added as nanoseconds: records live 0.5 s."
#[test]
fn a_record_lives_for_20_seconds_and_not_for_half_a_second() {
    let mut server = point(1);
    for (millis, listed) in [(0, 1), (500, 1), (10_000, 1), (19_800, 1), (20_000, 0)] {
        assert_eq!(sample(&mut server, Duration::from_millis(millis), 10).len(), listed, "after {millis} ms");
    }
}

/// "Random choice by seeking random keys returns 1 or 2 of 500 records."
#[test]
fn a_random_choice_of_50_of_500_has_50_and_in_time_all_of_them() {
    let mut server = point(500);
    let mut seen = BTreeSet::new();
    // A record is missing from one choice with a chance of 0.9, and from all of them with one of 10^-13.
    for _ in 0..280 {
        let chosen: BTreeSet<_> = sample(&mut server, Duration::from_secs(1), 50).into_iter().collect();
        assert_eq!(chosen.len(), 50, "no fewer, and none twice");
        seen.extend(chosen);
    }
    assert_eq!(seen.len(), 500);
}
