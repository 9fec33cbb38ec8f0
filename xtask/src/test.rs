//! `cargo xtask test`: every test of the workspace by one command.

use std::{
    ffi::OsString,
    process::{Command, ExitCode},
};

use anyhow::Context;

use crate::{cargo, exit_code};

/// Runs the steps in order, with their output as it is, and ends with the status of the first that fails.
pub(crate) fn run(cargo_args: &[OsString]) -> anyhow::Result<ExitCode> {
    for mut step in steps(cargo_args) {
        let status = step.status().with_context(|| format!("{step:?} does not start"))?;
        if !status.success() {
            return Ok(exit_code(status));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What to run. A step that sets something up for tests stands before the last.
fn steps(cargo_args: &[OsString]) -> Vec<Command> {
    // Without a choice of targets cargo runs unit tests, test binaries and doc tests, and builds the examples.
    let mut tests = cargo();
    tests.args(["test", "--workspace"]).args(cargo_args);
    vec![tests]
}
