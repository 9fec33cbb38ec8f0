//! `cargo xtask simulate`: worlds from seeds, in a release build.

use std::{ffi::OsString, process::ExitCode};

use anyhow::Context;

use crate::{cargo, exit_code};

/// Builds the simulation and runs it with these arguments.
pub(crate) fn run(args: &[OsString]) -> anyhow::Result<ExitCode> {
    let mut simulate = cargo();
    simulate.args(["run", "--quiet", "--release", "--package", "rendezvous-sim", "--bin", "simulate", "--"]).args(args);
    let status = simulate.status().with_context(|| format!("{simulate:?} does not start"))?;
    Ok(exit_code(status))
}
