//! How registrations, and what becomes of them, are printed.

use std::fmt;

use libp2p::PeerId;
use rendezvous_record::VerifiedRecord;
use rendezvous_swarm::client::{Discovered, GoneWhy, Merged, Ttl};
use serde::Serialize;

use crate::{output::printable, session::Session};

/// A registration as `--json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct Found<'a> {
    peer: String,
    namespace: &'a str,
    /// Seconds left.
    ttl: u64,
    addresses: Vec<String>,
    seq: u64,
    flavour: String,
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
}

impl<'a> Found<'a> {
    pub(crate) fn of(found: &'a Discovered) -> Self {
        Self::new(found.namespace.as_str(), &found.record, found.ttl)
    }

    pub(crate) fn new(namespace: &'a str, record: &VerifiedRecord, ttl: Ttl) -> Self {
        Self {
            peer: record.peer_id().to_string(),
            namespace,
            ttl: ttl.as_secs(),
            addresses: record.addresses().map(|address| address.to_string()).collect(),
            seq: record.seq(),
            flavour: record.flavour().to_string(),
            points: Vec::new(),
            is_self: false,
        }
    }

    /// What several points list.
    pub(crate) fn merged(merged: &'a Merged, session: &Session) -> Self {
        let found = Self::new(merged.namespace.as_str(), &merged.record, merged.ttl);
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
        write!(f, "{}  {}  {} s left{}", self.peer, printable(self.namespace), self.ttl, mark(self.is_self))?;
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
            Told::Away { .. } | Told::Back { .. } => Ok(()),
        }
    }
}

fn mark(is_self: bool) -> &'static str {
    if is_self { "  (this peer)" } else { "" }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !value
}
