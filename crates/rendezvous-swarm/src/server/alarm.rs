//! Deadlines of a stream.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use futures_timer::Delay;

/// A timer for one deadline after the other.
///
/// It is set anew only where it would go off too late, or has gone off too early: most deadlines are met, and cost a
/// reading of the clock.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<(Instant, Delay)>);

impl Alarm {
    /// Ready at or after `due`.
    pub(super) fn poll(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.0 {
                Some((at, delay)) if *at <= due => {
                    ready!(delay.poll_unpin(cx));
                    self.0 = None;
                }
                _ => {
                    let left = due.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Poll::Ready(());
                    }
                    self.0 = Some((due, Delay::new(left)));
                }
            }
        }
    }

    /// What a future comes to, unless it takes longer.
    pub(super) async fn within<F: Future>(&mut self, limit: Duration, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut due = None;
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            let due = *due.get_or_insert_with(|| Instant::now() + limit);
            self.poll(due, cx).map(|()| None)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, future::pending};

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    fn until(alarm: &mut Alarm, due: Instant) {
        block_on(poll_fn(|cx| alarm.poll(due, cx)));
        assert!(due <= Instant::now());
    }

    #[test]
    fn a_deadline_that_moves_away_is_kept_without_a_new_timer() {
        let mut alarm = Alarm::default();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let (near, far) = (Instant::now() + SHORT, Instant::now() + 2 * SHORT);
        assert!(alarm.poll(near, &mut cx).is_pending());
        assert!(alarm.poll(far, &mut cx).is_pending());
        assert_eq!(alarm.0.as_ref().map(|(at, _)| *at), Some(near));
        until(&mut alarm, far);
    }

    #[test]
    fn a_deadline_that_comes_nearer_is_met() {
        let mut alarm = Alarm::default();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let began = Instant::now();
        assert!(alarm.poll(began + Duration::from_secs(3_600), &mut cx).is_pending());
        until(&mut alarm, began + SHORT);
        assert!(began.elapsed() < Duration::from_secs(3_600));
    }

    #[test]
    fn one_deadline_after_another_is_met() {
        let mut alarm = Alarm::default();
        for _ in 0..3 {
            until(&mut alarm, Instant::now() + SHORT);
        }
        until(&mut alarm, Instant::now());
    }

    #[test]
    fn a_future_is_cut_at_its_limit_and_not_before() {
        let mut alarm = Alarm::default();
        assert_eq!(block_on(alarm.within(Duration::ZERO, async { 7 })), Some(7));
        assert!(alarm.0.is_none(), "a future that is ready sets no timer");
        let began = Instant::now();
        assert_eq!(block_on(alarm.within(SHORT, pending::<()>())), None);
        assert!(SHORT <= began.elapsed());
    }
}
