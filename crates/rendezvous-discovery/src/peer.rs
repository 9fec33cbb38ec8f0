//! A peer that was found: [`Peer`].

use core::fmt;
use std::sync::Arc;

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use rendezvous_wire::Namespace;

use crate::{attribute::Attributes, source::SourceName};

/// What is known of a peer that was found, by all sources together. Clones share it.
///
/// Where sources tell of records that the peer has signed, the addresses are those of one record: the one with the highest
/// sequence number, and of those the one that lasts longest. Addresses that nobody has signed stand behind them.
#[derive(Clone, PartialEq)]
pub struct Peer(Arc<View>);

#[derive(Debug, PartialEq)]
pub(crate) struct View {
    pub(crate) id: PeerId,
    pub(crate) addresses: Vec<Multiaddr>,
    pub(crate) seq: Option<u64>,
    /// What sources say beyond ids, addresses and names.
    pub(crate) own: Attributes,
    /// Everything.
    pub(crate) attributes: Attributes,
}

impl Peer {
    pub(crate) fn new(view: View) -> Self {
        Self(Arc::new(view))
    }

    /// Who.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.0.id
    }

    /// Where it can be reached, the signed addresses first.
    #[must_use]
    pub fn addresses(&self) -> &[Multiaddr] {
        &self.0.addresses
    }

    /// Sequence number of the signed record that counts; `None` if no source has a signed one.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        self.0.seq
    }

    /// The names under which it was found.
    pub fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        self.0.attributes.all()
    }

    /// The sources that tell of it.
    pub fn sources(&self) -> impl Iterator<Item = &SourceName> {
        self.0.attributes.all()
    }

    /// All that is known: its [`PeerId`], each [`Multiaddr`], each [`Namespace`], each [`SourceName`], and what sources tell
    /// beyond.
    #[must_use]
    pub fn attributes(&self) -> &Attributes {
        &self.0.attributes
    }

    /// Whether it is the same to whoever was told of the other: the same record, addresses and attributes of sources' own.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (this, other) = (&self.0, &other.0);
        this.seq == other.seq && this.addresses == other.addresses && this.own == other.own
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("id", &self.0.id)
            .field("seq", &self.0.seq)
            .field("attributes", &self.0.attributes)
            .finish()
    }
}
