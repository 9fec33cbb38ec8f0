//! Who is registered, from one poll to the next: who has come, whose addresses have changed, who has gone.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, PeerId};
use rendezvous_swarm::client::{Discovered, Namespace};

/// Most registrations that are followed: some 50 MiB of records.
pub(crate) const WATCHED_MAX: usize = 100_000;

/// What a poll has changed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// It was not there before.
    Found(Discovered),
    /// It has other addresses. Another `seq` alone is a renewal with many implementations, and the difference between
    /// the two flavours of one registration.
    Changed(Discovered),
    Gone {
        peer: PeerId,
        namespace: Namespace,
        why: Why,
    },
}

/// How one knows that a registration is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// A whole listing does not have it.
    Unlisted,
    /// Its lifetime has ended, and nothing tells of a renewal.
    Expired,
}

/// The registrations that are known of.
///
/// Polls come one after another, each opened by [`begin`](Self::begin) and closed by [`end`](Self::end).
#[derive(Debug, Default)]
pub(crate) struct Watch {
    known: BTreeMap<(Namespace, PeerId), Known>,
    poll: u64,
    is_over: bool,
}

#[derive(Debug)]
struct Known {
    found: Discovered,
    ends_at: Instant,
    /// The poll that last listed it.
    poll: u64,
}

impl Watch {
    /// Opens a poll.
    pub(crate) fn begin(&mut self) {
        self.poll += 1;
    }

    /// A registration that the point lists.
    pub(crate) fn list(&mut self, now: Instant, mut found: Discovered) -> Option<Change> {
        let ends_at = now + Duration::from_secs(found.ttl.as_secs());
        let is_full = self.known.len() >= WATCHED_MAX;
        match self.known.entry((found.namespace.clone(), found.record.peer_id())) {
            Entry::Vacant(_) if is_full => {
                self.is_over = true;
                None
            }
            Entry::Vacant(place) => {
                // The page that it came in is not kept for it.
                found.record = found.record.detach();
                place.insert(Known { found: found.clone(), ends_at, poll: self.poll });
                Some(Change::Found(found))
            }
            Entry::Occupied(mut place) => {
                let known = place.get_mut();
                let is_older = found.record.scaled_seq() < known.found.record.scaled_seq();
                if known.poll == self.poll && is_older {
                    // The other flavour of the same registration, or one that was renewed during the walk.
                    return None;
                }
                (known.ends_at, known.poll) = (ends_at, self.poll);
                if known.found.record.envelope() == found.record.envelope() {
                    return None;
                }
                let is_same = addresses(&known.found) == addresses(&found);
                found.record = found.record.detach();
                known.found = found.clone();
                (!is_same).then_some(Change::Changed(found))
            }
        }
    }

    /// Closes a poll. After one that has listed everything, whoever it has not listed is gone; in either case, whose
    /// lifetime has ended.
    pub(crate) fn end(&mut self, now: Instant, is_whole: bool) -> Vec<Change> {
        let poll = self.poll;
        let why = |known: &Known| match known {
            known if is_whole && known.poll != poll => Some(Why::Unlisted),
            known if known.ends_at <= now => Some(Why::Expired),
            _ => None,
        };
        let mut gone = Vec::new();
        self.known.retain(|(namespace, peer), known| match why(known) {
            Some(why) => {
                gone.push(Change::Gone { peer: *peer, namespace: namespace.clone(), why });
                false
            }
            None => true,
        });
        gone
    }

    /// Whether there are more registrations than are followed; told once.
    pub(crate) fn take_over(&mut self) -> bool {
        std::mem::take(&mut self.is_over)
    }

    /// How many are known of.
    pub(crate) fn count(&self) -> usize {
        self.known.len()
    }
}

/// The addresses, whatever their order.
fn addresses(found: &Discovered) -> Vec<Multiaddr> {
    let mut addresses: Vec<Multiaddr> = found.record.addresses().collect();
    addresses.sort_unstable();
    addresses
}

#[cfg(test)]
mod tests {
    use libp2p::identity::Keypair;
    use rendezvous_record::{Flavour, Limits, VerifiedRecord};
    use rendezvous_swarm::client::Ttl;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn found(peer: u8, seq: u64, ports: &[u16]) -> Discovered {
        flavoured(peer, seq, ports, Flavour::Standard)
    }

    fn flavoured(peer: u8, seq: u64, ports: &[u16], flavour: Flavour) -> Discovered {
        let key = Keypair::ed25519_from_bytes([peer; 32]).expect("32 bytes are a key");
        let address = |port| format!("/ip4/192.0.2.1/tcp/{port}").parse().expect("it is a multiaddr");
        let addresses: Vec<Multiaddr> = ports.iter().map(address).collect();
        let record =
            VerifiedRecord::sign(&key, flavour, seq, &addresses, &Limits::default()).expect("it can be signed");
        Discovered { namespace: Namespace::new("chat").expect("it is one"), record, ttl: Ttl::from_secs(60) }
    }

    fn gone(peer: &Discovered, why: Why) -> Change {
        Change::Gone { peer: peer.record.peer_id(), namespace: peer.namespace.clone(), why }
    }

    fn poll(watch: &mut Watch, now: Instant, listed: &[Discovered], is_whole: bool) -> Vec<Change> {
        watch.begin();
        let mut changes: Vec<Change> = listed.iter().filter_map(|found| watch.list(now, found.clone())).collect();
        changes.extend(watch.end(now, is_whole));
        changes
    }

    #[test]
    fn who_comes_and_goes_is_told_once() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        let (a, b) = (found(1, 1, &[1]), found(2, 1, &[1]));
        let all = [a.clone(), b.clone()];
        assert_eq!(poll(&mut watch, now, &all, true), [Change::Found(a.clone()), Change::Found(b.clone())]);
        assert_eq!(poll(&mut watch, now, &all, true), []);
        assert_eq!(poll(&mut watch, now, &all[..1], true), [gone(&b, Why::Unlisted)]);
        assert_eq!(poll(&mut watch, now, &all[..1], true), []);
        assert_eq!(poll(&mut watch, now, &all, true), [Change::Found(b)], "who comes back is new");
    }

    #[test]
    fn a_renewal_is_nothing_new_and_other_addresses_are_a_change() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        poll(&mut watch, now, &[found(1, 1, &[1, 2])], true);
        assert_eq!(poll(&mut watch, now, &[found(1, 2, &[2, 1])], true), [], "another seq, another order");
        let moved = found(1, 3, &[3]);
        assert_eq!(poll(&mut watch, now, std::slice::from_ref(&moved), true), [Change::Changed(moved)]);
    }

    #[test]
    fn the_newer_of_two_records_in_one_poll_counts_and_the_other_is_no_change() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        let (new, old) = (found(1, 2, &[2]), flavoured(1, 1, &[1], Flavour::Legacy));
        for _ in 0..2 {
            let changes = poll(&mut watch, now, &[new.clone(), old.clone()], true);
            assert!(changes.is_empty() || changes == [Change::Found(new.clone())], "{changes:?}");
        }
    }

    #[test]
    fn where_only_news_is_listed_nobody_is_gone_before_the_lifetime_ends() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let (a, b) = (found(1, 1, &[1]), found(2, 1, &[1]));
        poll(&mut watch, start, &[a.clone(), b.clone()], true);
        assert_eq!(poll(&mut watch, start + MINUTE / 2, std::slice::from_ref(&a), false), [], "a is renewed");
        assert_eq!(poll(&mut watch, start + MINUTE, &[], false), [gone(&b, Why::Expired)]);
        assert_eq!(poll(&mut watch, start + MINUTE * 3 / 2, &[], false), [gone(&a, Why::Expired)]);
        assert_eq!(watch.count(), 0);
    }

    #[test]
    fn a_poll_later_than_a_lifetime_finds_the_renewal_first() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let a = found(1, 1, &[1]);
        poll(&mut watch, start, std::slice::from_ref(&a), true);
        assert_eq!(poll(&mut watch, start + 2 * MINUTE, &[a], true), []);
    }
}
