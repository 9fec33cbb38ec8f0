//! Shares of the registrations for each network: who fills a point does not shut the others out, and nothing that was
//! acknowledged makes way.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may say so by panicking")]

use rendezvous_core::server::{
    IpPrefix, LimitNotice, Origin, PREFIX_SHARE_MIN, Refusal, RefusalKind, SHARES_PER_32, SHARES_PER_48, ServerConfig,
};
use rendezvous_record::Flavour;
use rendezvous_sim::{
    desk::{Desk, peer},
    fixtures,
};
use rendezvous_wire::{MessageType, Status, Ttl};

const HOURS_72: u64 = 72 * 3_600;
const HOURS_2: u64 = 2 * 3_600;

fn network(number: u32) -> Origin {
    Origin::Prefix(IpPrefix::V4([10, (number >> 8) as u8, number as u8]))
}

fn ipv6(bytes: [u8; 7]) -> Origin {
    Origin::Prefix(IpPrefix::V6(bytes))
}

/// Registers from one origin with fresh keys until it is refused; how many were taken, and the refusal.
fn fill(desk: &mut Desk, next: &mut u64, origin: Origin, ttl_secs: u64) -> (usize, Refusal) {
    desk.origin = origin;
    for taken in 0.. {
        *next += 1;
        if let Err(refusal) = desk.register(*next, "chat", ttl_secs) {
            return (taken, refusal);
        }
    }
    unreachable!("a point has bounds")
}

#[test]
fn the_default_share_of_a_network_is_a_hundredth_of_the_total() {
    let share = |max| {
        let mut config = ServerConfig::default();
        config.registrations_max = max;
        config.prefix_share()
    };
    assert_eq!(share(1_000_000), 10_000);
    assert_eq!(share(10_000_000), 100_000);
    assert_eq!(share(50_000), PREFIX_SHARE_MIN);
    assert_eq!(share(10), PREFIX_SHARE_MIN);
}

#[test]
fn one_network_cannot_fill_the_point_and_another_registers_beside_it() {
    let mut desk = Desk::with(|config| config.registrations_max = 10_000);
    let mut next = 1_000;
    let (taken, refusal) = fill(&mut desk, &mut next, network(1), HOURS_72);
    assert_eq!((taken, &refusal), (1_000, &Refusal::PrefixFull { max: 1_000 }));
    assert_eq!(refusal.status(MessageType::Register), Status::Unavailable);
    assert!(desk.register(1_001, "chat", HOURS_72).is_ok(), "a renewal passes");
    desk.origin = network(2);
    assert_eq!(desk.register(1, "chat", HOURS_72), Ok(Ttl::from_secs(HOURS_72)));
}

#[test]
fn connections_without_an_address_share_one_bucket_and_exempt_networks_have_none() {
    let mut desk = Desk::with(|config| config.registrations_per_prefix_max = Some(3));
    let mut next = 0;
    assert_eq!(fill(&mut desk, &mut next, Origin::Unlocated, HOURS_2), (3, Refusal::PrefixFull { max: 3 }));
    desk.origin = Origin::Exempt;
    for number in 100..120 {
        desk.register(number, "chat", HOURS_2).unwrap();
    }
    desk.origin = network(1);
    desk.register(200, "chat", HOURS_2).unwrap();
    let mut all = Desk::with(|config| config.registrations_per_prefix_max = Some(usize::MAX));
    for number in 0..20 {
        all.register(number, "chat", HOURS_2).unwrap();
    }
}

#[test]
fn who_owns_an_ipv6_48_or_32_has_more_shares_but_not_one_for_each_prefix() {
    let mut desk = Desk::with(|config| config.registrations_per_prefix_max = Some(10));
    let mut next = 0;
    let mut of_site = 0;
    for last in 0..=u8::MAX {
        of_site += fill(&mut desk, &mut next, ipv6([0x20, 1, 0xd, 0xb8, 0, 1, last]), HOURS_2).0;
    }
    assert_eq!(of_site, 10 * SHARES_PER_48, "a /48");
    let mut of_provider = of_site;
    for site in 2..=u8::MAX {
        of_provider += fill(&mut desk, &mut next, ipv6([0x20, 1, 0xd, 0xb8, 0, site, 0]), HOURS_2).0;
    }
    assert_eq!(of_provider, 10 * SHARES_PER_32, "a /32");
    assert_eq!(fill(&mut desk, &mut next, ipv6([0x20, 1, 0xd, 0xb9, 0, 1, 0]), HOURS_2).0, 10, "another provider");
    // What ends makes room in every block around it.
    let first = peer(1);
    desk.unregister(&first, None);
    assert_eq!(fill(&mut desk, &mut next, ipv6([0x20, 1, 0xd, 0xb8, 0, 0xff, 9]), HOURS_2).0, 1);
}

/// A renewal passes every quota; if it moved its registration too, two networks could fill the point by turns.
#[test]
fn renewals_from_another_network_do_not_go_around_its_share() {
    for is_deferred in [false, true] {
        let mut desk = Desk::with(|config| {
            config.registrations_per_prefix_max = Some(10);
            config.deferred_commit = is_deferred;
        });
        let commit = |desk: &mut Desk| {
            while let Some(batch) = desk.server.poll_commit() {
                desk.server.handle_committed(desk.now, batch.id, Ok(()));
            }
        };
        let register = |desk: &mut Desk, number: u64, origin| {
            desk.origin = origin;
            let record = fixtures::record(number, Flavour::Standard);
            let done = desk.register_pending(&record.peer_id(), Some(record.envelope()), "chat", Some(HOURS_2));
            commit(desk);
            done.is_ok()
        };
        let mut taken = 0;
        for round in 0..10 {
            for number in 0..20 {
                taken += usize::from(register(&mut desk, round * 100 + number, network(1)));
            }
            for number in 0..20 {
                let number = round * 100 + number;
                if desk.server.is_registered(&peer(number), "chat") {
                    assert!(register(&mut desk, number, network(2)), "a renewal passes");
                }
            }
        }
        assert_eq!(taken, 20, "ten for each of the two networks");
    }
}

#[test]
fn hostile_networks_fill_a_point_and_a_newcomer_still_registers_at_every_step() {
    for networks in [1, 16, 200] {
        let mut desk = Desk::with(|config| {
            // A hundredth for each network, as by default.
            config.registrations_max = 5_000;
            config.registrations_per_prefix_max = Some(50);
        });
        let (mut next, mut newcomers) = (1_000_000, 0);
        let mut honest = Vec::new();
        for round in 0..40 {
            for number in 0..networks {
                desk.origin = network(number);
                // Some of its share in each round, so that all networks grow together.
                for _ in 0..5 {
                    next += 1;
                    if desk.register(next, "chat", HOURS_72).is_err() {
                        break;
                    }
                }
            }
            // A household that was not there before, and one that was.
            desk.origin = network(10_000 + round);
            newcomers += 1;
            honest.push((newcomers, desk.origin));
            let granted = desk.register(newcomers, "chat", HOURS_2);
            assert_eq!(granted, Ok(Ttl::from_secs(HOURS_2)), "round {round} beside {networks} networks");
            for &(number, origin) in &honest {
                desk.origin = origin;
                assert_eq!(desk.register(number, "chat", HOURS_2), Ok(Ttl::from_secs(HOURS_2)), "a renewal passes");
            }
        }
        let stats = desk.server.stats();
        assert_eq!(stats.refused.of(RefusalKind::Full), 0);
        if networks == 200 {
            assert!(stats.registrations > 3_750, "{}", stats.registrations);
            assert!(stats.refused.of(RefusalKind::NearlyFull) > 0);
        }
        // Nothing that was acknowledged is gone.
        let taken = stats.registers as usize;
        assert_eq!(stats.registrations, taken);
        assert_eq!(desk.walk(Some("chat"), 1_000, &[]).len(), taken);
    }
}

#[test]
fn near_the_total_new_registrations_of_large_networks_are_refused_first() {
    let mut desk = Desk::with(|config| {
        config.registrations_max = 400;
        config.registrations_per_prefix_max = Some(100);
    });
    let mut next = 0;
    for number in 0..3 {
        assert_eq!(fill(&mut desk, &mut next, network(number), HOURS_2).1, Refusal::PrefixFull { max: 100 });
    }
    // 300 of 400: from here on the share falls with what is left, and a fourth network stops where they meet.
    let (taken, refusal) = fill(&mut desk, &mut next, network(3), HOURS_2);
    assert_eq!((taken, refusal), (50, Refusal::NearlyFull { max: 50 }));
    let (taken, refusal) = fill(&mut desk, &mut next, network(4), HOURS_2);
    assert_eq!((taken, refusal), (25, Refusal::NearlyFull { max: 25 }));
    desk.origin = network(0);
    let refusal = desk.register(next + 1, "chat", HOURS_2).unwrap_err();
    assert_eq!(refusal, Refusal::PrefixFull { max: 100 });
    assert!(desk.register(1, "chat", HOURS_2).is_ok(), "a renewal passes");
    // The last places go to networks that have nothing, one by one.
    let mut newcomers = 0;
    for number in 10..400 {
        desk.origin = network(number);
        next += 1;
        newcomers += usize::from(desk.register(next, "chat", HOURS_2).is_ok());
    }
    assert_eq!(newcomers, 25);
    assert_eq!(desk.server.stats().registrations, 400);
    let refusal = desk.register(next + 1, "chat", HOURS_2).unwrap_err();
    assert_eq!(refusal, Refusal::Full);
}

#[test]
fn a_small_point_behind_one_address_can_be_filled() {
    let mut desk = Desk::with(|config| config.registrations_max = 10);
    assert_eq!(fill(&mut desk, &mut 0, network(1), HOURS_2), (10, Refusal::Full));
    let mut desk = Desk::with(|config| config.registrations_max = 200);
    let (taken, _) = fill(&mut desk, &mut 0, network(1), HOURS_2);
    assert!((185..200).contains(&taken), "{taken} of 200, and the rest for others");
}

#[test]
fn near_the_total_the_ttl_granted_falls_to_the_default_and_never_below_what_was_left() {
    let mut desk = Desk::with(|config| {
        config.registrations_max = 100;
        config.registrations_per_prefix_max = Some(usize::MAX);
    });
    let granted = |desk: &mut Desk, number: u64, ttl| desk.register(number, "chat", ttl).unwrap().as_secs();
    for number in 0..75 {
        assert_eq!(granted(&mut desk, number, HOURS_72), HOURS_72);
    }
    let mut before = HOURS_72;
    for number in 75..100 {
        let ttl = granted(&mut desk, number, HOURS_72);
        assert!(ttl <= before && ttl >= HOURS_2, "{ttl} after {before}");
        before = ttl;
    }
    assert!(before < HOURS_2 + 4 * 3_600, "{before}");
    assert!(desk.server.stats().ttls_shortened >= 24);
    // Full: whoever asks for the default gets it, and a renewal keeps what it had.
    assert_eq!(granted(&mut desk, 99, HOURS_2), HOURS_2);
    desk.pass(3_600);
    assert_eq!(granted(&mut desk, 0, HOURS_72), HOURS_72 - 3_600);
    assert_eq!(granted(&mut desk, 98, HOURS_72 / 2), granted(&mut desk, 98, HOURS_72), "what it had left");
    let found = desk.discover(Some("chat"), 100, &[]).unwrap();
    assert!(found.found.iter().all(|found| found.ttl_secs <= HOURS_72));
    // With room there are long ones again.
    for number in 10..50 {
        desk.unregister(&peer(number), None);
    }
    assert_eq!(granted(&mut desk, 98, HOURS_72), HOURS_72);
}

#[test]
fn a_limit_that_is_met_is_told_once_a_minute_with_its_setting() {
    let mut desk = Desk::with(|config| config.registrations_per_prefix_max = Some(2));
    let mut next = 0;
    for _ in 0..3 {
        fill(&mut desk, &mut next, network(1), HOURS_2);
    }
    let refusal = Refusal::PrefixFull { max: 2 };
    let notice = LimitNotice { setting: "registrations.per_prefix_max", origin: network(1), refusal };
    assert_eq!(desk.server.poll_notice(), Some(notice.clone()));
    assert_eq!(desk.server.poll_notice(), None);
    desk.pass(60);
    fill(&mut desk, &mut next, network(1), HOURS_2);
    assert_eq!(desk.server.poll_notice(), Some(notice));
}

/// 64 bytes is what a registration may cost beyond its record. A network costs up to 24 once, however many registrations it
/// has; here each is a /56 that is alone in its /48, so twice that.
#[test]
fn counting_by_network_keeps_a_registration_within_its_memory() {
    const COUNT: u64 = 20_000;
    let beyond_records = |networks: u64| {
        let mut desk = Desk::new();
        for number in 0..COUNT {
            let [.., a, b, c] = (number % networks).to_be_bytes();
            desk.origin = ipv6([0x20, 1, a, 0xd, b, c, 0]);
            desk.register(number, "chat", HOURS_2).unwrap();
        }
        let beyond = desk.server.allocated_bytes() as u64 - desk.server.stats().record_bytes;
        beyond as f64 / COUNT as f64
    };
    let [one, some, all] = [1_000, 5_000, COUNT].map(beyond_records);
    println!("bytes beyond the record: {one} from 1000 networks, {some} from 5000, {all} from {COUNT}");
    assert!(one <= 64.0, "{one} bytes");
    assert!(some - one <= 48.0 * (0.25 - 0.05), "{some} bytes against {one}");
}
