//! Puts reading off while a connection's bucket is in debt.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep};

use crate::guard::ConnectionGuard;

/// The wait of one reader, if it has to wait. It holds no timer otherwise.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Option<Pin<Box<Sleep>>>);

impl Throttle {
    /// Ready when reading may go on.
    pub(crate) fn poll_may_read(&mut self, cx: &mut Context<'_>, guard: &ConnectionGuard) -> Poll<()> {
        loop {
            if let Some(delay) = &mut self.0 {
                ready!(delay.as_mut().poll(cx));
                self.0 = None;
            }
            match guard.read_delay() {
                None => return Poll::Ready(()),
                Some(wait) if wait.is_zero() => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(wait) => self.0 = Some(Box::pin(tokio::time::sleep_until(Instant::now() + wait))),
            }
        }
    }
}
