//! What a connection tells of what its peer reads, and the streams that wait for that.

use std::{
    future::poll_fn,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use futures::future::{Either, select};
use futures_timer::Delay;
use rendezvous_core::server::{AGENT_PATIENCE, Reads};

/// What a connection knows of its peer.
#[derive(Debug, Default)]
pub(super) struct Agent(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// What the agent version tells; the outer `None` while it is not known.
    reads: Option<Option<Reads>>,
    /// Whether the peer has registered without a signature on this connection.
    has_registered_unsigned: bool,
    /// Whether a stream of this connection has waited in vain.
    is_patience_over: bool,
    /// Streams that wait: at most one for each in flight.
    waiting: Vec<Waker>,
}

impl Agent {
    /// What is known of what the peer reads, and whether it is worth waiting for more.
    pub(super) fn reads(&self) -> (Option<Reads>, bool) {
        let state = self.lock();
        if state.has_registered_unsigned {
            return (Some(Reads::PeerInfo), false);
        }
        (state.reads.flatten(), state.reads.is_none() && !state.is_patience_over)
    }

    /// The peer has registered without a signature: whatever its agent version, it reads what it writes.
    pub(super) fn note_unsigned(&self) {
        self.lock().has_registered_unsigned = true;
    }

    pub(super) fn set(&self, reads: Option<Reads>) {
        let mut state = self.lock();
        state.reads = Some(reads);
        let waiting = core::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits until the agent version is known, or for [`AGENT_PATIENCE`], once for a connection.
    pub(super) async fn wait(&self) {
        let known = poll_fn(|cx| {
            let mut state = self.lock();
            if state.reads.is_some() || state.is_patience_over {
                return Poll::Ready(());
            }
            if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        });
        if let Either::Right(_) = select(known, Delay::new(AGENT_PATIENCE)).await {
            let mut state = self.lock();
            state.is_patience_over = true;
            let waiting = core::mem::take(&mut state.waiting);
            drop(state);
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
