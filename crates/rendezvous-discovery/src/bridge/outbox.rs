//! Reports on their way to a manager, bounded by what they are about: [`Outbox`].

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

use libp2p_identity::PeerId;
use rendezvous_wire::Namespace;

use crate::{config::TTL_MAX, source::Report};

/// Most peers and names of which a report waits: more than a manager keeps of a source unless told otherwise. Whoever is new
/// beyond it is not told.
pub(super) const PEERS_MAX: usize = 65_536;

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
/// **Invariant:** a peer that is gone waits here only if the manager has been told that it was there, and that has not ended. So
/// there wait no more reports than the source knows, and has told of, peers and names; nor more than 65 536 peers.
#[derive(Debug, Default)]
pub struct Outbox {
    order: BTreeSet<(u64, Topic)>,
    reports: BTreeMap<Topic, (u64, Report)>,
    /// What the manager believes to be there, and until when.
    told: HashMap<Told, Instant>,
    ends: BTreeSet<(Instant, Told)>,
    /// Peers and names of which a report waits.
    peers: usize,
    dropped: u64,
    last: u64,
}

type Told = (PeerId, Option<Namespace>);

impl Outbox {
    /// Tells the manager something. What it has not read yet about the same is replaced.
    pub fn push(&mut self, report: Report) {
        let topic = Topic::of(&report);
        let is_peer = matches!(topic, Topic::Peer(..));
        let known = self.reports.remove(&topic).map(|(number, _)| number);
        if let Some(number) = known {
            self.order.remove(&(number, topic.clone()));
            self.peers -= usize::from(is_peer);
        }
        if let Report::Gone { peer, namespace } = &report
            && !self.told.contains_key(&(*peer, namespace.clone()))
        {
            return;
        }
        if is_peer && self.peers >= PEERS_MAX {
            self.dropped += 1;
            return;
        }
        self.peers += usize::from(is_peer);
        // A peer keeps its place: it is told before the request is answered that has found it, however often it changes. Whatever
        // else there is, is told behind what was told before it.
        let number = known.filter(|_| is_peer).unwrap_or_else(|| {
            self.last += 1;
            self.last
        });
        self.order.insert((number, topic.clone()));
        self.reports.insert(topic, (number, report));
    }

    /// Tells that everybody is gone of whom this does not hold.
    pub(crate) fn retain(&mut self, is_there: impl Fn(&PeerId, Option<&Namespace>) -> bool) {
        let waiting = self.reports.keys().filter_map(|topic| match topic {
            Topic::Peer(peer, namespace) => Some((*peer, namespace.clone())),
            _ => None,
        });
        let all: BTreeSet<Told> = waiting.chain(self.told.keys().cloned()).collect();
        for (peer, namespace) in all.into_iter().filter(|(peer, name)| !is_there(peer, name.as_ref())) {
            self.push(Report::Gone { peer, namespace });
        }
    }

    /// How many peers were not told, since too many waited for a manager that does not read.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The next report, which the manager takes for told.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Report> {
        self.expire(now);
        let (_, topic) = self.order.pop_first()?;
        self.peers -= usize::from(matches!(topic, Topic::Peer(..)));
        let (_, report) = self.reports.remove(&topic)?;
        match &report {
            Report::Found(found) => {
                let told = (found.peer, found.namespace.clone());
                let ends_at = now + found.ttl.min(TTL_MAX);
                if let Some(before) = self.told.insert(told.clone(), ends_at) {
                    self.ends.remove(&(before, told.clone()));
                }
                self.ends.insert((ends_at, told));
            }
            Report::Gone { peer, namespace } => {
                let told = (*peer, namespace.clone());
                if let Some(ends_at) = self.told.remove(&told) {
                    self.ends.remove(&(ends_at, told));
                }
            }
            _ => {}
        }
        Some(report)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Forgets what the manager believes no longer.
    fn expire(&mut self, now: Instant) {
        while let Some((ends_at, _)) = self.ends.first()
            && *ends_at <= now
            && let Some((_, told)) = self.ends.pop_first()
        {
            self.told.remove(&told);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use libp2p_identity::Keypair;

    use super::*;
    use crate::source::Found;

    fn peer() -> PeerId {
        Keypair::generate_ed25519().public().to_peer_id()
    }

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
    fn of_each_peer_the_last_word_waits_in_the_place_of_the_first() {
        let [a, b] = [(); 2].map(|()| peer());
        let mut outbox = Outbox::default();
        for report in [found(a, 1), found(b, 2), found(a, 3)] {
            outbox.push(report);
        }
        let now = Instant::now();
        assert_eq!([(); 3].map(|()| ttl(outbox.pop(now))), [Some(3), Some(2), None]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn who_changes_while_nobody_reads_is_told_before_the_request_is_answered_that_found_it() {
        let peer = peer();
        let mut outbox = Outbox::default();
        outbox.push(found(peer, 1));
        outbox.push(Report::Requested { namespace: None });
        outbox.push(found(peer, 2));
        assert_eq!(ttl(outbox.pop(Instant::now())), Some(2));
        // The next answer comes behind what is found before it.
        outbox.push(found(peer, 3));
        outbox.push(Report::Requested { namespace: None });
        assert_eq!(ttl(outbox.pop(Instant::now())), Some(3));
        assert!(matches!(outbox.pop(Instant::now()), Some(Report::Requested { .. })));
        assert!(outbox.pop(Instant::now()).is_none());
    }

    #[test]
    fn peers_that_come_and_go_unread_leave_nothing() {
        let mut outbox = Outbox::default();
        let (read, now) = (peer(), Instant::now());
        outbox.push(found(read, 1));
        assert!(outbox.pop(now).is_some());
        for _ in 0..100 {
            let peer = peer();
            outbox.push(found(peer, 1));
            outbox.push(gone(peer));
        }
        assert!(outbox.is_empty() && outbox.reports.is_empty() && outbox.peers == 0);
        outbox.push(gone(read));
        assert!(matches!(outbox.pop(now), Some(Report::Gone { peer, .. }) if peer == read));
        assert!(outbox.told.is_empty() && outbox.ends.is_empty() && outbox.pop(now).is_none());
    }

    #[test]
    fn peers_of_whom_the_source_never_says_that_they_are_gone_are_forgotten_when_they_end() {
        let mut outbox = Outbox::default();
        let mut now = Instant::now();
        for _ in 0..1_000 {
            outbox.push(found(peer(), 2));
            assert!(outbox.pop(now).is_some());
            now += Duration::from_secs(1);
            assert!(outbox.told.len() <= 2 && outbox.ends.len() == outbox.told.len());
        }
        let renewed = peer();
        for _ in 0..10 {
            outbox.push(found(renewed, 2));
            assert!(outbox.pop(now).is_some());
            now += Duration::from_secs(1);
        }
        outbox.push(gone(renewed));
        assert!(outbox.pop(now).is_some(), "a renewal is not ended by the old deadline");
    }

    #[test]
    fn a_flood_that_nobody_reads_is_bounded_and_counted() {
        let mut outbox = Outbox::default();
        // Ids that are valid without the cost of keys.
        let peers = (0..PEERS_MAX as u32 + 10).map(|number| {
            let digest: Vec<u8> = number.to_be_bytes().into_iter().cycle().take(32).collect();
            PeerId::from_bytes(&[&[0x12, 0x20], digest.as_slice()].concat()).expect("it is an id")
        });
        let peers: Vec<PeerId> = peers.collect();
        peers.iter().for_each(|peer| outbox.push(found(*peer, 1)));
        assert_eq!((outbox.reports.len(), outbox.dropped()), (PEERS_MAX, 10));
        outbox.push(found(peers[0], 2));
        assert_eq!(outbox.dropped(), 10, "who waits already is replaced");
        outbox.push(Report::Requested { namespace: None });
        assert_eq!(outbox.reports.len(), PEERS_MAX + 1, "answers have their own room");
    }
}
