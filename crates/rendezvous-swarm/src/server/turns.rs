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

    /// Waits for a turn.
    pub(super) async fn take(self: &Arc<Self>) -> Turn {
        let mut waiting = Waiting { turns: self, waker: None };
        poll_fn(|cx| waiting.poll(cx.waker())).await;
        Turn(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that waits for its turn. It may end before: a stream can be evicted.
struct Waiting<'a> {
    turns: &'a Turns,
    /// What it has left in the queue, or has been woken by.
    waker: Option<Waker>,
}

impl Waiting<'_> {
    fn poll(&mut self, waker: &Waker) -> Poll<()> {
        let mut state = self.turns.lock();
        if state.free > 0 {
            state.free -= 1;
            self.waker = None;
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
            state.waiting.push_back(waker.clone());
        }
        self.waker = Some(waker.clone());
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(waker) = self.waker.take() else { return };
        let mut state = self.turns.lock();
        let waiting = state.waiting.len();
        state.waiting.retain(|other| !other.will_wake(&waker));
        // Woken already and not polled since: the turn goes to the next one.
        let next = if state.waiting.len() == waiting && state.free > 0 { state.waiting.pop_front() } else { None };
        drop(state);
        if let Some(next) = next {
            next.wake();
        }
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
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        task::{Context, Wake},
    };

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

    #[test]
    fn a_turn_that_falls_to_a_stream_that_ends_goes_to_the_next() {
        let turns = Arc::new(Turns::new(1));
        let first = turns.try_take().expect("a turn");
        let [one, other] = [(); 2].map(|()| Arc::new(Noticing::default()));
        let (ended, next) = (turns.take().boxed(), turns.take().boxed());
        let [mut ended, mut next] = [ended, next];
        let wakers = [&one, &other].map(|noticing| Waker::from(noticing.clone()));
        assert!(ended.poll_unpin(&mut Context::from_waker(&wakers[0])).is_pending());
        assert!(next.poll_unpin(&mut Context::from_waker(&wakers[1])).is_pending());
        drop(first);
        assert!(one.is_woken() && !other.is_woken());
        drop(ended);
        assert!(other.is_woken());
        assert!(next.now_or_never().is_some());
    }

    #[derive(Default)]
    struct Noticing(AtomicBool);

    impl Noticing {
        fn is_woken(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Wake for Noticing {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
