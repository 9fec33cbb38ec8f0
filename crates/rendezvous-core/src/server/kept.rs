//! What the log comes to for one registration.

use bytes::Bytes;
use libp2p_identity::PeerId;
use rendezvous_wire::Namespace;

use super::{
    admission::Origin,
    commit::{Change, Put},
};
use crate::{RecordKind, Time};

/// A registration of (peer, namespace) as a store keeps it: the fold of its [`Change`]s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Who is registered.
    pub peer: PeerId,
    /// Where.
    pub namespace: Namespace,
    /// Position of its last put.
    pub position: u64,
    /// Where it counts: the origin in its last put.
    pub origin: Origin,
    /// At most one per kind, at least one.
    pub records: Vec<KeptRecord>,
}

/// A record of a [`Kept`] registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRecord {
    /// Its kind.
    pub kind: RecordKind,
    /// When it ends.
    pub ends: Time,
    /// The signed envelope, as received; the `PeerInfo`, if it is unsigned.
    pub record: Bytes,
}

impl Kept {
    /// What a registration comes to by a change of its (peer, namespace); `None` for nothing to keep.
    #[must_use]
    pub fn fold(before: Option<Self>, change: &Change) -> Option<Self> {
        match change {
            Change::Put(put) => Some(Self::put(before, put)),
            Change::Remove { .. } => None,
            Change::Forget { kind, .. } => {
                let mut kept = before?;
                kept.records.retain(|record| record.kind != *kind);
                (!kept.records.is_empty()).then_some(kept)
            }
        }
    }

    fn put(before: Option<Self>, put: &Put) -> Self {
        let mut records = before.map_or_else(Vec::new, |kept| kept.records);
        // A signed record ends the unsigned one; the other way round both stay, and the one that is signed counts while it
        // lives.
        records.retain(|record| record.kind != put.kind && record.kind != RecordKind::Unsigned);
        records.push(KeptRecord { kind: put.kind, ends: put.ends, record: put.record.clone() });
        records.sort_unstable_by_key(|record| record.kind.index());
        let (peer, namespace) = (put.peer, put.namespace.clone());
        Self { peer, namespace, position: put.position, origin: put.origin, records }
    }
}

impl Change {
    /// Whose registration it changes.
    #[must_use]
    pub const fn peer(&self) -> &PeerId {
        match self {
            Self::Put(Put { peer, .. }) | Self::Remove { peer, .. } | Self::Forget { peer, .. } => peer,
        }
    }

    /// In which namespace.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        match self {
            Self::Put(Put { namespace, .. }) | Self::Remove { namespace, .. } | Self::Forget { namespace, .. } => {
                namespace
            }
        }
    }

    /// The position that it takes; `None` where it takes none.
    #[must_use]
    pub const fn position(&self) -> Option<u64> {
        match self {
            Self::Put(Put { position, .. }) | Self::Remove { position, .. } => Some(*position),
            Self::Forget { .. } => None,
        }
    }
}
