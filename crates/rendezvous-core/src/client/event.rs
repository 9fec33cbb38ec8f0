//! What the application is told.

use std::collections::VecDeque;

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use rendezvous_wire::{Namespace, Ttl};

use super::{
    answer::{Discovered, Skipped, Unverified},
    config::EVENTS_MAX,
    failure::Failure,
    merge::{Gone, Merged},
    outbound::{LookupId, QueryId, RegistrationId, RequestId},
    walk::WalkLimit,
};
use crate::{RecordKind, Time};

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A point lists this peer: told for the first REGISTER and for every renewal.
    Registered {
        /// The registration.
        id: RegistrationId,
        /// Where it stands.
        point: PeerId,
        /// Under which name.
        namespace: Namespace,
        /// The record's kind; a point that keeps both flavours is told of twice.
        kind: RecordKind,
        /// Granted lifetime, at most 72 h.
        ttl: Ttl,
    },
    /// A REGISTER failed, with every kind of record where the failure hinted at that. An earlier one may stand on until it
    /// lapses.
    RegisterFailed {
        /// The registration.
        id: RegistrationId,
        /// The point that was asked.
        point: PeerId,
        /// The name.
        namespace: Namespace,
        /// Why: of the first kind, unless a later one was read and refused for another reason.
        failure: Failure,
        /// When it is tried again; `None` while nothing can be tried ([`NoAddresses`](Self::NoAddresses), or a local
        /// failure).
        retry_at: Option<Time>,
    },
    /// The granted lifetime ended without a renewal. It is tried on, unless
    /// [`ClientConfig::refreshes`](super::ClientConfig::refreshes) is off.
    Lapsed {
        /// The registration.
        id: RegistrationId,
        /// Where it stood.
        point: PeerId,
        /// The name.
        namespace: Namespace,
        /// Kind of the record that lapsed.
        kind: RecordKind,
    },
    /// There is no address to register. The registration is sent as soon as one is known.
    NoAddresses {
        /// The registration.
        id: RegistrationId,
    },
    /// Not all addresses fit the records: these are not registered. Told once, when the records are made.
    AddressesLeftOut {
        /// The addresses, in the order given.
        addresses: Vec<Multiaddr>,
    },
    /// A registration is no longer wanted at a point, and its removal has come to an end.
    Unregistered {
        /// The registration.
        id: RegistrationId,
        /// Where it stood.
        point: PeerId,
        /// The name.
        namespace: Namespace,
        /// `None`: UNREGISTER was written, or nothing stood there, or another registration keeps the name there, or the
        /// point's dialect has no UNREGISTER.
        /// Otherwise the registration may be listed until its TTL ends.
        failure: Option<Failure>,
    },
    /// The end of an [`unregister_at`](super::Client::unregister_at).
    UnregisteredAt {
        /// What the command returned.
        request: RequestId,
        /// The point.
        point: PeerId,
        /// The name.
        namespace: Namespace,
        /// `None` if UNREGISTER was written, or the point's dialect has none.
        failure: Option<Failure>,
    },
    /// A page of registrations.
    Discovered {
        /// The query.
        query: QueryId,
        /// The point that listed them.
        point: PeerId,
        /// The namespace asked for; `None` for all.
        namespace: Option<Namespace>,
        /// The registrations, this peer's own left out, each (namespace, peer) once.
        registrations: Vec<Discovered>,
        /// Registrations without a signature, apart from those: nobody but the point says that they are their peers'. Empty,
        /// unless [`ClientConfig::legacy_peer_info`](super::ClientConfig) is set.
        unverified: Vec<Unverified>,
        /// Whether asking on may bring more at once: see "Walking all pages" in the module's documentation.
        more: bool,
        /// Number of this page in its walk, from 1.
        page: u32,
        /// What the answer held besides.
        skipped: Skipped,
        /// The limit that ended the walk with this page, although the point says that there is more. What the walk has
        /// listed is then a part only. `more` is `false`, and a query with [`From::Cookie`](super::From::Cookie) begins a new
        /// walk where this one ended.
        cut: Option<WalkLimit>,
    },
    /// A query came to nothing.
    DiscoverFailed {
        /// The query.
        query: QueryId,
        /// The point that was asked.
        point: PeerId,
        /// The namespace asked for; `None` for all.
        namespace: Option<Namespace>,
        /// Why.
        failure: Failure,
    },
    /// A point's page, or time, has changed what a lookup has found. The lists are bounded by the page, and by what the
    /// lookup keeps.
    LookupChanged {
        /// The lookup.
        lookup: LookupId,
        /// The point whose page it was; `None` where time has passed, or the points of the lookup have changed.
        point: Option<PeerId>,
        /// Who was not listed by any point before.
        found: Vec<Merged>,
        /// Who has other addresses than before.
        updated: Vec<Merged>,
        /// Who is listed by no point any more.
        gone: Vec<Gone>,
    },
    /// A poll of a point has come to its end, through all pages.
    LookupPolled {
        /// The lookup.
        lookup: LookupId,
        /// The point.
        point: PeerId,
        /// Whether it has listed everything; otherwise what was new.
        is_whole: bool,
        /// Registrations that it has listed, this peer's own left out.
        listed: u64,
        /// What its pages held besides; this peer's own is counted there.
        skipped: Skipped,
        /// The limit that ended the poll before the point's listing ended: `is_whole` is then `false`, what was found is
        /// kept, nobody is gone for being absent, and the point is left alone for a while, unless it is
        /// [`WalkLimit::Pages`].
        cut: Option<WalkLimit>,
        /// When the point is polled next; `None` if it was to be asked once.
        next_at: Option<Time>,
    },
    /// A poll of a point came to nothing. The lookup goes on at its other points.
    LookupFailed {
        /// The lookup.
        lookup: LookupId,
        /// The point.
        point: PeerId,
        /// Why.
        failure: Failure,
        /// When it is asked again; `None` if it was to be asked once.
        retry_at: Option<Time>,
    },
    /// All points of a lookup that asks once have answered or failed, or the client is shutting down. What was found is
    /// kept until its time ends or [`end_lookup`](super::Client::end_lookup), except in a shutdown.
    LookupEnded {
        /// The lookup.
        lookup: LookupId,
    },
    /// The last registration known of a discovered peer has ended; its addresses are forgotten. An entry that was
    /// pushed out by the bound on peers leaves without this.
    PeerExpired {
        /// The peer.
        peer: PeerId,
    },
}

/// Events in order, bounded.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<Event>,
    dropped: u64,
}

impl Events {
    pub(super) fn push(&mut self, event: Event) {
        if self.queue.len() >= EVENTS_MAX {
            self.queue.pop_front();
            self.dropped = self.dropped.saturating_add(1);
        }
        self.queue.push_back(event);
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.queue.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}
