//! What the two ends of a bridge share.

use core::task::{Context, Poll, Waker};
use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rendezvous_wire::Namespace;

use super::{Abilities, Command, Outbox, commands::Commands};
use crate::source::{Report, Source, SourceName, Timing, Urgency};

/// Both directions. Nothing is called while it is locked: neither a translator nor a waker.
#[derive(Default)]
struct Link {
    commands: Commands,
    behaviour: Option<Waker>,
    outbox: Outbox,
    source: Option<Waker>,
    is_source_gone: bool,
    is_behaviour_gone: bool,
}

fn lock(link: &Mutex<Link>) -> MutexGuard<'_, Link> {
    link.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn link(name: SourceName, timing: Timing, abilities: Abilities) -> (BridgeSource, BehaviourEnd) {
    let link = Arc::new(Mutex::new(Link::default()));
    (BridgeSource { name, timing, abilities, link: link.clone() }, BehaviourEnd { link })
}

/// The manager's end of a [`bridge`](super::bridge). It ends when the behaviour is dropped.
pub struct BridgeSource {
    name: SourceName,
    timing: Timing,
    abilities: Abilities,
    link: Arc<Mutex<Link>>,
}

impl BridgeSource {
    fn command(&self, command: Command) {
        let mut link = lock(&self.link);
        link.commands.push(command);
        let waker = link.behaviour.take();
        drop(link);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Source for BridgeSource {
    fn name(&self) -> SourceName {
        self.name.clone()
    }

    fn timing(&self) -> Timing {
        self.timing
    }

    fn advertise(&mut self, namespace: &Namespace, ttl: Duration) -> bool {
        if self.abilities.advertises {
            self.command(Command::Advertise(namespace.clone(), ttl));
        }
        self.abilities.advertises
    }

    fn withdraw(&mut self, namespace: &Namespace) {
        self.command(Command::Withdraw(namespace.clone()));
    }

    fn request(&mut self, namespace: Option<&Namespace>, urgency: Urgency) -> bool {
        let Abilities { finds_by_name, finds_all, .. } = self.abilities;
        let is_able = if namespace.is_some() { finds_by_name } else { finds_all };
        if is_able {
            self.command(Command::Request(namespace.cloned(), urgency));
        }
        is_able
    }

    fn release(&mut self, namespace: Option<&Namespace>) {
        self.command(Command::Release(namespace.cloned()));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Report>> {
        let mut link = lock(&self.link);
        if link.is_behaviour_gone {
            return Poll::Ready(None);
        }
        if let Some(report) = link.outbox.pop(Instant::now()) {
            return Poll::Ready(Some(report));
        }
        link.source = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for BridgeSource {
    fn drop(&mut self) {
        let mut link = lock(&self.link);
        link.is_source_gone = true;
        link.commands.push(Command::End);
        let outbox = mem::take(&mut link.outbox);
        let waker = link.behaviour.take();
        drop(link);
        drop(outbox);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for BridgeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BridgeSource").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The behaviour's end.
pub(super) struct BehaviourEnd {
    link: Arc<Mutex<Link>>,
}

impl BehaviourEnd {
    /// The next command. Without one, the behaviour is woken when there is.
    pub(super) fn poll_command(&self, cx: &mut Context<'_>) -> Option<Command> {
        let mut link = lock(&self.link);
        let command = link.commands.pop();
        if command.is_none() {
            link.behaviour = Some(cx.waker().clone());
        }
        command
    }

    /// See [`Outbox::dropped`].
    pub(super) fn dropped(&self) -> u64 {
        lock(&self.link).outbox.dropped()
    }

    /// Writes reports, and wakes the manager if there are any. Meanwhile the manager sees none.
    pub(super) fn write<T>(&self, write: impl FnOnce(&mut Outbox) -> T) -> T {
        let mut outbox = mem::take(&mut lock(&self.link).outbox);
        let result = write(&mut outbox);
        let mut link = lock(&self.link);
        if link.is_source_gone {
            drop(link);
            return result;
        }
        let waker = if outbox.is_empty() { None } else { link.source.take() };
        link.outbox = outbox;
        drop(link);
        waker.into_iter().for_each(Waker::wake);
        result
    }
}

impl Drop for BehaviourEnd {
    fn drop(&mut self) {
        let mut link = lock(&self.link);
        link.is_behaviour_gone = true;
        link.commands = Commands::default();
        let waker = link.source.take();
        drop(link);
        waker.into_iter().for_each(Waker::wake);
    }
}
