//! Readers of answers, with what they remember, from one connection to the next.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use libp2p_identity::PeerId;
use rendezvous_core::client::AnswerReader;
use rendezvous_record::Limits;

/// Most readers kept without a connection. Each remembers up to 3 MiB of verified records; the one longest unused goes
/// first.
const READERS_MAX: usize = 8;

/// Readers that no connection uses, shared by the behaviour's handlers.
#[derive(Clone, Debug)]
pub(super) struct Readers {
    limits: Limits,
    reads_unsigned: bool,
    kept: Arc<Mutex<VecDeque<(PeerId, AnswerReader)>>>,
}

impl Readers {
    pub(super) fn new(limits: Limits, reads_unsigned: bool) -> Self {
        Self { limits, reads_unsigned, kept: Arc::default() }
    }

    /// The reader of a connection to this peer.
    pub(super) fn lend(&self, peer: PeerId) -> Lent {
        Lent { readers: self.clone(), peer, reader: None }
    }

    fn take(&self, peer: PeerId) -> AnswerReader {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|(owner, _)| *owner == peer);
        match place.and_then(|place| kept.remove(place)) {
            Some((_, reader)) => reader,
            // No randomness is drawn in verification: the seed is of no consequence.
            None => AnswerReader::new(self.limits.clone()).with_unsigned(self.reads_unsigned),
        }
    }

    fn put(&self, peer: PeerId, reader: AnswerReader) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((peer, reader));
        while kept.len() > READERS_MAX {
            kept.pop_front();
        }
    }
}

/// A reader for as long as a connection lives; made when the first answer comes.
#[derive(Debug)]
pub(super) struct Lent {
    readers: Readers,
    peer: PeerId,
    reader: Option<AnswerReader>,
}

impl Lent {
    pub(super) fn get(&mut self) -> &mut AnswerReader {
        self.reader.get_or_insert_with(|| self.readers.take(self.peer))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(reader) = mem::take(&mut self.reader) {
            self.readers.put(self.peer, reader);
        }
    }
}
