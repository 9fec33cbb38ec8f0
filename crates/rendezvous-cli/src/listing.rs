//! How registrations, and what becomes of them, are printed.

use std::fmt;

use libp2p::{Multiaddr, PeerId};
use rendezvous_record::VerifiedRecord;
use rendezvous_swarm::client::{Discovered, FoundRecord, GoneWhy, Merged, Skipped, Ttl, Unverified};
use serde::Serialize;

use crate::{
    output::{self, count, printable},
    session::Session,
};

/// A registration as `--json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct Found<'a> {
    peer: String,
    namespace: &'a str,
    /// Seconds left.
    ttl: u64,
    addresses: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flavour: Option<String>,
    /// Whether nobody but the point says so: nothing is signed.
    #[serde(skip_serializing_if = "is_false")]
    unverified: bool,
    /// The points that list it, where several are asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    points: Vec<String>,
    /// Whether it is that of the peer that asks.
    #[serde(rename = "self", skip_serializing_if = "is_false")]
    is_self: bool,
}

/// What becomes of a registration, or of the point, as `--json` prints it.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Told<'a> {
    Found(Found<'a>),
    Changed(Found<'a>),
    Gone {
        peer: String,
        namespace: &'a str,
        reason: &'static str,
        #[serde(rename = "self", skip_serializing_if = "is_false")]
        is_self: bool,
    },
    Away {
        point: String,
        error: String,
        retry_secs: u64,
    },
    Back {
        point: String,
    },
    Partial {
        point: String,
        error: String,
        retry_secs: u64,
    },
}

impl<'a> Found<'a> {
    pub(crate) fn of(found: &'a Discovered) -> Self {
        Self::new(found.namespace.as_str(), &found.record, found.ttl)
    }

    pub(crate) fn of_unverified(found: &'a Unverified) -> Self {
        Self::unverified(found.namespace.as_str(), &found.peer, &found.addresses, found.ttl)
    }

    /// What is not signed.
    pub(crate) fn unverified(namespace: &'a str, peer: &PeerId, addresses: &[Multiaddr], ttl: Ttl) -> Self {
        Self {
            peer: peer.to_string(),
            namespace,
            ttl: ttl.as_secs(),
            addresses: addresses.iter().map(ToString::to_string).collect(),
            seq: None,
            flavour: None,
            unverified: true,
            points: Vec::new(),
            is_self: false,
        }
    }

    pub(crate) fn new(namespace: &'a str, record: &VerifiedRecord, ttl: Ttl) -> Self {
        Self {
            peer: record.peer_id().to_string(),
            namespace,
            ttl: ttl.as_secs(),
            addresses: record.addresses().map(|address| address.to_string()).collect(),
            seq: Some(record.seq()),
            flavour: Some(record.flavour().to_string()),
            unverified: false,
            points: Vec::new(),
            is_self: false,
        }
    }

    /// What several points list.
    pub(crate) fn merged(merged: &'a Merged, session: &Session) -> Self {
        let (namespace, ttl) = (merged.namespace.as_str(), merged.ttl);
        let found = match &merged.record {
            FoundRecord::Verified(record) => Self::new(namespace, record, ttl),
            FoundRecord::Unverified { peer, addresses } => Self::unverified(namespace, peer, addresses, ttl),
        };
        found.at(session, &merged.points)
    }

    /// Listed by these points, which are named where there are several to choose from.
    pub(crate) fn at(self, session: &Session, points: &[PeerId]) -> Self {
        let points = points.iter().filter(|_| session.has_several());
        Self { points: points.map(|point| session.name(point)).collect(), ..self }
    }

    /// That of the peer that asks.
    pub(crate) fn own(self) -> Self {
        Self { is_self: true, ..self }
    }
}

/// A registration that is gone.
pub(crate) fn gone<'a>(peer: &PeerId, namespace: &'a str, why: GoneWhy, is_self: bool) -> Told<'a> {
    let reason = match why {
        GoneWhy::Unlisted => "no longer listed",
        GoneWhy::Expired => "lifetime ended",
        _ => "no longer followed",
    };
    Told::Gone { peer: peer.to_string(), namespace, reason, is_self }
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unverified = if self.unverified { "  unverified" } else { "" };
        let (namespace, mark) = (printable(self.namespace), mark(self.is_self));
        write!(f, "{}  {namespace}  {} s left{unverified}{mark}", self.peer, self.ttl)?;
        for address in &self.addresses {
            write!(f, "\n    {}", printable(address))?;
        }
        for point in &self.points {
            write!(f, "\n    at {}", printable(point))?;
        }
        Ok(())
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Told::Found(found) => write!(f, "+ {found}"),
            Told::Changed(found) => write!(f, "~ {found}"),
            Told::Gone { peer, namespace, reason, is_self } => {
                write!(f, "- {peer}  {}  {reason}{}", printable(namespace), mark(*is_self))
            }
            // People are told these by notes.
            Told::Away { .. } | Told::Back { .. } | Told::Partial { .. } => Ok(()),
        }
    }
}

/// Tells how many registrations could not be used, and why, if there were any.
pub(crate) fn note_left_out(skipped: &Skipped) {
    let left_out = skipped.malformed + skipped.unverified + skipped.foreign;
    if left_out > 0 {
        let left_out = count(left_out as u64, "registration");
        output::note(format_args!("left out {left_out}: malformed, or not signed by the peer"));
    }
    if skipped.unsigned > 0 {
        let unsigned = count(skipped.unsigned as u64, "registration");
        output::note(format_args!("left out {unsigned}: without a signature; --legacy lists them, unverified"));
    }
}

fn mark(is_self: bool) -> &'static str {
    if is_self { "  (this peer)" } else { "" }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(crate) fn is_false(value: &bool) -> bool {
    !value
}
