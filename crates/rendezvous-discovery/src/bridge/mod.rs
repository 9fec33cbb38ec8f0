//! Behaviours of a swarm as sources: [`Bridge`] goes into the swarm, [`BridgeSource`] into the manager.
//!
//! [`rendezvous`](crate::rendezvous), [`kad`](crate::kad) and `mdns` are made so, and a behaviour of one's own can
//! be: what is wanted of it, and what it tells, is translated by a [`Translate`].

mod behaviour;
mod commands;
mod link;
mod outbox;

use core::time::Duration;

use libp2p_swarm::NetworkBehaviour;
use rendezvous_wire::Namespace;

pub use self::{behaviour::Bridge, link::BridgeSource, outbox::Outbox};
use crate::source::{SourceName, Timing, Urgency};

/// What a manager wants of a behaviour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// See [`Source::advertise`](crate::Source::advertise).
    Advertise(Namespace, Duration),
    /// See [`Source::withdraw`](crate::Source::withdraw).
    Withdraw(Namespace),
    /// See [`Source::request`](crate::Source::request).
    Request(Option<Namespace>, Urgency),
    /// See [`Source::release`](crate::Source::release).
    Release(Option<Namespace>),
    /// The manager has dropped the source: whatever it wanted, it wants no longer.
    End,
}

/// What a source made of a behaviour can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Whether it advertises.
    pub advertises: bool,
    /// Whether it can be asked for a name.
    pub finds_by_name: bool,
    /// Whether it can be asked for all there is.
    pub finds_all: bool,
}

/// Between a behaviour and a manager.
///
/// All functions are called in the swarm's task, from within its poll.
pub trait Translate<B: NetworkBehaviour>: Send + 'static {
    /// What the source is called.
    fn name(&self) -> SourceName;

    /// How often it is asked, and told.
    fn timing(&self) -> Timing {
        Timing::default()
    }

    /// What it can do. It is not told to do other things.
    fn abilities(&self) -> Abilities;

    /// The manager wants something.
    fn on_command(&mut self, behaviour: &mut B, command: Command, out: &mut Outbox);

    /// The behaviour has told something. It is told to the swarm as well.
    fn on_event(&mut self, behaviour: &mut B, event: &B::ToSwarm, out: &mut Outbox);
}

/// A behaviour to go into the swarm, and the source that it is, to go into the manager.
#[must_use]
pub fn bridge<B: NetworkBehaviour, T: Translate<B>>(behaviour: B, translate: T) -> (Bridge<B, T>, BridgeSource) {
    let (name, timing, abilities) = (translate.name(), translate.timing(), translate.abilities());
    let (source, link) = link::link(name, timing, abilities);
    (Bridge::new(behaviour, translate, link), source)
}
