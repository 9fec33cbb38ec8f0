//! How many pages a connection has under way.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

/// Turns that the streams of one connection take at what is large: without, a peer that asks on all its streams and
/// reads none of the answers would have this point hold a page for each.
#[derive(Debug)]
pub(super) struct Turns(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    /// Streams that wait, each once.
    waiting: VecDeque<Waker>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn(Arc<Turns>);

impl Turns {
    /// So many turns at once, at least one.
    pub(super) fn new(max: usize) -> Self {
        Self(Mutex::new(State { free: max.max(1), waiting: VecDeque::new() }))
    }

    /// A turn, if one is free.
    pub(super) fn try_take(self: &Arc<Self>) -> Option<Turn> {
        let mut state = self.lock();
        state.free = state.free.checked_sub(1)?;
        Some(Turn(self.clone()))
    }

    /// Waits for a turn. To be polled to its end: a waker that nobody heeds would be a turn lost.
    pub(super) async fn take(self: &Arc<Self>) -> Turn {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Poll::Ready(());
            }
            if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.waiting.push_back(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
        Turn(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.free += 1;
        let next = state.waiting.pop_front();
        drop(state);
        if let Some(next) = next {
            next.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, StreamExt as _, executor::block_on, stream::FuturesUnordered};

    use super::*;
    use crate::server::stream::yield_now;

    #[test]
    fn there_are_no_more_turns_than_that() {
        let turns = Arc::new(Turns::new(2));
        let first = turns.try_take().expect("a turn");
        let _second = turns.take().now_or_never().expect("a turn");
        assert!(turns.try_take().is_none());
        drop(first);
        assert!(turns.take().now_or_never().is_some());
    }

    #[test]
    fn all_who_wait_have_their_turn() {
        let turns = Arc::new(Turns::new(3));
        let mut done: FuturesUnordered<_> = (0..100)
            .map(|_| async {
                let turn = turns.take().await;
                yield_now().await;
                drop(turn);
            })
            .collect();
        assert_eq!(block_on(done.by_ref().count()), 100);
        assert_eq!(turns.lock().free, 3);
        assert!(turns.lock().waiting.is_empty());
    }
}
