//! The end of a node's run, in good order.

use core::time::Duration;
use std::time::Instant;

use super::{Done, Driver, listening};
use crate::DisconnectReason;

/// Longest time for withdrawals, beyond what the manager allows itself.
const WITHDRAW_MAX: Duration = Duration::from_secs(6);

/// Longest time for sessions to end and peers to be told.
const FAREWELL_MAX: Duration = Duration::from_secs(3);

/// Longest time for connections to close.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Running,
    /// What is advertised is withdrawn, until then at the latest.
    Withdrawing(Instant),
    /// Sessions end and peers are told, until then at the latest.
    Parting(Instant),
    Over,
}

impl Stage {
    pub(super) fn is_running(self) -> bool {
        self == Self::Running
    }

    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Withdrawing(at) | Self::Parting(at) => Some(at),
            Self::Running | Self::Over => None,
        }
    }

    /// Whether peers are being told, or have been.
    pub(super) fn is_parting(self) -> bool {
        matches!(self, Self::Parting(_) | Self::Over)
    }
}

/// Waits until then; without a time, for ever.
pub(super) async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

impl Driver {
    pub(super) fn begin_stop(&mut self) {
        // With the handles gone no more commands come. Whoever still waits for something hears that the node does not run.
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
        self.connecting.clear();
        if !self.stage.is_running() {
            return;
        }
        self.stage = Stage::Withdrawing(Instant::now() + WITHDRAW_MAX);
        let discovery = self.discovery.clone();
        self.tasks.spawn(async move {
            discovery.stop().await;
            Done::Withdrawn
        });
    }

    /// What is withdrawn is, or will not be.
    pub(super) fn on_withdrawn(&mut self) {
        if !matches!(self.stage, Stage::Withdrawing(_)) {
            return;
        }
        self.stage = Stage::Parting(Instant::now() + FAREWELL_MAX);
        for peer in self.peers.admitted().collect::<Vec<_>>() {
            self.disconnect(peer, DisconnectReason::Quitting);
        }
    }

    /// The time for something is over.
    pub(super) fn on_time(&mut self, now: Instant) {
        self.leave_overdue(now);
        match self.stage {
            Stage::Withdrawing(until) if until <= now => self.on_withdrawn(),
            Stage::Parting(until) if until <= now => self.stage = Stage::Over,
            _ => {}
        }
    }

    pub(super) fn has_stopped(&self) -> bool {
        match self.stage {
            Stage::Running | Stage::Withdrawing(_) => false,
            Stage::Parting(_) => self.awaited == 0,
            Stage::Over => true,
        }
    }

    /// Ends every task, closes every socket, and waits until that is done.
    pub(crate) async fn end(mut self) {
        self.leave_all();
        if tokio::time::timeout(CLOSE_MAX, self.tasks.shutdown()).await.is_err() {
            // What blocks its thread cannot be ended, only left.
            tracing::warn!(tasks = self.tasks.len(), "tasks that do not end are left to themselves");
        }
        drop(self.swarm);
        self.connections.close();
        if tokio::time::timeout(CLOSE_MAX, self.connections.wait()).await.is_err() {
            self.cancel.cancel();
            self.connections.wait().await;
        }
        let _ = tokio::time::timeout(CLOSE_MAX, listening::closed(self.listening.udp())).await;
    }
}
