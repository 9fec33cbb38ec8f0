//! Runs of another form than an attack from strangers' sockets: legitimate extremes beside an attack, a point that is
//! stopped or killed, a full disk, and clients of a hostile point.

mod clients;
mod honest;
mod process;

use std::{future::Future, pin::Pin};

use crate::{report::Row, run::Settings};

/// What a scenario is as long as it runs.
pub type Running = Pin<Box<dyn Future<Output = anyhow::Result<Row>> + Send>>;

/// A scenario.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// The scenario itself.
    pub run: fn(Settings) -> Running,
}

/// All scenarios.
#[must_use]
pub fn all() -> Vec<Scenario> {
    [honest::SCENARIOS, process::SCENARIOS, clients::SCENARIOS].concat()
}
