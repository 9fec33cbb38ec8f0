//! Attacks on the registrations and on the verification of records.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use libp2p::identity::Keypair;
use rendezvous_record::Flavour;
use rendezvous_wire::Status;
use tokio::{task::yield_now, time::sleep};

use super::{Attack, DEFAULT, Running, running};
use crate::{
    arena::{Arena, Session, Then},
    point::Options,
    raw::{Reading, frame},
    request, run,
};

/// Namespaces of one key, as many as the point takes.
const NAMESPACES: u32 = 1_000;

/// Of these, in one stream.
const AT_ONCE: u32 = 100;

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new(
        "fill-registry",
        "one address registers as fast as it can, a fresh key for each 1,000 names",
        fill_registry,
    )
    .from(1)
    .lasting(4),
    Attack::new("fill-registry-spread", "as fill-registry, over 64 connections", fill_registry_spread).lasting(4),
    Attack::new(
        "fill-registry-full",
        "as fill-registry, at a point whose total is scaled down to 30,000 registrations",
        fill_registry_spread,
    )
    .from(1)
    .lasting(6)
    .with(Options { scaled: Some(("RENDEZVOUS_REGISTRATIONS_MAX", "30000")), ..DEFAULT }),
    Attack::new("foreign-ecdsa", "a foreign ECDSA record is replayed, pipelined, over 16 connections", foreign_ecdsa),
    Attack::new("foreign-rsa", "a foreign RSA record is replayed, pipelined, over 16 connections", foreign_rsa),
    Attack::new("own-ecdsa", "peers with ECDSA keys register as fast as they can, a new record each time", own_ecdsa),
    Attack::new("forged-records", "records of the peer's own key whose signature is wrong", forged_records),
    Attack::new("namespace-flood", "DISCOVERs of namespaces that nobody has, each another", namespace_flood),
    Attack::new("forged-cookies", "DISCOVERs with cookies of random bytes, each another", forged_cookies),
];

/// Sends frames that `next` makes, one stream after the other with so many on each.
async fn pipelined(arena: &Arena, session: &Session, per_stream: usize, mut next: impl FnMut(u64) -> Vec<u8>) -> bool {
    let mut number = 0;
    while !arena.is_over() {
        let mut frames = Vec::new();
        for _ in 0..per_stream {
            let bytes = next(number);
            if frames.len() + bytes.len() > frame::WINDOW_BYTES as usize / 2 {
                break;
            }
            frames.extend_from_slice(&bytes);
            number += 1;
        }
        if !session.open(&request::stream(&frames), Then::Finish).await {
            return false;
        }
        arena.counts.done.fetch_add(per_stream as u64, Relaxed);
        arena.counts.bytes.fetch_add(frames.len() as u64, Relaxed);
        // Streams above the point's limit would be reset and their requests unread.
        sleep(Duration::from_millis(2)).await;
    }
    true
}

async fn fill(arena: Arena, number: u32) -> bool {
    let key = arena.fresh_key();
    let Ok(record) = request::record(&key, 1) else { return false };
    let Ok(Session::Tcp(link)) = arena.session_of(number, &key, Reading::Honest).await else { return false };
    let run = std::process::id();
    let mut first = 0;
    while first < NAMESPACES && !arena.is_over() {
        let mut frames = Vec::new();
        for namespace in first..first + AT_ONCE {
            frames.extend_from_slice(&request::register(&format!("fill/{run}/{namespace}"), record.envelope()));
        }
        first += AT_ONCE;
        let Ok(answers) = run::exchange(&link, &frames, AT_ONCE as usize).await else { return false };
        for answer in answers {
            match request::status(&answer) {
                Ok((Status::Ok, _)) => arena.counts.done.fetch_add(1, Relaxed),
                _ => arena.counts.refused.fetch_add(1, Relaxed),
            };
        }
    }
    true
}

fn fill_registry(arena: Arena) -> Running {
    running(async move {
        arena.each(16, fill).await;
        Ok(())
    })
}

fn fill_registry_spread(arena: Arena) -> Running {
    running(async move {
        arena.each(64, fill).await;
        Ok(())
    })
}

fn replay(arena: Arena, foreign: Keypair) -> Running {
    running(async move {
        let record = Arc::new(request::record(&foreign, 3)?);
        arena
            .each(16, move |arena, number| {
                let record = Arc::clone(&record);
                async move {
                    let Ok(session) = arena.session(number, Reading::Honest).await else { return false };
                    pipelined(&arena, &session, 20, |_| request::register("foreign", record.envelope())).await
                }
            })
            .await;
        Ok(())
    })
}

fn foreign_ecdsa(arena: Arena) -> Running {
    replay(arena, Keypair::generate_ecdsa())
}

fn foreign_rsa(arena: Arena) -> Running {
    running(async move {
        let key = rsa_key()?;
        replay(arena, key).await
    })
}

/// A key of 2,048 bits: larger ones cost the point a little more, and the attacker's start seconds.
fn rsa_key() -> anyhow::Result<Keypair> {
    use rsa::pkcs8::EncodePrivateKey as _;
    let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2_048)?;
    let mut der = key.to_pkcs8_der()?.as_bytes().to_vec();
    Ok(Keypair::rsa_from_pkcs8(&mut der)?)
}

fn own_ecdsa(arena: Arena) -> Running {
    running(async move {
        arena
            .each(16, |arena, number| async move {
                let key = Keypair::generate_ecdsa();
                let Ok(session) = arena.session_of(number, &key, Reading::Honest).await else { return false };
                // Signed beforehand, and sent again and again: the point cannot know.
                let records: Vec<_> =
                    (0..50).filter_map(|_| request::record_of(&key, 1, Flavour::Standard).ok()).collect();
                pipelined(&arena, &session, 20, |turn| {
                    request::register("own", records[turn as usize % records.len()].envelope())
                })
                .await
            })
            .await;
        Ok(())
    })
}

fn forged_records(arena: Arena) -> Running {
    running(async move {
        arena
            .each(16, |arena, number| async move {
                let key = arena.fresh_key();
                let Ok(record) = request::record(&key, 3) else { return false };
                let Ok(session) = arena.session_of(number, &key, Reading::Honest).await else { return false };
                let mut forged = record.envelope().to_vec();
                // The signature is the last field of the envelope.
                if let Some(last) = forged.last_mut() {
                    *last ^= 1;
                }
                pipelined(&arena, &session, 50, |_| request::register("forged", &forged)).await
            })
            .await;
        Ok(())
    })
}

fn namespace_flood(arena: Arena) -> Running {
    running(async move {
        arena
            .each(16, |arena, number| async move {
                let Ok(session) = arena.session(number, Reading::Honest).await else { return false };
                let done = pipelined(&arena, &session, 100, |turn| {
                    request::discover(Some(&format!("nobody/{number}/{turn}")), 10, &[])
                });
                done.await
            })
            .await;
        Ok(())
    })
}

fn forged_cookies(arena: Arena) -> Running {
    running(async move {
        arena
            .each(16, |arena, number| async move {
                let Ok(session) = arena.session(number, Reading::Honest).await else { return false };
                let done = pipelined(&arena, &session, 100, |turn| {
                    let mut cookie = [0xc7; 40];
                    cookie[..8].copy_from_slice(&turn.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
                    request::discover(None, 10, &cookie)
                });
                let whole = done.await;
                yield_now().await;
                whole
            })
            .await;
        Ok(())
    })
}
