//! Attacks that have never succeeded: they are here so that it stays so.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::sleep,
};

use super::{Attack, Running, running};
use crate::{
    arena::{Arena, Then},
    raw::{self, Reading},
    request,
};

const UNREAD: Reading = Reading::Frames { pong_delay: Duration::ZERO };

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new("slow-handshakes", "sockets that send one byte of the negotiation every 100 ms", slow_handshakes),
    Attack::new("half-frames", "streams with half a REGISTER on each, 100 for each of 64 connections", half_frames)
        .both(),
    Attack::new(
        "one-byte-a-second",
        "a REGISTER at one byte a second, on 100 streams of 64 connections",
        byte_a_second,
    ),
    Attack::new("unknown-protocols", "streams that ask for protocols that nobody speaks", unknown_protocols).both(),
    Attack::new("huge-proposals", "proposals of 16 KiB, without end, on stream after stream", huge_proposals),
    Attack::new("protobuf-bombs", "payloads with 30,000 empty fields, nested messages and lengths that lie", bombs)
        .both(),
];

fn slow_handshakes(arena: Arena) -> Running {
    running(async move {
        let count = 32 * arena.sources.prefixes;
        arena
            .each(count.min(1_024), |arena, number| async move {
                let source = arena.sources.address(number);
                let Ok(mut stream) = raw::tcp_without_linger(source, arena.target.tcp).await else { return false };
                arena.counts.connections.fetch_add(1, Relaxed);
                let mut scratch = [0; 256];
                for byte in raw::negotiation("/noise") {
                    if arena.is_over() {
                        return true;
                    }
                    if stream.write_all(&[byte]).await.is_err() {
                        return false;
                    }
                    sleep(Duration::from_millis(100)).await;
                }
                tokio::select! {
                    () = arena.over() => true,
                    _ = stream.read(&mut scratch) => false,
                }
            })
            .await;
        Ok(())
    })
}

/// A whole REGISTER of this size whose record is none.
fn no_record(bytes: usize) -> Vec<u8> {
    request::register("half", &vec![0x55; bytes])
}

fn half_frames(arena: Arena) -> Running {
    running(async move {
        arena
            .each(64, |arena, number| async move {
                let Ok(session) = arena.session(number, UNREAD).await else { return false };
                let frame = no_record(60_000);
                let opening = request::stream(&frame[..frame.len() / 2]);
                for _ in 0..100 {
                    if !session.open(&opening, Then::Keep).await {
                        return false;
                    }
                    arena.counts.done.fetch_add(1, Relaxed);
                }
                tokio::select! {
                    () = session.closed() => false,
                    () = arena.over() => true,
                }
            })
            .await;
        Ok(())
    })
}

fn byte_a_second(arena: Arena) -> Running {
    running(async move {
        arena
            .each(64, |arena, number| async move {
                let Ok(link) = arena.link(number, UNREAD).await else { return false };
                let opening = request::stream(&[]);
                let mut streams = Vec::new();
                for _ in 0..100 {
                    let Some(stream) = link.open(&opening).await else { return false };
                    streams.push(stream);
                }
                for byte in no_record(1_000) {
                    for &stream in &streams {
                        let mut bytes = Vec::new();
                        raw::frame::data(0, stream, &[byte], &mut bytes);
                        if !link.send(bytes).await {
                            return false;
                        }
                    }
                    tokio::select! {
                        () = arena.over() => return true,
                        () = sleep(Duration::from_secs(1)) => {}
                    }
                }
                true
            })
            .await;
        Ok(())
    })
}

fn unknown_protocols(arena: Arena) -> Running {
    running(async move {
        arena
            .each(16, |arena, number| async move {
                let Ok(session) = arena.session(number, UNREAD).await else { return false };
                let mut turn = 0_u64;
                while !arena.is_over() {
                    turn += 1;
                    let opening = request::stream_of(&format!("/nobody/speaks/{turn}"), &[]);
                    if !session.open(&opening, Then::Finish).await {
                        return false;
                    }
                    arena.counts.done.fetch_add(1, Relaxed);
                    if turn.is_multiple_of(64) {
                        sleep(Duration::from_millis(1)).await;
                    }
                }
                true
            })
            .await;
        Ok(())
    })
}

fn huge_proposals(arena: Arena) -> Running {
    running(async move {
        arena
            .each(16, |arena, number| async move {
                let Ok(session) = arena.session(number, UNREAD).await else { return false };
                let mut opening = raw::proposal(raw::HEADER);
                let huge = raw::proposal(&format!("/{}", "x".repeat(16_000)));
                for _ in 0..10 {
                    opening.extend_from_slice(&huge);
                }
                while !arena.is_over() {
                    if !session.open(&opening, Then::Finish).await {
                        return false;
                    }
                    arena.counts.done.fetch_add(1, Relaxed);
                    sleep(Duration::from_millis(1)).await;
                }
                true
            })
            .await;
        Ok(())
    })
}

fn bombs(arena: Arena) -> Running {
    running(async move {
        arena
            .each(16, |arena, number| async move {
                let Ok(session) = arena.session(number, UNREAD).await else { return false };
                // Field 5, a DISCOVER without a byte, 30,000 times; field 2, a REGISTER that says it is 4 GiB long; groups.
                let payloads: [Vec<u8>; 3] =
                    [[0x2a, 0].repeat(30_000), vec![0x12, 0xff, 0xff, 0xff, 0xff, 0x0f], vec![0x0b; 60_000]];
                let frames = payloads.map(|payload| {
                    let mut frame = Vec::new();
                    rendezvous_wire::frame::append(&payload, &mut frame);
                    request::stream(&frame)
                });
                while !arena.is_over() {
                    for opening in &frames {
                        if !session.open(opening, Then::Finish).await {
                            return false;
                        }
                        arena.counts.done.fetch_add(1, Relaxed);
                    }
                    sleep(Duration::from_millis(1)).await;
                }
                true
            })
            .await;
        Ok(())
    })
}
