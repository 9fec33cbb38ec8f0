//! Attacks on the places of connections, streams and pages, on descriptors and on standard output.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::{io::AsyncReadExt as _, time::sleep};

use super::{Attack, DEFAULT, Running, running};
use crate::{
    arena::{Arena, Session, Then},
    point::{Options, Stdout},
    raw::{self, Reading},
    request,
};

const UNREAD: Reading = Reading::Frames { pong_delay: Duration::ZERO };

/// Descriptors of the point in the attack on them.
const DESCRIPTORS: u32 = 256;

/// Dials of `many_idle` in flight at the same time.
const DIALS: u32 = 64;

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new(
        "silent-sockets",
        "64 sockets of each prefix that say nothing, opened again when closed",
        silent_sockets,
    )
    .from(9),
    Attack::new("silent-sockets-half", "as silent-sockets, with half a negotiation on each", half_sockets).from(16),
    Attack::new(
        "forged-initials",
        "QUIC Initials of 500 clients a second from 576 sources that go no further",
        initials,
    )
    .over_quic()
    .from(200)
    .lasting(5),
    Attack::new("idle-streams", "512 connections with 128 idle streams each, all within their limits", idle_streams)
        .from(2)
        .lasting(5),
    Attack::new(
        "unread-pages",
        "64 connections with 8 DISCOVERs of 1 MiB each whose pages are not read: the page budget",
        unread_pages,
    )
    .both()
    .from(1),
    Attack::new("silent-connections", "connections that are silent after yamux, as many as get in", silent_connections)
        .lasting(4),
    Attack::new(
        "silent-connections-full",
        "as silent-connections, at a point whose total is scaled down to 400 connections",
        silent_connections,
    )
    .lasting(4)
    .with(Options { scaled: Some(("RENDEZVOUS_CONNECTIONS_MAX", "400")), ..DEFAULT }),
    Attack::new(
        "cheap-requests",
        "connections that keep their places with one empty DISCOVER every two seconds",
        cheap_requests,
    )
    .lasting(4),
    Attack::new("descriptors", "1,000 connections to a point whose soft limit is 256 descriptors", descriptors)
        .lasting(13)
        .with(Options { descriptors: Some(DESCRIPTORS), ..DEFAULT }),
    Attack::new(
        "stdout-unread",
        "5,000 long namespaces are registered at a point whose output, with the namespaces, nobody reads",
        many_namespaces,
    )
    .lasting(5)
    .with(Options { stdout: Stdout::Unread, prints_much: true, ..DEFAULT }),
    Attack::new("stdout-closed", "as stdout-unread, and the reader has gone", many_namespaces).with(Options {
        stdout: Stdout::Closed,
        prints_much: true,
        ..DEFAULT
    }),
    Attack::new("stdout-full", "as stdout-unread, and the output is a file on a full disk", many_namespaces)
        .with(Options { stdout: Stdout::Full, prints_much: true, ..DEFAULT }),
];

/// Sockets of all prefixes, with these bytes on each.
async fn sockets(arena: Arena, bytes: &'static [u8]) {
    use tokio::io::AsyncWriteExt as _;
    let count = 64 * arena.sources.prefixes;
    arena
        .each(count, move |arena, number| async move {
            let Ok(mut stream) = raw::tcp_without_linger(arena.sources.address(number), arena.target.tcp).await else {
                arena.counts.refused.fetch_add(1, Relaxed);
                return false;
            };
            arena.counts.connections.fetch_add(1, Relaxed);
            if stream.write_all(bytes).await.is_err() {
                return false;
            }
            let mut scratch = [0; 256];
            tokio::select! {
                () = arena.over() => true,
                () = async { while matches!(stream.read(&mut scratch).await, Ok(1..)) {} } => false,
            }
        })
        .await;
}

fn silent_sockets(arena: Arena) -> Running {
    running(async move {
        sockets(arena, b"").await;
        Ok(())
    })
}

fn half_sockets(arena: Arena) -> Running {
    running(async move {
        sockets(arena, b"\x13/multistream/1.0.0\n\x07/noi").await;
        Ok(())
    })
}

fn initials(arena: Arena) -> Running {
    running(async move {
        const SOURCES: u32 = 576;
        const PER_SEC: u32 = 500;
        let mut sockets = Vec::new();
        for number in 0..SOURCES {
            sockets.push(tokio::net::UdpSocket::bind(arena.sources.address(number)).await?);
        }
        let mut clients = raw::Initials::new(&arena.fresh_key(), arena.peer(), arena.target.quic)?;
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / PER_SEC);
        for socket in sockets.iter().cycle() {
            if arena.is_over() {
                break;
            }
            for datagram in clients.next_client()? {
                // A full buffer loses it.
                let _ = socket.send_to(&datagram, arena.target.quic).await;
            }
            arena.counts.done.fetch_add(1, Relaxed);
            ticks.tick().await;
        }
        Ok(())
    })
}

/// Holds connections, each with what `use_it` does on it, dialling `DIALS` at a time.
async fn many(arena: Arena, count: u32, act: fn(Arena, Session) -> Running) {
    many_reading(arena, count, UNREAD, act).await;
}

/// As [`many`], and the sessions read so.
async fn many_reading(arena: Arena, count: u32, reading: Reading, act: fn(Arena, Session) -> Running) {
    let turns = std::sync::Arc::new(tokio::sync::Semaphore::new(DIALS as usize));
    arena
        .each(count, move |arena, number| {
            let turns = std::sync::Arc::clone(&turns);
            async move {
                let Ok(turn) = turns.acquire().await else { return false };
                let Ok(session) = arena.session(number, reading).await else { return false };
                drop(turn);
                act(arena, session).await.is_ok()
            }
        })
        .await;
}

/// Waits on a connection until it ends, which is an error, or the attack does.
async fn hold(arena: &Arena, session: &Session) -> anyhow::Result<()> {
    tokio::select! {
        () = session.closed() => anyhow::bail!("closed"),
        () = arena.over() => Ok(()),
    }
}

fn idle_streams(arena: Arena) -> Running {
    running(async move {
        many(arena, 512, |arena, session| {
            running(async move {
                let opening = request::stream(&[]);
                for _ in 0..128 {
                    anyhow::ensure!(session.open(&opening, Then::Keep).await, "closed");
                    arena.counts.done.fetch_add(1, Relaxed);
                }
                hold(&arena, &session).await
            })
        })
        .await;
        Ok(())
    })
}

fn unread_pages(arena: Arena) -> Running {
    running(async move {
        many_reading(arena, 64, Reading::Never, |arena, session| {
            running(async move {
                let opening = request::stream(&request::discover(None, 1_000, &[]));
                // Whatever room is given back is taken again.
                for turn in 0..500_u64 {
                    anyhow::ensure!(session.open(&opening, Then::Keep).await, "closed");
                    arena.counts.done.fetch_add(1, Relaxed);
                    let pause = if turn < 8 { Duration::ZERO } else { Duration::from_millis(50) };
                    tokio::select! {
                        () = arena.over() => return Ok(()),
                        () = sleep(pause) => {}
                    }
                }
                hold(&arena, &session).await
            })
        })
        .await;
        Ok(())
    })
}

fn silent_connections(arena: Arena) -> Running {
    running(async move {
        let count = (256 * arena.sources.prefixes).min(4_096);
        many(arena, count, |arena, session| running(async move { hold(&arena, &session).await })).await;
        Ok(())
    })
}

fn cheap_requests(arena: Arena) -> Running {
    running(async move {
        let count = (256 * arena.sources.prefixes).min(2_048);
        many(arena, count, |arena, session| {
            running(async move {
                let opening = request::stream(&request::discover(Some("none"), 1, &[]));
                while !arena.is_over() {
                    anyhow::ensure!(session.open(&opening, Then::Finish).await, "closed");
                    arena.counts.done.fetch_add(1, Relaxed);
                    sleep(Duration::from_secs(2)).await;
                }
                Ok(())
            })
        })
        .await;
        Ok(())
    })
}

fn descriptors(arena: Arena) -> Running {
    running(async move {
        many(arena, 1_000, |arena, session| running(async move { hold(&arena, &session).await })).await;
        Ok(())
    })
}

fn many_namespaces(arena: Arena) -> Running {
    running(async move {
        arena.each(8, |arena, number| async move { register_many(&arena, number).await.is_ok() }).await;
        Ok(())
    })
}

/// One peer that registers in 900 namespaces with long names.
async fn register_many(arena: &Arena, number: u32) -> anyhow::Result<()> {
    let key = arena.fresh_key();
    let session = arena.session_of(number, &key, Reading::Honest).await?;
    let record = request::record(&key, 1)?;
    for namespace in 0..900_u32 {
        let namespace = format!("{namespace:04}{}", "n".repeat(240));
        let opening = request::stream(&request::register(&namespace, record.envelope()));
        anyhow::ensure!(session.open(&opening, Then::Finish).await, "closed");
        arena.counts.done.fetch_add(1, Relaxed);
        sleep(Duration::from_millis(1)).await;
    }
    hold(arena, &session).await
}
