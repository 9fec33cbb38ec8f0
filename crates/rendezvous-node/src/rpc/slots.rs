//! How many calls are served at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use libp2p_identity::PeerId;

use super::status::Failure;

/// Places for calls: so many for each peer, and so many in total.
#[derive(Debug)]
pub(super) struct Slots {
    per_peer_max: usize,
    max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    /// Peers without calls are not in it.
    by_peer: HashMap<PeerId, usize>,
}

/// The place of one call, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    peer: PeerId,
}

impl Slots {
    pub(super) fn new(per_peer_max: usize, max: usize) -> Self {
        Self { per_peer_max, max, taken: Mutex::default() }
    }

    pub(super) fn take(self: &Arc<Self>, peer: PeerId) -> Result<Slot, Failure> {
        let mut taken = self.lock();
        if taken.total >= self.max {
            return Err(Failure::Overloaded("too many calls in total"));
        }
        if taken.by_peer.get(&peer).copied().unwrap_or_default() >= self.per_peer_max {
            return Err(Failure::Overloaded("too many calls of this peer"));
        }
        taken.total += 1;
        *taken.by_peer.entry(peer).or_default() += 1;
        Ok(Slot { slots: self.clone(), peer })
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        taken.total -= 1;
        if let Some(count) = taken.by_peer.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                taken.by_peer.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_its_share_and_all_peers_theirs() {
        let slots = Arc::new(Slots::new(2, 3));
        let (one, two) = (PeerId::random(), PeerId::random());
        let first = slots.take(one).expect("room");
        let _second = slots.take(one).expect("room");
        assert!(slots.take(one).is_err());
        let third = slots.take(two).expect("room");
        assert!(slots.take(two).is_err());
        drop(first);
        drop(third);
        assert_eq!(slots.taken(), 1);
        assert!(slots.take(one).is_ok());
        assert_eq!(slots.lock().by_peer.len(), 1);
    }
}
