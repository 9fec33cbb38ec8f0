//! Who takes the streams of which protocol.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use libp2p::StreamProtocol;
use tokio::sync::{
    OwnedSemaphorePermit, Semaphore,
    mpsc::{self, error::TrySendError},
};

use super::{error::AlreadyAccepted, stream::Stream};

/// The acceptors. Bounded by the protocols of the application, which alone puts them here.
#[derive(Debug, Default)]
pub(super) struct Acceptors(RwLock<Entries>);

#[derive(Debug, Default)]
struct Entries {
    is_closed: bool,
    by_protocol: HashMap<StreamProtocol, mpsc::Sender<Waiting>>,
    /// The keys, in order.
    listed: Arc<[StreamProtocol]>,
}

/// A stream that waits, with its place among those of its peer that wait.
pub(super) type Waiting = (Stream, OwnedSemaphorePermit);

/// Why a stream has found no place at an acceptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotTaken {
    QueueFull,
    TooManyOfPeer,
    Unclaimed,
}

impl Acceptors {
    /// Adds an acceptor of all these protocols, or of none of them.
    pub(super) fn add(
        &self,
        protocols: &[StreamProtocol],
        queue_max: usize,
    ) -> Result<mpsc::Receiver<Waiting>, AlreadyAccepted> {
        let (sender, receiver) = mpsc::channel(queue_max.clamp(1, Semaphore::MAX_PERMITS));
        let mut entries = self.write();
        if let Some(protocol) = protocols.iter().find(|protocol| entries.by_protocol.contains_key(*protocol)) {
            return Err(AlreadyAccepted { protocol: protocol.clone() });
        }
        if !entries.is_closed {
            entries.by_protocol.extend(protocols.iter().map(|protocol| (protocol.clone(), sender.clone())));
            entries.list();
        }
        Ok(receiver)
    }

    /// Takes out what [`Self::add`] has put in: nobody else can have these protocols in the meantime.
    pub(super) fn remove(&self, protocols: &[StreamProtocol]) {
        let mut entries = self.write();
        for protocol in protocols {
            entries.by_protocol.remove(protocol);
        }
        entries.list();
    }

    /// Hands a stream to the acceptor of its protocol. What is not taken is dropped, and so reset.
    pub(super) fn give(&self, stream: Stream, place: OwnedSemaphorePermit) -> Result<(), NotTaken> {
        let sender = self.read().by_protocol.get(stream.protocol()).cloned();
        sender.ok_or(NotTaken::Unclaimed)?.try_send((stream, place)).map_err(|refused| match refused {
            TrySendError::Full(_) => NotTaken::QueueFull,
            TrySendError::Closed(_) => NotTaken::Unclaimed,
        })
    }

    /// The protocols that are offered.
    pub(super) fn listed(&self) -> Arc<[StreamProtocol]> {
        self.read().listed.clone()
    }

    /// Ends all acceptors, and at once those that come.
    pub(super) fn close(&self) {
        let mut entries = self.write();
        entries.is_closed = true;
        let ended = std::mem::take(&mut entries.by_protocol);
        entries.list();
        drop(entries);
        // Behind the lock, since each wakes a task.
        drop(ended);
    }

    fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn list(&mut self) {
        let mut listed: Vec<_> = self.by_protocol.keys().cloned().collect();
        listed.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
        self.listed = listed.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: StreamProtocol = StreamProtocol::new("/a");
    const B: StreamProtocol = StreamProtocol::new("/b");

    #[test]
    fn an_acceptor_has_all_its_protocols_or_none() {
        let acceptors = Acceptors::default();
        let first = acceptors.add(&[B], 1).expect("nobody has it");
        assert_eq!(acceptors.add(&[A, B], 1).expect_err("one is taken"), AlreadyAccepted { protocol: B });
        assert_eq!(*acceptors.listed(), [B]);
        acceptors.remove(&[B]);
        drop(first);
        acceptors.add(&[B, A, B], 0).expect("they are free");
        assert_eq!(*acceptors.listed(), [A, B]);
    }

    #[test]
    fn behind_the_end_every_acceptor_ends_at_once() {
        let acceptors = Acceptors::default();
        let mut before = acceptors.add(&[A], usize::MAX).expect("nobody has it");
        acceptors.close();
        let mut behind = acceptors.add(&[A], 1).expect("nobody has it");
        for receiver in [&mut before, &mut behind] {
            assert_eq!(receiver.try_recv().expect_err("no stream"), mpsc::error::TryRecvError::Disconnected);
        }
        assert!(acceptors.listed().is_empty());
    }
}
