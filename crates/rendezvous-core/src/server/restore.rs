//! A point begun with what a store has kept.

use super::{
    PeerBytes, Server,
    config::ServerConfig,
    kept::{Kept, KeptRecord},
    place,
    registry::{RECORD_BYTES_CEILING, Record},
};
use crate::{RecordKind, Time};

/// A point that is being filled from a log, before it serves.
///
/// It takes what the log comes to for each (peer, namespace), in any order. The log is trusted: records are not verified
/// again, so whoever keeps it must notice when its bytes have changed.
///
/// ```
/// use rendezvous_core::{Time, server::{Server, ServerConfig}};
///
/// let now = Time::from_unix_millis(1_700_000_000_000);
/// let mut restore = Server::restore(now, ServerConfig::default(), [7; 16]);
/// // for kept in log { restore.put(&kept)?; }
/// let server = restore.finish(Some(1_699_999_999_000_000));
/// assert_eq!(server.stats().registrations, 0);
/// ```
#[derive(Debug)]
pub struct Restore {
    server: Server,
}

/// A [`Kept`] that cannot have come from a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRestorable {
    /// The peer's id is not in the record.
    #[error("the record is not of the peer that it is kept for")]
    ForeignRecord,
    /// The record is longer than any that a point admits.
    #[error("the record of {bytes} bytes is longer than any that a point admits")]
    RecordTooLong {
        /// Its length.
        bytes: usize,
    },
    /// More registrations than can be named.
    #[error("there are more registrations than a registry holds")]
    Full,
}

impl Server {
    /// Begins a point with what a store has kept. `now` must not be before the time that the point last had: time of its
    /// own may stand still while it does not run, and never goes back.
    #[must_use]
    pub fn restore(now: Time, config: ServerConfig, seed: [u8; 16]) -> Restore {
        Restore { server: Self::new(now, config, seed) }
    }
}

impl Restore {
    /// Puts in a registration, each (peer, namespace) once. Returns how many of its records go on: those that still live, and
    /// of them the unsigned one only where [`ServerConfig::legacy_peer_info`] is set and no signed one lives. Quotas are not
    /// asked: what was granted stays.
    ///
    /// # Errors
    /// [`NotRestorable`] if no point can have written this; it is left out.
    pub fn put(&mut self, kept: &Kept) -> Result<usize, NotRestorable> {
        let server = &mut self.server;
        let mut buffer = PeerBytes::new();
        let peer = buffer.of(&kept.peer);
        let mut live = Vec::with_capacity(kept.records.len());
        let lives = |record: &&KeptRecord| record.ends > server.now;
        let is_signed = kept.records.iter().filter(lives).any(|record| record.kind != RecordKind::Unsigned);
        let takes_unsigned = server.config.legacy_peer_info && !is_signed;
        for record in kept.records.iter().filter(lives) {
            if record.kind == RecordKind::Unsigned && !takes_unsigned {
                continue;
            }
            if record.record.len() > RECORD_BYTES_CEILING {
                return Err(NotRestorable::RecordTooLong { bytes: record.record.len() });
            }
            let peer_start = record.record.windows(peer.len()).position(|window| window == peer);
            let peer_start = peer_start.ok_or(NotRestorable::ForeignRecord)?;
            let bytes = &record.record;
            let flavour = place(record.kind);
            live.push((Record { flavour, bytes, peer_start, peer_len: peer.len() }, record.ends));
        }
        if live.is_empty() {
            return Ok(0);
        }
        let namespace = server.interned(kept.namespace.as_str());
        let registry = if is_signed { &mut server.registry } else { &mut server.unsigned };
        if !registry.has_room() {
            return Err(NotRestorable::Full);
        }
        for &(record, ends) in &live {
            registry.restore(&namespace, record, kept.position, ends, kept.origin);
        }
        Ok(live.len())
    }

    /// The point, ready to serve. `position` is the highest that the log has given out; `None` if it never has, and the
    /// point begins as [`Server::new`] does.
    #[must_use]
    pub fn finish(self, position: Option<u64>) -> Server {
        let mut server = self.server;
        let highest = server.registry.finish_restore().max(server.unsigned.finish_restore());
        let unsigned = server.unsigned.namespaces();
        server.namespaces_in_both =
            unsigned.filter(|(name, _)| server.registry.namespace(name.as_str()).is_some()).count();
        if let Some(position) = position {
            server.position = position.max(highest);
        }
        server
    }
}
