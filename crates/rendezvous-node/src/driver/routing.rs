//! Addresses of the routing table, as peers tell them.

use libp2p::{
    Multiaddr, PeerId,
    kad::{Behaviour, store::RecordStore},
};

/// Puts a peer into the routing table with the addresses that it tells, and takes out what it has told before: a peer could
/// tell others without an end, and each would be dialled.
///
/// What it is kept with by the settings stays.
pub(super) fn learn<S: RecordStore + Send + 'static>(
    kad: &mut Behaviour<S>,
    peer: PeerId,
    told: &[Multiaddr],
    kept: &[Multiaddr],
) {
    let known = addresses(kad, peer);
    for address in told.iter().filter(|address| !is_in(&known, address)) {
        kad.add_address(&peer, address.clone());
    }
    // Behind what is new, since the last one takes the peer out with it.
    if !told.is_empty() {
        for address in known.iter().filter(|address| !is_in(told, address) && !is_in(kept, address)) {
            kad.remove_address(&peer, address);
        }
    }
}

/// The addresses of a peer in the routing table.
fn addresses<S: RecordStore + Send + 'static>(kad: &mut Behaviour<S>, peer: PeerId) -> Vec<Multiaddr> {
    let Some(bucket) = kad.kbucket(peer) else { return Vec::new() };
    let entry = bucket.iter().find(|entry| *entry.node.key.preimage() == peer);
    entry.map(|entry| entry.node.value.iter().cloned().collect()).unwrap_or_default()
}

/// Whether an address is among these, with or without the peer's id at its end.
fn is_in(addresses: &[Multiaddr], address: &Multiaddr) -> bool {
    let bare = |address: &Multiaddr| crate::settings::split(address).map_or_else(|| address.clone(), |(_, bare)| bare);
    addresses.iter().any(|known| bare(known) == bare(address))
}

#[cfg(test)]
mod tests {
    use libp2p::{identity::Keypair, kad::store::MemoryStore};

    use super::*;

    fn peer() -> PeerId {
        Keypair::generate_ed25519().public().to_peer_id()
    }

    fn told(range: core::ops::Range<u32>) -> Vec<Multiaddr> {
        range.map(|port| format!("/memory/{port}").parse().expect("it is an address")).collect()
    }

    #[test]
    fn a_peer_that_tells_other_addresses_without_an_end_has_no_more_than_it_tells_at_once() {
        let [local, peer] = [peer(), peer()];
        let mut kad = Behaviour::new(local, MemoryStore::new(local));
        let kept = told(0..1);
        kad.add_address(&peer, kept[0].clone());
        for round in 1..1_000 {
            learn(&mut kad, peer, &told(round * 16..(round + 1) * 16), &kept);
            assert_eq!(addresses(&mut kad, peer).len(), 17);
        }
        assert!(is_in(&addresses(&mut kad, peer), &kept[0]), "what the settings name stays");
    }

    #[test]
    fn what_is_told_again_changes_nothing() {
        let [local, peer] = [peer(), peer()];
        let mut kad = Behaviour::new(local, MemoryStore::new(local));
        learn(&mut kad, peer, &told(1..3), &[]);
        let before = addresses(&mut kad, peer);
        learn(&mut kad, peer, &told(1..3), &[]);
        assert_eq!(addresses(&mut kad, peer), before);
        learn(&mut kad, peer, &[], &[]);
        assert_eq!(addresses(&mut kad, peer), before, "who tells none is reached where it was");
    }
}
