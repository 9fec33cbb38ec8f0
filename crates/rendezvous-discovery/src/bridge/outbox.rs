//! Reports on their way to a manager, bounded by what they are about: [`Outbox`].

use std::collections::{BTreeMap, BTreeSet, HashSet};

use libp2p_identity::PeerId;
use rendezvous_wire::Namespace;

use crate::source::Report;

/// What a report is about. A later one about the same replaces it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Peer(PeerId, Option<Namespace>),
    Advertisement(Namespace, Option<PeerId>),
    Withdrawal(Namespace),
    Request(Option<Namespace>),
}

impl Topic {
    fn of(report: &Report) -> Self {
        match report {
            Report::Found(found) => Self::Peer(found.peer, found.namespace.clone()),
            Report::Gone { peer, namespace } => Self::Peer(*peer, namespace.clone()),
            Report::Requested { namespace } | Report::RequestFailed { namespace, .. } => {
                Self::Request(namespace.clone())
            }
            Report::Advertised { namespace, place, .. } | Report::AdvertiseFailed { namespace, place, .. } => {
                Self::Advertisement(namespace.clone(), *place)
            }
            Report::Withdrawn { namespace, .. } => Self::Withdrawal(namespace.clone()),
        }
    }
}

/// Reports in order, the last one of each peer and name.
///
/// **Invariant:** a peer that is gone waits here only if the manager has been told that it was there. So there wait no more
/// reports than the source knows, and has told of, peers and names.
#[derive(Debug, Default)]
pub struct Outbox {
    order: BTreeSet<(u64, Topic)>,
    reports: BTreeMap<Topic, (u64, Report)>,
    /// What the manager believes to be there.
    told: HashSet<(PeerId, Option<Namespace>)>,
    last: u64,
}

impl Outbox {
    /// Tells the manager something. What it has not read yet about the same is replaced.
    pub fn push(&mut self, report: Report) {
        let topic = Topic::of(&report);
        if let Some((number, _)) = self.reports.remove(&topic) {
            self.order.remove(&(number, topic.clone()));
        }
        if let Report::Gone { peer, namespace } = &report
            && !self.told.contains(&(*peer, namespace.clone()))
        {
            return;
        }
        self.last += 1;
        self.order.insert((self.last, topic.clone()));
        self.reports.insert(topic, (self.last, report));
    }

    /// The next report, which the manager takes for told.
    pub(crate) fn pop(&mut self) -> Option<Report> {
        let (_, topic) = self.order.pop_first()?;
        let (_, report) = self.reports.remove(&topic)?;
        match &report {
            Report::Found(found) => {
                self.told.insert((found.peer, found.namespace.clone()));
            }
            Report::Gone { peer, namespace } => {
                self.told.remove(&(*peer, namespace.clone()));
            }
            _ => {}
        }
        Some(report)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use libp2p_identity::Keypair;

    use super::*;
    use crate::source::Found;

    fn found(peer: PeerId, ttl_secs: u64) -> Report {
        Report::Found(Found::new(peer, None, Duration::from_secs(ttl_secs)))
    }

    fn gone(peer: PeerId) -> Report {
        Report::Gone { peer, namespace: None }
    }

    fn ttl(report: Option<Report>) -> Option<u64> {
        if let Some(Report::Found(found)) = report { Some(found.ttl.as_secs()) } else { None }
    }

    #[test]
    fn of_each_peer_the_last_word_waits_in_its_order() {
        let [a, b] = [(); 2].map(|()| Keypair::generate_ed25519().public().to_peer_id());
        let mut outbox = Outbox::default();
        for report in [found(a, 1), found(b, 2), found(a, 3)] {
            outbox.push(report);
        }
        assert_eq!([ttl(outbox.pop()), ttl(outbox.pop()), ttl(outbox.pop())], [Some(2), Some(3), None]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn peers_that_come_and_go_unread_leave_nothing() {
        let mut outbox = Outbox::default();
        let read = Keypair::generate_ed25519().public().to_peer_id();
        outbox.push(found(read, 1));
        assert!(outbox.pop().is_some());
        for _ in 0..100 {
            let peer = Keypair::generate_ed25519().public().to_peer_id();
            outbox.push(found(peer, 1));
            outbox.push(gone(peer));
        }
        assert!(outbox.is_empty() && outbox.reports.is_empty());
        outbox.push(gone(read));
        assert!(matches!(outbox.pop(), Some(Report::Gone { peer, .. }) if peer == read));
        assert!(outbox.told.is_empty() && outbox.pop().is_none());
    }
}
