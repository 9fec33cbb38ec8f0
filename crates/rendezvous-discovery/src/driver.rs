//! The task that talks to the sources: [`Driver`].

use core::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};
use std::{collections::BTreeMap, mem, sync::Arc, time::Instant};

use futures::FutureExt;
use futures_timer::Delay;

use crate::{
    shared::Shared,
    source::{Source, SourceId},
    state::{Act, Item, State},
};

/// Most that is told to sources before their reports are taken.
const ACTS_PER_TURN_MAX: usize = 256;

/// Most reports that are taken from one source before the others have their turn.
const REPORTS_PER_TURN_MAX: usize = 64;

/// Most turns before the executor has its own.
const TURNS_MAX: usize = 16;

/// What a [`DiscoveryManager`](crate::DiscoveryManager) is driven by: to be spawned on any executor.
///
/// It ends when the manager is stopped or nobody holds a handle, and drops the sources then. Dropping it ends the manager.
#[must_use = "nothing happens unless it is polled"]
pub struct Driver {
    shared: Arc<Shared>,
    sources: BTreeMap<SourceId, Box<dyn Source>>,
    timer: Option<(Instant, Delay)>,
}

impl Driver {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, sources: BTreeMap::new(), timer: None }
    }

    /// One turn: whether anything was done.
    fn turn(&mut self, cx: &mut Context<'_>) -> bool {
        self.take_moves();
        let mut has_acted = false;
        // The state is not locked while a source is called: it may call the manager, and even want more each time.
        for _ in 0..ACTS_PER_TURN_MAX {
            let Some((id, act)) = self.shared.with(|state| state.pop_act(Instant::now())) else { break };
            has_acted = true;
            if !self.sources.contains_key(&id) {
                // It was added meanwhile.
                self.take_moves();
            }
            if let Some(source) = self.sources.get_mut(&id) {
                let (item, is_taken) = tell(source.as_mut(), act);
                self.shared.with(|state| state.handle_taken(id, &item, is_taken));
            }
        }
        let mut ended = Vec::new();
        for (id, source) in &mut self.sources {
            for _ in 0..REPORTS_PER_TURN_MAX {
                match source.poll(cx) {
                    Poll::Ready(Some(report)) => {
                        has_acted = true;
                        self.shared.with(|state| state.handle_report(Instant::now(), *id, report));
                    }
                    Poll::Ready(None) => {
                        ended.push(*id);
                        break;
                    }
                    Poll::Pending => break,
                }
            }
        }
        for id in ended {
            self.sources.remove(&id);
            self.shared.with(|state| state.remove_source(Instant::now(), id));
        }
        self.shared.with(|state| state.handle_timeout(Instant::now()));
        has_acted
    }

    fn take_moves(&mut self) {
        let moves = mem::take(&mut *self.shared.moves());
        self.sources.extend(moves.added);
        for id in moves.removed {
            self.sources.remove(&id);
        }
    }

    /// Sets the timer; `true` if the time has come already.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(at) = self.shared.with(|state| state.poll_timeout()) else {
            self.timer = None;
            return false;
        };
        let is_set = self.timer.as_ref().is_some_and(|(set, _)| *set == at);
        if !is_set {
            self.timer = Some((at, Delay::new(at.saturating_duration_since(Instant::now()))));
        }
        let is_due = self.timer.as_mut().is_some_and(|(_, delay)| delay.poll_unpin(cx).is_ready());
        if is_due {
            self.timer = None;
        }
        is_due
    }
}

/// Tells a source what is wanted, and whether it goes about it.
fn tell(source: &mut dyn Source, act: Act) -> (Item, bool) {
    match act {
        Act::Advertise(namespace, ttl) => {
            let is_taken = source.advertise(&namespace, ttl);
            (Item::Advertise(namespace), is_taken)
        }
        Act::Withdraw(namespace) => {
            source.withdraw(&namespace);
            (Item::Advertise(namespace), true)
        }
        Act::Request(namespace, urgency) => {
            let is_taken = source.request(namespace.as_ref(), urgency);
            (Item::Request(namespace), is_taken)
        }
        Act::Release(namespace) => {
            source.release(namespace.as_ref());
            (Item::Request(namespace), true)
        }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.shared.driver.register(cx.waker());
        for _ in 0..TURNS_MAX {
            // Before the turn, in which what is to be withdrawn is withdrawn.
            if this.shared.is_abandoned() {
                this.shared.with(|state| state.stop(Instant::now()));
            }
            let has_acted = this.turn(cx);
            if this.shared.with(|state| state.has_ended()) {
                this.take_moves();
                this.sources.clear();
                return Poll::Ready(());
            }
            if !has_acted && !this.is_due(cx) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.with(State::end);
        // What was on its way is dropped with the rest, when nothing is locked.
        let moves = mem::take(&mut *self.shared.moves());
        drop(moves);
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("sources", &self.sources.len()).finish_non_exhaustive()
    }
}
