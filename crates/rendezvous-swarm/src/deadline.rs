//! A deadline that moves with every frame and is seldom met.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use futures_timer::Delay;

use crate::clock::SPAN_MAX;

/// A deadline with a timer that is touched as seldom as can be.
///
/// Setting a timer wakes the thread that all timers share. So none is set before somebody has to wait, and moving the
/// deadline away leaves the timer alone: when it goes off too early it is set again.
#[derive(Debug)]
pub(crate) struct Deadline {
    at: Instant,
    /// With the instant that it is set to.
    timer: Option<(Instant, Delay)>,
}

impl Deadline {
    /// A deadline so long from now, at most [`SPAN_MAX`].
    pub(crate) fn after(span: Duration) -> Self {
        Self { at: Instant::now() + span.min(SPAN_MAX), timer: None }
    }

    /// Moves the deadline, to so long from now.
    pub(crate) fn set(&mut self, span: Duration) {
        self.at = Instant::now() + span.min(SPAN_MAX);
    }

    /// Ready when the deadline has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let left = self.at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Poll::Ready(());
            }
            match &mut self.timer {
                Some((set_to, timer)) if *set_to <= self.at => {
                    if timer.poll_unpin(cx).is_pending() {
                        return Poll::Pending;
                    }
                    timer.reset(left);
                    *set_to = self.at;
                }
                Some((set_to, timer)) => {
                    timer.reset(left);
                    *set_to = self.at;
                }
                None => self.timer = Some((self.at, Delay::new(left))),
            }
        }
    }

    /// What a future comes to, unless it takes longer than that.
    pub(crate) async fn within<F: Future>(&mut self, span: Duration, future: F) -> Option<F::Output> {
        self.set(span);
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll(cx).map(|()| None),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, future, task::noop_waker};

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);
    const SHORT: Duration = Duration::from_millis(20);

    fn wait(deadline: &mut Deadline) {
        block_on(poll_fn(|cx| deadline.poll(cx)));
    }

    #[test]
    fn no_timer_is_set_before_somebody_waits() {
        let mut deadline = Deadline::after(LONG);
        assert_eq!(block_on(deadline.within(LONG, future::ready(1))), Some(1));
        assert!(deadline.timer.is_none());
    }

    #[test]
    fn a_deadline_moved_nearer_is_met_in_time() {
        let mut deadline = Deadline::after(LONG);
        assert!(deadline.poll(&mut Context::from_waker(&noop_waker())).is_pending());
        deadline.set(SHORT);
        wait(&mut deadline);
    }

    #[test]
    fn a_deadline_moved_away_is_not_met_when_the_timer_of_the_old_one_goes_off() {
        let started = Instant::now();
        let mut deadline = Deadline::after(SHORT);
        assert!(deadline.poll(&mut Context::from_waker(&noop_waker())).is_pending());
        deadline.set(SHORT * 5);
        wait(&mut deadline);
        assert!(started.elapsed() >= SHORT * 5);
    }

    #[test]
    fn what_takes_too_long_is_given_up() {
        let mut deadline = Deadline::after(LONG);
        assert_eq!(block_on(deadline.within(SHORT, future::pending::<()>())), None);
    }

    #[test]
    fn the_longest_span_does_not_overflow() {
        let mut deadline = Deadline::after(Duration::MAX);
        assert!(deadline.poll(&mut Context::from_waker(&noop_waker())).is_pending());
    }
}
