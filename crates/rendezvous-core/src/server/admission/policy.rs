//! Who may do what in which namespace.

use std::{collections::BTreeSet, sync::Arc};

use libp2p_identity::PeerId;
use rendezvous_wire::{Namespace, Ttl};

/// Who may do something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Every peer.
    #[default]
    Anyone,
    /// These peers.
    Only(BTreeSet<PeerId>),
    /// No peer.
    Nobody,
}

impl Access {
    /// Whether this peer may.
    #[must_use]
    pub fn allows(&self, peer: &PeerId) -> bool {
        match self {
            Self::Anyone => true,
            Self::Only(peers) => peers.contains(peer),
            Self::Nobody => false,
        }
    }
}

/// Which namespaces a policy is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// The namespace of this name.
    Exact(Namespace),
    /// All namespaces that begin so; an empty one is for all.
    Prefix(String),
}

/// What holds in some namespaces. Where several match, the exact one counts, or else that with the longest prefix; they
/// are not combined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which namespaces.
    pub pattern: Pattern,
    /// Who may register.
    pub register: Access,
    /// Who may discover.
    pub discover: Access,
    /// Shortest TTL, in place of the point's.
    pub ttl_min: Option<Ttl>,
    /// Longest TTL, in place of the point's.
    pub ttl_max: Option<Ttl>,
    /// Registrations in each of these namespaces, in place of the point's bound.
    pub registrations_max: Option<usize>,
}

impl Policy {
    /// A policy that changes nothing.
    #[must_use]
    pub fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            register: Access::Anyone,
            discover: Access::Anyone,
            ttl_min: None,
            ttl_max: None,
            registrations_max: None,
        }
    }
}

/// The policies of a point, shared by its readers of requests.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct Policies {
    /// Exact ones first, then by falling length of the prefix: the first that matches counts.
    ordered: Arc<[Policy]>,
}

impl Policies {
    pub(in crate::server) fn new(policies: &[Policy]) -> Self {
        let mut ordered = policies.to_vec();
        // Stable: of two alike the first counts.
        ordered.sort_by_key(|policy| match &policy.pattern {
            Pattern::Exact(_) => (0, 0),
            Pattern::Prefix(prefix) => (1, usize::MAX - prefix.len()),
        });
        Self { ordered: ordered.into() }
    }

    /// The policy for a namespace.
    pub(in crate::server) fn of(&self, namespace: &str) -> Option<&Policy> {
        self.ordered.iter().find(|policy| match &policy.pattern {
            Pattern::Exact(name) => name.as_str() == namespace,
            Pattern::Prefix(prefix) => namespace.starts_with(prefix.as_str()),
        })
    }

    /// Whether a peer may discover in every namespace there can be: a listing of all would show it the rest.
    pub(in crate::server) fn allow_discover_everywhere(&self, peer: &PeerId) -> bool {
        self.ordered.iter().all(|policy| policy.discover.allows(peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_policy_counts_and_else_the_longest_prefix() {
        let named = |name: &str| Namespace::new(name).expect("a short name");
        let policies = Policies::new(&[
            Policy::new(Pattern::Prefix(String::new())),
            Policy::new(Pattern::Prefix("app/".into())),
            Policy::new(Pattern::Prefix("app/private/".into())),
            Policy::new(Pattern::Exact(named("app/private/door"))),
        ]);
        let of = |name: &str| policies.of(name).map(|policy| policy.pattern.clone());
        assert_eq!(of("app/private/door"), Some(Pattern::Exact(named("app/private/door"))));
        assert_eq!(of("app/private/room"), Some(Pattern::Prefix("app/private/".into())));
        assert_eq!(of("app/x"), Some(Pattern::Prefix("app/".into())));
        assert_eq!(of("other"), Some(Pattern::Prefix(String::new())));
        assert_eq!(Policies::default().of("other"), None);
    }
}
