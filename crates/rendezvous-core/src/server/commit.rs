//! The commit seam: a change is checked, written to a log by the caller, and only then visible and answered.

use bytes::Bytes;
use libp2p_identity::PeerId;
use rendezvous_wire::Namespace;

use super::admission::Origin;
use crate::{RecordKind, Time};

/// Names a change that waits to be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChangeId(pub(super) u64);

/// Names a batch of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(pub(super) u64);

/// One entry of the log that the registry is a fold over.
///
/// Expiry follows from what the entries say and the time; [`Change::Forget`] only spares the log from growing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A registration, new or renewed.
    Put(Put),
    /// A registration withdrawn by its peer.
    Remove {
        /// Whose.
        peer: PeerId,
        /// From where.
        namespace: Namespace,
        /// Position that the withdrawal takes: changes are ordered by it.
        position: u64,
    },
    /// A record that has ended by its TTL: the log need not keep it. It takes no position, and nothing is lost where it is
    /// not carried out.
    Forget {
        /// Whose.
        peer: PeerId,
        /// Where.
        namespace: Namespace,
        /// Of this kind.
        kind: RecordKind,
    },
}

/// A registration as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Who registers.
    pub peer: PeerId,
    /// Where.
    pub namespace: Namespace,
    /// Place in the order of all registrations; grows for the life of the registry, over restarts.
    pub position: u64,
    /// Kind of the record.
    pub kind: RecordKind,
    /// The signed envelope, as received; the `PeerInfo`, if it is unsigned.
    pub record: Bytes,
    /// When the record ends.
    pub ends: Time,
    /// Where the registration counts: where its REGISTER came from, or, for a renewal from a network without room, where it
    /// counted before.
    pub origin: Origin,
}

/// Changes to be written together. To be committed in order, whole or not at all.
#[derive(Debug)]
pub struct Batch {
    /// To be handed back to [`Server::handle_committed`](super::Server::handle_committed).
    pub id: BatchId,
    /// In the order they were made.
    pub changes: Vec<Change>,
}

/// The store did not take a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store did not take the changes")]
pub struct CommitFailed;
