//! Where providers are: those that the routing table does not know are searched for.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use rendezvous_wire::Namespace;

use crate::config::{ADDRESS_BYTES_MAX, ADDRESSES_MAX};

/// Most searches for peers at once.
const SEARCHES_MAX: usize = 4;

/// Most peers that wait for theirs. Beyond it a provider is told without addresses.
const WAITING_MAX: usize = 256;

/// Most peers whose addresses are remembered; the one longest known goes first.
const KNOWN_MAX: usize = 1_024;

/// Longest time that they are: a peer that has moved is to be found where it is.
const KNOWN_AGE_MAX: Duration = Duration::from_secs(600);

/// Searches that wait, that are under way, and what they have found.
#[derive(Debug, Default)]
pub(super) struct Locate {
    waiting: VecDeque<PeerId>,
    searching: BTreeSet<PeerId>,
    /// The names under which the peers that are searched for were found.
    names: BTreeMap<PeerId, BTreeSet<Namespace>>,
    known: BTreeMap<PeerId, (Instant, Vec<Multiaddr>)>,
    order: VecDeque<PeerId>,
}

impl Locate {
    /// The addresses that a search has found not long ago.
    pub(super) fn known(&self, now: Instant, peer: &PeerId) -> Option<&[Multiaddr]> {
        let (since, addresses) = self.known.get(peer)?;
        (now.saturating_duration_since(*since) < KNOWN_AGE_MAX).then_some(addresses.as_slice())
    }

    /// A provider of a name is to be searched for. `false` if too many wait.
    pub(super) fn want(&mut self, peer: PeerId, namespace: &Namespace) -> bool {
        if !self.names.contains_key(&peer) {
            if self.waiting.len() >= WAITING_MAX {
                return false;
            }
            self.waiting.push_back(peer);
        }
        self.names.entry(peer).or_default().insert(namespace.clone());
        true
    }

    /// The next search to begin.
    pub(super) fn begin(&mut self) -> Option<PeerId> {
        if self.searching.len() >= SEARCHES_MAX {
            return None;
        }
        let peer = self.waiting.pop_front()?;
        self.searching.insert(peer);
        Some(peer)
    }

    /// A search has come to its end. The names under which the peer was found.
    pub(super) fn end(&mut self, now: Instant, peer: &PeerId, mut addresses: Vec<Multiaddr>) -> BTreeSet<Namespace> {
        self.searching.remove(peer);
        // A search collects the addresses that any number of nodes have sent.
        addresses.retain(|address| address.len() <= ADDRESS_BYTES_MAX);
        addresses.truncate(ADDRESSES_MAX);
        if !addresses.is_empty() && self.known.insert(*peer, (now, addresses)).is_none() {
            self.order.push_back(*peer);
            if self.order.len() > KNOWN_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
        self.names.remove(peer).unwrap_or_default()
    }

    /// A name is not wanted any more.
    pub(super) fn release(&mut self, namespace: &Namespace) {
        for names in self.names.values_mut() {
            names.remove(namespace);
        }
        self.names.retain(|peer, names| !names.is_empty() || self.searching.contains(peer));
        self.waiting.retain(|peer| self.names.contains_key(peer));
    }

    /// Forgets what was found, so that it is searched for anew.
    pub(super) fn forget(&mut self) {
        self.known.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use libp2p_identity::Keypair;

    use super::*;

    fn peer() -> PeerId {
        Keypair::generate_ed25519().public().to_peer_id()
    }

    #[test]
    fn searches_are_bounded_and_each_is_told_to_every_name_that_waits() {
        let [a, b] = ["a", "b"].map(|name| Namespace::new(name).expect("it is a name"));
        let mut locate = Locate::default();
        let (first, now) = (peer(), Instant::now());
        assert!(locate.want(first, &a) && locate.want(first, &b));
        assert!((1..WAITING_MAX).all(|_| locate.want(peer(), &a)));
        assert!(!locate.want(peer(), &a), "no room");
        assert_eq!(locate.begin(), Some(first));
        assert_eq!((1..WAITING_MAX).filter_map(|_| locate.begin()).count(), SEARCHES_MAX - 1);
        let address: Multiaddr = "/memory/1".parse().expect("it is an address");
        assert_eq!(locate.end(now, &first, vec![address.clone()]), BTreeSet::from([a.clone(), b]));
        assert_eq!(locate.known(now, &first), Some(&[address][..]));
        locate.release(&a);
        assert_eq!((locate.waiting.len(), locate.names.len()), (0, SEARCHES_MAX - 1));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut locate = Locate::default();
        let (first, now) = (peer(), Instant::now());
        let address: Multiaddr = "/memory/1".parse().expect("it is an address");
        locate.end(now, &first, vec![address.clone()]);
        for _ in 0..KNOWN_MAX {
            locate.end(now, &peer(), vec![address.clone()]);
        }
        assert_eq!((locate.known.len(), locate.order.len()), (KNOWN_MAX, KNOWN_MAX));
        assert_eq!(locate.known(now, &first), None);
    }

    #[test]
    fn the_addresses_of_one_peer_are_bounded_in_number_and_length() {
        let mut locate = Locate::default();
        let (peer, now) = (peer(), Instant::now());
        let long: Multiaddr = format!("/dns4/{}/tcp/1", "a".repeat(ADDRESS_BYTES_MAX)).parse().expect("an address");
        let many = (0..10_000).map(|at| format!("/memory/{at}").parse().expect("an address"));
        locate.end(now, &peer, std::iter::once(long).chain(many).collect());
        let known = locate.known(now, &peer).expect("it is known");
        assert_eq!((known.len(), known[0].to_string().as_str()), (ADDRESSES_MAX, "/memory/0"));
    }

    #[test]
    fn addresses_are_searched_for_anew_when_they_are_old() {
        let mut locate = Locate::default();
        let (peer, now) = (peer(), Instant::now());
        let address: Multiaddr = "/memory/1".parse().expect("it is an address");
        locate.end(now, &peer, vec![address.clone()]);
        let old = now + KNOWN_AGE_MAX;
        assert!(locate.known(old - Duration::from_nanos(1), &peer).is_some());
        assert_eq!(locate.known(old, &peer), None);
        locate.end(old, &peer, vec![address]);
        assert!(locate.known(old, &peer).is_some());
        assert_eq!((locate.known.len(), locate.order.len()), (1, 1));
    }
}
